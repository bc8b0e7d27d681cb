//! Bugs that only a crash shows: whoever is never killed does everything right. The crash sweep is what they are for.

use super::bend::{Bend, Turn};
use super::{BendRef, From};
use crate::sim::world::World;
use orchestrator::domain::effect::{Effect, Ordered};
use orchestrator::domain::event::{Event, Happened};
use orchestrator::env::SpoolItem;
use rusqlite::Connection;
use std::cell::RefCell;
use std::rc::Rc;

/// A bug to be planted in every run of a sweep, or none.
pub type Plant = Option<fn() -> BendRef>;

/// A bug that the sweep must find.
#[derive(Debug, Clone, Copy)]
pub struct CrashBug {
    /// Its name.
    pub name: &'static str,
    /// What is wrong, in one line.
    pub what: &'static str,
    /// Where the idea comes from.
    pub from: From,
    /// Puts it at work in a run.
    pub plant: fn() -> BendRef,
}

/// Every one of them.
pub const CRASHES: [CrashBug; 7] = [
    CrashBug {
        name: "effects_before_commit",
        what: "effects are handed over before their turn is committed",
        from: From::Own,
        plant: || Rc::new(RefCell::new(Early)),
    },
    CrashBug {
        name: "newest_entry_lost",
        what: "an orchestrator that dies at a commit takes the newest entry of the journal along",
        from: From::Own,
        plant: || Rc::new(RefCell::new(Loses)),
    },
    CrashBug {
        name: "respawn_not_idempotent",
        what: "an agent that was started again under this token already is started once more",
        from: From::Own,
        plant: || Rc::new(RefCell::new(Again::default())),
    },
    CrashBug {
        name: "migrated_step_by_step",
        what: "a migration is committed statement by statement, and its version at last",
        from: From::Own,
        plant: || Rc::new(RefCell::new(StepByStep)),
    },
    CrashBug {
        name: "partial_backups_kept",
        what: "a start does not remove what an interrupted backup left",
        from: From::Own,
        plant: || Rc::new(RefCell::new(Keeps)),
    },
    CrashBug {
        name: "log_not_completed",
        what: "a start does not write into the log what was committed just before the crash",
        from: From::Own,
        plant: || Rc::new(RefCell::new(Skips)),
    },
    CrashBug {
        name: "parking_never_finished",
        what: "what was moved aside without git being told is looked for nowhere",
        from: From::Own,
        plant: || Rc::new(RefCell::new(Forgets)),
    },
];

/// A bug of the harness: the orchestrator that is to be killed is left alive.
pub const SPARED: Plant = Some(|| Rc::new(RefCell::new(Spares)));

/// A start does not look whether the world knows more than the database, as one that was put back does not (C46).
pub const TRUSTING: Plant = Some(|| Rc::new(RefCell::new(Trusts)));

struct Early;

impl Bend for Early {
    fn commits_late(&self) -> bool {
        true
    }
}

struct Loses;

impl Bend for Loses {
    fn died(&mut self, door: Connection) -> rusqlite::Result<()> {
        door.execute_batch(include_str!("sql/newest_entry_lost.sql"))
    }
}

struct Forgets;

impl Bend for Forgets {
    fn submit(&mut self, world: &mut World, _: usize, ordered: Ordered) -> Vec<Ordered> {
        if let Effect::EnsureWorktree { path, .. } = &ordered.effect {
            for half in world.disk.park.parked.iter_mut().filter(|parked| parked.from == *path && !parked.told) {
                half.from.push_str(".lost");
            }
        }
        vec![ordered]
    }
}

struct Keeps;

impl Bend for Keeps {
    fn clears_the_shelf(&self) -> bool {
        false
    }
}

struct Skips;

impl Bend for Skips {
    fn completes_the_log(&self) -> bool {
        false
    }
}

struct StepByStep;

impl Bend for StepByStep {
    fn died(&mut self, door: Connection) -> rusqlite::Result<()> {
        door.execute_batch(include_str!("sql/step_by_step.sql"))
    }
}

/// A respawn marks its pane only once it is confirmed: who asks again meanwhile finds nobody there.
#[derive(Default)]
struct Again {
    life: usize,
    asked: Vec<(usize, Ordered)>,
}

impl Bend for Again {
    fn turned(&mut self, _: &World, turn: Turn, happened: Vec<Happened>) -> Vec<Happened> {
        self.life = turn.life;
        for told in &happened {
            if let Event::Settled { effect, .. } = &told.event {
                self.asked.retain(|(_, asked)| asked.id != *effect);
            }
        }
        happened
    }

    fn drained(&mut self, world: &mut World, items: Vec<SpoolItem>) -> Vec<SpoolItem> {
        for (life, asked) in &self.asked {
            let Effect::Respawn { launch, old_token, .. } = &asked.effect else { continue };
            let agent = world.agent_with(&launch.token).filter(|_| *life != self.life);
            let process = agent.map(|agent| world.agents[agent].process);
            let server = world.server.as_mut();
            if let Some(pane) = process.and_then(|process| server?.pane_of(process)) {
                pane.token.clone_from(old_token);
            }
        }
        items
    }

    fn submit(&mut self, _: &mut World, life: usize, mut ordered: Ordered) -> Vec<Ordered> {
        if let Effect::Respawn { launch, .. } = &mut ordered.effect {
            launch.again = false;
            self.asked.push((life, ordered.clone()));
        }
        vec![ordered]
    }
}

struct Trusts;

impl Bend for Trusts {
    fn found(&mut self, first: &mut Vec<Event>) {
        first.retain(|found| !matches!(found, Event::Restored { .. } | Event::Traced(_)));
    }
}

struct Spares;

impl Bend for Spares {
    fn spares(&self) -> bool {
        true
    }
}
