//! What is compared: the kind of an answer, its flags and its evidence; never times, numbers or words.

use super::stage::SESSION;
use orchestrator::domain::event::{Event, Fact, FileIs, Happened, PaneEnd, PaneSeen, PaneUp, RoleFound};
use orchestrator::domain::failure::{Ending, Failure};
use orchestrator::domain::id::Token;
use std::collections::{BTreeMap, BTreeSet};

/// The tokens that the play gave out, by what they mark.
pub(crate) type Names = BTreeMap<Token, String>;

/// The result of an effect.
pub(crate) fn result(result: &Result<Fact, Box<Failure>>) -> String {
    match result {
        Ok(fact) => self::fact(fact),
        Err(failure) => self::failure(failure),
    }
}

fn failure(failure: &Failure) -> String {
    let ending = match &failure.ending {
        Ending::Code(code) => format!("code {code}"),
        Ending::Signal(signal) => format!("signal {signal}"),
        Ending::NotStarted(_) => "not started".to_owned(),
        Ending::DeadlinePassed(_) => "deadline passed".to_owned(),
        Ending::Lost(_) => "lost".to_owned(),
        Ending::Reason(_) => "reason".to_owned(),
    };
    let (kind, program) = (failure.kind, failure.program);
    format!("{kind:?} of {program:?}: {ending}, stderr {}", failure.stderr.state())
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Preflighted => "preflighted".to_owned(),
        Fact::WorktreeReady { created, parked, .. } => {
            format!("ready, {}, {} parked", if *created { "created" } else { "found" }, parked.len())
        }
        Fact::FilesReady { claude_md, parked, left } => {
            format!("ready, {} bytes, {} parked, {} left", claude_md.size, parked.len(), left.len())
        }
        Fact::Looked { roles } => found(roles),
        Fact::RemainsEnded { tokens, ended } => {
            format!("{} tokens, {}", tokens.len(), if *ended > 0 { "some ended" } else { "none left" })
        }
        Fact::SessionUp { adopted, panes, .. } => {
            let panes: Vec<String> = panes.iter().map(up).collect();
            format!("{}: {}", if *adopted { "adopted" } else { "created" }, panes.join(", "))
        }
        Fact::AgentUp(pane) => format!("up: {}", up(pane)),
        Fact::BriefHanded => "handed".to_owned(),
        Fact::Nudged => "nudged".to_owned(),
        Fact::Sampled(_) => "sampled".to_owned(),
        Fact::Collected(remains) => {
            let pane = match remains.pane {
                PaneEnd::Gone => "gone".to_owned(),
                PaneEnd::Alive => "alive".to_owned(),
                PaneEnd::Dead { code: Some(code), .. } => format!("dead, code {code}"),
                PaneEnd::Dead { signal: Some(signal), .. } => format!("dead, signal {signal}"),
                PaneEnd::Dead { .. } => "dead, status lost".to_owned(),
            };
            let session = if remains.session_present { "there" } else { "absent" };
            let server = if remains.server_changed { "another" } else { "the same" };
            let process = if remains.alive { "alive" } else { "gone" };
            let stderr = remains.stderr.state();
            format!("pane {pane}; session {session}; server {server}; process {process}; stderr {stderr}")
        }
        Fact::Certified { roles, heads } => {
            let heads: Vec<&str> = heads.iter().map(|head| if head.dirty { "dirty" } else { "clean" }).collect();
            format!("{}; heads {}", found(roles), heads.join(","))
        }
        Fact::SessionEnded => "ended".to_owned(),
    }
}

fn up(pane: &PaneUp) -> String {
    format!("{} {}", pane.role, if pane.process.is_some() { "runs" } else { "has ended" })
}

fn found(roles: &[RoleFound]) -> String {
    let one = |role: &RoleFound| {
        let files = role.files.iter().map(|file| match &file.is {
            FileIs::Regular(pin) => format!("{} bytes", pin.size),
            FileIs::Missing => "missing".to_owned(),
            FileIs::Unusable(_) => "unusable".to_owned(),
        });
        let tree = if role.worktree.is_some() { "not usable" } else { "sound" };
        format!("{} {tree}, {}", role.role, files.collect::<Vec<_>>().join(", "))
    };
    roles.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// An event that is no settlement: who told, and what of.
pub(crate) fn event(happened: &Happened) -> String {
    let source = happened.source.name();
    let what = format!("{:?}", happened.event);
    // The name of the variant is all that is told of those that carry nothing to compare.
    let name = what.split([' ', '(', '{']).next().unwrap_or_default();
    let role = if let Event::ProcessGone { role, .. } | Event::FilesTouched { role, .. } = &happened.event {
        format!(" {role}")
    } else {
        String::new()
    };
    format!("{source} {name}{role}")
}

/// The panes of a list, session by session.
pub(crate) fn panes(names: &Names, panes: &[PaneSeen]) -> String {
    let mark = |token: &Option<Token>| match token {
        None => "nobody's".to_owned(),
        Some(token) => names.get(token).cloned().unwrap_or_else(|| "a stranger's".to_owned()),
    };
    let session = |pane: &PaneSeen| {
        let name = if pane.session == SESSION { "session" } else { "another" };
        format!("{name} of {}", mark(&pane.session_token))
    };
    let mut sessions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pane in panes {
        let stands = if pane.dead { "dead" } else { "alive" };
        sessions.entry(session(pane)).or_default().insert(format!("{} {stands}", mark(&pane.role_token)));
    }
    let one = |(session, panes): (&String, &BTreeSet<String>)| {
        format!("{session}: {}", panes.iter().cloned().collect::<Vec<_>>().join(", "))
    };
    if sessions.is_empty() { "nothing".to_owned() } else { sessions.iter().map(one).collect::<Vec<_>>().join("; ") }
}
