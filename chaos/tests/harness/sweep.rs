//! The crash sweep in simulation.

use chaos::sim::planted;
use chaos::sim::sweep::{self, Figures, Hit, Judged, ROWS, Row, Scenario};

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

/// Both kills at every row; all six faults, pairs and moments are for `orch-chaos sweep --pairs --moments`.
#[test]
fn the_orchestrator_and_tmux_may_die_at_every_row() {
    let rows: Vec<&'static Row> = ROWS.iter().collect();
    let cases = sweep::rows(&rows, &[Hit::Crash, Hit::KillTmux], None);
    let differ = differing(&cases);
    assert!(differ.is_empty(), "{differ:#?}");
    let figures = Figures::of(cases.iter().map(|case| &case.judged));
    let _area = snapshots::area("chaos/sweep");
    insta::assert_snapshot!("table", format!("{}cases {figures}\n", sweep::table(&cases)));
}

/// The orchestrator killed around the second try of a respawn, and at a message that tmux has not read.
#[test]
fn moments_that_no_row_names_end_equal() {
    let reference = sweep::play(Scenario::RECOVERS, &[], None);
    let point = |name: &str| reference.log.points.iter().position(|one| one == name).map(|place| place as u64 + 1);
    for name in ["respawn.0", "respawn.2", "hand_brief.2", "end_session.3"] {
        let at = sweep::At::Point(point(name).expect(name));
        let strike = sweep::Strike { at, side: chaos::sim::points::Side::Before, hit: Hit::Crash };
        let played = sweep::play(Scenario::RECOVERS, &[strike], None);
        assert_eq!(played.violated, Vec::<String>::new(), "{name}");
        assert_eq!(played.end.differs(&reference.end), Vec::<String>::new(), "{name}");
    }
}

/// The row dies after the rename; the other steps of parking may be cut short as well.
#[test]
fn parking_may_be_cut_short_on_either_side_of_every_step() {
    use chaos::sim::points::Side;
    let reference = sweep::play(Scenario::RECOVERS, &[], None);
    let crowd = sweep::Strike { at: sweep::At::Commit(1), side: Side::After, hit: Hit::Crowd };
    let crowded = sweep::play(Scenario::RECOVERS, &[crowd], None);
    assert_eq!(crowded.violated, Vec::<String>::new());
    assert_eq!(crowded.end.differs(&reference.end), Vec::<String>::new());
    for name in ["ensure_worktree.30", "ensure_worktree.31", "ensure_worktree.32"] {
        let place = crowded.log.points.iter().position(|point| point == name).expect(name);
        for side in [Side::Before, Side::After] {
            let strike = sweep::Strike { at: sweep::At::Point(place as u64 + 1), side, hit: Hit::Crash };
            let played = sweep::play(Scenario::RECOVERS, &[crowd, strike], None);
            assert_eq!(played.idle, None, "{name} {side:?}");
            assert_eq!(played.violated, Vec::<String>::new(), "{name} {side:?}");
            assert_eq!(played.end.differs(&reference.end), Vec::<String>::new(), "{name} {side:?}");
        }
    }
}

/// Which of these rows show that bug, each with the fault under which it does.
fn found_at(bug: &str, rows: &[&str]) -> Vec<String> {
    let bug = planted::CRASHES.iter().find(|one| one.name == bug).expect(bug);
    let rows: Vec<&'static Row> = ROWS.iter().filter(|row| rows.contains(&row.id)).collect();
    let cases = sweep::rows(&rows, &[Hit::Crash, Hit::IoError], Some(bug.plant));
    let differs = |case: &&sweep::Case| !case.every && matches!(case.judged, Judged::Differs(_));
    cases.iter().filter(differs).map(|case| format!("{} {}", case.row, case.fault)).collect()
}

/// What only a crash shows, only the sweep finds: with the bug planted and nothing that hits, all ends well.
#[test]
fn bugs_that_only_a_crash_shows_differ() {
    for bug in &planted::CRASHES {
        let sound = sweep::play(Scenario::RECOVERS, &[], None);
        let quiet = sweep::play(Scenario::RECOVERS, &[], Some(bug.plant));
        assert_eq!(quiet.end, sound.end, "{}", bug.name);
        assert_eq!(quiet.violated, Vec::<String>::new(), "{}", bug.name);
    }
    // What was begun without being written down shows where something that is not repeated was begun.
    let early = found_at("effects_before_commit", &["C03", "C04", "C11", "C12"]);
    assert_eq!(early, ["C03 kill orch", "C11 kill orch"]);
    let lost = found_at("newest_entry_lost", &["C04", "C05", "C26", "C31"]);
    assert_eq!(lost, ["C04 kill orch", "C26 kill orch", "C31 kill orch"]);
    let again = found_at("respawn_not_idempotent", &["C31", "C32"]);
    assert_eq!(again, ["C32 kill orch"]);
    let halves = found_at("migrated_step_by_step", &["C37", "C38"]);
    assert_eq!(halves, ["C38 kill orch"]);
    let parked = found_at("parking_never_finished", &["C07", "C28"]);
    assert_eq!(parked, ["C28 kill orch"]);
    let partial = found_at("partial_backups_kept", &["C35", "C39"]);
    assert_eq!(partial, ["C39 kill orch"]);
    let gap = found_at("log_not_completed", &["C35", "C40"]);
    // At rest it is started twice more, whatever has hit.
    assert_eq!(gap, ["C40 kill orch", "C40 I/O error"]);
}

