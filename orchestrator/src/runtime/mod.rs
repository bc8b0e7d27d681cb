//! Joins the parts: the loop, and the live shell around it.

mod admit;
pub mod core;
mod http;
mod mark;
mod mismatch;
mod pace;
mod past;
mod publish;
mod serve;
mod trouble;

pub use self::core::Core;
pub use admit::{AdmitError, enqueue, examine, init, request};
pub use pace::{Pace, Reading};
pub use serve::{ServeError, moment, serve};
pub use trouble::{Trouble, told};
