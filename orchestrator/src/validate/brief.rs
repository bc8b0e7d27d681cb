//! What an agent is told, as bytes: the brief's file and the one line that names it (B74, T15–T18). Pure.
//!
//! The brief travels as a file because a terminal drops, cuts and reinterprets what is typed into it; only one fixed
//! line of ASCII goes through the pane, and nothing a person wrote is in that line.

use crate::domain::id::{Epoch, ProjectId, RoleName};
use crate::domain::spec::{RoleSpec, Spec};

/// The brief's file, relative to the worktree.
pub const BRIEF_PATH: &str = ".orch/brief.md";
/// The file that makes git ignore our folder in the worktree, without touching a file of the repository.
pub const IGNORE_PATH: &str = ".orch/.gitignore";
/// The content of [`IGNORE_PATH`]; it covers the file itself too.
pub const IGNORE_CONTENT: &str = "*\n";
/// Bytes of the line that is pasted into a pane: far below the 4,096 at which a terminal truncates (T16).
pub const BRIEF_LINE_BYTES_MAX: usize = 200;

/// What a silent agent is asked. It may be read by anything, a shell for instance, so it holds nothing that acts.
pub const NUDGE_SILENT: &str = "Are you still working? If so, run orch agent progress as your brief says.";
/// What one is asked that rests and has not said that it is done.
pub const NUDGE_IDLE: &str =
    "Is your part finished? Then run orch agent done, or orch agent fail if you cannot go on, as your brief says.";

/// The Markdown file the agent reads: the brief byte for byte, then who it is and how it reports (B74).
#[must_use]
pub fn brief_file(spec: &Spec, role: &RoleSpec, project: ProjectId) -> String {
    let brief = &spec.brief;
    let title = &spec.title;
    let name = &role.name;
    format!(
        r#"{brief}

---

# How you report

You are the role `{name}` of project {project} ({title}). Your role is described in CLAUDE.md.
Report with these commands, from this terminal:

- Now, before anything else, that you have read this:

      "$ORCH_BIN" agent ack

- Whenever a step is done, and at least every ten minutes:

      "$ORCH_BIN" agent progress "what you have just done"

- When you need a person to decide or to allow something:

      "$ORCH_BIN" agent needs-input "what you need"

- At the end, when your part is finished and committed:

      "$ORCH_BIN" agent done --summary "what is there now"

- When you are out of credit or quota, with the time until there is some again:

      "$ORCH_BIN" agent credit --for 1h

- If you cannot go on:

      "$ORCH_BIN" agent fail --reason "why not"

Until you have reported `done` or `fail`, your part counts as unfinished.
"#
    )
}

/// The one line that is pasted into the pane: ASCII, at most [`BRIEF_LINE_BYTES_MAX`] bytes, without a line end.
#[must_use]
pub fn brief_line(role: &RoleName, project: ProjectId, epoch: Epoch) -> String {
    format!("Read {BRIEF_PATH} and follow it (project {project}, {role}, epoch {epoch}).")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::text::ROLE_BYTES_MAX;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn file(brief: &str) -> String {
        let role = RoleSpec {
            name: RoleName("developer".to_owned()),
            command: vec!["agent".to_owned()],
            claude_md: Arc::from("c"),
            env: BTreeMap::new(),
            progress: true,
            hooks: crate::domain::spec::Hooks::None,
        };
        let spec = Spec {
            title: "Mobile app".to_owned(),
            repo: "/r".to_owned(),
            base_sha: "c0ffee".to_owned(),
            brief: Arc::from(brief),
            key: None,
            priority: 0,
            batch: None,
            roles: vec![role.clone()],
            resources: vec![],
        };
        brief_file(&spec, &role, ProjectId(3))
    }

    #[test]
    fn b74_the_brief_comes_first_byte_for_byte() {
        for brief in ["one line", "two\r\nlines;\n", "\u{1b}[201~ C-c Enter -l {title} {{", &"x\n".repeat(500_000)] {
            let file = file(brief);
            assert!(file.strip_prefix(brief).is_some_and(|rest| rest.starts_with("\n\n---\n")));
        }
    }

    #[test]
    fn the_file_says_who_it_is_for_and_how_to_report() {
        let file = file("Do it.");
        let at = |piece: &str| file.find(piece).unwrap_or_else(|| panic!("{piece} is in {file}"));
        let order = [
            "`developer` of project 3 (Mobile app).",
            "\"$ORCH_BIN\" agent ack\n",
            "\"$ORCH_BIN\" agent progress \"",
            "\"$ORCH_BIN\" agent done --summary \"",
            "\"$ORCH_BIN\" agent fail --reason \"",
        ];
        assert!(order.map(at).is_sorted());
    }

    #[test]
    fn the_line_is_fixed_short_ascii() {
        let line = brief_line(&RoleName("developer".to_owned()), ProjectId(3), Epoch(2));
        assert_eq!(line, "Read .orch/brief.md and follow it (project 3, developer, epoch 2).");
        let longest = brief_line(&RoleName("x".repeat(ROLE_BYTES_MAX)), ProjectId(i64::MIN), Epoch(u32::MAX));
        assert!(longest.len() <= BRIEF_LINE_BYTES_MAX && longest.is_ascii(), "{longest}");
    }
}
