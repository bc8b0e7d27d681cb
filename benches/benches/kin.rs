//! How long one look at whose processes are whose takes: what every sweep costs while agents live.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use orchestrator::domain::id::Token;
use orchestrator::env::kin::Kin;
use orchestrator::env::process::identify;
use std::process::{Child, Command};

/// Real processes, each the leader of its own session as an agent in a pane is; they end with the benchmark, and by
/// themselves if it is killed.
struct Agents(Vec<Child>);

impl Agents {
    fn start(count: usize) -> Self {
        let mut agents = Self(Vec::with_capacity(count));
        for _ in 0..count {
            agents.0.push(Command::new("setsid").args(["sleep", "600"]).spawn().expect("a process"));
        }
        agents
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        for agent in &mut self.0 {
            let _ = agent.kill();
        }
        for agent in &mut self.0 {
            let _ = agent.wait();
        }
    }
}

fn looks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kin/look");
    group.bench_function("nobody known", |bench| {
        let kin = Kin::default();
        bench.iter(|| kin.look().expect("/proc"));
    });
    for count in [200, 1_000] {
        let agents = Agents::start(count);
        let kin = Kin::default();
        for agent in &agents.0 {
            let process = identify(agent.id()).expect("an agent that lives");
            kin.root(&Token(format!("{:032x}", process.pid)), process);
        }
        group.bench_function(BenchmarkId::new("agents", count), |bench| bench.iter(|| kin.look().expect("/proc")));
    }
    group.finish();
}

criterion_group!(benches, looks);
criterion_main!(benches);
