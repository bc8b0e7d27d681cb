//! What hits at a moment of a run, and the log of its moments.

use super::backup::Shelf;
use crate::fault::Kind;
use crate::sim::bank::Bank;
use crate::sim::claims::spec;
use crate::sim::deed::Undo;
use crate::sim::gate::Blow;
use crate::sim::heap::Tick;
use crate::sim::points::Side;
use crate::sim::run::{Do, Sim};
use crate::sim::world::World;
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{ProjectId, RoleName};
use orchestrator::domain::signal::{Entry, Signal, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::Timestamp;
use orchestrator::store::StoreError;
use std::collections::{BTreeMap, VecDeque};

/// How long what lasts lasts, in microseconds.
const LASTS_US: u64 = 30_000_000;
/// How long the other threads go on while a commit that never comes is under way, in microseconds.
const LATE_US: u64 = 150_000;
/// How much longer everything takes while it is slow.
const SLOW: u64 = 100;
/// How long an orchestrator that stays down does so, in microseconds: long enough for its agents to finish.
const DOWN_US: u64 = 60_000_000;
/// How long before the plan enqueues the same project a client dies, in microseconds.
const CLIENT_BEFORE: Tick = 500;
/// Which clients do not: the first ones, whom the first start may keep waiting.
const CLIENT_FROM: Tick = 10_000;
/// From a project's first moment of work to the death of one of its agents, in microseconds.
const KILL_AFTER_US: u64 = 5_000_000;

/// What hits. The first six are the faults that every row is crossed with; the others build situations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hit {
    /// kill -9 of the orchestrator.
    Crash,
    /// kill -9 of the tmux server.
    KillTmux,
    /// SIGSTOP of the tmux server, and SIGCONT 30 s later.
    StopTmux,
    /// No space for 30 s: neither for files nor for the database.
    NoSpace,
    /// The commit at that moment fails, or the next one.
    IoError,
    /// Everything takes a hundred times as long, for 30 s.
    Slow,
    /// kill -9 of the orchestrator, which is started again only a minute later.
    Down,
    /// The orchestrator is asked to stop, says so, and is killed before it has given the database back.
    Drain,
    /// Seconds later, a fault of the catalogue hits the first project.
    Fault(Kind),
    /// kill -9 of an agent.
    KillAgent(u32),
    /// A client enqueues the last project and dies before it has an answer.
    Client,
    /// The orchestrator is killed, and the database is put back to where it was when an agent had just died.
    PutBack,
    /// From now on the database is backed up regularly.
    BackUp,
    /// From now on the event log is kept.
    KeepLog,
    /// From now on somebody's work stands wherever a worktree is to be.
    Crowd,
    /// The orchestrator is killed, and a later program is put in its place.
    Upgrade,
}

impl Hit {
    /// The six that every row is crossed with.
    pub const FAULTS: [Self; 6] =
        [Self::Crash, Self::KillTmux, Self::StopTmux, Self::NoSpace, Self::IoError, Self::Slow];

    /// Whether the orchestrator dies of it.
    #[must_use]
    pub fn kills(self) -> bool {
        matches!(self, Self::Crash | Self::Down)
    }

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "kill orch",
            Self::KillTmux => "kill tmux",
            Self::StopTmux => "stop tmux",
            Self::NoSpace => "no space",
            Self::IoError => "I/O error",
            Self::Slow => "30 s slow",
            Self::Down => "down",
            Self::Drain => "drain",
            Self::Fault(kind) => kind.name(),
            Self::KillAgent(_) => "kill agent",
            Self::Client => "client",
            Self::PutBack => "put back",
            Self::BackUp => "back up",
            Self::KeepLog => "keep log",
            Self::Crowd => "crowd",
            Self::Upgrade => "upgrade",
        }
    }
}

/// Which moment: the Nth commit, or the Nth point of an effect, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// A commit.
    Commit(u64),
    /// A point.
    Point(u64),
}

/// Something that hits at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// When.
    pub at: At,
    /// On which side of it.
    pub side: Side,
    /// What.
    pub hit: Hit,
}

/// A commit of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// What was in it: its entries of the journal by name and content, and the tables it changed, after a `@`.
    pub labels: Vec<String>,
    /// Whether it was let through.
    pub kept: bool,
    /// Points that were passed before it.
    pub points: u64,
}

