//! A scripted world: the real core, store and decisions over a world that does as it is told.
//!
//! Time is virtual, entropy is counted, effects succeed after a fixed delay unless the script says otherwise. It is a
//! stage for stories, not a model of tmux; the simulator is.

use orchestrator::domain::effect::{Effect, Launch, Ordered, RoleLook};
use orchestrator::domain::event::{
    Event, Fact, FileFound, FileIs, Happened, Head, LeftAlone, PaneEnd, PaneSeen, PaneUp, Remains, Report, RoleFound,
    Source,
};
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Program, Stage, Stderr};
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName, Seq, Token};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::project::{Pin, Project};
use orchestrator::domain::signal::Entry;
use orchestrator::domain::silence::Sample;
use orchestrator::domain::spec::{Hooks, RoleSpec, Spec};
use orchestrator::domain::time::{Now, Span, Timestamp, WallTime};
use orchestrator::env::{Env, SpoolItem};
use orchestrator::runtime::Core;
use orchestrator::store::{Mode, Store};
use orchestrator::validate::judge;
use std::collections::{BTreeMap, BTreeSet};

/// How long any effect takes.
const EFFECT: Span = Span::from_millis(2);
/// How long an agent takes to acknowledge its brief.
const ACK: Span = Span::from_millis(5);

/// What a sample finds of an agent that does nothing.
const STILL: Sample = Sample { output: 7, cpu_ticks: 3 };

/// An agent of the scripted world.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) launch: Launch,
    pub(crate) process: ProcessId,
    pub(crate) pane: String,
    /// The name of its session.
    pub(crate) session: String,
    pub(crate) alive: bool,
    /// What tmux would say of its end.
    pub(crate) end: PaneEnd,
}

/// What the script may change.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Effects that fail: by name, how the next ones fail, first to last.
    pub(crate) failures: BTreeMap<&'static str, Vec<Failure>>,
    /// Effects that are done and nevertheless reported as failed.
    pub(crate) done_but_failed: BTreeMap<&'static str, Vec<Failure>>,
    /// Effects, by name, that are never heard of again.
    pub(crate) hangs: BTreeSet<&'static str>,
    /// Worktrees (role names) whose CLAUDE.md is missing at the moment.
    pub(crate) missing: BTreeSet<String>,
    /// Roles whose worktree is gone.
    pub(crate) lost: BTreeSet<String>,
    /// Whether tmux is hung: what is asked of it comes back as unknown.
    pub(crate) hung: bool,
    /// Whether agents acknowledge.
    pub(crate) deaf: bool,
    /// By role, a file that its hooks cannot be added to.
    pub(crate) left: BTreeMap<String, LeftAlone>,
    /// What a sample finds of each role; what is not named never changes.
    pub(crate) samples: BTreeMap<String, Sample>,
    /// CPU in percent that each role uses between any two samples.
    pub(crate) cpu_percent: BTreeMap<String, u64>,
    /// The lines that agents were nudged with, as (role, line).
    pub(crate) nudges: Vec<(String, String)>,
}

pub(crate) struct World {
    pub(crate) at: Timestamp,
    draws: u64,
    order: u64,
    events: BTreeMap<(Timestamp, u64), Happened>,
    pub(crate) sessions: BTreeMap<String, Token>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) script: Script,
    /// How many effects were handed over.
    pub(crate) submitted: u64,
    next_pid: u32,
    /// By how much the wall clock was stepped, in microseconds.
    pub(crate) wall_step: i64,
    /// The tmux server that answers.
    pub(crate) server: ProcessId,
    /// Every process that the core wanted watched.
    pub(crate) watched: BTreeSet<ProcessId>,
    /// What was submitted, by name.
    pub(crate) names: Vec<&'static str>,
    /// Whether effects are lost on the way: the commit came through, and its reply did not.
    pub(crate) lost: bool,
    /// Sessions that no project knows: name, mark, and the mark of the pane in it.
    pub(crate) strange: Vec<(String, Token, Option<Token>)>,
}

pub(crate) const SERVER: ProcessId = ProcessId { pid: 900, start: 1 };

