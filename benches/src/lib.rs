//! Benchmarks only; see `benches/benches`. Run them with `cargo bench -p benches`.
