//! `orch post-mortem ID`: what happened to one project, written up as Markdown for people who were not there.
//!
//! Everything in it comes from the journal and the project's row. Text from outside is shown, never obeyed: control
//! characters are made visible, Markdown's own characters are escaped, and a fence is longer than any in its block.

use super::events;
use super::exit::CliError;
use super::host;
use super::output;
use super::show::{self, Portrait};
use super::status::{self, Snapshot};
use crate::domain::failure::{Failure, Program, Stderr};
use crate::domain::id::{ProjectId, Seq};
use crate::domain::limits::Policy;
use crate::domain::signal::{Entry, Level, What};
use crate::domain::trace;
use crate::store::{Mode, Store};
use crate::telemetry::line;
use crate::telemetry::text::{self, escape, humane, kind, message, stage};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// The command line of `orch post-mortem`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The project's id, as `orch status` shows it
    #[arg(value_name = "ID")]
    pub id: i64,
}

/// Writes it to standard output.
///
/// # Errors
/// If there is no readable database, or no such project.
pub fn run(args: &Args, home: &Path, policy: &Policy) -> Result<(), CliError> {
    let path = home.join(host::DATABASE);
    let store = Store::open(&path, Mode::ReadOnly)?;
    let around = Snapshot::around(&store, &path, policy)?;
    output::print(&read(&store, ProjectId(args.id), around)?)
}

fn read(store: &Store, id: ProjectId, around: Snapshot) -> Result<String, CliError> {
    let portrait = show::read(store, id, around)?;
    let entries = store.entries_of(id, Seq(0), usize::MAX)?;
    Ok(markdown(&portrait, &entries))
}

/// The whole write-up.
fn markdown(portrait: &Portrait, entries: &[Entry]) -> String {
    let mut out = format!("# Post-mortem of project {}: {}\n", portrait.project.id, safe(&portrait.project.title));
    verdict(&mut out, portrait, entries);
    timeline(&mut out, entries);
    failures(&mut out, entries);
    last_words(&mut out, entries);
    tried(&mut out, entries);
    next(&mut out, portrait, entries);
    out
}

fn verdict(out: &mut String, portrait: &Portrait, entries: &[Entry]) {
    let project = &portrait.project;
    let _ = writeln!(out, "\n## Verdict\n");
    let reason = project.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let since = humane(portrait.around.now.since(project.state_since));
    let _ = write!(out, "**{}**{}", safe(&project.state), safe(&reason));
    match &portrait.failure {
        Some(failure) if project.state != "completed" => {
            let ending = safe(&failure.ending.to_string());
            let _ = writeln!(out, ": {} while {}, {ending}.\n", code(kind(failure.kind)), stage(failure.stage));
        }
        Some(_) | None => out.push_str(".\n\n"),
    }
    let mut item = |name: &str, value: &str| {
        let _ = writeln!(out, "- {name}: {value}");
    };
    item("In this state for", &since);
    if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
        let (from, to) = (line::rfc3339(first.wall), line::rfc3339(last.wall));
        item("Journal", &format!("{from} to {to}, {} entries", entries.len()));
    }
    item("Incarnations", &project.epoch.to_string());
    item("Session", &project.session.as_deref().map_or_else(|| "none was asked for".to_owned(), code));
    let breaker = status::breaker(project, &portrait.around);
    item("Breaker", if breaker.is_empty() { "closed, no attempts" } else { &breaker });
    item("Repository", &code(&project.repo));
    item("Trace", &code(&trace::trace_id(&portrait.installation, project.id)));
}

/// Everything but the bookkeeping.
fn timeline(out: &mut String, entries: &[Entry]) {
    let _ = writeln!(out, "\n## Timeline (UTC)\n");
    let mut date = String::new();
    for entry in entries {
        if matches!(entry.signal.what, What::EffectIntended { .. } | What::RoleMoved { .. }) {
            continue;
        }
        let stamp = line::rfc3339(entry.wall);
        let today = events::date(entry.wall);
        if date != today {
            let _ = writeln!(out, "- **{today}**");
            date = today;
        }
        let clock: String = stamp.chars().skip_while(|c| *c != 'T').skip(1).take(12).collect();
        let words = safe(&message(&entry.signal));
        let words = if entry.signal.level() > Level::Info { format!("**{words}**") } else { words };
        let _ = writeln!(out, "- {} {words}", code(&clock));
    }
}

