//! One run of a sweep: a short life of three projects, what hits it, and how it ends.

use super::older;
use super::strike::{At, Log, Strike};
use crate::check::{Checker, witnessed};
use crate::fault::{Kind, Mode};
use crate::schedule::{Params, Planned, Schedule, VERSION};
use crate::seed::Seed;
use crate::sim::agent::Mood;
use crate::sim::heap::Tick;
use crate::sim::kernel::Program;
use crate::sim::planted::Plant;
use crate::sim::run::{Do, Sim};
use crate::sim::{Manner, Plan};
use crate::witness::Fact;
use orchestrator::domain::id::{ProjectId, RoleName};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::What;
use orchestrator::domain::time::Span;
use orchestrator::env::SpoolItem;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Projects of a run: two that recover and finish, one after the other, and one that is at work at the end.
const PROJECTS: u32 = 3;
const ROLES: u32 = 2;
/// An agent's work, and how much of it each report of progress commits, in microseconds.
const WORK_US: u64 = 26_000_000;
const PROGRESS_US: u64 = 8_000_000;
/// Work without an end.
const ENDLESS_US: u64 = 1 << 50;
/// How long a run is, and how much of it is healed: longer than anything may take to come to its end.
const DURATION_MS: u64 = 640_000;
const HEALED_MS: u64 = 440_000;
/// How long each start at rest is watched, in microseconds: several sweeps.
const REST_US: u64 = 20_000_000;
const SEED: Seed = Seed(46);
/// From which age on a record is one that nobody reads.
const UNREAD: Span = Span::from_secs(1);

/// When the projects are enqueued, in microseconds: at once, or one after the other.
const AT_ONCE: [Tick; 3] = [2_000, 7_000, 12_000];
const ONE_BY_ONE: [Tick; 3] = [2_000, 40_000_000, 150_000_000];

/// Which life is lived: each finishing project loses one agent on its way, unless something more is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scenario {
    /// The first loses one more than its breaker allows; in a late life, every project does.
    pub breaker: bool,
    /// The first project's agent says that it cannot do the work, or the second's if the first has its breaker; in a
    /// late life, that of the last as well.
    pub fails: bool,
    /// The last project comes when the others are about to be over: whatever only begins once begins once more.
    pub late: bool,
}

impl Scenario {
    /// Nothing more.
    pub const RECOVERS: Self = Self { breaker: false, fails: false, late: false };
    /// A breaker opens.
    pub const BREAKER: Self = Self { breaker: true, ..Self::RECOVERS };
    /// A project fails.
    pub const FAILS: Self = Self { fails: true, ..Self::RECOVERS };

    /// Every life there is.
    pub const ALL: [Self; 8] = {
        let mut all = [Self::RECOVERS; 8];
        let mut place = 0;
        while place < all.len() {
            all[place] = Self { breaker: place & 1 != 0, fails: place & 2 != 0, late: place & 4 != 0 };
            place += 1;
        }
        all
    };

    /// What either asks for.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { breaker: self.breaker || other.breaker, fails: self.fails || other.fails, late: self.late || other.late }
    }

    /// The same, with its last project late.
    #[must_use]
    pub fn lately(self) -> Self {
        Self { late: true, ..self }
    }
}

/// How one project ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ended {
    /// Its state.
    pub state: String,
    /// How many live incarnations each of its roles has.
    pub living: BTreeMap<RoleName, usize>,
    /// How many sound worktrees each of its roles has.
    pub trees: usize,
}

/// How a run ended: what must be equal whatever hit it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct End {
    /// Its projects.
    pub projects: BTreeMap<ProjectId, Ended>,
    /// What should not be there any more.
    pub left: Vec<String>,
}

/// A run that was played.
#[derive(Debug, Clone)]
pub struct Played {
    /// Its moments.
    pub log: Log,
    /// Its end.
    pub end: End,
    /// What it violated.
    pub violated: Vec<String>,
    /// What was planned and not carried out: then the run shows nothing.
    pub idle: Option<String>,
}

fn policy(scenario: Scenario) -> Policy {
    let bounds = if scenario.breaker {
        Policy { breaker_max: 1, breaker_window_s: 60, probes_max: 12, ..Policy::default() }
    } else {
        // Room for every hit of a case: what is compared is the end, which a breaker would put off by an hour.
        Policy { breaker_max: 12, ..Policy::default() }
    };
    // One after the other, so that every moment of the first comes again with the second; but not where the first
    // has to wait for its breaker, or the last, which has no end, would keep it waiting.
    let max_active = if scenario.breaker { 3 } else { 1 };
    Policy { max_active, backoff_cap_s: 10, ..bounds }
}

