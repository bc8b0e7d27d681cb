//! What a bound area promises to the tests that use it.

use std::path::Path;

use insta::Settings;

#[test]
fn an_area_is_a_folder_of_this_crate_until_its_guard_goes() {
    let before = Settings::clone_current();
    let guard = snapshots::area("orchestrator/decide");
    let bound = Settings::clone_current();
    assert_eq!(bound.snapshot_path(), Path::new(env!("CARGO_MANIFEST_DIR")).join("orchestrator/decide"));
    assert!(bound.snapshot_path().is_absolute());
    drop(guard);
    assert_eq!(Settings::clone_current().snapshot_path(), before.snapshot_path());
}

#[test]
fn a_snapshot_carries_neither_module_nor_expression() {
    let _area = snapshots::area("snapshots");
    insta::assert_snapshot!("example", "what a reviewer sees");
}
