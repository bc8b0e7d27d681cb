//! Hand-written histories, for tests: what the orchestrator would tell, in a few words.

use crate::fault::Kind;
use crate::history::Logged;
use crate::truth::Injection;
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::event::Source;
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Program, Stage, Stderr};
use orchestrator::domain::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Seq};
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::{Entry, Signal, What};
use orchestrator::domain::state::{ProjectState, RoleState, SuspendReason};
use orchestrator::domain::time::{Span, Timestamp, WallTime};

/// A journal being written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    journal: Vec<Logged>,
    at: u64,
    epoch: u32,
    effects: i64,
}

/// A fault that took effect at that millisecond.
pub(crate) fn injection(id: u32, kind: Kind, project: i64, role: Option<&str>, at_ms: u64) -> Injection {
    Injection {
        id,
        kind,
        victim: None,
        project: Some(ProjectId(project)),
        role: role.map(|role| RoleName(role.to_owned())),
        injected_at: Some(Timestamp(at_ms * 1_000)),
        probe: Ok(()),
    }
}

/// A failure of that kind with everything said.
pub(crate) fn failure(kind: FailureKind, program: Program, ending: Ending, stderr: Stderr) -> Box<Failure> {
    let words = vec!["program".to_owned(), "argument".to_owned()];
    let failure = Failure::of_operation(Stage::Run, kind, words, "");
    Box::new(Failure { program, ending, stderr, ..failure })
}

impl Story {
    pub(crate) fn new() -> Self {
        Self { epoch: 1, ..Self::default() }
    }

    /// A project that came to run in the first second.
    pub(crate) fn running(project: i64) -> Self {
        Self::new().also_running(project)
    }

    pub(crate) fn also_running(self, project: i64) -> Self {
        use ProjectState as S;
        let story = self.enqueued(project).moved(project, S::Queued, S::Provisioning);
        let story = story.effect(project, "ensure_worktree").moved(project, S::Provisioning, S::Launching);
        let story = story.effect(project, "ensure_session").tell(project, What::SessionCreated { adopted: false });
        story.moved(project, S::Launching, S::Briefing).moved(project, S::Briefing, S::Running)
    }

    pub(crate) fn at(mut self, at_ms: u64) -> Self {
        self.at = at_ms * 1_000;
        self
    }

