//! The run's own corner of the world: one temporary folder that holds everything, with nothing outside it.

use super::command::run;
use crate::schedule::Schedule;
use orchestrator::domain::id::RoleName;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The variable that marks every process of a run.
pub(super) const MARK: &str = "CHAOS_RUN";
/// The file in a sandbox that holds its mark; a folder without it is nobody's sandbox and is never removed.
const MARK_FILE: &str = "mark";
/// The beginning of every sandbox's name.
const PREFIX: &str = "orch-chaos-";
/// Bytes of a path of a socket that every system takes; beyond it the orchestrator would place its socket elsewhere.
const SOCKET_BYTES_MAX: usize = 100;
/// How long one git command of the set-up may take.
const GIT_DEADLINE: Duration = Duration::from_secs(30);

const WORKER: &str = include_str!("../../../fixtures/agents/worker.sh");
const GIT_SHIM: &str = include_str!("../../../fixtures/bin/git-shim.sh");

/// What an agent has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    /// Steps, each a commit.
    pub(super) steps: u64,
    /// The pause after each.
    pub(super) step_ms: u64,
    /// Whether it then waits until the agents are let finish.
    pub(super) waits: bool,
}

impl Default for Work {
    fn default() -> Self {
        Self { steps: 2, step_ms: 300, waits: true }
    }
}

/// The folder of a run.
#[derive(Debug)]
pub(super) struct Sandbox {
    dir: PathBuf,
    mark: String,
    roles: Vec<RoleName>,
    real_git: PathBuf,
}

impl Sandbox {
    /// Makes the folder with the agent, the shim, the repositories and the specs that a schedule needs.
    pub(super) fn create(schedule: &Schedule) -> Result<Self, String> {
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir().map_err(|error| error.to_string())?;
        // From here on the folder is removed by name, by this process or by its guard.
        let dir = made.keep();
        let mark = mark()?;
        let roles = (1..=schedule.roles).map(|role| RoleName(format!("role-{role}"))).collect();
        let sandbox = Self { dir, mark, roles, real_git: found_git()? };
        let furnished = sandbox.furnish(schedule);
        if furnished.is_err() {
            // Half a sandbox is of no use to anybody; that it could not be removed is the lesser trouble.
            let _ = fs::remove_dir_all(&sandbox.dir);
        }
        furnished.map(|()| sandbox)
    }

    fn furnish(&self, schedule: &Schedule) -> Result<(), String> {
        let socket = self.socket();
        if socket.as_os_str().len() > SOCKET_BYTES_MAX {
            return Err(format!("{}: too long for a socket; set TMPDIR to a shorter place", socket.display()));
        }
        refuse_default_socket(&socket)?;
        put(&self.dir.join(MARK_FILE), &self.mark, 0o600)?;
        for folder in ["agents", "bin", "arm", "repos", "specs"] {
            fs::create_dir(self.dir.join(folder)).map_err(|error| format!("{folder}: {error}"))?;
        }
        put(&self.dir.join("agents/worker.sh"), WORKER, 0o700)?;
        put(&self.dir.join("agents/git-shim.sh"), GIT_SHIM, 0o700)?;
        // The shim's settings are written into it: whoever starts it with a cleared environment still gets git.
        let shim = self.dir.join("agents/git-shim.sh");
        let (real, arm, shim) = (quoted(&self.real_git)?, quoted(&self.arm())?, quoted(&shim)?);
        let git = format!("#!/bin/sh\nexport CHAOS_REAL_GIT={real} CHAOS_GIT_ARM={arm}\nexec {shim} \"$@\"\n");
        put(&self.bin().join("git"), &git, 0o700)?;
        for project in 0..schedule.projects {
            self.repository(project)?;
            put(&self.spec(project), &self.spec_text(project, &Work::default()), 0o600)?;
        }
        Ok(())
    }

    /// A repository with two commits, as a project would have.
    fn repository(&self, project: u32) -> Result<(), String> {
        let repo = self.repo(project);
        fs::create_dir(&repo).map_err(|error| error.to_string())?;
        self.git(&repo, &["init", "-q", "-b", "main"])?;
        for (name, text) in [("README.md", "# A project\n"), ("notes.txt", "work is done beside this file\n")] {
            put(&repo.join(name), text, 0o600)?;
            self.git(&repo, &["add", name])?;
            self.git(&repo, &["commit", "-q", "-m", &format!("Add {name}")])?;
        }
        Ok(())
    }

