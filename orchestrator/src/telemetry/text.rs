//! The words: one sentence fragment per event, for a person at three in the morning.
//!
//! Each says what happened, to whom, with the numbers that matter and who noticed. Text from outside (an agent's
//! words, a file's name, a program's stderr) is escaped and cut, so that it can neither move a cursor, nor forge a
//! line, nor push the rest off the screen (B15, B83).

use super::fleet;
pub use super::name::name;
use crate::domain::event::Source;
use crate::domain::failure::{Failure, FailureKind, Stage, Stderr};
use crate::domain::request::RequestKind;
use crate::domain::signal::{Signal, What};
use crate::domain::state::SuspendReason;
use crate::domain::time::Span;
use std::fmt::Write;

/// Characters of one piece of outside text in a message: what fits a line with the words around it.
const OUTSIDE_CHARS_MAX: usize = 160;

/// One event in plain English: a fragment without a full stop, safe for a terminal and a log line.
#[must_use]
pub fn message(signal: &Signal) -> String {
    let who = signal.agent_role.as_ref().map_or("the project", |role| role.0.as_str());
    let who = escape(who);
    match &signal.what {
        What::OrchestratorStarted { .. }
        | What::OrchestratorStopped { .. }
        | What::OrchestratorAway { .. }
        | What::MachineRebooted { .. }
        | What::StoreRestored { .. }
        | What::Quarantined { .. }
        | What::StrayFound { .. }
        | What::LateCreation { .. }
        | What::TmuxLost { .. }
        | What::ServerDied { .. }
        | What::FleetBreakerMoved { .. }
        | What::SocketRestored { .. }
        | What::TmuxAnswered { .. }
        | What::SpoolRejected { .. }
        | What::MoveRefused { .. } => fleet::told(&signal.what),
        What::SessionCreated { .. }
        | What::SessionDied { .. }
        | What::AgentStarted { .. }
        | What::AgentAdopted { .. }
        | What::AgentDied { .. }
        | What::DeathExplained { .. }
        | What::BriefHanded { .. }
        | What::BriefAcknowledged
        | What::AgentReported { .. } => agent(&who, signal),
        What::AgentSilent { .. } | What::AgentNudged { .. } | What::AgentStalled { .. } => silence(&who, &signal.what),
        What::ResourceMissing { .. }
        | What::ResourceRestored { .. }
        | What::SubprocessFailed { .. }
        | What::OperationFailed { .. }
        | What::ProjectFailed { .. } => fault(&who, &signal.what),
        What::RecoveryStarted { .. }
        | What::RecoveryDelayed { .. }
        | What::RecoverySucceeded { .. }
        | What::RecoveryRefused { .. }
        | What::SightLost { .. }
        | What::SlotAwaited { .. }
        | What::BreakerMoved { .. } => recovery(&signal.what),
        What::ProjectEnqueued { .. }
        | What::ProjectMoved { .. }
        | What::RoleMoved { .. }
        | What::EffectIntended { .. }
        | What::OperatorAsked { .. }
        | What::RequestRefused { .. }
        | What::ProjectCertified { .. } => course(&who, signal),
    }
}