/// The moments of a run, and what it told.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Its commits, in order.
    pub commits: Vec<Committed>,
    /// The points it passed, in order.
    pub points: Vec<String>,
    /// Commits and points until the world was healed.
    pub sealed: (usize, usize),
    /// What hit, and whether it had an effect.
    pub suffered: Vec<(Hit, bool)>,
    /// Crashes that were planned for and that an orchestrator has died of.
    pub killed: usize,
    /// Its journal.
    pub entries: Vec<Entry>,
    /// What was true.
    pub facts: Vec<Witnessed>,
    /// Where a database was between two versions of its schema.
    pub torn: Vec<String>,
    /// When an older database was put in place.
    pub put_back: Vec<Timestamp>,
}

/// How the agents of a sweep's run are, and what it records.
#[derive(Debug, Default)]
pub struct Script {
    /// Whether this run belongs to a sweep.
    pub(in crate::sim) on: bool,
    /// How often each project's second agent is still to be killed.
    pub(super) kills: BTreeMap<ProjectId, u32>,
    /// When each project is enqueued.
    pub(super) comes: Vec<Tick>,
    /// The orchestrator that goes on for a moment after its last commit was lost.
    pub(in crate::sim) dying: Option<usize>,
    pub(in crate::sim) log: Log,
    /// The backups.
    pub(super) shelf: Shelf,
    /// Whether the database is copied whenever an agent has died.
    pub(super) copies: bool,
    /// The last copy of the database.
    pub(super) copy: Option<Bank>,
    /// Whether the database is another one since its journal was last read.
    pub(super) anew: bool,
    entries: VecDeque<String>,
    /// Of each crash that is planned, in order: whether the orchestrator stays dead for long.
    downs: VecDeque<bool>,
    down: bool,
}

impl Script {
    /// How much longer the orchestrator is left dead this time, in microseconds.
    pub fn stays_down(&mut self) -> Tick {
        if std::mem::take(&mut self.down) { DOWN_US } else { 0 }
    }
}

/// An entry as a label: its name, and what tells it from others of that name.
#[must_use]
pub fn label(what: &What) -> String {
    let name = orchestrator::telemetry::text::name(what);
    if let What::ProjectMoved { from, to, .. } = what {
        format!("{name}:{from}>{to}")
    } else if let What::RoleMoved { to, .. } = what {
        format!("{name}:{to}")
    } else if let What::EffectIntended { effect, .. } = what {
        format!("{name}:{effect}")
    } else if let What::BreakerMoved { to, .. } = what {
        format!("{name}:{to}")
    } else if let What::RecoveryStarted { probe: true, .. } = what {
        format!("{name}:probe")
    } else {
        name.to_owned()
    }
}

impl World {
    /// What hits the world does so at once; the rest is for the run.
    pub(in crate::sim) fn suffer(&mut self, hit: Hit) {
        let took = match hit {
            Hit::KillTmux => {
                let server = self.server.as_ref().map(|server| server.id);
                server.inspect(|server| self.end(*server, None, Some(9))).is_some()
            }
            Hit::StopTmux => self.stop_server(),
            Hit::NoSpace => {
                self.disk.full = true;
                self.witness(Fact::Hindered { by: "disk" });
                true
            }
            Hit::Slow => {
                self.slowness = SLOW;
                self.witness(Fact::Hindered { by: "load" });
                true
            }
            Hit::Crowd => {
                self.disk.park.crowded = true;
                true
            }
            Hit::Crash
            | Hit::IoError
            | Hit::Down
            | Hit::Drain
            | Hit::Fault(_)
            | Hit::KillAgent(_)
            | Hit::Client
            | Hit::PutBack
            | Hit::BackUp
            | Hit::KeepLog
            | Hit::Upgrade => true,
        };
        self.points.suffered.push((hit, took));
    }
}