/// Every evidence in full, once.
fn failures(out: &mut String, entries: &[Entry]) {
    let _ = writeln!(out, "\n## Failures");
    let mut told: Vec<&Failure> = Vec::new();
    for entry in entries {
        let Some(failure) = entry.signal.failure().filter(|failure| !told.contains(failure)) else { continue };
        told.push(failure);
        let whose = entry.signal.agent_role.as_ref().map(|role| format!(" of {}", safe(&role.0))).unwrap_or_default();
        let _ = writeln!(out, "\n### {}. {}{whose}\n", told.len(), safe(kind(failure.kind)));
        let mut item = |name: &str, value: &str| {
            let _ = writeln!(out, "- {name}: {value}");
        };
        item("At", &format!("{} (journal {})", line::rfc3339(entry.wall), entry.seq));
        item("While", stage(failure.stage));
        item("Command", &code(&failure.argv.join(" ")));
        item("Directory", &failure.cwd.as_deref().map_or_else(|| "not known".to_owned(), code));
        item("Ending", &safe(&failure.ending.to_string()));
        item("Duration", &humane(failure.duration));
        if let Some(hint) = &failure.hint {
            item("Hint", &safe(hint));
        }
        item("Quality of the evidence", &format!("{:.2}", failure.quality()));
        output_of(out, failure);
    }
    if told.is_empty() {
        let _ = writeln!(out, "\nThe journal holds no failure of this project.");
    }
}

fn output_of(out: &mut String, failure: &Failure) {
    match &failure.stderr {
        Stderr::Text(tail) => block(out, "Standard error, its tail:", tail),
        Stderr::Empty => out.push_str("\nStandard error was captured, and empty.\n"),
        Stderr::Null => out.push_str("\nStandard error could not be captured.\n"),
    }
    if failure.stdout_tail.trim().is_empty() {
        out.push_str("\nOutput or screen: empty.\n");
    } else {
        block(out, "Output or screen, its tail:", &failure.stdout_tail);
    }
}

/// The newest evidence of each agent.
fn last_words(out: &mut String, entries: &[Entry]) {
    let _ = writeln!(out, "\n## Last words of each agent");
    let mut newest: BTreeMap<&str, (&Entry, &Failure)> = BTreeMap::new();
    for entry in entries {
        if let (Some(role), Some(failure)) = (&entry.signal.agent_role, entry.signal.failure())
            && failure.program == Program::Agent
        {
            newest.insert(role.0.as_str(), (entry, failure));
        }
    }
    for (role, (entry, failure)) in &newest {
        let epoch = entry.signal.epoch.map(|epoch| format!(", incarnation {epoch}")).unwrap_or_default();
        let _ = writeln!(out, "\n### {}{epoch}", safe(role));
        output_of(out, failure);
    }
    if newest.is_empty() {
        let _ = writeln!(out, "\nNo agent left any.");
    }
}

/// What the orchestrator and its operators did about it.
fn tried(out: &mut String, entries: &[Entry]) {
    let _ = writeln!(out, "\n## What was tried\n");
    let mut nothing = true;
    for entry in entries {
        let about = matches!(
            entry.signal.what,
            What::RecoveryStarted { .. }
                | What::RecoveryDelayed { .. }
                | What::RecoverySucceeded { .. }
                | What::RecoveryRefused { .. }
                | What::BreakerMoved { .. }
                | What::SlotAwaited { .. }
                | What::SightLost { .. }
                | What::ResourceRestored { .. }
                | What::OperatorAsked { .. }
                | What::RequestRefused { .. }
        );
        if about {
            nothing = false;
            let _ = writeln!(out, "- {} {}", line::rfc3339(entry.wall), safe(&message(&entry.signal)));
        }
    }
    if nothing {
        out.push_str("Nothing: no recovery was begun, and nobody asked for anything.\n");
    }
}

