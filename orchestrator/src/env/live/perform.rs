//! Performing effects: one task each, idempotent by token, with a deadline on every step.

use super::World;
use super::hang::Hung;
use super::launcher;
use super::line::hand_line;
use super::look::look_at;
use super::remains::{self, Asked};
use super::sample;
use crate::domain::effect::{Effect, FileToWrite, Launch, Ordered, RoleLook, Way};
use crate::domain::event::{Event, Fact, Happened, Head, LeftAlone, PaneUp, RoleFound, Source};
use crate::domain::failure::{Ending, Failure, FailureKind, Program, Stderr};
use crate::domain::hooks;
use crate::domain::id::{ProcessId, Token};
use crate::domain::limits::{self, deadline};
use crate::domain::project::Pin;
use crate::domain::time::Span;
use crate::env::files::{self, Ensured, Found, InspectLimits};
use crate::env::git::{Git, WorktreeSpec};
use crate::env::process;
use crate::env::run::spawn_kind;
use crate::env::tmux::{self, Control, Created, LaunchPane, Pane, TmuxError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Free space below which nothing new is started: a worktree and a journal need room to be written whole.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// How long git's work for one effect may take: several processes, each within its own deadline, and a wait for the
/// lock of another git.
const GIT_WORK: Span = Span(5 * deadline::GIT.0);

/// How long the sweep waits for its list: with a sweep every 5 s, a server that hangs shows as unknown within the 10 s
/// that G4 allows.
const SWEEP_PATIENCE: Duration = Duration::from_secs(4);

/// Performs one effect and tells how it came out, under the source and moment that led to it.
pub(super) async fn perform(world: World, ordered: Ordered) {
    if ordered.effect == Effect::ListPanes {
        tokio::join!(list_panes(&world), remains::sweep(&world));
        return;
    }
    if ordered.effect == Effect::Survey {
        super::watches::survey(&world).await;
        return;
    }
    let result = dispatch(&world, &ordered).await.map_err(Box::new);
    let Ordered { id, project, role, source, seen_at, .. } = ordered;
    let event = Event::Settled { effect: id, project, role, result };
    // A closed inbox means that the loop has ended; the outbox row stays open and is settled at the next start.
    drop(world.inbox.send(Happened { seen_at, source, event }).await);
}

async fn list_panes(world: &World) {
    // The link tells of its own loss; a sweep that cannot ask just finds nothing out.
    let Ok(control) = world.link.control(Duration::ZERO).await else { return };
    super::link::keep_socket(world, control.server()).await;
    match tokio::time::timeout(SWEEP_PATIENCE, tmux::list_panes(&control)).await {
        Ok(Ok(panes)) => world.tell(Source::Sweep, super::link::listed(&control, panes)).await,
        Ok(Err(error)) => tracing::warn!(%error, "panes could not be listed"),
        Err(_) => {
            // Hung, or very slow: nothing is known until it answers again (G4). The connection is kept.
            let reason = format!("tmux has not answered for {} s", SWEEP_PATIENCE.as_secs());
            world.tell(Source::Sweep, Event::TmuxLost { reason }).await;
        }
    }
}

async fn dispatch(world: &World, ordered: &Ordered) -> Result<Fact, Failure> {
    match &ordered.effect {
        Effect::Preflight { repo, base_sha, programs } => preflight(world, ordered, repo, base_sha, programs).await,
        Effect::EnsureWorktree { repo, path, branch, base, park } => {
            let wanted = WorktreeSpec {
                repo: PathBuf::from(repo),
                path: world.path(path),
                branch: branch.clone(),
                base: base.clone(),
                park: world.path(park),
            };
            let turn = world.turns.take(repo).await;
            let make = async move |git: Git| git.ensure_worktree(&wanted).await;
            let made = git_at(world, ordered, PathBuf::from(repo), make).await;
            drop(turn);
            let made = made?;
            let parked = made.parked.iter().map(|place| place.display().to_string()).collect();
            Ok(Fact::WorktreeReady { head_sha: made.head_sha, created: made.created, parked })
        }
        Effect::EnsureFiles { worktree, files, park } => {
            let (worktree, park) = (world.path(worktree), world.path(park));
            let files = files.clone();
            let written = at_place(world, ordered, worktree.clone(), move || ensure_files(&worktree, &files, &park));
            written.await?.map_err(|error| io_failure(ordered, &error))
        }
        Effect::Look { roles } => Ok(Fact::Looked { roles: look(world, ordered, roles).await? }),
        Effect::EndRemains { tokens } => {
            let ended = remains::end(world, ordered, tokens).await?;
            Ok(Fact::RemainsEnded { tokens: tokens.clone(), ended })
        }
        Effect::EnsureSession { session, token, launches } => {
            ensure_session(world, ordered, session, token, launches).await
        }
        Effect::Respawn { session, session_token, pane, old_token, launch } => {
            let old = (pane.as_deref(), old_token.as_ref().map(|token| token.0.as_str()));
            respawn(world, ordered, (session, session_token), old, launch).await
        }
        Effect::HandBrief { pane, token, line, again } => {
            hand_line(world, ordered, (pane, token), line, *again).await.map(|()| Fact::BriefHanded)
        }
        Effect::Nudge { pane, token, line } => {
            hand_line(world, ordered, (pane, token), line, false).await.map(|()| Fact::Nudged)
        }
        Effect::Sample { pane, process } => sample::sample(world, ordered, pane, *process).await,
        Effect::Collect { session, session_token, pane, process, stderr, server, started_at } => {
            let asked = Asked {
                session,
                session_token,
                pane: pane.as_deref(),
                process: *process,
                stderr,
                server: *server,
                started_at: *started_at,
            };
            remains::collect(world, ordered, asked).await
        }
        Effect::Certify { roles } => certify(world, ordered, roles).await,
        Effect::EndSession { session, token, tokens } => {
            let control = control(world, ordered).await?;
            remains::look_before(world, ordered).await?;
            tmux::kill_session(&control, session, &token.0).await.map_err(|error| tmux_failure(ordered, &error))?;
            remains::end(world, ordered, tokens).await?;
            Ok(Fact::SessionEnded)
        }
        // Performed above; they answer with events of their own, not with a settlement.
        Effect::ListPanes | Effect::Survey => Err(Failure::of_operation(
            ordered.stage,
            FailureKind::Io,
            words(ordered),
            "a list or a survey has no settlement",
        )),
    }
}

/// What the launch will need is looked for before anything is made (DESIGN.md, section 8).
async fn preflight(
    world: &World,
    ordered: &Ordered,
    repo: &str,
    base_sha: &str,
    programs: &[String],
) -> Result<Fact, Failure> {
    let invalid = |what: &str, why: String| {
        Failure::of_operation(ordered.stage, FailureKind::Invalid, vec!["preflight".to_owned(), what.to_owned()], why)
    };
    let (repo, base) = (PathBuf::from(repo), base_sha.to_owned());
    let look = {
        let repo = repo.clone();
        async move |git: Git| git.resolve(&git.inspect_repo(&repo).await?.root, &base).await
    };
    git_at(world, ordered, repo, look).await?;
    let path = world.places.tmux.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    for program in programs {
        let (path, wanted) = (path.clone().unwrap_or_default(), program.clone());
        if !at_place(world, ordered, PathBuf::from(program), move || findable(&path, &wanted)).await? {
            return Err(invalid(program, format!("the agent's program {program:?} is not on PATH")));
        }
    }
    let home = world.places.home.clone();
    match at_place(world, ordered, home.clone(), move || files::free_bytes(&home)).await? {
        Ok(free) if free < FREE_BYTES_MIN => {
            let why = format!("only {free} bytes are free where the installation is; {FREE_BYTES_MIN} are needed");
            Err(Failure { kind: FailureKind::Io, ..invalid("disk", why) })
        }
        Ok(_) => Ok(Fact::Preflighted),
        Err(error) => Err(Failure { kind: io_kind(&error), ..invalid("disk", error.to_string()) }),
    }
}

/// Whether the program can be found as the agent's exec will look for it; a relative path is the worktree's affair.
fn findable(path: &str, program: &str) -> bool {
    if program.contains('/') {
        return !program.starts_with('/') || Path::new(program).is_file();
    }
    path.split(':').any(|directory| Path::new(directory).join(program).is_file())
}

fn ensure_files(worktree: &Path, files: &[FileToWrite], park: &Path) -> std::io::Result<Fact> {
    let (mut parked, mut left) = (Vec::new(), Vec::new());
    for file in files {
        if file.way != Way::Exact {
            if let Err(error) = add_to_file(worktree, file) {
                if files::lacking(&error) {
                    return Err(error);
                }
                left.push(LeftAlone { path: file.path.clone(), why: error.to_string() });
            }
            continue;
        }
        let ensured = files::ensure(worktree, Path::new(&file.path), file.content.as_bytes(), 0o600, park)
            .map_err(|error| files::in_words(format!("write {}: {error}", file.path), &error))?;
        if let Ensured::Replaced { parked: place } = ensured {
            parked.push(place.display().to_string());
        }
    }
    let first = files.first().map(|file| worktree.join(&file.path)).unwrap_or_default();
    let found = files::inspect(&first, InspectLimits { bytes_max: limits::CLAUDE_MD_BYTES_MAX });
    if let Found::Regular { size, sha256, .. } = found {
        return Ok(Fact::FilesReady { claude_md: Pin { size, sha256 }, parked, left });
    }
    let words = format!("read back {}: {found:?}", first.display());
    Err(if let Found::NotNow { .. } = found { files::not_now(words) } else { std::io::Error::other(words) })
}

/// Adds our part to a file that somebody else owns; one of ours that is missing is private.
fn add_to_file(worktree: &Path, file: &FileToWrite) -> std::io::Result<()> {
    let content = file.content.as_ref();
    files::rewrite(worktree, Path::new(&file.path), limits::SETTINGS_BYTES_MAX, 0o600, |there| match file.way {
        Way::MergeHooks => match hooks::merge(there, content) {
            Ok(merged) => Ok(merged.map(String::into_bytes)),
            Err(error) => Err(error.to_string()),
        },
        Way::Exact | Way::IfMissing => Ok(there.is_none().then(|| content.as_bytes().to_vec())),
    })
}

async fn look(world: &World, ordered: &Ordered, roles: &[RoleLook]) -> Result<Vec<RoleFound>, Failure> {
    let mut all = Vec::with_capacity(roles.len());
    // One after the other, so that it can be said where it hangs.
    for role in roles {
        let (there, place, role) = (world.clone(), world.path(&role.worktree), role.clone());
        let found = at_place(world, ordered, place, move || look_at(&there, &role)).await?;
        all.push(
            found.map_err(|why| Failure::of_operation(ordered.stage, FailureKind::Exhausted, words(ordered), why))?,
        );
    }
    Ok(all)
}

async fn certify(world: &World, ordered: &Ordered, roles: &[RoleLook]) -> Result<Fact, Failure> {
    let found = look(world, ordered, roles).await?;
    let mut heads = Vec::with_capacity(roles.len());
    for (role, seen) in roles.iter().zip(&found) {
        // git has nothing to say about a worktree that is not one; the look says that already.
        if seen.worktree.is_some() {
            continue;
        }
        let worktree = world.path(&role.worktree);
        let place = worktree.clone();
        let head = git_at(world, ordered, place, async move |git: Git| git.head(&worktree).await).await?;
        heads.push(Head { role: role.role.clone(), sha: head.sha, dirty: head.dirty });
    }
    Ok(Fact::Certified { roles: found, heads })
}

pub(super) async fn control(world: &World, ordered: &Ordered) -> Result<Control, Failure> {
    let patience = Duration::from_micros(deadline::TMUX.0);
    world.link.control(patience).await.map_err(|error| tmux_failure(ordered, &error))
}

async fn ensure_session(
    world: &World,
    ordered: &Ordered,
    session: &str,
    token: &Token,
    launches: &[Launch],
) -> Result<Fact, Failure> {
    let failed = |error: TmuxError| tmux_failure(ordered, &error);
    let io = |error: std::io::Error| io_failure(ordered, &error);
    let control = control(world, ordered).await?;
    // Of what is asked for the first time nothing can be there: its creation is one message, settled by its token.
    let again = launches.iter().any(|launch| launch.again);
    let there = if again { tmux::list_session_panes(&control, session).await.map_err(failed)? } else { Vec::new() };
    let missing = without_pane(session, token, launches, &there);
    let outlived: Vec<Token> =
        missing.iter().filter(|launch| launch.again).map(|launch| launch.token.clone()).collect();
    if !outlived.is_empty() {
        remains::end(world, ordered, &outlived).await?;
    }
    for launch in &missing {
        launcher::write_manifest(world, launch).map_err(io)?;
    }
    let panes: Vec<LaunchPane> = launches.iter().map(|launch| launcher::pane(world, launch)).collect();
    let adopted = match tmux::create_session(&control, session, &token.0, &panes).await.map_err(failed)? {
        Created::New => false,
        Created::Adopted => true,
        Created::Conflict => {
            missing.iter().for_each(|launch| launcher::forget_manifest(world, launch));
            let message = format!("a session named {session} exists and is not ours");
            let refused = failed(TmuxError::Refused { argv: words(ordered), message });
            return Err(Failure { kind: FailureKind::NameConflict, ..refused });
        }
    };
    let seen = tmux::list_session_panes(&control, session).await.map_err(failed)?;
    let panes = launches.iter().filter_map(|launch| pane_up(launch, &seen).transpose()).collect::<Result<_, _>>();
    let panes = panes.map_err(io)?;
    let server = control.server();
    Ok(Fact::SessionUp { adopted, panes, server: ProcessId { pid: server.pid, start: server.start } })
}

/// Those that have no pane in their session. Of one that was asked for before, what that try has started may be gone
/// again, pane or session, and its agent may have outlived that (G5).
fn without_pane<'a>(session: &str, token: &Token, launches: &'a [Launch], there: &[Pane]) -> Vec<&'a Launch> {
    let ours: Vec<&Pane> =
        there.iter().filter(|pane| pane.session == session && pane.session_token.as_ref() == Some(&token.0)).collect();
    let paned = |launch: &Launch| ours.iter().any(|pane| pane.role_token.as_ref() == Some(&launch.token.0));
    launches.iter().filter(|launch| !paned(launch)).collect()
}

