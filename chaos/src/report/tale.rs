//! A simulated run told line by line: what is true of the world, and what the orchestrator says of it, as it happens.
//!
//! `~` begins what is so, `!` a fault that takes effect, `#` and a number an entry of the journal.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::schedule::{Planned, Schedule};
use crate::seed::Seed;
use crate::truth::Incarnation;
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName, Token};
use orchestrator::domain::signal::Entry;
use orchestrator::domain::time::Timestamp;
use orchestrator::telemetry::line::{Context, Mode, json_line};
use orchestrator::telemetry::text;
use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;

/// Looks on like a checker and tells everything; it judges nothing.
pub struct Teller<F> {
    schedule: Schedule,
    line: F,
    exactly: bool,
}

impl<F: FnMut(&str)> Teller<F> {
    /// Tells a run of this schedule; each line is handed to `line` as it happens, so that a run which does not come to
    /// its end is told up to there.
    pub fn new(schedule: &Schedule, line: F) -> Self {
        Self { schedule: schedule.clone(), line, exactly: false }
    }

    /// Tells it as exactly as the fingerprint is taken: behind a tab each line has all that its words leave out.
    pub fn exactly(schedule: &Schedule, line: F) -> Self {
        Self { exactly: true, ..Self::new(schedule, line) }
    }

    fn tell(&mut self, at: Timestamp, mark: &str, text: &str, all: &dyn Debug) {
        let seconds = at.0 as f64 / 1e6;
        let all = if self.exactly { format!("\t{all:?}") } else { String::new() };
        (self.line)(&format!("{seconds:>13.6}  {mark:<6} {text}{all}"));
    }
}

impl<F: FnMut(&str)> Checker for Teller<F> {
    fn id(&self) -> &'static str {
        "told"
    }

    fn title(&self) -> &'static str {
        "everything is told"
    }

    fn observe(&mut self, entry: &Entry) {
        let signal = &entry.signal;
        let whose = match (signal.project_id, &signal.agent_role) {
            (Some(project), Some(role)) => format!("p{project} {}: ", role.0),
            (Some(project), None) => format!("p{project}: "),
            (None, _) => String::new(),
        };
        let (name, message) = (text::name(&signal.what), text::message(signal));
        self.tell(entry.at, &format!("#{}", entry.seq.0), &format!("{whose}{name}: {message}"), entry);
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::Injected { id } = told.fact {
            let planned = self.schedule.faults.iter().find(|planned| planned.id == id);
            let what = planned.map_or_else(String::new, |planned| format!(": {}", fault(planned)));
            self.tell(told.at, "!", &format!("fault {id} takes effect{what}"), &told.fact);
        } else {
            self.tell(told.at, "~", &words(&told.fact), &told.fact);
        }
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        looked_on()
    }
}

/// Lines of a run with their times, as a [`Keeper`] keeps them.
pub type Kept = Rc<RefCell<Vec<(Timestamp, String)>>>;

/// Looks on like a checker and keeps the journal as lines of `events.ndjson`; it judges nothing.
pub struct Keeper {
    context: Context,
    kept: Kept,
}

impl Keeper {
    /// Keeps what a run of that id and seed says.
    #[must_use]
    pub fn new(run_id: &str, seed: Seed) -> (Self, Kept) {
        let (run_id, installation) = (Some(run_id.to_owned()), "sim".to_owned());
        let context = Context { run_id, mode: Mode::Sim, seed: Some(seed.0), installation };
        let kept = Kept::default();
        (Self { context, kept: Rc::clone(&kept) }, kept)
    }
}

impl Checker for Keeper {
    fn id(&self) -> &'static str {
        "kept"
    }

    fn title(&self) -> &'static str {
        "the journal is kept"
    }

    fn observe(&mut self, entry: &Entry) {
        let line = json_line(entry, &self.context, Some(entry.at));
        self.kept.borrow_mut().push((entry.at, line));
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        looked_on()
    }
}

/// What somebody says in the end who judges nothing.
fn looked_on() -> Verdict {
    let mut told = Tally::default();
    told.held(1);
    told.verdict("")
}

/// What a fault is, and whom it hits: projects are counted from 0 in a schedule.
fn fault(planned: &Planned) -> String {
    let role = planned.role.map_or_else(String::new, |role| format!(", role-{role}"));
    format!("{} ({}; project {} of the schedule{role})", planned.kind, planned.kind.entry().title, planned.project)
}

fn agent(of: &Incarnation) -> String {
    format!("p{} {} epoch {}", of.project, of.role.0, of.epoch.0)
}

