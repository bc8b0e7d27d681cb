//! An orchestrator of the simulated world: the real core over the simulator's side of the seam, driven as
//! `orch serve` drives it.
//!
//! Its beat is the live one (`orchestrator/src/runtime/beat.rs`): the sweep, the anchor that is the lease's heartbeat,
//! what nobody looked at. Only the pause after trouble with the store is its own.

use super::bank::Bank;
use super::env::SimEnv;
use super::gate::Gate;
use super::heap::Tick;
use super::link::Life;
use super::planted::{BentEnv, Turn};
use super::sweep::Logged;
use super::world::{Ev, World};
use crate::witness::Fact;
use orchestrator::config::Config;
use orchestrator::domain::event::{Event, Happened};
use orchestrator::domain::id::{ProcessId, Seq};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Entry, Signal, What};
use orchestrator::domain::time::{Anchor, Span, Timestamp};
use orchestrator::env::Env;
use orchestrator::runtime::{Beat, Core, Reading, ServeError};
use orchestrator::store::StoreError;
use orchestrator::telemetry::mirror::Mirror;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The pause after a store that failed.
const TROUBLE: Span = Span::from_secs(1);

/// How an orchestrator stands after it was given a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// It goes on.
    Up,
    /// It died at a commit, or at a point of an effect.
    Crashed,
    /// Somebody else has taken over: it has ended itself.
    Fenced,
}

/// One orchestrator.
pub struct Host {
    core: Core<BentEnv>,
    world: Rc<RefCell<World>>,
    gate: Arc<Gate>,
    /// Which life of the world it is.
    pub life: usize,
    anchor: Anchor,
    beat: Beat,
    /// Until when the store is left alone after it failed.
    trouble: Option<Timestamp>,
    wake: Option<Tick>,
    inbox: Vec<Happened>,
    /// The event log, if one is kept.
    log: Option<Mirror<Logged>>,
}

impl Host {
    /// Starts an orchestrator, as `orch serve` starts: lock, anchor, lease, what a predecessor left, the fleet.
    ///
    /// # Errors
    /// [`ServeError::Held`] if another holds the lock: then it has touched nothing. Otherwise if the store cannot be
    /// used; then it has not started.
    pub fn start(
        world: &Rc<RefCell<World>>,
        bank: &Bank,
        gate: &Arc<Gate>,
        mut policy: Policy,
    ) -> Result<Self, ServeError> {
        let bend = world.borrow().bend.clone();
        let looks = bend.as_ref().is_none_or(|bend| bend.borrow().looks_at_the_lock());
        if let Some(holder) = world.borrow().holder().filter(|_| looks) {
            return Err(ServeError::Held { pid: pid(holder).to_string(), home: "sim".into() });
        }
        gate.revive();
        if let Some(bend) = &bend {
            bend.borrow_mut().policy(&mut policy);
            bend.borrow_mut().starts(bank.side_door()?).map_err(StoreError::from)?;
        }
        let mut store = bank.connect(gate)?;
        let (life, anchor, me, at, rebooted) = {
            let mut world = world.borrow_mut();
            let (boot, mono) = (world.kernel.boot_id(), world.kernel.mono(world.at));
            let wall = world.kernel.wall(world.at);
            let stored = store.anchor()?;
            let rebooted = stored.as_ref().is_some_and(|stored| stored.boot_id != boot);
            let anchor = match stored {
                Some(stored) => stored.resumed(&boot, mono, wall),
                None => Anchor { boot_id: boot, mono_us: mono, at: Timestamp(0), wall_us: wall, told: Timestamp(0) },
            };
            world.anchor = anchor.clone();
            world.end_leftovers();
            world.lives.push(Life::new());
            let life = world.lives.len() - 1;
            world.lock = Some(life);
            let me = ProcessId { pid: pid(life), start: mono / 10_000 + 1 };
            (life, anchor, me, world.now(), rebooted)
        };
        let dead = |error| {
            world.borrow_mut().lives[life].alive = false;
            error
        };
        let log = Logged::open(world, life, &store).inspect_err(|_| world.borrow_mut().lives[life].alive = false)?;
        let renewed = store.lease().map_err(dead)?.map(|lease| lease.renewed);
        store.take_lease(me, at, None).map_err(dead)?;
        let mut first = if rebooted { vec![Event::Rebooted] } else { Vec::new() };
        first.extend(world.borrow().before(&mut store).map_err(dead)?);
        if let Some(bend) = &bend {
            bend.borrow_mut().found(&mut first);
        }
        let env = BentEnv::new(SimEnv::new(Rc::clone(world), life, Arc::clone(gate)), life, bend);
        let (mut core, unconfirmed) = Core::open_after(store, env, policy, first).map_err(dead)?;
        core.store().set_anchor(&anchor).map_err(dead)?;
        if !gate.is_struck() {
            // The mark is written once what it says is dealt with.
            world.borrow_mut().mark = None;
        }
        let unfinished = u32::try_from(core.fleet().projects().count()).unwrap_or(u32::MAX);
        let what = What::OrchestratorStarted { process: me, version: "sim".to_owned(), unfinished, unconfirmed };
        let now = core.env().now();
        core.store().journal(Signal::fleet(what), &now).map_err(dead)?;
        {
            let mut world = world.borrow_mut();
            world.witness(Fact::Serving { life });
            let after = world.takes(1_000, 5_000);
            world.after(after, Ev::Connect { life });
        }
        let inbox = Beat::first(renewed, at);
        let beat = Beat::new(reading(&world.borrow()), Span::from_secs(Config::default().sweep_s));
        let mut host = Self {
            core,
            world: Rc::clone(world),
            gate: Arc::clone(gate),
            life,
            anchor,
            beat,
            trouble: None,
            wake: None,
            inbox,
            log,
        };
        if !gate.is_struck() {
            host.publish();
        }
        Ok(host)
    }

