//! The simulated world: everything there is, and what follows from what.
//!
//! It owns the machine, tmux, the disk, the agents and the heap of what is going to happen. It knows of orchestrators
//! only that each has a life: a connection to tmux, watches, jobs under way. It judges nothing.

use super::acts::Act;
use super::agent::{Agent, Mood};
use super::disk::Disk;
use super::heap::{Heap, Tick};
use super::job::Job;
use super::kernel::{Kernel, Program};
use super::link::Life;
use super::planted::BendRef;
use super::tmux::{End, Server};
use crate::seed::{Seed, Stream};
use crate::setting::Wrote;
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::event::{Event, Happened, Source};
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName, Seq, Token};
use orchestrator::domain::time::{Anchor, Timestamp};
use orchestrator::env::SpoolItem;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// 2025-09-06T00:00:00Z, the day of the incidents' analysis: where every simulated wall clock starts.
pub const EPOCH_US: i64 = 1_757_116_800_000_000;

/// Something that is going to happen.
#[derive(Debug)]
pub enum Ev {
    /// An orchestrator is told something.
    Tell {
        /// Which.
        life: usize,
        /// What.
        happened: Happened,
    },
    /// A job goes on.
    Step {
        /// Which.
        job: u64,
        /// With what.
        stage: u8,
    },
    /// A job has waited as long as it may.
    Deadline {
        /// Which.
        job: u64,
        /// At what.
        stage: u8,
    },
    /// An agent does something.
    Act {
        /// Which.
        agent: usize,
        /// Its plan when this was planned.
        plan: u64,
        /// What.
        act: Act,
    },
    /// An orchestrator tries to reach tmux.
    Connect {
        /// Which.
        life: usize,
    },
    /// It notices that its connection is gone.
    Lost {
        /// Which.
        life: usize,
        /// Whose connection it was.
        server: ProcessId,
    },
    /// It lists all panes after a notification.
    List {
        /// Which.
        life: usize,
        /// What for.
        source: Source,
    },
    /// It compares all worktrees with what it found last.
    Survey {
        /// Which.
        life: usize,
    },
    /// A list that was asked for has not come.
    ListLate {
        /// Which.
        life: usize,
    },
    /// An orchestrator has something to do by the clock.
    Wake {
        /// Which.
        life: usize,
    },
    /// For the course of the run: its own affair, by number.
    Course(usize),
}

/// The world.
pub struct World {
    /// Now.
    pub at: Tick,
    /// What is going to happen.
    pub heap: Heap<Ev>,
    /// Processes and clock.
    pub kernel: Kernel,
    /// The tmux server, if there is one.
    pub server: Option<Server>,
    /// Worktrees.
    pub disk: Disk,
    /// Every agent that was ever started.
    pub agents: Vec<Agent>,
    newest: BTreeMap<(ProjectId, RoleName), usize>,
    by_token: BTreeMap<Token, usize>,
    pub(super) by_process: BTreeMap<ProcessId, usize>,
    /// Where the newest files of each role were written.
    pub(super) grounds: BTreeMap<(ProjectId, RoleName), String>,
    /// How the next agents of a role will be.
    pub moods: BTreeMap<(ProjectId, RoleName), VecDeque<Mood>>,
    /// What older agents of a role wrote, and comes in only once there is a newer one.
    pub(super) late: BTreeMap<(ProjectId, RoleName), VecDeque<Wrote>>,
    /// How much of its work each role has left, in microseconds.
    pub work: BTreeMap<(ProjectId, RoleName), u64>,
    /// Records that no orchestrator has consumed.
    pub spool: BTreeMap<std::ffi::OsString, SpoolItem>,
    pub(super) records: u64,
    /// Orchestrators, dead and alive.
    pub lives: Vec<Life>,
    /// The orchestrator that took the lock of the installation last; see [`Self::holder`].
    pub lock: Option<usize>,
    /// Effects under way.
    pub jobs: BTreeMap<u64, Job>,
    pub(super) next_job: u64,
    /// What was witnessed and not yet taken by anybody.
    pub facts: Vec<Witnessed>,
    /// How long things take.
    pub latency: Stream,
    /// How agents are.
    pub(super) temper: Stream,
    pub(super) entropy: Stream,
    /// How the installation's timeline lies on this boot.
    pub anchor: Anchor,
    /// How far the journal had got, as the file beside the database says, if that is further than the database.
    pub mark: Option<Seq>,
    /// Faults that wait for the next operation of their sort, as (operation, what).
    pub armed: Vec<super::deed::Armed>,
    /// Names that are taken by somebody else's session.
    pub squatters: BTreeSet<String>,
    /// Events that reach nobody, as long as this holds.
    pub deaf_sources: BTreeSet<Source>,
    /// Events that are told twice.
    pub doubled: bool,
    /// How late what pidfds and inotify tell comes, in microseconds.
    pub held_back: u64,
    /// Whether nobody can connect to the tmux server that there is.
    pub refusing: bool,
    /// How much longer everything takes, as a factor.
    pub slowness: u64,
    /// Points at which a crash can be planted.
    pub points: super::points::Points,
    /// The policy of the agents' course.
    pub manner: Manner,
    /// The bug that is planted, if one is.
    pub bend: Option<BendRef>,
}

