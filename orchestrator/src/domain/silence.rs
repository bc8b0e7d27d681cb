//! How quiet an agent is: what is remembered of its signs of life, and from when on silence means what. Pure.
//!
//! Three things are signs of life: a report, output that is more than a turning spinner ([`super::screen`]), and CPU
//! of its process tree above [`CPU_PERCENT_MIN`]. Only when all three have been missing for the whole of the time is
//! a role silent; the time that the project is not `running` does not count, nor does a suspend of the machine.

use super::id::EffectId;
use super::limits::Policy;
use super::project::{Project, Role};
use super::state::{ProjectState, RoleState};
use super::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// CPU of the whole tree, in percent of one core between two samples, from which on an agent counts as working. A
/// terminal program that draws a spinner takes 1 to 3; anything that compiles, tests or searches takes far more.
pub const CPU_PERCENT_MIN: u64 = 5;
/// Clock ticks a second in `/proc/PID/stat`: USER_HZ, which is 100 on every architecture that Linux runs tmux on.
const TICKS_A_SECOND: u64 = 100;

/// What a progress record begins with when it tells of a tool that was started; `orch agent progress --tool start`.
pub const TOOL_START: &str = "tool: start";
/// What it begins with when that tool has ended.
pub const TOOL_END: &str = "tool: end";

/// What a sample found: growth of the screen's settled text, and CPU of the process tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// A fingerprint of what is on the screen, spinners stripped, and of how much has scrolled off it.
    pub output: u64,
    /// Ticks used by the agent, its descendants, and those of them that have been waited for.
    pub cpu_ticks: u64,
}

/// What is remembered of a role's quiet; persisted with the role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Vigil {
    /// When output or CPU last showed life; reports are [`Role::last_progress`].
    pub sign: Option<Timestamp>,
    /// Whether a tool is in flight: the last progress record told of a start.
    pub tool: bool,
    /// Whether this silence has been told of.
    pub warned: bool,
    /// Whether the agent has been nudged in this silence.
    pub nudged: bool,
    /// The newest sample and when it came; none before the first of a silence, and after a nudge, whose echo would
    /// look like output.
    pub seen: Option<(Timestamp, Sample)>,
    /// When a sample was last asked for.
    pub asked: Option<Timestamp>,
    /// The next threshold ahead.
    pub due: Option<Timestamp>,
    /// Until when it is expected to be out of credit.
    pub credit_until: Option<Timestamp>,
    /// The sample under way; not persisted.
    #[serde(skip)]
    pub sampling: Option<EffectId>,
}

/// Whether `now` shows life that `before` did not, `elapsed` later.
#[must_use]
pub fn is_sign(before: Sample, now: Sample, elapsed: Span) -> bool {
    let used = now.cpu_ticks.saturating_sub(before.cpu_ticks);
    // used / TICKS_A_SECOND seconds of `elapsed`, at least CPU_PERCENT_MIN percent; in integers.
    let busy = used > 0
        && used.saturating_mul(100_000_000) >= elapsed.0.saturating_mul(CPU_PERCENT_MIN).saturating_mul(TICKS_A_SECOND);
    now.output != before.output || busy
}

/// How long a role may be silent, and what happens on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// When the silence is told of.
    pub warn: Span,
    /// When the agent is nudged; never, while its terminal may be a tool's.
    pub nudge: Option<Span>,
    /// When it counts as hung; never, if it does not report progress.
    pub stall: Option<Span>,
    /// The time that is measured against, for people.
    pub limit: Span,
}

/// The patience with a role as it stands; none if its silence means nothing: before its brief, when it waits for a
/// person, when it is over, or while the project is not running.
#[must_use]
pub fn patience(project: &Project, index: usize, policy: &Policy) -> Option<Patience> {
    let role = project.roles.get(index)?;
    let hooks = project.role_spec(index)?.progress;
    if project.state() != ProjectState::Running || role.process.is_none() || role.pane.is_none() {
        return None;
    }
    let (short, long) = (Span::from_secs(policy.stall_s), Span::from_secs(policy.stall_tool_s));
    let rests = match role.state() {
        RoleState::Ready | RoleState::Working => false,
        RoleState::Idle => true,
        RoleState::Absent
        | RoleState::Starting
        | RoleState::NeedsInput
        | RoleState::Stalled
        | RoleState::Done
        | RoleState::Dead
        | RoleState::Unknown => return None,
    };
    let limit = if rests || role.vigil.tool { long } else { short };
    let half = |span: Span| Span(span.0 / 2);
    // Whoever rests without being done is reminded, hooks or none: it has just shown that it can report.
    let nudge = (rests || (hooks && !role.vigil.tool)).then(|| half(short));
    let warn = if hooks { half(limit) } else { limit };
    Some(Patience { warn, nudge, stall: hooks.then_some(limit), limit })
}

/// Since when the role has shown no sign of life.
#[must_use]
pub fn quiet_since(project: &Project, role: &Role) -> Timestamp {
    let signs = [role.last_progress, role.vigil.sign, role.started_at];
    signs.into_iter().flatten().fold(project.state_since, Timestamp::max)
}

/// From which silence on a role is sampled, and how often: 2 min and 1 min under the default policy.
#[must_use]
pub fn sampling(policy: &Policy) -> (Span, Span) {
    let whole = Span::from_secs(policy.stall_s);
    (Span((whole.0 / 10).min(120_000_000)), Span((whole.0 / 20).min(60_000_000)))
}

/// The next threshold ahead of `at`, for the project's alarm clock.
#[must_use]
pub fn due(project: &Project, index: usize, policy: &Policy, at: Timestamp) -> Option<Timestamp> {
    let patience = patience(project, index, policy)?;
    let role = project.roles.get(index)?;
    let since = quiet_since(project, role);
    let warn = (!role.vigil.warned).then_some(patience.warn);
    let nudge = patience.nudge.filter(|_| !role.vigil.nudged);
    let spans = [warn, nudge, patience.stall].into_iter().flatten();
    spans.map(|span| since + span).filter(|due| *due > at).min()
}

/// Whether a progress record tells that a tool is in flight now.
#[must_use]
pub fn tool_in_flight(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.starts_with(TOOL_START))
}

#[cfg(test)]
mod tests {
    use super::{Sample, Span, is_sign};

    #[test]
    fn output_is_a_sign_and_so_is_cpu_from_five_percent_on() {
        let (before, minute) = (Sample { output: 1, cpu_ticks: 1_000 }, Span::from_secs(60));
        let check = |output, cpu_ticks, expected| {
            assert_eq!(is_sign(before, Sample { output, cpu_ticks }, minute), expected, "{output} {cpu_ticks}");
        };
        check(1, 1_000, false);
        check(2, 1_000, true);
        check(1, 1_299, false);
        check(1, 1_300, true);
        // A process that is gone takes its ticks along; that is no work.
        check(1, 10, false);
    }
}
