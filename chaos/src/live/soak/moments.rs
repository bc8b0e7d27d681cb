//! When to kill: drawn from the seed, so that the same seed aims at the same moments.

use crate::history::Logged;
use crate::seed::Stream;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::ProjectState;
use std::time::Duration;

/// Mean of the gaps that are counted from the moment at which it is ready.
const READY_MEAN_MS: u64 = 500;
/// The longest of them.
const READY_MOST_MS: u64 = 3_000;
/// Mean of the gaps that are counted from its start: many fall before it is ready.
const START_MEAN_MS: u64 = 20;
/// The longest of them.
const START_MOST_MS: u64 = 200;
/// Longest gap after an entry of the journal.
const TOLD_MOST_MS: u64 = 40;

/// When to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// So long after its process was made, ready or not.
    AfterStart(Duration),
    /// So long after it said that it was ready.
    AfterReady(Duration),
    /// So long after its journal told of that.
    After(Told, Duration),
}

/// Entries of the journal that stand for a step of a project's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    /// A project was accepted.
    Enqueued,
    /// A slot was given.
    Admitted,
    /// A worktree is being made.
    Worktree,
    /// Files are being written.
    Files,
    /// A session is being made.
    Session,
    /// A session was made.
    SessionMade,
    /// A brief is being handed over.
    Brief,
    /// A brief was acknowledged.
    Acknowledged,
    /// An agent is done: its project is looked at, and certified if it was the last.
    Done,
    /// A project is certified.
    Certified,
    /// A session is being ended.
    Ending,
}

impl Told {
    const ALL: &'static [Self] = &[
        Self::Enqueued,
        Self::Admitted,
        Self::Worktree,
        Self::Files,
        Self::Session,
        Self::SessionMade,
        Self::Brief,
        Self::Acknowledged,
        Self::Done,
        Self::Certified,
        Self::Ending,
    ];

    /// What it is called in figures.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Enqueued => "project_enqueued",
            Self::Admitted => "moved to provisioning",
            Self::Worktree => "intent ensure_worktree",
            Self::Files => "intent ensure_files",
            Self::Session => "intent ensure_session",
            Self::SessionMade => "session_created",
            Self::Brief => "intent hand_brief",
            Self::Acknowledged => "brief_acknowledged",
            Self::Done => "agent_reported done",
            Self::Certified => "project_certified",
            Self::Ending => "intent end_session",
        }
    }

    /// Whether this entry is one of them.
    pub(super) fn is(self, logged: &Logged) -> bool {
        let what = &logged.entry.signal.what;
        let intends = |name: &str| matches!(what, What::EffectIntended { effect, .. } if effect == name);
        match self {
            Self::Enqueued => matches!(what, What::ProjectEnqueued { .. }),
            Self::Admitted => matches!(what, What::ProjectMoved { to: ProjectState::Provisioning, .. }),
            Self::Worktree => intends("ensure_worktree"),
            Self::Files => intends("ensure_files"),
            Self::Session => intends("ensure_session"),
            Self::SessionMade => matches!(what, What::SessionCreated { .. }),
            Self::Brief => intends("hand_brief"),
            Self::Acknowledged => matches!(what, What::BriefAcknowledged),
            Self::Done => matches!(what, What::AgentReported { kind, .. } if kind == "done"),
            Self::Certified => matches!(what, What::ProjectCertified { .. }),
            Self::Ending => intends("end_session"),
        }
    }
}

impl Moment {
    /// Draws one.
    pub(super) fn draw(stream: &mut Stream) -> Self {
        match stream.below(10) {
            0 | 1 => Self::AfterStart(exponential(stream, START_MEAN_MS, START_MOST_MS)),
            2..=4 => Self::AfterReady(exponential(stream, READY_MEAN_MS, READY_MOST_MS)),
            _ => {
                let told = Told::ALL[stream.index(Told::ALL.len())];
                Self::After(told, Duration::from_millis(stream.below(TOLD_MOST_MS + 1)))
            }
        }
    }

    /// What it is called in figures.
    pub(super) fn name(self) -> String {
        match self {
            Self::AfterStart(_) => "soon after its start".to_owned(),
            Self::AfterReady(_) => "any time".to_owned(),
            Self::After(told, _) => format!("after {}", told.name()),
        }
    }
}

/// A gap of a process without memory.
fn exponential(stream: &mut Stream, mean_ms: u64, most_ms: u64) -> Duration {
    const PARTS: u32 = 1 << 24;
    let drawn = u32::try_from(stream.below(u64::from(PARTS))).unwrap_or(0);
    let uniform = f64::from(drawn + 1) / f64::from(PARTS);
    let gap = Duration::from_millis(mean_ms).mul_f64(-uniform.ln());
    gap.min(Duration::from_millis(most_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::story::Story;
    use std::collections::BTreeSet;

    #[test]
    fn every_sort_of_moment_is_drawn_within_its_bounds() {
        let mut stream = Seed(5).stream("kills");
        let drawn: Vec<Moment> = (0..1_000).map(|_| Moment::draw(&mut stream)).collect();
        let names: BTreeSet<String> = drawn.iter().map(|moment| moment.name()).collect();
        assert_eq!(names.len(), 2 + Told::ALL.len());
        let gaps: Vec<Duration> = (0..10_000).map(|_| exponential(&mut stream, 100, 100_000)).collect();
        let mean = gaps.iter().sum::<Duration>() / 10_000;
        assert!((95..105).contains(&mean.as_millis()), "{mean:?}");
        assert!(exponential(&mut stream, 1_000_000, 7) <= Duration::from_millis(7));
        let mut again = Seed(5).stream("kills");
        assert_eq!(drawn, (0..1_000).map(|_| Moment::draw(&mut again)).collect::<Vec<_>>());
    }

    #[test]
    fn each_entry_is_known_by_what_it_tells() {
        let story = Story::running(1).completed(1);
        let found = |told: Told| story.journal().iter().filter(|logged| told.is(logged)).count();
        for told in [Told::Enqueued, Told::Admitted, Told::Worktree, Told::Session, Told::SessionMade, Told::Certified]
        {
            assert_eq!(found(told), 1, "{}", told.name());
        }
        for told in [Told::Files, Told::Brief, Told::Acknowledged, Told::Done, Told::Ending] {
            assert_eq!(found(told), 0, "{}", told.name());
        }
    }
}
