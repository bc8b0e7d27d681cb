//! Sessions and panes: what the orchestrator asks of tmux.
//!
//! An operation that runs into its deadline may still be performed later, and not in the order of what another
//! connection asks meanwhile. So each is safe to repeat, and those that end or double something carry a condition
//! that the server judges at the moment it acts.

use super::client::KEEPER;
use super::command::{check_launch, check_name, check_pane, exact};
use super::parse::{PANE_FORMAT, PANE_TAG, SESSION_TAG};
use super::{Command, Control, Pane, TmuxError, server};

/// The longest name of a session and of a window; every version of tmux takes these as they are (T3, T4).
const SESSION_NAME_MAX: usize = 40;
const WINDOW_NAME_MAX: usize = 32;
const TOKEN_MAX: usize = 64;

/// How often an end without evidence is read again after the server was told to look (T24).
const END_READS: usize = 3;

/// A pane to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPane {
    /// The window's name: the role's, `[a-z0-9-]{1,32}`.
    pub window: String,
    /// What marks the pane as this incarnation of the role.
    pub token: String,
    /// Variables of this pane's process alone, over those the server was started with.
    pub env: Vec<(String, String)>,
    /// The program and its arguments. It starts in `/` and must change directory itself (T14); one that cannot be
    /// started ends with 126 or 127 and the reason on the screen.
    pub argv: Vec<String>,
}

impl LaunchPane {
    fn check(&self) -> Result<(), TmuxError> {
        check_name("window", &self.window, WINDOW_NAME_MAX)?;
        check_token(&self.token)?;
        check_launch(&self.env, &self.argv)
    }
}

/// What came of creating a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It did not exist, and does now.
    New,
    /// It existed with the same token, and has every window now.
    Adopted,
    /// A session of that name exists that is not this incarnation's; it was left alone.
    Conflict,
}

/// How a pane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaneEnd {
    /// There is no such pane.
    Gone,
    /// Its process runs.
    Alive {
        /// The process.
        pid: u32,
    },
    /// Its process ended. With neither field known, tmux lost the exit status for good.
    Dead {
        /// The exit code.
        status: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
}

pub(super) fn check_token(token: &str) -> Result<(), TmuxError> {
    check_name("token", token, TOKEN_MAX)
}

/// Lists all panes of the server but the keeper's, in one answer (T21).
///
/// # Errors
/// As [`Control::run`].
pub async fn list_panes(control: &Control) -> Result<Vec<Pane>, TmuxError> {
    let answer = control.run(&[Command::list_all_panes(PANE_FORMAT)]).await?;
    let panes = answer.iter().flatten().filter_map(|line| Pane::parse(line));
    Ok(panes.filter(|pane| pane.session != KEEPER).collect())
}

