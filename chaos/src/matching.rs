//! From what was done and what the journal says to what became of each fault. Pure.
//!
//! Each fault owns the time from its injection to the next injection on the same project. In that time the first
//! entry that may tell of it is its detection, the entries that name a cause are its classification, and the first
//! end of the incident is its outcome. The injector is believed only in what its probe saw: that the fault happened,
//! when, and to whom.

use crate::fault::{AGENT_EXIT_CODE, GIT_EXIT_CODE, Kind, Outcome, Victim};
use crate::history::{Logged, States};
use crate::truth::Injection;
use orchestrator::domain::event::Source;
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Program, Stderr};
use orchestrator::domain::id::Seq;
use orchestrator::domain::signal::{Signal, What};
use orchestrator::domain::state::{ProjectState, SuspendReason};
use orchestrator::domain::time::{Span, Timestamp};

/// How long after its end an incident may still be talked about: evidence is gathered after the fact.
const AFTERMATH: Span = Span::from_secs(1);

/// What became of one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// Its number in the schedule.
    pub id: u32,
    /// The first entry that tells of it.
    pub detected: Option<Detected>,
    /// The causes that were named for it, in order: what, when, and whether the evidence is what it must be.
    pub named: Vec<Named>,
    /// When the project worked again.
    pub recovered_at: Option<Timestamp>,
    /// What became of it; none if it never happened, or if its incident has not ended.
    pub outcome: Option<Outcome>,
    /// Until when alarms may be about it.
    pub until: Timestamp,
}

/// A detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detected {
    /// When it was committed.
    pub at: Timestamp,
    /// Which source told.
    pub by: Source,
    /// Which entry tells.
    pub seq: Seq,
}

/// A cause that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Which.
    pub kind: FailureKind,
    /// When that was committed.
    pub at: Timestamp,
    /// Whether its evidence says how the thing ended and what became of its standard error.
    pub evidenced: bool,
}

/// What an entry says of a fault.
enum Sign {
    /// Something is wrong there.
    Notice(Source),
    /// What is wrong there.
    Names(Source, FailureKind, bool),
}

impl Matched {
    /// The cause that counts: the one that is due, if it was named at all, else the first.
    #[must_use]
    pub fn classified_as(&self, due: FailureKind) -> Option<FailureKind> {
        let right = self.named.iter().find(|named| named.kind == due);
        right.or(self.named.first()).map(|named| named.kind)
    }

    /// Whether nothing more is to be expected of it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.outcome.is_some()
    }
}

/// What became of each of the faults, in their order.
#[must_use]
pub fn matched(injections: &[Injection], journal: &[Logged]) -> Vec<Matched> {
    injections.iter().map(|injection| of_one(injection, injections, journal)).collect()
}

fn of_one(injection: &Injection, all: &[Injection], journal: &[Logged]) -> Matched {
    let nothing = Matched {
        id: injection.id,
        detected: None,
        named: Vec::new(),
        recovered_at: None,
        outcome: None,
        until: Timestamp(0),
    };
    let (Some(project), Some(from)) = (injection.project, injection.injected_at) else { return nothing };
    let next = all
        .iter()
        .filter(|other| other.project == Some(project) && other.id != injection.id)
        .filter_map(|other| other.injected_at)
        .filter(|at| *at > from)
        .min()
        .unwrap_or(Timestamp(u64::MAX));
    let mut found = Matched { until: next, ..nothing };
    let mut states = States::default();
    let mut at_rest = None;
    let mut ended_at = None;
    for logged in journal {
        if logged.entry.at < from {
            states.follow(&logged.entry);
            continue;
        }
        if at_rest.is_none() {
            at_rest = Some(states.of(project));
        }
        if logged.entry.at >= next {
            break;
        }
        let of_fleet = injection.kind == Kind::OrchKill && logged.entry.signal.project_id.is_none();
        if !logged.is_of(project) && !of_fleet {
            continue;
        }
        note(&mut found, injection, logged);
        if found.detected.is_some() && ended_at.is_none() {
            ended_at = ending(&mut found, injection, logged);
        }
    }
    if let Some(ended_at) = ended_at {
        found.until = next.min(ended_at + AFTERMATH);
    }
    if injection.probe.is_err() {
        found.outcome = None;
    } else if found.detected.is_none() {
        // Not a word about it: excused only if the project lay under another fault's effect at that moment.
        let state = at_rest.unwrap_or_else(|| states.of(project));
        let masked = injection.victim != Some(Victim::Git) && state.is_some_and(|is| is != ProjectState::Running);
        found.outcome = Some(if masked { Outcome::Masked } else { Outcome::Missed });
    }
    found
}

