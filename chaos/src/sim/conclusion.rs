//! What a campaign proves: one verdict over all of its seeds.
//!
//! A violation is a violation, whatever else is doubtful. Without one, a campaign passes only if nothing keeps it from
//! proving anything:
//!
//! - No checker broke, and no run stopped before its end (M4).
//! - If faults were tried, one took effect at least.
//! - Every kind that was asked for by name took effect at least once, however few the seeds are. Of kinds that are
//!   drawn from all, the same is owed from [`KINDS_FROM`] seeds on (M1).
//! - From [`KINDS_FROM`] seeds on every invariant had something to look at, and from [`MOMENTS_FROM`] on every rare
//!   moment came (M2). Both are owed only by a campaign that leaves everything to be drawn: thirty minutes are too short
//!   for a probe after an hour, and of one kind nobody can ask for what only another one does.

use super::campaign::{Campaign, Totals};
use crate::check::Is;
use crate::fault::Kind;
use std::collections::BTreeSet;

/// From so many seeds on, every kind must have taken effect. The rarest does in one seed of 25, so that one of sixty
/// kinds is missing among a thousand seeds by chance less than once in 10^15.
pub const KINDS_FROM: u64 = 1_000;
/// From so many seeds on, every rare moment must have come. The rarest of those that come at all does in one seed of
/// 500.
pub const MOMENTS_FROM: u64 = 20_000;

/// What a campaign must have reached to prove anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owed {
    /// The kinds that must have taken effect.
    pub kinds: BTreeSet<Kind>,
    /// Whether every invariant must have had something to look at.
    pub looks: bool,
    /// Whether every rare moment must have come.
    pub moments: bool,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// Whether everything held, something did not, or that cannot be said.
    pub is: Is,
    /// What keeps it from being a pass beside violations, a line each.
    pub doubts: Vec<String>,
}

impl Owed {
    /// What this campaign must reach.
    #[must_use]
    pub fn by(campaign: &Campaign) -> Self {
        let seeds = campaign.seeds.end.saturating_sub(campaign.seeds.start);
        let sized = campaign.duration_ms.is_some() || campaign.projects.is_some() || campaign.roles.is_some();
        let drawn = !campaign.named && !sized;
        let every = campaign.named || seeds >= KINDS_FROM;
        Self {
            kinds: campaign.kinds.iter().copied().filter(|_| every).collect(),
            looks: drawn && seeds >= KINDS_FROM,
            moments: drawn && seeds >= MOMENTS_FROM,
        }
    }
}