/// Hints of the evidence, then what can be asked for.
fn next(out: &mut String, portrait: &Portrait, entries: &[Entry]) {
    let _ = writeln!(out, "\n## What to do next\n");
    let hints: BTreeSet<&str> = entries.iter().filter_map(|entry| entry.signal.failure()?.hint.as_deref()).collect();
    for hint in hints {
        let _ = writeln!(out, "- {}", safe(hint));
    }
    let project = &portrait.project;
    let id = project.id;
    let advice = match (project.state.as_str(), project.reason.as_deref()) {
        ("failed" | "cancelled", _) => format!("`orch retry {id}` runs it once more, in the same worktrees"),
        ("completed", _) => format!("nothing; `orch retry {id}` would run it once more"),
        ("suspended", Some("breaker")) => {
            format!(
                "`orch resume {id}` lets one probe through now; `orch breaker reset {id}` gives the whole budget back"
            )
        }
        ("suspended", Some("needs_operator")) => {
            "see why tmux does not answer; the project goes on by itself as soon as it does".to_owned()
        }
        ("suspended", _) => format!("`orch resume {id}` lets it go on"),
        _ => format!("it has not ended; `orch show {id}` shows how it stands"),
    };
    let _ = writeln!(out, "- {advice}");
    for role in &project.roles {
        if let (Some(worktree), Some(branch)) = (&role.worktree, &role.branch) {
            let (name, worktree, branch) = (safe(&role.name), code(worktree), code(branch));
            let _ = writeln!(out, "- The work of {name} is in {worktree} on branch {branch}");
        }
    }
    if portrait.around.serving.is_none() {
        out.push_str("- No orchestrator runs; `orch serve` starts one\n");
    }
}

/// Outside text within a line of Markdown: shown, never obeyed.
fn safe(words: &str) -> String {
    let words: Vec<char> = text::escape(words).chars().collect();
    let word = |at: Option<usize>| at.and_then(|at| words.get(at)).is_some_and(|c| c.is_alphanumeric());
    // What would begin a list, a heading or a quotation can do so only where the text begins.
    let number = words.iter().take_while(|c| c.is_ascii_digit()).count();
    let mut out = String::with_capacity(words.len());
    for (at, c) in words.iter().enumerate() {
        let acts = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '~' | '&' | '$' | '|' => true,
            '_' => !(word(at.checked_sub(1)) && word(Some(at + 1))),
            '#' | '>' | '-' | '+' | '=' => at == 0,
            '.' | ')' => at > 0 && at == number,
            _ => false,
        };
        if acts {
            out.push('\\');
        }
        out.push(*c);
    }
    out
}

/// Outside text as code within a line.
fn code(words: &str) -> String {
    let words = escape(words);
    let ticks = "`".repeat(longest_run(&words) + 1);
    let pad = if words.starts_with('`') || words.ends_with('`') || words.is_empty() { " " } else { "" };
    format!("{ticks}{pad}{words}{pad}{ticks}")
}

/// Outside text line by line, behind a fence that it cannot end.
fn block(out: &mut String, head: &str, tail: &str) {
    let fence = "`".repeat((longest_run(tail) + 1).max(3));
    let _ = writeln!(out, "\n{head}\n\n{fence}text");
    for line in tail.trim_end().trim_start_matches('\n').lines() {
        let _ = writeln!(out, "{}", escape(line));
    }
    let _ = writeln!(out, "{fence}");
}

