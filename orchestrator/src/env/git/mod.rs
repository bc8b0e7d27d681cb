//! git: repositories inspected, worktrees made sure of, heads read. Every call is a process of [`super::process`].
//!
//! Invariants:
//! - INV-G1: nothing of the repository runs on our account, and nothing of our environment leads git elsewhere: no
//!   hooks (B62), no fsmonitor, no `GIT_*` but those that say how to reach remotes and which configuration to read.
//! - INV-G2: no lock of git's is ever deleted (B49), no directory removed that is not provably the husk of a killed
//!   `git worktree add` of ours (platform facts, "git": registered, locked `initializing`, at our path). Whatever else
//!   is in the way at our path is moved aside with all that is in it (`git/park.rs`).
//! - INV-G3: [`Git::ensure_worktree`] may be repeated after a crash at any point and ends in the same state.
//!
//! The stage in every failure is `Provision`; a caller at another stage sets it.

mod link;
mod park;

pub use link::{LinkError, dir_of, worktree_linked};

use super::run::{Keep, Run, RunBytes, run_bytes};
use crate::domain::failure::{Ending, Failure, FailureKind, Program, Stage};
use link::{common_dir, linked_git_dir, proved};
use park::not_known;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// The most output that is parsed: about 40,000 worktrees, or the head of any status.
const OUTPUT_BYTES_MAX: usize = 8 << 20;

/// How long the first pause is after another git held a lock; it doubles up to [`LOCK_PAUSE_MAX`].
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between two attempts against a lock.
const LOCK_PAUSE_MAX: Duration = Duration::from_millis(320);

/// The reason with which `git worktree add` locks what it is still filling (as git says it under `LC_ALL=C`).
const INITIALIZING: &str = "initializing";

/// `GIT_*` variables that git may inherit: how to reach remotes (partial clones fetch at checkout), where its own
/// programs are, and which configuration to read. All others could lead it to another repository, index or output.
const INHERITED: [&str; 8] = [
    "GIT_ASKPASS",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
];

const STATUS: [&str; 7] = ["status", "--porcelain=v2", "--branch", "-z", "--", ".", ":(exclude)CLAUDE.md"];

/// How git is run.
#[derive(Debug, Clone)]
pub struct Git {
    /// The program: a path, or a name to be found on PATH.
    pub program: PathBuf,
    /// How long one git process may take; also how long [`Git::ensure_worktree`] tries against a lock.
    pub deadline: Duration,
    /// A variable to be put on every git process, so that one that outlives a crash of ours is found by it
    /// ([`super::process::find_by_token`] looks for [`super::process::INSTANCE_VARIABLE`]).
    pub marker: Option<(String, String)>,
}

/// A repository that worktrees can be made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// The top of its work tree, canonical (B54).
    pub root: PathBuf,
    /// The commit that HEAD is at.
    pub head_sha: String,
    /// Where refs and worktree registrations are, absolute.
    pub git_common_dir: PathBuf,
}

/// Which worktree there should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorktreeSpec {
    /// The repository, as [`Git::inspect_repo`] gave its root.
    pub repo: PathBuf,
    /// Where: absolute, with no symlink in it; it may be missing, with its parents, or an empty directory.
    pub path: PathBuf,
    /// On which branch: `orch/<slug>/<role>/e<epoch>`.
    pub branch: String,
    /// What a new branch starts at: a commit id or any revision.
    pub base: String,
    /// Where what stands in the way is moved to: absolute, on the same file system, made if it is missing.
    pub park: PathBuf,
}

/// A worktree that was made, or was confirmed to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorktreeFact {
    /// Where it is.
    pub path: PathBuf,
    /// The branch it is on.
    pub branch: String,
    /// The commit it is at.
    pub head_sha: String,
    /// Whether this call made it.
    pub created: bool,
    /// Where this call moved what stood in the way.
    pub parked: Vec<PathBuf>,
}

/// What a worktree is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadFact {
    /// The commit.
    pub sha: String,
    /// The branch; `None` if HEAD is detached.
    pub branch: Option<String>,
    /// Whether anything is modified, staged, in conflict or untracked (ignored files do not count).
    pub dirty: bool,
}

/// One entry of `git worktree list`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Registered {
    path: PathBuf,
    branch: Option<String>,
    locked: Option<String>,
}

impl Git {
    /// Finds the repository at `path` and checks that worktrees can be made from it.
    ///
    /// # Errors
    /// Kind `Invalid`, with what to do about it as the hint: "not a git repository: PATH" (B45), "repository is
    /// bare" (B46), "repository has no commit" (B47); git's own words stay in stderr (B63). Other kinds as
    /// [`super::process::run`].
    pub async fn inspect_repo(&self, path: &Path) -> Result<Repo, Failure> {
        let shown = path.display().to_string();
        let canonical = std::fs::canonicalize(path).map_err(|error| {
            let mut failure = refusal(&["inspect_repo", &shown], FailureKind::Invalid, error.to_string());
            failure.hint = Some(format!("not a git repository: {shown}"));
            failure
        })?;
        let arguments = [
            "rev-parse",
            "--is-bare-repository",
            "--path-format=absolute",
            "--git-common-dir",
            "--show-toplevel",
            "HEAD^{commit}",
        ];
        let done = self.call(&canonical, &arguments).await.map_err(|failure| explain_repo(failure, &shown))?;
        let lines: Vec<&str> = done.trim_end_matches('\n').split('\n').collect();
        let [_bare, common_dir, root, head] = lines[..] else {
            let why = format!("git answered with {} lines instead of 4: is there a newline in the path?", lines.len());
            return Err(refusal(&["inspect_repo", &shown], FailureKind::Invalid, why));
        };
        Ok(Repo { root: root.into(), head_sha: head.to_owned(), git_common_dir: common_dir.into() })
    }

