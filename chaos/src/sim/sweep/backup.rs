//! The regular backup of the database, step by step (C39): a partial copy under a name of its own, the copy, its name.
//!
//! The copy is SQLite's own, of one database in memory into another; the folder is a model of
//! `orchestrator/src/store/backup.rs` and of what `runtime/serve.rs` does with it. It is made beside the loop, which does
//! not wait for it, and goes with the process that makes it. An hour is a minute here.

use super::strike::Log;
use crate::sim::bank::Bank;
use crate::sim::heap::Tick;
use crate::sim::points::Side;
use crate::sim::run::{Do, Sim};
use orchestrator::domain::id::Seq;
use orchestrator::domain::limits::Policy;
use orchestrator::store::StoreError;

/// From one backup to the next, in microseconds.
const EVERY_US: u64 = 60_000_000;
/// From a start to the first one, where none is whole, in microseconds.
const FIRST_US: u64 = 3_000_000;
/// How long a step takes, in microseconds.
const STEP_US: u64 = 20_000;

/// The folder of the backups.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Whether backups are made.
    pub(super) on: bool,
    /// When each partial one was begun, and what is in it.
    partial: Vec<(Tick, Option<Bank>)>,
    /// Those that have their name.
    whole: Vec<Bank>,
}

impl Sim {
    /// From now on backups are made.
    pub(super) fn back_up_from_now(&mut self) {
        self.script.shelf.on = true;
        if let Some(life) = self.serving().map(|place| self.hosts[place].life) {
            self.next_backup(life, 0, STEP_US);
        }
    }

    fn next_backup(&mut self, life: usize, step: u8, after: u64) {
        let at = self.world.borrow().at;
        self.at(at + after, Do::BackUp(life, step));
    }

    /// An orchestrator has started: what an interrupted backup left goes, and the next one is due.
    pub(in crate::sim) fn clear_shelf(&mut self, life: usize) {
        if !self.script.shelf.on {
            return;
        }
        let bend = self.world.borrow().bend.clone();
        if bend.is_none_or(|bend| bend.borrow().clears_the_shelf()) {
            self.script.shelf.partial.clear();
        }
        self.next_backup(life, 0, if self.script.shelf.whole.is_empty() { FIRST_US } else { EVERY_US });
    }

    /// One step of a backup.
    pub(in crate::sim) fn back_up(&mut self, life: usize, step: u8) {
        let (alive, paused) =
            self.world.borrow().lives.get(life).map_or((false, false), |life| (life.alive, life.paused));
        if !alive {
            return;
        }
        let slow = self.world.borrow().slowness;
        if paused {
            return self.next_backup(life, step, STEP_US);
        }
        let done = self.pass(life, &format!("backup.{step}"), |sim| sim.backup_step(step));
        if !self.world.borrow().lives[life].alive {
            return;
        }
        match done {
            None => {}
            Some(true) if step < 2 => self.next_backup(life, step + 1, STEP_US * slow),
            Some(true | false) => self.next_backup(life, 0, EVERY_US),
        }
    }

    /// Does one step; whether it succeeded.
    fn backup_step(&mut self, step: u8) -> bool {
        let (at, full) = (self.world.borrow().at, self.world.borrow().disk.full);
        let copy = if step == 1 && !full { self.bank.copy().ok() } else { None };
        let shelf = &mut self.script.shelf;
        match step {
            0 if full => false,
            0 => {
                shelf.partial.push((at, None));
                true
            }
            1 => {
                let Some((_, partial)) = shelf.partial.last_mut() else { return false };
                *partial = copy;
                partial.is_some()
            }
            _ => match shelf.partial.pop() {
                Some((_, Some(copy))) => {
                    shelf.whole.push(copy);
                    true
                }
                Some((_, None)) | None => false,
            },
        }
    }

