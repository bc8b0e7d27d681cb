//! Bugs in what an orchestrator takes in: what it makes of silence, absence and names, and what it never hears.

use super::bend::{Bend, Turn};
use super::known::{Known, says};
use crate::schedule::Schedule;
use crate::sim::world::World;
use orchestrator::domain::event::{Event, Fact as Done, FileIs, Happened, PaneSeen, Report, RoleFound, Source};
use orchestrator::domain::failure::Failure;
use orchestrator::domain::id::{ProjectId, RoleName, Token};
use orchestrator::domain::project::{Project, Role};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::{Now, Span, Timestamp};
use orchestrator::env::SpoolItem;
use std::collections::{BTreeMap, BTreeSet};

/// What makes a project failed that nothing is proved of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pretext {
    /// tmux does not answer.
    Unknown,
    /// Its session is not on the list.
    NoSession,
    /// It has been at it for so long.
    Stuck(Span),
    /// Its agent's screen shows an error.
    Words,
    /// Another pane than its own is where the list has shown it.
    Place,
}

/// Absence taken for death.
pub(super) struct Fails {
    pretext: Pretext,
    known: Known,
    /// At which place of its session each token was first seen.
    places: BTreeMap<Token, usize>,
}

impl Fails {
    pub(super) fn at(pretext: Pretext) -> Self {
        Self { pretext, known: Known::default(), places: BTreeMap::new() }
    }
}

impl Fails {
    /// Whose place in its session is another than it was.
    fn moved(&mut self, panes: &[PaneSeen]) -> BTreeSet<Token> {
        let mut moved = BTreeSet::new();
        let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
        for pane in panes {
            let place = counted.entry(&pane.session).or_default();
            if let Some(token) = &pane.role_token
                && *self.places.entry(token.clone()).or_insert(*place) != *place
            {
                moved.insert(token.clone());
            }
            *place += 1;
        }
        moved
    }
}

fn fail(why: &str) -> Report {
    Report::Fail(why.to_owned())
}

impl Bend for Fails {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn turned(&mut self, world: &World, turn: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        let mut more = Vec::new();
        for heard in &happened {
            match (self.pretext, &heard.event) {
                (Pretext::Unknown, Event::TmuxLost { .. }) => {
                    let says = |(project, role)| says(turn.at, project, role, fail("tmux: no answer"));
                    more.extend(self.known.live().filter_map(says));
                }
                (Pretext::NoSession, Event::PanesListed { panes, .. }) => {
                    let gone = self.known.without_session(panes);
                    let says = |(project, role)| says(turn.at, project, role, fail("no tmux session found"));
                    more.extend(gone.into_iter().filter_map(says));
                }
                (Pretext::Stuck(limit), Event::SweepDue) => {
                    let old = |(project, _): &(&Project, _)| turn.at.since(project.enqueued_at) > limit;
                    let says = |(project, role)| says(turn.at, project, role, fail("stuck without a session"));
                    more.extend(self.known.live().filter(old).filter_map(says));
                }
                (Pretext::Words, Event::SweepDue) => {
                    let shows = |(_, role): &(&Project, &Role)| {
                        let agent = role.token.as_ref().and_then(|token| world.agent_with(token));
                        agent.is_some_and(|agent| world.agents[agent].screen.contains("Exception"))
                    };
                    let says = |(project, role)| says(turn.at, project, role, fail("its screen shows an error"));
                    more.extend(self.known.live().filter(shows).filter_map(says));
                }
                (Pretext::Place, Event::PanesListed { panes, .. }) => {
                    let moved = self.moved(panes);
                    let of = |(_, role): &(&Project, &Role)| role.token.as_ref().is_some_and(|is| moved.contains(is));
                    let says = |(project, role)| says(turn.at, project, role, fail("another pane is in its place"));
                    more.extend(self.known.live().filter(of).filter_map(says));
                }
                _ => {}
            }
        }
        happened.splice(0..0, more);
        happened
    }
}

/// A session that has ended taken for work that is done.
#[derive(Default)]
pub(super) struct DoneOnExit {
    known: Known,
}

impl Bend for DoneOnExit {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn turned(&mut self, _: &World, turn: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        let mut more = Vec::new();
        for heard in &happened {
            let Event::ProcessGone { project, role, .. } = &heard.event else { continue };
            let Some(project) = self.known.project(*project) else { continue };
            more.extend(project.role(role).and_then(|role| says(turn.at, project, role, Report::Done(None))));
        }
        happened.splice(0..0, more);
        happened
    }
}

/// has-session, which takes a prefix for the name.
#[derive(Default)]
pub(super) struct Prefix {
    known: Known,
}