/// The faults that situations are built of; they wait until they are asked for.
fn situations() -> Vec<Planned> {
    let planned = |(id, kind): (u32, Kind)| Planned {
        id,
        at_ms: DURATION_MS - HEALED_MS - 1,
        on_event: Some("asked for by the sweep".to_owned()),
        kind,
        project: 0,
        role: kind.entry().hits_role.then_some(1),
        params: Params::default(),
    };
    let kinds = [Kind::EventDrop, Kind::PausedWriter, Kind::Reboot, Kind::Suspend];
    (1..).zip(kinds).map(planned).collect()
}

pub(super) fn plan(scenario: Scenario) -> Plan {
    Plan {
        schedule: Schedule {
            version: VERSION,
            seed: SEED,
            mode: Mode::Sim,
            duration_ms: DURATION_MS,
            control_ms: HEALED_MS,
            // They are enqueued by the scenario.
            projects: 0,
            roles: ROLES,
            faults: situations(),
            setting: crate::setting::Setting::default(),
            story: None,
            violates: None,
            expected: None,
        },
        manner: Manner { progress_us: PROGRESS_US, work_us: (WORK_US, WORK_US), ..Manner::default() },
        policy: policy(scenario),
        blows: Vec::new(),
        crashes: BTreeMap::new(),
        record_points: true,
        fingerprint: false,
    }
}

/// Plays a scenario under these strikes, with that bug planted if there is one.
#[must_use]
pub fn play(scenario: Scenario, strikes: &[Strike], plant: Plant) -> Played {
    let mut sim = match Sim::bent(plan(scenario), plant.map(|plant| plant())) {
        Ok(sim) => sim,
        Err(error) => {
            let violated = vec![format!("the simulation could not begin: {error}")];
            return Played { log: Log::default(), end: End::default(), violated, idle: None };
        }
    };
    sim.begin(scenario);
    sim.plant(strikes);
    let mut checkers = witnessed::under(false, policy(scenario));
    let end = DURATION_MS * 1_000;
    sim.go_to(end - HEALED_MS * 1_000, &mut checkers);
    sim.script.log.seal(sim.world.borrow().points.passed);
    sim.go_to(end, &mut checkers);
    let mut violated = sim.rest(end, &mut checkers);
    sim.judge(&mut checkers);
    let asked = sim.outcome.violated().filter(|finding| older::holds_still(&sim.script.log, finding.id));
    violated.extend(
        asked.map(|finding| {
            format!("{}: {}", finding.id, finding.verdict.violations.first().map_or("", String::as_str))
        }),
    );
    violated.extend(sim.outcome.broke.take());
    violated.extend(sim.audited());
    violated.extend(sim.torn());
    let (end, log) = (sim.end_state(), sim.take_log());
    violated.extend(charged(&log));
    violated.extend(fenced(&log));
    violated.extend(started_over(&log));
    violated.extend(older::trusted(&log));
    violated.extend(log.torn.first().cloned());
    violated.extend(sim.badly_kept(&log));
    violated.extend(sim.badly_logged());
    let idle = sim.idle(strikes, &log);
    Played { log, end, violated, idle }
}

/// Every incarnation after the first was counted against a breaker before it was started, or is one that no breaker is
/// charged for: after the death of the server, or of the machine (C31: over, never under).
fn charged(log: &Log) -> Vec<String> {
    let mut epochs: BTreeMap<ProjectId, BTreeSet<u32>> = BTreeMap::new();
    for told in &log.facts {
        if let Fact::AgentBorn { incarnation, .. } = &told.fact {
            epochs.entry(incarnation.project).or_default().insert(incarnation.epoch.0);
        }
    }
    let free = |what: &What| matches!(what, What::ServerDied { .. } | What::MachineRebooted { .. });
    // What a database that was put back knows as queued begins, and is not recovered.
    let free = log.entries.iter().filter(|entry| free(&entry.signal.what)).count() + log.put_back.len();
    let under = |(project, epochs): (&ProjectId, &BTreeSet<u32>)| {
        let counted = |entry: &&orchestrator::domain::signal::Entry| {
            entry.signal.project_id == Some(*project) && matches!(entry.signal.what, What::RecoveryStarted { .. })
        };
        let counted = log.entries.iter().filter(counted).count();
        let more = epochs.len().saturating_sub(1);
        (more > counted + free).then(|| format!("project {project}: {more} recoveries, and {counted} were counted"))
    };
    epochs.iter().filter_map(under).collect()
}

