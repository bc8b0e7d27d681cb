//! Doing it, and seeing that it happened.
//!
//! Every fault is done to exactly the target that was looked at before: by token, by pid with its start time, by an
//! open descriptor. Its probe looks at the world, never at the orchestrator.

use super::clock::Clock;
use super::command::run;
use super::database::{Target, TargetRole};
use super::orch::{Orch, Serve};
use super::process::{Environ, Held, identify, is_alive};
use super::sandbox::Sandbox;
use super::stop::{Stop, Waited};
use super::tmux::Tmux;
use crate::fault::{Kind, Victim};
use crate::schedule::Planned;
use crate::truth::Injection;
use orchestrator::domain::id::{ProjectId, RoleName};
use orchestrator::domain::time::Timestamp;
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an effect may take to show.
const CONFIRM_WITHIN: Duration = Duration::from_secs(3);
/// How long it is tried to start the orchestrator again.
const RESTART_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries.
const RESTART_PAUSE: Duration = Duration::from_millis(20);
/// How long a project that was enqueued under an armed fault may take to come to its first `git worktree add`.
const CLAIM_WITHIN: Duration = Duration::from_secs(30);

/// Whose hand it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// It does what is asked.
    Real,
    /// It does nothing at all: planted, to see that a run without effect proves nothing.
    Idle,
}

/// What an injector works with.
#[derive(Debug)]
pub(super) struct Injector<'a> {
    pub(super) hand: Hand,
    pub(super) sandbox: &'a Sandbox,
    pub(super) orch: &'a Orch,
    pub(super) serve: &'a Mutex<Serve>,
    pub(super) tmux: &'a Tmux,
    pub(super) clock: &'a Clock,
    pub(super) stop: &'a Stop,
}

/// When an effect began, and what its probe saw.
type Done = (Option<Timestamp>, Result<(), String>);

/// A fault that has been carried out.
pub(super) fn carried_out(
    planned: &Planned,
    project: Option<ProjectId>,
    role: Option<RoleName>,
    (injected_at, probe): Done,
) -> Injection {
    let (id, kind, victim) = (planned.id, planned.kind, planned.params.victim);
    Injection { id, kind, victim, project, role, injected_at, probe }
}

