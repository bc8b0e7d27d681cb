//! The crash sweep in simulation.

use chaos::sim::sweep::{self, Hit, Judged, ROWS, Row};

/// What differs, in words.
fn differing(cases: &[sweep::Case]) -> Vec<String> {
    let differs = |case: &sweep::Case| match &case.judged {
        Judged::Differs(found) => {
            Some(format!("{} {} every: {}: {}", case.row, case.fault, case.every, found.join("; ")))
        }
        Judged::Equal | Judged::NotReached(_) => None,
    };
    cases.iter().filter_map(differs).collect()
}

/// The orchestrator killed at every row; all faults and all pairs are for `orch-chaos sweep --pairs --points`.
#[test]
fn the_orchestrator_may_die_at_every_row() {
    let rows: Vec<&'static Row> = ROWS.iter().collect();
    let cases = sweep::rows(&rows, &[Hit::Crash]);
    assert_eq!(cases.len(), 92);
    let differ = differing(&cases);
    assert!(differ.is_empty(), "{differ:#?}");
    let missed = cases.iter().filter(|case| matches!(case.judged, Judged::NotReached(_))).count();
    assert_eq!(missed, 10, "C28, C38, C39, C40 and C46 are held by other tests: {}", sweep::table(&cases));
}
