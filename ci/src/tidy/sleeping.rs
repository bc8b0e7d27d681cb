//! A test never sleeps: it would be slow when all is well, and wrong when the machine is busy. It waits for the thing
//! itself (a line, a file, an exit) under a deadline.

use super::Finding;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, source) in tree.rust() {
        let tokens = source.tokens();
        for (index, token) in tokens.iter().enumerate() {
            let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
            let before = if index == 0 { "" } else { text(index - 1) };
            let is_path = before == "::" && index > 1 && matches!(text(index - 2), "thread" | "time");
            // `use std::thread::{sleep, …}` hides the path, but not the bare call.
            let is_bare_call = !matches!(before, "::" | "." | "fn") && text(index + 1) == "(";
            let sleeps = matches!(token.text.as_str(), "sleep" | "sleep_until" | "sleep_ms");
            if sleeps && (is_path || is_bare_call) && file.is_test_line(token.line) {
                let message = "a test that sleeps; wait for the thing itself under a deadline";
                found.push(Finding::new(&file.path, token.line, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::check;

    #[test]
    fn a_sleeping_test_is_found() {
        let test = "fn f() {\n    std::thread::sleep(d);\n    tokio::time::sleep(d).await;\n    sleep(d);\n}\n";
        let mixed = format!("{test}#[cfg(test)]\nmod tests {{\n{test}}}\n");
        let files = [
            ("a/tests/main.rs", test),
            ("a/src/lib.rs", mixed.as_str()),
            ("a/tests/fine.rs", "fn sleep(a: u8) { world.sleep(a); sim::sleep(1); say(\"sleep 1\") }"),
        ];
        assert_eq!(
            findings(check, &files),
            [
                "a/tests/main.rs:2",
                "a/tests/main.rs:3",
                "a/tests/main.rs:4",
                "a/src/lib.rs:9",
                "a/src/lib.rs:10",
                "a/src/lib.rs:11",
            ]
        );
    }
}
