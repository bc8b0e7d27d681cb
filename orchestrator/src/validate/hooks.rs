//! What Claude Code is told to report by itself: the hooks that provisioning writes into a worktree's
//! `.claude/settings.local.json`. Pure; how they get into a file that is there already is [`crate::domain::hooks`].
//!
//! | event | report | why |
//! |---|---|---|
//! | `SessionStart` | progress | A started session proves a ready agent, not a delivered brief: a sign of life only. |
//! | `UserPromptSubmit` | ack, if the prompt is our line; else progress | Delivered means acknowledged: that the line which names the brief went in as a prompt is the proof. A prompt of a person proves nothing about the brief. |
//! | `PreToolUse` | progress | A long tool starts its silence at its own beginning, not at the end of the one before; and `PostToolUse` does not come for a tool that failed. |
//! | `PostToolUse` | progress | The tool is done; also ends a needs-input, since an allowed tool has run. |
//! | `Stop` | idle | The agent's turn is over. After `done` it changes nothing. |
//! | `Notification` | needs-input | Only for `permission_prompt` and `elicitation_dialog`: the reminder after 60 s of rest (`idle_prompt`) is no question, and would hide a resting agent behind one that must not be touched. Versions before 2.0.37 know no matcher here and report every notification. |
//!
//! Every command is silent (what a hook prints after `UserPromptSubmit` or `SessionStart` becomes context), quick
//! (one record into the spool), ends with 0 whatever happens, and does nothing outside a pane of ours, so that it
//! does no harm even where the file is carried elsewhere.
//!
//! # Git
//! `.claude/.gitignore`, made only if there is none, hides the settings and itself, as `.orch/.gitignore` does.
//! `.git/info/exclude` is shared by all worktrees and the user's: it is not touched. If the repository tracks
//! `.claude/settings.local.json`, no ignore rule helps: the merged file shows as modified, and an agent that commits
//! everything commits our entries too; elsewhere they do nothing. Who wants neither sets `hooks = "none"`.
//!
//! # What can keep them from working
//! Claude Code runs no hooks of a folder until it is trusted, nor with `disableAllHooks` or a managed
//! `allowManagedHooksOnly`. The brief's file asks the agent to report by itself in any case, so hooks are an addition,
//! no resource: a file that cannot be merged is left alone, that is told as an operation that failed, and the launch
//! goes on.

use super::brief::BRIEF_PATH;
use crate::domain::hooks::MARK;
use crate::domain::spec::Hooks;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::path::Path;

/// Claude Code's settings for one person in one folder, relative to the worktree.
pub const SETTINGS_PATH: &str = ".claude/settings.local.json";
/// The file that makes git ignore [`SETTINGS_PATH`] where nothing else does, relative to the worktree.
pub const IGNORE_PATH: &str = ".claude/.gitignore";
/// The content of [`IGNORE_PATH`]; it covers the file itself too.
pub const IGNORE_CONTENT: &str = "/settings.local.json\n/.gitignore\n";
/// Seconds after which Claude Code gives a hook up; writing a record takes milliseconds.
const TIMEOUT_S: u32 = 10;
/// Goes up whenever a command changes; entries with another number are replaced.
const VERSION: u32 = 1;

/// The hooks of an agent whose spec does not name any: by the name of its program.
#[must_use]
pub fn default_of(command: &[String]) -> Hooks {
    let program = command.first().map(Path::new).and_then(Path::file_name);
    if program.is_some_and(|name| name == "claude") { Hooks::Claude } else { Hooks::None }
}

#[derive(Serialize)]
struct Group {
    #[serde(skip_serializing_if = "Option::is_none")]
    matcher: Option<&'static str>,
    hooks: [Hook; 1],
}

#[derive(Serialize)]
struct Hook {
    r#type: &'static str,
    command: String,
    timeout: u32,
}

struct Events;

impl Serialize for Events {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let report = r#""$ORCH_BIN" agent"#;
        let progress = format!("{report} progress");
        let asked = format!("{report} needs-input 'Claude Code asks'");
        // Everything is read, so that Claude Code never writes into a closed pipe.
        let prompted =
            format!("if grep -F 'Read {BRIEF_PATH} and follow it'; then {report} ack; else {report} progress; fi");
        let mut map = serializer.serialize_map(None)?;
        for (event, matcher, does) in [
            ("SessionStart", None, &progress),
            ("UserPromptSubmit", None, &prompted),
            ("PreToolUse", None, &progress),
            ("PostToolUse", None, &progress),
            ("Stop", None, &format!("{report} idle")),
            ("Notification", Some("permission_prompt|elicitation_dialog"), &asked),
        ] {
            let command =
                format!(r#"[ -n "$ORCH_INSTANCE" ] && {{ {does}; }} >/dev/null 2>&1 || true {MARK} {VERSION}"#);
            map.serialize_entry(
                event,
                &[Group { matcher, hooks: [Hook { r#type: "command", command, timeout: TIMEOUT_S }] }],
            )?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Settings {
    hooks: Events,
}

/// The settings with nothing but our hooks: the file where there is none, and what is merged into one that is there.
#[must_use]
pub fn settings() -> String {
    // Strings and numbers under string keys: there is nothing in it that JSON cannot hold.
    let mut text = serde_json::to_string_pretty(&Settings { hooks: Events }).expect("settings hold only what JSON can");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hooks::merge;
    use crate::domain::id::{Epoch, ProjectId, RoleName};
    use crate::validate::brief::brief_line;

    #[test]
    fn the_settings_look_like_this_and_merge_with_themselves() {
        let settings = settings();
        let value: serde_json::Value = serde_json::from_str(&settings).unwrap();
        let command = |event: &str| value["hooks"][event][0]["hooks"][0]["command"].as_str().unwrap().to_owned();
        insta::assert_snapshot!(command("Stop"), @r#"[ -n "$ORCH_INSTANCE" ] && { "$ORCH_BIN" agent idle; } >/dev/null 2>&1 || true # orch hook 1"#);
        insta::assert_snapshot!(command("UserPromptSubmit"), @r#"[ -n "$ORCH_INSTANCE" ] && { if grep -F 'Read .orch/brief.md and follow it'; then "$ORCH_BIN" agent ack; else "$ORCH_BIN" agent progress; fi; } >/dev/null 2>&1 || true # orch hook 1"#);
        let asked = value["hooks"]["Notification"].to_string();
        insta::assert_snapshot!(asked, @r#"[{"hooks":[{"command":"[ -n \"$ORCH_INSTANCE\" ] && { \"$ORCH_BIN\" agent needs-input 'Claude Code asks'; } >/dev/null 2>&1 || true # orch hook 1","timeout":10,"type":"command"}],"matcher":"permission_prompt|elicitation_dialog"}]"#);
        assert_eq!(settings.matches(MARK).count(), 6);
        assert_eq!(merge(Some(settings.as_bytes()), &settings), Ok(None));
        let line = brief_line(&RoleName("developer".to_owned()), ProjectId(3), Epoch(2));
        let words = line.split(" (").next().unwrap();
        assert!(command("UserPromptSubmit").contains(&format!("'{words}'")), "{words}");
    }
}
