//! Tests that need a process of their own, with few file descriptors.

use std::fs::File;
use std::process::Command;

const MARK: &str = "ORCH_TEST_SCARCE";

/// Runs the test of this name (with its modules) again where only 64 files may be open. True for whoever is that
/// process; for the others it is over, and went well.
pub(super) fn is_here(test: &str) -> bool {
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture"]).arg(program).arg(test);
    let done = shell.env(MARK, "1").output().expect("run");
    let said = String::from_utf8_lossy(&done.stdout);
    let shouted = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}{shouted}");
    false
}

/// Takes every descriptor that is left.
pub(super) fn take_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}