/// How the pane of a launch came up, if it is there.
///
/// # Errors
/// The system's, if its process cannot be looked at: no process would mean that it has ended.
fn pane_up(launch: &Launch, seen: &[Pane]) -> std::io::Result<Option<PaneUp>> {
    let pane = seen.iter().find(|pane| pane.role_token.as_ref() == Some(&launch.token.0));
    let up = |pane: &Pane| {
        let process = if pane.dead { None } else { process::look_up(pane.pid)? };
        Ok(PaneUp { role: launch.role.clone(), pane: pane.pane.clone(), process })
    };
    pane.map(up).transpose()
}

async fn respawn(
    world: &World,
    ordered: &Ordered,
    (session, session_token): (&str, &Token),
    (pane, old_token): (Option<&str>, Option<&str>),
    launch: &Launch,
) -> Result<Fact, Failure> {
    let failed = |error: TmuxError| tmux_failure(ordered, &error);
    let control = control(world, ordered).await?;
    let io = |error: std::io::Error| io_failure(ordered, &error);
    // What an earlier try whose outcome is unknown has started is found by its token, and is not started again.
    let mut there = tmux::list_session_panes(&control, session).await.map_err(failed)?;
    there.retain(|pane| pane.session_token.as_ref() == Some(&session_token.0));
    if let Some(up) = pane_up(launch, &there).map_err(io)? {
        return Ok(Fact::AgentUp(up));
    }
    if launch.again {
        remains::end(world, ordered, std::slice::from_ref(&launch.token)).await?;
    }
    // Of such a try the record knows only the new token; the pane then still carries an older one, whose processes
    // were proved gone before this was ordered.
    let carried =
        there.iter().find(|seen| Some(seen.pane.as_str()) == pane).and_then(|seen| seen.role_token.as_deref());
    let old_token = if old_token == Some(launch.token.0.as_str()) { carried } else { old_token };
    // A pane that somebody closed is not there to be used again: the role gets a new window.
    let pane = match pane {
        Some(pane) if tmux::pane_end(&control, pane).await.map_err(failed)? != tmux::PaneEnd::Gone => Some(pane),
        Some(_) | None => None,
    };
    launcher::write_manifest(world, launch).map_err(io)?;
    let launched = launcher::pane(world, launch);
    let respawned = tmux::respawn(&control, (session, &session_token.0), pane, old_token, &launched).await;
    if let Err(TmuxError::Refused { .. }) = respawned {
        launcher::forget_manifest(world, launch);
    }
    respawned.map_err(failed)?;
    let seen = tmux::list_session_panes(&control, session).await.map_err(failed)?;
    pane_up(launch, &seen).map_err(io)?.map(Fact::AgentUp).ok_or_else(|| {
        failed(TmuxError::Refused { argv: words(ordered), message: "the new pane is not in its session".to_owned() })
    })
}

