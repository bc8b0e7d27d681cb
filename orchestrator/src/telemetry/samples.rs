//! One of everything that can be told, for the tests of this module.

use crate::domain::breaker::BreakerState;
use crate::domain::event::{Head, Source};
use crate::domain::failure::{Ending, Failure, FailureKind, Program, Stage, Stderr};
use crate::domain::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Seq, Token};
use crate::domain::project::{Project, SessionIs, SessionRef};
use crate::domain::request::RequestKind;
use crate::domain::signal::{Entry, Signal, What};
use crate::domain::spec::{Hooks, RoleSpec, Spec};
use crate::domain::state::{ProjectState, RoleState, SuspendReason};
use crate::domain::time::{Span, Timestamp, WallTime};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A project of two roles with a session.
pub(super) fn project() -> Project {
    let role = |name: &str| RoleSpec {
        name: RoleName(name.to_owned()),
        command: vec!["claude".to_owned(), "--continue".to_owned()],
        claude_md: "Be good.".into(),
        env: BTreeMap::new(),
        progress: true,
        hooks: Hooks::None,
    };
    let spec = Spec {
        title: "Mobile app, version 2".to_owned(),
        repo: "/repo".to_owned(),
        base_sha: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        brief: "Build it.".into(),
        key: None,
        priority: 0,
        batch: None,
        roles: vec![role("developer"), role("tester")],
        resources: Vec::new(),
    };
    let mut project = Project::queued(ProjectId(7), Arc::new(spec), "p7-ab12".to_owned(), Timestamp(0));
    project.epoch = Epoch(2);
    project.session = Some(SessionRef {
        name: "p7-ab12-e2".to_owned(),
        token: Token("0".repeat(32)),
        is: SessionIs::Live,
        server: None,
    });
    project
}

/// An agent's failure with everything that can be known.
pub(super) fn failure() -> Failure {
    Failure {
        stage: Stage::Run,
        kind: FailureKind::AgentExited,
        program: Program::Agent,
        argv: vec!["claude".to_owned(), "--continue".to_owned()],
        cwd: Some("worktrees/p7/developer".to_owned()),
        ending: Ending::Code(41),
        stderr: Stderr::Empty,
        stdout_tail: "thinking…\n".to_owned(),
        duration: Span::from_millis(12_345),
        hint: None,
    }
}

/// A failure of one of our own operations.
pub(super) fn operation() -> Failure {
    Failure::of_operation(
        Stage::Run,
        FailureKind::ResourceMissing,
        vec!["look".to_owned(), "CLAUDE.md".to_owned()],
        "no such file",
    )
}

fn fleet_events() -> Vec<What> {
    let process = ProcessId { pid: 4_711, start: 99 };
    vec![
        What::OrchestratorStarted { process, version: "0.1.0".to_owned(), unfinished: 1, unconfirmed: 2 },
        What::OrchestratorStopped { reason: "SIGTERM".to_owned() },
        What::OrchestratorAway { away: Span::from_secs(28_800) },
        What::MachineRebooted { agents: 2 },
        What::StoreRestored { had: Seq(900), has: Seq(412) },
        What::StrayFound { trace: "session p9-ab12-e1".to_owned() },
        What::TmuxLost { reason: "server exited unexpectedly".to_owned() },
        What::ServerDied { server: process, sessions: 3 },
        What::FleetBreakerMoved { from: BreakerState::Closed, to: BreakerState::Open, breakers: 6, max: 5 },
        What::FleetBreakerMoved { from: BreakerState::Open, to: BreakerState::Closed, breakers: 5, max: 5 },
        What::SocketRestored { server: process },
        What::TmuxAnswered { server: process, changed: false },
        What::TmuxAnswered { server: process, changed: true },
        What::SpoolRejected { name: "x.json".to_owned(), reason: "not JSON".to_owned(), stale: false },
        What::SpoolRejected { name: "done of developer".to_owned(), reason: "epoch 1".to_owned(), stale: true },
        What::MoveRefused { refused: "role in state done cannot take event launched".to_owned() },
    ]
}

