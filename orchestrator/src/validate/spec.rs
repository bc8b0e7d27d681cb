//! A spec file, read into a [`Draft`] and finished into a [`Spec`] (B01–B44, B65–B73).
//!
//! Everything a spec names is read here, once; what is stored is self-contained. Only git's facts are missing from a
//! draft: the canonical repository and the commit. Nothing is created, and a missing CLAUDE.md is an error (B65).

use super::file::{self, FileFault};
use super::hooks;
use super::table::{self, Fault, Table, Value};
use super::text;
use crate::domain::id::RoleName;
use crate::domain::limits::{BRIEF_BYTES_MAX, CLAUDE_MD_BYTES_MAX, ROLES_MAX, SPEC_BYTES_MAX};
use crate::domain::spec::{Hooks, ResourceRule, RoleSpec, Spec};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Bytes of a role's command line and environment together: tmux refuses a message of more than about 16 KB (T4), and
/// the orchestrator's own variables travel in it too.
pub const LAUNCH_BYTES_MAX: usize = 12 << 10;
/// Resources of one project: each is looked at again whenever anything near it changes.
pub const RESOURCES_MAX: usize = 100;
/// Largest `min_bytes`: 1 TiB, beyond any file an agent works with.
pub const MIN_BYTES_MAX: i64 = 1 << 40;
/// Bytes of a revision's name: git's own reference names end at about this length.
const BASE_BYTES_MAX: usize = 255;

const SPEC_KEYS: &[&str] =
    &["title", "repo", "base", "brief", "brief_text", "key", "priority", "batch", "role", "resource"];
const ROLE_KEYS: &[&str] = &["name", "command", "claude_md", "claude_md_text", "env", "progress", "hooks"];
const RESOURCE_KEYS: &[&str] = &["path", "roles", "min_bytes"];

/// Everything a spec says, without what only git knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Printable text on one line, as written.
    pub title: String,
    /// Absolute path of the repository as the spec names it; not yet canonical, perhaps not a repository.
    pub repo: String,
    /// The revision the branches start from; `HEAD` unless the spec names one. Never begins with `-`.
    pub base: String,
    /// What every agent is told, byte for byte.
    pub brief: Arc<str>,
    /// Idempotency key.
    pub key: Option<String>,
    /// Higher runs first.
    pub priority: i32,
    /// Which batch it belongs to.
    pub batch: Option<String>,
    /// 1 to [`ROLES_MAX`], names distinct, in the order of the spec.
    pub roles: Vec<RoleSpec>,
    /// Files that must be there beside CLAUDE.md; paths relative, without `.` and `..`.
    pub resources: Vec<ResourceRule>,
}

/// Why a spec cannot be used; its text is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The spec file itself cannot be read (B30–B35).
    #[error("{path}: {fault}")]
    File {
        /// The spec file, escaped.
        path: String,
        /// Why not.
        fault: FileFault,
    },
    /// There is nothing in it (B34).
    #[error("{path}: empty spec; title, repo, brief and one [[role]] are needed")]
    Empty {
        /// The spec file, escaped.
        path: String,
    },
    /// What it says is wrong: not TOML, or a rule is broken.
    #[error("{path}:{}{fault}", if fault.place.is_some() { "" } else { " " })]
    Content {
        /// The spec file, escaped.
        path: String,
        /// Where, which field, which value, what is allowed.
        fault: Fault,
    },
}

/// Reads a spec and every file it names.
///
/// Relative paths are relative to the folder of `path` as it is written, also if `path` is a symlink.
///
/// # Errors
/// [`SpecError`]: the first rule that is broken. Nothing has been changed anywhere.
pub fn read_spec(path: &Path) -> Result<Draft, SpecError> {
    let shown = text::show_path(path);
    let file_fault = |fault| SpecError::File { path: shown.clone(), fault };
    let read = file::read_regular(path, SPEC_BYTES_MAX, true).map_err(file_fault)?;
    let absolute =
        std::path::absolute(path).map_err(|error| file_fault(FileFault::System(file::system_words(&error))))?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let content = |fault| SpecError::Content { path: shown.clone(), fault };
    let source = table::normalised(&read.bytes).map_err(content)?;
    if source.trim().is_empty() {
        return Err(SpecError::Empty { path: shown.clone() });
    }
    draft(&source, folder).map_err(content)
}

/// Joins a draft with what git says.
#[must_use]
pub fn finish(draft: Draft, repo_root: String, base_sha: String) -> Spec {
    Spec {
        title: draft.title,
        repo: repo_root,
        base_sha,
        brief: draft.brief,
        key: draft.key,
        priority: draft.priority,
        batch: draft.batch,
        roles: draft.roles,
        resources: draft.resources,
    }
}