/// Runs what works at one directory; its file system may hang, and then so does the thread, but nobody else.
pub(super) async fn at_place<T: Send + 'static>(
    world: &World,
    ordered: &Ordered,
    place: PathBuf,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    within(world, ordered, place, deadline::FILES, work).await
}

/// Lets git work at one directory, on a thread that may block: it reads and moves files between its processes, and even
/// the start of a process waits for the directory that it starts in.
async fn git_at<T: Send + 'static>(
    world: &World,
    ordered: &Ordered,
    place: PathBuf,
    work: impl AsyncFnOnce(Git) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (git, runtime) = (world.places.git.clone(), Handle::current());
    // If nobody waits for it any more it is dropped, and its processes end with it.
    let (_waits, given_up) = oneshot::channel::<()>();
    let run = move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = given_up => None,
                done = work(git) => Some(done),
            }
        })
    };
    let done = within(world, ordered, place, GIT_WORK, run).await?;
    let given_up = || Failure::of_operation(ordered.stage, FailureKind::TimedOut, words(ordered), "it was given up");
    done.ok_or_else(given_up)?.map_err(|failure| Failure { stage: ordered.stage, ..failure })
}

async fn within<T: Send + 'static>(
    world: &World,
    ordered: &Ordered,
    place: PathBuf,
    limit: Span,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    world.stuck.run(&place, Duration::from_micros(limit.0), work).await.map_err(|hung| {
        let mut what = words(ordered);
        what.push(place.display().to_string());
        let (kind, ending) = match hung {
            Hung::Deadline => (FailureKind::TimedOut, Ending::DeadlinePassed(limit)),
            Hung::Already => {
                (FailureKind::TimedOut, Ending::Reason("what was begun there before still hangs".to_owned()))
            }
            Hung::Ended(why) => (FailureKind::Io, Ending::Reason(why)),
        };
        let hint = Some("does its file system answer?".to_owned()).filter(|_| kind == FailureKind::TimedOut);
        Failure { ending, hint, ..Failure::of_operation(ordered.stage, kind, what, "") }
    })
}

