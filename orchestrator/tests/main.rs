//! Everything that is tested through the public face, in one binary.

mod audit;
mod breaker;
mod flows;
mod hooks;
mod incidents;
mod older_store;
mod one_writer;
mod operator;
mod scripted;
mod silence;
mod states;
mod store_contract;
mod store_trouble;
mod time;
mod strangers;
mod tmux_trouble;
