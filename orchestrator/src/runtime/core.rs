//! The loop's one turn: drain, decide, commit, perform.
//!
//! Synchronous and generic over the world: the live shell and the simulator run exactly this. The order is fixed:
//! what an agent wrote before it died is decided before its death (so that "done, then gone" is done); everything of
//! a turn is one transaction; nothing is performed before that transaction is committed (G2, S13).

use super::overdue::Overdue;
use crate::decide::decide;
use crate::domain::decision::Decision;
use crate::domain::event::{Event, Happened, Source};
use crate::domain::fleet::{Fleet, Tmux};
use crate::domain::id::{EffectId, ProjectId};
use crate::domain::limits::{self, Policy};
use crate::domain::project::Project;
use crate::domain::signal::What;
use crate::domain::time::{Now, Timestamp};
use crate::env::{Env, SpoolItem};
use crate::store::{Asked, Settlement, Store, StoreError, Taken, Turn};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The orchestrator's core over some world.
pub struct Core<E: Env> {
    store: Store,
    fleet: Fleet,
    env: E,
    newest: ProjectId,
    /// Intents of this process that are open in the outbox.
    intended: BTreeSet<EffectId>,
    /// What was refused with its turn and nobody would tell again: what a start found out, and the loss of tmux, of
    /// which its link tells once.
    untold: Vec<Happened>,
    /// Whether memory may differ from the file: nothing is decided before it was read again.
    distrusted: bool,
    overdue: Overdue,
}

/// Whether this is what no later turn finds out again: what a start found out, and a socket that is there again. An
/// absence that the timer noticed goes on until a turn is committed, and is told anew, longer.
fn is_told_once(happened: &Happened) -> bool {
    let of_a_start = matches!(happened.event, Event::Started | Event::Away { .. });
    happened.source == Source::Sweep && of_a_start || matches!(happened.event, Event::SocketRestored { .. })
}

