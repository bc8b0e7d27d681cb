//! The files that the rules look at.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::source::Source;

/// One file of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path from the root, with `/` between the parts.
    pub(crate) path: String,
    /// Its text; bytes that are not UTF-8 are replaced, since the rules look for plain words only.
    pub(crate) text: String,
    /// Its parts, if it is a Rust file.
    pub(crate) rust: Option<Source>,
    /// Whether all of it is test code: under `tests/` or `benches/`, or declared by `#[cfg(test)] mod name;`.
    is_test: bool,
}

impl File {
    fn new(path: String, text: String) -> Self {
        let rust = path.ends_with(".rs").then(|| Source::parse(&text));
        let is_test = path.split('/').rev().skip(1).any(|folder| folder == "tests" || folder == "benches");
        Self { path, text, rust, is_test }
    }

    /// Whether `line` (from 1) of this file is test code.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test || self.rust.as_ref().is_some_and(|source| source.is_test_line(line))
    }

    /// How many of its lines are not test code.
    pub(crate) fn lines_outside_tests(&self) -> usize {
        match &self.rust {
            Some(source) if !self.is_test => source.lines_outside_tests(),
            _ => 0,
        }
    }
}

/// The files of the repository, sorted by path.
#[derive(Debug)]
pub(crate) struct Tree {
    /// What git tracks, or would track: ignored files are left out.
    pub(crate) files: Vec<File>,
    /// Every path on disk apart from git's own and cargo's output, ignored ones included.
    pub(crate) on_disk: BTreeSet<String>,
}

impl Tree {
    /// Reads the repository at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut on_disk = BTreeSet::new();
        walk(root, "", &mut on_disk)?;
        // A copy without its .git folder (a tarball, say) has no list of its own, and git would ask a repository above.
        let paths = if root.join(".git").exists() { listed_by_git(root)? } else { on_disk.clone() };
        let mut texts = Vec::new();
        for path in paths {
            let file = root.join(&path);
            // Git lists what is deleted but not yet committed so, and submodules as folders.
            if file.is_file() {
                let bytes = std::fs::read(&file).with_context(|| format!("failed to read {path}"))?;
                texts.push((path, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        Ok(Self::of(texts, on_disk))
    }

    fn of(texts: Vec<(String, String)>, on_disk: BTreeSet<String>) -> Self {
        let mut files: Vec<_> = texts.into_iter().map(|(path, text)| File::new(path, text)).collect();
        let modules: Vec<String> = files.iter().flat_map(test_modules).collect();
        for file in &mut files {
            file.is_test |= modules.iter().any(|module| {
                file.path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            });
        }
        Self { files, on_disk }
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files.iter().filter_map(|file| Some((file, file.rust.as_ref()?)))
    }
}

#[cfg(test)]
impl Tree {
    /// A repository that holds exactly `files`.
    pub(crate) fn planted(files: &[(&str, &str)]) -> Self {
        let own = |&(path, text): &(&str, &str)| (path.to_owned(), text.to_owned());
        let on_disk = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        Self::of(files.iter().map(own).collect(), on_disk)
    }
}

/// The paths, without `.rs`, of the modules that `file` declares for tests only.
fn test_modules(file: &File) -> Vec<String> {
    let Some(source) = &file.rust else { return Vec::new() };
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let parent = match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => file.path.trim_end_matches(".rs").to_owned(),
    };
    source.test_modules.iter().map(|module| format!("{parent}/{module}")).collect()
}

fn listed_by_git(root: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("failed to run git")?;
    anyhow::ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    let paths = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(paths.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn walk(root: &Path, folder: &str, found: &mut BTreeSet<String>) -> Result<()> {
    let listing = std::fs::read_dir(root.join(folder)).with_context(|| format!("failed to list {folder:?}"))?;
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if matches!(path.as_str(), ".git" | "target") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_tests_by_folder_or_by_declaration() {
        let tree = Tree::planted(&[
            ("a/src/lib.rs", "#[cfg(test)]\nmod probe;\nmod store;\n"),
            ("a/src/probe.rs", "fn f() {}"),
            ("a/src/probe/deep.rs", "fn f() {}"),
            ("a/src/probes.rs", "fn f() {}"),
            ("a/src/store.rs", "#[cfg(test)]\nmod tests;\n"),
            ("a/src/store/tests.rs", "fn f() {}"),
            ("a/tests/cli.rs", "fn f() {}"),
        ]);
        let tests: Vec<_> = tree.files.iter().filter(|file| file.is_test).map(|file| file.path.as_str()).collect();
        assert_eq!(tests, ["a/src/probe.rs", "a/src/probe/deep.rs", "a/src/store/tests.rs", "a/tests/cli.rs"]);
    }
}
