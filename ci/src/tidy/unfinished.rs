//! Nothing is left half done: no notes to ourselves, no placeholders that panic, no test that is switched off or that
//! passes for any panic at all.

use super::Finding;
use super::source::lines_with_word;
use super::tree::{File, Tree};

// In two halves, or this file would be its own first finding.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().flat_map(|file| [notes(file), placeholders(file)].concat()).collect()
}

/// Notes: in the comments of Rust files, and anywhere in scripts, settings and pages. Fixtures are other people's words.
fn notes(file: &File) -> Vec<Finding> {
    let text = match &file.rust {
        Some(source) => source.comments.as_str(),
        None if is_ours(&file.path) => &file.text,
        None => return Vec::new(),
    };
    let lines = |word: &'static str| lines_with_word(text, word).into_iter().map(move |line| (line, word));
    NOTES
        .into_iter()
        .flat_map(lines)
        .map(|(line, word)| {
            Finding::new(&file.path, line, format!("{word}: do it now, or say in prose what is not done"))
        })
        .collect()
}

fn is_ours(path: &str) -> bool {
    let kinds = [".sh", ".toml", ".md", ".yml", ".yaml", ".sql"];
    let is_script = path.starts_with("ci/") || path.starts_with(".ci/");
    is_script || kinds.iter().any(|kind| path.ends_with(kind))
}

fn placeholders(file: &File) -> Vec<Finding> {
    let Some(source) = &file.rust else { return Vec::new() };
    let tokens = source.tokens();
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1).map_or("", |token| token.text.as_str());
        let before: Vec<_> = tokens[..index].iter().rev().take(2).map(|token| token.text.as_str()).collect();
        let message = match token.text.as_str() {
            "todo" | "unimplemented" if next == "!" => "a placeholder that panics",
            "ignore" if before == ["[", "#"] => "a test that is switched off; delete it or mend it",
            "should_panic" => "passes for any panic; check the message or the error instead",
            _ => continue,
        };
        found.push(Finding::new(&file.path, token.line, message));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::check;

    #[test]
    fn notes_and_placeholders_are_found() {
        let rust = "// TODO later\nfn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\n#[ignore = \"slow\"]\nfn h() {}\n\
                    #[should_panic(expected = \"x\")]\nfn i() {} /* FIXME */\n";
        let files = [("a/src/lib.rs", rust), ("ci/demo", "# XXX\n"), ("README.md", "\nTODO: more\n")];
        assert_eq!(
            findings(check, &files),
            [
                "a/src/lib.rs:1",
                "a/src/lib.rs:7",
                "a/src/lib.rs:2",
                "a/src/lib.rs:3",
                "a/src/lib.rs:4",
                "a/src/lib.rs:6",
                "ci/demo:1",
                "README.md:2",
            ]
        );
    }

    #[test]
    fn strings_templates_and_fixtures_may_say_anything() {
        let rust = "fn f() { say(\"TODO\"); list.ignore(); }\n";
        let files = [("a/src/lib.rs", rust), ("ci/demo", "mktemp /tmp/x.XXXXXX\n"), ("fixtures/a.log", "TODO")];
        assert_eq!(findings(check, &files), [""; 0]);
    }
}