/// An agent that lives is adopted by its token: it is not ended to be started again under the same one (G5, C32).
fn started_over(log: &Log) -> Option<String> {
    let mut ended = BTreeMap::new();
    for told in &log.facts {
        if let Fact::AgentGone { incarnation, .. } = &told.fact {
            ended.insert(incarnation.token.clone(), told.at);
        } else if let Fact::AgentBorn { incarnation, .. } = &told.fact
            && ended.get(&incarnation.token) == Some(&told.at)
        {
            let (project, role) = (incarnation.project, &incarnation.role);
            return Some(format!("{role} of project {project} lived, and was started again under its token"));
        }
    }
    None
}

/// Once another orchestrator serves, the one before it begins nothing (C42).
fn fenced(log: &Log) -> Option<String> {
    let mut newest = 0;
    for told in &log.facts {
        if let Fact::Serving { life } = told.fact {
            newest = newest.max(life);
        } else if let Fact::Began { life, name, durable: true, .. } = told.fact
            && life < newest
        {
            return Some(format!("orchestrator {life} began {name} while {newest} had taken over"));
        }
    }
    None
}

impl Sim {
    fn begin(&mut self, scenario: Scenario) {
        let mut world = self.world.borrow_mut();
        for role in 0..ROLES {
            let endless = (ProjectId(i64::from(PROJECTS)), RoleName(format!("role-{role}")));
            world.work.insert(endless, ENDLESS_US);
        }
        let last = usize::try_from(PROJECTS).unwrap_or(0) - 1;
        let mut kills = if scenario.breaker { [2, 1, 0] } else { [1, 1, 0] };
        if scenario.late {
            kills = if scenario.breaker { [2; 3] } else { [1; 3] };
        }
        let mut fail = Vec::new();
        if scenario.fails {
            fail.push(usize::from(scenario.breaker));
            fail.extend(scenario.late.then_some(last));
        }
        for place in fail {
            kills[place] = 0;
            let whose = (ProjectId(i64::try_from(place).unwrap_or(0) + 1), RoleName("role-0".to_owned()));
            world.moods.insert(whose, VecDeque::from(vec![Mood::GivesUp; 8]));
        }
        drop(world);
        self.script.kills = (1..).map(ProjectId).zip(kills).collect();
        self.script.comes = if scenario.late { ONE_BY_ONE } else { AT_ONCE }.to_vec();
        for (project, at) in (0..).zip(self.script.comes.clone()) {
            self.at(at, Do::Enqueue(project));
        }
    }

    /// What was to hit and has not; a crash counts once the orchestrator is dead.
    fn idle(&self, strikes: &[Strike], log: &Log) -> Option<String> {
        let planned = strikes.iter().filter(|strike| strike.hit.kills()).count();
        if log.killed != planned {
            return Some(format!("{} of {planned} crashes were carried out", log.killed));
        }
        let points = &self.world.borrow().points;
        let left = self.gate.unspent() + points.planted.len() + points.hits.len();
        (left > 0).then(|| format!("{left} of {} strikes did not come", strikes.len()))
    }

    /// Kills the orchestrator at rest, twice: whoever comes after it has nothing to do.
    fn rest(&mut self, end: Tick, checkers: &mut [Box<dyn Checker>]) -> Vec<String> {
        let mut violated = Vec::new();
        if self.hosts.len() != 1 {
            violated.push(format!("{} orchestrators serve at rest", self.hosts.len()));
        }
        for (pass, until) in [("first", end + REST_US), ("second", end + 2 * REST_US)] {
            let (entries, facts) = (self.script.log.entries.len(), self.script.log.facts.len());
            if !self.hosts.is_empty() {
                self.crash(0);
            }
            self.go_to(until, checkers);
            let starts = |what: &What| {
                matches!(
                    what,
                    What::OrchestratorStarted { .. }
                        | What::TmuxAnswered { changed: false, .. }
                        | What::AgentAdopted { .. }
                )
            };
            let new = self.script.log.entries.iter().skip(entries).find(|entry| !starts(&entry.signal.what));
            violated
                .extend(new.map(|entry| format!("the {pass} start at rest told {}", super::label(&entry.signal.what))));
            let began = self.script.log.facts.iter().skip(facts).find_map(|told| {
                if let Fact::Began { name, durable: true, .. } = told.fact { Some(name) } else { None }
            });
            violated.extend(began.map(|name| format!("the {pass} start at rest began {name}")));
        }
        violated
    }

    fn audited(&mut self) -> Vec<String> {
        let policy = self.plan.policy.clone();
        match self.bank.client.audit(&policy) {
            Ok(found) => {
                let broken = found.into_iter().filter(|one| one.violations > 0);
                broken.map(|one| format!("the store's audit: {} ({})", one.id, one.violations)).collect()
            }
            Err(error) => vec![format!("the store's audit: {error}")],
        }
    }