fn note(found: &mut Matched, injection: &Injection, logged: &Logged) {
    let signal = &logged.entry.signal;
    let at = logged.committed();
    let by = match sign(injection, signal) {
        None => return,
        Some(Sign::Notice(by)) => by,
        Some(Sign::Names(by, kind, evidenced)) => {
            found.named.push(Named { kind, at, evidenced });
            by
        }
    };
    if found.detected.is_none() {
        found.detected = Some(Detected { at, by, seq: logged.entry.seq });
    }
}

/// Notes the end of the incident, if this entry tells it; answers when that was.
fn ending(found: &mut Matched, injection: &Injection, logged: &Logged) -> Option<Timestamp> {
    let at = logged.committed();
    if injection.kind == Kind::OrchKill {
        // The world has been looked at once: what lives is adopted. That nothing was said to have died, D2 checks.
        if matches!(logged.entry.signal.what, What::TmuxAnswered { .. }) {
            found.recovered_at = Some(at);
            found.outcome = Some(Outcome::Recovered);
            return Some(at);
        }
        return None;
    }
    if matches!(logged.entry.signal.what, What::RecoverySucceeded { .. }) {
        found.recovered_at = Some(at);
        found.outcome = Some(Outcome::Recovered);
        return Some(at);
    }
    if let What::ProjectMoved { to: ProjectState::Suspended, reason: Some(SuspendReason::Breaker), .. } =
        logged.entry.signal.what
    {
        found.outcome = Some(Outcome::Contained);
        return Some(at);
    }
    None
}

/// What an entry of the fault's own project says of it.
fn sign(injection: &Injection, signal: &Signal) -> Option<Sign> {
    let of_role = injection.role.is_none() || signal.agent_role == injection.role;
    if !of_role {
        return None;
    }
    match (injection.kind, injection.victim) {
        (Kind::SessionKill, _) => session_death(signal),
        (Kind::ClaudeMdDelete, _) => missing(signal),
        (Kind::OrchKill, _) => {
            matches!(signal.what, What::OrchestratorStarted { .. }).then_some(Sign::Notice(Source::Effect))
        }
        (Kind::StderrNull, Some(Victim::Git)) => git_failure(signal),
        (Kind::StderrNull, Some(Victim::Agent) | None) => agent_death(signal),
        // What only the simulator plays is matched against the ground truth itself ([`crate::check`]).
        _ => None,
    }
}

/// It must be told of the session itself; that its agents died of that is a notice of it, and of anything else wrong.
fn session_death(signal: &Signal) -> Option<Sign> {
    match agent_death(signal) {
        Some(Sign::Names(by, FailureKind::SessionDied, _)) => Some(Sign::Notice(by)),
        Some(sign) => Some(sign),
        None => {
            let What::SessionDied { detected_by, .. } = &signal.what else { return None };
            Some(Sign::Names(*detected_by, FailureKind::SessionDied, true))
        }
    }
}

fn agent_death(signal: &Signal) -> Option<Sign> {
    if let What::AgentDied { expected: false, detected_by, .. } = &signal.what {
        Some(Sign::Notice(*detected_by))
    } else if let What::DeathExplained { failure } = &signal.what {
        let right = failure.kind != FailureKind::AgentExited || silent(failure, AGENT_EXIT_CODE);
        Some(Sign::Names(Source::Effect, failure.kind, right))
    } else {
        None
    }
}

fn missing(signal: &Signal) -> Option<Sign> {
    if let What::ResourceMissing { resource, detected_by, failure, .. } = &signal.what
        && resource == "claude_md"
    {
        Some(Sign::Names(*detected_by, failure.kind, true))
    } else {
        None
    }
}

fn git_failure(signal: &Signal) -> Option<Sign> {
    if let What::SubprocessFailed { failure } = &signal.what
        && failure.program == Program::Git
    {
        Some(Sign::Names(Source::Effect, failure.kind, silent(failure, GIT_EXIT_CODE)))
    } else {
        None
    }
}

/// Whether the evidence says what really happened: this exit code, and nothing on standard error, explicitly.
fn silent(failure: &Failure, code: i32) -> bool {
    failure.ending == Ending::Code(code) && matches!(failure.stderr, Stderr::Empty | Stderr::Null)
}