impl Bend for Prefix {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn turned(&mut self, _: &World, _: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        // The session is all that it looks at.
        happened.retain(|heard| !matches!(heard.event, Event::ProcessGone { .. }));
        for heard in &mut happened {
            let Event::PanesListed { panes, .. } = &mut heard.event else { continue };
            let mut more = Vec::new();
            for (project, role) in self.known.without_session(panes) {
                let Some(session) = &project.session else { continue };
                let Some(twin) = panes.iter().find(|pane| pane.session.starts_with(&session.name)) else { continue };
                let mut taken = twin.clone();
                taken.session.clone_from(&session.name);
                (taken.session_token, taken.role_token) = (Some(session.token.clone()), role.token.clone());
                taken.pane = role.pane.clone().unwrap_or_default();
                taken.pid = role.process.map_or(taken.pid, |process| process.pid);
                more.push(taken);
            }
            panes.extend(more);
        }
        happened
    }
}

/// Nothing but a look every so often.
pub(super) struct Polls {
    every: Span,
    next: Timestamp,
}

impl Polls {
    pub(super) fn every(every: Span) -> Self {
        Self { every, next: Timestamp(0) }
    }
}

impl Bend for Polls {
    fn turned(&mut self, _: &World, turn: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        let due = turn.at >= self.next;
        if due {
            self.next = turn.at + self.every;
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "what a poll does not replace comes as ever")]
        let passes = |heard: &Happened| match heard.event {
            Event::ProcessGone { .. } | Event::FilesTouched { .. } => false,
            // The connection's first list is needed to begin at all.
            Event::SweepDue => due,
            Event::PanesListed { .. } => due || heard.source != Source::Sweep,
            _ => true,
        };
        happened.retain(passes);
        happened
    }
}

/// Events of a sort never arrive.
pub(super) struct Deaf(pub(super) fn(&Event) -> bool);

impl Bend for Deaf {
    fn turned(&mut self, _: &World, _: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        happened.retain(|heard| !(self.0)(&heard.event));
        happened
    }
}

/// Something that nobody saw is told, every so often.
pub(super) struct Invents {
    every: Span,
    next: Timestamp,
}

impl Invents {
    pub(super) fn every(every: Span) -> Self {
        Self { every, next: Timestamp(0) + every }
    }
}

impl Bend for Invents {
    fn turned(&mut self, _: &World, turn: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        if turn.at >= self.next {
            self.next = turn.at + self.every;
            let event = Event::TmuxLost { reason: "it felt like that".to_owned() };
            happened.push(Happened { seen_at: turn.at, source: Source::Control, event });
        }
        happened
    }
}

/// A detector that reads the schedule instead of the world.
pub(super) struct Peeks {
    schedule: Schedule,
    known: Known,
    ids: BTreeMap<u32, ProjectId>,
    next: usize,
}

impl Peeks {
    pub(super) fn at(schedule: &Schedule) -> Self {
        Self { schedule: schedule.clone(), known: Known::default(), ids: BTreeMap::new(), next: 0 }
    }
}

impl Bend for Peeks {
    fn watch(&mut self, project: &Project) {
        let number = project.spec.title.rsplit(' ').next().and_then(|number| number.parse().ok());
        self.ids.extend(number.map(|number| (number, project.id)));
        self.known.learn(project);
    }

    fn turned(&mut self, _: &World, turn: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        while let Some(planned) = self.schedule.faults.get(self.next).filter(|it| it.at_ms <= turn.at.as_millis()) {
            self.next += 1;
            let name = RoleName(format!("role-{}", planned.role.unwrap_or(0)));
            let Some(project) = self.ids.get(&planned.project).and_then(|id| self.known.project(*id)) else { continue };
            let Some(process) = project.role(&name).and_then(|role| role.process) else { continue };
            let event = Event::ProcessGone { project: project.id, role: name, process };
            happened.push(Happened { seen_at: turn.at, source: Source::Pidfd, event });
        }
        happened
    }
}

/// The death of one counts as the death of all.
#[derive(Default)]
pub(super) struct AllForOne {
    known: Known,
}

impl Bend for AllForOne {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn turned(&mut self, _: &World, turn: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        if happened.iter().any(|heard| matches!(heard.event, Event::ProcessGone { .. })) {
            let gone = |(project, role): (&Project, &orchestrator::domain::project::Role)| {
                let event = Event::ProcessGone { project: project.id, role: role.name.clone(), process: role.process? };
                Some(Happened { seen_at: turn.at, source: Source::Pidfd, event })
            };
            happened.extend(self.known.live().filter_map(gone));
        }
        happened
    }
}

/// A missing file is a warning: the look finds everything as it must be.
pub(super) struct Warns {
    known: Known,
    of: fn(ProjectState, &FileIs) -> bool,
}

