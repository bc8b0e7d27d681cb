//! The proof that the checkers bite: every planted bug is found by the invariant that it was made for.

use chaos::sim::planted::{self, Matrix};

/// Seeds that are tried here; the command tries more.
const SEEDS: u64 = 60;

/// How short the schedules become is told by `orch-chaos planted`: shrinking takes minutes in a debug build.
///
/// What else fails, and with which seed, is for the reviewer of the snapshot.
#[test]
fn every_planted_bug_is_killed_by_the_invariant_it_was_made_for() {
    let matrix = Matrix::all(SEEDS, false);
    assert_eq!(matrix.red(), Vec::<String>::new());
    assert_eq!(matrix.unneeded(), Vec::<&str>::new(), "what finds nothing by itself is redundant");
    assert!(matrix.kills.len() >= 30);
    let _area = snapshots::area("chaos");
    insta::assert_snapshot!("kill_matrix", matrix.table());
}

/// Without a bug, seeds of the very same requests are green.
#[test]
fn without_a_bug_the_same_seeds_are_green() {
    let sound = |bug| (0..2).flat_map(move |seed| planted::sound(bug, seed));
    let red: Vec<String> = planted::all().flat_map(sound).collect();
    assert!(red.is_empty(), "{red:#?}");
}

#[test]
fn names_are_unique_and_every_bug_names_an_invariant() {
    let names: std::collections::BTreeSet<_> = planted::all().map(|bug| bug.name).collect();
    assert_eq!(names.len(), planted::all().count());
    for bug in planted::all() {
        let known = chaos::check::witnessed::all(true).iter().any(|checker| checker.id() == bug.intended);
        assert!(known || bug.intended == "M5", "{}: no checker is called {}", bug.name, bug.intended);
    }
}
