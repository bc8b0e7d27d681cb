//! A store with real commits in it, for the tests of the viewers.

use super::status::{FleetBreaker, Snapshot};
use crate::domain::breaker::BreakerState;
use crate::domain::decision::{Decision, Transition};
use crate::domain::effect::{Effect, Ordered};
use crate::domain::event::Source;
use crate::domain::failure::{Ending, Failure, FailureKind, Program, Stage, Stderr};
use crate::domain::fleet::Tmux;
use crate::domain::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Token};
use crate::domain::limits::Policy;
use crate::domain::project::{Project, SessionIs, SessionRef, Worktree};
use crate::domain::signal::{Signal, What};
use crate::domain::spec::{Hooks, RoleSpec, Spec};
use crate::domain::state::{ProjectEvent, RoleEvent, SuspendReason};
use crate::domain::time::{Now, Span, Timestamp, WallTime};
use crate::store::{LeaseRow, Mode, Settlement, Store, Turn};
use std::collections::BTreeMap;

/// A store in a directory of its own.
pub(super) struct Built {
    pub(super) store: Store,
    _dir: tempfile::TempDir,
    at: Timestamp,
}

fn now(at: Timestamp) -> Now {
    // 2026-11-20T12:00:00Z is the timeline's start.
    Now { at, wall: WallTime(1_795_176_000_000_000 + at.0.cast_signed()), seed: [0; 32] }
}

pub(super) fn spec(title: &str, roles: &[&str]) -> Spec {
    let role = |name: &&str| RoleSpec {
        name: RoleName((*name).to_owned()),
        command: vec!["claude".to_owned(), "--continue".to_owned()],
        claude_md: "Be good.".into(),
        env: BTreeMap::new(),
        progress: true,
        hooks: Hooks::None,
    };
    Spec {
        title: title.to_owned(),
        repo: "/srv/mobile-app".to_owned(),
        base_sha: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        brief: "Build it.".into(),
        key: None,
        priority: 0,
        batch: None,
        roles: roles.iter().map(role).collect(),
        resources: Vec::new(),
    }
}

/// A project with the decision that is being made about it.
struct Step {
    project: Project,
    decision: Decision,
    next_effect: i64,
}

impl Step {
    fn go(&mut self, event: ProjectEvent, cause: Option<FailureKind>, at: Timestamp) {
        let since = self.project.state_since;
        let moved = self.project.take(event, at).unwrap();
        self.decision.transitions.push(Transition::Project(self.project.id, moved));
        let (reason, after) = (self.project.reason, at.since(since));
        self.tell(What::ProjectMoved { from: moved.from(), to: moved.to(), cause, reason, after });
    }

    fn role(&mut self, index: usize, event: RoleEvent) {
        let moved = self.project.roles[index].take(event).unwrap();
        let name = self.project.roles[index].name.clone();
        self.decision.transitions.push(Transition::Role(self.project.id, name, moved));
        self.tell_role(index, What::RoleMoved { from: moved.from(), to: moved.to() });
    }

    fn tell(&mut self, what: What) {
        self.decision.signals.push(Signal::project(&self.project, what));
    }

    fn tell_role(&mut self, index: usize, what: What) {
        self.decision.signals.push(Signal::role(&self.project, index, what));
    }

    fn order(&mut self, index: usize, effect: Effect) {
        let id = EffectId(self.next_effect);
        self.next_effect += 1;
        self.tell_role(index, What::EffectIntended { effect_id: id, effect: effect.name().to_owned() });
        let role = Some(self.project.roles[index].name.clone());
        let project = Some(self.project.id);
        self.decision.effects.push(Ordered {
            id,
            project,
            role,
            stage: Stage::Launch,
            source: Source::Timer,
            seen_at: Timestamp(0),
            effect,
        });
    }