/// The panes of one session; none if there is no such session.
///
/// # Errors
/// As [`Control::run`].
pub async fn list_session_panes(control: &Control, session: &str) -> Result<Vec<Pane>, TmuxError> {
    check_name("session", session, SESSION_NAME_MAX)?;
    match control.run(&[Command::list_session_panes(session, PANE_FORMAT)]).await {
        Ok(answer) => Ok(answer.iter().flatten().filter_map(|line| Pane::parse(line)).collect()),
        Err(TmuxError::Refused { message, .. }) if message.starts_with("can't find session") => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether the session is there under its token.
///
/// # Errors
/// As [`Control::run`]; then it is not known.
pub async fn session_present(control: &Control, session: &str, token: &str) -> Result<bool, TmuxError> {
    let panes = list_session_panes(control, session).await?;
    Ok(panes.iter().any(|pane| pane.session_token.as_deref() == Some(token)))
}

/// Creates a session with its windows and marks, in one message (T7); settled by the token if the name is taken.
///
/// After any error the session may exist, in part; repeating the call completes it.
///
/// # Errors
/// As [`Control::run`]; `BadArgument` for no panes or what may not reach tmux.
pub async fn create_session(
    control: &Control,
    name: &str,
    token: &str,
    panes: &[LaunchPane],
) -> Result<Created, TmuxError> {
    check_name("session", name, SESSION_NAME_MAX)?;
    check_token(token)?;
    panes.iter().try_for_each(LaunchPane::check)?;
    let Some((first, others)) = panes.split_first() else {
        return Err(TmuxError::BadArgument { what: "panes", value: name.into(), why: "has none" });
    };
    let mut commands = vec![
        Command::new_session(name, &first.window, &first.env, &first.argv),
        Command::set_session_option(name, SESSION_TAG, token),
        Command::tag_last_pane(name, PANE_TAG, &first.token),
    ];
    // new-session puts its variables into the session's environment too; other roles must not inherit them.
    commands.extend(first.env.iter().map(|(variable, _)| Command::forget_variable(name, variable)));
    for other in others {
        commands.extend(opening(name, other));
    }
    match control.run(&commands).await {
        Ok(_) => Ok(Created::New),
        Err(refused @ TmuxError::Refused { .. }) => settle(control, name, token, panes, refused).await,
        Err(unknown) => Err(unknown),
    }
}

/// Judges by what is there, not by the error's words: the name may be taken, or a later command have failed.
async fn settle(
    control: &Control,
    name: &str,
    token: &str,
    panes: &[LaunchPane],
    refused: TmuxError,
) -> Result<Created, TmuxError> {
    let mut found = list_panes(control).await?;
    found.retain(|pane| pane.session == name);
    match found.first() {
        None => return Err(refused),
        Some(pane) if pane.session_token.as_deref() != Some(token) => return Ok(Created::Conflict),
        Some(_) => {}
    }
    for launch in panes {
        if !found.iter().any(|pane| pane.role_token.as_deref() == Some(&launch.token)) {
            open_window(control, (name, token), launch).await?;
        }
    }
    Ok(Created::Adopted)
}

/// The commands of a new window and its mark.
fn opening(session: &str, launch: &LaunchPane) -> [Command; 2] {
    [
        Command::new_window(session, &launch.window, &launch.env, &launch.argv),
        Command::tag_last_pane(session, PANE_TAG, &launch.token),
    ]
}

/// Opens a window, if the session is this incarnation's and no pane of it carries the window's token by then.
async fn open_window(control: &Control, session: (&str, &str), launch: &LaunchPane) -> Result<(), TmuxError> {
    let tags = format!("#{{W:#{{P:#{{{PANE_TAG}}} }}}}");
    let absent = format!("#{{&&:{},#{{?#{{m:*{}*,{tags}}},0,1}}}}", is_session(session), launch.token);
    let (session, _) = session;
    let open = Command::when(&exact(session), &absent, &opening(session, launch))?;
    done_or(control, session, launch, control.run(&[Command::list_session_panes(session, ""), open]).await).await
}

/// That the session is this incarnation's, as a condition: somebody else may have made one of its name.
fn is_session((session, token): (&str, &str)) -> String {
    format!("#{{&&:#{{==:#{{session_name}},{session}}},#{{==:#{{{SESSION_TAG}}},{token}}}}}")
}

/// A refusal because it was done already is none.
async fn done_or(
    control: &Control,
    session: &str,
    launch: &LaunchPane,
    settled: Result<Vec<Vec<String>>, TmuxError>,
) -> Result<(), TmuxError> {
    let Err(refused @ TmuxError::Refused { .. }) = settled else { return settled.map(drop) };
    let is_it = |pane: &Pane| pane.session == session && pane.role_token.as_deref() == Some(&launch.token);
    if list_panes(control).await?.iter().any(is_it) { Ok(()) } else { Err(refused) }
}

/// Starts a role anew in its pane, or in a new window if it has none. Does nothing if it was done already.
///
/// The session, by its name and its token, must be this incarnation's when the server comes to act. What runs in the
/// pane is killed, so the pane must still carry `expected_old` (`None`: no token at all) when the server comes to
/// act; else `Refused`, and nothing is touched.
///
/// # Errors
/// As [`Control::run`]; `Refused` also if the session or the pane in it is not there.
pub async fn respawn(
    control: &Control,
    session: (&str, &str),
    pane: Option<&str>,
    expected_old: Option<&str>,
    launch: &LaunchPane,
) -> Result<(), TmuxError> {
    check_name("session", session.0, SESSION_NAME_MAX)?;
    check_token(session.1)?;
    expected_old.map_or(Ok(()), check_token)?;
    launch.check()?;
    let Some(pane) = pane else { return open_window(control, session, launch).await };
    check_pane(pane)?;
    let expected = expected_old.unwrap_or_default();
    let same = format!(
        "#{{&&:#{{==:#{{pane_id}},{pane}}},#{{&&:{},#{{==:#{{{PANE_TAG}}},{expected}}}}}}}",
        is_session(session)
    );
    let then = [
        Command::respawn_pane(pane, &launch.env, &launch.argv),
        Command::set_pane_option(pane, PANE_TAG, &launch.token),
    ];
    let guarded = Command::when(pane, &same, &then)?;
    done_or(control, session.0, launch, control.run(&[Command::list_pane(pane, ""), guarded]).await).await
}

/// Reads how one pane stands. An end without evidence is repaired first, as far as it can be: the server missed the
/// signal of its child's death, and looks again when told to (T24).
///
/// # Errors
/// As [`Control::run`].
pub async fn pane_end(control: &Control, pane: &str) -> Result<PaneEnd, TmuxError> {
    check_pane(pane)?;
    let lost = PaneEnd::Dead { status: None, signal: None };
    let mut end = read_end(control, pane).await?;
    if end == lost && server::recount_children(control.server()).is_ok() {
        // The server may read our next command before it gets to its signal.
        for _ in 0..END_READS {
            end = read_end(control, pane).await?;
            if end != lost {
                break;
            }
        }
    }
    Ok(end)
}

async fn read_end(control: &Control, pane: &str) -> Result<PaneEnd, TmuxError> {
    let lines = match control.run(&[Command::list_pane(pane, PANE_FORMAT)]).await {
        Ok(answer) => answer.concat(),
        // One exit for many reasons; only this text means that it is not there (T23).
        Err(TmuxError::Refused { message, .. }) if message.starts_with("can't find pane") => return Ok(PaneEnd::Gone),
        Err(error) => return Err(error),
    };
    match lines.iter().find_map(|line| Pane::parse(line)) {
        Some(found) if found.dead => Ok(PaneEnd::Dead { status: found.status, signal: found.signal }),
        Some(found) => Ok(PaneEnd::Alive { pid: found.pid }),
        None => Err(TmuxError::Protocol { what: "list-panes", answer: lines.join("\n") }),
    }
}

/// Kills a session if it is this incarnation's; false if there is none such. What of it ignores the hangup is left
/// to be reaped (T11), and evidence must have been read before (T13).
///
/// # Errors
/// As [`Control::run`].
pub async fn kill_session(control: &Control, session: &str, token: &str) -> Result<bool, TmuxError> {
    check_name("session", session, SESSION_NAME_MAX)?;
    check_token(token)?;
    let list = Command::new(["list-sessions", "-f", &is_session((session, token)), "-F", "#{session_id}"]);
    let found = control.run(&[list]).await?.concat();
    let Some(id) = found.first() else { return Ok(false) };
    // An id is never given twice by a server, and this connection has only one (T6).
    match control.run(&[Command::new(["kill-session", "-t", id])]).await {
        Ok(_) => Ok(true),
        Err(TmuxError::Refused { message, .. }) if message.starts_with("can't find session") => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends the server and all sessions; for the harness and for tests.
///
/// # Errors
/// As [`Control::run`], but the loss of the connection is what is wanted.
pub async fn kill_server(control: &Control) -> Result<(), TmuxError> {
    match control.run(&[Command::new(["kill-server"])]).await {
        Ok(_) | Err(TmuxError::Lost { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
