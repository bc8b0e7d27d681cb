//! The places at which a planted bug gets at a simulated orchestrator: its policy, its database, everything that
//! passes the seam in either direction, and what it tells.
//!
//! Each has a default that changes nothing. The orchestrator's own code is the same with and without a bug.

use crate::sim::env::SimEnv;
use crate::sim::job;
use crate::sim::world::{Ev, World};
use crate::witness::Witnessed;
use orchestrator::domain::effect::Ordered;
use orchestrator::domain::event::{Event, Fact, Happened};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::project::Project;
use orchestrator::domain::signal::Entry;
use orchestrator::domain::time::{Now, Timestamp};
use orchestrator::env::{Env, SpoolItem};
use rusqlite::Connection;
use std::cell::RefCell;
use std::rc::Rc;

/// A planted bug at work, shared by all lives of a run.
pub type BendRef = Rc<RefCell<dyn Bend>>;

/// Whose turn it is.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Which life.
    pub life: usize,
    /// When.
    pub at: Timestamp,
}

/// What carries a mark in tmux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A session.
    Session,
    /// A pane.
    Pane,
}

/// What a bug may change.
pub trait Bend {
    /// The limits that an orchestrator goes by, while the checkers know the right ones.
    fn policy(&mut self, _: &mut Policy) {}

    /// Whether an orchestrator that starts asks for the lock of the installation.
    fn looks_at_the_lock(&self) -> bool {
        true
    }

    /// Whether these are asked for their mark before anything is done in them.
    fn asks_for_the_mark(&self, _: Of) -> bool {
        true
    }

    /// An orchestrator is about to start on this database.
    ///
    /// # Errors
    /// SQLite's, if the bug's own SQL is wrong.
    fn starts(&mut self, _: Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    /// An orchestrator has died at a commit: what the disk makes of it.
    ///
    /// # Errors
    /// SQLite's, if the bug's own SQL is wrong.
    fn died(&mut self, _: Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    /// What an orchestrator that starts has found out about the time before it.
    fn found(&mut self, _: &mut Vec<Event>) {}

    /// Whether a start removes what an interrupted backup left.
    fn clears_the_shelf(&self) -> bool {
        true
    }

    /// Whether a start writes into the log what the journal has beyond it.
    fn completes_the_log(&self) -> bool {
        true
    }

    /// Whether effects go out before their commit: who dies before it has performed for a moment by then.
    fn commits_late(&self) -> bool {
        false
    }

    /// Whether a planned crash leaves the orchestrator alive. A bug of the harness.
    fn spares(&self) -> bool {
        false
    }

    /// Whether an injector that had nothing to break says that it broke it. A bug of the harness.
    fn boasts(&self) -> bool {
        false
    }

    /// The clock, as the core reads it.
    fn now(&mut self, _: &mut Now) {}

    /// An effect goes out: what goes out instead.
    fn submit(&mut self, _: &mut World, _life: usize, ordered: Ordered) -> Vec<Ordered> {
        vec![ordered]
    }

    /// The core says what a project is.
    fn watch(&mut self, _: &Project) {}

    /// The spool as the core gets it.
    fn drained(&mut self, _: &mut World, items: Vec<SpoolItem>) -> Vec<SpoolItem> {
        items
    }

    /// What a turn is about.
    fn turned(&mut self, _: &World, _: Turn, happened: Vec<Happened>) -> Vec<Happened> {
        happened
    }

    /// Whether the core reads its database anew before this turn, since a bug has changed it behind the core's back.
    fn rereads(&mut self) -> bool {
        false
    }

    /// What is witnessed, as the checkers get it.
    fn witnessed(&mut self, _: &mut Vec<Witnessed>) {}

    /// The journal, as everybody outside gets it.
    fn journaled(&mut self, _: &mut Vec<Entry>) {}

    /// The entries that an orchestrator counts for its metrics; `starts` with the ones before its time.
    fn counted(&mut self, _: &mut Vec<Entry>, _starts: bool) {}
}

/// Tells an orchestrator that an effect is done, which nothing has touched.
pub(super) fn answer(world: &mut World, life: usize, ordered: &Ordered, fact: Fact) {
    let happened = job::settled(ordered, Ok(fact));
    world.after(1_000, Ev::Tell { life, happened });
}

/// The simulator's side of the seam, with a bug in it if there is one.
pub struct BentEnv {
    sound: SimEnv,
    life: usize,
    bend: Option<BendRef>,
}

impl BentEnv {
    /// The hold of that life.
    #[must_use]
    pub fn new(sound: SimEnv, life: usize, bend: Option<BendRef>) -> Self {
        Self { sound, life, bend }
    }
}

impl Env for BentEnv {
    fn now(&mut self) -> Now {
        let mut now = self.sound.now();
        if let Some(bend) = &self.bend {
            bend.borrow_mut().now(&mut now);
        }
        now
    }

    fn submit(&mut self, ordered: Ordered) {
        let Some(bend) = &self.bend else { return self.sound.submit(ordered) };
        let instead = bend.borrow_mut().submit(&mut self.sound.world().borrow_mut(), self.life, ordered);
        instead.into_iter().for_each(|ordered| self.sound.submit(ordered));
    }

    fn watch(&mut self, project: &Project) {
        if let Some(bend) = &self.bend {
            bend.borrow_mut().watch(project);
        }
        self.sound.watch(project);
    }

    fn drain_spool(&mut self) -> Vec<SpoolItem> {
        let items = self.sound.drain_spool();
        match &self.bend {
            Some(bend) => bend.borrow_mut().drained(&mut self.sound.world().borrow_mut(), items),
            None => items,
        }
    }

    fn consume(&mut self, item: &SpoolItem) {
        self.sound.consume(item);
    }
}
