//! The simulator's world as a stage.

use super::stage::{Harm, SESSION, Stage, tree};
use chaos::fault::Kind;
use chaos::schedule::{Params, Planned};
use chaos::seed::Seed;
use chaos::sim::deed::Target;
use chaos::sim::env::SimEnv;
use chaos::sim::gate::Gate;
use chaos::sim::link::Life;
use chaos::sim::world::{Ev, Manner, World};
use orchestrator::domain::effect::{Effect, Ordered};
use orchestrator::domain::event::{FileIs, Happened, Source};
use orchestrator::domain::failure::Stage as At;
use orchestrator::domain::id::{EffectId, ProjectId, RoleName};
use orchestrator::domain::project::Project;
use orchestrator::domain::time::Span;
use orchestrator::env::{Env as _, SpoolItem};
use orchestrator::validate::judge;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Longer than any play: agents here do nothing of themselves.
const NEVER_US: u64 = 1_000_000_000_000;

/// The simulated world.
pub(crate) struct Fake {
    world: Rc<RefCell<World>>,
    env: SimEnv,
    effects: i64,
}

impl Fake {
    pub(crate) fn new(seed: u64) -> Self {
        let manner = Manner { progress_us: NEVER_US, work_us: (NEVER_US, NEVER_US), ..Manner::default() };
        let mut world = World::new(Seed(seed), manner);
        world.lives.push(Life::new());
        world.after(1_000, Ev::Connect { life: 0 });
        let world = Rc::new(RefCell::new(world));
        let env = SimEnv::new(Rc::clone(&world), 0, Arc::new(Gate::default()));
        Self { world, env, effects: 0 }
    }

    fn inject(&self, kind: Kind, role: &str) {
        let role = RoleName(role.to_owned());
        let planned =
            Planned { id: 1, at_ms: 0, on_event: None, kind, project: 0, role: Some(0), params: Params::default() };
        let deed = self.world.borrow_mut().inject(&planned, &Target { project: ProjectId(1), role });
        assert!(!matches!(deed, chaos::sim::deed::Deed::Nothing(_)), "{kind:?}: {deed:?}");
    }

    /// The catalogue's fault hits a living agent only; a dead one's pane can be closed as well.
    fn close_pane(&self, role: &str) {
        let mut world = self.world.borrow_mut();
        let name = RoleName(role.to_owned());
        if world.living_agent_of(ProjectId(1), &name).is_some() {
            drop(world);
            return self.inject(Kind::PaneKill, role);
        }
        let number = world.agent_of(ProjectId(1), &name).expect("an agent");
        let pane = world.agents[number].pane.clone();
        world.server.as_mut().expect("a server").close(&pane).expect("a pane");
        world.sessions_changed();
    }

    /// CLAUDE.md becomes that, or goes.
    fn file(&self, role: &str, is: Option<FileIs>) {
        let mut world = self.world.borrow_mut();
        let there = world.disk.tree_mut(&tree(role)).expect("a worktree");
        match is {
            Some(is) => drop(there.files.insert(judge::CLAUDE_MD_PATH.to_owned(), is)),
            None => drop(there.files.remove(judge::CLAUDE_MD_PATH)),
        }
        world.touched(&tree(role));
    }
}

impl Stage for Fake {
    fn repo(&self) -> (String, String) {
        ("/srv/app".to_owned(), "f00d".to_owned())
    }

    fn salt(&self) -> u64 {
        0
    }

    fn agent(&self) -> Vec<String> {
        vec!["agent".to_owned()]
    }

    fn submit(&mut self, role: Option<&str>, effect: Effect) -> EffectId {
        self.effects += 1;
        let (id, seen_at) = (EffectId(self.effects), self.world.borrow().now());
        let role = role.map(|role| RoleName(role.to_owned()));
        let project = Some(ProjectId(1));
        self.env.submit(Ordered { id, project, role, stage: At::Run, source: Source::Effect, seen_at, effect });
        id
    }

