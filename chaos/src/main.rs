//! `orch-chaos`.

fn main() {}