/// Sessions and agents: their coming, going and saying.
#[expect(clippy::wildcard_enum_match_arm, reason = "the exhaustive match of `message` routes only these here")]
fn agent(who: &str, signal: &Signal) -> String {
    let session =
        signal.session.as_deref().map_or_else(|| "session".to_owned(), |name| format!("session {}", escape(name)));
    match &signal.what {
        What::SessionCreated { adopted: false } => format!("{session} is up"),
        What::SessionCreated { adopted: true } => format!("{session} was there already, taken over by its token"),
        What::SessionDied { detected_by, lag } => format!("{session} died; {}", noticed(*detected_by, *lag)),
        What::AgentStarted { process } => format!("{who} started (pid {})", process.pid),
        What::AgentAdopted { process } => format!("{who} runs already (pid {}), taken over by its token", process.pid),
        What::AgentDied { process, expected, detected_by, lag, lifetime } => {
            let verb = if *expected { "ended, as expected" } else { "died" };
            let after = humane(*lifetime);
            format!("{who} {verb} (pid {}) after {after}; {}", process.pid, noticed(*detected_by, *lag))
        }
        What::DeathExplained { failure } => {
            let mut text =
                format!("cause of death of {who}: {}; {}, {}", kind(failure.kind), ending(failure), stderr(failure));
            hint(&mut text, failure);
            text
        }
        What::BriefHanded { times: 1 } => format!("brief handed to {who}"),
        What::BriefHanded { times } => format!("brief handed to {who} again ({})", ordinal(*times)),
        What::BriefAcknowledged => format!("{who} acknowledged its brief"),
        What::AgentReported { kind, text } => {
            let said = match kind.as_str() {
                "done" => "is done".to_owned(),
                "fail" => "says it cannot go on".to_owned(),
                "idle" => "rests".to_owned(),
                "needs_input" => "waits for a person".to_owned(),
                "progress" => "goes on".to_owned(),
                "credit" => "is out of credit".to_owned(),
                other => format!("reports {}", outside(other)),
            };
            match text.as_deref().filter(|text| !text.trim().is_empty()) {
                Some(text) => format!("{who} {said}: {}", outside(text)),
                None => format!("{who} {said}"),
            }
        }
        _ => String::new(),
    }
}

/// How quiet an agent is.
#[expect(clippy::wildcard_enum_match_arm, reason = "the exhaustive match of `message` routes only these here")]
fn silence(who: &str, what: &What) -> String {
    match what {
        What::AgentSilent { silent, limit, tool, hooks } => {
            let running = if *tool { ", a tool of its runs" } else { "" };
            let then = if *hooks {
                format!("it counts as hung after {}", humane(*limit))
            } else {
                "it does not report progress, so it is left alone".to_owned()
            };
            format!("{who} has been silent for {} (no report, no output, no CPU{running}); {then}", humane(*silent))
        }
        What::AgentNudged { silent, rests: false } => {
            format!("{who} was asked on its pane whether it still works, after {} of silence", humane(*silent))
        }
        What::AgentNudged { silent, rests: true } => {
            format!("{who} was reminded on its pane to report done or fail, after {} at rest", humane(*silent))
        }
        What::AgentStalled { failure } => {
            format!("{who} counts as hung: silent in every respect for {}", humane(failure.duration))
        }
        _ => String::new(),
    }
}

/// What went wrong, or was put right.
#[expect(clippy::wildcard_enum_match_arm, reason = "the exhaustive match of `message` routes only these here")]
fn fault(who: &str, what: &What) -> String {
    match what {
        What::ResourceMissing { resource, path, detected_by, lag, failure } => {
            let thing = if resource == "worktree" { "worktree".to_owned() } else { outside(path) };
            let is = match failure.kind {
                FailureKind::ResourceChanged => "is no longer what was pinned at launch".to_owned(),
                FailureKind::ResourceMissing => "is missing".to_owned(),
                FailureKind::WorktreeInvalid
                | FailureKind::Io
                | FailureKind::Invalid
                | FailureKind::TimedOut
                | FailureKind::SessionDied
                | FailureKind::ServerDied
                | FailureKind::AgentKilled
                | FailureKind::AgentExited
                | FailureKind::AgentLost
                | FailureKind::AgentReported
                | FailureKind::AgentStalled
                | FailureKind::NameConflict
                | FailureKind::SubprocessFailed
                | FailureKind::SpawnFailed
                | FailureKind::Exhausted
                | FailureKind::BriefUnacknowledged => format!("is unusable ({})", ending(failure)),
            };
            format!("{thing} of {who} {is}; {}", noticed(*detected_by, *lag))
        }
        What::ResourceRestored { path, parked } if parked.is_empty() => {
            format!("{} of {who} was put right again", outside(path))
        }
        What::ResourceRestored { path, parked } => {
            let kept: Vec<String> = parked.iter().map(|path| outside(path)).collect();
            format!("{} of {who} was put right again; what stood there is kept at {}", outside(path), kept.join(", "))
        }
        What::SubprocessFailed { failure } => {
            let mut text = format!("{} failed for {who}: {}, {}", command(failure), ending(failure), stderr(failure));
            hint(&mut text, failure);
            text
        }
        What::OperationFailed { failure } => {
            let mut text = format!("{} failed for {who}: {}", command(failure), ending(failure));
            hint(&mut text, failure);
            text
        }
        What::ProjectFailed { failure } => {
            let mut text = format!(
                "given up ({}) while {}: {}: {}, {}",
                kind(failure.kind),
                stage(failure.stage),
                command(failure),
                ending(failure),
                stderr(failure),
            );
            hint(&mut text, failure);
            text
        }
        _ => String::new(),
    }
}