    /// The core, for those who look at it from outside.
    pub fn core(&mut self) -> &mut Core<BentEnv> {
        &mut self.core
    }

    /// What the journal holds after an entry.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn entries(&mut self, after: Seq) -> Result<Vec<Entry>, StoreError> {
        self.core.store().entries_after(after, usize::MAX)
    }

    /// Takes something in; it is dealt with in the next turn.
    pub fn take(&mut self, happened: Happened) {
        self.inbox.push(happened);
    }

    fn now(&self) -> Timestamp {
        self.world.borrow().now()
    }

    /// One turn of the loop.
    ///
    /// # Errors
    /// Never for what the orchestrator must bear; only if the simulation itself cannot go on.
    pub fn turn(&mut self) -> Stands {
        let at = self.now();
        if let Some(until) = self.trouble
            && at < until
        {
            return Stands::Up;
        }
        let mut drained = std::mem::take(&mut self.inbox);
        let now = reading(&self.world.borrow());
        self.beat.due(now, &self.core.fleet().tmux, self.trouble.is_none(), &mut drained);
        let bend = self.world.borrow().bend.clone();
        if let Some(bend) = bend {
            drained = bend.borrow_mut().turned(&self.world.borrow(), Turn { life: self.life, at }, drained);
            if bend.borrow_mut().rereads() {
                self.core.distrust();
            }
        }
        if let Err(error) = self.core.turn(drained) {
            return self.failed(&error);
        }
        self.trouble = None;
        self.beat.looked(now);
        if self.gate.is_struck() {
            return Stands::Crashed;
        }
        self.publish();
        if self.world.borrow().points.struck.is_some() {
            return Stands::Up;
        }
        if self.beat.anchors(at) {
            let wall_us = {
                let world = self.world.borrow();
                self.anchor.mono_us = world.kernel.mono(world.at);
                world.kernel.wall(world.at)
            };
            (self.anchor.at, self.anchor.wall_us) = (at, wall_us);
            let anchor = self.anchor.clone();
            if let Err(error) = self.core.store().set_anchor(&anchor) {
                self.core.distrust();
                return self.failed(&error);
            }
        }
        if self.gate.is_struck() { Stands::Crashed } else { Stands::Up }
    }

    /// From now on it keeps the event log.
    ///
    /// # Errors
    /// If the log or the journal cannot be read.
    pub fn keep_log(&mut self) -> Result<(), ServeError> {
        self.log = Logged::open(&self.world, self.life, self.core.store())?;
        Ok(())
    }

    /// Writes into the log what was committed, as `orch serve` does after each turn.
    fn publish(&mut self) {
        let at = self.now();
        let Some(log) = &mut self.log else { return };
        let store = self.core.store();
        // What cannot be read now is written once it can.
        drop(log.publish(at, |after, most| store.entries_after(after, most), |_| {}));
    }

    fn failed(&mut self, error: &StoreError) -> Stands {
        if self.gate.is_struck() {
            return Stands::Crashed;
        }
        if matches!(error, StoreError::Fenced { .. }) {
            return Stands::Fenced;
        }
        let at = self.now();
        self.trouble = Some(at + TROUBLE);
        self.beat.refused(at);
        Stands::Up
    }

    /// Plans the next turn that is due by the clock.
    pub fn plan(&mut self) {
        let at = self.now();
        let pause = match self.trouble {
            Some(until) => until.since(at),
            None => self.beat.rest(at, self.core.next_wake()),
        };
        let mut world = self.world.borrow_mut();
        let due = world.at + pause.0;
        if self.wake.is_none_or(|planned| planned > due || planned <= world.at) {
            self.wake = Some(due);
            world.heap.push(due, Ev::Wake { life: self.life });
        }
    }
}

/// The process number of a life.
fn pid(life: usize) -> u32 {
    100 + u32::try_from(life).unwrap_or(0)
}

/// Both clocks now.
fn reading(world: &World) -> Reading {
    Reading { at: world.now(), boot: Span(world.kernel.boot(world.at)) }
}
