//! A copy of the database that is put in place of a newer one (C46): what the world knows by then, the copy does not.
//!
//! Everything that the copy knows rests until an operator has looked. Until then nothing may be begun for it, and
//! whoever is started after that is of an epoch that nobody had before.

use super::strike::Log;
use crate::check::{Checker, witnessed};
use crate::sim::bank::Bank;
use crate::sim::run::{Do, Sim};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{Epoch, ProjectId, Seq};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::RoleState;
use std::collections::{BTreeMap, BTreeSet};

/// How long it takes until an operator looks, in microseconds.
const LOOKS_US: u64 = 20_000_000;

/// What can be asked of no journal that lost a part, with the reason.
const LOST: [(&str, &str); 2] =
    [("D1", "nobody mourns an agent that the database never knew"), ("D3", "a death that was lost is told again")];

/// What holds the journal against itself: it begins anew with the journal that is there.
const ANEW: [&str; 8] = ["S1", "S2", "S7", "S8", "S10", "S11", "S12", "S18"];

/// Whether the invariant can be asked of this run.
pub(super) fn holds_still(log: &Log, id: &str) -> bool {
    log.put_back.is_empty() || LOST.iter().all(|(lost, _)| *lost != id)
}

impl Sim {
    /// The database is copied when an agent has died: its successor is in the world and not in the copy.
    pub(super) fn copy_at(&mut self, entry: &Entry) {
        if !self.script.copies || !matches!(entry.signal.what, What::RoleMoved { to: RoleState::Dead, .. }) {
            return;
        }
        match self.bank.copy() {
            Ok(copy) => self.script.copy = Some(copy),
            Err(error) => self.breaks(format!("the database cannot be copied: {error}")),
        }
    }

    /// Whoever serves is killed, and the copy is put in place of the database.
    pub(super) fn put_back(&mut self) {
        while !self.hosts.is_empty() {
            self.end_host(0);
        }
        // The copy is kept: the next death may come only after the next time.
        let copy = match self.script.copy.as_ref().map(Bank::copy) {
            None => return,
            Some(Err(error)) => return self.breaks(format!("the database cannot be copied: {error}")),
            Some(Ok(copy)) => copy,
        };
        let newer = std::mem::replace(&mut self.bank, copy);
        self.bank.steps = newer.steps;
        match (newer.client.last_seq(), self.bank.client.last_seq()) {
            (Ok(had), Ok(has)) => {
                self.told = has;
                let mut world = self.world.borrow_mut();
                world.mark = Some(had);
                world.disk.logs.iter().for_each(|logs| logs.put_back(has));
                self.script.log.put_back.push(world.now());
            }
            (Err(error), _) | (_, Err(error)) => self.breaks(format!("the journal cannot be read: {error}")),
        }
        self.read_at = None;
        self.script.anew = true;
        self.script.dying = None;
        let at = self.world.borrow().at;
        self.at(at + 1_000_000, Do::Start);
        self.at(at + LOOKS_US, Do::Round);
    }
}

impl Sim {
    /// After a database was put in place of another, whoever holds the journal against the world begins anew.
    pub(in crate::sim) fn begun_anew(&mut self, checkers: &mut [Box<dyn Checker>]) {
        if !std::mem::take(&mut self.script.anew) {
            return;
        }
        let entries = match self.bank.client.entries_after(Seq(0), usize::MAX) {
            Ok(entries) => entries,
            Err(error) => return self.breaks(format!("the journal cannot be read: {error}")),
        };
        let fresh = witnessed::under(false, self.plan.policy.clone());
        let all = checkers.iter_mut().zip(fresh).filter(|(checker, _)| ANEW.contains(&checker.id()));
        for (checker, mut fresh) in all {
            let mut entries = entries.iter().peekable();
            // What was counted or asked of another database says nothing of this one.
            let said = |told: &&Witnessed| !matches!(told.fact, Fact::Scraped { .. } | Fact::Asked { .. });
            for told in self.script.log.facts.iter().filter(said) {
                while let Some(entry) = entries.next_if(|entry| entry.at < told.at) {
                    fresh.observe(entry);
                }
                fresh.witness(told);
            }
            entries.for_each(|entry| fresh.observe(entry));
            *checker = fresh;
        }
    }
}

/// What was done although the database was older than the world.
pub(super) fn trusted(log: &Log) -> Vec<String> {
    let mut found = Vec::new();
    for put_back in &log.put_back {
        let (mut resting, mut begun) = (BTreeSet::new(), None);
        for entry in &log.entries {
            let Some(project) = entry.signal.project_id else { continue };
            let (what, after) = (&entry.signal.what, entry.at > *put_back);
            if !after && matches!(what, What::ProjectEnqueued { .. }) {
                resting.insert(project);
            } else if after && matches!(what, What::OperatorAsked { .. }) {
                resting.remove(&project);
            } else if let What::EffectIntended { effect, .. } = what
                && after
                && resting.contains(&project)
            {
                begun.get_or_insert((project, effect));
            }
        }
        found.extend(
            begun.map(|(project, effect)| format!("{effect} of project {project} was due before an operator looked")),
        );
        let mut newest: BTreeMap<ProjectId, Epoch> = BTreeMap::new();
        for told in &log.facts {
            let Fact::AgentBorn { incarnation, .. } = &told.fact else { continue };
            let (project, epoch) = (incarnation.project, incarnation.epoch);
            if told.at <= *put_back {
                let known = newest.entry(project).or_insert(epoch);
                *known = epoch.max(*known);
            } else if let Some(known) = newest.get(&project).filter(|known| epoch <= **known) {
                found.push(format!("project {project} began epoch {epoch}, and the world knew epoch {known}"));
            }
        }
    }
    found
}
