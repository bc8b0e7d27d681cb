//! Joins the parts: the loop, and the live shell around it.

mod admit;
mod beat;
pub mod core;
mod http;
mod mark;
mod mismatch;
mod overdue;
mod pace;
mod past;
mod publish;
mod serve;
mod trouble;

pub use self::core::Core;
pub use admit::{AdmitError, enqueue, examine, init, request};
pub use beat::Beat;
pub use pace::Reading;
pub use serve::{ServeError, moment, serve};
pub use trouble::{Trouble, told};
