//! The crash sweep in simulation.

use chaos::sim::sweep::{self, Figures, Hit, Judged, ROWS, Row, Scenario, Way};
use std::path::Path;

/// What differs, in words.
fn differing(cases: &[sweep::Case]) -> Vec<String> {
    let differs = |case: &sweep::Case| match &case.judged {
        Judged::Differs(found) => {
            Some(format!("{} {} every: {}: {}", case.row, case.fault, case.every, found.join("; ")))
        }
        Judged::Equal | Judged::NotReached(_) | Judged::Covered(_) => None,
    };
    cases.iter().filter_map(differs).collect()
}

/// Both kills at every row; all six faults, pairs and moments are for `orch-chaos sweep --pairs --moments`.
#[test]
fn the_orchestrator_and_tmux_may_die_at_every_row() {
    let rows: Vec<&'static Row> = ROWS.iter().collect();
    let cases = sweep::rows(&rows, &[Hit::Crash, Hit::KillTmux]);
    let differ = differing(&cases);
    assert!(differ.is_empty(), "{differ:#?}");
    let figures = Figures::of(cases.iter().map(|case| &case.judged));
    let _area = snapshots::area("chaos/sweep");
    insta::assert_snapshot!("table", format!("{}cases {figures}\n", sweep::table(&cases)));
}

/// A row that is not played here is only as good as the test that covers it.
#[test]
fn the_tests_that_cover_other_rows_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    for row in &ROWS {
        let Way::Elsewhere(_, test) = row.way else { continue };
        let (file, name) = test.split_once("::").expect("file::test");
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let (before, _) = text.split_once(&format!("fn {name}()")).unwrap_or_else(|| panic!("{test} is not there"));
        let marked = before.trim_end().trim_end_matches("async").trim_end();
        assert!(marked.ends_with(']') && marked.contains("test"), "{test} is no test");
    }
}

/// The orchestrator killed around the second try of a respawn, and at a message that tmux has not read.
#[test]
fn moments_that_no_row_names_end_equal() {
    let reference = sweep::play(Scenario::Recovers, &[]);
    let point = |name: &str| reference.log.points.iter().position(|one| one == name).map(|place| place as u64 + 1);
    for name in ["respawn.0", "respawn.2", "hand_brief.2", "end_session.3"] {
        let at = sweep::At::Point(point(name).expect(name));
        let strike = sweep::Strike { at, side: chaos::sim::points::Side::Before, hit: Hit::Crash };
        let played = sweep::play(Scenario::Recovers, &[strike]);
        assert_eq!(played.violated, Vec::<String>::new(), "{name}");
        assert_eq!(played.end.differs(&reference.end), Vec::<String>::new(), "{name}");
    }
}
