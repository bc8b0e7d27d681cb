//! How long deciding and committing take: the two steps between an event and its record.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use orchestrator::decide::decide;
use orchestrator::domain::event::{Event, Happened, Source};
use orchestrator::domain::fleet::Fleet;
use orchestrator::domain::id::{EffectId, ProcessId, ProjectId, RoleName};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::project::Project;
use orchestrator::domain::signal::{Signal, What};
use orchestrator::domain::spec::{Hooks, RoleSpec, Spec};
use orchestrator::domain::time::{Now, Timestamp, WallTime};
use orchestrator::store::{Mode, Store};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

fn now() -> Now {
    Now { at: Timestamp(1_000_000), wall: WallTime(0), seed: [7; 32] }
}

fn spec() -> Spec {
    let role = |name: &str| RoleSpec {
        name: RoleName(name.to_owned()),
        command: vec!["agent".to_owned()],
        claude_md: "Be good.".into(),
        env: BTreeMap::new(),
        progress: false,
        hooks: Hooks::None,
    };
    Spec {
        title: "Bench".to_owned(),
        repo: "/srv/app".to_owned(),
        base_sha: "f00d".to_owned(),
        brief: "Build it.".into(),
        key: None,
        priority: 0,
        batch: None,
        roles: vec![role("developer"), role("tester")],
        resources: Vec::new(),
    }
}

fn fleet(projects: i64) -> Fleet {
    let spec = Arc::new(spec());
    let mut fleet = Fleet::new(Policy::default(), EffectId(1));
    for id in 1..=projects {
        fleet.put(Project::queued(ProjectId(id), Arc::clone(&spec), format!("p{id}-0042"), Timestamp(0)));
    }
    fleet
}

fn deciding(c: &mut Criterion) {
    let fleet = fleet(1_000);
    let happened = |event| Happened { seen_at: Timestamp(999_000), source: Source::Pidfd, event };
    let gone = happened(Event::ProcessGone {
        project: ProjectId(500),
        role: RoleName("developer".to_owned()),
        process: ProcessId { pid: 1, start: 1 },
    });
    c.bench_function("decide/stale death among 1000 projects", |b| {
        b.iter(|| decide(black_box(&fleet), black_box(&gone), &now()));
    });
    let admitted = happened(Event::Admitted { project: ProjectId(1) });
    c.bench_function("decide/admission among 1000 projects", |b| {
        b.iter(|| decide(black_box(&fleet), black_box(&admitted), &now()));
    });
}

fn committing(c: &mut Criterion) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut store = Store::open(&home.path().join("orch.db"), Mode::Create).expect("a store");
    let stopped = || Signal::fleet(What::OrchestratorStopped { reason: "bench".to_owned() });
    c.bench_function("store/one event committed with synchronous=FULL", |b| {
        b.iter_batched(stopped, |signal| store.journal(signal, &now()).expect("committed"), BatchSize::SmallInput);
    });
}

criterion_group!(benches, deciding, committing);
criterion_main!(benches);
