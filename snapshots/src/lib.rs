//! Home of every reviewed snapshot, and of the one place that may change how they are written.
//!
//! A snapshot lives beside this crate's manifest under the name of its *area*: `snapshots/orchestrator/decide/x.snap`
//! belongs to `area("orchestrator/decide")`. The folder is a crate of the workspace because `cargo insta` looks for
//! pending snapshots only in the folders of packages; in a plain folder `cargo insta test` would pass with snapshots
//! that nobody has reviewed.
//!
//! ```ignore
//! let _area = snapshots::area("orchestrator/decide");
//! insta::assert_snapshot!("queued_to_running", rendered);
//! ```
//!
//! Name every snapshot: the names are the reviewers' table of contents. Redactions and filters that more than one test
//! needs belong here, so that a reviewer of a snapshot has one file to read about what it leaves out.

use std::path::Path;

use insta::Settings;
use insta::internals::SettingsBindDropGuard;

/// Sends the snapshots of this thread to `snapshots/<name>/` for as long as the returned guard lives.
///
/// Snapshot names are used as given, without the path of the test's module, so that a test may move without renaming
/// its snapshots; the asserted expression is left out, so that renaming a variable changes no snapshot. Settings that
/// are bound already, such as a redaction of the calling test, stay in force.
#[must_use = "the snapshots go to this area only while the guard lives"]
pub fn area(name: &str) -> SettingsBindDropGuard {
    let mut settings = Settings::clone_current();
    // An absolute path, because insta takes a relative one from the folder of the asserting test's source file.
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind_to_scope()
}
