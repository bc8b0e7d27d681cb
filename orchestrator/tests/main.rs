//! Everything that is tested through the public face, in one binary.

mod adopted;
mod again;
mod audit;
mod batch;
mod breaker;
mod fleet;
mod flows;
mod hooks;
mod incidents;
mod late;
mod older_store;
mod one_writer;
mod operator;
mod scripted;
mod sight;
mod silence;
mod states;
mod store_contract;
mod store_trouble;
mod strangers;
mod survey;
mod time;
mod tmux_trouble;
