//! The course of a run: control, faults, healing, control, release, end.

use super::clock::Clock;
use super::database::{Database, Fitness, Target};
use super::inject::{Hand, Injector, carried_out};
use super::journal::Journal;
use super::orch::{Orch, Serve};
use super::play::{Planted, Step};
use super::sample::Sampler;
use super::sandbox::Sandbox;
use super::stop::{Stop, Waited};
use super::tmux::Tmux;
use crate::check::HEALED_WITHIN;
use crate::fault::{Kind, Outcome};
use crate::matching::matched;
use crate::schedule::{Planned, Schedule};
use crate::truth::{Injection, Phase, ProjectRow, Submitted};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::{Span, Timestamp};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the projects of the start may take until all of them work.
const START_WITHIN: Duration = Duration::from_secs(90);
/// How long a fault waits for its project to work before it is given up.
const FIT_WITHIN: Duration = Duration::from_secs(20);
/// How long the incidents of all faults may take to end.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);
/// After the last incident: what is still told about it does not belong to the control phase.
const CALM: Duration = Duration::from_millis(1_200);
/// How long a finished project may take to be taken down: TERM, five seconds, KILL, and a look.
const GRACE: Duration = Duration::from_secs(8);

/// Everything that a run plays with.
pub(super) struct Stage<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) planted: &'a Planted,
    pub(super) sandbox: &'a Sandbox,
    pub(super) orch: &'a Orch,
    pub(super) serve: &'a Mutex<Serve>,
    pub(super) database: &'a Database,
    pub(super) tmux: &'a Tmux,
    pub(super) clock: &'a Clock,
    pub(super) journal: &'a Journal,
    pub(super) sampler: &'a Mutex<Sampler>,
    pub(super) stop: &'a Stop,
    pub(super) tell: &'a (dyn Fn(Step) + Sync),
}

/// What was done, and what was seen doing it.
#[derive(Debug, Default)]
pub(super) struct Directed {
    pub(super) submitted: Vec<Submitted>,
    pub(super) injections: Vec<Injection>,
    pub(super) control: Vec<Phase>,
    pub(super) released_at: Option<Timestamp>,
    pub(super) unfit: Vec<String>,
    pub(super) locks: Vec<String>,
    pub(super) trouble: Vec<String>,
}

/// The run is cut short, or cannot go on: what was brought home until then stands.
struct Cut;

