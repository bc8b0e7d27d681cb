//! What the tests stand on: the two programs, and one live run at a time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// `orch-chaos`, built by cargo for these tests.
pub(crate) const CHAOS: &str = env!("CARGO_BIN_EXE_orch-chaos");

/// `orch`, beside it. Cargo builds programs for the tests of their own package only, so it is asked to once more.
pub(crate) fn orch() -> &'static Path {
    static ORCH: OnceLock<PathBuf> = OnceLock::new();
    ORCH.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "-p", "orchestrator", "--bin", "orch"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo").success(), "orch cannot be built");
        Path::new(CHAOS).with_file_name("orch")
    })
}

/// Held for as long as a live run lasts. Runs beside each other would be a load of their own; a lock on a file holds
/// also where every test is a process of its own.
pub(crate) fn alone() -> File {
    orch();
    let lock = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("live.lock")).expect("a file");
    lock.lock().expect("the lock");
    lock
}

/// A folder for one report.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Processes whose command line names this folder.
pub(crate) fn processes_naming(folder: &Path) -> Vec<String> {
    let wanted = folder.display().to_string();
    let listing = std::fs::read_dir("/proc").expect("/proc").flatten();
    listing
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|words| String::from_utf8_lossy(&words).replace('\0', " "))
        .filter(|line| line.contains(&wanted))
        .collect()
}