/// What these seeds prove, if so much is owed.
#[must_use]
pub fn concluded(totals: &Totals, owed: &Owed) -> Conclusion {
    let mut doubts = totals.doubts.clone();
    if totals.doubtful > totals.doubts.len() as u64 {
        doubts.push(format!("{} seeds in all broke something of the harness", totals.doubtful));
    }
    let tried = |kind: &Kind| totals.injected.get(kind).copied().unwrap_or(0);
    let missing: Vec<Kind> = owed.kinds.iter().copied().filter(|kind| !totals.confirmed.contains_key(kind)).collect();
    doubts.extend(missing.iter().map(|kind| match tried(kind) {
        0 => format!("{kind} was never tried in {} seeds: play more of them", totals.seeds),
        1 => format!("{kind} was tried once and took no effect"),
        times => format!("{kind} was tried {times} times and never took effect"),
    }));
    if missing.is_empty() && totals.confirmed.is_empty() && !totals.injected.is_empty() {
        doubts.push("no fault took effect".to_owned());
    }
    let idle = totals.invariants.iter().filter(|of| owed.looks && of.checked == 0);
    doubts.extend(idle.map(|of| format!("{} had nothing to look at", of.id)));
    let never = totals.coverage.never().filter(|_| owed.moments);
    doubts.extend(never.map(|moment| format!("{} never came", moment.name())));
    let is = match (totals.violated > 0, doubts.is_empty()) {
        (true, _) => Is::Fail,
        (false, false) => Is::Unknown,
        (false, true) => Is::Pass,
    };
    Conclusion { is, doubts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Finding, Tally, Verdict};
    use crate::sim::campaign::Played;
    use crate::sim::planted::Breaks;
    use crate::sim::{Outcome, Sim, draw, replay};

    fn campaign(seeds: u64, kinds: &[Kind]) -> Campaign {
        let named = !kinds.is_empty();
        let kinds = if named { kinds.to_vec() } else { draw::kinds() };
        Campaign {
            seeds: 0..seeds,
            duration_ms: None,
            projects: None,
            roles: None,
            kinds,
            named,
            threads: 1,
            fingerprint: false,
        }
    }

    fn finding(broke: bool, violations: &[&str]) -> Finding {
        let mut tally = Tally::default();
        tally.held(1);
        violations.iter().for_each(|text| tally.violate((*text).to_owned()));
        let verdict = if broke { Verdict::broke("it broke") } else { tally.verdict("") };
        Finding { id: "S1", title: "is conserved", verdict }
    }

    fn totals(outcomes: Vec<Outcome>) -> Totals {
        let mut totals = Totals::default();
        for (seed, outcome) in (0..).zip(outcomes) {
            totals.add(&Played { seed, came: Ok(outcome) });
        }
        totals
    }

    fn tried(kind: Kind, times: u32, effect: u32) -> Outcome {
        let of = |times: u32| (times > 0).then_some((kind, times)).into_iter().collect();
        Outcome {
            injected: of(times),
            confirmed: of(effect),
            findings: vec![finding(false, &[])],
            ..Outcome::default()
        }
    }

    #[test]
    fn an_injector_that_does_nothing_is_never_a_pass() {
        let owed = Owed::by(&campaign(3, &[Kind::SessionKill, Kind::PaneKill]));
        let idle = concluded(&totals(vec![tried(Kind::SessionKill, 3, 0), tried(Kind::PaneKill, 2, 1)]), &owed);
        assert_eq!(idle.is, Is::Unknown);
        assert_eq!(idle.doubts, ["session_kill was tried 3 times and never took effect"]);
        let unasked = concluded(&totals(vec![tried(Kind::SessionKill, 3, 0)]), &Owed::default());
        assert_eq!((unasked.is, unasked.doubts.len()), (Is::Unknown, 1));
        let undrawn = concluded(&totals(vec![tried(Kind::PaneKill, 2, 1)]), &owed);
        assert_eq!((undrawn.is, undrawn.doubts.len()), (Is::Unknown, 1));
        let both = concluded(&totals(vec![tried(Kind::SessionKill, 3, 1), tried(Kind::PaneKill, 2, 1)]), &owed);
        assert_eq!(both, Conclusion { is: Is::Pass, doubts: Vec::new() });
    }

    #[test]
    fn what_is_owed_depends_on_what_was_asked_for() {
        assert_eq!(Owed::by(&campaign(KINDS_FROM - 1, &[])), Owed::default());
        let large = Owed::by(&campaign(KINDS_FROM, &[]));
        assert_eq!((large.kinds.len(), large.looks, large.moments), (draw::kinds().len(), true, false));
        assert!(Owed::by(&campaign(MOMENTS_FROM, &[])).moments);
        let sized = Owed::by(&Campaign { duration_ms: Some(60_000), ..campaign(MOMENTS_FROM, &[]) });
        assert_eq!((sized.kinds.len(), sized.looks, sized.moments), (draw::kinds().len(), false, false));
        assert_eq!(Owed::by(&campaign(1, &[Kind::Reboot])).kinds, BTreeSet::from([Kind::Reboot]));
    }

    #[test]
    fn a_moment_that_never_came_is_named() {
        let owed = Owed { moments: true, ..Owed::default() };
        let found = concluded(&totals(vec![tried(Kind::Reboot, 1, 1)]), &owed);
        assert_eq!(found.is, Is::Unknown);
        assert!(found.doubts.contains(&"breaker_opened never came".to_owned()), "{found:?}");
        let looks = Owed { looks: true, ..Owed::default() };
        let idle = Finding { id: "L4", title: "half-opens", verdict: Tally::default().verdict("no breaker opened") };
        let outcome = Outcome { findings: vec![idle], ..Outcome::default() };
        assert_eq!(concluded(&totals(vec![outcome]), &looks).doubts, ["L4 had nothing to look at"]);
    }

    #[test]
    fn a_violation_outweighs_every_doubt() {
        let broken = Outcome { findings: vec![finding(true, &[])], ..Outcome::default() };
        let red = Outcome { findings: vec![finding(false, &["two of them"])], ..Outcome::default() };
        assert_eq!(concluded(&totals(vec![broken, red]), &Owed::default()).is, Is::Fail);
        let mut panicked = Totals::default();
        panicked.add(&Played { seed: 1, came: Err("panic: on purpose".to_owned()) });
        assert_eq!(concluded(&panicked, &Owed::default()).is, Is::Fail);
    }

    #[test]
    fn a_run_that_stopped_early_is_inconclusive() {
        let stopped = Outcome { broke: Some("enqueue: refused".to_owned()), ..Outcome::default() };
        let found = concluded(&totals(vec![stopped]), &Owed::default());
        assert_eq!((found.is, found.doubts), (Is::Unknown, vec!["seed 0: stopped early: enqueue: refused".to_owned()]));
    }

    /// Through a real run: the checker panics at the first entry of the journal.
    #[test]
    fn a_checker_that_panics_makes_a_campaign_inconclusive() {
        let request = draw::Request {
            seed: crate::seed::Seed(0),
            duration_ms: Some(60_000),
            projects: Some(1),
            roles: Some(1),
            kinds: Vec::new(),
        };
        let sim = Sim::new(replay::plan(&draw::draw(&request), None)).expect("a world");
        let found = concluded(&totals(vec![sim.play(vec![Box::new(Breaks)])]), &Owed::default());
        assert_eq!(found.is, Is::Unknown);
        assert_eq!(found.doubts, ["seed 0: X: the checker itself broke"]);
    }
}
