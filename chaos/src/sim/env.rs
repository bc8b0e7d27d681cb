//! The world as one orchestrator's core sees it: the simulator's side of the seam.

use super::gate::Gate;
use super::world::World;
use orchestrator::domain::effect::Ordered;
use orchestrator::domain::event::{Event, Happened, Source};
use orchestrator::domain::limits::TURN_EVENTS_MAX;
use orchestrator::domain::project::Project;
use orchestrator::domain::time::{Now, WallTime};
use orchestrator::env::{Env, SpoolItem};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// One orchestrator's hold on the world.
pub struct SimEnv {
    world: Rc<RefCell<World>>,
    life: usize,
    gate: Arc<Gate>,
}

impl SimEnv {
    /// The hold of that life.
    #[must_use]
    pub fn new(world: Rc<RefCell<World>>, life: usize, gate: Arc<Gate>) -> Self {
        Self { world, life, gate }
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> &Rc<RefCell<World>> {
        &self.world
    }
}

impl Env for SimEnv {
    fn now(&mut self) -> Now {
        let mut world = self.world.borrow_mut();
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&world.entropy.word().to_le_bytes());
        }
        Now { at: world.now(), wall: WallTime(world.kernel.wall(world.at)), seed }
    }

    fn submit(&mut self, ordered: Ordered) {
        // Killed right after its commit: it never came to this.
        if !self.gate.is_struck() {
            self.world.borrow_mut().submit(self.life, ordered);
        }
    }

    fn watch(&mut self, project: &Project) {
        if self.gate.is_struck() {
            return;
        }
        let mut world = self.world.borrow_mut();
        if let Some(server) = project.session.as_ref().filter(|_| project.session_live()).and_then(|s| s.server) {
            world.lives[self.life].expected = Some(server);
        }
        let over = project.is_settled();
        for role in &project.roles {
            let whose = (project.id, role.name.clone());
            let process = role.process.filter(|_| !over);
            let known = world.lives[self.life].processes.get(&whose).copied();
            // Whose end was told and is still on record as living is told of once more.
            let watched = known.is_some_and(|known| Some(known) == process && world.kernel.is_alive(known));
            if !watched {
                match process {
                    None => drop(world.lives[self.life].processes.remove(&whose)),
                    Some(process) => {
                        world.lives[self.life].processes.insert(whose.clone(), process);
                        if !world.kernel.is_alive(process) {
                            let (project, role) = whose.clone();
                            let gone = Event::ProcessGone { project, role, process };
                            world.tell(self.life, 100, Source::Pidfd, gone);
                        }
                    }
                }
            }
            let tree = role.worktree.as_ref().filter(|tree| tree.ready && !over).map(|tree| tree.path.as_str());
            match tree {
                None => drop(world.lives[self.life].trees.remove(&whose)),
                Some(path) => {
                    let there = world.disk.tree(path).filter(|tree| tree.there).map_or(0, |tree| tree.inode);
                    let known = world.lives[self.life].trees.get(&whose).filter(|(known, ..)| known == path);
                    // What the survey found stays known; a directory that was made anew is watched anew.
                    let seen = known.and_then(|(_, _, seen)| *seen);
                    world.lives[self.life].trees.insert(whose, (path.to_owned(), there, seen));
                }
            }
        }
    }

    fn drain_spool(&mut self) -> Vec<SpoolItem> {
        let world = self.world.borrow();
        if world.spool.is_empty() {
            return Vec::new();
        }
        let seen_at = world.now();
        let item =
            |item: &SpoolItem| SpoolItem { happened: Happened { seen_at, ..item.happened.clone() }, ..item.clone() };
        world.spool.values().take(TURN_EVENTS_MAX).map(item).collect()
    }

    fn consume(&mut self, item: &SpoolItem) {
        if !self.gate.is_struck() && !self.gate.is_late() {
            let mut world = self.world.borrow_mut();
            world.spool.remove(&item.name);
            // inotify tells of what is taken away as of what is put there.
            let after = world.takes(59, 300);
            world.tell(self.life, after, Source::Spool, Event::SpoolTouched);
        }
    }
}
