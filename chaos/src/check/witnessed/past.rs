//! Hand-written pasts, for tests: what happened and what was told of it, in the order of time.

use crate::check::{Checker, Evidence, Is};
use crate::story::Story;
use crate::truth::{Claims, Incarnation, Submitted, Truth};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::event::Source;
use orchestrator::domain::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Token};
use orchestrator::domain::signal::{Entry, Signal, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::{Span, Timestamp};

enum Step {
    Fact(Witnessed),
    Entry(Entry),
}

/// A past of one project with one role, unless it says otherwise.
pub(super) struct Past {
    at: u64,
    story: Story,
    steps: Vec<Step>,
    claims: Claims,
}

pub(super) fn process(pid: u32) -> ProcessId {
    ProcessId { pid, start: 1 }
}

/// The incarnation of that epoch.
pub(super) fn whose(project: i64, epoch: u32) -> Incarnation {
    let role = RoleName("role-0".to_owned());
    Incarnation { project: ProjectId(project), role, epoch: Epoch(epoch), token: Token(format!("{project}.{epoch}")) }
}

impl Past {
    /// Project 1 was accepted, and somebody serves.
    pub(super) fn new() -> Self {
        let claims = Claims { differences: Some(Vec::new()), ..Claims::default() };
        let past = Self { at: 0, story: Story::new(), steps: Vec::new(), claims };
        let roles = vec![RoleName("role-0".to_owned())];
        past.fact(Fact::Serving { life: 0 }).fact(Fact::Accepted { project: ProjectId(1), roles })
    }

    pub(super) fn at(mut self, seconds: u64) -> Self {
        self.at = seconds * 1_000;
        self.story = self.story.at(self.at);
        self
    }

    pub(super) fn fact(mut self, fact: Fact) -> Self {
        self.steps.push(Step::Fact(Witnessed { at: Timestamp(self.at * 1_000), fact }));
        self
    }

    /// Lets the story go on.
    pub(super) fn told(mut self, goes_on: impl FnOnce(Story) -> Story) -> Self {
        let before = self.story.journal().len();
        self.story = goes_on(self.story);
        let new = self.story.journal().iter().skip(before);
        self.steps.extend(new.map(|logged| Step::Entry(logged.entry.clone())));
        self
    }

    pub(super) fn claims(mut self, claims: Claims) -> Self {
        self.claims = claims;
        self
    }

    pub(super) fn tell(self, what: What) -> Self {
        self.told(|story| story.tell_of(1, "role-0", what))
    }

    pub(super) fn fleet(self, what: What) -> Self {
        self.told(|story| story.say(Signal::fleet(what)))
    }

    pub(super) fn moved(self, from: ProjectState, to: ProjectState) -> Self {
        self.told(|story| story.moved(1, from, to))
    }

    /// Straight to running, as the journal tells it.
    pub(super) fn running(self) -> Self {
        self.told(|story| story.also_running(1))
    }

    pub(super) fn born(self, project: i64, epoch: u32, pid: u32) -> Self {
        self.fact(Fact::AgentBorn { incarnation: whose(project, epoch), process: process(pid) })
    }

    pub(super) fn gone(self, project: i64, epoch: u32, pid: u32) -> Self {
        self.fact(Fact::AgentGone { incarnation: whose(project, epoch), process: process(pid) })
    }

    pub(super) fn gave_up(self, project: i64, epoch: u32) -> Self {
        self.fact(Fact::GaveUp { incarnation: whose(project, epoch) })
    }

    pub(super) fn started(self, pid: u32) -> Self {
        self.tell(What::AgentStarted { process: process(pid) })
    }

    pub(super) fn died(self, pid: u32) -> Self {
        let (process, detected_by) = (process(pid), Source::Pidfd);
        self.tell(What::AgentDied { process, expected: false, detected_by, lag: Span(0), lifetime: Span(0) })
    }

    pub(super) fn unfit(self) -> Self {
        self.fact(Fact::Unfit { project: ProjectId(1), role: RoleName("role-0".to_owned()), why: "CLAUDE.md" })
    }

    pub(super) fn fit(self) -> Self {
        self.fact(Fact::Fit { project: ProjectId(1), role: RoleName("role-0".to_owned()) })
    }

    pub(super) fn missing(self) -> Self {
        self.told(|story| story.file_missing(1, "role-0"))
    }

    pub(super) fn began(self, effect: i64, name: &'static str) -> Self {
        self.fact(Fact::Began { life: 0, effect: EffectId(effect), name, durable: true })
    }

    pub(super) fn session_up(self, name: &str) -> Self {
        self.fact(Fact::SessionUp { name: name.to_owned(), token: Some(Token("s".to_owned())), ours: true })
    }

    /// What a checker says of it, at the end.
    pub(super) fn is(&self, mut checker: impl Checker) -> Is {
        for step in &self.steps {
            match step {
                Step::Fact(fact) => checker.witness(fact),
                Step::Entry(entry) => checker.observe(entry),
            }
        }
        let submitted = vec![Submitted { id: ProjectId(1), roles: Vec::new() }];
        let truth = Truth { submitted, ended_at: Timestamp(self.at * 1_000), ..Truth::default() };
        checker.finish(&Evidence { truth: &truth, claims: &self.claims, matched: &[], journal: &[] }).is
    }
}