    /// The commit that `rev` names in `repo`.
    ///
    /// # Errors
    /// As [`super::process::run`]; a revision that names no commit exits with code 128.
    pub async fn resolve(&self, repo: &Path, rev: &str) -> Result<String, Failure> {
        let commit = format!("{rev}^{{commit}}");
        let done = self.call(repo, &["rev-parse", "--verify", "--end-of-options", &commit]).await;
        let sha = done.map_err(|failure| hinted(failure, format!("{rev} names no commit of {}", repo.display())))?;
        Ok(sha.trim().to_owned())
    }

    /// What a worktree is at, by one process, without taking the index lock from the agent that works there.
    ///
    /// # Errors
    /// As [`super::process::run`]; `WorktreeInvalid` if HEAD names no commit.
    pub async fn head(&self, worktree: &Path) -> Result<HeadFact, Failure> {
        // CLAUDE.md is ours and always differs; what is left uncommitted beside it is the agent's.
        let done = self.bytes(worktree, &STATUS, false).await?;
        let text = String::from_utf8_lossy(&done.stdout);
        head_of(&text).ok_or_else(|| {
            let what = ["head", &worktree.display().to_string()];
            refusal(&what, FailureKind::WorktreeInvalid, "HEAD names no commit".to_owned())
        })
    }

    /// Makes sure that there is this worktree, on this branch, checked out completely.
    ///
    /// One that is there is confirmed and not touched. The husk of a killed `git worktree add` is removed and made
    /// anew, a registration whose directory is gone is dropped, a branch that exists keeps its commits. What else
    /// stands at the path (files, a worktree on another branch or with a broken HEAD) is parked, and so is a worktree
    /// of the same folder that holds the branch. Another git's lock is waited for within the deadline. A `git worktree
    /// add` that is still at work looks like a husk: there must be one call per path at a time, and after a crash of
    /// ours what carries [`Git::marker`] must have been ended first.
    ///
    /// # Errors
    /// `WorktreeInvalid` when it is refused, naming what is in the way: a symlink (B53), a worktree that is locked,
    /// with the lock's reason, a branch checked out in another folder (B50). Otherwise as [`super::process::run`], with
    /// a hint for a lock that stayed (B49) and for branches that exclude each other (B51). What was parked by then stays
    /// parked.
    pub async fn ensure_worktree(&self, w: &WorktreeSpec) -> Result<WorktreeFact, Failure> {
        check_spec(w).map_err(|why| in_the_way(w, why))?;
        let begun = Instant::now();
        let mut pause = LOCK_PAUSE;
        let mut parked = Vec::new();
        loop {
            match self.try_worktree(w, &mut parked).await {
                Err(failure) if is_contention(&failure) && begun.elapsed() + pause < self.deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LOCK_PAUSE_MAX);
                }
                Err(failure) if is_contention(&failure) => {
                    let hint = format!("another git process holds {}, or a dead one left it", contended(&failure));
                    return Err(hinted(failure, hint));
                }
                Err(failure) if failure.stderr.text().is_some_and(|text| text.contains("exists; cannot create")) => {
                    let hint = format!("an existing branch is in the way of {}: rename it", w.branch);
                    return Err(hinted(failure, hint));
                }
                done => return done.map(|fact| WorktreeFact { parked, ..fact }),
            }
        }
    }

    async fn try_worktree(&self, w: &WorktreeSpec, parked: &mut Vec<PathBuf>) -> Result<WorktreeFact, Failure> {
        let list = self.list(&w.repo).await?;
        let branch_ref = format!("refs/heads/{}", w.branch);
        let path = utf8(&w.path).map_err(|why| in_the_way(w, why))?;
        if let Some(ours) = list.iter().find(|entry| entry.path == w.path) {
            let husk = ours.locked.as_deref().map(str::trim) == Some(INITIALIZING);
            let there = w.path.symlink_metadata().is_ok();
            if husk {
                // git itself refuses to remove one that has no .git file or no HEAD yet, even with -f -f
                // (measured); with its directory gone it drops the registration.
                remove_husk(&w.path).map_err(|why| in_the_way(w, why))?;
                self.call(&w.repo, &["worktree", "remove", "-f", "-f", path]).await?;
            } else if there
                && proved(linked_git_dir(&w.path)).map_err(|error| not_known(w, error))?.is_some()
                && ours.branch.as_deref() == Some(&branch_ref)
            {
                match self.confirm(w, false).await {
                    Err(failure) if is_broken(&failure) => {}
                    done => return done,
                }
            }
        }
        // Only what is proved to be there, and not to be ours, is moved.
        if proved(check_vacant(&w.path)).map_err(|error| not_known(w, error))?.is_none() {
            parked.push(self.set_aside(w, &w.path).await?);
        }
        // Parking has changed what is registered where, unless an earlier call came no further than the rename.
        let list = if parked.is_empty() { list } else { self.list(&w.repo).await? };
        if let Some(ours) = list.iter().find(|entry| entry.path == w.path).filter(|_| !w.path.join(".git").exists()) {
            if let Some(place) = self.finish_parking(w, &w.path).await? {
                parked.push(place);
            } else if let Some(reason) = ours.locked.as_deref().filter(|reason| reason.trim() != INITIALIZING) {
                return Err(in_the_way(w, park::locked(&w.path, reason)));
            } else if self.list(&w.repo).await?.iter().any(|entry| entry.path == w.path) {
                self.call(&w.repo, &["worktree", "remove", "--force", path]).await?;
            }
        }
        self.take_branch(w, &branch_ref, parked).await?;
        check_vacant(&w.path).map_err(|error| not_known(w, error))?;
        self.add(w, path).await?;
        self.confirm(w, true).await
    }

    async fn add(&self, w: &WorktreeSpec, path: &str) -> Result<(), Failure> {
        let pattern = format!("refs/heads/{}", w.branch);
        let exists = self.call(&w.repo, &["for-each-ref", "--format=%(refname)", &pattern]).await?;
        if exists.lines().any(|line| line == pattern) {
            self.call(&w.repo, &["worktree", "add", "--quiet", path, &w.branch]).await?;
        } else {
            let base = self.resolve(&w.repo, &w.base).await?;
            let arguments = ["worktree", "add", "--quiet", "--no-track", "-b", &w.branch, path, &base];
            self.call(&w.repo, &arguments).await?;
        }
        Ok(())
    }

    async fn confirm(&self, w: &WorktreeSpec, created: bool) -> Result<WorktreeFact, Failure> {
        let worktrees = common_dir(&w.path).map_err(|error| not_known(w, error))?;
        let repos = common_dir(&w.repo).map_err(|error| not_known(w, error))?;
        if worktrees != repos {
            let [path, other] = [w.path.display(), worktrees.display()];
            return Err(in_the_way(w, format!("{path} belongs to another repository: {other}")));
        }
        let done = self.call(&w.path, &["rev-parse", "HEAD^{commit}", "--symbolic-full-name", "HEAD"]).await?;
        let expected = format!("refs/heads/{}", w.branch);
        match done.trim_end_matches('\n').split('\n').collect::<Vec<_>>()[..] {
            [sha, name] if name == expected => Ok(WorktreeFact {
                path: w.path.clone(),
                branch: w.branch.clone(),
                head_sha: sha.to_owned(),
                created,
                parked: Vec::new(),
            }),
            _ => Err(in_the_way(w, format!("{} is not on {expected}: git says {done:?}", w.path.display()))),
        }
    }

    /// Runs git for its output as text.
    async fn call(&self, dir: &Path, arguments: &[&str]) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&self.bytes(dir, arguments, true).await?.stdout).into_owned())
    }

    /// Runs git in `dir`; `whole` refuses an output that is longer than what is kept.
    async fn bytes(&self, dir: &Path, arguments: &[&str], whole: bool) -> Result<RunBytes, Failure> {
        let program = utf8(&self.program).map_err(|why| refusal(&["git"], FailureKind::Invalid, why))?;
        let fixed = [program, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"];
        let mut env = vec![
            ("LC_ALL".to_owned(), "C".to_owned()),
            ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
            // A status must not hold the index lock while an agent commits.
            ("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned()),
        ];
        env.extend(self.marker.clone());
        let run = Run {
            program: Program::Git,
            argv: fixed.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect(),
            cwd: Some(dir.to_path_buf()),
            env,
            env_remove: foreign_variables(),
            env_clear: false,
            deadline: self.deadline,
            stage: Stage::Provision,
        };
        let done = run_bytes(&run, Keep::First(OUTPUT_BYTES_MAX)).await?;
        if whole && done.cut {
            let what: Vec<&str> = run.argv.iter().map(String::as_str).collect();
            let why = format!("git wrote more than {OUTPUT_BYTES_MAX} bytes");
            return Err(refusal(&what, FailureKind::SubprocessFailed, why));
        }
        Ok(done)
    }
}

/// The variables of ours that git must not see (INV-G1).
fn foreign_variables() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.starts_with("GIT_") && !INHERITED.contains(&name.as_str())).collect()
}

