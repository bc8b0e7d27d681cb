//! Hung agents: silence is measured, told of, asked about, and only then an agent is given up as hung.
//!
//! # What silence is
//! No report, no output beyond spinners and counters, and no CPU worth the name, all three for the whole time
//! ([`crate::domain::silence`]). What the screen *says* plays no part: "Exception" or "exit status 1" is work.
//!
//! # Proof
//! Nothing is concluded but on the answer to a sample taken at that moment, held against an earlier one of the same
//! silence. A tmux that does not answer, or a sample that fails, delays every judgement and causes none (G3). The
//! first sample of a silence counts as a sign of life, for what came before it was not looked at.
//!
//! # Who is left alone
//! Who waits for a person; who has no brief yet; everybody while the project is not running. A role that does not
//! report progress is told of at the limit and never recovered. One that rests (its stop hook ran) is reminded once
//! at half of `stall_s`, and counts as hung only when it is silent for `stall_tool_s`.

use super::draft::Draft;
use super::fault;
use super::observe::{self, Rest};
use crate::domain::effect::Effect;
use crate::domain::event::Report;
use crate::domain::failure::{Ending, FailureKind, Stderr};
use crate::domain::signal::What;
use crate::domain::silence::{self, Patience, Sample};
use crate::domain::state::{RoleEvent, RoleState};
use crate::domain::time::Span;
use crate::validate::brief;

/// A report came: whatever it says, the agent is not silent.
pub(super) fn reported(draft: &mut Draft<'_, '_>, index: usize, report: &Report) {
    let Some(role) = draft.p.roles.get_mut(index) else { return };
    if let Report::Progress(text) = report {
        role.vigil.tool = silence::tool_in_flight(text.as_deref());
    }
    role.vigil.warned = false;
    role.vigil.seen = None;
    role.vigil.sampling = None;
    // Resting is no answer to a reminder, or a reminder would follow every rest for ever.
    if !matches!(report, Report::Idle) {
        role.vigil.nudged = false;
    }
}

/// Sets every role's alarm clock to its next threshold.
pub(super) fn arm(draft: &mut Draft<'_, '_>) {
    let at = draft.at();
    for index in 0..draft.p.roles.len() {
        let due = silence::due(&draft.p, index, &draft.fleet().policy, at);
        // Asked before it is set: a project that nothing happens to is not copied.
        if draft.p.roles.get(index).is_some_and(|role| role.vigil.due != due)
            && let Some(role) = draft.p.roles.get_mut(index)
        {
            role.vigil.due = due;
        }
    }
}

/// The sweep's part: whoever has been quiet for a while is looked at, now and then.
pub(super) fn sample(draft: &mut Draft<'_, '_>) {
    let (at, (after, every)) = (draft.at(), silence::sampling(&draft.fleet().policy));
    for index in 0..draft.p.roles.len() {
        let Some(role) = draft.p.roles.get(index) else { continue };
        let quiet = at.since(silence::quiet_since(&draft.p, role)) > after;
        if quiet && role.vigil.asked.is_none_or(|asked| at.since(asked) >= every) {
            order(draft, index);
        }
    }
}

/// A threshold has passed: a sample decides.
pub(super) fn due(draft: &mut Draft<'_, '_>) {
    let at = draft.at();
    for index in 0..draft.p.roles.len() {
        if draft.p.roles.get(index).and_then(|role| role.vigil.due).is_some_and(|due| due <= at) {
            order(draft, index);
        }
    }
}

fn order(draft: &mut Draft<'_, '_>, index: usize) {
    if silence::patience(&draft.p, index, &draft.fleet().policy).is_none() || !draft.tmux_answers() {
        return;
    }
    let Some(role) = draft.p.roles.get(index) else { return };
    // While something is done to its pane a sample would see that.
    if role.busy.is_some() || role.vigil.sampling.is_some() {
        return;
    }
    let (Some(pane), Some(process)) = (role.pane.clone(), role.process) else { return };
    draft.order_sample(index, Effect::Sample { pane, process });
}

/// A sample has come: compare, then judge.
pub(super) fn sampled(draft: &mut Draft<'_, '_>, index: usize, sample: Sample) {
    let at = draft.at();
    let Some(role) = draft.p.roles.get_mut(index) else { return };
    let resting = role.state() == RoleState::Idle;
    let vigil = &mut role.vigil;
    let before = vigil.seen.replace((at, sample));
    let alive = match before {
        Some((then, before)) => silence::is_sign(before, sample, at.since(then)),
        // Nothing to hold it against. After a nudge the silence before it has been looked at, and goes on.
        None => !vigil.nudged,
    };
    if alive {
        vigil.sign = Some(at);
        vigil.warned = false;
        vigil.nudged &= resting;
    } else if before.is_some() {
        judge(draft, index);
    }
}

fn judge(draft: &mut Draft<'_, '_>, index: usize) {
    let Some(patience) = silence::patience(&draft.p, index, &draft.fleet().policy) else { return };
    let at = draft.at();
    let Some(role) = draft.p.roles.get(index) else { return };
    let (tool, warned) = (role.vigil.tool, role.vigil.warned);
    let silent = at.since(silence::quiet_since(&draft.p, role));
    if silent >= patience.warn && !warned {
        if let Some(role) = draft.p.roles.get_mut(index) {
            role.vigil.warned = true;
        }
        let hooks = patience.stall.is_some();
        draft.tell_role(index, What::AgentSilent { silent, limit: patience.limit, tool, hooks });
    }
    if patience.stall.is_some_and(|limit| silent >= limit) {
        stall(draft, index, silent);
    } else {
        nudge(draft, index, silent, patience);
    }
}

/// Asks the agent once in a silence. The line's echo is no output of the agent's, so the next sample starts afresh.
fn nudge(draft: &mut Draft<'_, '_>, index: usize, silent: Span, patience: Patience) {
    if patience.nudge.is_none_or(|after| silent < after) {
        return;
    }
    let Some(role) = draft.p.roles.get_mut(index).filter(|role| !role.vigil.nudged && role.busy.is_none()) else {
        return;
    };
    let (Some(pane), Some(token)) = (role.pane.clone(), role.token.clone()) else { return };
    let rests = role.state() == RoleState::Idle;
    role.vigil.nudged = true;
    role.vigil.seen = None;
    let line = if rests { brief::NUDGE_IDLE } else { brief::NUDGE_SILENT };
    draft.order_role(index, Effect::Nudge { pane, token, line: line.to_owned() });
    draft.tell_role(index, What::AgentNudged { silent, rests });
}

/// It is hung: its incarnation has to end before the next may start, as the breaker allows.
fn stall(draft: &mut Draft<'_, '_>, index: usize, silent: Span) {
    if !draft.role_step(index, RoleEvent::FellSilent) {
        return;
    }
    let hint = "it lives, and reported, wrote and computed nothing; what it last showed is on its pane".to_owned();
    let rest = Rest { stderr: Stderr::Null, screen: String::new(), lifetime: silent, hint: Some(hint) };
    let failure = observe::explain(draft, index, FailureKind::AgentStalled, Ending::DeadlinePassed(silent), rest);
    draft.tell_role(index, What::AgentStalled { failure: Box::new(failure.clone()) });
    fault::condemn(draft, index);
    fault::fault(draft, Some(index), failure);
}