fn role(project: ProjectId, role: &RoleName) -> String {
    format!("p{project} {}", role.0)
}

fn process(process: ProcessId) -> String {
    format!("process {}@{}", process.pid, process.start)
}

/// A token, as long as it takes to tell it from others.
fn token(token: Option<&Token>) -> String {
    token.map_or_else(|| "no token".to_owned(), |token| format!("token {:.8}", token.0))
}

/// A fact in words.
fn words(fact: &Fact) -> String {
    match fact {
        Fact::Accepted { project, roles } => {
            let roles: Vec<&str> = roles.iter().map(|role| role.0.as_str()).collect();
            format!("p{project} is accepted: {}", roles.join(", "))
        }
        Fact::SessionUp { name, token: mark, ours } => {
            let whose = if *ours { "" } else { ", and it is somebody else's" };
            format!("session {name} is there ({}{whose})", token(mark.as_ref()))
        }
        Fact::SessionGone { name, token: mark } => format!("session {name} is gone ({})", token(mark.as_ref())),
        Fact::AgentBorn { incarnation, process: born } => {
            format!("{} lives ({}, {})", agent(incarnation), process(*born), token(Some(&incarnation.token)))
        }
        Fact::AgentGone { incarnation, process: gone } => {
            format!("{} is dead ({})", agent(incarnation), process(*gone))
        }
        Fact::ChildBorn { project, role: of, process: born, .. } => {
            format!("{} has a child that lives on its own ({})", role(*project, of), process(*born))
        }
        Fact::ChildGone { project, process: gone } => format!("a child of p{project} is dead ({})", process(*gone)),
        Fact::Done { incarnation } => format!("{} wrote that it is done", agent(incarnation)),
        Fact::GaveUp { incarnation } => format!("{} wrote that it gives up", agent(incarnation)),
        Fact::Hangs { incarnation } => format!("{} hangs from here on", agent(incarnation)),
        Fact::BriefLost { incarnation } => format!("the brief does not come to {}", agent(incarnation)),
        Fact::Unfit { project, role: of, why } => format!("{why} of {} is not as it must be", role(*project, of)),
        Fact::Fit { project, role: of } => format!("the ground of {} is as it must be", role(*project, of)),
        Fact::ServerUp { server } => format!("the tmux server is there ({})", process(*server)),
        Fact::ServerGone { server } => format!("the tmux server is gone ({})", process(*server)),
        Fact::ServerStopped => "the tmux server answers nothing from here on".to_owned(),
        Fact::ServerContinued => "the tmux server answers again".to_owned(),
        Fact::Serving { life } => format!("orchestrator {life} serves"),
        Fact::NotServing { life } => format!("orchestrator {life} is gone, or stopped"),
        Fact::Second { refused, wrote } => {
            let comes_of_it = if *refused { "is refused" } else { "is not refused" };
            let writes = if *wrote { ", and the database changes" } else { "" };
            format!("a second orchestrator is started beside one that holds the lock, and {comes_of_it}{writes}")
        }
        Fact::Began { life, effect, name, durable } => {
            let looks = if *durable { "" } else { " (it only looks)" };
            format!("orchestrator {life} begins effect {}: {name}{looks}", effect.0)
        }
        Fact::Hindered { by } => format!("nothing gets through in time from here on: {by}"),
        Fact::Unhindered { by } => format!("things get through again: {by}"),
        Fact::StrangerReached { process } => {
            format!("the pane of {process}, which is somebody else's, is written into")
        }
        Fact::StrangerGone { process } => format!("process {process}, which is somebody else's, is gone"),
        Fact::Rebooted => "the machine starts anew: every process is gone".to_owned(),
        Fact::Scraped { series } => format!("the metrics are read: {} series", series.len()),
        Fact::Acknowledged { incarnation } => format!("{} wrote that it has read its brief", agent(incarnation)),
        Fact::Injected { id } => format!("fault {id} takes effect"),
        Fact::Ranked { project, priority } => format!("p{project} has priority {priority}"),
        Fact::Asked { request, project, kind } => {
            let what = project.map_or_else(|| "the fleet".to_owned(), |project| format!("p{project}"));
            format!("an operator asks for {kind} of {what} (request {request})")
        }
        Fact::Spent { project, wait } => {
            format!("an agent of p{project} wrote that it is out of credit for {} s", wait.as_millis() / 1_000)
        }
        Fact::Healed => "no more faults; what was broken from outside is put right".to_owned(),
    }
}