impl<E: Env> Core<E> {
    /// Reads the fleet and closes the intents that a predecessor left open.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn open(store: Store, env: E, policy: Policy) -> Result<(Self, u32), StoreError> {
        Self::open_after(store, env, policy, Vec::new())
    }

    /// Like [`Self::open`], after something that changes what the store's rows mean: a reboot, a restored backup. That
    /// is decided and committed before anything that they name is watched or listened to.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn open_after(
        mut store: Store,
        mut env: E,
        policy: Policy,
        first: Vec<Event>,
    ) -> Result<(Self, u32), StoreError> {
        let now = env.now();
        let unconfirmed = store.supersede_intents(now.at)?;
        // The id first: a project that is accepted between the two reads is read twice, not never.
        let newest = store.last_project()?;
        let mut fleet = store.load_fleet(policy)?;
        fleet.asked_since = now.at;
        let (intended, overdue) = (BTreeSet::new(), Overdue::default());
        let (untold, distrusted) = (Vec::new(), false);
        let mut core = Self { store, fleet, env, newest, intended, untold, distrusted, overdue };
        if !first.is_empty() {
            let happened = |event| Happened { seen_at: now.at, source: Source::Sweep, event };
            core.turn(first.into_iter().map(happened).collect())?;
        }
        core.fleet.inherited = Arc::new(core.fleet.agents().collect());
        for project in core.fleet.projects() {
            core.env.watch(project);
        }
        Ok((core, unconfirmed))
    }

    /// The fleet as the last commit left it.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The store, for what is not part of the loop (lease, anchor, journal).
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The world.
    pub fn env(&mut self) -> &mut E {
        &mut self.env
    }

    /// When the core must be given a turn even if nothing happens.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.fleet.next_wake().into_iter().chain(self.overdue.wake(self.fleet.due_at())).min()
    }

    /// One turn over what was drained.
    ///
    /// # Errors
    /// If the turn could not be committed. Nothing was performed; what memory holds is not believed any more, the
    /// next turn reads the store again before it decides anything. What was drained need not be given again: the sweep
    /// observes everything anew, and what it cannot see, what a start found out and the loss of tmux, is kept here.
    /// After [`StoreError::Fenced`] there must be no further turn.
    pub fn turn(&mut self, drained: Vec<Happened>) -> Result<(), StoreError> {
        let all: Vec<Happened> = std::mem::take(&mut self.untold).into_iter().chain(drained).collect();
        let once = all.iter().filter(|happened| is_told_once(happened));
        let untold = once.cloned().chain(loss_at_the_end(&all)).collect();
        if self.distrusted
            && let Err(error) = self.recover()
        {
            self.untold = untold;
            return Err(error);
        }
        let (sight, inherited) = (self.fleet.tmux.clone(), self.fleet.inherited.clone());
        let told = self.decided(all);
        if let Err(error) = &told {
            self.distrusted = true;
            // Until the loss is committed tmux stands as it stood.
            self.untold = untold;
            // Who was adopted in it is adopted in the next.
            (self.fleet.tmux, self.fleet.inherited) = (sight, inherited);
            if matches!(error, StoreError::Conflict(_)) {
                // The store works, memory was wrong.
                self.recover()?;
            }
        }
        told
    }

    /// Says that the store failed in something beside the turns.
    pub fn distrust(&mut self) {
        self.distrusted = true;
    }

    fn decided(&mut self, drained: Vec<Happened>) -> Result<(), StoreError> {
        let news = self.store.has_news(self.newest)?;
        if news {
            self.take_newcomers()?;
        }
        let spool = self.env.drain_spool();
        let now = self.env.now();
        let asked = if news { self.untaken()? } else { Vec::new() };
        let mut turn = Turn::default();
        for item in &spool {
            self.decide(&item.happened, &now, &mut turn.decision);
        }
        for happened in &drained {
            if let Event::Settled { effect, result, .. } = &happened.event
                && self.intended.contains(effect)
            {
                turn.settled.push(Settlement { effect: *effect, confirmed: result.is_ok() });
            }
            self.recall(happened)?;
            self.decide(happened, &now, &mut turn.decision);
        }
        for (asked, ended) in asked {
            self.answer(asked, ended, &now, &mut turn);
        }
        self.follow_up(&now, &mut turn.decision);
        // A record is removed only under the same proof as everything else: that this process may still write.
        if turn.is_empty() && spool.is_empty() {
            return Ok(());
        }
        // What only looks at the world is not written: an idle fleet costs no commit.
        if turn.writes() || !spool.is_empty() {
            self.store.commit(&turn, &now)?;
        } else {
            self.store.still_there()?;
        }
        self.committed(turn, &spool);
        Ok(())
    }

    /// Decides one event on the fleet as it stands after the ones before it.
    fn decide(&mut self, happened: &Happened, now: &Now, all: &mut Decision) {
        // Every event has its own entropy; the moment is the turn's.
        let now = Now { seed: self.env.now().seed, ..*now };
        let decision = decide(&self.fleet, happened, &now);
        self.apply(&decision, &now);
        all.extend(decision);
    }

    /// Looks up what a list of panes shows and no project has: tokens of our past.
    fn recall(&mut self, happened: &Happened) -> Result<(), StoreError> {
        if let Event::PanesListed { panes, .. } = &happened.event {
            let unknown = self.fleet.unknown_tokens(panes);
            self.fleet.retired = self.store.incarnations(&unknown)?;
        }
        Ok(())
    }

    fn apply(&mut self, decision: &Decision, now: &Now) {
        for project in &decision.projects {
            self.fleet.put(Arc::clone(project));
        }
        if let Some(last) = decision.effects.last() {
            self.fleet.next_effect = EffectId(last.id.0 + 1);
        }
        // Signals, since they are what is committed: after a restart the same times are read back from the journal.
        for signal in &decision.signals {
            self.fleet.note(signal, now.at);
        }
        if let Some(tmux) = &decision.tmux {
            if let Tmux::Alive(server) = tmux {
                self.fleet.last_server = Some(*server);
            }
            if *tmux == Tmux::Unknown {
                self.fleet.asked_since = now.at;
            }
            self.fleet.tmux = tmux.clone();
        }
        if let Some(strays) = &decision.strays {
            self.fleet.strays.clone_from(strays);
        }
        if let Some(late) = &decision.late {
            self.fleet.late.clone_from(late);
        }
    }

    /// What follows from the turn itself: free slots are given, passed deadlines are dealt with.
    fn follow_up(&mut self, now: &Now, all: &mut Decision) {
        let event = |event| Happened { seen_at: now.at, source: Source::Timer, event };
        if self.overdue.wake(self.fleet.due_at()).is_some_and(|due| due <= now.at) {
            self.decide(&event(Event::FleetDue), now, all);
            self.overdue.decided(self.fleet.due_at(), now.at);
        }
        // Both loops end: an admitted project leaves the queue, and a due one gets a later deadline or none. The
        // bound keeps a defect from becoming a hang.
        for _ in 0..limits::INBOX_EVENTS_MAX {
            let Some(project) = self.fleet.due(now.at) else { break };
            self.decide(&event(Event::Due { project }), now, all);
        }
        for _ in 0..limits::INBOX_EVENTS_MAX {
            let Some(project) = self.fleet.next_admissible() else { break };
            self.decide(&event(Event::Admitted { project }), now, all);
        }
    }

    /// After the commit: versions follow, effects go out, watches are set, records are consumed.
    fn committed(&mut self, turn: Turn, spool: &[SpoolItem]) {
        for mut project in turn.decision.projects {
            if turn.decision.rows.contains(&project.id) {
                Arc::make_mut(&mut project).version += 1;
                self.env.watch(&project);
            }
            self.fleet.put(project);
        }
        for settled in &turn.settled {
            self.intended.remove(&settled.effect);
        }
        self.consume(spool);
        for ordered in turn.decision.effects {
            if ordered.effect.is_durable() {
                self.intended.insert(ordered.id);
            }
            self.env.submit(ordered);
        }
    }

    fn consume(&mut self, spool: &[SpoolItem]) {
        for item in spool {
            self.env.consume(item);
        }
    }

    /// Projects that were enqueued by another process since the last turn.
    fn take_newcomers(&mut self) -> Result<(), StoreError> {
        for project in self.store.load_newer(self.newest)? {
            self.newest = self.newest.max(project.id);
            self.fleet.put(project);
        }
        Ok(())
    }

    /// What operators have asked for and nobody has taken yet; with each the project, if it has left the fleet.
    fn untaken(&self) -> Result<Vec<(Asked, Option<Project>)>, StoreError> {
        let mut found = Vec::new();
        for asked in self.store.untaken_requests(limits::TURN_EVENTS_MAX)? {
            let gone = asked.project.filter(|id| self.fleet.project(*id).is_none());
            let ended = gone.map(|id| self.store.load_project(id)).transpose()?.flatten();
            found.push((asked, ended));
        }
        Ok(found)
    }

    /// Decides what one request means, after everything else that this turn brought.
    fn answer(&mut self, asked: Asked, ended: Option<Project>, now: &Now, turn: &mut Turn) {
        if let Some(id) = asked.project.filter(|id| self.fleet.project(*id).is_none()) {
            // It may have left the fleet in this very turn: then what was decided is newer than what was read.
            let decided = turn.decision.projects.iter().find(|project| project.id == id).cloned();
            if let Some(project) = decided.or(ended.map(Arc::new)) {
                self.fleet.recall(project);
            }
        }
        let told = turn.decision.signals.len();
        let request = asked.request;
        let event =
            asked.project.map_or(Event::FleetRequested { request }, |project| Event::Requested { project, request });
        let happened = Happened { seen_at: asked.request.at, source: Source::Spool, event };
        self.decide(&happened, now, &mut turn.decision);
        if let Some(project) = asked.project.and_then(|id| self.fleet.project(id)).cloned() {
            self.fleet.put(project);
        }
        let done = turn.decision.signals.iter().skip(told).any(|told| matches!(told.what, What::OperatorAsked { .. }));
        turn.taken.push(Taken { id: asked.request.id, done });
    }

    /// Forgets what memory holds and reads the store again: after a failed commit only the file is to be believed.
    /// Intents that it holds open belong to no effect that memory knows of; they are settled by observation. That it
    /// can be written is proved by a write, or a turn that decides nothing would pass for the end of the trouble.
    fn recover(&mut self) -> Result<(), StoreError> {
        self.store.revive()?;
        let now = self.env.now();
        self.store.prove(now.at)?;
        let policy = self.fleet.policy.clone();
        let (tmux, last_server, next) = (self.fleet.tmux.clone(), self.fleet.last_server, self.fleet.next_effect);
        let asked = self.fleet.asked_since;
        let mut fleet = self.store.load_fleet(policy)?;
        fleet.asked_since = asked;
        fleet.tmux = tmux;
        fleet.last_server = last_server;
        fleet.strays = std::mem::take(&mut self.fleet.strays);
        fleet.inherited = std::mem::take(&mut self.fleet.inherited);
        // Ids that were given to effects of the lost turn are not given again: a late result must not be mistaken.
        fleet.next_effect = fleet.next_effect.max(next);
        // A survey tells each change once, and the turn that it led to was refused.
        fleet.look_at_everything();
        self.fleet = fleet;
        // A process's end is told once as well.
        for project in self.fleet.projects() {
            self.env.watch(project);
        }
        self.intended.clear();
        self.distrusted = false;
        Ok(())
    }
}

/// The loss of tmux, if that is the last that these say of it.
fn loss_at_the_end(all: &[Happened]) -> Option<Happened> {
    let of_tmux = |event: &Event| matches!(event, Event::TmuxLost { .. } | Event::PanesListed { .. });
    let last = all.iter().rev().find(|happened| of_tmux(&happened.event))?;
    matches!(last.event, Event::TmuxLost { .. }).then(|| last.clone())
}
