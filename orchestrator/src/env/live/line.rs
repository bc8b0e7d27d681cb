//! One line into an agent's pane.

use super::World;
use super::perform::{control, tmux_failure};
use crate::domain::effect::Ordered;
use crate::domain::failure::Failure;
use crate::domain::id::Token;
use crate::env::tmux::{self, TmuxError};

/// How the names of the buffers begin through which lines are pasted.
pub(super) const BRIEF_BUFFER: &str = "orch-brief-";

/// One fixed line, the brief's or a nudge, and Enter as a message of its own (T17); delivered is only what is
/// acknowledged.
pub(super) async fn hand_line(
    world: &World,
    ordered: &Ordered,
    (pane, token): (&str, &Token),
    line: &str,
    again: bool,
) -> Result<(), Failure> {
    let failed = |error: TmuxError| tmux_failure(ordered, &error);
    let to = tmux::Marked { pane, token: &token.0 };
    let control = control(world, ordered).await?;
    if again {
        tmux::clear_line(&control, to).await.map_err(failed)?;
    }
    let buffer = format!("{BRIEF_BUFFER}{}", ordered.id);
    tmux::paste_line(&control, to, &buffer, line).await.map_err(failed)?;
    tmux::press_enter(&control, to).await.map_err(failed)
}