fn draft(source: &str, folder: &Path) -> Result<Draft, Fault> {
    let entries = table::parse(source)?;
    let root = Table::root(source, &entries);
    root.only(SPEC_KEYS)?;
    let title = title(&root.require("title", "a title, printable text on one line, is needed")?)?;
    let repo = repo(&root.require("repo", "the path of a git repository is needed")?, folder)?;
    let base = root.get("base").map_or_else(|| Ok("HEAD".to_owned()), |value| base(&value))?;
    let priority = match root.get("priority") {
        Some(value) => i32::try_from(value.integer(i32::MIN.into()..=i32::MAX.into())?).unwrap_or_default(),
        None => 0,
    };
    let brief = content(&root, folder, ("brief", "brief_text"), BRIEF_BYTES_MAX, "")?;
    let key = root.get("key").map(|value| self::title(&value)).transpose()?;
    let batch = root.get("batch").map(|value| self::title(&value)).transpose()?;
    let roles = roles(&root, folder)?;
    let resources = resources(&root, &roles)?;
    Ok(Draft { title, repo, base, brief, key, priority, batch, roles, resources })
}

fn title(value: &Value<'_>) -> Result<String, Fault> {
    let written = value.text()?;
    text::title(written).map_err(|rule| value.refuse(rule))?;
    Ok(written.to_owned())
}

/// The repository's path, made absolute (B55); whether it is a repository is for git to say.
fn repo(value: &Value<'_>, folder: &Path) -> Result<String, Fault> {
    let written = value.text()?;
    text::path(written).map_err(|rule| value.refuse(rule))?;
    let absolute = folder.join(written);
    let Some(absolute) = absolute.to_str() else {
        return Err(value.refuse("the spec's own folder has a path that is not UTF-8"));
    };
    text::path(absolute).map_err(|rule| value.refuse(format!("with the spec's own folder: {rule}")))?;
    Ok(absolute.to_owned())
}

/// A revision; one that begins with `-` would be an option to git (B12).
fn base(value: &Value<'_>) -> Result<String, Fault> {
    let written = value.text()?;
    let allowed = format!("allowed: the name of a revision, 1 to {BASE_BYTES_MAX} bytes, not beginning with -");
    if written.trim().is_empty() || written.len() > BASE_BYTES_MAX || written.starts_with('-') {
        return Err(value.refuse(allowed));
    }
    match text::unprintable(written) {
        Some(found) => Err(value.refuse(format!("{found}; {allowed}"))),
        None => Ok(written.to_owned()),
    }
}

/// Text given as a file or in place: exactly one of the two keys.
///
/// `class` is put before what is wrong with the file.
fn content(
    table: &Table<'_>,
    folder: &Path,
    (file_key, text_key): (&str, &str),
    bytes_max: u64,
    class: &str,
) -> Result<Arc<str>, Fault> {
    match (table.get(file_key), table.get(text_key)) {
        (Some(_), Some(value)) => Err(value.refuse(format!("{file_key} is given too; allowed: one of the two"))),
        (None, None) => Err(table.missing(file_key, &format!("{class}{file_key} or {text_key} is needed"))),
        (Some(value), None) => {
            let name = value.text()?;
            text::path(name).map_err(|rule| value.refuse(rule))?;
            let read = file::read_named(folder, Path::new(name), bytes_max);
            let allowed = format!("allowed: a file of text, 1 to {bytes_max} bytes");
            read.map(Arc::from).map_err(|fault| value.refuse(format!("{class}{fault}; {allowed}")))
        }
        (None, Some(value)) => {
            let written = value.text()?;
            let allowed = format!("allowed: text, 1 to {bytes_max} bytes");
            if u64::try_from(written.len()).unwrap_or(u64::MAX) > bytes_max {
                return Err(value.refuse(format!("{} bytes; {allowed}", written.len())));
            }
            let text = file::text_of(written.as_bytes().to_vec());
            text.map(Arc::from).map_err(|fault| value.refuse(format!("{class}{fault}; {allowed}")))
        }
    }
}

fn roles(root: &Table<'_>, folder: &Path) -> Result<Vec<RoleSpec>, Fault> {
    let tables = root.tables("role")?;
    if tables.is_empty() {
        return Err(root.missing("role", &format!("no roles; 1 to {ROLES_MAX} [[role]] are needed")));
    }
    if tables.len() > ROLES_MAX {
        let count = tables.len();
        let value = root.require("role", "")?;
        return Err(value.refuse(format!("{count} roles; allowed: 1 to {ROLES_MAX}")));
    }
    let mut roles: Vec<RoleSpec> = Vec::new();
    for table in &tables {
        let role = role(table, folder, &roles)?;
        roles.push(role);
    }
    Ok(roles)
}