    /// A moment that is counted as those of effects are: what is planned for either side of it hits. None if the
    /// orchestrator died before it.
    pub(super) fn pass<R>(&mut self, life: usize, name: &str, what: impl FnOnce(&mut Self) -> R) -> Option<R> {
        let (struck, due) = {
            let mut world = self.world.borrow_mut();
            let struck = world.points.pass(|| name.to_owned());
            (struck, world.points.due.take())
        };
        if let Some((Side::Before, hit)) = due {
            self.world.borrow_mut().suffer(hit);
        }
        if struck == Some(Side::Before) {
            self.world.borrow_mut().points.struck = Some(life);
            return None;
        }
        let done = what(self);
        if let Some((Side::After, hit)) = due {
            self.world.borrow_mut().suffer(hit);
        }
        if struck == Some(Side::After) {
            self.world.borrow_mut().points.struck = Some(life);
            return None;
        }
        Some(done)
    }

    /// What is wrong with the backups in the end.
    pub(super) fn badly_kept(&mut self, log: &Log) -> Vec<String> {
        let shelf = std::mem::take(&mut self.script.shelf);
        if !shelf.on {
            return Vec::new();
        }
        let at = self.world.borrow().at;
        // One that is under way at this moment is nobody's leftover.
        let left = shelf.partial.iter().filter(|(begun, _)| at - begun > FIRST_US).count();
        let mut found = Vec::new();
        if left > 0 {
            found.push(format!("{left} partial backups are left"));
        }
        if shelf.whole.is_empty() {
            found.push("no backup is whole".to_owned());
        }
        let policy = self.plan.policy.clone();
        for (number, mut copy) in (1..).zip(shelf.whole) {
            match self.whole(&mut copy, &policy, log) {
                Err(error) => found.push(format!("backup {number} cannot be read: {error}")),
                Ok(Some(why)) => found.push(format!("backup {number}: {why}")),
                Ok(None) => {}
            }
        }
        found
    }

    /// What is wrong with a copy.
    fn whole(&mut self, copy: &mut Bank, policy: &Policy, log: &Log) -> Result<Option<String>, StoreError> {
        copy.client.quick_check()?;
        if let Some(broken) = copy.client.audit(policy)?.into_iter().find(|one| one.violations > 0) {
            return Ok(Some(format!("{}: {}", broken.id, broken.holds)));
        }
        let (has, all) =
            (copy.client.entries_after(Seq(0), usize::MAX)?, self.bank.client.entries_after(Seq(0), usize::MAX)?);
        // Where an older database was put in place, what came after its end is of another journal.
        let is_prefix = !log.put_back.is_empty() || all.starts_with(&has);
        Ok(match (has.is_empty(), is_prefix) {
            (true, _) => Some("its journal is empty".to_owned()),
            (_, false) => Some("its journal is another one".to_owned()),
            (false, true) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::play::{Scenario, plan};
    use super::*;
    use crate::setting::Place;
    use crate::sim::claims::spec;
    use orchestrator::domain::time::{Now, Timestamp, WallTime};

    fn wrong(partial: Vec<(Tick, Option<Bank>)>, whole: Vec<Bank>) -> Vec<String> {
        let mut sim = Sim::new(plan(Scenario::RECOVERS)).expect("a world");
        sim.world.borrow_mut().at = 2 * FIRST_US;
        sim.script.shelf = Shelf { on: true, partial, whole };
        sim.badly_kept(&Log::default())
    }

    #[test]
    fn a_backup_is_whole_and_of_this_journal_and_nothing_partial_is_left() {
        let bank = || Bank::new().expect("a bank");
        assert_eq!(wrong(Vec::new(), Vec::new()), ["no backup is whole"]);
        let left = wrong(vec![(0, None), (2 * FIRST_US, None)], vec![bank()]);
        assert_eq!(left, ["1 partial backups are left", "backup 1: its journal is empty"]);
        let mut other = bank();
        let now = Now { at: Timestamp(1), wall: WallTime(1), seed: [0; 32] };
        other.client.enqueue(&spec(0, 1, Place::default()), &now).expect("accepted");
        assert_eq!(wrong(Vec::new(), vec![other]), ["backup 1: its journal is another one"]);
    }
}
