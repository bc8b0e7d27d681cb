//! What was found in a role's worktree, held against what must be there (B65–B73). Pure.
//!
//! A resource that is missing, empty or changed is a failure, never a warning: the project that ran for hours without
//! its CLAUDE.md had only been warned about.

use crate::domain::event::{FileIs, RoleFound};
use crate::domain::failure::{Failure, FailureKind, Stage};
use crate::domain::id::RoleName;
use crate::domain::limits::CLAUDE_MD_BYTES_MAX;
use crate::domain::project::Pin;
use crate::domain::spec::{RoleSpec, Spec};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The file that tells an agent its role, relative to its worktree.
pub const CLAUDE_MD_PATH: &str = "CLAUDE.md";

/// Size and SHA-256 of a text as a file.
#[must_use]
pub fn pin_of(bytes: &[u8]) -> Pin {
    let mut sha256 = String::new();
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(sha256, "{byte:02x}");
    }
    Pin { size: u64::try_from(bytes.len()).unwrap_or(u64::MAX), sha256 }
}

/// What a role's CLAUDE.md must be once it is written (B72).
#[must_use]
pub fn claude_md_pin(role: &RoleSpec) -> Pin {
    pin_of(role.claude_md.as_bytes())
}

/// The files that must be in a role's worktree, CLAUDE.md first, each once.
#[must_use]
pub fn files_to_look_at(spec: &Spec, role: &RoleSpec) -> Vec<String> {
    let mut files = vec![CLAUDE_MD_PATH.to_owned()];
    for rule in rules_of(spec, &role.name) {
        if !files.contains(&rule.path) {
            files.push(rule.path.clone());
        }
    }
    files
}

fn rules_of<'a>(spec: &'a Spec, role: &'a RoleName) -> impl Iterator<Item = &'a crate::domain::spec::ResourceRule> {
    spec.resources.iter().filter(move |rule| rule.roles.is_empty() || rule.roles.contains(role))
}

/// Which rules are broken for one role, given what was found; none if all is as it must be.
///
/// A broken worktree is the only failure then: what stands in it means nothing. Otherwise each file fails at most
/// once per rule, CLAUDE.md first. A file nobody looked at counts as missing, so a gap in the looking cannot pass.
/// `pin` is what CLAUDE.md was when it was written; without one its content is not judged.
#[must_use]
pub fn judge_role(stage: Stage, spec: &Spec, role: &RoleSpec, pin: Option<&Pin>, found: &RoleFound) -> Vec<Failure> {
    if let Some(reason) = &found.worktree {
        let what = vec!["look".to_owned(), format!("worktree of {}", role.name)];
        let mut failure = Failure::of_operation(stage, FailureKind::WorktreeInvalid, what, reason.clone());
        failure.hint =
            Some("the worktree is made again by a recovery; check disk, git and who else works in it".to_owned());
        return vec![failure];
    }
    let looked = |path: &str| found.files.iter().find(|file| file.path == path).map(|file| &file.is);
    let mut failures = Vec::new();
    failures.extend(judge_claude_md(pin, looked(CLAUDE_MD_PATH)).map(|(kind, reason)| {
        let hint = format!("restore {CLAUDE_MD_PATH} of {} as its spec gives it, or retry the project", role.name);
        failed(stage, kind, CLAUDE_MD_PATH, role, &reason, hint)
    }));
    for rule in rules_of(spec, &role.name) {
        let reason = match looked(&rule.path) {
            Some(FileIs::Regular(is)) if is.size < rule.min_bytes => {
                Some(format!("has {} bytes; at least {} are required", is.size, rule.min_bytes))
            }
            Some(FileIs::Regular(_)) => None,
            other => Some(absent(other)),
        };
        failures.extend(reason.map(|reason| {
            let hint = format!("put {} into the worktree of {}, or take the [[resource]] out", rule.path, role.name);
            failed(stage, FailureKind::ResourceMissing, &rule.path, role, &reason, hint)
        }));
    }
    failures
}

fn judge_claude_md(pin: Option<&Pin>, is: Option<&FileIs>) -> Option<(FailureKind, String)> {
    let missing = |reason: String| Some((FailureKind::ResourceMissing, reason));
    match is {
        Some(FileIs::Regular(is)) if is.size == 0 => missing("is empty".to_owned()),
        Some(FileIs::Regular(is)) if is.size > CLAUDE_MD_BYTES_MAX => {
            missing(format!("has {} bytes; at most {CLAUDE_MD_BYTES_MAX} are allowed", is.size))
        }
        Some(FileIs::Regular(is)) => pin.filter(|pin| *pin != is).map(|pin| {
            let was = format!("{} bytes, SHA-256 {}", pin.size, short(&pin.sha256));
            let reason = format!("changed: was {was}; is {} bytes, SHA-256 {}", is.size, short(&is.sha256));
            (FailureKind::ResourceChanged, reason)
        }),
        other => missing(absent(other)),
    }
}

fn absent(is: Option<&FileIs>) -> String {
    match is {
        Some(FileIs::Missing) => "is missing".to_owned(),
        Some(FileIs::Unusable(what)) => format!("is unusable: {what}"),
        Some(FileIs::Regular(_)) | None => "was not looked at".to_owned(),
    }
}