    pub(crate) fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = epoch;
        self
    }

    pub(crate) fn journal(&self) -> &[Logged] {
        &self.journal
    }

    pub(crate) fn say(mut self, signal: Signal) -> Self {
        let seq = Seq(self.journal.len() as i64 + 1);
        let at = Timestamp(self.at);
        let entry = Entry { seq, at, wall: WallTime(0), signal };
        self.journal.push(Logged::new(entry, at));
        self
    }

    pub(crate) fn tell(self, project: i64, what: What) -> Self {
        let epoch = Some(Epoch(self.epoch));
        let session = Some(format!("p{project}-x-{}", self.epoch));
        self.say(Signal { project_id: Some(ProjectId(project)), agent_role: None, epoch, session, what })
    }

    pub(crate) fn tell_of(self, project: i64, role: &str, what: What) -> Self {
        let mut story = self.tell(project, what);
        if let Some(last) = story.journal.last_mut() {
            last.entry.signal.agent_role = Some(RoleName(role.to_owned()));
        }
        story
    }

    pub(crate) fn enqueued(self, project: i64) -> Self {
        self.tell(project, What::ProjectEnqueued { title: "a project".to_owned(), roles: 2 })
    }

    pub(crate) fn moved(self, project: i64, from: ProjectState, to: ProjectState) -> Self {
        let cause = (to == ProjectState::Recovering).then_some(FailureKind::SessionDied);
        self.tell(project, What::ProjectMoved { from, to, cause, reason: None, after: Span(0) })
    }

    pub(crate) fn role_moved(self, project: i64, role: &str, from: RoleState, to: RoleState) -> Self {
        self.tell_of(project, role, What::RoleMoved { from, to })
    }

    pub(crate) fn effect(mut self, project: i64, effect: &str) -> Self {
        self.effects += 1;
        let (effect_id, effect) = (EffectId(self.effects), effect.to_owned());
        self.tell(project, What::EffectIntended { effect_id, effect })
    }

    fn agent_died(self, project: i64, role: &str) -> Self {
        let process = ProcessId { pid: 7, start: 7 };
        let (detected_by, lag, lifetime) = (Source::Pidfd, Span(10), Span(1_000));
        self.tell_of(project, role, What::AgentDied { process, expected: false, detected_by, lag, lifetime })
    }

    pub(crate) fn session_killed(self, project: i64) -> Self {
        let gone = || failure(FailureKind::SessionDied, Program::Tmux, Ending::Reason("gone".into()), Stderr::Null);
        self.agent_died(project, "developer")
            .agent_died(project, "tester")
            .tell_of(project, "developer", What::DeathExplained { failure: gone() })
            .tell_of(project, "tester", What::DeathExplained { failure: gone() })
            .tell(project, What::SessionDied { detected_by: Source::Control, lag: Span(10) })
            .moved(project, ProjectState::Running, ProjectState::Recovering)
    }

    pub(crate) fn agent_exited(self, project: i64, role: &str, code: i32, stderr: Stderr) -> Self {
        let failure = failure(FailureKind::AgentExited, Program::Agent, Ending::Code(code), stderr);
        self.agent_died(project, role).tell_of(project, role, What::DeathExplained { failure }).moved(
            project,
            ProjectState::Running,
            ProjectState::Recovering,
        )
    }

    pub(crate) fn file_missing(self, project: i64, role: &str) -> Self {
        let ending = Ending::Reason("no such file".to_owned());
        let failure = failure(FailureKind::ResourceMissing, Program::Orch, ending, Stderr::Null);
        let (resource, path) = ("claude_md".to_owned(), "CLAUDE.md".to_owned());
        let (detected_by, lag) = (Source::Inotify, Span(10));
        self.tell_of(project, role, What::ResourceMissing { resource, path, detected_by, lag, failure })
    }

    pub(crate) fn git_failed(self, project: i64, code: i32) -> Self {
        let failure = failure(FailureKind::SubprocessFailed, Program::Git, Ending::Code(code), Stderr::Empty);
        self.tell(project, What::SubprocessFailed { failure })
    }

    pub(crate) fn attempt(self, project: i64, attempt: u32) -> Self {
        let cause = FailureKind::SessionDied;
        self.tell(project, What::RecoveryStarted { attempt, max_attempts: 3, cause, probe: false })
    }

    /// Back through every stage to running.
    pub(crate) fn recovered(self, project: i64) -> Self {
        use ProjectState as S;
        let way = [S::Recovering, S::Provisioning, S::Launching, S::Briefing, S::Running];
        let story = way.windows(2).fold(self, |story, step| story.moved(project, step[0], step[1]));
        story.tell(project, What::RecoverySucceeded { attempts: 1, duration: Span(1_000) })
    }

    /// An operator asks, and it is being done.
    pub(crate) fn asked(self, project: i64, kind: RequestKind) -> Self {
        self.tell(project, What::OperatorAsked { request: 1, kind })
    }

    pub(crate) fn breaker(self, project: i64, from: BreakerState, to: BreakerState) -> Self {
        self.tell(project, What::BreakerMoved { from, to, attempts: 3 })
    }

    pub(crate) fn refused(self, project: i64) -> Self {
        let (retry_in, cause) = (Span::from_secs(3_600), FailureKind::SessionDied);
        let (from, to) = (ProjectState::Recovering, ProjectState::Suspended);
        let reason = Some(SuspendReason::Breaker);
        self.tell(project, What::RecoveryRefused { retry_in, cause })
            .breaker(project, BreakerState::Closed, BreakerState::Open)
            .tell(project, What::ProjectMoved { from, to, cause: Some(cause), reason, after: Span(0) })
    }

    pub(crate) fn completed(self, project: i64) -> Self {
        self.tell(project, What::ProjectCertified { heads: Vec::new() }).moved(
            project,
            ProjectState::Running,
            ProjectState::Completed,
        )
    }
}