fn project_events() -> Vec<What> {
    let git = Failure {
        program: Program::Git,
        kind: FailureKind::SubprocessFailed,
        stage: Stage::Provision,
        argv: vec!["git".to_owned(), "worktree".to_owned(), "add".to_owned()],
        ending: Ending::Code(128),
        stderr: Stderr::Text("hint: x\nfatal: not a valid object name\n".to_owned()),
        hint: Some("is base a commit?".to_owned()),
        ..failure()
    };
    vec![
        What::ProjectEnqueued { title: "Mobile app, version 2".to_owned(), roles: 2 },
        What::ProjectMoved {
            from: ProjectState::Queued,
            to: ProjectState::Provisioning,
            cause: None,
            reason: None,
            after: Span::from_secs(75),
        },
        What::ProjectMoved {
            from: ProjectState::Recovering,
            to: ProjectState::Suspended,
            cause: Some(FailureKind::SessionDied),
            reason: Some(SuspendReason::Breaker),
            after: Span(0),
        },
        What::ProjectMoved {
            from: ProjectState::Suspended,
            to: ProjectState::Failed,
            cause: Some(FailureKind::AgentReported),
            reason: None,
            after: Span::from_secs(18_000),
        },
        What::Quarantined { known: Epoch(2), found: Epoch(4), trace: "session p7-ab12-e4".to_owned() },
        What::LateCreation {
            trace: "session p7-ab12-e1".to_owned(),
            cause: "it is of epoch 1, the project is at epoch 2".to_owned(),
        },
        What::SessionCreated { adopted: false },
        What::SessionCreated { adopted: true },
        What::SessionDied { detected_by: Source::Sweep, lag: Span::from_millis(1_200) },
        What::SubprocessFailed { failure: Box::new(git) },
        What::OperationFailed { failure: Box::new(operation()) },
        What::RecoveryStarted { attempt: 2, max_attempts: 3, cause: FailureKind::SessionDied, probe: false },
        What::RecoveryStarted { attempt: 1, max_attempts: 3, cause: FailureKind::SessionDied, probe: true },
        What::RecoveryDelayed { delay: Span::from_millis(7_400) },
        What::RecoverySucceeded { attempts: 1, duration: Span::from_millis(412) },
        What::RecoveryRefused { retry_in: Span::from_secs(3_600), cause: FailureKind::AgentKilled },
        What::BreakerMoved { from: BreakerState::Closed, to: BreakerState::Open, attempts: 3 },
        What::SlotAwaited { active: 5, max_active: 5 },
        What::SightLost { unknown: "whether its session lives".to_owned(), lasted: Span::from_secs(600) },
        What::ProjectCertified {
            heads: vec![
                Head { role: RoleName("developer".to_owned()), sha: "0123456789abcdef".to_owned(), dirty: false },
                Head { role: RoleName("tester".to_owned()), sha: "fedcba9876543210".to_owned(), dirty: true },
            ],
        },
        What::ProjectFailed { failure: Box::new(failure()) },
        What::OperatorAsked { request: 4, kind: RequestKind::BreakerReset },
        What::RequestRefused { request: 5, kind: RequestKind::Resume, reason: "it is not suspended".to_owned() },
    ]
}