impl Injector<'_> {
    /// Does a fault to a project that works.
    pub(super) fn hit(&self, planned: &Planned, project: ProjectId, target: &Target) -> Injection {
        let role = planned.role.and_then(|role| target.roles.get(role as usize));
        let done = match (planned.kind, planned.params.victim, role) {
            (Kind::SessionKill, _, _) => self.kill_session(target),
            (Kind::ClaudeMdDelete, _, Some(role)) => self.delete_claude_md(role),
            (Kind::StderrNull, Some(Victim::Agent), Some(role)) => self.silence_agent(target, role),
            (Kind::OrchKill, _, _) => self.kill_orchestrator(target),
            _ => refused("it names nobody to hit, or cannot be done live"),
        };
        carried_out(planned, Some(project), role.map(|role| role.name.clone()), done)
    }

    fn kill_session(&self, target: &Target) -> Done {
        let (name, token) = &target.session;
        let panes = match self.tmux.panes() {
            Ok(panes) => panes,
            Err(why) => return refused(&why),
        };
        let ours: Vec<_> = panes.into_iter().filter(|pane| pane.session == *name).collect();
        if ours.is_empty() || ours.iter().any(|pane| pane.token.as_deref() != Some(token.0.as_str())) {
            return refused("the session of that name does not carry the token that the database names");
        }
        let agents: Vec<Held> = ours
            .iter()
            .filter(|pane| !pane.dead)
            .filter_map(|pane| Held::of(identify(pane.pid)?).ok().flatten())
            .collect();
        if agents.is_empty() {
            return refused("no agent lived in the session");
        }
        let at = self.clock.now();
        if self.hand == Hand::Real
            && let Err(why) = self.tmux.kill_session(name)
        {
            return (Some(at), Err(why));
        }
        let deadline = Instant::now() + CONFIRM_WITHIN;
        let alive = agents.iter().filter(|agent| !agent.ended_by(deadline)).count();
        let listed = self.tmux.tokens().is_ok_and(|tokens| tokens.values().any(|listed| *listed == token.0));
        (
            Some(at),
            confirmed(alive == 0 && !listed, || {
                format!("{alive} of {} agents still live, and its token is {}listed", agents.len(), not(listed))
            }),
        )
    }

    /// Whoever asks for the orchestrator meanwhile waits: it is either there or being started.
    fn kill_orchestrator(&self, target: &Target) -> Done {
        let mut serve = self.serve.lock().unwrap_or_else(PoisonError::into_inner);
        let agents: Vec<&TargetRole> = target.roles.iter().filter(|role| is_alive(role.process)).collect();
        let at = self.clock.now();
        if self.hand == Hand::Idle {
            return (Some(at), Err("the orchestrator lives on".to_owned()));
        } else if let Err(why) = serve.kill() {
            return (Some(at), Err(why));
        }
        let deadline = Instant::now() + RESTART_WITHIN;
        let again = loop {
            // The lock may outlive the killed one by a moment; what that costs, counts.
            match self.orch.serve(&self.sandbox.dir().join("serve.log")) {
                Err(_) if Instant::now() < deadline => std::thread::sleep(RESTART_PAUSE),
                other => break other,
            }
        };
        match again {
            Ok(again) => *serve = again,
            Err(why) => return (Some(at), Err(why)),
        }
        let gone: Vec<&str> =
            agents.iter().filter(|role| !is_alive(role.process)).map(|role| role.name.0.as_str()).collect();
        (Some(at), confirmed(gone.is_empty(), || format!("agents died with it: {}", gone.join(", "))))
    }

    fn delete_claude_md(&self, role: &TargetRole) -> Done {
        let path = self.sandbox.home().join(&role.worktree).join("CLAUDE.md");
        // Held open from before: the path will be there again a moment later, but this inode will have no name.
        let file = match open(&path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            Err(error) => return refused(&format!("{}: {error}", path.display())),
        };
        if !fstat(&file).is_ok_and(|is| is.st_nlink == 1) {
            return refused("CLAUDE.md does not have exactly one name");
        }
        let at = self.clock.now();
        if self.hand == Hand::Real
            && let Err(error) = fs::remove_file(&path)
        {
            return (Some(at), Err(format!("{}: {error}", path.display())));
        }
        let gone = fstat(&file).is_ok_and(|is| is.st_nlink == 0);
        (Some(at), confirmed(gone, || "CLAUDE.md still has its name".to_owned()))
    }

    fn silence_agent(&self, target: &Target, role: &TargetRole) -> Done {
        let held = match Held::of(role.process) {
            Ok(Some(held)) => held,
            Ok(None) => return refused("its agent had ended already"),
            Err(error) => return refused(&error.to_string()),
        };
        let token = Environ::of(role.process.pid).and_then(|of| of.get("ORCH_INSTANCE").map(str::to_owned));
        if token.as_deref() != Some(role.token.0.as_str()) {
            return refused("the process does not carry the agent's token");
        }
        let at = self.clock.now();
        if self.hand == Hand::Real
            && let Err(error) = held.signal(Signal::USR1)
        {
            return (Some(at), Err(error.to_string()));
        }
        if !held.ended_by(Instant::now() + CONFIRM_WITHIN) {
            return (Some(at), Err("the agent still lives".to_owned()));
        }
        let name = format!("logs/{}/{}.e{}.stderr", target.slug, role.name, role.epoch);
        let written = fs::metadata(self.sandbox.home().join(name)).map_or(0, |is| is.len());
        (Some(at), confirmed(written == 0, || format!("the agent wrote {written} bytes to its standard error")))
    }

    /// Enqueues a project with its next `git worktree add` armed to fail.
    pub(super) fn enqueue_armed(&self, planned: &Planned) -> (Result<ProjectId, String>, Done) {
        let armed = self.sandbox.arm().join(format!("git-fail-{}", planned.id));
        let prepare = |next| if self.hand == Hand::Real { arm(&armed, next) } else { Ok(()) };
        let project = self.orch.enqueue_after(&self.sandbox.spec(planned.project), prepare);
        if let Err(why) = &project {
            let done = refused(why);
            return (project, done);
        }
        let claimed = self.sandbox.arm().join(format!("claimed-{}", planned.id));
        let mut claim = None;
        let within = if self.hand == Hand::Real { CLAIM_WITHIN } else { CONFIRM_WITHIN };
        let waited = self.stop.wait(Instant::now() + within, || {
            claim = claim_time(&claimed);
            claim.is_some()
        });
        if waited != Waited::Ready {
            // Disarmed, so that it does not hit somebody else later.
            let _ = fs::remove_file(&armed);
        }
        let done = match claim {
            Some(wall_us) => (Some(self.clock.at_wall(wall_us)), Ok(())),
            None => refused("no `git worktree add` claimed the armed fault"),
        };
        (project, done)
    }
}

/// Armed for that project's branches alone: the worktrees of another may be made in the same moment. Renamed into
/// place, so that nobody reads half of it.
fn arm(armed: &Path, project: ProjectId) -> Result<(), String> {
    let half: PathBuf = armed.with_extension("half");
    let made = fs::write(&half, format!("-b orch/p{project}-\n")).and_then(|()| fs::rename(&half, armed));
    made.map_err(|error| format!("{}: {error}", armed.display()))
}

/// When the fault was claimed, in microseconds of the wall clock: what the shim wrote just before it failed.
fn claim_time(claimed: &Path) -> Option<u64> {
    let text = fs::read_to_string(claimed).ok()?;
    let line = text.lines().find(|line| line.contains(" pid="))?;
    let (seconds, fraction) = line.split_whitespace().next()?.split_once('.')?;
    let micros = format!("{fraction:0<6}").get(..6)?.parse::<u64>().ok()?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + micros)
}

fn refused(why: &str) -> Done {
    (None, Err(why.to_owned()))
}

fn confirmed(seen: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if seen { Ok(()) } else { Err(otherwise()) }
}

fn not(is: bool) -> &'static str {
    if is { "" } else { "not " }
}

/// HEAD of the repository that a program lies in, if it lies in one.
pub(super) fn commit_of(program: &Path) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(program.parent()?).args(["rev-parse", "HEAD"]);
    let said = run(&mut command, CONFIRM_WITHIN).ok()?.ok("git").ok()?;
    Some(said.trim().to_owned()).filter(|head| !head.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_of_a_claim_is_read_to_the_microsecond() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("claimed-1");
        fs::write(&path, "worktree add\n").expect("written");
        assert_eq!(claim_time(&path), None);
        fs::write(&path, "worktree add\n1760000000.123456789 pid=7 argv=worktree add x\n").expect("written");
        assert_eq!(claim_time(&path), Some(1_760_000_000_123_456));
        fs::write(&path, "1760000000.5 pid=7 argv=x\n").expect("written");
        assert_eq!(claim_time(&path), Some(1_760_000_000_500_000));
    }
}