    /// The session and every role's process are there.
    fn launch(&mut self, epoch: u32, at: Timestamp) {
        let id = self.project.id;
        self.project.epoch = Epoch(epoch);
        let (name, token) = (format!("{}-e{epoch}", self.project.slug), Token(format!("{id:08}{epoch:024}")));
        self.project.session = Some(SessionRef { name, token, is: SessionIs::Live, server: None });
        self.go(ProjectEvent::Provisioned, None, at);
        for index in 0..self.project.roles.len() {
            let role = &mut self.project.roles[index];
            role.epoch = Epoch(epoch);
            role.token = Some(Token(format!("{id:08}{epoch:016}{index:08}")));
            role.pane = Some(format!("%{index}"));
            let pid = 4_000 + u32::try_from(index).unwrap() + epoch * 10;
            role.process = Some(ProcessId { pid, start: 77 });
            role.started_at = Some(at);
            role.worktree = Some(Worktree {
                path: format!("worktrees/p{id}/{}", role.name),
                branch: format!("orch/{}/{}/e{epoch}", self.project.slug, role.name),
                ready: true,
            });
            self.role(index, RoleEvent::Launched);
        }
        self.tell(What::SessionCreated { adopted: false });
        for index in 0..self.project.roles.len() {
            let process = self.project.roles[index].process.unwrap();
            self.tell_role(index, What::AgentStarted { process });
        }
        self.go(ProjectEvent::Launched, None, at);
    }
}

impl Built {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("orch.db"), Mode::Create).unwrap();
        store.set_installation("ab12").unwrap();
        Self { store, _dir: dir, at: Timestamp(0) }
    }

    fn later(&mut self, millis: u64) -> Timestamp {
        self.at = self.at + Span::from_millis(millis);
        self.at
    }

    fn enqueue(&mut self, title: &str, roles: &[&str]) -> ProjectId {
        let at = self.later(1_000);
        self.store.enqueue(&spec(title, roles), &now(at)).unwrap().id
    }

    /// Loads a project, lets `work` decide about it, and commits that.
    fn commit(&mut self, id: ProjectId, millis: u64, work: impl FnOnce(&mut Step, Timestamp)) {
        let at = self.later(millis);
        let fleet = self.store.load_fleet(Policy::default()).unwrap();
        let project = fleet.project(id).unwrap().clone();
        let mut step = Step { project, decision: Decision::default(), next_effect: fleet.next_effect.0 };
        work(&mut step, at);
        step.decision.rows.insert(step.project.id);
        step.decision.projects.push(step.project.into());
        step.decision.tmux = Some(Tmux::Alive(ProcessId { pid: 900, start: 5 }));
        let turn = Turn { decision: step.decision, ..Turn::default() };
        self.store.commit(&turn, &now(at)).unwrap();
    }

    fn settle(&mut self, effect: i64) {
        let at = self.later(5);
        let settled = vec![Settlement { effect: EffectId(effect), confirmed: true }];
        self.store.commit(&Turn { settled, ..Turn::default() }, &now(at)).unwrap();
    }

    /// One more entry, of the fleet.
    pub(super) fn tell_stopped(&mut self, reason: &str) {
        let at = self.later(10);
        let signal = Signal::fleet(What::OrchestratorStopped { reason: reason.to_owned() });
        self.store.journal(signal, &now(at)).unwrap();
    }

    /// As `orch status` would see it a quarter of an hour later, with an orchestrator serving.
    pub(super) fn snapshot(&self) -> Snapshot {
        let holder = ProcessId { pid: 815, start: 1 };
        let tmux = self.store.lease().unwrap().map_or("unknown".to_owned(), |lease| lease.tmux);
        let renewed = self.at + Span::from_secs(895);
        let lease = LeaseRow { epoch: 1, holder, since: Timestamp(0), renewed, released: false, http: None, tmux };
        Snapshot {
            now: self.at + Span::from_secs(900),
            window: Policy::default().breaker_window(),
            serving: Some(lease),
            degraded: None,
            fleet: FleetBreaker { open: false, breakers: 1, max: Policy::default().fleet_breaker_max },
            projects: self.store.project_rows(None).unwrap(),
        }
    }
}

/// A fleet of four: one that works, one that failed, one whose breaker is open, one that waits.
pub(super) fn fleet() -> Built {
    let mut built = Built::new();
    built.store.take_lease(ProcessId { pid: 815, start: 1 }, Timestamp(0), None).unwrap();
    let started = What::OrchestratorStarted {
        process: ProcessId { pid: 815, start: 1 },
        version: "0.1.0".to_owned(),
        unfinished: 0,
        unconfirmed: 0,
    };
    built.store.journal(Signal::fleet(started), &now(Timestamp(0))).unwrap();
    let works = built.enqueue("Mobile app, version 2", &["developer", "tester"]);
    let fails = built.enqueue("évil \u{1b}[31mtitle; kill-server #(touch x)", &["developer"]);
    let rests = built.enqueue("日本語のプロジェクト", &["developer"]);
    built.enqueue("Waits for a slot", &["developer"]);
    working(&mut built, works);
    failing(&mut built, fails);
    resting(&mut built, rests);
    built
}

