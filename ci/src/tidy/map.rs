//! The map tells the truth: every path that ARCHITECTURE.md names exists, and every folder a reader meets is named.

use std::collections::BTreeSet;

use super::Finding;
use super::source::is_word_char;
use super::tree::Tree;

/// The page that is the map.
pub(super) const PAGE: &str = "ARCHITECTURE.md";

/// Folders that exist only once something has run, and so are no part of the tree.
const MADE_AT_RUN_TIME: [&str; 4] = ["target/", "chaos-report/", ".orch/", ".claude/"];
/// Whose modules the map names one by one.
const CODE: [&str; 2] = ["orchestrator/src/", "chaos/src/"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.files.iter().find(|file| file.path == PAGE) else { return Vec::new() };
    let paths: BTreeSet<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
    let mut found = Vec::new();
    for (line, named) in named_paths(&page.text) {
        if !exists(&paths, named) {
            found.push(Finding::new(PAGE, line, format!("`{named}` does not exist")));
        }
    }
    for folder in folders(&paths) {
        if !names(&page.text, &folder) {
            found.push(Finding::new(PAGE, 1, format!("`{folder}` is not on the map")));
        }
    }
    found
}

/// Whether there is no map yet.
pub(super) fn is_missing(tree: &Tree) -> bool {
    !tree.files.iter().any(|file| file.path == PAGE)
}

/// Every path in backticks outside code blocks, with its line. What starts with a slash is a place of the machine, and
/// what holds other signs than a path's is a pattern or a command.
fn named_paths(page: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (index, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        if in_block {
            continue;
        }
        let spans = line.split('`').skip(1).step_by(2);
        found.extend(spans.filter(|span| is_path(span)).map(|span| (index + 1, span)));
    }
    found
}

fn is_path(span: &str) -> bool {
    span.contains('/')
        && !span.starts_with('/')
        && span.chars().all(|c| is_word_char(c) || matches!(c, '/' | '.' | '-'))
        && !MADE_AT_RUN_TIME.iter().any(|folder| span.starts_with(folder))
}

fn exists(paths: &BTreeSet<&str>, named: &str) -> bool {
    let folder = format!("{}/", named.trim_end_matches('/'));
    (!named.ends_with('/') && paths.contains(named)) || paths.iter().any(|path| path.starts_with(&folder))
}

/// The top-level folders (those of tools, which start with a dot, apart) and the module folders.
fn folders(paths: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in paths {
        found.extend(path.split_once('/').map(|(top, _)| top.to_owned()).filter(|top| !top.starts_with('.')));
        for code in CODE {
            let module = path.strip_prefix(code).and_then(|inside| inside.split_once('/'));
            found.extend(module.map(|(module, _)| format!("{code}{module}")));
        }
    }
    found
}

/// Whether `folder` stands on the page, alone or as the start of a longer path.
fn names(page: &str, folder: &str) -> bool {
    let continues_name = |c: char| is_word_char(c) || matches!(c, '-' | '.');
    page.match_indices(folder).any(|(at, _)| {
        let before = page[..at].chars().next_back();
        let after = page[at + folder.len()..].chars().next();
        let is_alone = !before.is_some_and(|c| continues_name(c) || c == '/');
        let is_path = after == Some('/') || (before == Some('`') && after == Some('`'));
        is_alone && is_path
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::super::tree::Tree;
    use super::{check, is_missing};

    const TREE: [(&str, &str); 5] = [
        ("orchestrator/src/lib.rs", ""),
        ("orchestrator/src/store/mod.rs", ""),
        ("chaos/src/sim/mod.rs", ""),
        (".config/insta.yaml", ""),
        ("ci/demo", ""),
    ];

    fn check_page(page: &str) -> Vec<String> {
        let files: Vec<_> = TREE.into_iter().chain([("ARCHITECTURE.md", page)]).collect();
        check(&Tree::planted(&files)).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_page_that_names_everything_passes() {
        let page = "`orchestrator/src/store/mod.rs`, `chaos/src/sim/`, `ci`: see `ci/demo`, `/proc/1`, `orch/<id>/x`, \
                    `.orch/orch.db`\n```\n`gone/from/here`\n```\n";
        assert_eq!(check_page(page), [""; 0]);
    }

    #[test]
    fn what_is_gone_and_what_is_missing_are_found() {
        let page = "`orchestrator/src/stores/` and `ci/demo/x`, the cities of chaos/source\n`ci/demo/`";
        assert_eq!(
            check_page(page),
            [
                "`orchestrator/src/stores/` does not exist",
                "`ci/demo/x` does not exist",
                "`ci/demo/` does not exist",
                "`chaos/src/sim` is not on the map",
                "`orchestrator/src/store` is not on the map",
            ]
        );
    }

    #[test]
    fn without_a_page_nothing_is_checked() {
        assert_eq!(findings(check, &TREE), [""; 0]);
        assert!(is_missing(&Tree::planted(&TREE)));
    }
}