/// Whether this entry, of whatever time, is of the sort that tells of such a fault.
#[must_use]
pub fn tells_of(injection: &Injection, logged: &Logged) -> bool {
    let project = logged.entry.signal.project_id;
    let of_project = injection.project.is_some() && project == injection.project;
    let of_fleet = injection.kind == Kind::OrchKill && project.is_none();
    (of_project || of_fleet) && sign(injection, &logged.entry.signal).is_some()
}

/// Whether this alarm, told in the time of this fault, may be about it.
#[must_use]
pub fn explains(injection: &Injection, matched: &Matched, logged: &Logged) -> bool {
    let Some(from) = injection.injected_at else { return false };
    let signal = &logged.entry.signal;
    let in_time = from <= logged.entry.at && logged.entry.at <= matched.until;
    if !in_time || injection.project.is_none() || signal.project_id != injection.project {
        return false;
    }
    // How an incident goes on is the project's affair, whatever began it; that it fails is never explained.
    // Not if nothing of it was hurt: then there is no incident.
    let course = if injection.kind == Kind::OrchKill {
        false
    } else if let What::ProjectMoved { to, .. } = signal.what {
        to != ProjectState::Failed
    } else {
        matches!(
            signal.what,
            What::RecoveryStarted { .. }
                | What::RecoveryDelayed { .. }
                | What::RecoveryRefused { .. }
                | What::BreakerMoved { .. }
        )
    };
    course || sign(injection, signal).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, injection};

    fn the_one(injection: &Injection, story: &Story) -> Matched {
        matched(std::slice::from_ref(injection), story.journal()).swap_remove(0)
    }

    #[test]
    fn a_killed_session_is_detected_named_and_recovered() {
        let fault = injection(1, Kind::SessionKill, 1, None, 5_000);
        let story = Story::running(1).at(5_010).session_killed(1).at(5_900).recovered(1);
        let found = the_one(&fault, &story);
        assert_eq!(found.detected.map(|detected| detected.at), Some(Timestamp(5_010_000)));
        assert_eq!(found.classified_as(FailureKind::SessionDied), Some(FailureKind::SessionDied));
        assert_eq!(found.outcome, Some(Outcome::Recovered));
        assert_eq!(found.recovered_at, Some(Timestamp(5_900_000)));
        assert_eq!(found.until, Timestamp(6_900_000));
    }

    #[test]
    fn a_session_whose_agents_alone_are_mourned_is_not_named() {
        let fault = injection(1, Kind::SessionKill, 1, None, 5_000);
        let told = Story::running(1).at(5_010).session_killed(1);
        let journal: Vec<Logged> = told
            .journal()
            .iter()
            .filter(|logged| !matches!(logged.entry.signal.what, What::SessionDied { .. }))
            .cloned()
            .collect();
        let found = matched(std::slice::from_ref(&fault), &journal).swap_remove(0);
        assert!(found.detected.is_some());
        assert_eq!(found.classified_as(FailureKind::SessionDied), None);
    }

    #[test]
    fn a_killed_orchestrator_is_back_once_tmux_has_answered_and_explains_no_alarm() {
        use orchestrator::domain::id::ProcessId;
        let process = ProcessId { pid: 9, start: 9 };
        let started = What::OrchestratorStarted { process, version: "1".to_owned(), unfinished: 1, unconfirmed: 0 };
        let answered = What::TmuxAnswered { server: process, changed: false };
        let fault = injection(1, Kind::OrchKill, 1, None, 5_000);
        let story = Story::running(1).at(5_200).say(Signal::fleet(started));
        let found = the_one(&fault, &story);
        assert_eq!(found.detected.map(|detected| detected.at), Some(Timestamp(5_200_000)));
        assert_eq!(found.outcome, None);
        let story = story.at(5_300).say(Signal::fleet(answered)).at(5_310).session_killed(1);
        let found = the_one(&fault, &story);
        assert_eq!((found.outcome, found.recovered_at), (Some(Outcome::Recovered), Some(Timestamp(5_300_000))));
        assert!(
            !story.journal().iter().any(|logged| explains(&fault, &found, logged) && logged.entry.signal.is_alarm())
        );
        assert_eq!(the_one(&fault, &Story::running(1)).outcome, Some(Outcome::Missed));
    }

    #[test]
    fn what_nobody_noticed_is_missed() {
        let fault = injection(1, Kind::ClaudeMdDelete, 1, Some("developer"), 5_000);
        // Another project's trouble, and another role's, are not about it.
        let story = Story::running(1).also_running(2).at(5_010).file_missing(2, "developer");
        let story = story.at(5_020).file_missing(1, "tester");
        let found = the_one(&fault, &story);
        assert_eq!((found.detected, found.outcome), (None, Some(Outcome::Missed)));
    }

    #[test]
    fn what_was_told_before_is_not_about_it() {
        let fault = injection(1, Kind::ClaudeMdDelete, 1, Some("developer"), 5_000);
        let story = Story::running(1).at(4_990).file_missing(1, "developer").at(4_995).recovered(1);
        assert_eq!(the_one(&fault, &story).outcome, Some(Outcome::Missed));
    }

    #[test]
    fn a_file_deleted_under_a_dead_session_is_masked() {
        let kill = injection(1, Kind::SessionKill, 1, None, 5_000);
        let delete = injection(2, Kind::ClaudeMdDelete, 1, Some("developer"), 5_100);
        let story = Story::running(1).at(5_010).session_killed(1).at(5_900).recovered(1);
        let found = matched(&[kill, delete], story.journal());
        assert_eq!(found[1].outcome, Some(Outcome::Masked));
    }

    #[test]
    fn each_of_two_faults_on_one_project_keeps_its_own() {
        let first = injection(1, Kind::SessionKill, 1, None, 5_000);
        let second = injection(2, Kind::StderrNull, 1, Some("developer"), 9_000);
        let story = Story::running(1).at(5_010).session_killed(1).at(5_900).recovered(1);
        let story = story.at(9_050).agent_exited(1, "developer", 41, Stderr::Empty).at(9_700).recovered(1);
        let found = matched(&[first, second], story.journal());
        assert_eq!(found[0].recovered_at, Some(Timestamp(5_900_000)));
        assert_eq!(found[1].detected.map(|detected| detected.at), Some(Timestamp(9_050_000)));
        assert_eq!(found[1].named.len(), 1);
        assert!(found[1].named[0].evidenced);
    }

    #[test]
    fn evidence_that_says_otherwise_is_no_evidence() {
        let fault = injection(1, Kind::StderrNull, 1, Some("developer"), 9_000);
        let spoken = Stderr::Text("boom".to_owned());
        let story = Story::running(1).at(9_050).agent_exited(1, "developer", 41, spoken).at(9_700).recovered(1);
        assert!(!the_one(&fault, &story).named[0].evidenced);
        let story = Story::running(1).at(9_050).agent_exited(1, "developer", 1, Stderr::Empty).at(9_700).recovered(1);
        assert!(!the_one(&fault, &story).named[0].evidenced);
    }

    #[test]
    fn the_one_beyond_the_budget_is_contained() {
        let fault = injection(1, Kind::SessionKill, 1, None, 5_000);
        let story = Story::running(1).at(5_010).session_killed(1).at(5_020).refused(1);
        assert_eq!(the_one(&fault, &story).outcome, Some(Outcome::Contained));
    }

    #[test]
    fn git_failing_in_silence_is_matched_while_provisioning() {
        let mut fault = injection(1, Kind::StderrNull, 1, None, 5_000);
        fault.victim = Some(Victim::Git);
        let story = Story::new().enqueued(1).at(5_030).git_failed(1, 128).at(5_900).recovered(1);
        let found = the_one(&fault, &story);
        assert_eq!(found.outcome, Some(Outcome::Recovered));
        assert!(found.named[0].evidenced);
        assert_eq!(found.classified_as(FailureKind::SubprocessFailed), Some(FailureKind::SubprocessFailed));
    }

    #[test]
    fn what_was_not_confirmed_has_no_outcome() {
        let mut fault = injection(1, Kind::SessionKill, 1, None, 5_000);
        fault.probe = Err("the session is still there".to_owned());
        assert_eq!(the_one(&fault, &Story::running(1)).outcome, None);
        fault.injected_at = None;
        assert_eq!(the_one(&fault, &Story::running(1)).until, Timestamp(0));
    }

    #[test]
    fn an_alarm_is_explained_by_the_fault_of_its_own_role_and_time_only() {
        let fault = injection(1, Kind::ClaudeMdDelete, 1, Some("developer"), 5_000);
        let story = Story::running(1).at(5_010).file_missing(1, "developer").at(5_900).recovered(1);
        let found = the_one(&fault, &story);
        let told = |at: u64, role: &str| {
            Story::new().at(at).file_missing(1, role).journal().first().cloned().expect("an alarm")
        };
        assert!(explains(&fault, &found, &told(5_010, "developer")));
        assert!(!explains(&fault, &found, &told(5_010, "tester")));
        assert!(!explains(&fault, &found, &told(7_000, "developer")));
        assert!(!explains(&fault, &found, &told(4_999, "developer")));
    }
}