    /// How it ended, by the world and the journal.
    fn end_state(&self) -> End {
        let world = self.world.borrow();
        let mut end = End::default();
        for entry in &self.script.log.entries {
            let Some(project) = entry.signal.project_id else { continue };
            let ended = end.projects.entry(project).or_default();
            if let What::ProjectMoved { to, .. } = entry.signal.what {
                ended.state = to.to_string();
            }
        }
        let over = |project: &Ended| matches!(project.state.as_str(), "completed" | "failed" | "cancelled");
        let mut left = Vec::new();
        for process in world.kernel.processes() {
            match (process.program, &process.mark) {
                (Program::Agent(_), Some(mark)) => {
                    let ended = end.projects.entry(mark.project).or_default();
                    *ended.living.entry(mark.role.clone()).or_default() += 1;
                    if over(ended) {
                        left.push(format!("process {} of project {}", process.id, mark.project));
                    }
                }
                (Program::Git, _) => left.push(format!("git {}", process.id)),
                _ => {}
            }
        }
        let mut works: BTreeMap<(ProjectId, RoleName), u64> = BTreeMap::new();
        for agent in &world.agents {
            works.insert((agent.incarnation.project, agent.incarnation.role.clone()), 0);
        }
        let whose: BTreeMap<&str, (ProjectId, RoleName)> = world
            .agents
            .iter()
            .map(|agent| (agent.tree.as_str(), (agent.incarnation.project, agent.incarnation.role.clone())))
            .collect();
        for (path, tree) in world.disk.trees() {
            if tree.temporary || tree.initializing || !tree.there || !tree.filled {
                left.push(format!("{path} half made"));
            } else if let Some(owner) = whose.get(path.as_str()) {
                end.projects.entry(owner.0).or_default().trees += 1;
                *works.entry(owner.clone()).or_default() += u64::from(tree.commits);
            }
        }
        for (owner, commits) in works {
            let begun = if owner.0 == ProjectId(i64::from(PROJECTS)) { ENDLESS_US } else { WORK_US };
            let done = world.work.get(&owner).map_or(0, |rest| (begun - rest).div_ceil(PROGRESS_US));
            if commits < done {
                left.push(format!("{} of project {}: {commits} of {done} commits are kept", owner.1, owner.0));
            }
        }
        for (name, session) in world.server.iter().flat_map(|server| server.sessions()) {
            let of =
                session.panes.iter().filter_map(|pane| pane.token.as_ref()).find_map(|token| world.agent_with(token));
            let project = of.map(|number| world.agents[number].incarnation.project);
            let ended = project.and_then(|project| end.projects.get(&project));
            if ended.is_none_or(over) {
                left.push(format!("session {name}"));
            }
        }
        left.extend(
            world
                .jobs
                .values()
                .filter(|job| job.ordered.effect.is_durable())
                .map(|job| format!("effect {} ({}) is under way", job.ordered.id, job.ordered.effect.name())),
        );
        left.extend(world.disk.badly_parked());
        let unread = |item: &SpoolItem| world.now().since(item.happened.seen_at) > UNREAD;
        let records = world.spool.iter().filter(|(_, item)| unread(item));
        left.extend(records.map(|(name, _)| format!("record {}", name.display())));
        end.left = left;
        end
    }
}

impl End {
    /// What is different from the reference; empty if nothing is.
    #[must_use]
    pub fn differs(&self, reference: &Self) -> Vec<String> {
        let mut found = self.left.clone();
        for (project, is) in &reference.projects {
            let here = self.projects.get(project).cloned().unwrap_or_default();
            if here.state != is.state {
                found.push(format!("project {project} is {}, not {}", here.state, is.state));
            } else if here.living != is.living {
                found.push(format!("project {project} has other live agents: {:?}", here.living.values()));
            } else if here.trees != is.trees {
                found.push(format!("project {project} has {} worktrees, not {}", here.trees, is.trees));
            }
        }
        let more = self.projects.keys().find(|project| !reference.projects.contains_key(project));
        found.extend(more.map(|project| format!("there is a project {project} that nobody asked for")));
        found
    }
}

impl Log {
    /// Nothing hits after this: the world is healed from here on.
    fn seal(&mut self, points: u64) {
        self.sealed = (self.commits.len(), usize::try_from(points).unwrap_or(usize::MAX));
    }

    /// How far a run had come at a moment: its commits and points until then.
    #[must_use]
    pub fn place(&self, at: At) -> (u64, u64) {
        match at {
            At::Commit(number) => {
                let index = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
                (number, self.commits.get(index).map_or(0, |commit| commit.points))
            }
            At::Point(number) => {
                (self.commits.iter().take_while(|commit| commit.points < number).count() as u64, number)
            }
        }
    }
}
