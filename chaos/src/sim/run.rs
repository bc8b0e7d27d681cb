//! One run: a schedule played in the simulated world, under every checker.

use super::bank::Bank;
use super::cover::Cover;
use super::deed::{Deed, Target, Undo};
use super::gate::Gate;
use super::heap::Tick;
use super::host::{Host, Stands};
use super::meter::Metered;
use super::plan::{Outcome, Plan};
use super::planted::BendRef;
use super::sweep::{Hit, Script};
use super::trace::Alive;
use super::world::{Ev, World};
use crate::check::{Checker, guarded};
use crate::schedule::Planned;
use crate::seed::{Stream, fnv1a};
use crate::witness::Fact;
use orchestrator::domain::id::{ProjectId, RoleName, Seq};
use orchestrator::domain::signal::Entry;
use orchestrator::domain::time::{Now, WallTime};
use orchestrator::store::StoreError;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

pub(super) enum Do {
    Enqueue(u32),
    Fault(usize),
    Undo(Undo),
    Unlock,
    Resume(usize),
    Start,
    Heal,
    Hit(Hit),
    Dies(usize),
    BackUp(usize, u8),
    Ask(usize),
    Say(usize),
    Round,
}

/// A run under way.
pub struct Sim {
    pub(super) plan: Plan,
    /// The world.
    pub world: Rc<RefCell<World>>,
    pub(super) bank: Bank,
    pub(super) gate: Arc<Gate>,
    pub(super) hosts: Vec<Host>,
    course: Vec<Do>,
    waiting: Vec<usize>,
    metered: Metered,
    pub(super) submitted: BTreeMap<u32, ProjectId>,
    /// How often an operator asked something of each project after the healing.
    pub(super) rounds: BTreeMap<ProjectId, u32>,
    pub(super) told: Seq,
    /// Commits when the journal was last read; none if it is to be read whatever they are.
    pub(super) read_at: Option<u64>,
    client: Stream,
    /// The fault that waits for the next commit.
    kill_after_commit: Option<u32>,
    pub(super) cover: Cover,
    pub(super) alive: Alive,
    pub(super) outcome: Outcome,
    pub(super) script: Script,
}

impl Sim {
    /// A world at its beginning, with its course planned.
    ///
    /// # Errors
    /// If SQLite has no memory for the database.
    pub fn new(plan: Plan) -> Result<Self, StoreError> {
        Self::bent(plan, None)
    }

    /// The same with a bug planted.
    ///
    /// # Errors
    /// If SQLite has no memory for the database.
    pub fn bent(plan: Plan, bend: Option<BendRef>) -> Result<Self, StoreError> {
        let seed = plan.schedule.seed;
        let mut world = World::new(seed, plan.manner);
        world.bend = bend;
        world.points.recording = plan.record_points;
        world.points.planted.clone_from(&plan.crashes);
        let gate = Arc::new(Gate::default());
        for (commit, blow) in &plan.blows {
            gate.plant(*commit, *blow);
        }
        let mut sim = Self {
            world: Rc::new(RefCell::new(world)),
            bank: Bank::new()?,
            gate,
            hosts: Vec::new(),
            course: Vec::new(),
            waiting: Vec::new(),
            metered: Metered::default(),
            submitted: BTreeMap::new(),
            rounds: BTreeMap::new(),
            told: Seq(0),
            read_at: None,
            client: seed.stream("sim.client"),
            kill_after_commit: None,
            cover: Cover::default(),
            alive: Alive::default(),
            outcome: Outcome::default(),
            script: Script::default(),
            plan,
        };
        sim.lay_out();
        Ok(sim)
    }

    pub(super) fn at(&mut self, at: Tick, what: Do) {
        self.course.push(what);
        self.world.borrow_mut().heap.push(at, Ev::Course(self.course.len() - 1));
    }

    fn lay_out(&mut self) {
        self.at(1_000, Do::Start);
        let schedule = self.plan.schedule.clone();
        for project in 0..schedule.projects {
            let at = schedule.setting.place(project).at_ms * 1_000;
            self.at(at + 2_000 + u64::from(project) * 5_000, Do::Enqueue(project));
        }
        for (place, asked) in schedule.setting.asked.iter().enumerate() {
            self.at(asked.at_ms * 1_000, Do::Ask(place));
        }
        for (place, said) in schedule.setting.said.iter().enumerate() {
            self.at(said.at_ms * 1_000, Do::Say(place));
        }
        for (place, fault) in schedule.faults.iter().enumerate() {
            self.at(fault.at_ms * 1_000, Do::Fault(place));
        }
        let heal = self.healed_at();
        self.at(heal, Do::Heal);
        if schedule.setting.attended {
            self.at(heal + 1, Do::Round);
        }
    }