fn role(table: &Table<'_>, folder: &Path, before: &[RoleSpec]) -> Result<RoleSpec, Fault> {
    table.only(ROLE_KEYS)?;
    let value = table.require("name", "a name that matches [a-z0-9-]{1,32} is needed")?;
    let name = text::role_name(value.text()?).map_err(|rule| value.refuse(rule))?;
    if before.iter().any(|role| role.name == name) {
        return Err(value.refuse("another role has this name; names must differ"));
    }
    let command = command(&table.require("command", COMMAND_ALLOWED)?)?;
    let env = table.get("env").map(|value| env(&value)).transpose()?.unwrap_or_default();
    let argv_bytes: usize = command.iter().map(|argument| argument.len() + 1).sum();
    let env_bytes: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if argv_bytes + env_bytes > LAUNCH_BYTES_MAX {
        let value = table.require("command", COMMAND_ALLOWED)?;
        let bytes = argv_bytes + env_bytes;
        return Err(value.refuse(format!("{bytes} bytes with its env; allowed: {LAUNCH_BYTES_MAX} together")));
    }
    let claude_md = content(table, folder, ("claude_md", "claude_md_text"), CLAUDE_MD_BYTES_MAX, "resource_missing: ")?;
    let progress = table.get("progress").map(|value| value.boolean()).transpose()?.unwrap_or(false);
    let hooks = table.get("hooks").map(|value| hooks_of(&value)).transpose()?;
    let hooks = hooks.unwrap_or_else(|| hooks::default_of(&command));
    Ok(RoleSpec { name, command, claude_md, env, progress, hooks })
}

fn hooks_of(value: &Value<'_>) -> Result<Hooks, Fault> {
    match value.text()? {
        "claude" => Ok(Hooks::Claude),
        "none" => Ok(Hooks::None),
        _ => Err(value.refuse("allowed: claude or none; left out, claude if that is the program's name")),
    }
}

const COMMAND_ALLOWED: &str = "a list of strings is needed: the program and its arguments, without a shell";

fn command(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    let items = value.items(COMMAND_ALLOWED)?;
    let mut argv = Vec::new();
    for item in &items {
        let argument = item.text()?;
        if argument.contains('\0') {
            return Err(item.refuse("an argument may have no NUL"));
        }
        if argv.is_empty() {
            text::path(argument).map_err(|rule| item.refuse(format!("program: {rule}")))?;
            if argument.trim().is_empty() {
                return Err(item.refuse("program: name is empty"));
            }
        }
        argv.push(argument.to_owned());
    }
    if argv.is_empty() { Err(value.refuse(format!("is empty; {COMMAND_ALLOWED}"))) } else { Ok(argv) }
}

fn env(value: &Value<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let table = value.table("must be a table of strings, such as { LOG_LEVEL = \"info\" }")?;
    let mut env = BTreeMap::new();
    for (name, value) in table.values() {
        // What is wrong is said without the value: it may be a secret (S15).
        text::env_name(name).map_err(|rule| value.refuse(rule).without_value())?;
        let written = value.text().map_err(Fault::without_value)?;
        if written.contains('\0') {
            return Err(value.refuse("a variable may have no NUL").without_value());
        }
        env.insert(name.to_owned(), written.to_owned());
    }
    Ok(env)
}

fn resources(root: &Table<'_>, roles: &[RoleSpec]) -> Result<Vec<ResourceRule>, Fault> {
    let tables = root.tables("resource")?;
    if tables.len() > RESOURCES_MAX {
        let count = tables.len();
        let value = root.require("resource", "")?;
        return Err(value.refuse(format!("{count} resources; allowed: at most {RESOURCES_MAX}")));
    }
    tables.iter().map(|table| resource(table, roles)).collect()
}

fn resource(table: &Table<'_>, roles: &[RoleSpec]) -> Result<ResourceRule, Fault> {
    table.only(RESOURCE_KEYS)?;
    let path = relative(&table.require("path", "a path within the worktree is needed")?)?;
    let min_bytes = match table.get("min_bytes") {
        Some(value) => u64::try_from(value.integer(0..=MIN_BYTES_MAX)?).unwrap_or_default(),
        None => 1,
    };
    let mut named: Vec<RoleName> = Vec::new();
    if let Some(value) = table.get("roles") {
        let items = value.items("must be a list of names of roles")?;
        if items.is_empty() {
            return Err(value.refuse("is empty; leave it out for all roles"));
        }
        for item in items {
            let name = RoleName(item.text()?.to_owned());
            if !roles.iter().any(|role| role.name == name) {
                let known: Vec<&str> = roles.iter().map(|role| role.name.0.as_str()).collect();
                return Err(item.refuse(format!("no role has this name; allowed: {}", known.join(", "))));
            }
            if !named.contains(&name) {
                named.push(name);
            }
        }
    }
    Ok(ResourceRule { path, roles: named, min_bytes })
}