impl World {
    fn new() -> Self {
        Self {
            at: Timestamp(0),
            draws: 0,
            order: 0,
            events: BTreeMap::new(),
            sessions: BTreeMap::new(),
            agents: Vec::new(),
            script: Script::default(),
            submitted: 0,
            next_pid: 1_000,
            wall_step: 0,
            server: SERVER,
            watched: BTreeSet::new(),
            names: Vec::new(),
            lost: false,
            strange: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, after: Span, source: Source, event: Event) {
        let at = self.at + after;
        self.order += 1;
        self.events.insert((at, self.order), Happened { seen_at: at, source, event });
    }

    pub(crate) fn agent(&mut self, role: &str) -> &mut Agent {
        self.agents.iter_mut().rev().find(|agent| agent.launch.role.0 == role).expect("the agent was launched")
    }

    /// An agent reports.
    pub(crate) fn report(&mut self, role: &str, after: Span, report: Report) {
        let launch = self.agent(role).launch.clone();
        self.push(
            after,
            Source::Spool,
            Event::Reported {
                project: launch.project,
                role: launch.role,
                epoch: launch.epoch,
                token: launch.token,
                report,
            },
        );
    }

    /// An agent's process ends; its pane is kept.
    pub(crate) fn end_agent(&mut self, role: &str, end: PaneEnd) {
        let agent = self.agent(role);
        (agent.alive, agent.end) = (false, end);
        let (launch, process) = (agent.launch.clone(), agent.process);
        let gone = Event::ProcessGone { project: launch.project, role: launch.role, process };
        self.push(Span(200), Source::Pidfd, gone);
    }

    /// A session goes, and its agents with it.
    pub(crate) fn kill_session(&mut self, name: &str) {
        self.sessions.remove(name);
        let mut gone = Vec::new();
        for agent in self.agents.iter_mut().filter(|agent| agent.alive && agent.session == name) {
            (agent.alive, agent.end) = (false, PaneEnd::Gone);
            gone.push((agent.launch.clone(), agent.process));
        }
        for (launch, process) in gone {
            let event = Event::ProcessGone { project: launch.project, role: launch.role, process };
            self.push(Span(200), Source::Pidfd, event);
        }
    }

    /// The tmux server dies with every session and agent on it; another one answers from then on.
    pub(crate) fn kill_server(&mut self) {
        let names: Vec<String> = self.sessions.keys().cloned().collect();
        self.push(Span(100), Source::Control, Event::TmuxLost { reason: "server exited".to_owned() });
        for name in names {
            self.kill_session(&name);
        }
        self.server = ProcessId { pid: self.server.pid + 1, start: 1 };
        self.push(Span(300), Source::Control, Event::PanesListed { server: self.server, panes: Vec::new() });
    }

    /// The machine is started anew: everything ended, and nobody was told.
    pub(crate) fn reboot(&mut self) {
        self.sessions.clear();
        self.events.clear();
        for agent in &mut self.agents {
            (agent.alive, agent.end) = (false, PaneEnd::Gone);
        }
        self.server = ProcessId { pid: self.server.pid + 1, start: 1 };
    }

    /// tmux answers with what it has.
    pub(crate) fn list(&mut self) {
        let listed = Event::PanesListed { server: self.server, panes: self.panes() };
        self.push(EFFECT, Source::Control, listed);
    }

    /// tmux does not answer any more.
    pub(crate) fn hang(&mut self) {
        self.script.hung = true;
        self.push(Span(0), Source::Control, Event::TmuxLost { reason: "no answer".to_owned() });
    }

    /// What is under way comes back as unknown, whether it was done or not.
    pub(crate) fn lose_results(&mut self) {
        for happened in self.events.values_mut() {
            if let Event::Settled { result, .. } = &mut happened.event {
                *result = Err(Box::new(unanswered(Stage::Launch)));
            }
        }
    }

    /// tmux answers again.
    pub(crate) fn heal(&mut self) {
        self.script.hung = false;
        let panes = self.panes();
        self.push(Span(0), Source::Control, Event::PanesListed { server: self.server, panes });
    }

    fn launch(&mut self, session: &str, launch: &Launch) -> PaneUp {
        // A pane that is gone is not found again, whatever its token.
        let there = |agent: &&Agent| agent.launch.token == launch.token && agent.end != PaneEnd::Gone;
        if let Some(known) = self.agents.iter().find(there) {
            let process = known.alive.then_some(known.process);
            return PaneUp { role: launch.role.clone(), pane: known.pane.clone(), process };
        }
        self.next_pid += 1;
        let process = ProcessId { pid: self.next_pid, start: u64::from(self.next_pid) };
        let pane = format!("%{}", self.next_pid - 1_000);
        self.agents.push(Agent {
            launch: launch.clone(),
            process,
            pane: pane.clone(),
            session: session.to_owned(),
            alive: true,
            end: PaneEnd::Alive,
        });
        PaneUp { role: launch.role.clone(), pane, process: Some(process) }
    }

    fn look(&self, looks: &[RoleLook]) -> Vec<RoleFound> {
        let is = |role: &RoleName, path: &str| {
            if path == judge::CLAUDE_MD_PATH && self.script.missing.contains(&role.0) {
                return FileIs::Missing;
            }
            FileIs::Regular(judge::pin_of(claude_md(&role.0).as_bytes()))
        };
        let found = |look: &RoleLook| RoleFound {
            role: look.role.clone(),
            worktree: self.script.lost.contains(&look.role.0).then(|| "it is gone".to_owned()),
            files: look.files.iter().map(|path| FileFound { path: path.clone(), is: is(&look.role, path) }).collect(),
        };
        looks.iter().map(found).collect()
    }

    fn perform(&mut self, ordered: &Ordered) -> Fact {
        match &ordered.effect {
            Effect::Preflight { .. } => Fact::Preflighted,
            Effect::EnsureWorktree { .. } => {
                let lost = ordered.role.as_ref().is_some_and(|role| self.script.lost.remove(&role.0));
                let parked = lost.then(|| "backups/parked/e2.0".to_owned()).into_iter().collect();
                Fact::WorktreeReady { head_sha: "f00d".to_owned(), created: true, parked }
            }
            Effect::EnsureFiles { files, .. } => {
                let mut left = Vec::new();
                if let Some(role) = &ordered.role {
                    self.script.missing.remove(&role.0);
                    left.extend(self.script.left.get(&role.0).cloned());
                }
                let pin: Pin = judge::pin_of(files[0].content.as_bytes());
                Fact::FilesReady { claude_md: pin, parked: Vec::new(), left }
            }
            Effect::Look { roles } => Fact::Looked { roles: self.look(roles) },
            Effect::EndRemains { tokens } => {
                self.sessions.retain(|_, token| !tokens.contains(token));
                self.strange.retain(|(_, token, _)| !tokens.contains(token));
                let mut ended = 0;
                for agent in self.agents.iter_mut().filter(|agent| tokens.contains(&agent.launch.token)) {
                    ended += u32::from(std::mem::replace(&mut agent.alive, false));
                }
                Fact::RemainsEnded { tokens: tokens.clone(), ended }
            }
            Effect::EnsureSession { session, token, launches } => {
                let adopted = self.sessions.insert(session.clone(), token.clone()).is_some();
                let panes = launches.iter().map(|launch| self.launch(session, launch)).collect();
                Fact::SessionUp { adopted, panes, server: self.server }
            }
            Effect::Respawn { session, launch, .. } => Fact::AgentUp(self.launch(session, launch)),
            Effect::HandBrief { .. } => {
                if let Some(role) = ordered.role.as_ref().filter(|_| !self.script.deaf) {
                    self.report(&role.0.clone(), ACK, Report::Ack);
                }
                Fact::BriefHanded
            }
            Effect::Nudge { line, .. } => {
                let role = ordered.role.as_ref().map(ToString::to_string).unwrap_or_default();
                // The terminal echoes the line, as a real one does.
                self.script.samples.entry(role.clone()).or_insert(STILL).output += 1;
                self.script.nudges.push((role, line.clone()));
                Fact::Nudged
            }
            Effect::Sample { .. } => {
                let role = ordered.role.as_ref().map(ToString::to_string).unwrap_or_default();
                let percent = self.script.cpu_percent.get(&role).copied().unwrap_or(0);
                let mut sample = self.script.samples.get(&role).copied().unwrap_or(STILL);
                sample.cpu_ticks += self.at.0 * percent / 1_000_000;
                Fact::Sampled(sample)
            }
            Effect::Collect { session, session_token, pane, process, started_at, server, .. } => {
                let in_pane = |agent: &&Agent| process.is_none() && pane.as_ref() == Some(&agent.pane);
                let agent = self.agents.iter().find(|agent| Some(agent.process) == *process || in_pane(agent));
                Fact::Collected(Box::new(Remains {
                    pane: agent.map_or(PaneEnd::Gone, |agent| agent.end),
                    session_present: self.sessions.get(session) == Some(session_token),
                    server_changed: server.is_some_and(|server| server != self.server),
                    alive: agent.is_some_and(|agent| agent.alive),
                    stderr: Stderr::Empty,
                    screen: String::new(),
                    lifetime: started_at.map_or(Span(0), |started| ordered.seen_at.since(started)),
                }))
            }
            Effect::Certify { roles } => {
                let heads = roles
                    .iter()
                    .map(|look| Head { role: look.role.clone(), sha: "beef".to_owned(), dirty: false })
                    .collect();
                Fact::Certified { roles: self.look(roles), heads }
            }
            Effect::EndSession { session, tokens, .. } => {
                self.sessions.remove(session);
                for agent in self.agents.iter_mut().filter(|agent| tokens.contains(&agent.launch.token)) {
                    agent.alive = false;
                }
                Fact::SessionEnded
            }
            Effect::ListPanes | Effect::Survey => unreachable!("answered with events of their own"),
        }
    }

    pub(crate) fn panes(&self) -> Vec<PaneSeen> {
        let seen = |agent: &Agent| {
            let (session, token) = self.sessions.get_key_value(&agent.session)?;
            (agent.end != PaneEnd::Gone).then(|| PaneSeen {
                pane: agent.pane.clone(),
                pid: agent.process.pid,
                dead: !agent.alive || matches!(agent.end, PaneEnd::Dead { .. }),
                session: session.clone(),
                session_token: Some(token.clone()),
                role_token: Some(agent.launch.token.clone()),
            })
        };
        let strange = self.strange.iter().map(|(name, token, role)| PaneSeen {
            pane: "%900".to_owned(),
            pid: 77,
            dead: false,
            session: name.clone(),
            session_token: Some(token.clone()),
            role_token: role.clone(),
        });
        self.agents.iter().filter_map(seen).chain(strange).collect()
    }
}

impl Env for World {
    fn now(&mut self) -> Now {
        self.draws += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.draws.to_le_bytes());
        // 2025-09-06T00:00:00Z, the day of the incidents' analysis.
        let wall = WallTime(1_757_116_800_000_000 + self.at.0.cast_signed() + self.wall_step);
        Now { at: self.at, wall, seed }
    }

