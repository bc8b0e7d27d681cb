//! The scene of one crash point: a sandbox of its own, the orchestrator in it, and what there is to be seen of both.

use super::call::Call;
use super::trace::{Missed, STOPPED, Traced};
use crate::live::orch::{Orch, Serve};
use crate::live::process::{Environ, Held, identify, is_alive, marked, parent};
use crate::live::sample::incarnation;
use crate::live::sandbox::{MARK, Sandbox};
use crate::live::stop::{Stop, Waited};
use crate::live::tmux::Tmux;
use crate::truth::Incarnation;
use orchestrator::domain::id::{ProcessId, ProjectId, Seq};
use orchestrator::domain::project::Project;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::store::{LeaseRow, Mode, Store};
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a moment may take to come; the longest contain a deadline of 10 s of the orchestrator's.
const MOMENT_WITHIN: Duration = Duration::from_secs(45);
/// How long anything may take to be so after a restart.
pub(super) const SO_WITHIN: Duration = Duration::from_secs(45);
/// Entries of a journal that are read; a point makes some forty.
const ENTRIES_MAX: usize = 10_000;
/// The role's CLAUDE.md, whatever the role.
pub(super) const CLAUDE_MD: &str = "# A role\n\nCommit small steps.\n";

/// Why a point is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Odd {
    /// The orchestrator did something else.
    Differs(String),
    /// The harness did not get where it wanted to kill, or what it met there was not the point.
    NotReached(String),
}

/// Turns an error into a difference.
pub(super) fn differs(why: impl ToString) -> Odd {
    Odd::Differs(why.to_string())
}

/// Turns an error into a point that was not reached.
pub(super) fn missed(why: impl ToString) -> Odd {
    Odd::NotReached(why.to_string())
}

impl From<Missed> for Odd {
    fn from(why: Missed) -> Self {
        Self::NotReached(match why {
            Missed::Ended => "the process ended before the moment came".to_owned(),
            Missed::Late => format!("the moment did not come within {} s", MOMENT_WITHIN.as_secs()),
            Missed::Failed(why) => why,
        })
    }
}

/// What is to be worked on, and under which settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// How many roles.
    pub(super) roles: u32,
    /// The last directive of the brief: `done` or `fail`.
    pub(super) finish: &'static str,
    /// Whether agents wait for the gate before they finish.
    pub(super) waits: bool,
    /// A shell's script before the worker: `$D` is the sandbox, `$W` the worker.
    pub(super) script: Option<&'static str>,
    /// Further lines of the settings' `[policy]`.
    pub(super) policy: &'static str,
}

impl Default for Work {
    fn default() -> Self {
        Self { roles: 1, finish: "done", waits: true, script: None, policy: "" }
    }
}

/// What the database says, read in one go.
#[derive(Debug)]
pub(super) struct Facts {
    /// The first project.
    pub(super) project: Option<Project>,
    /// The journal.
    pub(super) entries: Vec<Entry>,
    /// The first project's effects whose outcome is unknown.
    pub(super) open: Vec<String>,
    /// How many effects there ever were.
    pub(super) effects: usize,
    /// Who writes, or wrote last.
    pub(super) lease: Option<LeaseRow>,
}

impl Facts {
    /// The first project's state, if there is one.
    pub(super) fn state(&self) -> Option<ProjectState> {
        self.project.as_ref().map(Project::state)
    }

    /// How many entries tell something.
    pub(super) fn told(&self, is_it: impl Fn(&What) -> bool) -> usize {
        self.entries.iter().filter(|entry| is_it(&entry.signal.what)).count()
    }

    /// How often the first project's state became this one.
    pub(super) fn moved_to(&self, state: ProjectState) -> usize {
        self.told(|what| matches!(what, What::ProjectMoved { to, .. } if *to == state))
    }

    /// The number of the last entry.
    pub(super) fn last(&self) -> Seq {
        self.entries.last().map_or(Seq(0), |entry| entry.seq)
    }
}

