//! Starting an agent as its pane's own process.
//!
//! tmux starts `orch agent exec --manifest FILE`; that process checks its ground, takes its place and becomes the
//! agent by exec, so the pane's process *is* the agent (DESIGN.md, section 6). Outside text (command, environment,
//! paths of users) never passes through tmux: it is in the manifest (G16).

use super::{Places, World};
use crate::domain::effect::Launch;
use crate::domain::limits;
use crate::domain::project::Pin;
use crate::domain::trace;
use crate::env::files::{self, Found, InspectLimits};
use crate::env::process::INSTANCE_VARIABLE;
use crate::env::tmux::LaunchPane;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use thiserror::Error;

/// Everything the launcher needs; a private file, since it holds the agent's command line and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The agent's argument vector.
    pub argv: Vec<String>,
    /// Its environment, over what the tmux server passes on.
    pub env: BTreeMap<String, String>,
    /// Its worktree.
    pub cwd: PathBuf,
    /// What CLAUDE.md must be.
    pub claude_md: Pin,
    /// The file that takes its standard error.
    pub stderr: PathBuf,
}

/// Why an agent could not be started; printed into its standard error file and onto its pane.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The manifest cannot be read.
    #[error("read the manifest {path}: {source}")]
    Manifest {
        /// Which.
        path: PathBuf,
        /// The system's words, or the parser's.
        source: std::io::Error,
    },
    /// The worktree cannot be entered.
    #[error("enter the worktree {path}: {source}")]
    Worktree {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// CLAUDE.md is not what was pinned.
    #[error("CLAUDE.md in {path} is not what was written there: {found}")]
    ClaudeMd {
        /// Where.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// CLAUDE.md could not be read just now, for want of descriptors or memory of our own; nothing is known of it.
    #[error("CLAUDE.md in {path} cannot be read just now: {why}")]
    NotNow {
        /// Where.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// Its standard error cannot be kept.
    #[error("open {path} for standard error: {source}")]
    Stderr {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The program cannot be started.
    #[error("start {program}: {source}")]
    Exec {
        /// Which.
        program: String,
        /// The system's words.
        source: std::io::Error,
    },
}

impl LaunchError {
    /// The exit code: 75 (EX_TEMPFAIL) for a lack of our own, 127 and 126 as shells use them, 78 (EX_CONFIG) for ground
    /// that is not as it must be.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::NotNow { .. } => 75,
            Self::Manifest { source, .. }
            | Self::Worktree { source, .. }
            | Self::Stderr { source, .. }
            | Self::Exec { source, .. }
                if files::lacking(source) =>
            {
                75
            }
            Self::Exec { source, .. } if source.kind() == std::io::ErrorKind::NotFound => 127,
            Self::Exec { .. } => 126,
            Self::Manifest { .. } | Self::Worktree { .. } | Self::ClaudeMd { .. } | Self::Stderr { .. } => 78,
        }
    }
}

/// Becomes the agent; returns only if that failed.
#[must_use]
pub fn exec(manifest: &Path) -> LaunchError {
    match prepared(manifest) {
        Ok((manifest, stderr)) => become_agent(&manifest, stderr),
        Err(error) => error,
    }
}

fn prepared(path: &Path) -> Result<(Manifest, File), LaunchError> {
    let unreadable = |source| LaunchError::Manifest { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| unreadable(error.into()))?;
    // It has served: what it holds is the agent's own environment, and nobody reads it again. A launch that is ordered
    // again writes it again.
    drop(std::fs::remove_file(path));
    let mut stderr = open_stderr(&manifest.stderr)?;
    let checked = check(&manifest);
    if let Err(error) = &checked {
        // The file is what the orchestrator reads as evidence; the pane shows it to people.
        drop(writeln!(stderr, "orch: cannot start the agent: {error}"));
    }
    checked.map(|()| (manifest, stderr))
}

fn open_stderr(path: &Path) -> Result<File, LaunchError> {
    let failed = |source| LaunchError::Stderr { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed)
}

/// The launcher enters the worktree itself, since tmux would start elsewhere without a word (T14), and looks at
/// CLAUDE.md once more, since it may have changed since it was verified (B72).
fn check(manifest: &Manifest) -> Result<(), LaunchError> {
    std::env::set_current_dir(&manifest.cwd)
        .map_err(|source| LaunchError::Worktree { path: manifest.cwd.clone(), source })?;
    let limits = InspectLimits { bytes_max: limits::CLAUDE_MD_BYTES_MAX };
    let (path, pin) = (manifest.cwd.clone(), &manifest.claude_md);
    match files::inspect(&path.join("CLAUDE.md"), limits) {
        Found::Regular { size, sha256, .. } if (size, &sha256) == (pin.size, &pin.sha256) => Ok(()),
        Found::NotNow { why } => Err(LaunchError::NotNow { path, why }),
        found @ (Found::Regular { .. }
        | Found::Missing
        | Found::Symlink { .. }
        | Found::Directory
        | Found::Special { .. }
        | Found::Unreadable { .. }
        | Found::TooLarge { .. }) => Err(LaunchError::ClaudeMd { path, found: format!("{found:?}") }),
    }
}

fn become_agent(manifest: &Manifest, stderr: File) -> LaunchError {
    let program = manifest.argv.first().cloned().unwrap_or_default();
    let mut said = match stderr.try_clone() {
        Ok(said) => said,
        Err(source) => return LaunchError::Stderr { path: manifest.stderr.clone(), source },
    };
    let source = Command::new(&program).args(manifest.argv.iter().skip(1)).envs(&manifest.env).stderr(stderr).exec();
    let error = LaunchError::Exec { program, source };
    drop(writeln!(said, "orch: cannot start the agent: {error}"));
    error
}

/// What an agent's environment has beyond what the tmux server passes on.
fn environment(places: &Places, launch: &Launch) -> BTreeMap<String, String> {
    let mut env = launch.env.clone();
    let mut put = |name: &str, value: String| env.insert(name.to_owned(), value);
    put("ORCH_PROJECT", launch.project.to_string());
    put("ORCH_ROLE", launch.role.to_string());
    put("ORCH_EPOCH", launch.epoch.to_string());
    put(INSTANCE_VARIABLE, launch.token.to_string());
    put("ORCH_SPOOL", places.spool.display().to_string());
    put("ORCH_BIN", places.orch.display().to_string());
    // The token must not be in it: tracing back-ends hand trace ids around.
    put("TRACEPARENT", trace::traceparent(&places.installation, launch.project, launch.epoch));
    env
}

/// Where its manifest is, relative to the installation.
fn name(launch: &Launch) -> String {
    format!("run/launch/{}.{}.e{}.json", launch.project, launch.role, launch.epoch)
}

/// Writes the manifest that the launcher reads and takes away: only for a launch that is about to be started, since it
/// holds the agent's environment.
pub(super) fn write_manifest(world: &World, launch: &Launch) -> std::io::Result<()> {
    let places = &world.places;
    let env = environment(places, launch);
    let manifest = Manifest {
        argv: launch.argv.clone(),
        env,
        cwd: world.path(&launch.worktree),
        claude_md: launch.claude_md.clone(),
        stderr: world.path(&launch.stderr),
    };
    let text = serde_json::to_vec(&manifest)?;
    files::write_atomic(&places.home, Path::new(&name(launch)), &text, 0o600)
}

/// Takes a manifest away that no launcher will read; what cannot be taken away now is with the hourly clean-up.
pub(super) fn forget_manifest(world: &World, launch: &Launch) {
    if let Err(error) = std::fs::remove_file(world.path(&name(launch))) {
        tracing::warn!(role = %launch.role, %error, "a manifest that nobody reads was left");
    }
}

/// How tmux is to start the launcher.
pub(super) fn pane(world: &World, launch: &Launch) -> LaunchPane {
    let mut argv = vec![world.places.orch.display().to_string()];
    argv.extend(["agent", "exec", "--manifest"].map(str::to_owned));
    argv.push(world.path(&name(launch)).display().to_string());
    LaunchPane {
        window: launch.role.to_string(),
        token: launch.token.to_string(),
        env: vec![(INSTANCE_VARIABLE.to_owned(), launch.token.to_string())],
        argv,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Epoch, ProjectId, RoleName, Token};
    use crate::env::git::Git;
    use crate::env::scarce;
    use crate::env::tmux::TmuxConfig;
    use std::time::Duration;

    #[test]
    fn the_manifest_goes_with_its_launch() {
        let dir = tempfile::tempdir().expect("a directory");
        let manifest = Manifest {
            argv: vec!["true".to_owned()],
            env: BTreeMap::from([("SECRET".to_owned(), "s3cret".to_owned())]),
            cwd: dir.path().join("none"),
            claude_md: Pin { size: 0, sha256: String::new() },
            stderr: dir.path().join("stderr"),
        };
        let path = dir.path().join("7.developer.e1.json");
        std::fs::write(&path, serde_json::to_vec(&manifest).expect("JSON")).expect("written");
        assert!(matches!(prepared(&path), Err(LaunchError::Worktree { .. })));
        assert!(!path.exists(), "also of a launch that failed");
    }

    #[test]
    fn without_descriptors_no_ground_is_found_wrong() {
        if !scarce::is_here("env::live::launcher::tests::without_descriptors_no_ground_is_found_wrong") {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let claude_md = dir.path().join("CLAUDE.md");
        std::fs::write(&claude_md, "Be good.").expect("written");
        let found = files::inspect(&claude_md, InspectLimits { bytes_max: 8 });
        let Found::Regular { size, sha256, .. } = found else { panic!("{found:?}") };
        let manifest = Manifest {
            argv: vec!["true".to_owned()],
            env: BTreeMap::new(),
            cwd: dir.path().to_owned(),
            claude_md: Pin { size, sha256 },
            stderr: dir.path().join("stderr"),
        };
        let path = dir.path().join("7.developer.e1.json");
        let text = serde_json::to_vec(&manifest).expect("JSON");
        std::fs::write(&path, &text).expect("written");
        let mut taken = scarce::take_all();
        for free in 0..4 {
            let error = prepared(&path).err();
            assert!(error.as_ref().is_none_or(|error| error.code() == 75), "with {free} descriptors left: {error:?}");
            let checked = check(&manifest).err();
            assert!(checked.as_ref().is_none_or(|error| error.code() == 75), "with {free} left: {checked:?}");
            drop(taken.pop());
            std::fs::write(&path, &text).expect("written again");
        }
        assert!(prepared(&path).is_ok());
    }

    #[test]
    fn an_agent_joins_its_projects_trace_and_its_token_stays_out_of_it() {
        let deadline = Duration::from_secs(1);
        let places = Places {
            home: PathBuf::from("/h"),
            spool: PathBuf::from("/h/spool"),
            orch: PathBuf::from("/bin/orch"),
            installation: "ab12".to_owned(),
            tmux: TmuxConfig { program: "tmux".into(), socket: "/h/s".into(), env: Vec::new(), deadline },
            git: Git { program: "git".into(), deadline, marker: None },
        };
        let token = "0123456789abcdef0123456789abcdef";
        let launch = Launch {
            role: RoleName("developer".to_owned()),
            project: ProjectId(7),
            epoch: Epoch(2),
            token: Token(token.to_owned()),
            worktree: "w".to_owned(),
            claude_md: Pin { size: 0, sha256: String::new() },
            stderr: "e".to_owned(),
            again: false,
            argv: vec!["claude".to_owned()],
            env: BTreeMap::from([("TRACEPARENT".to_owned(), "the user's".to_owned())]),
        };
        let env = environment(&places, &launch);
        assert_eq!(env["TRACEPARENT"], trace::traceparent("ab12", ProjectId(7), Epoch(2)));
        assert!(env.iter().all(|(name, value)| name == INSTANCE_VARIABLE || !value.contains(&token[..16])), "{env:?}");
    }
}
