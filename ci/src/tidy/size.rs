//! A file is at most 500 lines long, tests apart: beyond that it holds more than one thing, and nobody reads it whole.

use super::Finding;
use super::tree::Tree;

const LINES_MAX: usize = 500;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let too_long = tree.files.iter().filter(|file| file.lines_outside_tests() > LINES_MAX);
    too_long
        .map(|file| {
            let lines = file.lines_outside_tests();
            Finding::new(
                &file.path,
                LINES_MAX + 1,
                format!("{lines} lines outside tests; split it ({LINES_MAX} at most)"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::{LINES_MAX, check};

    #[test]
    fn a_long_file_is_found_but_long_tests_are_not() {
        let fits = "fn a() {}\n".repeat(LINES_MAX);
        let long = format!("{fits}fn b() {{}}\n");
        let tests = format!("{fits}#[cfg(test)]\nmod tests {{\n{long}}}\n");
        let after = format!("#[cfg(test)]\nmod tests {{}}\n{long}");
        let files = [
            ("x/src/fits.rs", fits.as_str()),
            ("x/src/long.rs", &long),
            ("x/src/tests.rs", &tests),
            ("x/src/after.rs", &after),
            ("x/tests/long.rs", &long),
        ];
        assert_eq!(findings(check, &files), ["x/src/long.rs:501", "x/src/after.rs:501"]);
    }
}