    fn submit(&mut self, ordered: Ordered) {
        self.submitted += 1;
        self.names.push(ordered.effect.name());
        if self.lost
            || self.script.hangs.contains(ordered.effect.name())
            || (ordered.effect == Effect::ListPanes && self.script.hung)
        {
            return;
        }
        if ordered.effect == Effect::Survey {
            // Every look is a change here: what the survey of the live world leaves out is looked at all the same.
            for agent in 0..self.agents.len() {
                let Launch { project, role, .. } = self.agents[agent].launch.clone();
                if self.agents[agent].alive {
                    self.push(EFFECT, Source::Sweep, Event::FilesTouched { project, role });
                }
            }
            return;
        }
        if ordered.effect == Effect::ListPanes {
            let panes = self.panes();
            self.push(EFFECT, ordered.source, Event::PanesListed { server: self.server, panes });
            return;
        }
        let name = ordered.effect.name();
        let next = |queue: &mut BTreeMap<&'static str, Vec<Failure>>| {
            queue.get_mut(name).filter(|waiting| !waiting.is_empty()).map(|waiting| waiting.remove(0))
        };
        let of_tmux = matches!(
            ordered.effect,
            Effect::EnsureSession { .. }
                | Effect::Respawn { .. }
                | Effect::HandBrief { .. }
                | Effect::Collect { .. }
                | Effect::EndRemains { .. }
                | Effect::EndSession { .. }
                | Effect::Nudge { .. }
                | Effect::Sample { .. }
        );
        let result = if self.script.hung && of_tmux {
            Err(Box::new(unanswered(ordered.stage)))
        } else if let Some(failure) = next(&mut self.script.failures) {
            Err(Box::new(failure))
        } else if let Some(failure) = next(&mut self.script.done_but_failed) {
            drop(self.perform(&ordered));
            Err(Box::new(failure))
        } else {
            Ok(self.perform(&ordered))
        };
        let Ordered { id: effect, project, role, source, .. } = ordered;
        self.push(EFFECT, source, Event::Settled { effect, project, role, result });
    }

    fn watch(&mut self, project: &Project) {
        self.watched.extend(project.roles.iter().filter_map(|role| role.process));
    }

    fn drain_spool(&mut self) -> Vec<SpoolItem> {
        Vec::new()
    }

    fn consume(&mut self, _item: &SpoolItem) {}
}