impl Sim {
    /// Plans what is to hit.
    pub(super) fn plant(&mut self, strikes: &[Strike]) {
        self.script.on = true;
        self.gate.record();
        self.script.copies = strikes.iter().any(|strike| strike.hit == Hit::PutBack);
        let mut world = self.world.borrow_mut();
        world.points.recording = true;
        for Strike { at, side, hit } in strikes {
            let dies = hit.kills();
            if dies {
                self.script.downs.push_back(*hit == Hit::Down);
            }
            match *at {
                At::Commit(number) if dies => self.gate.plant(number, Blow::Crash(*side)),
                At::Commit(number) if *hit == Hit::IoError => {
                    self.gate.plant(number + u64::from(*side == Side::After), Blow::Refused);
                }
                // What has no side of its own hits the commit itself, or the one after it.
                At::Commit(number) => {
                    let after = *hit == Hit::NoSpace && *side == Side::After;
                    self.gate.plant(number + u64::from(after), Blow::Hit(*hit));
                }
                At::Point(number) if dies => drop(world.points.planted.insert(number, *side)),
                At::Point(number) => drop(world.points.hits.insert(number, (*side, *hit))),
            }
            if dies || (*hit == Hit::IoError && matches!(at, At::Commit(_))) {
                self.script.log.suffered.push((*hit, true));
            }
        }
    }

    /// A hit that was put off is due.
    pub(in crate::sim) fn hit(&mut self, hit: Hit) {
        match hit {
            Hit::Fault(kind) => {
                let place = self.plan.schedule.faults.iter().position(|planned| planned.kind == kind);
                if let Some(place) = place {
                    self.inject(place);
                }
            }
            Hit::KillAgent(project) => {
                let role = RoleName("role-1".to_owned());
                let mut world = self.world.borrow_mut();
                if let Some(number) = world.living_agent_of(ProjectId(i64::from(project)), &role) {
                    let process = world.agents[number].process;
                    world.end(process, None, Some(9));
                }
            }
            Hit::Drain => {
                let now = self.now();
                // A signal that is sent to a stopped one waits with it.
                if let Some(place) = self.serving() {
                    let host = &mut self.hosts[place];
                    let what = What::OrchestratorStopped { reason: "SIGTERM".to_owned() };
                    // If it cannot be written it is killed without having said so.
                    drop(host.core().store().journal(Signal::fleet(what), &now));
                    // Its last words may be where it is to die anyway.
                    let life = host.life;
                    if self.gate.is_struck() { self.strike_down(life) } else { self.crash(place) }
                }
            }
            Hit::Client => {
                let at = self.world.borrow().at;
                let next = (0..).zip(&self.script.comes).find(|(_, comes)| **comes > at);
                let Some((project, _)) = next else { return };
                let spec = spec(project, self.plan.schedule.roles, crate::setting::Place::default());
                let now = self.now();
                // Its answer reaches nobody, whatever it is.
                drop(self.bank.connect(&self.gate).and_then(|mut store| store.enqueue(&spec, &now)));
            }
            Hit::PutBack => self.put_back(),
            Hit::Upgrade => self.upgrade(),
            Hit::Crash
            | Hit::KillTmux
            | Hit::StopTmux
            | Hit::NoSpace
            | Hit::IoError
            | Hit::Slow
            | Hit::Down
            | Hit::BackUp
            | Hit::KeepLog
            | Hit::Crowd => {}
        }
    }

    /// Looks at what has just happened: records it, and lets what it calls for follow.
    pub(in crate::sim) fn follow(&mut self, entries: &[Entry], facts: Vec<Witnessed>) {
        if !self.script.on {
            return;
        }
        self.script.log.facts.extend(facts);
        for entry in entries {
            // Clients commit beside the gate.
            if !matches!(entry.signal.what, What::ProjectEnqueued { .. }) {
                self.script.entries.push_back(label(&entry.signal.what));
            }
            self.kill_after(entry);
            self.copy_at(entry);
        }
        self.script.log.entries.extend_from_slice(entries);
        let points = self.world.borrow().points.passed;
        for passed in self.gate.take_log() {
            let count = if passed.kept { passed.entries } else { 0 };
            let count = if passed.tables.contains("client") { 0 } else { count };
            let told = self.script.entries.len().min(count);
            let mut labels: Vec<String> = self.script.entries.drain(..told).collect();
            if !passed.kept {
                labels.push("refused".to_owned());
            } else if passed.tables.iter().eq(["lease"]) {
                labels.push("lease_taken".to_owned());
            }
            labels.extend(passed.tables.iter().map(|table| format!("@{table}")));
            self.script.log.commits.push(Committed { labels, kept: passed.kept, points });
        }
        for hit in self.gate.take_hits() {
            self.world.borrow_mut().suffer(hit);
        }
        let suffered = std::mem::take(&mut self.world.borrow_mut().points.suffered);
        for (hit, took) in suffered {
            self.script.log.suffered.push((hit, took));
            self.aftermath(hit, took);
        }
    }

