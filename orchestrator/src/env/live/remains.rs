//! What an agent leaves: gathering it as evidence, and ending it.

use super::World;
use super::perform::{at_place, io_failure, io_kind, tmux_failure};
use crate::domain::effect::Ordered;
use crate::domain::event::{Fact, PaneEnd, Remains};
use crate::domain::failure::{Failure, FailureKind, Stderr};
use crate::domain::id::{ProcessId, Token};
use crate::domain::limits::{self, deadline};
use crate::domain::time::{Span, Timestamp};
use crate::env::files;
use crate::env::process::{self, EndError, PROC};
use crate::env::tmux::{self, Control};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// What is asked about an agent.
pub(super) struct Asked<'a> {
    pub(super) session: &'a str,
    pub(super) session_token: &'a Token,
    pub(super) pane: Option<&'a str>,
    pub(super) process: Option<ProcessId>,
    pub(super) stderr: &'a str,
    pub(super) server: Option<ProcessId>,
    pub(super) started_at: Option<Timestamp>,
}

/// Gathers the evidence: tmux's word on pane and session, the process, its standard error, its screen.
pub(super) async fn collect(world: &World, ordered: &Ordered, asked: Asked<'_>) -> Result<Fact, Failure> {
    let patience = Duration::from_micros(deadline::TMUX.0);
    let failed = |error| tmux_failure(ordered, &error);
    let control = world.link.control(patience).await.map_err(failed)?;
    let server = control.server();
    let server_changed = asked.server.is_some_and(|known| known != ProcessId { pid: server.pid, start: server.start });
    let session_present = !server_changed
        && tmux::session_present(&control, asked.session, &asked.session_token.0).await.map_err(failed)?;
    let (pane, screen) = match asked.pane {
        Some(pane) if session_present => pane_remains(&control, pane).await.map_err(failed)?,
        Some(_) | None => (PaneEnd::Gone, String::new()),
    };
    let limit = u64::try_from(limits::TAIL_BYTES_MAX).unwrap_or(u64::MAX);
    let path = world.path(asked.stderr);
    let stderr = match at_place(world, ordered, path.clone(), move || files::tail(&path, limit)).await {
        Ok(Ok(Some(tail))) => Stderr::captured(tail),
        Ok(Ok(None) | Err(_)) | Err(_) => Stderr::Null,
    };
    let lifetime = asked.started_at.map_or(Span(0), |started| ordered.seen_at.since(started));
    let alive = asked.process.is_some_and(process::is_alive);
    Ok(Fact::Collected(Box::new(Remains { pane, session_present, server_changed, alive, stderr, screen, lifetime })))
}

async fn pane_remains(control: &Control, pane: &str) -> Result<(PaneEnd, String), tmux::TmuxError> {
    let end = match tmux::pane_end(control, pane).await? {
        tmux::PaneEnd::Gone => return Ok((PaneEnd::Gone, String::new())),
        tmux::PaneEnd::Alive { .. } => PaneEnd::Alive,
        tmux::PaneEnd::Dead { status, signal } => PaneEnd::Dead { code: status, signal },
    };
    let screen = tmux::capture(control, pane, limits::TAIL_BYTES_MAX).await.unwrap_or_default();
    Ok((end, screen))
}

/// Looks who belongs to which agent; one that cannot be had leaves what was seen before.
pub(super) async fn sweep(world: &World) {
    let kin = world.kin.clone();
    let look = async move { spawn_blocking(move || kin.look()).await.unwrap_or_else(|error| Err(error.into())) };
    if let Some(Err(error)) = world.looking_at_kin.run("a look at the agents' processes", look).await {
        tracing::warn!(%error, "the agents' processes cannot be looked at");
    }
}

/// A look of its own before something is ended: who belongs to whom shows only while the parents live, and a look that
/// the sweep has under way may have passed them already.
pub(super) async fn look_before(world: &World, ordered: &Ordered) -> Result<(), Failure> {
    let kin = world.kin.clone();
    let looked = at_place(world, ordered, PathBuf::from(PROC), move || kin.look()).await?;
    looked.map_err(|error| io_failure(ordered, &error))
}

/// Ends every session and process that belongs to one of the tokens, and proves that none is left (G5, T11).
pub(super) async fn end(world: &World, ordered: &Ordered, tokens: &[Token]) -> Result<u32, Failure> {
    let patience = Duration::from_micros(deadline::TMUX.0);
    let failed = |error| tmux_failure(ordered, &error);
    let control = world.link.control(patience).await.map_err(failed)?;
    let wanted: BTreeSet<String> = tokens.iter().map(|token| token.0.clone()).collect();
    let panes = tmux::list_panes(&control).await.map_err(failed)?;
    let sessions: BTreeSet<(String, String)> = panes
        .into_iter()
        .filter_map(|pane| pane.session_token.map(|token| (pane.session, token)))
        .filter(|(_, token)| wanted.contains(token))
        .collect();
    look_before(world, ordered).await?;
    for (session, token) in sessions {
        tmux::kill_session(&control, &session, &token).await.map_err(failed)?;
    }
    match world.kin.end(&wanted, process::END_GRACE).await {
        Ok(ended) => Ok(ended.term + ended.kill),
        Err(error) => {
            let what = vec!["end".to_owned(), "what an older incarnation left".to_owned()];
            let (kind, why) = match &error {
                EndError::Scan(source) => (io_kind(source), format!("{error}: {source}")),
                EndError::Survivors { .. } => (FailureKind::Io, error.to_string()),
            };
            Err(Failure::of_operation(ordered.stage, kind, what, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::tests::apart;
    use super::*;
    use crate::domain::effect::Effect;
    use crate::domain::event::Source;
    use crate::domain::failure::Stage;
    use crate::domain::id::EffectId;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    /// A look of the sweep's that is under way may have passed what has come since.
    #[tokio::test]
    async fn an_end_looks_for_itself_while_the_sweep_looks() {
        let home = tempfile::tempdir().expect("a directory");
        let (world, _events) = apart(home.path());
        let token = Token("0123456789abcdef0123456789abcdef".to_owned());
        let mut agent = Command::new("sh");
        agent.args(["-c", "env -i sh -c 'echo $$; exec sleep 300' & exec sleep 300"]).stdout(Stdio::piped());
        let mut agent = agent.spawn().expect("started");
        world.kin.root(&token, process::identify(agent.id()).expect("it lives"));
        let mut said = String::new();
        BufReader::new(agent.stdout.take().expect("piped")).read_line(&mut said).expect("said");
        let child = process::identify(said.trim().parse().expect("a pid")).expect("it lives");

        let effect = Effect::EndRemains { tokens: vec![token.clone()] };
        let (project, role, stage, source) = (None, None, Stage::Run, Source::Sweep);
        let ordered = Ordered { id: EffectId(1), project, role, stage, source, seen_at: Timestamp(0), effect };
        let ended = async {
            let looked = look_before(&world, &ordered).await;
            agent.kill().expect("killed");
            agent.wait().expect("waited for");
            looked.expect("looked");
            world.kin.end(&BTreeSet::from([token.0]), process::END_GRACE).await.expect("ended");
            process::is_alive(child)
        };
        assert_eq!(world.looking_at_kin.run("a look", ended).await, Some(false), "its child is known");
    }
}