/// Runs what blocks on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    ordered: &Ordered,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Failure::of_operation(ordered.stage, FailureKind::Io, words(ordered), format!("its thread ended: {error}"))
    })
}

/// A file operation's failure as evidence.
pub(super) fn io_failure(ordered: &Ordered, error: &std::io::Error) -> Failure {
    Failure::of_operation(ordered.stage, io_kind(error), words(ordered), error.to_string())
}

/// Whether a file operation failed for want of our own resources.
pub(super) fn io_kind(error: &std::io::Error) -> FailureKind {
    if files::lacking(error) { FailureKind::Exhausted } else { FailureKind::Io }
}

/// The operation in words, for evidence.
pub(super) fn words(ordered: &Ordered) -> Vec<String> {
    let mut words = vec![ordered.effect.name().to_owned()];
    words.extend(ordered.role.as_ref().map(ToString::to_string));
    words
}

/// tmux's refusal, silence or loss as evidence.
pub(super) fn tmux_failure(ordered: &Ordered, error: &TmuxError) -> Failure {
    let (kind, ending, argv) = match error {
        TmuxError::Timeout { argv, after } => {
            let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
            (FailureKind::TimedOut, Ending::DeadlinePassed(Span(micros)), argv.clone())
        }
        TmuxError::Spawn { source, .. } => (spawn_kind(source), Ending::NotStarted(source.to_string()), words(ordered)),
        TmuxError::Io { source, .. } if files::lacking(source) => {
            (FailureKind::Exhausted, Ending::Reason(error.to_string()), words(ordered))
        }
        TmuxError::Refused { argv, message } => {
            (FailureKind::SubprocessFailed, Ending::Reason(message.clone()), argv.clone())
        }
        // Sent or not, done or not: nobody can tell.
        TmuxError::Lost { .. } => (FailureKind::SubprocessFailed, Ending::Lost(error.to_string()), words(ordered)),
        TmuxError::Io { .. }
        | TmuxError::BadArgument { .. }
        | TmuxError::Protocol { .. }
        | TmuxError::TooOld { .. }
        | TmuxError::Socket { .. } => {
            (FailureKind::SubprocessFailed, Ending::Reason(error.to_string()), words(ordered))
        }
    };
    Failure {
        stage: ordered.stage,
        kind,
        program: Program::Tmux,
        argv: if argv.is_empty() { words(ordered) } else { argv },
        cwd: None,
        ending,
        // Over the control connection tmux's words come in the reply; there is no stderr to capture.
        stderr: Stderr::Null,
        stdout_tail: String::new(),
        duration: Span(0),
        hint: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::tests::apart;
    use super::*;
    use crate::domain::failure::Stage;
    use crate::env::scarce;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::sync::Arc;

    const OURS: &str = r##"{
  "hooks": {
    "Stop": [
      {"hooks": [{"command": "true # orch hook 1"}]}
    ]
  }
}
"##;

    fn git(dir: &Path, args: &[&str]) -> String {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"];
        let out = Command::new("git")
            .args(identity)
            .args(args)
            .current_dir(dir)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .unwrap();
        assert!(out.status.success(), "git {args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// A repository with these files and a worktree of it.
    fn worktree(dir: &Path, tracked: &[(&str, &str)]) -> PathBuf {
        let (repo, tree) = (dir.join("repo"), dir.join("tree"));
        fs::create_dir(&repo).unwrap();
        git(&repo, &["init", "-q"]);
        for (path, text) in tracked {
            fs::create_dir_all(repo.join(path).parent().unwrap()).unwrap();
            fs::write(repo.join(path), text).unwrap();
        }
        git(&repo, &["add", "-A"]);
        git(&repo, &["commit", "-q", "--allow-empty", "-m", "first"]);
        git(&repo, &["worktree", "add", "-q", "-b", "work", tree.to_str().unwrap()]);
        tree
    }

    fn ensure(tree: &Path) -> (Vec<String>, Vec<LeftAlone>) {
        let file = |path: &str, way, text: &str| FileToWrite { path: path.to_owned(), way, content: Arc::from(text) };
        let files = [
            file("CLAUDE.md", Way::Exact, "# Role\n"),
            file(".claude/.gitignore", Way::IfMissing, "/settings.local.json\n/.gitignore\n"),
            file(".claude/settings.local.json", Way::MergeHooks, OURS),
        ];
        match ensure_files(tree, &files, &tree.parent().unwrap().join("park")) {
            Ok(Fact::FilesReady { parked, left, .. }) => (parked, left),
            other => panic!("{other:?}"),
        }
    }

    fn status(tree: &Path) -> String {
        git(tree, &["status", "--porcelain", "--untracked-files=all", "--", ".claude"])
    }

    #[test]
    fn hooks_are_written_where_git_does_not_see_them() {
        let dir = tempfile::tempdir().unwrap();
        let tree = worktree(dir.path(), &[]);
        for _ in 0..2 {
            assert_eq!(ensure(&tree), (vec![], vec![]));
            assert_eq!(fs::read_to_string(tree.join(".claude/settings.local.json")).unwrap(), OURS);
            assert_eq!(status(&tree), "");
        }
        assert!(!dir.path().join("repo/.claude").exists());
    }

    #[test]
    fn hooks_are_added_to_tracked_settings_which_show_as_modified() {
        let dir = tempfile::tempdir().unwrap();
        let tracked = [(".claude/settings.local.json", "{\"model\":\"opus\"}\n"), (".claude/.gitignore", "mine\n")];
        let tree = worktree(dir.path(), &tracked);
        assert_eq!(ensure(&tree), (vec![], vec![]));
        let text = fs::read_to_string(tree.join(".claude/settings.local.json")).unwrap();
        assert!(text.starts_with("{\"model\":\"opus\",\n  \"hooks\": {\n    \"Stop\": ["), "{text}");
        assert_eq!(fs::read_to_string(tree.join(".claude/.gitignore")).unwrap(), "mine\n");
        assert_eq!(status(&tree), " M .claude/settings.local.json\n");
        git(&tree, &["checkout", "-q", "--", ".claude"]);
        assert_eq!(ensure(&tree), (vec![], vec![]));
        assert_eq!(fs::read_to_string(tree.join(".claude/settings.local.json")).unwrap(), text);
    }

    #[test]
    fn settings_that_cannot_be_added_to_are_left_alone() {
        let check = |make: &dyn Fn(&Path), why: &str| {
            let dir = tempfile::tempdir().unwrap();
            let tree = worktree(dir.path(), &[]);
            fs::create_dir(tree.join(".claude")).unwrap();
            let settings = tree.join(".claude/settings.local.json");
            make(&settings);
            let before = files::inspect(&settings, InspectLimits { bytes_max: 1 << 20 });
            let (parked, left) = ensure(&tree);
            assert_eq!((parked.len(), left.len()), (0, 1), "{left:?}");
            assert!(left[0].path == ".claude/settings.local.json" && left[0].why.contains(why), "{left:?}");
            assert_eq!(files::inspect(&settings, InspectLimits { bytes_max: 1 << 20 }), before);
        };
        check(&|path| fs::write(path, "{ // mine\n}").unwrap(), "comments and trailing commas are not allowed");
        check(&|path| fs::write(path, b"\xff\xfe{").unwrap(), "not UTF-8");
        check(&|path| symlink("../../shared.json", path).unwrap(), "it is a symlink to ../../shared.json");
        check(&|path| fs::create_dir(path).unwrap(), "it is a directory");
        check(&|path| fs::write(path, vec![b' '; (4 << 20) + 1]).unwrap(), "at most 4194304 are read");
    }

    /// Hooks, too: a file that could not be read just now was not refused.
    #[test]
    fn without_descriptors_files_that_cannot_be_written_are_our_lack() {
        if !scarce::is_here("env::live::perform::tests::without_descriptors_files_that_cannot_be_written_are_our_lack")
        {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let tree = worktree(dir.path(), &[]);
        let file = |path: &str, way| FileToWrite { path: path.to_owned(), way, content: Arc::from(OURS) };
        let files = [file("CLAUDE.md", Way::Exact), file(".claude/settings.local.json", Way::MergeHooks)];
        let park = dir.path().join("park");
        ensure_files(&tree, &files, &park).unwrap();
        let mut taken = scarce::take_all();
        assert_eq!(io_kind(&ensure_files(&tree, &files, &park).unwrap_err()), FailureKind::Exhausted);
        for free in 0..10 {
            match ensure_files(&tree, &files, &park) {
                Ok(Fact::FilesReady { parked, left, .. }) => {
                    assert_eq!((parked, left), (vec![], vec![]), "{free} left")
                }
                Ok(other) => panic!("{other:?}"),
                Err(error) => assert_eq!(io_kind(&error), FailureKind::Exhausted, "with {free} left: {error}"),
            }
            drop(taken.pop());
        }
        assert!(ensure_files(&tree, &files, &park).is_ok());
    }

    #[tokio::test]
    async fn git_that_blocks_its_thread_holds_up_nobody_and_ends_with_whoever_waits() {
        let home = tempfile::tempdir().unwrap();
        let (world, _events) = apart(home.path());
        let (effect, seen_at) = (Effect::Survey, crate::domain::time::Timestamp(0));
        let (id, stage, source) = (crate::domain::id::EffectId(1), Stage::Provision, Source::Effect);
        let ordered = Ordered { id, project: None, role: None, stage, source, seen_at, effect };
        let (release, released) = std::sync::mpsc::channel();
        let blocks = async move |_: Git| {
            released.recv_timeout(Duration::from_secs(30)).expect("the runtime goes on");
            Ok(7)
        };
        let others = async { release.send(()).expect("it waits") };
        let (done, ()) = tokio::join!(git_at(&world, &ordered, "/blocks".into(), blocks), others);
        assert_eq!(done.unwrap(), 7);

        let (held, dropped) = oneshot::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let lasts = async move |_: Git| {
            let _held = held;
            begin.send(()).expect("somebody listens");
            std::future::pending::<Result<(), Failure>>().await
        };
        let waits = tokio::spawn(async move { git_at(&world, &ordered, "/lasts".into(), lasts).await });
        begun.await.expect("it has begun");
        waits.abort();
        let ended = tokio::time::timeout(Duration::from_secs(30), dropped).await;
        ended.expect("its processes would go on").expect_err("dropped");
    }
}
