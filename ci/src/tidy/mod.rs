//! The rules of the house that no compiler checks. Each is one function from the tree to its findings, in a file of its
//! own, and each has a test in which it fails: a rule that has never failed is untested.

mod imports;
mod independence;
mod leftovers;
mod map;
mod paths;
mod printing;
mod size;
mod sleeping;
mod source;
mod sql;
mod tree;
mod unfinished;

use std::fmt;
use std::path::Path;

use anyhow::Result;

use tree::Tree;

/// A place where a rule does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A rule's name, for its findings, and the rule.
type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

const RULES: [Rule; 10] = [
    ("size", size::check),
    ("imports", imports::check),
    ("sql", sql::check),
    ("printing", printing::check),
    ("unfinished", unfinished::check),
    ("sleeping", sleeping::check),
    ("independence", independence::check),
    ("map", map::check),
    ("leftovers", leftovers::check),
    ("paths", paths::check),
];

/// Checks every rule on the repository at `root`; says whether all of them hold.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let tree = Tree::read(root)?;
    let mut clean = true;
    for (name, check) in RULES {
        for finding in check(&tree) {
            clean = false;
            println!("{finding} [{name}]");
        }
    }
    if map::is_missing(&tree) {
        println!("note: {} is not there yet, so nothing is checked against it", map::PAGE);
    }
    Ok(clean)
}

#[cfg(test)]
pub(crate) mod testing {
    //! The one helper that the tests of the rules share.

    use super::{Finding, Tree};

    /// What `check` finds in a repository of exactly `files`, as `path:line` each.
    pub(crate) fn findings(check: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::planted(files)).iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
    }
}