    /// Plays it to its end.
    pub fn play(mut self, checkers: Vec<Box<dyn Checker>>) -> Outcome {
        let mut checkers = guarded(checkers);
        let end = self.plan.schedule.duration_ms * 1_000;
        self.go_to(end, &mut checkers);
        self.lived();
        self.judge(&mut checkers);
        self.outcome.projects = self.submitted.len() as u64;
        self.outcome.coverage = std::mem::take(&mut self.cover.reached);
        self.outcome.virtual_us = end;
        self.outcome.points.clone_from(&self.world.borrow().points.names);
        self.outcome.commits = self.gate.commits();
        self.outcome
    }

    /// Lets everything happen until then.
    pub(super) fn go_to(&mut self, end: Tick, checkers: &mut [Box<dyn Checker>]) {
        loop {
            let next = self.world.borrow_mut().heap.pop_until(end);
            let Some((at, what)) = next else { break };
            self.world.borrow_mut().at = at;
            self.outcome.events += 1;
            self.happen(what);
            self.tell(checkers);
            if self.outcome.broke.is_some() {
                break;
            }
        }
        self.world.borrow_mut().at = end;
        if !self.hosts.is_empty() {
            self.metered.scrape(&mut self.world.borrow_mut());
        }
        self.tell(checkers);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is the world's own affair")]
    fn happen(&mut self, what: Ev) {
        match what {
            Ev::Tell { life, happened } => {
                let Some(place) = self.hosts.iter().position(|host| host.life == life) else { return };
                self.hosts[place].take(happened);
                // All that has come in by this moment is one turn.
                loop {
                    let mut world = self.world.borrow_mut();
                    let at = world.at;
                    let of = |event: &Ev| matches!(event, Ev::Tell { life: other, .. } if *other == life);
                    let Some(Ev::Tell { happened, .. }) = world.heap.pop_if(at, of) else { break };
                    drop(world);
                    self.outcome.events += 1;
                    self.hosts[place].take(happened);
                }
                self.turn(place);
            }
            Ev::Wake { life } => {
                if let Some(place) = self.hosts.iter().position(|host| host.life == life) {
                    self.turn(place);
                }
            }
            Ev::Course(number) => self.go_on(number),
            other => self.world.borrow_mut().happen(other),
        }
        let struck = self.world.borrow_mut().points.struck.take();
        if let Some(life) = struck {
            self.strike_down(life);
        }
    }

    fn turn(&mut self, place: usize) {
        let life = self.hosts[place].life;
        if self.world.borrow().lives[life].paused || self.script.dying == Some(life) {
            return;
        }
        let commits = self.gate.commits();
        self.outcome.turns += 1;
        let before = self.kept_back();
        let stands = self.hosts[place].turn();
        if let Some(before) = before.filter(|_| self.gate.is_late()) {
            return self.dies_late(life, before);
        }
        match stands {
            Stands::Up if self.gate.commits() > commits => match self.kill_after_commit.take() {
                Some(id) => {
                    self.world.borrow_mut().witness(Fact::Injected { id });
                    self.crash(place);
                }
                None => self.hosts[place].plan(),
            },
            Stands::Up => self.hosts[place].plan(),
            Stands::Crashed => self.strike_down(life),
            // Whoever fenced it may have died meanwhile: the supervisor starts another if nobody is left.
            Stands::Fenced => self.crash(place),
        }
    }

    pub(super) fn end_host(&mut self, place: usize) {
        let host = self.hosts.remove(place);
        let life = host.life;
        drop(host);
        let mut world = self.world.borrow_mut();
        world.lives[life].alive = false;
        world.orphan_jobs(life);
        world.witness(Fact::NotServing { life });
    }

    pub(super) fn crash(&mut self, place: usize) {
        self.end_host(place);
        if self.nobody_serves() {
            let after = self.world.borrow_mut().latency.between(10_000, 1_000_000) + self.script.stays_down();
            let at = self.world.borrow().at + after;
            self.at(at, Do::Start);
        }
    }

    fn start(&mut self) {
        if self.nobody_serves() {
            self.start_another();
        }
    }

    /// Whether one has to be started: a stopped one that was succeeded is no help.
    fn nobody_serves(&self) -> bool {
        self.hosts.is_empty() || (self.script.on && self.serving().is_none())
    }

    fn start_another(&mut self) {
        self.outcome.starts += 1;
        // Nor does what a planted bug does to the database before a start.
        self.read_at = None;
        self.metered.anew();
        // A stopped one that is to be succeeded has lost its lock with the lock's file.
        self.world.borrow_mut().lock = None;
        match Host::start(&self.world, &self.bank, &self.gate, self.plan.policy.clone()) {
            Ok(mut host) => {
                host.plan();
                self.clear_shelf(host.life);
                self.hosts.push(host);
            }
            Err(_) => {
                let at = self.world.borrow().at + 1_000_000;
                self.at(at, Do::Start);
            }
        }
        if self.gate.is_struck() {
            let newest = self.world.borrow().lives.len().saturating_sub(1);
            self.strike_down(newest);
        }
    }

    fn go_on(&mut self, number: usize) {
        match self.course[number] {
            Do::Start => self.start(),
            Do::Enqueue(project) => self.enqueue(project),
            Do::Fault(place) => self.due(place),
            Do::Undo(undo) => self.world.borrow_mut().undo(undo),
            Do::Unlock => self.unlock(),
            Do::Hit(hit) => self.hit(hit),
            Do::Dies(life) => self.strike_down(life),
            Do::BackUp(life, step) => self.back_up(life, step),
            Do::Resume(life) => self.resume(life),
            Do::Ask(place) => self.ask(place),
            Do::Say(place) => self.say(place),
            Do::Round => self.round(),
            Do::Heal => {
                self.waiting.clear();
                self.unlock();
                self.kill_after_commit = None;
                let paused: Vec<usize> = self.hosts.iter().map(|host| host.life).collect();
                paused.into_iter().for_each(|life| self.resume(life));
                self.world.borrow_mut().heal();
            }
        }
    }

    fn unlock(&mut self) {
        self.gate.refuse(false);
        self.world.borrow_mut().witness(Fact::Unhindered { by: "store" });
    }

    fn resume(&mut self, life: usize) {
        let was = std::mem::replace(&mut self.world.borrow_mut().lives[life].paused, false);
        if was && let Some(place) = self.hosts.iter().position(|host| host.life == life) {
            self.world.borrow_mut().witness(Fact::Serving { life });
            self.turn(place);
        }
    }

    pub(super) fn now(&mut self) -> Now {
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&self.client.word().to_le_bytes());
        }
        let world = self.world.borrow();
        Now { at: world.now(), wall: WallTime(world.kernel.wall(world.at)), seed }
    }

    /// A fault's time has come; it may have to wait for an event of its project.
    fn due(&mut self, place: usize) {
        if self.plan.schedule.faults[place].on_event.is_some() {
            self.waiting.push(place);
            return;
        }
        self.inject(place);
    }

    fn target(&self, planned: &Planned) -> Option<Target> {
        let project = *self.submitted.get(&planned.project)?;
        let role = RoleName(format!("role-{}", planned.role.unwrap_or(0)));
        Some(Target { project, role })
    }

    pub(super) fn inject(&mut self, place: usize) {
        let planned = self.plan.schedule.faults[place].clone();
        *self.outcome.injected.entry(planned.kind).or_insert(0) += 1;
        let target = self.target(&planned);
        self.tried(&planned, target.as_ref());
        let Some(target) = target else { return };
        let deed = self.deed(&planned, &target);
        let at = self.world.borrow().at;
        let mut confirmed = true;
        match deed {
            Deed::Done => {}
            Deed::Until(undo, after) => self.at(at + after, Do::Undo(undo)),
            Deed::Armed => confirmed = false,
            Deed::Nothing(why) => {
                confirmed = false;
                self.came_to_nothing(why);
            }
            Deed::KillOrchestrator => match self.hosts.len() {
                0 => {
                    confirmed = false;
                    self.came_to_nothing("no orchestrator runs");
                }
                _ => self.crash(0),
            },
            Deed::KillAfterCommit => {
                confirmed = false;
                self.kill_after_commit = Some(planned.id);
            }
            Deed::Lock(after) => {
                self.gate.refuse(true);
                self.world.borrow_mut().witness(Fact::Hindered { by: "store" });
                self.at(at + after, Do::Unlock);
            }
            Deed::Pause(after) => confirmed = self.pause(at + after),
            Deed::Supersede => {
                confirmed = self.pause(at + 40_000_000);
                if confirmed {
                    self.start_another();
                }
            }
            Deed::Second => confirmed = self.second(),
            Deed::Forge(state) => confirmed = self.forge(target.project, state),
            Deed::Reboot => {
                while !self.hosts.is_empty() {
                    self.end_host(0);
                }
                self.world.borrow_mut().reboot();
                self.at(at + 1_000_000, Do::Start);
            }
        }
        if confirmed {
            self.world.borrow_mut().witness(Fact::Injected { id: planned.id });
        }
    }

    /// The orchestrator that serves: one that is stopped, and may have been succeeded, does not.
    pub(super) fn serving(&self) -> Option<usize> {
        let world = self.world.borrow();
        self.hosts.iter().position(|host| !world.lives[host.life].paused)
    }

    fn pause(&mut self, until: Tick) -> bool {
        let Some(life) = self.serving().map(|place| self.hosts[place].life) else {
            let stopped = !self.hosts.is_empty();
            self.came_to_nothing(if stopped {
                "every orchestrator is stopped already"
            } else {
                "no orchestrator runs"
            });
            return false;
        };
        self.world.borrow_mut().lives[life].paused = true;
        self.world.borrow_mut().witness(Fact::NotServing { life });
        self.at(until, Do::Resume(life));
        true
    }

    /// Hands what has happened to every checker: the truth first, then what the orchestrator has said of it.
    fn tell(&mut self, checkers: &mut [Box<dyn Checker>]) {
        self.begun_anew(checkers);
        let mut facts = std::mem::take(&mut self.world.borrow_mut().facts);
        let bend = self.world.borrow().bend.clone();
        if let Some(bend) = &bend {
            bend.borrow_mut().witnessed(&mut facts);
        }
        for fact in &facts {
            self.traced(fact);
            if self.plan.fingerprint {
                self.outcome.fingerprint.push(fnv1a(format!("{fact:?}").as_bytes()));
            }
            checkers.iter_mut().for_each(|checker| checker.witness(fact));
        }
        let mut entries = match self.unread() {
            Ok(entries) => entries,
            Err(error) => {
                self.breaks(format!("the journal cannot be read: {error}"));
                return;
            }
        };
        if let Some(bend) = &bend {
            bend.borrow_mut().journaled(&mut entries);
        }
        self.metered.count(&mut self.world.borrow_mut(), &self.bank, !self.hosts.is_empty(), &entries);
        for entry in &entries {
            self.outcome.entries += 1;
            self.cover.observe(entry);
            if self.plan.fingerprint {
                self.outcome.fingerprint.push(fnv1a(format!("{entry:?}").as_bytes()));
            }
            checkers.iter_mut().for_each(|checker| checker.observe(entry));
        }
        self.awaited(&entries);
        self.follow(&entries, facts);
    }

    /// What the journal has got since the last call. Without a commit there is nothing to be read.
    fn unread(&mut self) -> Result<Vec<Entry>, StoreError> {
        let commits = self.gate.commits();
        if self.read_at.replace(commits) == Some(commits) {
            return Ok(Vec::new());
        }
        let entries = self.bank.client.entries_after(self.told, usize::MAX)?;
        self.told = entries.last().map_or(self.told, |entry| entry.seq);
        Ok(entries)
    }

    /// Faults that waited for one of these entries are due now.
    fn awaited(&mut self, entries: &[Entry]) {
        if self.waiting.is_empty() {
            return;
        }
        for entry in entries {
            let Some(project) = entry.signal.project_id else { continue };
            let name = orchestrator::telemetry::text::name(&entry.signal.what);
            let is = |place: &usize| {
                let planned = &self.plan.schedule.faults[*place];
                planned.on_event.as_deref() == Some(name) && self.submitted.get(&planned.project) == Some(&project)
            };
            let due: Vec<usize> = self.waiting.iter().copied().filter(is).collect();
            self.waiting.retain(|place| !due.contains(place));
            due.into_iter().for_each(|place| self.inject(place));
        }
    }
}