impl Warns {
    /// Whatever is wrong with a file, whenever it is looked at.
    pub(super) fn of_everything() -> Self {
        Self { known: Known::default(), of: |_, _| true }
    }

    /// Only of what is looked at before a launch.
    pub(super) fn of_the_masked() -> Self {
        Self { known: Known::default(), of: |state, _| state == ProjectState::Provisioning }
    }

    /// Only of what is looked at after it.
    pub(super) fn after_the_launch() -> Self {
        Self { known: Known::default(), of: |state, _| state != ProjectState::Provisioning }
    }

    /// A file that is there will do, whatever is in it.
    pub(super) fn of_what_exists() -> Self {
        Self { known: Known::default(), of: |_, is| *is != FileIs::Missing }
    }

    fn gloss(&self, id: ProjectId, roles: &mut [RoleFound]) {
        let Some(project) = self.known.project(id) else { return };
        for found in roles {
            let Some(pin) = project.role(&found.role).and_then(|role| role.claude_md.clone()) else { continue };
            for file in found.files.iter_mut().filter(|file| file.path == "CLAUDE.md") {
                if !(self.of)(project.state(), &file.is) {
                    continue;
                }
                file.is = FileIs::Regular(pin.clone());
            }
        }
    }
}

impl Bend for Warns {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn turned(&mut self, _: &World, _: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        for heard in &mut happened {
            if let Event::Settled { project: Some(id), result: Ok(fact), .. } = &mut heard.event
                && let Done::Looked { roles } | Done::Certified { roles, .. } = fact
            {
                self.gloss(*id, roles);
            }
        }
        happened
    }
}

/// A missing file is copied back before anybody looks, and nobody is told.
#[derive(Default)]
pub(super) struct CopiesBack {
    known: Known,
}

impl Bend for CopiesBack {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn drained(&mut self, world: &mut World, items: Vec<SpoolItem>) -> Vec<SpoolItem> {
        for (project, role) in self.known.live() {
            let ground = world.grounds.get(&(project.id, role.name.clone()));
            let tree = ground.and_then(|path| world.disk.tree_mut(path)).filter(|tree| tree.there);
            if let (Some(tree), Some(pin)) = (tree, &role.claude_md) {
                tree.files.entry("CLAUDE.md".to_owned()).or_insert_with(|| FileIs::Regular(pin.clone()));
            }
        }
        items
    }
}

/// A failure's words are changed before anyone reads them.
pub(super) struct Garbles(pub(super) fn(&mut Failure));

impl Bend for Garbles {
    fn turned(&mut self, _: &World, _: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        for heard in &mut happened {
            if let Event::Settled { result: Err(failure), .. } = &mut heard.event {
                (self.0)(failure);
            }
        }
        happened
    }
}

/// A line on the pane counts as a brief that was read.
#[derive(Default)]
pub(super) struct Assumes {
    known: Known,
}

impl Bend for Assumes {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn turned(&mut self, _: &World, turn: Turn, happened: Vec<Happened>) -> Vec<Happened> {
        let mut all = Vec::new();
        for heard in happened {
            let mut read = None;
            if let Event::Settled { project: Some(id), role: Some(name), result: Ok(Done::BriefHanded), .. } =
                &heard.event
                && let Some(project) = self.known.project(*id)
            {
                read = project.role(name).and_then(|role| says(turn.at, project, role, Report::Ack));
            }
            all.push(heard);
            all.extend(read);
        }
        all
    }
}

/// Agents turn to and fro, and every turn is written down.
#[derive(Default)]
pub(super) struct Flaps {
    known: Known,
    rests: bool,
}

impl Bend for Flaps {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn turned(&mut self, _: &World, turn: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        if happened.iter().any(|heard| heard.event == Event::SweepDue) {
            for _ in 0..10 {
                self.rests = !self.rests;
                let report = || if self.rests { Report::Idle } else { Report::Progress(None) };
                let says = |(project, role)| says(turn.at, project, role, report());
                happened.extend(self.known.live().filter_map(says));
            }
        }
        happened
    }
}

/// The core's time is the wall's.
#[derive(Default)]
pub(super) struct WallClock {
    start: Option<i64>,
}

impl Bend for WallClock {
    fn now(&mut self, now: &mut Now) {
        let start = *self.start.get_or_insert(now.wall.0);
        now.at = Timestamp(now.wall.0.saturating_sub(start).max(0).unsigned_abs());
    }
}

/// An agent's whole environment and file beside the error that it met.
pub(super) fn tells_all(failure: &mut Failure) {
    failure.stdout_tail = format!("writing: {}", crate::check::witnessed::SECRETS[0]);
}

/// The command line with the environment in front of it.
pub(super) fn tells_environment(failure: &mut Failure) {
    failure.argv.insert(0, format!("API_KEY={}", crate::check::witnessed::SECRETS[1]));
}