fn longest_run(words: &str) -> usize {
    words.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing;

    fn of(id: i64) -> String {
        let built = testing::fleet();
        read(&built.store, ProjectId(id), built.snapshot()).unwrap()
    }

    #[test]
    fn a_failed_project_is_written_up() {
        insta::assert_snapshot!(of(2), @r"
        # Post-mortem of project 2: évil \\u{1b}\[31mtitle; kill-server #(touch x)

        ## Verdict

        **failed**: `agent_exited` while running, exit code 41.

        - In this state for: 15 min 00 s
        - Journal: 2026-11-20T12:00:02.000000Z to 2026-11-20T12:00:18.630000Z, 15 entries
        - Incarnations: 1
        - Session: `p2-ab12-e1`
        - Breaker: closed, no attempts
        - Repository: `/srv/mobile-app`
        - Trace: `42c070d7982f4d416bdb2479d0114f41`

        ## Timeline (UTC)

        - **2026-11-20**
        - `12:00:02.000` accepted into the queue: évil \\u{1b}\[31mtitle; kill-server #(touch x) (1 role)
        - `12:00:06.245` queued -> provisioning after 4.2 s
        - `12:00:06.285` provisioning -> launching after 40 ms
        - `12:00:06.285` session p2-ab12-e1 is up
        - `12:00:06.285` developer started (pid 4010)
        - `12:00:06.285` launching -> briefing after 0 s
        - `12:00:06.285` developer acknowledged its brief
        - `12:00:06.285` briefing -> running after 0 s
        - `12:00:18.630` **developer died (pid 4010) after 12.3 s; noticed by pidfd**
        - `12:00:18.630` **cause of death of developer: agent_exited; exit code 41, stderr: \\u{1b}\[2Jfatal: no API key; is ANTHROPIC_API_KEY set for the agent?**
        - `12:00:18.630` **given up (agent_exited) while running: claude --continue: exit code 41, stderr: \\u{1b}\[2Jfatal: no API key; is ANTHROPIC_API_KEY set for the agent?**
        - `12:00:18.630` **running -> failed after 12.3 s (agent_exited)**

        ## Failures

        ### 1. agent_exited of developer

        - At: 2026-11-20T12:00:18.630000Z (journal 36)
        - While: running
        - Command: `claude --continue`
        - Directory: `worktrees/p2/developer`
        - Ending: exit code 41
        - Duration: 12.3 s
        - Hint: is ANTHROPIC_API_KEY set for the agent?
        - Quality of the evidence: 1.00

        Standard error, its tail:

        ```text
        warming up
        \u{1b}[2Jfatal: no API key
        ```

        Output or screen, its tail:

        ```text
        thinking…
        ```

        ## Last words of each agent

        ### developer, incarnation 1

        Standard error, its tail:

        ```text
        warming up
        \u{1b}[2Jfatal: no API key
        ```

        Output or screen, its tail:

        ```text
        thinking…
        ```

        ## What was tried

        Nothing: no recovery was begun, and nobody asked for anything.

        ## What to do next

        - is ANTHROPIC_API_KEY set for the agent?
        - `orch retry 2` runs it once more, in the same worktrees
        - The work of developer is in `worktrees/p2/developer` on branch `orch/p2-ab12/developer/e1`
        ");
    }

    #[test]
    fn a_contained_project_says_what_was_tried_and_what_can_be_asked_for() {
        let text = of(3);
        insta::assert_snapshot!(text.split_once("## What was tried").unwrap().1, @"


        - 2026-11-20T12:00:19.170000Z recovery refused, the budget is spent (session_died); next probe in 1 h 00 min
        - 2026-11-20T12:00:19.170000Z breaker closed -> open (3 attempts in its window)

        ## What to do next

        - `orch resume 3` lets one probe through now; `orch breaker reset 3` gives the whole budget back
        - The work of developer is in `worktrees/p3/developer` on branch `orch/p3-ab12/developer/e1`
        ");
    }

    #[test]
    fn a_project_without_failures_is_written_up_too() {
        let text = of(1);
        assert!(text.contains("The journal holds no failure of this project."), "{text}");
        assert!(!text.contains("about to ensure") && !text.contains("absent"), "{text}");
    }

    #[test]
    fn outside_text_cannot_leave_its_place() {
        let mut out = String::new();
        block(&mut out, "Head:", "a\n```\n# forged\n`````\n\u{1b}[2J\rb\n");
        insta::assert_snapshot!(out, @r"

        Head:

        ``````text
        a
        ```
        # forged
        `````
        \u{1b}[2J\rb
        ``````
        ");
        insta::assert_snapshot!(safe("# [x](y) <b> *c* _d_ `e` | ~f~ & \u{1b}[2J\n- g"), @r"\# \[x\](y) \<b> \*c\* \_d\_ \`e\` \| \~f\~ \& \\u{1b}\[2J\\n- g");
        insta::assert_snapshot!(safe("1. one") + " / " + &safe("- two") + " / " + &safe("snake_case -> __x__"), @r"1\. one / \- two / snake_case -> \_\_x\_\_");
        insta::assert_snapshot!([code("a"), code("`b` ``c``"), code(""), code("d\ne")].join("\n"), @r"
        `a`
        ``` `b` ``c`` ```
        `  `
        `d\ne`
        ");
    }

    #[test]
    fn no_such_project_is_bad_data() {
        let built = testing::fleet();
        assert!(matches!(read(&built.store, ProjectId(9), built.snapshot()), Err(CliError::NoProject(9))));
    }
}