    fn next(&mut self, within: Span) -> Option<Happened> {
        let mut world = self.world.borrow_mut();
        let until = world.at + within.0;
        while let Some((at, what)) = world.heap.pop_until(until) {
            world.at = at;
            if let Ev::Tell { happened, .. } = what {
                return Some(happened);
            }
            world.happen(what);
        }
        world.at = until;
        None
    }

    fn watch(&mut self, project: &Project) {
        self.env.watch(project);
    }

    fn reports(&mut self) -> Vec<SpoolItem> {
        let items = self.env.drain_spool();
        items.iter().for_each(|item| self.env.consume(item));
        items
    }

    fn await_agent(&mut self, role: &str) {
        let role = RoleName(role.to_owned());
        let mut world = self.world.borrow_mut();
        let number = world.agent_of(ProjectId(1), &role).expect("an agent");
        while !world.agents[number].up {
            let (at, what) = world.heap.pop_until(NEVER_US).expect("it comes up");
            world.at = at;
            // Nobody may lose what is told meanwhile: it is told a little later.
            if matches!(what, Ev::Tell { .. }) {
                world.after(1_000, what);
            } else {
                world.happen(what);
            }
        }
    }

    fn harm(&mut self, harm: Harm) {
        match harm {
            Harm::KillAgent(role) => self.inject(Kind::PaneHusk, role),
            Harm::Exit(role, 0) => self.inject(Kind::AgentExitSilent, role),
            Harm::Exit(role, _) => self.inject(Kind::StderrNull, role),
            Harm::Stubborn(role) => {
                let mut world = self.world.borrow_mut();
                let number = world.agent_of(ProjectId(1), &RoleName(role.to_owned())).expect("an agent");
                let process = world.agents[number].process;
                let process = world.kernel.get_mut(process).expect("it lives");
                (process.survives_hup, process.survives_term) = (true, true);
            }
            Harm::ClosePane(role) => self.close_pane(role),
            Harm::CopyMode(role) => self.inject(Kind::CopyMode, role),
            Harm::KillSession => assert!(self.world.borrow_mut().session_ends(SESSION)),
            Harm::Foreign(name) => assert!(self.world.borrow_mut().squat(name)),
            Harm::KillServer => self.inject(Kind::ServerKill, "a"),
            Harm::CutConnection => {
                self.inject(Kind::BenignTmuxEagain, "a");
                self.world.borrow_mut().take_connections();
            }
            Harm::StopServer => assert!(self.world.borrow_mut().stop_server()),
            Harm::ContinueServer => assert!(self.world.borrow_mut().continue_server()),
            Harm::UnlinkSocket => self.inject(Kind::SocketUnlink, "a"),
            Harm::Remove(role) => self.file(role, None),
            Harm::Replace(role) => self.file(role, Some(FileIs::Regular(judge::pin_of(b"another\n")))),
            Harm::Truncate(role) => self.file(role, Some(FileIs::Regular(judge::pin_of(b"")))),
            Harm::Touch(role) => self.world.borrow_mut().touched(&tree(role)),
            Harm::Directory(role) => self.file(role, Some(FileIs::Unusable("a directory".to_owned()))),
            Harm::Symlink(role) => self.file(role, Some(FileIs::Unusable("a symlink".to_owned()))),
            Harm::RemoveTree(role) => {
                let mut world = self.world.borrow_mut();
                let there = world.disk.tree_mut(&tree(role)).expect("a worktree");
                there.there = false;
                there.files.clear();
                world.touched(&tree(role));
            }
            Harm::RemakeTree(role) => self.world.borrow_mut().disk.remake(&tree(role)),
            Harm::Husk(role) => {
                let mut world = self.world.borrow_mut();
                let there = world.disk.tree_mut(&tree(role)).expect("a worktree");
                (there.filled, there.initializing) = (false, true);
                there.files.clear();
                world.touched(&tree(role));
            }
            Harm::OtherBranch(role) => {
                let mut world = self.world.borrow_mut();
                world.disk.tree_mut(&tree(role)).expect("a worktree").branch = "elsewhere".to_owned();
            }
            Harm::Dirty(role) => {
                let mut world = self.world.borrow_mut();
                world.disk.tree_mut(&tree(role)).expect("a worktree").dirty = true;
            }
        }
    }
}
