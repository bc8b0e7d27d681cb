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
use std::rc::Rc;

/// Looks on like a checker and tells everything; it judges nothing.
pub struct Teller<F> {
    schedule: Schedule,
    line: F,
}

impl<F: FnMut(&str)> Teller<F> {
    /// Tells a run of this schedule; each line is handed to `line` as it happens, so that a run which does not come to
    /// its end is told up to there.
    pub fn new(schedule: &Schedule, line: F) -> Self {
        Self { schedule: schedule.clone(), line }
    }

    fn tell(&mut self, at: Timestamp, mark: &str, text: &str) {
        (self.line)(&format!("{:>13}  {mark:<6} {text}", seconds(at)));
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
        self.tell(entry.at, &format!("#{}", entry.seq.0), &format!("{whose}{name}: {message}"));
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::Injected { id } = told.fact {
            let planned = self.schedule.faults.iter().find(|planned| planned.id == id);
            let what = planned.map_or_else(String::new, |planned| format!(": {}", fault(planned)));
            self.tell(told.at, "!", &format!("fault {id} takes effect{what}"));
        } else {
            self.tell(told.at, "~", &words(&told.fact));
        }
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        looked_on()
    }
}

/// The lines of a tale among everything that a run prints.
#[must_use]
pub fn tale_of(printed: &[String]) -> Vec<String> {
    let told = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|at| at.parse::<f64>().is_ok())
            && words.next().is_some_and(|mark| matches!(mark, "~" | "!") || mark.starts_with('#'))
    };
    printed.iter().flat_map(|line| line.lines()).filter(told).map(ToOwned::to_owned).collect()
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

/// A time, as every line begins with one.
fn seconds(at: Timestamp) -> String {
    format!("{:.6}", at.0 as f64 / 1e6)
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
        Fact::Rebooted => "the machine starts anew: every process is gone".to_owned(),
        Fact::Scraped { series } => format!("the metrics are read: {} series", series.len()),
        Fact::Acknowledged { incarnation } => format!("{} wrote that it has read its brief", agent(incarnation)),
        Fact::Injected { id } => format!("fault {id} takes effect"),
        Fact::Ranked { project, priority } => format!("p{project} has priority {priority}"),
        Fact::Asked { request, project, kind } => {
            let what = project.map_or_else(|| "the fleet".to_owned(), |project| format!("p{project}"));
            format!("an operator asks for {kind} of {what} (request {request})")
        }
        Fact::Spent { project, until } => {
            format!("an agent of p{project} wrote that it is out of credit until {}", seconds(*until))
        }
        Fact::Healed => "no more faults; what was broken from outside is put right".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_every_line_begins_with_one() {
        let spent = Fact::Spent { project: ProjectId(1), until: Timestamp(90_500_000) };
        assert!(words(&spent).ends_with("out of credit until 90.500000"), "{}", words(&spent));
    }

    /// A clock that was set forward makes times wide; violations in the summary are indented as they are.
    #[test]
    fn only_what_was_told_is_the_tale() {
        let request = crate::sim::draw::Request {
            seed: Seed(0),
            duration_ms: Some(4_000),
            projects: Some(1),
            roles: Some(1),
            kinds: Vec::new(),
        };
        let lines = Rc::new(RefCell::new(Vec::new()));
        let kept = Rc::clone(&lines);
        let mut teller = Teller::new(&crate::sim::draw::draw(&request), move |line: &str| {
            kept.borrow_mut().push(line.to_owned());
        });
        for at in [1, 999_999_999_000_000] {
            teller.witness(&Witnessed { at: Timestamp(at), fact: Fact::Healed });
        }
        teller.tell(Timestamp(1), "#7", "p1: two\nlines");
        let summary =
            ["PASS  seed 0, in 0.1 s", "", "virtual     0.00 days", "            FAIL S1: 3 of 4", "S1   12  is"];
        let printed: Vec<String> = lines.take().into_iter().chain(summary.map(ToOwned::to_owned)).collect();
        let tale = tale_of(&printed);
        assert_eq!(tale.len(), 3, "{tale:#?}");
        assert!(tale[1].starts_with("999999999.000000  ~"), "{tale:#?}");
    }
}