/// Enough of a hash for a person to tell two apart.
fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn failed(stage: Stage, kind: FailureKind, path: &str, role: &RoleSpec, reason: &str, hint: String) -> Failure {
    let what = vec!["look".to_owned(), path.to_owned()];
    let mut failure = Failure::of_operation(stage, kind, what, format!("{path} of {} {reason}", role.name));
    failure.hint = Some(hint);
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::FileFound;
    use crate::domain::spec::ResourceRule;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn spec() -> Spec {
        let role = |name: &str| RoleSpec {
            name: RoleName(name.to_owned()),
            command: vec!["agent".to_owned()],
            claude_md: Arc::from("# Role\n"),
            env: BTreeMap::new(),
            progress: false,
            hooks: crate::domain::spec::Hooks::None,
        };
        let rule = |path: &str, roles: &[&str], min_bytes| ResourceRule {
            path: path.to_owned(),
            roles: roles.iter().map(|name| RoleName((*name).to_owned())).collect(),
            min_bytes,
        };
        Spec {
            title: "t".to_owned(),
            repo: "/r".to_owned(),
            base_sha: "c0ffee".to_owned(),
            brief: Arc::from("b"),
            key: None,
            priority: 0,
            batch: None,
            roles: vec![role("dev"), role("tester")],
            resources: vec![rule("all.toml", &[], 1), rule("t.toml", &["tester"], 0), rule("all.toml", &["dev"], 5)],
        }
    }

    fn regular(bytes: &[u8]) -> FileIs {
        FileIs::Regular(pin_of(bytes))
    }

    /// Judges `dev` with its CLAUDE.md and all.toml as given; each failure as `kind: words`.
    fn check(claude_md: FileIs, all_toml: FileIs, expected: &[&str]) {
        let spec = spec();
        let files = [(CLAUDE_MD_PATH, claude_md), ("all.toml", all_toml)];
        let files = files.map(|(path, is)| FileFound { path: path.to_owned(), is }).to_vec();
        check_found(&spec, RoleFound { role: RoleName("dev".to_owned()), worktree: None, files }, expected);
    }

    fn check_found(spec: &Spec, found: RoleFound, expected: &[&str]) {
        let role = &spec.roles[0];
        let failures = judge_role(Stage::Run, spec, role, Some(&claude_md_pin(role)), &found);
        assert!(failures.iter().all(|failure| failure.hint.is_some() && failure.stage == Stage::Run));
        let lines: Vec<String> = failures.iter().map(|failure| format!("{:?}: {failure}", failure.kind)).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_as_it_must_be_breaks_no_rule() {
        check(regular(b"# Role\n"), regular(b"12345"), &[]);
    }

    #[test]
    fn b65_b66_b67_b70_b73_an_absent_claude_md_is_a_missing_resource() {
        let missing =
            |reason: &str| format!("ResourceMissing: look CLAUDE.md: CLAUDE.md of dev {reason}; stderr: not captured");
        let good = || regular(b"12345");
        check(FileIs::Missing, good(), &[&missing("is missing")]);
        check(regular(b""), good(), &[&missing("is empty")]);
        check(FileIs::Unusable("a FIFO".to_owned()), good(), &[&missing("is unusable: a FIFO")]);
        let large = vec![b'x'; (256 << 10) + 1];
        check(regular(&large), good(), &[&missing("has 262145 bytes; at most 262144 are allowed")]);
    }

    #[test]
    fn b72_a_changed_claude_md_is_a_changed_resource() {
        let changed = "ResourceChanged: look CLAUDE.md: CLAUDE.md of dev changed: was 7 bytes, SHA-256 9a6e1d8b643c; is \
                       7 bytes, SHA-256 98eb9fe582ee; stderr: not captured";
        check(regular(b"# Riot\n"), regular(b"12345"), &[changed]);
        let spec = spec();
        let files = vec![FileFound { path: CLAUDE_MD_PATH.to_owned(), is: regular(b"# Riot\n") }];
        let found = RoleFound { role: RoleName("dev".to_owned()), worktree: None, files };
        let failures = judge_role(Stage::Run, &spec, &spec.roles[0], None, &found);
        assert!(failures.iter().all(|failure| failure.kind == FailureKind::ResourceMissing), "no pin, no change");
    }

    #[test]
    fn b65_other_resources_have_a_smallest_size_by_each_rule() {
        let missing =
            |reason: &str| format!("ResourceMissing: look all.toml: all.toml of dev {reason}; stderr: not captured");
        let good = || regular(b"# Role\n");
        check(good(), regular(b"1234"), &[&missing("has 4 bytes; at least 5 are required")]);
        check(good(), FileIs::Missing, &[&missing("is missing"), &missing("is missing")]);
    }

    #[test]
    fn what_was_not_looked_at_cannot_pass() {
        let found = RoleFound { role: RoleName("dev".to_owned()), worktree: None, files: vec![] };
        let line =
            |path: &str| format!("ResourceMissing: look {path}: {path} of dev was not looked at; stderr: not captured");
        check_found(&spec(), found, &[&line("CLAUDE.md"), &line("all.toml"), &line("all.toml")]);
    }

    #[test]
    fn a_broken_worktree_is_the_only_failure() {
        let found = RoleFound {
            role: RoleName("dev".to_owned()),
            worktree: Some("is on branch main, not orch/p3/dev/e1".to_owned()),
            files: vec![],
        };
        let line = "WorktreeInvalid: look worktree of dev: is on branch main, not orch/p3/dev/e1; stderr: not captured";
        check_found(&spec(), found, &[line]);
    }

    #[test]
    fn claude_md_is_looked_at_first_and_each_file_once() {
        let spec = spec();
        assert_eq!(files_to_look_at(&spec, &spec.roles[0]), ["CLAUDE.md", "all.toml"]);
        assert_eq!(files_to_look_at(&spec, &spec.roles[1]), ["CLAUDE.md", "all.toml", "t.toml"]);
    }

    #[test]
    fn a_pin_is_size_and_lower_case_sha256() {
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(pin_of(b"abc"), Pin { size: 3, sha256 });
    }
}
