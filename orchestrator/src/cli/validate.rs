//! `orch validate SPEC`: whether `orch enqueue` would accept it; nothing is accepted or changed.

use super::exit::CliError;
use super::output;
use crate::config::{Config, Home};
use crate::domain::spec::Spec;
use crate::runtime;
use crate::telemetry::text::escape;
use std::path::PathBuf;

/// The command line of `orch validate`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The spec: a TOML file; paths in it are relative to its own folder
    #[arg(value_name = "SPEC")]
    pub spec: PathBuf,
}

/// Says in one line what would be accepted. Without an installation, git is the one on PATH.
///
/// # Errors
/// The first thing that is wrong with the spec, a file it names, or its repository.
pub fn run(args: &Args, home: Option<&Home>) -> Result<(), CliError> {
    let config = home.map(Config::load).transpose()?.unwrap_or_default();
    let spec = runtime::examine(&config, &args.spec)?;
    output::print(&words(&spec))
}

fn words(spec: &Spec) -> String {
    let roles: Vec<&str> = spec.roles.iter().map(|role| role.name.0.as_str()).collect();
    let sha: String = spec.base_sha.chars().take(12).collect();
    let (title, repo) = (escape(&spec.title), escape(&spec.repo));
    format!("sound: {title}; roles: {}; base {sha} of {repo}\n", roles.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::cli::exit::Exit;
    use crate::cli::{self, testing};
    use std::process::Command;

    #[test]
    fn a_sound_spec_is_said_to_be_one() {
        let spec = testing::spec("évil \u{1b}[2J", &["developer", "tester"]);
        insta::assert_snapshot!(super::words(&spec), @r"sound: évil \u{1b}[2J; roles: developer, tester; base 0123456789ab of /srv/mobile-app");
    }

    #[test]
    fn a_spec_is_judged_as_enqueue_would_and_nothing_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, spec) = (dir.path().join("repo"), dir.path().join("spec.toml"));
        let git = |words: &[&str]| {
            let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
            let done = Command::new("git").arg("-C").arg(dir.path()).args(identity).args(words).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        };
        git(&["init", "-q", "repo"]);
        git(&["-C", "repo", "commit", "-q", "--allow-empty", "-m", "x"]);
        let write = |base: &str| {
            let role = "[[role]]\nname = \"developer\"\ncommand = [\"sh\"]\nclaude_md_text = \"Be good.\"\n";
            let text = format!("title = \"T\"\nrepo = \"repo\"\nbase = \"{base}\"\nbrief_text = \"B\"\n{role}");
            std::fs::write(&spec, text).unwrap();
            cli::run(["orch", "validate", spec.to_str().unwrap()])
        };
        assert_eq!(write("HEAD"), Exit::Ok);
        assert_eq!(write("no-such-branch"), Exit::Data);
        std::fs::write(&spec, "title = 7\n").unwrap();
        assert_eq!(cli::run(["orch", "validate", spec.to_str().unwrap()]), Exit::Data);
        assert_eq!(cli::run(["orch", "validate", dir.path().join("none").to_str().unwrap()]), Exit::Data);
        assert!(repo.is_dir());
        assert!(!dir.path().join(".orch").exists());
    }
}