/// Recoveries and what limits them.
#[expect(clippy::wildcard_enum_match_arm, reason = "the exhaustive match of `message` routes only these here")]
fn recovery(what: &What) -> String {
    match what {
        What::RecoveryStarted { cause, probe: true, .. } => {
            format!("recovery probe begins, the one that the half-open breaker admits: {}", kind(*cause))
        }
        What::RecoveryStarted { attempt, max_attempts, cause, probe: false } => {
            format!("recovery {attempt} of {max_attempts} begins: {}", kind(*cause))
        }
        What::RecoveryDelayed { delay } => format!("next recovery in {}", humane(*delay)),
        What::RecoverySucceeded { attempts, duration } => {
            format!("running again after {}, {}", counted(*attempts, "attempt"), humane(*duration))
        }
        What::RecoveryRefused { retry_in, cause } => {
            let again = humane(*retry_in);
            format!("recovery refused, the budget is spent ({}); next probe in {again}", kind(*cause))
        }
        What::BreakerMoved { from, to, attempts } => {
            format!("breaker {from} -> {to} ({} in its window)", counted(*attempts, "attempt"))
        }
        What::SightLost { unknown, lasted } => format!("unknown for {}: {}", humane(*lasted), outside(unknown)),
        What::SlotAwaited { active, max_active } => {
            format!("may go on and waits for a slot ({active} of {max_active} are taken)")
        }
        _ => String::new(),
    }
}

/// The normal course of a project.
#[expect(clippy::wildcard_enum_match_arm, reason = "the exhaustive match of `message` routes only these here")]
fn course(who: &str, signal: &Signal) -> String {
    match &signal.what {
        What::ProjectEnqueued { title, roles } => {
            format!("accepted into the queue: {} ({})", outside(title), counted(*roles, "role"))
        }
        What::ProjectMoved { from, to, cause, reason, after } => {
            let mut text = format!("{from} -> {to} after {}", humane(*after));
            let why: Vec<&str> = cause.map(kind).into_iter().chain(reason.map(SuspendReason::name)).collect();
            if !why.is_empty() {
                let _ = write!(text, " ({})", why.join(", "));
            }
            text
        }
        What::RoleMoved { from, to } => format!("{who}: {from} -> {to}"),
        What::EffectIntended { effect_id, effect } => {
            let whose = if signal.agent_role.is_some() { format!(" for {who}") } else { String::new() };
            format!("about to {}{whose} (effect {effect_id})", outside(&effect.replace('_', " ")))
        }
        What::OperatorAsked { request, kind } => format!("the operator asked: {} (request {request})", asked(*kind)),
        What::RequestRefused { request, kind, reason } => {
            format!("the operator asked: {} (request {request}); refused: {}", asked(*kind), outside(reason))
        }
        What::ProjectCertified { heads } => {
            let shown: Vec<String> = heads
                .iter()
                .map(|head| {
                    let sha: String = head.sha.chars().take(12).collect();
                    let dirty = if head.dirty { " with uncommitted changes" } else { "" };
                    format!("{} at {}{dirty}", escape(&head.role.0), escape(&sha))
                })
                .collect();
            format!("finished work verified: {}", shown.join(", "))
        }
        _ => String::new(),
    }
}

/// A request, in words.
#[must_use]
pub fn asked(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Retry => "retry",
        RequestKind::Cancel => "cancel",
        RequestKind::Suspend => "suspend",
        RequestKind::Resume => "resume",
        RequestKind::BreakerReset => "reset the breaker",
    }
}

