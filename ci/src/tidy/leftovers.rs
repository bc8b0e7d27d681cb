//! No pending snapshot lies about: it is a test that nobody has looked at. Git ignores them, so this looks at the disk.

use super::Finding;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let pending = tree.on_disk.iter().filter(|path| path.ends_with(".snap.new") || path.ends_with(".pending-snap"));
    pending.map(|path| Finding::new(path, 1, "a snapshot nobody has reviewed: `cargo insta review`")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::check;

    #[test]
    fn pending_snapshots_are_found() {
        let files =
            [("snapshots/a/x.snap", ""), ("snapshots/a/x.snap.new", ""), ("orchestrator/src/.lib.rs.pending-snap", "")];
        assert_eq!(findings(check, &files), ["orchestrator/src/.lib.rs.pending-snap:1", "snapshots/a/x.snap.new:1"]);
    }
}