fn working(built: &mut Built, id: ProjectId) {
    built.commit(id, 100, |step, at| {
        step.go(ProjectEvent::Admitted, None, at);
        let (repo, path) = ("/srv/mobile-app".to_owned(), "worktrees/p1/developer".to_owned());
        let (branch, base) = ("orch/p1-ab12/developer/e1".to_owned(), "0123".to_owned());
        let park = "backups/parked/p1-ab12/developer".to_owned();
        step.order(0, Effect::EnsureWorktree { repo, path, branch, base, park });
    });
    built.settle(1);
    built.commit(id, 40, |step, at| {
        step.launch(1, at);
        let line = "Read your brief".to_owned();
        step.order(1, Effect::HandBrief { pane: "%1".to_owned(), token: Token("0".repeat(32)), line, again: false });
        step.tell_role(1, What::BriefHanded { times: 1 });
    });
    built.commit(id, 2_000, |step, at| {
        for index in 0..2 {
            step.tell_role(index, What::BriefAcknowledged);
            step.role(index, RoleEvent::Acknowledged);
        }
        step.project.roles[0].last_progress = Some(at);
        step.role(0, RoleEvent::Progressed);
        step.role(1, RoleEvent::Finished);
        step.tell_role(1, What::AgentReported { kind: "done".to_owned(), text: Some("all\ngreen".to_owned()) });
        step.go(ProjectEvent::Briefed, None, at);
    });
}

/// An agent's death with words that must not be obeyed.
fn death() -> Failure {
    Failure {
        stage: Stage::Run,
        kind: FailureKind::AgentExited,
        program: Program::Agent,
        argv: vec!["claude".to_owned(), "--continue".to_owned()],
        cwd: Some("worktrees/p2/developer".to_owned()),
        ending: Ending::Code(41),
        stderr: Stderr::Text("warming up\n\u{1b}[2Jfatal: no API key\n".to_owned()),
        stdout_tail: "thinking…\n".to_owned(),
        duration: Span::from_millis(12_345),
        hint: Some("is ANTHROPIC_API_KEY set for the agent?".to_owned()),
    }
}

fn failing(built: &mut Built, id: ProjectId) {
    built.commit(id, 100, |step, at| step.go(ProjectEvent::Admitted, None, at));
    built.commit(id, 40, |step, at| {
        step.launch(1, at);
        step.tell_role(0, What::BriefAcknowledged);
        step.role(0, RoleEvent::Acknowledged);
        step.go(ProjectEvent::Briefed, None, at);
    });
    built.commit(id, 12_345, |step, at| {
        let process = step.project.roles[0].process.take().unwrap();
        let (detected_by, lag, lifetime) = (Source::Pidfd, Span(700), Span::from_millis(12_345));
        step.tell_role(0, What::AgentDied { process, expected: false, detected_by, lag, lifetime });
        step.role(0, RoleEvent::Died);
        step.tell_role(0, What::DeathExplained { failure: Box::new(death()) });
        step.project.last_failure = Some(Box::new(death()));
        step.tell(What::ProjectFailed { failure: Box::new(death()) });
        step.go(ProjectEvent::GaveUp, Some(FailureKind::AgentExited), at);
    });
}

fn resting(built: &mut Built, id: ProjectId) {
    built.commit(id, 100, |step, at| step.go(ProjectEvent::Admitted, None, at));
    built.commit(id, 40, |step, at| step.launch(1, at));
    built.commit(id, 400, |step, at| {
        let cause = FailureKind::SessionDied;
        step.tell(What::SessionDied { detected_by: Source::Sweep, lag: Span::from_millis(1_200) });
        step.project.roles[0].process = None;
        step.role(0, RoleEvent::Died);
        step.go(ProjectEvent::Faulted, Some(cause), at);
        step.project.breaker.attempts = vec![at, at, at];
        step.project.breaker.open(at, &Policy::default());
        step.tell(What::RecoveryRefused { retry_in: Span::from_secs(3_600), cause });
        step.tell(What::BreakerMoved { from: BreakerState::Closed, to: BreakerState::Open, attempts: 3 });
        step.project.reason = Some(SuspendReason::Breaker);
        step.go(ProjectEvent::BreakerOpened, Some(cause), at);
        step.project.last_failure = Some(Box::new(death()));
    });
}
