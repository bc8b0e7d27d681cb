//! stub
pub mod brief;
pub mod judge;