fn explain_repo(failure: Failure, shown: &str) -> Failure {
    let says = |words: &str| failure.stderr.text().is_some_and(|text| text.contains(words));
    let hint = if says("not a git repository") {
        format!("not a git repository: {shown}")
    } else if says("dubious ownership") {
        format!("the repository belongs to another user: git config --global --add safe.directory {shown}")
    } else if failure.stdout_tail.starts_with("true\n") {
        format!("repository is bare, and a bare repository is not supported: {shown}; name a clone with a work tree")
    } else if says("must be run in a work tree") {
        format!("not inside a work tree: {shown}; name the repository's top directory")
    } else if says("unknown revision") {
        format!("repository has no commit: {shown}; make a first one")
    } else {
        return failure;
    };
    Failure { kind: FailureKind::Invalid, ..hinted(failure, hint) }
}

fn hinted(failure: Failure, hint: String) -> Failure {
    // A deadline or a missing program has a better explanation than the one for this call's usual error.
    if matches!(failure.ending, Ending::Code(_)) { Failure { hint: Some(hint), ..failure } } else { failure }
}

/// Whether another git process was at work in the same place, so that trying again is the remedy: it held a lock
/// ("Unable to create 'X.lock': File exists"), or its `git worktree add` had a registration half written. The
/// latter is fatal to every git that lists worktrees at that moment: "failed to read .git/worktrees/e14/commondir:
/// Success", in 4 of 12 runs of eight adds at once on a loaded machine (git 2.47), although git has its own locks.
fn is_contention(failure: &Failure) -> bool {
    let text = failure.stderr.text().unwrap_or_default();
    text.contains(".lock': File exists")
        || (text.contains("could not lock config file") && text.contains("File exists"))
        || (text.contains("failed to read ") && text.contains("worktrees/"))
}

/// Whether a worktree was proved not to be what it should be, rather than not looked at.
fn is_broken(failure: &Failure) -> bool {
    failure.kind == FailureKind::WorktreeInvalid || (failure.ending == Ending::Code(128) && !is_contention(failure))
}

/// What stood in the way of a failure of contention.
fn contended(failure: &Failure) -> &str {
    let text = failure.stderr.text().unwrap_or_default();
    let between = |before: &str, after: &str| Some(text.split_once(before)?.1.split_once(after)?.0);
    between("Unable to create '", "'").or_else(|| between("failed to read ", ": ")).unwrap_or("a lock")
}

