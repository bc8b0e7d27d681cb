//! No file names a place of the machine it was written on: it would be wrong on every other.

use super::Finding;
use super::source::is_word_char;
use super::tree::{File, Tree};

// In two halves, or this table would be its own first finding.
const PLACES: [&str; 3] = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];
/// The home of the system whose logs and database are kept as fixtures; part of the evidence.
const FIXTURE_HOME: &str = concat!("/ho", "me/clauderun");

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().flat_map(places).collect()
}

fn places(file: &File) -> Vec<Finding> {
    let is_fixture = file.path.split('/').any(|folder| folder == "fixtures");
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for place in PLACES {
            let is_ours = line
                .match_indices(place)
                .any(|(at, _)| is_absolute(&line[..at]) && !(is_fixture && line[at..].starts_with(FIXTURE_HOME)));
            if is_ours {
                found.push(Finding::new(&file.path, index + 1, format!("a path of this machine ({place}…)")));
            }
        }
    }
    found
}

/// Whether a path that follows `before` starts there, rather than going on from a name, a variable or a dot.
fn is_absolute(before: &str) -> bool {
    !before.chars().next_back().is_some_and(|c| is_word_char(c) || matches!(c, '-' | '.' | '}' | ')' | '>' | '~' | '*'))
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::check;

    #[test]
    fn places_of_this_machine_are_found() {
        // `@` stands for the slash that would make this test a finding of its own rule.
        let plant = |text: &str| text.replace('@', "/");
        let code = plant("const A: &str = \"@root/x\";\n// see @work/y\nconst B: &str = \"file://@home/me\";\n");
        let log = plant("cwd=@home/clauderun/project\ncwd=@home/other\n");
        let page = plant("@home/clauderun/x");
        let fine =
            plant("x(\"{dir}@work/a\", \"target@work/\", \".@home/a\", \"https://a.example@home/\", \"@rooted\")");
        let files =
            [("a/src/lib.rs", code.as_str()), ("fixtures/log.txt", &log), ("docs.md", &page), ("b/src/lib.rs", &fine)];
        assert_eq!(
            findings(check, &files),
            ["a/src/lib.rs:1", "a/src/lib.rs:2", "a/src/lib.rs:3", "fixtures/log.txt:2", "docs.md:1"]
        );
    }
}
