//! git: repositories inspected, worktrees made sure of, heads read. Every call is a process of [`super::process`].
//!
//! Invariants:
//! - INV-G1: nothing of the repository runs on our account, and nothing of our environment leads git elsewhere: no
//!   hooks (B62), no fsmonitor, no `GIT_*` but those that say how to reach remotes and which configuration to read.
//! - INV-G2: no lock of git's is ever deleted (B49), no directory removed that is not provably the husk of a killed
//!   `git worktree add` of ours (platform facts, "git": registered, locked `initializing`, at our path).
//! - INV-G3: [`Git::ensure_worktree`] may be repeated after a crash at any point and ends in the same state.
//!
//! The stage in every failure is `Provision`; a caller at another stage sets it.

use super::run::{Keep, Run, RunBytes, run_bytes};
use crate::domain::failure::{Ending, Failure, FailureKind, Program, Stage};
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
        let done = self.bytes(worktree, &["status", "--porcelain=v2", "--branch", "-z"], false).await?;
        let text = String::from_utf8_lossy(&done.stdout);
        head_of(&text).ok_or_else(|| {
            let what = ["head", &worktree.display().to_string()];
            refusal(&what, FailureKind::WorktreeInvalid, "HEAD names no commit".to_owned())
        })
    }

    /// Makes sure that there is this worktree, on this branch, checked out completely.
    ///
    /// One that is there is confirmed and not touched. The husk of a killed `git worktree add` is removed and made
    /// anew, a registration whose directory is gone is dropped, a branch that exists keeps its commits. Another
    /// git's lock is waited for within the deadline.
    ///
    /// # Errors
    /// `WorktreeInvalid` when it is refused, naming what is in the way: a symlink (B53), a directory that is not
    /// ours (B52), a branch checked out elsewhere (B50). Otherwise as [`super::process::run`], with a hint for
    /// a lock that stayed (B49) and for branches that exclude each other (B51).
    pub async fn ensure_worktree(&self, w: &WorktreeSpec) -> Result<WorktreeFact, Failure> {
        check_spec(w).map_err(|why| in_the_way(w, why))?;
        let begun = Instant::now();
        let mut pause = LOCK_PAUSE;
        loop {
            match self.try_worktree(w).await {
                Err(failure) if is_contention(&failure) && begun.elapsed() + pause < self.deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LOCK_PAUSE_MAX);
                }
                Err(failure) if is_contention(&failure) => {
                    let hint = format!("another git process holds {}, or a dead one left it", lock_name(&failure));
                    return Err(hinted(failure, hint));
                }
                Err(failure) if failure.stderr.text().is_some_and(|text| text.contains("exists; cannot create")) => {
                    let hint = format!("an existing branch is in the way of {}: rename it", w.branch);
                    return Err(hinted(failure, hint));
                }
                done => return done,
            }
        }
    }

    async fn try_worktree(&self, w: &WorktreeSpec) -> Result<WorktreeFact, Failure> {
        let list = self.bytes(&w.repo, &["worktree", "list", "--porcelain", "-z"], true).await?;
        let list = parse_list(&String::from_utf8_lossy(&list.stdout));
        let branch_ref = format!("refs/heads/{}", w.branch);
        let path = utf8(&w.path).map_err(|why| in_the_way(w, why))?;
        if let Some(ours) = list.iter().find(|entry| entry.path == w.path) {
            let husk = ours.locked.as_deref().map(str::trim) == Some(INITIALIZING);
            let there = w.path.join(".git").exists();
            if there && !husk && ours.branch.as_deref() == Some(&branch_ref) {
                return self.confirm(w, false).await;
            }
            if husk {
                // git itself refuses to remove one that has no .git file or no HEAD yet, even with -f -f
                // (measured); with its directory gone it drops the registration.
                remove_husk(&w.path).map_err(|why| in_the_way(w, why))?;
                self.call(&w.repo, &["worktree", "remove", "-f", "-f", path]).await?;
            } else if !w.path.exists() {
                self.call(&w.repo, &["worktree", "remove", "--force", path]).await?;
            } else {
                let on = ours.branch.as_deref().unwrap_or("no branch");
                return Err(in_the_way(w, format!("{path} is a worktree on {on}, not on {branch_ref}")));
            }
        }
        if let Some(other) = list.iter().find(|e| e.path != w.path && e.branch.as_deref() == Some(&branch_ref)) {
            let place = other.path.display();
            return Err(in_the_way(w, format!("branch {} is checked out in the worktree {place}", w.branch)));
        }
        check_vacant(&w.path).map_err(|why| in_the_way(w, why))?;
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
        let worktrees = common_dir(&w.path).map_err(|why| in_the_way(w, why))?;
        let repos = common_dir(&w.repo).map_err(|why| in_the_way(w, why))?;
        if worktrees != repos {
            let [path, other] = [w.path.display(), worktrees.display()];
            return Err(in_the_way(w, format!("{path} belongs to another repository: {other}")));
        }
        let done = self.call(&w.path, &["rev-parse", "HEAD^{commit}", "--symbolic-full-name", "HEAD"]).await?;
        let expected = format!("refs/heads/{}", w.branch);
        match done.trim_end_matches('\n').split('\n').collect::<Vec<_>>()[..] {
            [sha, name] if name == expected => {
                Ok(WorktreeFact { path: w.path.clone(), branch: w.branch.clone(), head_sha: sha.to_owned(), created })
            }
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

/// Whether `path` is a complete worktree on `branch`, by reading three small files and running nothing: for the
/// recovery path, where a git process would cost a thousand times more.
///
/// It does not look at the files of the work tree, nor whether HEAD's commit exists. A repository whose refs are a
/// reftable fails here, as HEAD is not a plain file there; [`Git::head`] answers for it.
///
/// # Errors
/// What is wrong, in words.
pub fn quick_worktree_check(path: &Path, branch: &str) -> Result<(), String> {
    let git_dir = linked_git_dir(path)?;
    let head = read_text(&git_dir.join("HEAD"))?;
    let expected = format!("ref: refs/heads/{branch}");
    if head.trim_end() != expected {
        return Err(format!("{} is at {:?}, not at {expected:?}", path.display(), head.trim_end()));
    }
    match std::fs::read_to_string(git_dir.join("locked")) {
        Ok(reason) if reason.trim() == INITIALIZING => {
            Err(format!("{} is the husk of an unfinished git worktree add", path.display()))
        }
        Ok(_) | Err(_) => Ok(()), // a lock of the user's own is none of our business, and the rule is none at all
    }
}

/// Where the `.git` file of a worktree leads.
fn linked_git_dir(path: &Path) -> Result<PathBuf, String> {
    let link = path.join(".git");
    let about = link.symlink_metadata().map_err(|error| format!("{}: {error}", link.display()))?;
    if !about.is_file() {
        return Err(format!("{} is not a regular file", link.display()));
    }
    let text = read_text(&link)?;
    let git_dir = text.trim_end_matches('\n').strip_prefix("gitdir: ");
    // An absolute path replaces the whole in this join; git 2.48 and later may write relative ones.
    git_dir.map(|git_dir| path.join(git_dir)).ok_or_else(|| format!("{} names no gitdir", link.display()))
}

/// The directory that all worktrees of one repository share, canonical, so that two can be compared.
fn common_dir(top: &Path) -> Result<PathBuf, String> {
    let link = top.join(".git");
    let mut shared = if link.is_dir() { link } else { linked_git_dir(top)? };
    let pointer = shared.join("commondir");
    if pointer.exists() {
        shared = shared.join(read_text(&pointer)?.trim_end_matches('\n'));
    }
    std::fs::canonicalize(&shared).map_err(|error| format!("{}: {error}", shared.display()))
}

fn read_text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
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

/// Whether another git process held a lock: "Unable to create 'X.lock': File exists", in any command.
fn is_contention(failure: &Failure) -> bool {
    let text = failure.stderr.text().unwrap_or_default();
    text.contains(".lock': File exists")
        || (text.contains("could not lock config file") && text.contains("File exists"))
}

fn lock_name(failure: &Failure) -> &str {
    let text = failure.stderr.text().unwrap_or_default();
    let quoted = text.split_once("Unable to create '").and_then(|(_, rest)| rest.split_once('\''));
    quoted.map_or("a lock", |(name, _)| name)
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
fn check_vacant(path: &Path) -> Result<(), String> {
    match std::fs::read_dir(path) {
        Ok(mut entries) if entries.next().is_none() => Ok(()),
        Ok(_) => Err(format!("{} exists, is not empty and is not ours", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{}: {error}", path.display())),
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
