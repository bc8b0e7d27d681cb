//! What tmux created after its incarnation was over (C15).
//!
//! A creation that timed out has an unknown outcome. Once a list has proved that nothing of its token is there, its
//! incarnation is over; but a server that was hung may still find the order in a socket's buffer and carry it out.
//! What appears then carries a token that the store knows as given by us, and that no project has any more: it is
//! ended by that token, and proved gone. It is never adopted, the incarnation that runs now is not touched, and nobody
//! is charged.

use super::draft::Cursor;
use crate::domain::effect::Effect;
use crate::domain::event::{Fact, PaneSeen};
use crate::domain::failure::{Failure, Program};
use crate::domain::fleet::{Late, Retired};
use crate::domain::id::{EffectId, ProjectId, Token};
use crate::domain::limits::deadline;
use crate::domain::signal::{Signal, What};
use std::collections::{BTreeMap, BTreeSet};

/// How long an incarnation must have been over: longer than any list of panes can be under way, so that a session
/// which has just been ended is not taken for one that came late.
const OVER_FOR: crate::domain::time::Span = deadline::TMUX;

/// A session with its agents, or one agent in a session that is not over.
struct Seen<'a> {
    retired: &'a Retired,
    pane: &'a PaneSeen,
    tokens: BTreeSet<Token>,
}

/// Ends what this list shows of our past.
pub(super) fn creations(cursor: &mut Cursor<'_>, panes: &[PaneSeen]) {
    let (fleet, at) = (cursor.fleet(), cursor.at());
    if fleet.retired.is_empty() && fleet.late.is_empty() {
        return;
    }
    // What is not to be seen any more is forgotten, but for an effect that is still to settle.
    let mut late = fleet.late.clone();
    late.retain(|_, known| known.effect.is_some());
    for (token, seen) in seen(&fleet.retired, panes) {
        let new = Late { seen: at, told: false, effect: None };
        let mut known = fleet.late.get(&token).copied().unwrap_or(new);
        let over = at.since(seen.retired.since.unwrap_or(known.seen)) >= OVER_FOR;
        if over && known.effect.is_none() {
            let about = about(&seen);
            if !std::mem::replace(&mut known.told, true) {
                cursor.tell(about.clone());
            }
            let tokens = tokens(cursor, seen);
            known.effect = Some(cursor.order_beside(about, Effect::EndRemains { tokens }));
        }
        late.insert(token, known);
    }
    cursor.remember_late(late);
}

/// What is to be ended: the session, its panes' agents, and those that it was to have, for a creation may have been
/// cut short before its panes were marked. Never what the project has now.
fn tokens(cursor: &Cursor<'_>, seen: Seen<'_>) -> Vec<Token> {
    let mut tokens = seen.tokens;
    tokens.extend(seen.retired.agents.iter().cloned());
    if let Some(project) = cursor.project(seen.retired.project) {
        let has: BTreeSet<&Token> = project.tokens().collect();
        tokens.retain(|token| !has.contains(token));
    }
    tokens.into_iter().collect()
}

/// What came late, by the token that it is known by: the session's, or the agent's own where its session is not over.
fn seen<'a>(retired: &'a BTreeMap<Token, Retired>, panes: &'a [PaneSeen]) -> BTreeMap<Token, Seen<'a>> {
    let mut all: BTreeMap<Token, Seen<'a>> = BTreeMap::new();
    for pane in panes {
        let of = |token: &Option<Token>| token.as_ref().and_then(|token| retired.get_key_value(token));
        let (session, role) = (of(&pane.session_token), of(&pane.role_token));
        let Some((token, whose)) = session.or(role.filter(|_| !pane.dead)) else { continue };
        let seen = all.entry(token.clone()).or_insert_with(|| Seen { retired: whose, pane, tokens: BTreeSet::new() });
        seen.tokens.extend(session.into_iter().chain(role).map(|(token, _)| token.clone()));
    }
    all
}

fn about(seen: &Seen<'_>) -> Signal {
    let Seen { retired, pane, .. } = seen;
    let trace = match &retired.role {
        Some(role) => format!("the agent {role} in the pane {} of the session {}", pane.pane, pane.session),
        None => format!("the session {}", pane.session),
    };
    let (epoch, newest) = (retired.epoch, retired.newest);
    let cause = if retired.over {
        format!("epoch {epoch} was over, and so is its project")
    } else {
        format!("epoch {epoch} was over and proved gone; its project has come to epoch {newest}")
    };
    Signal {
        project_id: Some(retired.project),
        agent_role: retired.role.clone(),
        epoch: Some(epoch),
        session: Some(pane.session.clone()),
        what: What::LateCreation { trace, cause },
    }
}

/// The end of something late has settled. If a list shows it still, it is ended again; whether that worked is told.
pub(super) fn settled(
    cursor: &mut Cursor<'_>,
    effect: EffectId,
    project: ProjectId,
    result: &Result<Fact, Box<Failure>>,
) {
    let mut late = cursor.fleet().late.clone();
    let Some(known) = late.values_mut().find(|known| known.effect == Some(effect)) else { return };
    known.effect = None;
    cursor.remember_late(late);
    if let Err(failure) = result {
        let failure = failure.clone();
        let by_program = matches!(failure.program, Program::Git | Program::Tmux);
        let what = if by_program { What::SubprocessFailed { failure } } else { What::OperationFailed { failure } };
        cursor.tell(Signal { project_id: Some(project), ..Signal::fleet(what) });
    }
}