    /// Runs the real git, with nothing of the user's configuration.
    pub(super) fn git(&self, repo: &Path, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.real_git);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").arg("-C").arg(repo);
        command.args(["-c", "user.name=chaos", "-c", "user.email=chaos@example.invalid"]);
        run(command.args(args), GIT_DEADLINE)?.ok(&format!("git {}", args.first().unwrap_or(&"")))
    }

    /// One more spec, of other work in the repository of that project; where it lies.
    pub(super) fn write_spec(&self, number: u64, project: u32, work: &Work) -> Result<PathBuf, String> {
        let path = self.dir.join(format!("specs/work-{number}.toml"));
        put(&path, &self.spec_text(project, work), 0o600)?;
        Ok(path)
    }

    fn spec_text(&self, project: u32, work: &Work) -> String {
        let text = |path: &Path| path.display().to_string();
        let Work { steps, step_ms, waits } = work;
        let gate = if *waits { format!("wait-for: {}\n", text(&self.gate())) } else { String::new() };
        let brief =
            format!("# Work of project {project}\n\nwork-steps: {steps}\nstep-ms: {step_ms}\n{gate}finish: done\n");
        let role = |name: &RoleName| {
            let claude_md = format!("# {name}\n\nYou are {name} of project {project}. Commit small steps.\n");
            format!(
                "\n[[role]]\nname = {}\ncommand = [\"sh\", {}]\nclaude_md_text = {}\nprogress = true\n",
                toml(&name.0),
                toml(&text(&self.dir.join("agents/worker.sh"))),
                toml(&claude_md)
            )
        };
        let roles: String = self.roles.iter().map(role).collect();
        let title = toml(&format!("Chaos project {project}"));
        let repo = toml(&text(&self.repo(project)));
        format!("title = {title}\nrepo = {repo}\nbrief_text = {}\nbatch = \"chaos\"\n{roles}", toml(&brief))
    }

    /// The orchestrator's settings: everything at once, and the mark handed on to every agent.
    pub(super) fn config_text(&self, schedule: &Schedule) -> String {
        format!("allow_env = [\"{MARK}\"]\n\n[policy]\nmax_active = {}\n", schedule.projects)
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What marks its processes: nobody can guess it, so nothing else carries it.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// The roles of each of its projects.
    pub(super) fn roles(&self) -> &[RoleName] {
        &self.roles
    }

    /// The installation.
    pub(super) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// The installation's tmux socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.home().join("tmux.sock")
    }

    /// What comes first on the orchestrator's PATH.
    pub(super) fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// Where failures of git are armed.
    pub(super) fn arm(&self) -> PathBuf {
        self.dir.join("arm")
    }

    /// What agents wait for before they finish.
    pub(super) fn gate(&self) -> PathBuf {
        self.dir.join("gate")
    }

    /// A project's repository.
    pub(super) fn repo(&self, project: u32) -> PathBuf {
        self.dir.join(format!("repos/project-{project}"))
    }

    /// A project's spec.
    pub(super) fn spec(&self, project: u32) -> PathBuf {
        self.dir.join(format!("specs/project-{project}.toml"))
    }

    /// Lets the agents finish.
    pub(super) fn release(&self) -> Result<(), String> {
        put(&self.gate(), "", 0o600)
    }
}

/// Removes a sandbox, if it is the one with that mark.
pub(super) fn remove(dir: &Path, mark: &str) -> Result<(), String> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let marked = fs::read_to_string(dir.join(MARK_FILE));
    match marked {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !dir.exists() => return Ok(()),
        Ok(found) if found == mark && name.starts_with(PREFIX) => {}
        Ok(_) | Err(_) => return Err(format!("{}: not the sandbox of this run; left alone", dir.display())),
    }
    // The mark goes last, so that an interrupted removal can be gone on with.
    for entry in fs::read_dir(dir).map_err(|error| error.to_string())?.flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|name| name != MARK_FILE) {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    fs::remove_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))
}