/// How agents behave that nothing is wrong with.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// From the start of its process to reading what it is told.
    pub boot_us: (u64, u64),
    /// From the brief to its acknowledgement.
    pub ack_us: (u64, u64),
    /// Between two reports of progress.
    pub progress_us: u64,
    /// How long all of its work takes.
    pub work_us: (u64, u64),
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            boot_us: (20_000, 400_000),
            ack_us: (5_000, 900_000),
            progress_us: 60_000_000,
            work_us: (600_000_000, 3_600_000_000),
        }
    }
}

impl World {
    /// A machine that has just booted, with nothing on it.
    #[must_use]
    pub fn new(seed: Seed, manner: Manner) -> Self {
        let kernel = Kernel::new(EPOCH_US);
        let anchor =
            Anchor { boot_id: kernel.boot_id(), mono_us: 0, at: Timestamp(0), wall_us: EPOCH_US, told: Timestamp(0) };
        Self {
            at: 0,
            heap: Heap::new(seed.stream("sim.ties")),
            kernel,
            server: None,
            disk: Disk::default(),
            agents: Vec::new(),
            newest: BTreeMap::new(),
            by_token: BTreeMap::new(),
            grounds: BTreeMap::new(),
            by_process: BTreeMap::new(),
            moods: BTreeMap::new(),
            late: BTreeMap::new(),
            work: BTreeMap::new(),
            spool: BTreeMap::new(),
            records: 0,
            lives: Vec::new(),
            lock: None,
            jobs: BTreeMap::new(),
            next_job: 1,
            facts: Vec::new(),
            latency: seed.stream("sim.latency"),
            temper: seed.stream("sim.agents"),
            entropy: seed.stream("sim.entropy"),
            anchor,
            mark: None,
            armed: Vec::new(),
            squatters: BTreeSet::new(),
            deaf_sources: BTreeSet::new(),
            doubled: false,
            held_back: 0,
            refusing: false,
            slowness: 1,
            points: super::points::Points::default(),
            manner,
            bend: None,
        }
    }