impl Stage<'_> {
    /// From the first project to the last look.
    pub(super) fn direct(&self) -> Directed {
        let mut directed = Directed::default();
        // Cut short or not: what is known is known.
        let _ = self.acts(&mut directed);
        directed
    }

    fn acts(&self, directed: &mut Directed) -> Result<(), Cut> {
        self.open(directed)?;
        let began = Instant::now();
        let control = Duration::from_millis(self.schedule.control_ms);
        self.control(directed, control)?;
        let faults = Duration::from_millis(self.schedule.duration_ms).saturating_sub(2 * control);
        (self.tell)(Step::Stage("faults", faults));
        self.faults(directed, began);
        self.go_on(directed)?;
        self.settle(directed)?;
        self.control(directed, control)?;
        self.release(directed)?;
        self.last_look(directed)
    }

    fn go_on(&self, directed: &mut Directed) -> Result<(), Cut> {
        if let Some(why) = self.serve().ended() {
            directed.trouble.push(why);
            return Err(Cut);
        }
        if self.stop.asked().is_some() { Err(Cut) } else { Ok(()) }
    }

    /// Waits; neither a dead orchestrator nor a run that is cut short is waited for.
    fn wait(&self, within: Duration, mut ready: impl FnMut() -> bool) -> Waited {
        self.stop.wait(Instant::now() + within, || self.serve().ended().is_some() || ready())
    }

    fn serve(&self) -> MutexGuard<'_, Serve> {
        self.serve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submitted(&self, id: ProjectId) -> Submitted {
        Submitted { id, roles: self.sandbox.roles().to_vec() }
    }

    /// Hands in every project that is not held back, and waits until all of them work.
    fn open(&self, directed: &mut Directed) -> Result<(), Cut> {
        (self.tell)(Step::Stage("start", Duration::from_secs(5)));
        let first: Vec<u32> =
            (0..self.schedule.projects).filter(|project| self.schedule.held_back_by(*project).is_none()).collect();
        for project in &first {
            match self.orch.enqueue(&self.sandbox.spec(*project)) {
                Ok(id) => directed.submitted.push(self.submitted(id)),
                Err(why) => directed.trouble.push(why),
            }
        }
        let all = || self.database.count(ProjectState::Running).is_ok_and(|running| running == first.len());
        let waited = self.wait(START_WITHIN, all);
        self.go_on(directed)?;
        if waited == Waited::Late {
            let running = self.database.count(ProjectState::Running);
            let (all, within) = (first.len(), START_WITHIN.as_secs());
            directed.trouble.push(format!("{running:?} of {all} projects came to run within {within} s"));
            return Err(Cut);
        }
        Ok(())
    }

    /// A stretch of time in which nothing is done.
    fn control(&self, directed: &mut Directed, time: Duration) -> Result<(), Cut> {
        (self.tell)(Step::Stage("control", time));
        let from = self.clock.now();
        self.stop.pass(time);
        directed.control.push(Phase { from, until: self.clock.now() });
        self.go_on(directed)
    }

    /// Every project's faults in a thread of its own, so that waiting for one project holds up no other.
    fn faults(&self, directed: &mut Directed, began: Instant) {
        let ids: Vec<ProjectId> = directed.submitted.iter().map(|submitted| submitted.id).collect();
        let mut ids = ids.into_iter();
        let frozen = AtomicBool::new(false);
        let done: Vec<(Option<ProjectId>, Vec<Injection>)> = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.schedule.projects)
                .map(|project| {
                    let held_back = self.schedule.held_back_by(project).is_some();
                    let id = if held_back { None } else { ids.next() };
                    let frozen = &frozen;
                    scope.spawn(move || self.faults_of(project, id, began, frozen))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
        });
        for (id, injections) in done {
            let known = |id: &ProjectId| directed.submitted.iter().any(|submitted| submitted.id == *id);
            let new = id.filter(|id| !known(id)).map(|id| self.submitted(id));
            directed.submitted.extend(new);
            directed.injections.extend(injections);
        }
        directed.injections.sort_by_key(|fault| (fault.injected_at, fault.id));
    }

    /// The faults of one project, one after the other.
    fn faults_of(
        &self,
        project: u32,
        mut id: Option<ProjectId>,
        began: Instant,
        frozen: &AtomicBool,
    ) -> (Option<ProjectId>, Vec<Injection>) {
        let mut injections = Vec::new();
        for planned in self.schedule.faults.iter().filter(|planned| planned.project == project) {
            let due = began + Duration::from_millis(planned.at_ms);
            if !self.stop.pass(due.saturating_duration_since(Instant::now())) {
                break;
            }
            let mut injection = if planned.hits_git() {
                let (enqueued, done) = self.injector().enqueue_armed(planned);
                id = enqueued.ok();
                carried_out(planned, id, None, done)
            } else {
                self.hit(planned, id, frozen)
            };
            if self.planted.boasts && injection.injected_at.is_some() {
                injection.probe = Ok(());
            }
            (self.tell)(Step::Fault(injection.clone()));
            injections.push(injection);
        }
        (id, injections)
    }

    fn injector(&self) -> Injector<'_> {
        let hand = if self.planted.idle || self.planted.boasts { Hand::Idle } else { Hand::Real };
        let (sandbox, orch, tmux) = (self.sandbox, self.orch, self.tmux);
        Injector { hand, sandbox, orch, serve: self.serve, tmux, clock: self.clock, stop: self.stop }
    }

    fn hit(&self, planned: &Planned, id: Option<ProjectId>, frozen: &AtomicBool) -> Injection {
        let role = planned.role.and_then(|role| self.sandbox.roles().get(role as usize).cloned());
        let unfit = |why: String| carried_out(planned, id, role.clone(), (None, Err(why)));
        let Some(project) = id else { return unfit("its project was never accepted".to_owned()) };
        let target = match self.fit(project) {
            Ok(target) => target,
            Err(why) => return unfit(why),
        };
        match self.planted.frozen_during {
            Some((kind, time)) if kind == planned.kind && !frozen.swap(true, Ordering::SeqCst) => {
                // If it cannot be frozen, the test that planted this sees a run that passes.
                let _ = self.serve().freeze();
                let injection = self.injector().hit(planned, project, &target);
                thread::sleep(time);
                let _ = self.serve().thaw();
                injection
            }
            Some(_) | None => self.injector().hit(planned, project, &target),
        }
    }

    /// Waits until a project works.
    fn fit(&self, project: ProjectId) -> Result<Target, String> {
        let mut found = Err("the orchestrator's database could not be read".to_owned());
        let waited = self.wait(FIT_WITHIN, || {
            found = self.database.fitness(project);
            matches!(found, Ok(Fitness::Fit(_) | Fitness::Never(_)))
        });
        let ended = self.serve.lock().unwrap_or_else(std::sync::PoisonError::into_inner).ended();
        if let Some(why) = ended {
            return Err(why);
        }
        match (found?, waited) {
            (Fitness::Fit(target), _) => Ok(target),
            (Fitness::Never(state), _) => Err(format!("its project was {state}")),
            (Fitness::NotYet(_), Waited::Stopped) => Err("the run was cut short".to_owned()),
            (Fitness::NotYet(state), Waited::Late | Waited::Ready) => {
                Err(format!("its project was {state}, and did not work within {} s", FIT_WITHIN.as_secs()))
            }
        }
    }

    /// Waits until every incident has ended, or can no longer be expected to.
    fn settle(&self, directed: &mut Directed) -> Result<(), Cut> {
        (self.tell)(Step::Stage("healing", Duration::from_secs(2)));
        let waited = self.wait(SETTLE_WITHIN, || self.has_settled(&directed.injections) && self.at_rest());
        self.go_on(directed)?;
        // Late is not cut short: L1 will say whose incident it is.
        if waited != Waited::Late {
            self.stop.pass(CALM);
        }
        self.go_on(directed)
    }

    fn has_settled(&self, injections: &[Injection]) -> bool {
        let now = self.clock.now();
        let matched = self.journal.with(|journal| matched(injections, journal));
        injections.iter().zip(&matched).all(|(fault, matched)| match (fault.confirmed_at(), matched.outcome) {
            (None, _) | (_, Some(Outcome::Recovered | Outcome::Contained | Outcome::Harmless)) => true,
            // Not told of yet is not missed before the latest moment at which it may be told.
            (Some(at), Some(Outcome::Missed | Outcome::Masked)) => now.since(at) > patience(fault.kind),
            (Some(_), None) => false,
        })
    }

    fn at_rest(&self) -> bool {
        let resting = |row: &ProjectRow| {
            matches!(row.state, ProjectState::Running | ProjectState::Suspended) || row.state.is_terminal()
        };
        self.database.rows().is_ok_and(|rows| rows.iter().all(resting))
    }

    /// Tells the agents to finish, and waits until every project has come to its end.
    fn release(&self, directed: &mut Directed) -> Result<(), Cut> {
        (self.tell)(Step::Stage("finishing", Duration::from_secs(4)));
        directed.trouble.extend(self.sandbox.release().err());
        directed.released_at = Some(self.clock.now());
        let ended = |row: &ProjectRow| row.state.is_terminal() || row.state == ProjectState::Suspended;
        let within = Duration::from_micros(HEALED_WITHIN.0);
        self.wait(within, || self.database.rows().is_ok_and(|rows| rows.iter().all(ended)));
        // Whether it was late is what L1 says.
        self.go_on(directed)
    }

    /// Gives finished projects their time to be taken down, and looks at what is left.
    fn last_look(&self, directed: &mut Directed) -> Result<(), Cut> {
        let rows = self.database.rows().unwrap_or_default();
        let ended = |project: ProjectId| rows.iter().any(|row| row.id == project && row.state.is_terminal());
        let since = self.clock.now();
        self.wait(GRACE, || {
            self.sampler.lock().is_ok_and(|sampler| {
                sampler.last().is_some_and(|last| {
                    let sessions = last.seen.sessions.iter().flatten().filter_map(|session| session.project);
                    let agents = last.seen.agents.keys().map(|agent| agent.project);
                    last.until > since && !sessions.chain(agents).any(ended)
                })
            })
        });
        for row in rows.iter().filter(|row| row.state == ProjectState::Completed) {
            directed.unfit.extend(self.unfit(row));
        }
        for project in 0..self.schedule.projects {
            let listed = self.sandbox.git(&self.sandbox.repo(project), &["worktree", "list", "--porcelain"]);
            let listed = listed.unwrap_or_default();
            let locked = listed.lines().filter(|line| line.starts_with("locked"));
            directed.locks.extend(locked.map(|line| format!("a worktree of project {project} is left {line}")));
        }
        self.go_on(directed)
    }

    /// What is wrong with the CLAUDE.md of a completed project whose worktrees are kept.
    fn unfit(&self, row: &ProjectRow) -> Vec<String> {
        let kept = row.worktrees.iter().map(|(role, path)| (role, self.sandbox.home().join(path)));
        kept.filter(|(_, path)| path.is_dir())
            .filter(|(_, path)| {
                let file = fs::symlink_metadata(path.join("CLAUDE.md"));
                !file.is_ok_and(|is| is.is_file() && is.len() > 0)
            })
            .map(|(role, _)| format!("project {} is completed, but {role} has no CLAUDE.md", row.id))
            .collect()
    }
}

/// The latest moment at which a fault may be told of.
fn patience(kind: Kind) -> Span {
    kind.entry().detection.by_sweep
}
