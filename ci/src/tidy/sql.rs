//! SQL stands only in `orchestrator/src/store`: one place knows the schema, so one place has to change with it.

use super::Finding;
use super::source::lines_with_word;
use super::tree::Tree;

const HOME: &str = "orchestrator/src/store";

// In two halves, or this table would be its own first finding.
const STATEMENTS: [&str; 5] = [
    concat!("SEL", "ECT "),
    concat!("INS", "ERT INTO"),
    concat!("INS", "ERT OR "),
    concat!("DEL", "ETE FROM"),
    concat!("PRA", "GMA"),
];
const UPDATE: &str = concat!("UPD", "ATE");

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, source) in tree.rust().filter(|(file, _)| !is_home(&file.path)) {
        for (line, text) in source.strings.iter().filter(|(line, _)| !file.is_test_line(*line)) {
            if is_sql(text) {
                found.push(Finding::new(&file.path, *line, format!("SQL outside {HOME}; ask the store for it")));
            }
        }
    }
    found
}

fn is_home(path: &str) -> bool {
    path.strip_prefix(HOME).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

fn is_sql(text: &str) -> bool {
    // One line with single blanks, so that a statement may be laid out as it pleases.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let has = |word: &str| text.contains(word) && !lines_with_word(&text, word.trim_end()).is_empty();
    STATEMENTS.into_iter().any(has) || (has(UPDATE) && has("SET"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::check;

    #[test]
    fn sql_is_found_outside_the_store_only() {
        let sql =
            "fn f() {\n    q(\"SELECT id FROM project\");\n    q(r#\"UPDATE project\n SET a = 1; SELECT\n 1\"#);\n}\n";
        let files = [
            ("orchestrator/src/runtime/mod.rs", sql),
            ("orchestrator/src/store/read.rs", sql),
            ("orchestrator/src/stored.rs", "const A: &str = \"PRAGMA user_version\";"),
            (
                "chaos/src/check.rs",
                "q(\"INSERT INTO a\"); q(\"DELETE FROM a\");\n#[cfg(test)]\nmod t { q(\"PRAGMA x\"); }",
            ),
            ("chaos/tests/main.rs", sql),
        ];
        assert_eq!(
            findings(check, &files),
            [
                "orchestrator/src/runtime/mod.rs:2",
                "orchestrator/src/runtime/mod.rs:3",
                "orchestrator/src/stored.rs:1",
                "chaos/src/check.rs:1",
                "chaos/src/check.rs:1",
            ]
        );
    }

    #[test]
    fn prose_is_not_sql() {
        let prose =
            "// SELECT one\nfn f() { say(\"please UPDATE the page\", \"SELECTED\", \"a SET\", \"PRAGMATIC\"); }";
        assert_eq!(findings(check, &[("chaos/src/lib.rs", prose)]), [""; 0]);
    }
}
