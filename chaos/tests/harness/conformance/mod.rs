//! The simulated world held against the real one: the same effects and the same harm, and what each tells of them.
//!
//! Where they differ, the real one is right and the model is mended; see `docs/conformance.md`.

mod cases;
mod course;
mod fake;
mod ground;
mod play;
mod real;
mod server;
mod shape;
mod stage;
mod table;