/// 128 bits in hexadecimal.
fn mark() -> Result<String, String> {
    let (high, low) = (crate::seed::entropy()?, crate::seed::entropy()?);
    Ok(format!("{high:016x}{low:016x}"))
}

/// The git that the shim becomes.
pub(super) fn found_git() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("git"))
        .find(|git| fs::metadata(git).is_ok_and(|is| is.is_file() && is.permissions().mode() & 0o111 != 0))
        .ok_or_else(|| "git is not on PATH".to_owned())
}

/// A run never touches the server that the user works on.
fn refuse_default_socket(socket: &Path) -> Result<(), String> {
    let of_tmux = std::env::var_os("TMUX").map(PathBuf::from);
    let base = std::env::var_os("TMUX_TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let default = base.join(format!("tmux-{}/default", rustix::process::getuid().as_raw()));
    let inside = of_tmux.is_some_and(|tmux| tmux.to_string_lossy().split(',').next() == socket.to_str());
    if inside || socket == default { Err("the user's own tmux socket is not to be used".to_owned()) } else { Ok(()) }
}

fn put(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    fs::write(path, text).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

/// As one word of a shell script.
fn quoted(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("{}: not UTF-8", path.display()))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// As a TOML string: JSON's escapes are TOML's too.
fn toml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Mode;
    use crate::seed::Seed;

    fn schedule() -> Schedule {
        Schedule {
            version: 1,
            seed: Seed(1),
            mode: Mode::Live,
            duration_ms: 30_000,
            control_ms: 1_000,
            projects: 2,
            roles: 2,
            faults: Vec::new(),
            setting: crate::setting::Setting::default(),
            story: None,
            violates: None,
            expected: None,
        }
    }

    #[test]
    fn a_sandbox_has_real_repositories_and_specs_that_the_orchestrator_reads() {
        let sandbox = Sandbox::create(&schedule()).expect("a sandbox");
        let log = sandbox.git(&sandbox.repo(1), &["log", "--format=%s"]).expect("git");
        assert_eq!(log, "Add notes.txt\nAdd README.md\n");
        let draft = orchestrator::validate::spec::read_spec(&sandbox.spec(1));
        remove(sandbox.dir(), sandbox.mark()).expect("removed");
        assert!(!sandbox.dir().exists());
        let draft = draft.expect("a spec");
        assert_eq!(draft.roles.len(), 2);
    }

    #[test]
    fn an_armed_git_fails_once_and_without_a_word() {
        let sandbox = Sandbox::create(&schedule()).expect("a sandbox");
        let mut git = Command::new(sandbox.bin().join("git"));
        git.env_clear().env("PATH", "/usr/bin:/bin").arg("-C").arg(sandbox.repo(0));
        let tree = sandbox.dir().join("tree").display().to_string();
        git.args(["worktree", "add", "-q", "-b", "b", &tree]);
        fs::write(sandbox.arm().join("git-fail-7"), "").expect("armed");
        let first = run(&mut git, GIT_DEADLINE).expect("it ran");
        let claimed = fs::read_to_string(sandbox.arm().join("claimed-7"));
        let second = run(&mut git, GIT_DEADLINE).expect("it ran");
        remove(sandbox.dir(), sandbox.mark()).expect("removed");
        assert_eq!((first.status.code(), first.stderr.as_str()), (Some(128), ""));
        assert!(claimed.is_ok_and(|text| text.contains("pid=")));
        assert!(second.status.success(), "{second:?}");
    }

    #[test]
    fn what_is_not_this_runs_sandbox_is_left_alone() {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a folder");
        assert!(remove(dir.path(), "mark").is_err());
        fs::write(dir.path().join(MARK_FILE), "other").expect("written");
        assert!(remove(dir.path(), "mark").is_err());
        assert!(dir.path().exists());
        assert_eq!(remove(Path::new("/no/such/orch-chaos-x"), "mark"), Ok(()));
    }

    #[test]
    fn the_users_own_socket_is_refused() {
        let base = std::env::var_os("TMUX_TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let default = base.join(format!("tmux-{}/default", rustix::process::getuid().as_raw()));
        assert!(refuse_default_socket(&default).is_err());
        assert!(refuse_default_socket(Path::new("/tmp/own/sock")).is_ok());
    }
}
