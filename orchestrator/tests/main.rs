//! Everything that is tested through the public face, in one binary.

mod breaker;
mod flows;
mod incidents;
mod scripted;
mod silence;
mod states;
mod store_contract;