/// A cause, as filters and metrics spell it: one word in every place, so that it can be searched for.
#[must_use]
pub fn kind(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::SessionDied => "session_died",
        FailureKind::ServerDied => "server_died",
        FailureKind::AgentKilled => "agent_killed",
        FailureKind::AgentExited => "agent_exited",
        FailureKind::AgentLost => "agent_lost",
        FailureKind::AgentReported => "agent_reported",
        FailureKind::AgentStalled => "agent_stalled",
        FailureKind::ResourceMissing => "resource_missing",
        FailureKind::ResourceChanged => "resource_changed",
        FailureKind::WorktreeInvalid => "worktree_invalid",
        FailureKind::NameConflict => "name_conflict",
        FailureKind::SubprocessFailed => "subprocess_failed",
        FailureKind::SpawnFailed => "spawn_failed",
        FailureKind::Exhausted => "exhausted",
        FailureKind::TimedOut => "timed_out",
        FailureKind::BriefUnacknowledged => "brief_unacknowledged",
        FailureKind::Io => "io",
        FailureKind::Invalid => "invalid",
    }
}

/// A stage, in words that go after "while".
#[must_use]
pub fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Provision => "provisioning",
        Stage::Launch => "launching",
        Stage::Brief => "briefing",
        Stage::Run => "running",
        Stage::Complete => "being completed",
        Stage::Cleanup => "being taken down",
    }
}

/// What was run, as one escaped and cut line.
#[must_use]
pub fn command(failure: &Failure) -> String {
    outside(&failure.argv.join(" "))
}

/// How it ended, escaped and cut.
#[must_use]
pub fn ending(failure: &Failure) -> String {
    outside(&failure.ending.to_string())
}

fn stderr(failure: &Failure) -> String {
    match &failure.stderr {
        Stderr::Text(text) => {
            let last = text.trim_end().lines().next_back().unwrap_or_default();
            format!("stderr: {}", outside(last))
        }
        Stderr::Empty => "stderr empty".to_owned(),
        Stderr::Null => "stderr not captured".to_owned(),
    }
}

fn hint(text: &mut String, failure: &Failure) {
    if let Some(hint) = &failure.hint {
        let _ = write!(text, "; {}", outside(hint));
    }
}

fn noticed(by: Source, lag: Span) -> String {
    // Under 50 ms nobody cares; above, the delay is part of the story.
    if lag < Span::from_millis(50) {
        format!("noticed by {}", by.name())
    } else {
        format!("noticed by {}, {} late", by.name(), humane(lag))
    }
}