/// A story: the core over a scripted world, with everything it told.
pub(crate) struct Story {
    pub(crate) core: Core<World>,
    pub(crate) told: Vec<Entry>,
    _home: tempfile::TempDir,
}

impl Story {
    /// One project with these roles, running.
    pub(crate) fn begin(title: &str, roles: &[&str], policy: Policy) -> Self {
        Self::begin_with(&spec(title, roles), policy)
    }

    /// One project as specified.
    pub(crate) fn begin_with(spec: &Spec, policy: Policy) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut store = Store::open(&home.path().join("orch.db"), Mode::Create).expect("a store");
        store.set_installation("0042").expect("an installation mark");
        let mut world = World::new();
        let now = world.now();
        store.enqueue(spec, &now).expect("accepted");
        let told = store.entries_after(Seq(0), 10).expect("a journal");
        let (core, _) = Core::open(store, world, policy).expect("a core");
        let mut story = Self { core, told, _home: home };
        story.turn(vec![Happened { seen_at: Timestamp(0), source: Source::Sweep, event: Event::Started }]);
        let listed = Event::PanesListed { server: SERVER, panes: Vec::new() };
        story.core.env().push(EFFECT, Source::Control, listed);
        story
    }

    pub(crate) fn turn(&mut self, drained: Vec<Happened>) {
        self.core.turn(drained).expect("a committed turn");
        let last = self.told.last().map_or(Seq(0), |entry| entry.seq);
        self.told.extend(self.core.store().entries_after(last, usize::MAX).expect("a journal"));
    }

    /// The orchestrator ends, and another one starts on the same world, after it found out what `first` says.
    pub(crate) fn restart_after(&mut self, first: Vec<Event>) {
        let path = self.core.store().path().to_owned();
        let policy = self.core.fleet().policy.clone();
        let mut world = std::mem::replace(self.core.env(), World::new());
        // Its results die with the process that waited for them.
        world.events.clear();
        let store = Store::open(&path, Mode::Existing).expect("a store");
        self.core = Core::open_after(store, world, policy, first).expect("a core").0;
        let seen_at = self.core.env().at;
        self.turn(vec![Happened { seen_at, source: Source::Sweep, event: Event::Started }]);
        self.core.env().list();
    }

    /// Lets the world go on until nothing is due within `limit`.
    pub(crate) fn run(&mut self, limit: Span) {
        let until = self.core.env().at + limit;
        while self.step(until) {}
        self.core.env().at = until;
    }

    /// Lets the world go on by one turn, if anything is due by then.
    pub(crate) fn step(&mut self, until: Timestamp) -> bool {
        let event = self.core.env().events.keys().next().copied();
        let due = event.map(|(at, _)| at).into_iter().chain(self.core.next_wake()).min().filter(|due| *due <= until);
        let Some(due) = due else { return false };
        let world = self.core.env();
        world.at = world.at.max(due);
        let happened = event.filter(|(at, _)| *at <= due).and_then(|key| world.events.remove(&key));
        self.turn(happened.into_iter().collect());
        true
    }

    /// One more project is enqueued, as by another process.
    pub(crate) fn enqueue(&mut self, spec: &Spec) -> ProjectId {
        let now = self.core.env().now();
        let accepted = self.core.store().enqueue(spec, &now).expect("accepted");
        self.core.env().push(Span(0), Source::Spool, Event::SpoolTouched);
        accepted.id
    }

    /// The process is killed and another one started: nothing but the database and the world is left, and what was
    /// under way is never heard of again.
    pub(crate) fn restart(&mut self, policy: Policy) {
        let mut world = std::mem::replace(self.core.env(), World::new());
        world.events.retain(|_, happened| !matches!(happened.event, Event::Settled { .. } | Event::PanesListed { .. }));
        let store = Store::open(self.core.store().path(), Mode::Existing).expect("the store");
        let (core, _) = Core::open(store, world, policy).expect("a core");
        self.core = core;
        let at = self.core.env().at;
        self.turn(vec![Happened { seen_at: at, source: Source::Sweep, event: Event::Started }]);
        if !self.core.env().script.hung {
            self.core.env().heal();
        }
    }

    pub(crate) fn project(&self) -> Option<&Project> {
        self.core.fleet().project(ProjectId(1))
    }
}

/// What comes of asking a tmux that does not answer.
fn unanswered(stage: Stage) -> Failure {
    Failure {
        kind: FailureKind::TimedOut,
        program: Program::Tmux,
        ending: Ending::DeadlinePassed(Span::from_secs(10)),
        ..Failure::of_operation(stage, FailureKind::TimedOut, vec!["tmux".to_owned()], "")
    }
}

pub(crate) fn claude_md(role: &str) -> String {
    format!("You are the {role}.\n")
}

pub(crate) fn spec(title: &str, roles: &[&str]) -> Spec {
    let role = |name: &&str| RoleSpec {
        name: RoleName((*name).to_owned()),
        command: vec!["agent".to_owned()],
        claude_md: claude_md(name).into(),
        env: BTreeMap::new(),
        progress: false,
        hooks: Hooks::None,
    };
    Spec {
        title: title.to_owned(),
        repo: "/srv/app".to_owned(),
        base_sha: "f00d".to_owned(),
        brief: "Build it.\n".into(),
        key: None,
        priority: 0,
        batch: None,
        roles: roles.iter().map(role).collect(),
        resources: Vec::new(),
    }
}