/// Whoever was taken over wakes up into what comes next: it dies of no crash but its own, and it is not the one that a
/// signal to the orchestrator is for.
#[test]
fn who_was_overtaken_is_not_hit_in_place_of_who_serves() {
    let row = |id: &str| -> &'static Row { ROWS.iter().find(|row| row.id == id).expect("a row") };
    let pairs = sweep::pairs(&[row("C42")], &[row("C24"), row("C41"), row("C42")], None);
    for pair in &pairs {
        assert_eq!(pair.judged, Judged::Equal, "C42, then {}", pair.second);
    }
    assert_eq!(pairs.len(), 3);
}

/// Rows count agents; in pairs and at moments only this look at each agent tells that one was ended to be started over.
#[test]
fn an_agent_that_is_started_over_is_seen_where_no_row_counts_agents() {
    let bug = planted::CRASHES.iter().find(|one| one.name == "respawn_not_idempotent").expect("planted");
    let reference = sweep::play(Scenario::RECOVERS, &[], None);
    let point = reference.log.points.iter().position(|name| name == "respawn.2").expect("respawned") as u64 + 1;
    let strike = sweep::Strike { at: sweep::At::Point(point), side: chaos::sim::points::Side::After, hit: Hit::Crash };
    let sound = sweep::play(Scenario::RECOVERS, &[strike], None);
    assert_eq!(sound.violated, Vec::<String>::new());
    let played = sweep::play(Scenario::RECOVERS, &[strike], Some(bug.plant));
    assert_eq!(played.violated, ["role-1 of project 1 lived, and was started again under its token"]);
    assert_eq!(played.end.differs(&reference.end), Vec::<String>::new(), "the end does not tell");
}

/// A crash that was planned and not carried out is no proof of anything.
#[test]
fn a_crash_that_is_not_carried_out_counts_as_not_reached() {
    let rows: Vec<&'static Row> = ROWS.iter().filter(|row| ["C04", "C12", "C32"].contains(&row.id)).collect();
    let cases = sweep::rows(&rows, &[Hit::Crash], planted::SPARED);
    let pairs = sweep::pairs(&rows, &rows, planted::SPARED);
    let moments = sweep::points(97, planted::SPARED);
    let all = cases.iter().map(|one| &one.judged).chain(pairs.iter().map(|one| &one.judged));
    let figures = Figures::of(all.chain(moments.iter().map(|one| &one.judged)));
    assert!(figures.all > 20, "{figures}");
    assert_eq!(figures.equal, 0, "{figures}");
    assert!(figures.not_reached > 10, "{figures}");
}

/// An older database is put in place: an orchestrator that notices harms nobody, one that trusts it goes on at once.
#[test]
fn who_trusts_an_older_database_is_found() {
    let reference = sweep::play(Scenario::RECOVERS, &[], None);
    let recovered = |commit: &sweep::Committed| commit.labels.iter().any(|label| label == "recovery_succeeded");
    let at = reference.log.commits.iter().position(recovered).expect("recovered") as u64 + 1;
    let side = chaos::sim::points::Side::After;
    let strike = sweep::Strike { at: sweep::At::Commit(at), side, hit: Hit::PutBack };
    let sound = sweep::play(Scenario::RECOVERS, &[strike], None);
    assert_eq!(sound.violated, Vec::<String>::new());
    assert_eq!(sound.end.differs(&reference.end), Vec::<String>::new());
    assert_eq!(sound.log.put_back.len(), 1);
    let trusting = sweep::play(Scenario::RECOVERS, &[strike], planted::TRUSTING);
    for found in [
        "end_remains of project 1 was due before an operator looked",
        "project 1 began epoch 2, and the world knew epoch 2",
    ] {
        assert!(trusting.violated.iter().any(|one| one == found), "{:#?}", trusting.violated);
    }
}

/// A strike after the first commit with this label that comes after the others.
fn then(strikes: &[sweep::Strike], label: &str, hit: Hit) -> sweep::Strike {
    let played = sweep::play(Scenario::RECOVERS, strikes, None);
    let after = strikes.last().map_or(0, |last| played.log.place(last.at).0);
    let is = |commit: &sweep::Committed| commit.labels.iter().any(|one| one == label);
    let later = (1..).zip(&played.log.commits).find(|(number, commit)| *number > after && is(commit));
    let at = sweep::At::Commit(later.unwrap_or_else(|| panic!("{label} does not come")).0);
    sweep::Strike { at, side: chaos::sim::points::Side::After, hit }
}

/// The orchestrator killed around writes of the log, in a life of its own and after an older database was put in place.
#[test]
fn a_crash_around_a_write_of_the_log_leaves_no_gap() {
    let end = sweep::play(Scenario::RECOVERS, &[], None).end;
    let keeps = then(&[], "project_moved:briefing>running", Hit::KeepLog);
    let back = then(&[keeps], "recovery_succeeded", Hit::PutBack);
    let mut struck = 0;
    for setup in [vec![keeps], vec![keeps, back]] {
        let played = sweep::play(Scenario::RECOVERS, &setup, None);
        let from = setup.last().map_or(0, |last| played.log.place(last.at).1);
        let points = (1..).zip(&played.log.points).filter(|(number, name)| *number > from && name.starts_with("log."));
        for (number, name) in points.take(5) {
            for side in [chaos::sim::points::Side::Before, chaos::sim::points::Side::After] {
                let strike = sweep::Strike { at: sweep::At::Point(number), side, hit: Hit::Crash };
                let played = sweep::play(Scenario::RECOVERS, &[setup.clone(), vec![strike]].concat(), None);
                let found = [played.violated, played.end.differs(&end)].concat();
                assert_eq!(found, Vec::<String>::new(), "{name}, {side:?} of point {number}");
                struck += 1;
            }
        }
    }
    assert_eq!(struck, 20);
}