    /// A second agent dies a while after its project first works.
    fn kill_after(&mut self, entry: &Entry) {
        let works = matches!(entry.signal.what, What::ProjectMoved { to: ProjectState::Running, .. });
        let Some(project) = entry.signal.project_id.filter(|_| works) else { return };
        let Some(left) = self.script.kills.get_mut(&project).filter(|left| **left > 0) else { return };
        *left -= 1;
        let at = self.world.borrow().at + KILL_AFTER_US;
        self.at(at, Do::Hit(Hit::KillAgent(u32::try_from(project.0).unwrap_or(0))));
    }

    /// What a hit entails for the run.
    fn aftermath(&mut self, hit: Hit, took: bool) {
        let at = self.world.borrow().at;
        let ends = at + LASTS_US;
        match hit {
            Hit::StopTmux if took => self.at(ends, Do::Undo(Undo::ContinueServer)),
            Hit::Slow => self.at(ends, Do::Undo(Undo::Speed)),
            Hit::NoSpace => {
                self.gate.refuse(true);
                self.world.borrow_mut().witness(Fact::Hindered { by: "store" });
                self.at(ends, Do::Undo(Undo::Space));
                self.at(ends, Do::Unlock);
            }
            Hit::IoError => self.gate.plant(self.gate.commits() + 1, Blow::Refused),
            Hit::Client => {
                let before = |comes: &Tick| comes.saturating_sub(CLIENT_BEFORE);
                let due = self.script.comes.iter().map(before).find(|due| *due > at.max(CLIENT_FROM));
                if let Some(due) = due {
                    self.at(due, Do::Hit(hit));
                }
            }
            Hit::Drain | Hit::KillAgent(_) | Hit::PutBack | Hit::Upgrade => self.at(at, Do::Hit(hit)),
            Hit::Fault(_) => self.at(at + 2_000_000, Do::Hit(hit)),
            Hit::BackUp => self.back_up_from_now(),
            Hit::KeepLog => self.log_from_now(),
            Hit::StopTmux | Hit::KillTmux | Hit::Crash | Hit::Down | Hit::Crowd => {}
        }
    }

    /// A planned crash is carried out; it counts if nobody is alive after it.
    pub(in crate::sim) fn strike_down(&mut self, life: usize) {
        let bend = self.world.borrow().bend.clone();
        if bend.as_ref().is_some_and(|bend| bend.borrow().spares()) {
            self.gate.revive();
            return;
        }
        let at_commit = self.gate.is_struck();
        self.script.down = self.script.downs.pop_front().unwrap_or_default();
        if let Some(place) = self.hosts.iter().position(|host| host.life == life) {
            self.crash(place);
        }
        self.script.dying = None;
        self.script.down = false;
        // Only this one is dead: one that is stopped meanwhile and wakes before the next has started dies of no blow.
        self.gate.revive();
        let dead = self.world.borrow().lives.get(life).is_some_and(|life| !life.alive);
        self.script.log.killed += usize::from(dead);
        if let Some(bend) = bend.filter(|_| at_commit) {
            let door = self.bank.side_door();
            let died = door.and_then(|door| bend.borrow_mut().died(door).map_err(StoreError::from));
            if let Err(why) = died {
                self.breaks(format!("the planted bug: {why}"));
            }
        }
        let torn = self.torn();
        self.script.log.torn.extend(torn);
    }

    /// The database as it is before a commit that is to be lost, if the next one is.
    pub(in crate::sim) fn kept_back(&mut self) -> Option<Bank> {
        let late = self.world.borrow().bend.as_ref().is_some_and(|bend| bend.borrow().commits_late());
        if late && self.gate.puts_off() { self.bank.copy().ok() } else { None }
    }

    /// What was committed last is lost; what it led to goes on for a moment.
    pub(in crate::sim) fn dies_late(&mut self, life: usize, before: Bank) {
        self.bank = before;
        self.script.dying = Some(life);
        let at = self.world.borrow().at + LATE_US;
        self.at(at, Do::Dies(life));
    }

    /// What the run told, once it is over.
    pub(super) fn take_log(&mut self) -> Log {
        let mut log = std::mem::take(&mut self.script.log);
        log.points.clone_from(&self.world.borrow().points.names);
        log
    }
}