fn refusal(what: &[&str], kind: FailureKind, why: String) -> Failure {
    Failure::of_operation(Stage::Provision, kind, what.iter().map(|word| (*word).to_owned()).collect(), why)
}

fn in_the_way(w: &WorktreeSpec, why: String) -> Failure {
    let what = ["ensure_worktree", &w.path.display().to_string(), &w.branch];
    let mut failure = refusal(&what, FailureKind::WorktreeInvalid, why);
    failure.cwd = Some(w.repo.display().to_string());
    failure
}

fn utf8(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("path is not valid UTF-8: {}", path.display()))
}

/// Refuses what must not reach git at all, and any symlink on the way to the worktree (B53).
fn check_spec(w: &WorktreeSpec) -> Result<(), String> {
    let path = utf8(&w.path)?;
    if !w.path.is_absolute() || w.path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("worktree path must be absolute and without ..: {path}"));
    }
    if path.chars().any(char::is_control) {
        return Err(format!("worktree path has a control character: {path:?}"));
    }
    if w.branch.starts_with('-') || w.branch.contains(char::is_whitespace) || w.branch.is_empty() {
        return Err(format!("not a branch name: {:?}", w.branch));
    }
    for ancestor in w.path.ancestors() {
        match ancestor.symlink_metadata() {
            Ok(about) if about.is_symlink() => return Err(format!("{} is a symlink", ancestor.display())),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", ancestor.display())),
        }
    }
    Ok(())
}

/// A worktree may be made where nothing is, or in an empty directory (B52).
fn check_vacant(path: &Path) -> Result<(), LinkError> {
    match std::fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(Ok(_)) => Err(LinkError::Wrong(format!("{} exists, is not empty and is not ours", path.display()))),
            Some(Err(error)) => Err(link::refused(path, &error)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(link::refused(path, &error)),
    }
}

/// Removes the directory of an unfinished `git worktree add`: registered at our path and still locked
/// `initializing`, so no agent was ever started in it. Symlinks in it are removed, not followed.
fn remove_husk(path: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("remove the husk {}: {error}", path.display())),
    }
}

/// Reads `git worktree list --porcelain -z`: attributes end with NUL, entries with an empty attribute.
fn parse_list(text: &str) -> Vec<Registered> {
    let mut list = Vec::new();
    let mut entry = Registered::default();
    for attribute in text.split('\0') {
        let (name, value) = attribute.split_once(' ').unwrap_or((attribute, ""));
        match name {
            "worktree" => entry.path = PathBuf::from(OsStr::new(value)),
            "branch" => entry.branch = Some(value.to_owned()),
            "locked" => entry.locked = Some(value.to_owned()),
            "" if !entry.path.as_os_str().is_empty() => list.push(std::mem::take(&mut entry)),
            _ => {}
        }
    }
    list
}

