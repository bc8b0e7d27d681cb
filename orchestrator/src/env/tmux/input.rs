//! What goes into a pane and what can be read off it.
//!
//! Text is pasted, never typed: `send-keys` drops a final `;` and loses everything in copy mode (T15). Nothing here
//! proves that the agent took it; that is for its acknowledgement to say (T17).

use super::command::{check_name, check_pane};
use super::ops::check_token;
use super::parse::{PANE_TAG, plain_tail};
use super::{Command, Control, TmuxError};

/// A canonical terminal cuts lines at 4,096 bytes (T16); the one line that is ever sent is far shorter.
const LINE_MAX: usize = 512;
const BUFFER_NAME_MAX: usize = 64;

/// Whether a pane takes input, as [`Command::list_pane`]'s format and as its answer.
const INPUT: &str = "#{pane_dead} #{pane_input_off}";
const TAKES_INPUT: &str = "0 0";

/// A pane by its id, if it still carries this mark when the server comes to act: another server gives the same ids to
/// other people's panes (T6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marked<'a> {
    /// `%N`.
    pub pane: &'a str,
    /// The mark of the incarnation in it.
    pub token: &'a str,
}

impl Marked<'_> {
    fn check(&self) -> Result<(), TmuxError> {
        check_pane(self.pane)?;
        check_token(self.token)
    }

    /// That it is this one, as a condition.
    fn is_it(&self) -> String {
        format!("#{{&&:#{{==:#{{pane_id}},{}}},#{{==:#{{{PANE_TAG}}},{}}}}}", self.pane, self.token)
    }
}

/// Pastes one line of printable ASCII, without the Enter. It arrives in copy mode too.
///
/// # Errors
/// As [`Control::run`]; `Refused` if the pane is gone, somebody else's, dead, or its input is off; `BadArgument` for
/// anything else than up to 512 bytes of printable ASCII.
pub async fn paste_line(control: &Control, to: Marked<'_>, buffer: &str, line: &str) -> Result<(), TmuxError> {
    to.check()?;
    let pane = to.pane;
    check_name("buffer", buffer, BUFFER_NAME_MAX)?;
    if line.is_empty() || line.len() > LINE_MAX || !line.bytes().all(|c| (b' '..=b'~').contains(&c)) {
        let value = line.chars().take(80).collect();
        return Err(TmuxError::BadArgument { what: "line", value, why: "is not 1 to 512 bytes of printable ASCII" });
    }
    // The guard is not politeness: to paste into a dead pane makes tmux 3.3a crash, and all sessions with it.
    let takes_input = format!("#{{&&:{},#{{==:{INPUT},{TAKES_INPUT}}}}}", to.is_it());
    let delete = ["delete-buffer", "-b", buffer];
    let commands = [
        Command::list_pane(pane, INPUT),
        Command::new(["set-buffer", "-b", buffer, "--", line]),
        // Bracketed where the program asked for it, so that the line is text to it and no key bindings.
        Command::when(pane, &takes_input, &[Command::new(["paste-buffer", "-d", "-p", "-b", buffer, "-t", pane])])?,
    ];
    match control.run(&commands).await {
        Ok(_) => Ok(()),
        Err(TmuxError::Refused { argv, message }) => {
            // Without the paste nothing deletes the buffer; it may not be there at all.
            control.run(&[Command::new(delete)]).await.ok();
            Err(TmuxError::Refused { argv, message })
        }
        Err(unknown) => Err(unknown),
    }
}

/// Deletes the buffers whose names begin so: those of lines that were loaded and, by a crash, never pasted (C18).
///
/// # Errors
/// As [`Control::run`].
pub async fn forget_buffers(control: &Control, prefix: &str) -> Result<(), TmuxError> {
    let names = control.run(&[Command::new(["list-buffers", "-F", "#{buffer_name}"])]).await?.concat();
    for name in names.iter().filter(|name| name.starts_with(prefix)) {
        check_name("buffer", name, BUFFER_NAME_MAX)?;
        match control.run(&[Command::new(["delete-buffer", "-b", name])]).await {
            // Gone already is as good.
            Ok(_) | Err(TmuxError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Presses Enter, after leaving copy mode and any other in which keys would not reach the program (T15).
///
/// # Errors
/// As [`Control::run`]; `Refused` if the pane is gone, somebody else's, dead, or its input is off.
pub async fn press_enter(control: &Control, to: Marked<'_>) -> Result<(), TmuxError> {
    press(control, to, "Enter").await
}

/// Clears the line that is being edited, with Ctrl-U.
///
/// # Errors
/// As [`press_enter`].
pub async fn clear_line(control: &Control, to: Marked<'_>) -> Result<(), TmuxError> {
    press(control, to, "C-u").await
}

async fn press(control: &Control, to: Marked<'_>, key: &str) -> Result<(), TmuxError> {
    to.check()?;
    let pane = to.pane;
    let keys = Command::new(["send-keys", "-t", pane, key]);
    let pressed = [Command::new(["copy-mode", "-q", "-t", pane]), keys.clone()];
    let commands = [Command::list_pane(pane, INPUT), Command::when(pane, &to.is_it(), &pressed)?];
    let answer = control.run(&commands).await?;
    let state = answer.into_iter().next().unwrap_or_default().concat();
    if state == TAKES_INPUT {
        return Ok(());
    }
    // tmux says nothing of keys that it drops (T15).
    let message = format!("the pane takes no input (dead, input off: {state})");
    Err(TmuxError::Refused { argv: keys.shown(), message })
}

/// Reads the end of a pane's history and screen, as plain text of at most `max_bytes`. Wrapped lines are joined. Of a
/// dead pane the last line is tmux's own, and the one before it may be missing (T30).
///
/// # Errors
/// As [`Control::run`].
pub async fn capture(control: &Control, pane: &str, max_bytes: usize) -> Result<String, TmuxError> {
    check_pane(pane)?;
    let answer = control.run(&[Command::new(["capture-pane", "-p", "-J", "-S", "-", "-t", pane])]).await?;
    Ok(plain_tail(&answer.concat(), max_bytes))
}

/// Reads what the screen shows, as plain text, and how much has scrolled off it: together they change whenever
/// something is written that is not overwritten at once.
///
/// # Errors
/// As [`Control::run`].
pub async fn screen(control: &Control, pane: &str) -> Result<(String, String), TmuxError> {
    check_pane(pane)?;
    let commands =
        [Command::list_pane(pane, "#{history_size}"), Command::new(["capture-pane", "-p", "-J", "-t", pane])];
    let mut answers = control.run(&commands).await?.into_iter();
    let scrolled = answers.next().unwrap_or_default().concat();
    Ok((scrolled, plain_tail(&answers.next().unwrap_or_default(), usize::MAX)))
}