/// A path that stays within the worktree, in its plainest spelling.
fn relative(value: &Value<'_>) -> Result<String, Fault> {
    const ALLOWED: &str = "allowed: a path relative to the worktree, without ..";
    let written = value.text()?;
    text::path(written).map_err(|rule| value.refuse(format!("{rule}; {ALLOWED}")))?;
    let mut plain = PathBuf::new();
    for part in Path::new(written).components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(value.refuse(ALLOWED)),
        }
    }
    match plain.to_str() {
        Some(plain) if !plain.is_empty() && !written.ends_with('/') => Ok(plain.to_owned()),
        _ => Err(value.refuse(ALLOWED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    const WHOLE: &str = r#"title = "Mobile app, version 2"
repo = "../mobile-app"
base = "main"
brief = "brief.md"
key = "mobile-v2"
priority = 7
batch = "night-1"
[[role]]
name = "developer"
command = ["claude", "--continue"]
claude_md = "roles/developer.md"
env = { LOG_LEVEL = "info" }
progress = true
[[resource]]
path = "config/app.toml"
roles = ["developer"]
min_bytes = 1
"#;

    /// A folder with the files that [`WHOLE`] names.
    struct Case {
        dir: tempfile::TempDir,
    }

    impl Case {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a temporary folder");
            std::fs::create_dir(dir.path().join("roles")).expect("made");
            std::fs::write(dir.path().join("brief.md"), "Do it.\r\n\u{1b}[201~;").expect("written");
            std::fs::write(dir.path().join("roles/developer.md"), "# Developer\n").expect("written");
            Self { dir }
        }

        fn read(&self, spec: &[u8]) -> Result<Draft, String> {
            let path = self.dir.path().join("spec.toml");
            std::fs::write(&path, spec).expect("written");
            read_spec(&path).map_err(|error| {
                let line = error.to_string();
                assert!(!line.chars().any(char::is_control), "one harmless line: {line:?}");
                let folder = format!("{}/", self.dir.path().display());
                line.strip_prefix(&folder).unwrap_or(&line).to_owned()
            })
        }

        /// Reads [`WHOLE`] with one piece of it swapped.
        fn with(&self, piece: &str, instead: &str) -> Result<Draft, String> {
            assert!(WHOLE.contains(piece), "{piece}");
            self.read(WHOLE.replacen(piece, instead, 1).as_bytes())
        }
    }

    fn check(piece: &str, instead: &str, expected: &str) {
        assert_eq!(Case::new().with(piece, instead), Err(expected.to_owned()));
    }

    fn check_file(path: &Path, expected: &str) {
        let line = read_spec(path).expect_err("must be refused").to_string();
        assert_eq!(line, format!("{}: {expected}", path.display()));
    }

    fn make_fifo(path: &Path) {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("a FIFO");
    }

    #[test]
    fn hooks_are_those_of_the_program_unless_the_spec_says() {
        let hooks = |piece: &str, instead: &str| {
            Case::new().with(piece, instead).map(|draft| draft.roles.iter().map(|role| role.hooks).collect::<Vec<_>>())
        };
        let program = r#"["claude", "--continue"]"#;
        for (argv, due) in [
            (program, Hooks::Claude),
            (r#"["/opt/bin/claude"]"#, Hooks::Claude),
            (r#"["claude.sh"]"#, Hooks::None),
            (r#"["sh", "claude"]"#, Hooks::None),
        ] {
            assert_eq!(hooks(program, argv), Ok(vec![due]), "{argv}");
        }
        assert_eq!(hooks("progress = true", "hooks = \"none\""), Ok(vec![Hooks::None]));
        assert_eq!(hooks(program, "[\"x\"]\nhooks = \"claude\""), Ok(vec![Hooks::Claude]));
        let allowed = "allowed: claude or none; left out, claude if that is the program's name";
        for unknown in ["\"codex\"", "\"Claude\"", "\"\""] {
            let expected = format!("spec.toml:13:9: role[0].hooks = {unknown}: {allowed}");
            check("progress = true", &format!("hooks = {unknown}"), &expected);
        }
        assert!(hooks("progress = true", "hooks = true").is_err());
    }

    #[test]
    fn a_whole_spec_becomes_a_draft_and_a_spec() {
        let case = Case::new();
        let draft = case.read(WHOLE.as_bytes()).expect("a draft");
        let role = RoleSpec {
            name: RoleName("developer".to_owned()),
            command: vec!["claude".to_owned(), "--continue".to_owned()],
            claude_md: Arc::from("# Developer\n"),
            env: BTreeMap::from([("LOG_LEVEL".to_owned(), "info".to_owned())]),
            progress: true,
            hooks: Hooks::Claude,
        };
        let resource = ResourceRule {
            path: "config/app.toml".to_owned(),
            roles: vec![RoleName("developer".to_owned())],
            min_bytes: 1,
        };
        let expected = Draft {
            title: "Mobile app, version 2".to_owned(),
            repo: case.dir.path().join("../mobile-app").display().to_string(),
            base: "main".to_owned(),
            brief: Arc::from("Do it.\r\n\u{1b}[201~;"),
            key: Some("mobile-v2".to_owned()),
            priority: 7,
            batch: Some("night-1".to_owned()),
            roles: vec![role.clone()],
            resources: vec![resource],
        };
        assert_eq!(draft, expected);
        let spec = finish(draft, "/srv/mobile-app".to_owned(), "c0ffee".to_owned());
        assert_eq!((spec.repo.as_str(), spec.base_sha.as_str()), ("/srv/mobile-app", "c0ffee"));
        assert_eq!(spec.roles, vec![role]);
    }

    #[test]
    fn what_is_optional_has_its_default() {
        let spec = "title='t'\nrepo='/r'\nbrief_text='b'\n[[role]]\nname='a'\ncommand=['x']\nclaude_md_text='c'\n\
                    [[resource]]\npath='./a//b'\n";
        let draft = Case::new().read(spec.as_bytes()).expect("a draft");
        assert_eq!((draft.base.as_str(), draft.priority, draft.key, draft.batch), ("HEAD", 0, None, None));
        assert_eq!(draft.repo, "/r");
        assert_eq!(draft.resources, vec![ResourceRule { path: "a/b".to_owned(), roles: vec![], min_bytes: 1 }]);
        assert!(draft.roles.iter().all(|role| role.env.is_empty() && !role.progress));
    }

    #[test]
    fn b01_b14_b16_b21_titles_are_refused_with_place_and_value() {
        const ALLOWED: &str = "allowed: printable text on one line, 1 to 200 bytes";
        let piece = "\"Mobile app, version 2\"";
        check(piece, "''", &format!(r#"spec.toml:1:9: title = "": name is empty; {ALLOWED}"#));
        check(piece, "' '", &format!(r#"spec.toml:1:9: title = " ": name is empty; {ALLOWED}"#));
        check(
            piece,
            r#""abc\nd""#,
            &format!(r#"spec.toml:1:9: title = "abc\nd": control character U+000A at 3; {ALLOWED}"#),
        );
        check(
            piece,
            r#""a\u0000b""#,
            &format!(r#"spec.toml:1:9: title = "a\u{{0}}b": control character U+0000 at 1; {ALLOWED}"#),
        );
        check(
            piece,
            &format!("'{}'", "x".repeat(256)),
            &format!(r#"spec.toml:1:9: title = "{}"…: 256 bytes; {ALLOWED}"#, "x".repeat(80)),
        );
        check("\"night-1\"", "''", &format!(r#"spec.toml:7:9: batch = "": name is empty; {ALLOWED}"#));
        check("\"mobile-v2\"", "''", &format!(r#"spec.toml:5:7: key = "": name is empty; {ALLOWED}"#));
    }

    #[test]
    fn b22_a_megabyte_of_title_is_refused() {
        let spec = WHOLE.replace("Mobile app, version 2", &"x".repeat(1_000_000));
        let refused = Case::new().read(spec.as_bytes()).expect_err("must be refused");
        assert!(refused.contains("…: 1000000 bytes; allowed"), "{refused}");
    }

    #[test]
    fn b03_to_b13_b20_titles_are_kept_literally() {
        for title in [
            "a.b",
            "a:b",
            "#(touch x)",
            "#{pid}",
            "x;",
            "; kill-server",
            "$(id)`id`|&&",
            "--help",
            "=x",
            "{last}",
            "🚀漢",
        ] {
            let draft = Case::new().with("\"Mobile app, version 2\"", &format!("'{title}'"));
            assert_eq!(draft.map(|draft| draft.title), Ok(title.to_owned()));
        }
    }

    #[test]
    fn b23_b25_roles_have_legal_distinct_names() {
        check(
            "\"developer\"\ncommand",
            "\"../x\"\ncommand",
            r#"spec.toml:9:8: role[0].name = "../x": role must match [a-z0-9-]{1,32}"#,
        );
        check(
            "[[resource]]",
            "[[role]]\nname = \"developer\"\n[[resource]]",
            r#"spec.toml:15:8: role[1].name = "developer": another role has this name; names must differ"#,
        );
        check(
            "name = \"developer\"\n",
            "",
            "spec.toml:8:1: role[0].name: missing; a name that matches [a-z0-9-]{1,32} is needed",
        );
    }

    #[test]
    fn b27_b28_there_are_1_to_32_roles() {
        let case = Case::new();
        let head = "title='t'\nrepo='/r'\nbrief_text='b'\n";
        let role = |n: usize| format!("[[role]]\nname='r{n}'\ncommand=['x']\nclaude_md_text='c'\n");
        let roles = |count: usize| head.to_owned() + &(0..count).map(role).collect::<String>();
        assert_eq!(
            case.read(roles(0).as_bytes()),
            Err("spec.toml: role: missing; no roles; 1 to 32 [[role]] are needed".to_owned())
        );
        assert_eq!(
            case.read(roles(33).as_bytes()),
            Err("spec.toml:4:1: role = a list: 33 roles; allowed: 1 to 32".to_owned())
        );
        assert_eq!(case.read(roles(32).as_bytes()).map(|draft| draft.roles.len()), Ok(32));
        let single = format!("{head}[role]\nname='a'");
        assert_eq!(
            case.read(single.as_bytes()),
            Err("spec.toml:4:1: role = a table: must be written as [[role]]".to_owned())
        );
    }

    #[test]
    fn b30_b31_b32_b35_the_spec_is_a_file_of_bounded_size() {
        let case = Case::new();
        check_file(&case.dir.path().join("none.toml"), "No such file or directory (ENOENT)");
        check_file(case.dir.path(), "is a directory, not a file");
        check_file(Path::new("/dev/null"), "is a device, not a file");
        let fifo = case.dir.path().join("fifo");
        make_fifo(&fifo);
        check_file(&fifo, "is a FIFO, not a file");
        let large = vec![b'#'; (1 << 20) + 1];
        assert_eq!(case.read(&large), Err("spec.toml: is longer than 1048576 bytes".to_owned()));
    }

    #[test]
    fn b34_an_empty_spec_is_called_empty() {
        for spec in ["", " \r\n\t", "\u{feff}\n"] {
            assert_eq!(
                Case::new().read(spec.as_bytes()),
                Err("spec.toml: empty spec; title, repo, brief and one [[role]] are needed".to_owned())
            );
        }
        assert_eq!(
            Case::new().read(b"# nothing\n"),
            Err("spec.toml: title: missing; a title, printable text on one line, is needed".to_owned())
        );
    }

    #[test]
    fn b36_b41_b42_what_is_no_toml_says_where() {
        check("priority = 7", "priority 7", "spec.toml:6:10: key with no value, expected `=`");
        check("base = \"main\"", "title = \"x\"", "spec.toml:3:1: duplicate key: \"title\"");
        assert_eq!(Case::new().read(b"title = \"\xff\""), Err("spec.toml:1:10: byte 0xff is not UTF-8".to_owned()));
        check("{ LOG_LEVEL = \"info\" }", &"[".repeat(10_000), "spec.toml:12:87: nested deeper than 80 levels: \"[\"");
    }

    #[test]
    fn b37_unknown_keys_name_the_nearest() {
        check(
            "title =",
            "titel =",
            "spec.toml:1:1: titel: unknown key; did you mean title? (allowed: title, repo, base, brief, brief_text, \
             key, priority, batch, role, resource)",
        );
        check(
            "progress =",
            r#""pro\ngress" ="#,
            r"spec.toml:13:1: role[0].pro\ngress: unknown key; did you mean progress? (allowed: name, command, claude_md, claude_md_text, env, progress, hooks)",
        );
        check(
            "min_bytes =",
            "max_bytes =",
            "spec.toml:17:1: resource[0].max_bytes: unknown key; did you mean min_bytes? (allowed: path, roles, \
             min_bytes)",
        );
    }

    #[test]
    fn b38_wrong_types_and_ranges_name_the_field() {
        let range = "must be a whole number from -2147483648 to 2147483647";
        for value in ["nan", "1.5", "99999999999", "0xffffffffffffffffffff", "true", "2026-01-01"] {
            check("= 7", &format!("= {value}"), &format!("spec.toml:6:12: priority = {value}: {range}"));
        }
        check("= 7", "= [7]", &format!("spec.toml:6:12: priority = a list: {range}"));
        check("\"main\"", "5", "spec.toml:3:8: base = 5: must be a string in quotes");
        check("= true", "= \"yes\"", "spec.toml:13:12: role[0].progress = \"yes\": must be true or false");
        let bytes = "must be a whole number from 0 to 1099511627776";
        check("min_bytes = 1", "min_bytes = -1", &format!("spec.toml:17:13: resource[0].min_bytes = -1: {bytes}"));
        assert_eq!(Case::new().with("= 7", "= -2147483648").map(|draft| draft.priority), Ok(i32::MIN));
    }

    #[test]
    fn b40_bom_and_crlf_are_accepted_and_normalised() {
        let case = Case::new();
        let windows = format!("\u{feff}{}", WHOLE.replace('\n', "\r\n"));
        assert_eq!(case.read(windows.as_bytes()), case.read(WHOLE.as_bytes()));
        let draft = case.with("brief = \"brief.md\"", "brief_text = '''a\r\nb'''");
        assert_eq!(draft.map(|draft| draft.brief.to_string()), Ok("a\nb".to_owned()));
    }

    #[test]
    fn b12_a_revision_is_no_option() {
        let allowed = "allowed: the name of a revision, 1 to 255 bytes, not beginning with -";
        check("\"main\"", "'--all'", &format!(r#"spec.toml:3:8: base = "--all": {allowed}"#));
        check("\"main\"", "''", &format!(r#"spec.toml:3:8: base = "": {allowed}"#));
        check(
            "\"main\"",
            r#""a\tb""#,
            &format!(r#"spec.toml:3:8: base = "a\tb": control character U+0009 at 1; {allowed}"#),
        );
    }

    #[test]
    fn b55_b56_b57_the_repository_has_an_absolute_path_on_one_line() {
        let draft = Case::new().with("\"../mobile-app\"", "\"/srv/a b'#{pid}\"");
        assert_eq!(draft.map(|draft| draft.repo), Ok("/srv/a b'#{pid}".to_owned()));
        check(
            "\"../mobile-app\"",
            r#""a\nb""#,
            r#"spec.toml:2:8: repo = "a\nb": control character U+000A at 1; a path may have none"#,
        );
        check(
            "\"../mobile-app\"",
            &format!("'/{}'", "x".repeat(4_000)),
            &format!(r#"spec.toml:2:8: repo = "/{}"…: 4001 bytes (ENAMETOOLONG); allowed: 1 to 4000"#, "x".repeat(79)),
        );
    }

    #[test]
    fn b65_to_b73_a_bad_claude_md_is_an_error() {
        let case = Case::new();
        let md = case.dir.path().join("roles/developer.md");
        let outside = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(outside.path(), "x").expect("written");
        let real = std::fs::canonicalize(outside.path()).expect("canonical");
        let leads = format!("leads by a symlink out of the folder, to {}", real.display());
        let put: &[(&dyn Fn(), &str)] = &[
            (&|| {}, "No such file or directory (ENOENT)"),
            (&|| std::fs::write(&md, "").expect("written"), "is empty"),
            (&|| std::fs::create_dir(&md).expect("made"), "is a directory, not a file"),
            (&|| symlink(outside.path(), &md).expect("link"), &leads),
            (&|| symlink("gone", &md).expect("link"), "is a dangling symlink"),
            (&|| std::fs::write(&md, vec![b'x'; (256 << 10) + 1]).expect("written"), "is longer than 262144 bytes"),
            (&|| std::fs::write(&md, b"abc\xff").expect("written"), "is not UTF-8 (byte 3)"),
            (&|| std::fs::write(&md, b"abc\0").expect("written"), "has a NUL byte (byte 3)"),
            (&|| make_fifo(&md), "is a FIFO, not a file"),
        ];
        for (put, fault) in put {
            let _ = std::fs::remove_file(&md);
            let _ = std::fs::remove_dir(&md);
            put();
            let expected = format!(
                "spec.toml:11:13: role[0].claude_md = \"roles/developer.md\": resource_missing: {fault}; allowed: a \
                 file of text, 1 to 262144 bytes"
            );
            assert_eq!(case.read(WHOLE.as_bytes()), Err(expected));
        }
        std::fs::remove_file(&md).expect("removed");
        symlink("../brief.md", &md).expect("link");
        assert!(case.read(WHOLE.as_bytes()).is_ok(), "a symlink within the folder is followed");
    }

    #[test]
    fn texts_are_given_once_and_not_empty() {
        check(
            "brief = \"brief.md\"",
            "brief = 'brief.md'\nbrief_text = 'x'",
            r#"spec.toml:5:14: brief_text = "x": brief is given too; allowed: one of the two"#,
        );
        check("brief = \"brief.md\"", "", "spec.toml: brief: missing; brief or brief_text is needed");
        check(
            "claude_md = \"roles/developer.md\"",
            "",
            "spec.toml:8:1: role[0].claude_md: missing; resource_missing: claude_md or claude_md_text is needed",
        );
        check(
            "brief = \"brief.md\"",
            "brief_text = ' '",
            r#"spec.toml:4:14: brief_text = " ": is empty; allowed: text, 1 to 4194304 bytes"#,
        );
        check(
            "brief = \"brief.md\"",
            "brief = 'none.md'",
            "spec.toml:4:9: brief = \"none.md\": No such file or directory (ENOENT); allowed: a file of text, 1 to \
             4194304 bytes",
        );
    }

    #[test]
    fn commands_are_argument_vectors() {
        let needed = "a list of strings is needed: the program and its arguments, without a shell";
        let piece = r#"["claude", "--continue"]"#;
        check(piece, "'claude'", &format!(r#"spec.toml:10:11: role[0].command = "claude": {needed}"#));
        check(piece, "[]", &format!("spec.toml:10:11: role[0].command = a list: is empty; {needed}"));
        check(piece, "['', 'x']", r#"spec.toml:10:12: role[0].command[0] = "": program: path is empty"#);
        check(
            piece,
            r#"["a\nb"]"#,
            r#"spec.toml:10:12: role[0].command[0] = "a\nb": program: control character U+000A at 1; a path may have none"#,
        );
        check(
            piece,
            r#"["a", "b\u0000"]"#,
            r#"spec.toml:10:17: role[0].command[1] = "b\u{0}": an argument may have no NUL"#,
        );
        check(
            piece,
            &format!("['x', '{}']", "y".repeat(12 << 10)),
            "spec.toml:10:11: role[0].command = a list: 12306 bytes with its env; allowed: 12288 together",
        );
        let draft = Case::new().with(piece, r##"["x", "a;", "two\nlines", "#(touch y)"]"##).expect("a draft");
        assert_eq!(draft.roles[0].command, ["x", "a;", "two\nlines", "#(touch y)"]);
    }

    #[test]
    fn variables_have_legal_names_and_their_values_are_not_shown() {
        let piece = "LOG_LEVEL = \"info\"";
        check(
            piece,
            "ORCH_INSTANCE = 'secret'",
            "spec.toml:12:25: role[0].env.ORCH_INSTANCE: names that begin with ORCH_ are the orchestrator's own",
        );
        check(
            piece,
            "\"A B\" = 'secret'",
            "spec.toml:12:17: role[0].env.A B: the name of a variable must match [A-Za-z_][A-Za-z0-9_]*",
        );
        check(piece, r#"A = "x\u0000""#, "spec.toml:12:13: role[0].env.A: a variable may have no NUL");
        check(piece, "A = 5", "spec.toml:12:13: role[0].env.A: must be a string in quotes");
    }

    #[test]
    fn resources_stay_within_the_worktree() {
        let allowed = "allowed: a path relative to the worktree, without ..";
        for path in ["../x", "a/../../x", "/etc/passwd", ".", "./", "a/"] {
            check(
                "\"config/app.toml\"",
                &format!("'{path}'"),
                &format!(r#"spec.toml:15:8: resource[0].path = "{path}": {allowed}"#),
            );
        }
        check(
            "\"config/app.toml\"",
            r#""a\u001bb""#,
            &format!(
                r#"spec.toml:15:8: resource[0].path = "a\u{{1b}}b": control character U+001B at 1; a path may have none; {allowed}"#
            ),
        );
        check(
            "roles = [\"developer\"]",
            "roles = ['tester']",
            r#"spec.toml:16:10: resource[0].roles[0] = "tester": no role has this name; allowed: developer"#,
        );
        check(
            "roles = [\"developer\"]",
            "roles = []",
            "spec.toml:16:9: resource[0].roles = a list: is empty; leave it out for all roles",
        );
    }

    /// Runs a property on one folder for all of its cases; making one a case would be most of the time.
    fn for_all<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, property: impl Fn(&Case, T)) {
        let case = Case::new();
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let run = runner.run(&strategy, |value| {
            property(&case, value);
            Ok(())
        });
        run.expect("the property holds");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for_all(proptest::collection::vec(any::<u8>(), 0..400), |case, bytes| {
            let _ = case.read(&bytes);
        });
    }

    #[test]
    fn no_text_of_toml_pieces_makes_it_panic() {
        let pieces = prop::sample::select(vec![
            "[",
            "]",
            "[[",
            "]]",
            "role",
            "resource",
            "env",
            "title",
            ".",
            "=",
            "{",
            "}",
            ",",
            "\n",
            "\"",
            "'''",
            "1",
            "nan",
            "true",
            " ",
            "#",
            "\\",
            "\u{feff}",
            "a",
            "1979-05-27",
            "\"\\u0000\"",
            "'x'",
        ]);
        for_all(proptest::collection::vec(pieces, 0..60), |case, pieces| {
            let _ = case.read(pieces.concat().as_bytes());
        });
    }

    #[test]
    fn no_order_of_headers_and_keys_makes_it_panic() {
        let lines = prop::sample::select(vec![
            "[a]",
            "[[a]]",
            "[a.b]",
            "[[a.b]]",
            "[b]",
            "a=1",
            "a.b=1",
            "a.b.a=1",
            "a={}",
            "a={b.a=1}",
            "a=[]",
            "a=[{}]",
        ]);
        for_all(proptest::collection::vec(lines, 0..9), |case, lines| {
            let _ = case.read(lines.join("\n").as_bytes());
        });
    }

    #[test]
    fn no_mutation_of_a_whole_spec_makes_it_panic() {
        let mutation = (0..WHOLE.len(), 0_usize..40, proptest::collection::vec(any::<u8>(), 0..12));
        for_all(mutation, |case, (at, drop, put)| {
            let mut bytes = WHOLE.as_bytes().to_vec();
            let end = (at + drop).min(bytes.len());
            bytes.splice(at..end, put);
            let _ = case.read(&bytes);
        });
    }

    #[test]
    fn a_title_is_kept_or_refused_never_changed() {
        for_all("\\PC{0,60}", |case, title| {
            let literal = toml::Value::String(title.clone()).to_string();
            if let Ok(draft) = case.with("\"Mobile app, version 2\"", &literal) {
                assert_eq!(draft.title, title);
            }
        });
    }
}