/// Reads `git status --porcelain=v2 --branch -z`.
fn head_of(text: &str) -> Option<HeadFact> {
    let mut sha = None;
    let mut branch = None;
    let mut dirty = false;
    for record in text.split('\0').filter(|record| !record.is_empty()) {
        if let Some(oid) = record.strip_prefix("# branch.oid ") {
            sha = Some(oid).filter(|oid| *oid != "(initial)");
        } else if let Some(name) = record.strip_prefix("# branch.head ") {
            branch = Some(name).filter(|name| *name != "(detached)");
        } else if !record.starts_with("# ") {
            dirty = true;
            break;
        }
    }
    Some(HeadFact { sha: sha?.to_owned(), branch: branch.map(str::to_owned), dirty })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::domain::failure::Stderr;
    use crate::env::files;
    use crate::env::process::find_by_token;
    use crate::env::scarce;
    use std::collections::BTreeSet;
    use std::fs;
    use std::process::Command;
    use tempfile::TempDir;

    /// A repository with one commit, and a place for worktrees beside it.
    struct Place {
        dir: TempDir,
        git: Git,
    }

    fn plain(dir: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@localhost"]).args(arguments).current_dir(dir);
        for name in foreign_variables() {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let place =
                Self { dir, git: Git { program: "git".into(), deadline: Duration::from_secs(60), marker: None } };
            fs::create_dir(place.repo()).unwrap();
            plain(&place.repo(), &["init", "--quiet", "--initial-branch=main"]);
            fs::write(place.repo().join("file.txt"), "content\n").unwrap();
            place.commit(&place.repo());
            place
        }

        fn commit(&self, dir: &Path) {
            plain(dir, &["add", "."]);
            plain(dir, &["commit", "--quiet", "--message", "a commit"]);
        }

        fn root(&self) -> PathBuf {
            fs::canonicalize(self.dir.path()).unwrap()
        }

        fn repo(&self) -> PathBuf {
            self.root().join("repo")
        }

        fn spec(&self, role: &str) -> WorktreeSpec {
            WorktreeSpec {
                repo: self.repo(),
                path: self.root().join("worktrees/p").join(role).join("e1"),
                branch: format!("orch/p/{role}/e1"),
                base: "HEAD".to_owned(),
                park: self.root().join("parked"),
            }
        }

        async fn ensure(&self, spec: &WorktreeSpec) -> WorktreeFact {
            let fact = self.git.ensure_worktree(spec).await.unwrap();
            assert_eq!(worktree_linked(&spec.path), Ok(()));
            assert_eq!(fs::read_to_string(spec.path.join("file.txt")).unwrap(), "content\n");
            fact
        }

        /// The registration of a spec's worktree.
        fn admin(&self, spec: &WorktreeSpec) -> PathBuf {
            linked_git_dir(&spec.path).unwrap()
        }

        async fn refused(&self, spec: &WorktreeSpec, why: &str) {
            let failure = self.git.ensure_worktree(spec).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::WorktreeInvalid, "{failure:?}");
            assert!(failure.ending.to_string().contains(why), "{failure:?}");
        }
    }

    #[tokio::test]
    async fn a_repository_is_inspected_and_what_is_none_is_explained() {
        let place = Place::new();
        let deep = place.repo().join("deep");
        fs::create_dir(&deep).unwrap();
        std::os::unix::fs::symlink(&deep, place.root().join("link")).unwrap();
        let repo = place.git.inspect_repo(&place.root().join("link")).await.unwrap();
        let head_sha = plain(&place.repo(), &["rev-parse", "HEAD"]);
        assert_eq!(repo, Repo { root: place.repo(), head_sha, git_common_dir: place.repo().join(".git") });

        let at = |name: &str| place.root().join(name);
        fs::create_dir(at("plain")).unwrap();
        plain(&place.root(), &["init", "--quiet", "--bare", "bare"]);
        plain(&place.root(), &["init", "--quiet", "unborn"]);
        let check = async |path: PathBuf, words: &str| {
            let failure = place.git.inspect_repo(&path).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Invalid);
            assert!(failure.hint.as_deref().unwrap().contains(words), "{failure:?}");
        };
        check(at("plain"), &format!("not a git repository: {}", at("plain").display())).await;
        check(at("none"), "not a git repository: ").await;
        check(at("bare"), "repository is bare").await;
        check(at("unborn"), "repository has no commit").await;
        check(place.repo().join(".git"), "not inside a work tree").await;
    }

    #[tokio::test]
    async fn revisions_are_resolved() {
        let place = Place::new();
        let head = plain(&place.repo(), &["rev-parse", "HEAD"]);
        for rev in ["HEAD", "main", head.as_str()] {
            assert_eq!(place.git.resolve(&place.repo(), rev).await.unwrap(), head);
        }
        for rev in ["none", "--all", "", "-x"] {
            let failure = place.git.resolve(&place.repo(), rev).await.unwrap_err();
            assert_eq!(failure.ending, Ending::Code(128), "{rev}");
            assert!(matches!(failure.stderr, Stderr::Text(_)) && failure.hint.is_some());
        }
    }

    #[tokio::test]
    async fn a_worktree_is_made_once_and_confirmed_afterwards() {
        let place = Place::new();
        let spec = place.spec("dev");
        let first = place.ensure(&spec).await;
        assert!(first.created);
        fs::write(spec.path.join("work"), "in progress").unwrap();
        let again = place.ensure(&spec).await;
        assert_eq!(again, WorktreeFact { created: false, ..first });
        assert_eq!(fs::read_to_string(spec.path.join("work")).unwrap(), "in progress");
    }

    #[tokio::test]
    async fn a_head_is_read_with_its_branch_and_dirt() {
        let place = Place::new();
        let spec = place.spec("dev");
        let fact = place.ensure(&spec).await;
        let head = place.git.head(&spec.path).await.unwrap();
        let clean = HeadFact { sha: fact.head_sha, branch: Some(spec.branch.clone()), dirty: false };
        assert_eq!(head, clean);
        fs::write(spec.path.join("new"), "").unwrap();
        assert!(place.git.head(&spec.path).await.unwrap().dirty);
        place.commit(&spec.path);
        plain(&spec.path, &["checkout", "--quiet", "--detach"]);
        let head = place.git.head(&spec.path).await.unwrap();
        assert_eq!((head.branch, head.dirty), (None, false));
        assert_ne!(head.sha, clean.sha);
        assert_eq!(worktree_linked(&spec.path), Ok(()), "which branch an agent works on is its own affair");
        fs::write(spec.path.join("CLAUDE.md"), "ours").unwrap();
        assert!(!place.git.head(&spec.path).await.unwrap().dirty, "what we put there is not the agent's dirt");
        plain(&place.root(), &["init", "--quiet", "unborn"]);
        let failure = place.git.head(&place.root().join("unborn")).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::WorktreeInvalid);
    }

    #[tokio::test]
    async fn the_husk_of_a_killed_add_is_made_anew() {
        let place = Place::new();
        let spec = place.spec("dev");
        // As far as git came, in the order in which it makes these (measured with strace).
        let stages: [&[&str]; 5] = [
            &[],
            &["index"],
            &["index", "HEAD"],
            &["index", "HEAD", "commondir"],
            &["index", "HEAD", "commondir", ".git"],
        ];
        for missing in stages {
            place.ensure(&spec).await;
            let admin = place.admin(&spec);
            fs::write(admin.join("locked"), INITIALIZING).unwrap();
            for name in missing {
                let base = if *name == ".git" { &spec.path } else { &admin };
                fs::remove_file(base.join(name)).unwrap();
            }
            fs::remove_file(spec.path.join("file.txt")).unwrap();
            assert!(worktree_linked(&spec.path).is_err());
            assert!(place.ensure(&spec).await.created, "without {missing:?}");
        }
        let admin = place.admin(&spec);
        fs::write(admin.join("locked"), INITIALIZING).unwrap();
        fs::remove_dir_all(&spec.path).unwrap();
        assert!(place.ensure(&spec).await.created);
        assert_eq!(plain(&place.repo(), &["worktree", "list"]).lines().count(), 2);
    }

    #[tokio::test]
    async fn an_add_killed_by_its_deadline_can_be_repeated() {
        let place = Place::new();
        fs::write(place.repo().join(".gitattributes"), "file.txt filter=slow\n").unwrap();
        place.commit(&place.repo());
        plain(&place.repo(), &["config", "filter.slow.smudge", "sleep 300"]);
        let token = format!("git-{}", std::process::id());
        let slow = Git {
            deadline: Duration::from_millis(1_500),
            marker: Some(("ORCH_INSTANCE".to_owned(), token.clone())),
            ..place.git.clone()
        };
        let spec = place.spec("dev");
        let failure = slow.ensure_worktree(&spec).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TimedOut, "{failure:?}");
        assert_eq!(find_by_token(&BTreeSet::from([token])).unwrap(), [], "its children were ended with it");
        assert!(plain(&place.repo(), &["worktree", "list", "--porcelain"]).contains("locked initializing"));
        plain(&place.repo(), &["config", "--unset", "filter.slow.smudge"]);
        assert!(place.ensure(&spec).await.created);
    }

    #[tokio::test]
    async fn a_registration_whose_directory_is_gone_is_dropped_alone() {
        let place = Place::new();
        let (gone, other) = (place.spec("dev"), place.spec("doc"));
        place.ensure(&gone).await;
        place.ensure(&other).await;
        fs::write(gone.path.join("new"), "").unwrap();
        place.commit(&gone.path);
        let sha = plain(&gone.path, &["rev-parse", "HEAD"]);
        fs::remove_dir_all(&gone.path).unwrap();
        fs::remove_dir_all(&other.path).unwrap();
        let fact = place.ensure(&gone).await;
        assert_eq!((fact.created, fact.head_sha), (true, sha), "the branch kept its commits");
        assert!(plain(&place.repo(), &["worktree", "list"]).contains(other.path.to_str().unwrap()));
    }

    #[tokio::test]
    async fn a_lock_of_the_users_own_is_respected() {
        let place = Place::new();
        let spec = place.spec("dev");
        place.ensure(&spec).await;
        plain(&place.repo(), &["worktree", "lock", "--reason", "on a stick", spec.path.to_str().unwrap()]);
        assert!(!place.ensure(&spec).await.created);
        fs::remove_dir_all(&spec.path).unwrap();
        place.refused(&spec, "e1 is locked by git worktree lock: on a stick").await;
        let file = spec.path.join("file");
        fs::create_dir_all(&spec.path).unwrap();
        fs::write(&file, "").unwrap();
        place.refused(&spec, "on a stick").await;
        assert!(file.exists(), "and what is there is left alone");
    }

    #[tokio::test]
    async fn what_is_in_the_way_is_named_and_left_alone() {
        let place = Place::new();
        let spec = place.spec("dev");
        place.ensure(&spec).await;
        let branch_taken = WorktreeSpec { branch: spec.branch.clone(), ..place.spec("doc") };
        place.refused(&branch_taken, &format!("checked out in the worktree {}", spec.path.display())).await;

        let link = place.root().join("link");
        std::os::unix::fs::symlink(place.root().join("worktrees"), &link).unwrap();
        for path in [link.clone(), link.join("p/doc/e1")] {
            place.refused(&WorktreeSpec { path, ..place.spec("doc") }, "link is a symlink").await;
        }
        for path in ["relative/e1", "/tmp/../e1", "/tmp/new\nline"] {
            place.refused(&WorktreeSpec { path: path.into(), ..place.spec("doc") }, "worktree path").await;
        }
        let file = place.root().join("file");
        fs::write(&file, "").unwrap();
        place.refused(&WorktreeSpec { path: file.join("e1"), ..place.spec("doc") }, "Not a directory").await;
    }

    /// Makes a worktree, lets `harm` do something to it, and makes it again: it is whole, and what was there is parked.
    async fn parks(place: &Place, spec: &WorktreeSpec, harm: impl Fn(&Path)) -> PathBuf {
        place.ensure(spec).await;
        fs::write(spec.path.join("work"), "in progress").unwrap();
        harm(&spec.path);
        let fact = place.ensure(spec).await;
        assert!(fact.created);
        let [parked] = &fact.parked[..] else { panic!("{fact:?}") };
        assert!(parked.starts_with(&spec.park), "{parked:?}");
        assert_eq!(fs::read_to_string(parked.join("work")).unwrap(), "in progress");
        assert_eq!(place.ensure(spec).await.parked, Vec::<PathBuf>::new(), "once");
        parked.clone()
    }

    #[tokio::test]
    async fn a_worktree_in_the_way_is_parked_with_its_work() {
        let place = Place::new();
        let spec = place.spec("dev");
        // On another branch, with a commit there and a change that is staged.
        let parked = parks(&place, &spec, |path| {
            plain(path, &["checkout", "--quiet", "-b", "idea"]);
            plain(path, &["commit", "--quiet", "--allow-empty", "--message", "an idea"]);
            plain(path, &["add", "work"]);
        })
        .await;
        assert_eq!(plain(&parked, &["symbolic-ref", "--short", "HEAD"]), "idea");
        assert_eq!(plain(&parked, &["status", "--porcelain"]), "A  work");
        // Detached, with a commit that only its HEAD knows.
        let parked = parks(&place, &spec, |path| {
            plain(path, &["checkout", "--quiet", "--detach"]);
            plain(path, &["commit", "--quiet", "--allow-empty", "--message", "nameless"]);
        })
        .await;
        assert_eq!(plain(&parked, &["log", "-1", "--format=%s"]), "nameless");
        // Its link to the repository is lost, or leads nowhere: index and HEAD are found again.
        for link in [None, Some("gitdir: /nowhere\n"), Some("nonsense")] {
            let parked = parks(&place, &spec, |path| {
                plain(path, &["add", "work"]);
                fs::remove_file(path.join(".git")).unwrap();
                if let Some(link) = link {
                    fs::write(path.join(".git"), link).unwrap();
                }
            })
            .await;
            assert_eq!(plain(&parked, &["status", "--porcelain"]), "A  work", "{link:?}");
        }
        // Its HEAD is garbage.
        parks(&place, &spec, |path| fs::write(linked_git_dir(path).unwrap().join("HEAD"), "garbage\n").unwrap()).await;
        // It is no worktree at all, but its own repository, or a file.
        parks(&place, &spec, |path| {
            fs::remove_file(path.join(".git")).unwrap();
            plain(path, &["init", "--quiet"]);
        })
        .await;
        plain(&place.repo(), &["worktree", "remove", "--force", spec.path.to_str().unwrap()]);
        fs::write(&spec.path, "a file").unwrap();
        let fact = place.ensure(&spec).await;
        assert_eq!(fs::read_to_string(&fact.parked[0]).unwrap(), "a file");
    }

    #[tokio::test]
    async fn a_branch_of_ours_that_is_held_by_an_older_worktree_is_freed() {
        let place = Place::new();
        let (old, new) = (place.spec("dev"), place.spec("dev"));
        let new = WorktreeSpec { path: new.path.with_file_name("e2"), ..new };
        place.ensure(&old).await;
        plain(&old.path, &["commit", "--quiet", "--allow-empty", "--message", "kept"]);
        fs::write(old.path.join("file.txt"), "changed").unwrap();
        let sha = plain(&old.path, &["rev-parse", "HEAD"]);
        let fact = place.ensure(&new).await;
        assert_eq!((fact.head_sha.as_str(), fact.parked.len()), (sha.as_str(), 1));
        assert_eq!(plain(&fact.parked[0], &["status", "--porcelain"]), "M file.txt");
        assert_eq!(plain(&fact.parked[0], &["rev-parse", "HEAD"]), sha);
        // The user's own checkout of it is not ours to move.
        let branch = "orch/p/dev/e9".to_owned();
        plain(&place.repo(), &["checkout", "--quiet", "-b", &branch]);
        let taken = WorktreeSpec { branch, path: new.path.with_file_name("e9"), ..new };
        place.refused(&taken, "is checked out in the worktree").await;
    }

    #[tokio::test]
    async fn parking_that_was_cut_short_is_finished() {
        let place = Place::new();
        let spec = place.spec("dev");
        place.ensure(&spec).await;
        fs::write(spec.path.join("work"), "in progress").unwrap();
        plain(&spec.path, &["add", "work"]);
        // Killed after the rename: git believes that it is where it was.
        let half = files::move_aside(&spec.path, &spec.park).unwrap();
        let fact = place.ensure(&spec).await;
        assert_eq!(fact.parked, std::slice::from_ref(&half));
        assert_eq!(plain(&half, &["status", "--porcelain"]), "A  work");
        // Killed before the branch was let go.
        plain(&place.repo(), &["worktree", "remove", "--force", spec.path.to_str().unwrap()]);
        plain(&half, &["checkout", "--quiet", &spec.branch]);
        let fact = place.ensure(&spec).await;
        assert_eq!((fact.created, fact.parked), (true, vec![half.clone()]));
        assert_eq!(plain(&half, &["status", "--porcelain"]), "A  work");
    }

    #[tokio::test]
    async fn parking_who_holds_the_branch_is_finished_after_a_crash() {
        let place = Place::new();
        let (old, new) = (place.spec("dev"), place.spec("dev"));
        let new = WorktreeSpec { path: new.path.with_file_name("e2"), ..new };
        place.ensure(&old).await;
        fs::write(old.path.join("file.txt"), "changed").unwrap();
        let half = files::move_aside(&old.path, &old.park).unwrap();
        let fact = place.ensure(&new).await;
        assert_eq!((fact.created, fact.parked), (true, vec![half.clone()]));
        assert_eq!(plain(&half, &["status", "--porcelain"]), "M file.txt");
    }

    #[tokio::test]
    async fn what_was_parked_without_its_link_is_known_again_after_a_crash() {
        for link in [None, Some("gitdir: /nowhere\n"), Some("nonsense")] {
            let place = Place::new();
            let spec = place.spec("dev");
            place.ensure(&spec).await;
            plain(&spec.path, &["checkout", "--quiet", "--detach"]);
            plain(&spec.path, &["commit", "--quiet", "--allow-empty", "--message", "nameless"]);
            fs::write(spec.path.join("work"), "in progress").unwrap();
            plain(&spec.path, &["add", "work"]);
            fs::remove_file(spec.path.join(".git")).unwrap();
            if let Some(link) = link {
                fs::write(spec.path.join(".git"), link).unwrap();
            }
            // Cut short by a park that cannot be made: the next call finds it where it stood.
            fs::write(&spec.park, "in the way").unwrap();
            place.refused(&spec, "cannot be parked").await;
            fs::remove_file(&spec.park).unwrap();
            // Killed after the rename.
            let half = files::move_aside(&spec.path, &spec.park).unwrap();
            let fact = place.ensure(&spec).await;
            assert_eq!((fact.created, &fact.parked[..]), (true, std::slice::from_ref(&half)), "{link:?}");
            assert_eq!(plain(&half, &["status", "--porcelain"]), "A  work", "{link:?}");
            assert_eq!(plain(&half, &["log", "-1", "--format=%s"]), "nameless", "{link:?}");
        }
    }

    #[tokio::test]
    async fn a_link_is_not_mended_through_a_symlink() {
        let place = Place::new();
        let spec = place.spec("dev");
        let theirs = place.root().join("theirs");
        fs::write(&theirs, "theirs").unwrap();
        parks(&place, &spec, |path| {
            fs::remove_file(path.join(".git")).unwrap();
            std::os::unix::fs::symlink(&theirs, path.join(".git")).unwrap();
        })
        .await;
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
    }

    #[tokio::test]
    async fn a_worktree_of_another_repository_is_not_ours() {
        let (place, other) = (Place::new(), Place::new());
        let spec = place.spec("dev");
        place.ensure(&spec).await;
        fs::remove_dir_all(&spec.path).unwrap();
        other.ensure(&WorktreeSpec { repo: other.repo(), ..spec.clone() }).await;
        fs::write(spec.path.join("theirs"), "work").unwrap();
        let fact = place.ensure(&spec).await;
        assert_eq!(plain(&fact.parked[0], &["status", "--porcelain"]), "?? theirs");
        assert!(plain(&other.repo(), &["worktree", "list"]).contains(fact.parked[0].to_str().unwrap()));
    }

    #[tokio::test]
    async fn branches_that_exclude_each_other_are_explained() {
        let place = Place::new();
        plain(&place.repo(), &["branch", "orch/p"]);
        let failure = place.git.ensure_worktree(&place.spec("dev")).await.unwrap_err();
        assert!(failure.hint.as_deref().unwrap().contains("in the way of orch/p/dev/e1"), "{failure:?}");
    }

    #[tokio::test]
    async fn a_lock_that_stays_is_named_and_never_removed() {
        let place = Place::new();
        let spec = place.spec("dev");
        let lock = place.repo().join(".git/refs/heads/orch/p/dev/e1.lock");
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        fs::write(&lock, "").unwrap();
        let short = Git { deadline: Duration::from_secs(1), ..place.git.clone() };
        let failure = short.ensure_worktree(&spec).await.unwrap_err();
        assert!(failure.hint.as_deref().unwrap().contains(lock.to_str().unwrap()), "{failure:?}");
        assert!(lock.exists());
        // One that goes is waited for.
        let waiting = {
            let (git, spec) = (place.git.clone(), spec.clone());
            tokio::spawn(async move { git.ensure_worktree(&spec).await })
        };
        tokio::task::yield_now().await;
        fs::remove_file(&lock).unwrap();
        assert!(waiting.await.unwrap().unwrap().created);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn eight_at_once_in_one_repository() {
        let place = Place::new();
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let (git, spec) = (place.git.clone(), place.spec(&format!("r{number}")));
                tokio::spawn(async move { git.ensure_worktree(&spec).await })
            })
            .collect();
        for task in tasks {
            assert!(task.await.unwrap().unwrap().created);
        }
        assert_eq!(plain(&place.repo(), &["worktree", "list"]).lines().count(), 9);
    }

    #[tokio::test]
    async fn nothing_of_the_repository_runs() {
        let place = Place::new();
        let hook = place.repo().join(".git/hooks/post-checkout");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, "#!/bin/sh\nexec sleep 300\n").unwrap();
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        place.ensure(&place.spec("dev")).await;
    }

    #[tokio::test]
    async fn odd_paths_work() {
        let place = Place::new();
        for (number, name) in ["a b", "quo'te\"", "#{pid}", "ünï", "-dash"].into_iter().enumerate() {
            let path = place.root().join(name).join("e1");
            place.ensure(&WorktreeSpec { path, ..place.spec(&format!("r{number}")) }).await;
        }
    }

    #[test]
    fn a_quick_check_names_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let check = |why: &str| {
            let error = worktree_linked(dir.path()).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        };
        check("No such file");
        let link = dir.path().join(".git");
        fs::create_dir(&link).unwrap();
        check("not a regular file");
        fs::remove_dir(&link).unwrap();
        fs::write(&link, "nonsense").unwrap();
        check("names no gitdir");
        fs::write(&link, "gitdir: admin\n").unwrap();
        check("leads nowhere");
        fs::create_dir(dir.path().join("admin")).unwrap();
        assert_eq!(worktree_linked(dir.path()), Ok(()));
        fs::write(dir.path().join("admin/locked"), "initializing").unwrap();
        check("husk");
    }

    #[test]
    fn list_and_status_are_parsed() {
        let list =
            parse_list("worktree /a b\0HEAD 1\0branch refs/heads/x\0\0worktree /c\nd\0HEAD 2\0detached\0locked\0\0");
        let expected = [
            Registered { path: "/a b".into(), branch: Some("refs/heads/x".to_owned()), locked: None },
            Registered { path: "/c\nd".into(), branch: None, locked: Some(String::new()) },
        ];
        assert_eq!(list, expected);
        assert_eq!(parse_list(""), []);
        assert_eq!(head_of("# branch.oid (initial)\0# branch.head main\0"), None);
        let clean = head_of("# branch.oid ab\0# branch.head (detached)\0").unwrap();
        assert_eq!(clean, HeadFact { sha: "ab".to_owned(), branch: None, dirty: false });
        assert!(head_of("# branch.oid ab\0# branch.head m\0# stash 1\0? new\0").unwrap().dirty);
    }

    /// A worktree that cannot be looked at for want of descriptors is not moved, and nobody is blamed.
    #[tokio::test]
    async fn without_descriptors_a_good_worktree_stays_where_it_is() {
        if !scarce::is_here("env::git::tests::without_descriptors_a_good_worktree_stays_where_it_is") {
            return;
        }
        let place = Place::new();
        let spec = place.spec("developer");
        place.git.ensure_worktree(&spec).await.unwrap();
        let mut taken = scarce::take_all();
        assert!(matches!(check_vacant(&spec.path), Err(LinkError::NotNow(_))));
        assert!(matches!(linked_git_dir(&spec.path), Err(LinkError::NotNow(_))));
        assert!(matches!(common_dir(&spec.path), Err(LinkError::NotNow(_))));
        for free in 0..24 {
            if free < 2 {
                let parked = place.git.set_aside(&spec, &spec.path).await.unwrap_err();
                assert_eq!(parked.kind, FailureKind::Exhausted, "with {free} descriptors left: {parked:?}");
            }
            match place.git.ensure_worktree(&spec).await {
                Ok(made) => assert_eq!((made.created, made.parked), (false, Vec::new()), "with {free} left"),
                Err(failure) => assert_eq!(failure.kind, FailureKind::Exhausted, "with {free} left: {failure:?}"),
            }
            assert!(spec.path.join("file.txt").exists(), "with {free} left");
            drop(taken.pop());
        }
        assert!(!place.git.ensure_worktree(&spec).await.unwrap().created, "and at last there are enough");
    }
}