fn role_events() -> Vec<What> {
    let process = ProcessId { pid: 4_711, start: 99 };
    let (by, lag) = (Source::Pidfd, Span(800));
    let died =
        |expected| What::AgentDied { process, expected, detected_by: by, lag, lifetime: Span::from_millis(12_345) };
    let missing = |kind| What::ResourceMissing {
        resource: "claude_md".to_owned(),
        path: "CLAUDE.md".to_owned(),
        detected_by: Source::Inotify,
        lag,
        failure: Box::new(Failure { kind, ..operation() }),
    };
    let restored = |parked| What::ResourceRestored { path: "CLAUDE.md".to_owned(), parked };
    let reported =
        |kind: &str, text: Option<&str>| What::AgentReported { kind: kind.to_owned(), text: text.map(str::to_owned) };
    let silent =
        |tool, hooks| What::AgentSilent { silent: Span::from_secs(600), limit: Span::from_secs(1_200), tool, hooks };
    vec![
        What::RoleMoved { from: RoleState::Ready, to: RoleState::Working },
        What::EffectIntended { effect_id: EffectId(12), effect: "ensure_worktree".to_owned() },
        What::AgentStarted { process },
        What::AgentAdopted { process },
        died(false),
        died(true),
        What::DeathExplained { failure: Box::new(failure()) },
        missing(FailureKind::ResourceMissing),
        missing(FailureKind::ResourceChanged),
        missing(FailureKind::Io),
        restored(Vec::new()),
        restored(vec!["backups/parked/CLAUDE.md".to_owned()]),
        What::BriefHanded { times: 1 },
        What::BriefHanded { times: 3 },
        What::BriefAcknowledged,
        reported("done", Some("all tests pass")),
        reported("needs_input", None),
        reported("fail", Some("the API key is invalid")),
        reported("credit", Some("for 3600 s")),
        silent(false, true),
        silent(true, true),
        silent(false, false),
        What::AgentNudged { silent: Span::from_secs(600), rests: false },
        What::AgentNudged { silent: Span::from_secs(600), rests: true },
        What::AgentStalled { failure: Box::new(failure()) },
    ]
}

/// Every event, at least once; some twice, where two of its values make two sentences.
pub(super) fn every() -> Vec<Signal> {
    let project = project();
    let mut all: Vec<Signal> = fleet_events().into_iter().map(Signal::fleet).collect();
    all.extend(project_events().into_iter().map(|what| Signal::project(&project, what)));
    all.extend(role_events().into_iter().map(|what| Signal::role(&project, 0, what)));
    all
}

/// Every place where outside text can come in, with this text in it.
pub(super) fn hostile(text: &str) -> Vec<Signal> {
    let own = || text.to_owned();
    let bad = || {
        Box::new(Failure {
            argv: vec![own()],
            ending: Ending::Reason(own()),
            stderr: Stderr::Text(own()),
            stdout_tail: own(),
            hint: Some(own()),
            ..failure()
        })
    };
    let (by, lag) = (Source::Inotify, Span(0));
    let all = vec![
        What::OrchestratorStopped { reason: own() },
        What::TmuxLost { reason: own() },
        What::SpoolRejected { name: own(), reason: own(), stale: false },
        What::MoveRefused { refused: own() },
        What::SightLost { unknown: own(), lasted: lag },
        What::LateCreation { trace: own(), cause: own() },
        What::RequestRefused { request: 1, kind: RequestKind::Retry, reason: own() },
        What::ProjectEnqueued { title: own(), roles: 1 },
        What::EffectIntended { effect_id: EffectId(1), effect: own() },
        What::DeathExplained { failure: bad() },
        What::SubprocessFailed { failure: bad() },
        What::OperationFailed { failure: bad() },
        What::ProjectFailed { failure: bad() },
        What::ResourceMissing { resource: own(), path: own(), detected_by: by, lag, failure: bad() },
        What::ResourceRestored { path: own(), parked: vec![own()] },
        What::AgentReported { kind: own(), text: Some(own()) },
        What::ProjectCertified { heads: vec![Head { role: RoleName(own()), sha: own(), dirty: true }] },
    ];
    all.into_iter()
        .map(|what| Signal {
            project_id: None,
            agent_role: Some(RoleName(own())),
            epoch: None,
            session: Some(own()),
            what,
        })
        .collect()
}

/// A signal at a place in the journal.
pub(super) fn entry(seq: i64, at: Timestamp, signal: Signal) -> Entry {
    Entry { seq: Seq(seq), at, wall: WallTime(1_795_175_993_000_000 + at.0.cast_signed()), signal }
}

#[test]
fn the_samples_hold_every_event() {
    // `text::name` matches exhaustively, so a new event is noticed there first, and then here.
    let names: std::collections::BTreeSet<_> = every().iter().map(|signal| super::text::name(&signal.what)).collect();
    assert_eq!(names.len(), 46, "{names:?}");
}