pub(super) fn counted(count: u32, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn ordinal(times: u32) -> String {
    let suffix = match (times % 10, times % 100) {
        (1, last) if last != 11 => "st",
        (2, last) if last != 12 => "nd",
        (3, last) if last != 13 => "rd",
        _ => "th",
    };
    format!("{times}{suffix} time")
}

/// A length of time as a person says it: two units at most.
#[must_use]
pub fn humane(span: Span) -> String {
    let micros = span.0;
    let secs = micros / 1_000_000;
    match secs {
        0 if micros == 0 => "0 s".to_owned(),
        0 if micros < 1_000 => format!("{micros} µs"),
        0 if micros < 100_000 => format!("{} ms", micros / 1_000),
        0..60 => format!("{}.{} s", secs, micros % 1_000_000 / 100_000),
        60..3_600 => format!("{} min {:02} s", secs / 60, secs % 60),
        3_600..86_400 => format!("{} h {:02} min", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{} d {:02} h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

/// Outside text, escaped and cut to what fits a message.
#[must_use]
pub fn outside(text: &str) -> String {
    cut(&escape(text), OUTSIDE_CHARS_MAX)
}

/// At most `max` characters; what is cut is marked.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(max.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

/// Text from outside with everything made visible that a terminal would obey instead of show: control characters,
/// line and paragraph separators, direction overrides, zero-width characters.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Whether a character acts on its surroundings instead of showing itself. U+200D stays: it joins emoji and has no
/// power over anything else.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::project::Project;
    use crate::domain::signal::Level;
    use crate::telemetry::samples;

    #[test]
    fn every_event_has_its_message() {
        let lines: Vec<String> = samples::every()
            .into_iter()
            .map(|signal| {
                let level = match signal.level() {
                    Level::Info => "info ",
                    Level::Warn => "WARN ",
                    Level::Error => "ERROR",
                };
                format!("{level} {}", message(&signal))
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        info  orchestrator 0.1.0 started (pid 4711): 1 unfinished project, 2 unconfirmed intents left by its predecessor to be settled by observation
        info  orchestrator stopped: SIGTERM; agents go on without it
        info  the orchestrator did not look for 8 h 00 min; that time is held against nobody
        WARN  the machine was rebooted, and 2 agents of ours ended with it
        ERROR the database is older than it was (its journal ends at 412, there was a 900): a backup was put in its place; every unfinished project rests until an operator resumes it
        WARN  session p9-ab12-e1 belongs to nothing that the database knows, and is left alone
        WARN  tmux cannot be asked (server exited unexpectedly); nothing is concluded about any session
        WARN  the tmux server (pid 4711) died, and 3 sessions of ours with it
        ERROR fleet breaker closed -> open (6 project breakers opened in its window, 5 may)
        info  fleet breaker open -> closed (5 project breakers opened in its window, 5 may)
        WARN  the socket of the tmux server (pid 4711) was gone, and is back; its sessions live
        info  tmux answers (server pid 4711)
        info  tmux answers, and it is another server than before (pid 4711): its sessions are new
        WARN  report x.json was unusable and moved aside: not JSON
        info  report done of developer came too late and was set aside: epoch 1
        ERROR refused an illegal move, nothing was changed: role in state done cannot take event launched; this is a defect of orch
        info  accepted into the queue: Mobile app, version 2 (2 roles)
        info  queued -> provisioning after 1 min 15 s
        WARN  recovering -> suspended after 0 s (session_died, breaker)
        ERROR suspended -> failed after 5 h 00 min (agent_reported)
        ERROR session p7-ab12-e4 is of epoch 4, the database knows 2: nothing of it is touched until an operator resumes or cancels the project
        WARN  session p7-ab12-e1 was created late by tmux and is ended: it is of epoch 1, the project is at epoch 2
        info  session p7-ab12-e2 is up
        info  session p7-ab12-e2 was there already, taken over by its token
        WARN  session p7-ab12-e2 died; noticed by sweep, 1.2 s late
        WARN  git worktree add failed for the project: exit code 128, stderr: fatal: not a valid object name; is base a commit?
        WARN  look CLAUDE.md failed for the project: no such file
        WARN  recovery 2 of 3 begins: session_died
        WARN  recovery probe begins, the one that the half-open breaker admits: session_died
        WARN  next recovery in 7.4 s
        info  running again after 1 attempt, 0.4 s
        ERROR recovery refused, the budget is spent (agent_killed); next probe in 1 h 00 min
        WARN  breaker closed -> open (3 attempts in its window)
        info  may go on and waits for a slot (5 of 5 are taken)
        ERROR unknown for 10 min 00 s: whether its session lives
        info  finished work verified: developer at 0123456789ab, tester at fedcba987654 with uncommitted changes
        ERROR given up (agent_exited) while running: claude --continue: exit code 41, stderr empty
        info  the operator asked: reset the breaker (request 4)
        WARN  the operator asked: resume (request 5); refused: it is not suspended
        info  developer: ready -> working
        info  about to ensure worktree for developer (effect 12)
        info  developer started (pid 4711)
        info  developer runs already (pid 4711), taken over by its token
        WARN  developer died (pid 4711) after 12.3 s; noticed by pidfd
        info  developer ended, as expected (pid 4711) after 12.3 s; noticed by pidfd
        WARN  cause of death of developer: agent_exited; exit code 41, stderr empty
        WARN  CLAUDE.md of developer is missing; noticed by inotify
        WARN  CLAUDE.md of developer is no longer what was pinned at launch; noticed by inotify
        WARN  CLAUDE.md of developer is unusable (no such file); noticed by inotify
        info  CLAUDE.md of developer was put right again
        info  CLAUDE.md of developer was put right again; what stood there is kept at backups/parked/CLAUDE.md
        info  brief handed to developer
        info  brief handed to developer again (3rd time)
        info  developer acknowledged its brief
        info  developer is done: all tests pass
        info  developer waits for a person
        info  developer says it cannot go on: the API key is invalid
        info  developer is out of credit: for 3600 s
        WARN  developer has been silent for 10 min 00 s (no report, no output, no CPU); it counts as hung after 20 min 00 s
        info  developer has been silent for 10 min 00 s (no report, no output, no CPU, a tool of its runs); it counts as hung after 20 min 00 s
        info  developer has been silent for 10 min 00 s (no report, no output, no CPU); it does not report progress, so it is left alone
        info  developer was asked on its pane whether it still works, after 10 min 00 s of silence
        info  developer was reminded on its pane to report done or fail, after 10 min 00 s at rest
        WARN  developer counts as hung: silent in every respect for 12.3 s
        ");
    }

    #[test]
    fn every_alarm_has_a_message_that_is_no_empty_word() {
        for signal in samples::every() {
            let text = message(&signal);
            assert!(!text.trim().is_empty(), "{signal:?}");
            let lower = text.to_lowercase();
            assert!(!lower.split(|c: char| !c.is_alphanumeric()).any(|word| word == "none"), "{text}");
            assert!(!text.ends_with('.'), "{text}");
        }
    }

    #[test]
    fn names_are_those_of_the_journal() {
        for signal in samples::every() {
            let json = serde_json::to_value(&signal).unwrap();
            assert_eq!(json["event"], name(&signal.what));
            if let Some(failure) = signal.failure() {
                assert_eq!(serde_json::to_value(failure.kind).unwrap(), kind(failure.kind));
            }
        }
    }

    #[test]
    fn outside_text_cannot_command_a_terminal() {
        let bad = "a\u{1b}[31m\u{7}\u{9b}2J\n{\"level\":\"error\"}\u{202e}\u{200b}\u{2028}\t\r\u{0}b";
        let what = What::AgentReported { kind: bad.to_owned(), text: Some(bad.to_owned()) };
        let text = message(&Signal::fleet(what));
        assert!(text.chars().all(|c| !is_hidden(c)), "{text:?}");
        insta::assert_snapshot!(text, @r#"the project reports a\u{1b}[31m\u{7}\u{9b}2J\n{"level":"error"}\u{202e}\u{200b}\u{2028}\t\r\u{0}b: a\u{1b}[31m\u{7}\u{9b}2J\n{"level":"error"}\u{202e}\u{200b}\u{2028}\t\r\u{0}b"#);
        for signal in samples::hostile(bad) {
            let text = message(&signal);
            assert!(text.chars().all(|c| !is_hidden(c)), "{text:?}");
        }
    }

    #[test]
    fn long_outside_text_is_cut() {
        let reason = "x".repeat(100_000);
        let text = message(&Signal::fleet(What::TmuxLost { reason }));
        assert!(text.chars().count() < 300, "{}", text.len());
    }

    #[test]
    fn lengths_of_time_read_well() {
        let of = |micros: u64| humane(Span(micros));
        let said: Vec<String> =
            [0, 999, 1_000, 99_999, 100_000, 12_345_678, 60_000_000, 3_599_999_999, 3_600_000_000, 18_000_000_000]
                .into_iter()
                .chain([86_400_000_000, 8_640_000_000_000])
                .map(of)
                .collect();
        insta::assert_snapshot!(said.join(" | "), @"0 s | 999 µs | 1 ms | 99 ms | 0.1 s | 12.3 s | 1 min 00 s | 59 min 59 s | 1 h 00 min | 5 h 00 min | 1 d 00 h | 100 d 00 h");
    }

    #[test]
    fn a_message_about_a_project_names_no_role() {
        let project: Project = samples::project();
        let what = What::ResourceRestored { path: "CLAUDE.md".to_owned(), parked: Vec::new() };
        assert_eq!(message(&Signal::project(&project, what)), "CLAUDE.md of the project was put right again");
    }
}