    /// Now, on the installation's timeline.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.anchor.at(self.kernel.mono(self.at))
    }

    /// Plans something.
    pub fn after(&mut self, micros: u64, what: Ev) {
        self.heap.push(self.at + micros, what);
    }

    /// How long something takes this time.
    pub fn takes(&mut self, low: u64, high: u64) -> u64 {
        self.latency.between(low, high) * self.slowness
    }

    /// Tells the checkers what has become true.
    pub fn witness(&mut self, fact: Fact) {
        let at = self.now();
        self.facts.push(Witnessed { at, fact });
    }

    /// Tells an orchestrator something, unless that source reaches nobody just now.
    pub fn tell(&mut self, life: usize, after: u64, source: Source, event: Event) {
        // The end of its own connection is a notification from nobody: whoever holds it finds it closed.
        if self.deaf_sources.contains(&source) && !matches!(event, Event::TmuxLost { .. }) {
            return;
        }
        let late = matches!(source, Source::Pidfd | Source::Inotify | Source::Spool);
        let after = after + if late { self.held_back } else { 0 };
        let seen_at = self.anchor.at(self.kernel.mono(self.at + after));
        if self.doubled {
            let happened = Happened { seen_at, source, event: event.clone() };
            self.after(after + 50, Ev::Tell { life, happened });
        }
        self.after(after, Ev::Tell { life, happened: Happened { seen_at, source, event } });
    }

    /// Orchestrators that run.
    pub fn living(&self) -> impl Iterator<Item = usize> + use<> {
        let alive: Vec<usize> = (0..self.lives.len()).filter(|life| self.lives[*life].alive).collect();
        alive.into_iter()
    }

    /// Who holds the lock of the installation: flock lasts as long as its process, and be that stopped.
    #[must_use]
    pub fn holder(&self) -> Option<usize> {
        self.lock.filter(|life| self.lives[*life].alive)
    }

    /// Ends a process, with all that follows from it.
    pub fn end(&mut self, id: ProcessId, code: Option<i32>, signal: Option<i32>) {
        let Some(process) = self.kernel.end(id) else { return };
        match process.program {
            Program::Server => self.server_ended(id),
            Program::Agent(number) => self.agent_ended(number, code, signal),
            Program::Child(_) => {
                if let Some(project) = process.mark.as_ref().map(|mark| mark.project) {
                    self.witness(Fact::ChildGone { project, process: id });
                }
            }
            Program::Stranger => self.witness(Fact::StrangerGone { process: id }),
            Program::Git => {}
        }
        self.pidfds(id);
    }

    /// Everyone who watches this process is told.
    fn pidfds(&mut self, id: ProcessId) {
        for life in self.living() {
            let watched = self.lives[life].processes.iter().find(|(_, process)| **process == id);
            let Some(((project, role), _)) = watched.map(|(whose, process)| (whose.clone(), *process)) else {
                continue;
            };
            let after = self.takes(100, 400);
            self.tell(life, after, Source::Pidfd, Event::ProcessGone { project, role, process: id });
        }
    }

    fn agent_ended(&mut self, number: usize, code: Option<i32>, signal: Option<i32>) {
        let Some(agent) = self.agents.get_mut(number) else { return };
        agent.plan += 1;
        let (incarnation, process) = (agent.incarnation.clone(), agent.process);
        self.witness(Fact::AgentGone { incarnation, process });
        // In 15 to 62 of 100 trials tmux missed the signal (T24).
        let missed = self.latency.below(100) < 30;
        if let Some(pane) = self.server.as_mut().and_then(|server| server.pane_of(process)) {
            pane.end = Some(End { code, signal, missed });
        }
    }

    fn server_ended(&mut self, id: ProcessId) {
        let Some(mut server) = self.server.take() else { return };
        self.witness(Fact::ServerGone { server: id });
        self.take_connections();
        for job in std::mem::take(&mut server.unread) {
            self.lost(job);
        }
        let names: Vec<String> = server.sessions().map(|(name, _)| name.clone()).collect();
        let mut hung_up = Vec::new();
        for name in names {
            if let Some(session) = server.remove(&name) {
                self.witness(Fact::SessionGone { name, token: session.token });
                hung_up.extend(session.panes.into_iter().filter(|pane| pane.end.is_none()).map(|pane| pane.process));
            }
        }
        for life in self.living() {
            if self.lives[life].link == Some(id) {
                let after = self.takes(700, 41_000);
                self.after(after, Ev::Lost { life, server: id });
            }
        }
        hung_up.into_iter().for_each(|process| self.hang_up(process));
        // Who was waiting for a stopped one to answer finds its attempt ended.
        for life in self.living() {
            if server.stopped && self.lives[life].link.is_none() {
                let after = self.takes(700, 41_000);
                self.after(after, Ev::Connect { life });
            }
        }
    }

    /// SIGHUP to a process that has lost its terminal.
    pub fn hang_up(&mut self, process: ProcessId) {
        if self.kernel.get(process).is_some_and(|process| !process.survives_hup) {
            self.end(process, None, Some(1));
        }
    }

    /// Something is typed into a pane, or opened beside it: somebody else's is not to be reached.
    pub fn reach(&mut self, pane: &str) {
        let process = self.server.as_ref().and_then(|server| server.pane(pane)).map(|pane| pane.process);
        let of = |process: ProcessId| self.kernel.get(process).map(|is| is.program);
        if let Some(process) = process.filter(|process| of(*process) == Some(Program::Stranger)) {
            self.witness(Fact::StrangerReached { process });
        }
    }

    /// A session goes: whoever is in it is hung up, and whoever listens is notified.
    pub fn session_ends(&mut self, name: &str) -> bool {
        let Some(session) = self.server.as_mut().and_then(|server| server.remove(name)) else { return false };
        self.witness(Fact::SessionGone { name: name.to_owned(), token: session.token });
        for pane in session.panes.into_iter().filter(|pane| pane.end.is_none()) {
            self.hang_up(pane.process);
        }
        self.sessions_changed();
        true
    }

    /// Whoever has a connection is notified that sessions have changed, without a word which (T25).
    pub fn sessions_changed(&mut self) {
        for life in self.living() {
            let life_is = &mut self.lives[life];
            if life_is.link.is_some() && !life_is.notified {
                life_is.notified = true;
                let after = self.takes(1_800, 9_000);
                self.after(after, Ev::List { life, source: Source::Control });
            }
        }
    }

    /// A file or directory of a worktree has changed: whoever watches that directory is told.
    pub fn touched(&mut self, path: &str) {
        let inode = self.disk.tree(path).map(|tree| tree.inode);
        if let Some(tree) = self.disk.tree_mut(path) {
            tree.revision += 1;
        }
        for life in self.living() {
            let watched = self.lives[life].trees.iter().find(|(_, (watched, ..))| watched == path);
            let Some(((project, role), (_, seen, _))) = watched.map(|(whose, tree)| (whose.clone(), tree.clone()))
            else {
                continue;
            };
            // A directory that was made anew is another one: the watch is on the old one.
            if inode.is_some_and(|inode| inode != seen) {
                continue;
            }
            let after = self.takes(59, 116);
            self.tell(life, after, Source::Inotify, Event::FilesTouched { project, role });
        }
    }

    /// Tells whose worktree has changed since the last survey, by what a stat tells.
    fn survey(&mut self, life: usize) {
        if !self.lives[life].alive {
            return;
        }
        let disk = &self.disk;
        let mut changed = Vec::new();
        for (whose, (path, _, seen)) in &mut self.lives[life].trees {
            let now = disk.tree(path).filter(|tree| tree.there).map_or((0, 0), |tree| (tree.inode, tree.revision));
            if seen.replace(now) != Some(now) {
                changed.push(whose.clone());
            }
        }
        for (project, role) in changed {
            self.tell(life, 0, Source::Sweep, Event::FilesTouched { project, role });
        }
    }

    /// Starts the agent of a launch in a pane of its own.
    pub(super) fn born(&mut self, agent: Agent) -> usize {
        let number = self.agents.len();
        let (born, process) = (agent.incarnation.clone(), agent.process);
        let incarnation = &agent.incarnation;
        self.newest.insert((incarnation.project, incarnation.role.clone()), number);
        self.by_token.insert(incarnation.token.clone(), number);
        self.by_process.insert(process, number);
        self.agents.push(agent);
        self.witness(Fact::AgentBorn { incarnation: born, process });
        let (low, high) = self.manner.boot_us;
        let slow = if self.agents[number].mood == Mood::Slow { 20_000_000 } else { 0 };
        let after = slow + self.temper.between(low, high) * self.slowness;
        self.after(after, Ev::Act { agent: number, plan: 0, act: Act::Boot });
        self.echoes(number);
        number
    }

    /// The newest agent of a role, alive or not.
    #[must_use]
    pub fn agent_of(&self, project: ProjectId, role: &RoleName) -> Option<usize> {
        self.newest.get(&(project, role.clone())).copied()
    }

    /// The newest agent of a role, if it lives. Number and start alone do not tell: another boot may give both again.
    #[must_use]
    pub fn living_agent_of(&self, project: ProjectId, role: &RoleName) -> Option<usize> {
        self.agent_of(project, role).filter(|number| {
            let process = self.kernel.get(self.agents[*number].process);
            process.is_some_and(|process| process.program == Program::Agent(*number))
        })
    }

    /// The agent of a token.
    #[must_use]
    pub fn agent_with(&self, token: &Token) -> Option<usize> {
        self.by_token.get(token).copied()
    }

    /// Deals with an event that is the world's own affair.
    pub fn happen(&mut self, what: Ev) {
        match what {
            Ev::Step { job, stage } => self.step(job, stage),
            Ev::Deadline { job, stage } => self.late(job, stage),
            Ev::Act { agent, plan, act } => self.act(agent, plan, act),
            Ev::Connect { life } => self.connect(life),
            Ev::Lost { life, server } => self.link_lost(life, server),
            Ev::List { life, source } => self.list(life, source),
            Ev::ListLate { life } => self.list_late(life),
            Ev::Survey { life } => self.survey(life),
            Ev::Tell { .. } | Ev::Wake { .. } | Ev::Course(_) => {}
        }
    }
}