/// The scene of one point.
pub(super) struct Scene<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) orch: &'a Orch,
    pub(super) stop: &'a Stop,
    pub(super) work: Work,
}

impl Scene<'_> {
    /// The settings: sweeps and acknowledgements are soon due, so that nothing here waits for long.
    pub(super) fn config(&self) -> String {
        let policy = self.work.policy;
        format!("sweep_s = 1\nallow_env = [\"{MARK}\"]\n\n[policy]\nmax_active = 2\nack_s = 5\n{policy}")
    }

    /// Writes the spec of the project of that number; handing it in twice gives it once, by its key.
    pub(super) fn spec(&self, number: u32) -> Result<PathBuf, Odd> {
        let dir = self.sandbox.dir().display().to_string();
        let worker = format!("{dir}/agents/worker.sh");
        let Work { finish, waits, script, roles, .. } = self.work;
        let gate = if waits { format!("wait-for: {}\n", self.sandbox.gate().display()) } else { String::new() };
        let brief = format!("# Work\n\nwork-steps: 1\nstep-ms: 100\n{gate}finish: {finish}\n");
        let command = match script {
            Some(script) => vec!["sh".to_owned(), "-c".to_owned(), format!("D={dir} W={worker}; {script}")],
            None => vec!["sh".to_owned(), worker],
        };
        let json = |text: &dyn std::fmt::Debug| format!("{text:?}");
        let mut text = format!(
            "title = \"Work {number}\"\nkey = \"work-{number}\"\nrepo = {}\nbrief_text = {}\n",
            json(&self.sandbox.repo(0).display().to_string()),
            json(&brief)
        );
        for role in 1..=roles {
            text += &format!(
                "\n[[role]]\nname = \"role-{role}\"\ncommand = {}\nclaude_md_text = {}\nprogress = true\n",
                json(&command),
                json(&CLAUDE_MD)
            );
        }
        let path = self.sandbox.dir().join(format!("specs/crash-{number}.toml"));
        fs::write(&path, text).map_err(missed)?;
        Ok(path)
    }

    /// Hands in the project of that number.
    pub(super) fn enqueue(&self, number: u32) -> Result<ProjectId, Odd> {
        self.orch.enqueue(&self.spec(number)?).map_err(missed)
    }

    /// Starts `orch serve` under trace.
    pub(super) fn trace(&self, follow: Option<&'static [&'static str]>) -> Result<Traced, Odd> {
        self.trace_command(&["serve"], follow)
    }

    /// Starts any command of `orch` under trace; what it writes is in [`Scene::written`].
    pub(super) fn trace_command(&self, args: &[&str], follow: Option<&'static [&'static str]>) -> Result<Traced, Odd> {
        let child = self.orch.spawn_by(STOPPED, args, &self.sandbox.dir().join("traced.out")).map_err(missed)?;
        Ok(Traced::seize(&child, follow)?)
    }

    /// What the last traced command wrote to its standard output.
    pub(super) fn written(&self) -> String {
        fs::read_to_string(self.sandbox.dir().join("traced.out")).unwrap_or_default()
    }

    /// Lets it run until the moment comes. What it said on its way out is told if it ended before.
    pub(super) fn reach(&self, traced: &mut Traced, is_it: impl FnMut(&Call) -> bool) -> Result<(), Odd> {
        match traced.until(MOMENT_WITHIN, is_it) {
            Err(Missed::Ended) => {
                let said = fs::read_to_string(self.sandbox.dir().join("traced.err")).unwrap_or_default();
                Err(missed(format!("it ended before: {}", said.lines().last().unwrap_or("it said nothing"))))
            }
            reached => Ok(reached?),
        }
    }

    /// Starts `orch serve` as anybody would.
    pub(super) fn start(&self) -> Result<Serve, Odd> {
        self.orch.serve(&self.sandbox.dir().join("serve.log")).map_err(differs)
    }

    /// What the database says now.
    pub(super) fn facts(&self) -> Result<Facts, Odd> {
        self.read().map_err(|why| differs(format!("the database: {why}")))
    }

    fn read(&self) -> Result<Facts, String> {
        let text = |error: orchestrator::store::StoreError| error.to_string();
        let store = Store::open(&self.sandbox.home().join("orch.db"), Mode::ReadOnly).map_err(text)?;
        let rows = store.outbox_rows(ProjectId(1)).map_err(text)?;
        Ok(Facts {
            project: store.load_project(ProjectId(1)).map_err(text)?,
            entries: store.entries_after(Seq(0), ENTRIES_MAX).map_err(text)?,
            effects: rows.len(),
            open: rows.into_iter().filter(|row| row.resolved.is_none()).map(|row| row.effect).collect(),
            lease: store.lease().map_err(text)?,
        })
    }

    /// Waits until the database says something; what it says then.
    pub(super) fn until(&self, what: &str, mut so: impl FnMut(&Facts) -> bool) -> Result<Facts, Odd> {
        let mut last = self.facts()?;
        let waited = self.stop.wait(Instant::now() + SO_WITHIN, || {
            if let Ok(facts) = self.facts() {
                last = facts;
            }
            so(&last)
        });
        match waited {
            Waited::Ready => Ok(last),
            Waited::Stopped => Err(missed("the sweep was cut short")),
            Waited::Late => {
                let state = last.state().map_or("no project", ProjectState::name);
                Err(differs(format!("not {what} within {} s: {state}, {:?} open", SO_WITHIN.as_secs(), last.open)))
            }
        }
    }

    /// Waits for something of the world.
    pub(super) fn wait(&self, what: &str, so: impl FnMut() -> bool) -> Result<(), Odd> {
        match self.stop.wait(Instant::now() + SO_WITHIN, so) {
            Waited::Ready => Ok(()),
            Waited::Stopped => Err(missed("the sweep was cut short")),
            Waited::Late => Err(missed(format!("not {what} within {} s", SO_WITHIN.as_secs()))),
        }
    }

    /// The run's tmux.
    pub(super) fn tmux(&self) -> Tmux {
        Tmux::on(&self.sandbox.socket())
    }

    /// Sends a signal to the tmux server.
    pub(super) fn signal_tmux(&self, signal: Signal) -> Result<Held, Odd> {
        let pid = self.tmux().server().map_err(missed)?;
        let held = identify(pid).and_then(|id| Held::of(id).ok().flatten()).ok_or_else(|| missed("no tmux server"))?;
        held.signal(signal).map_err(missed)?;
        Ok(held)
    }

    /// Every process of the run that carries an incarnation, the first of each only.
    pub(super) fn agents(&self) -> Vec<(Incarnation, ProcessId)> {
        let of = |environ: &Environ| incarnation(environ);
        let found: Vec<(Incarnation, ProcessId)> = marked(MARK, self.sandbox.mark())
            .iter()
            .filter(|(process, _)| is_alive(*process))
            .filter_map(|(process, environ)| Some((of(environ)?, *process)))
            .collect();
        let is_child = |(agent, process): &(Incarnation, ProcessId)| {
            let above = parent(process.pid);
            found.iter().any(|(other, own)| Some(own.pid) == above && other.token == agent.token)
        };
        found.iter().filter(|one| !is_child(one)).cloned().collect()
    }

    /// Kills the one agent that there is.
    pub(super) fn kill_agent(&self) -> Result<ProcessId, Odd> {
        let (_, process) = self.agents().into_iter().next().ok_or_else(|| missed("no agent lives"))?;
        let held = Held::of(process).map_err(missed)?.ok_or_else(|| missed("the agent is gone"))?;
        held.signal(Signal::KILL).map_err(missed)?;
        Ok(process)
    }

    /// The worktree of the first project's role of that number, as the database names it.
    pub(super) fn worktree(&self, facts: &Facts, role: usize) -> Result<PathBuf, Odd> {
        let path = facts.project.as_ref().and_then(|project| project.roles.get(role)?.worktree.as_ref());
        path.map(|worktree| self.sandbox.home().join(&worktree.path)).ok_or_else(|| differs("no worktree is named"))
    }
}
