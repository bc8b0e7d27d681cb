//! The determinism gate: the same seed must give the same bytes, here and elsewhere.

use super::campaign::{Campaign, Played};
use crate::live::run_along;
use crate::seed::fnv1a;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// The fingerprint of a run as one number: facts, journal, rows, outbox and verdicts.
#[must_use]
pub fn print_of(played: &Played) -> u64 {
    match &played.came {
        Ok(outcome) => {
            let bytes: Vec<u8> = outcome.fingerprint.iter().flat_map(|line| line.to_le_bytes()).collect();
            fnv1a(&bytes)
        }
        Err(why) => fnv1a(why.as_bytes()),
    }
}

/// Plays every seed and hands its fingerprint on, in the order of their numbers.
pub fn prints(campaign: &Campaign, mut told: impl FnMut(u64, u64)) {
    campaign.play_by(
        |seed| print_of(&campaign.one(seed)),
        |seed, print| {
            told(seed, print);
            true
        },
    );
}

/// Where two runs of one seed part, as the place of the first event that differs; none if they are equal.
fn differs(first: &Played, second: &Played) -> Option<String> {
    let (Ok(first), Ok(second)) = (&first.came, &second.came) else {
        let same = first.came.as_ref().err() == second.came.as_ref().err();
        return (!same).then(|| "one panicked and the other did not, or otherwise".to_owned());
    };
    if first.fingerprint == second.fingerprint {
        return None;
    }
    let parts = first.fingerprint.iter().zip(&second.fingerprint).position(|(one, other)| one != other);
    let place = parts.unwrap_or_else(|| first.fingerprint.len().min(second.fingerprint.len()));
    Some(format!("event {place} is another one, of {} and {}", first.fingerprint.len(), second.fingerprint.len()))
}

/// Who plays: here, once more here, and in a fresh process.
pub struct Players<One, Elsewhere, Told> {
    /// Plays a seed in this process.
    pub one: One,
    /// The fingerprints of all seeds from a fresh process.
    pub elsewhere: Elsewhere,
    /// Tells a seed's run line by line, exactly: in this process, or (`true`) in a fresh one.
    pub told: Told,
}

/// Each seed twice in this process and once in a fresh one: the seeds that differ, each with how and the first event of
/// two more runs that does. Nothing, if the same seed gave the same bytes.
///
/// # Errors
/// If the fresh process could not be had, or said nothing of a seed.
pub fn gate<One, Elsewhere, Told>(
    campaign: &Campaign,
    players: Players<One, Elsewhere, Told>,
) -> Result<Vec<(u64, String)>, String>
where
    One: Fn(u64) -> Played + Sync,
    Elsewhere: FnOnce() -> Result<BTreeMap<u64, u64>, String>,
    Told: Fn(u64, bool) -> Result<Vec<String>, String>,
{
    let Players { one, elsewhere, told } = players;
    let mut here = BTreeMap::new();
    let mut differing = Vec::new();
    let twice = |seed| {
        let (first, second) = (one(seed), one(seed));
        (print_of(&first), differs(&first, &second))
    };
    campaign.play_by(twice, |seed, (print, why)| {
        differing.extend(why.map(|why| (seed, false, format!("twice in one process: {why}"))));
        here.insert(seed, print);
        true
    });
    let there = elsewhere()?;
    if let Some(seed) = here.keys().find(|seed| !there.contains_key(seed)) {
        return Err(format!("the fresh process said nothing of seed {seed}"));
    }
    let other = here.iter().filter(|(seed, print)| there.get(*seed) != Some(*print));
    differing.extend(other.map(|(seed, _)| (*seed, true, "another one in a fresh process".to_owned())));
    // Telling takes another two runs for each: the first few are enough to find out why.
    let line = |(place, (seed, fresh, why)): (usize, (u64, bool, String))| {
        let parts = (place < TOLD_MAX).then(|| parts(&told(seed, false), &told(seed, fresh)));
        (seed, format!("seed {seed}: {why}{}", parts.unwrap_or_default()))
    };
    Ok(differing.into_iter().enumerate().map(line).collect())
}

/// Seeds whose first differing event is told.
const TOLD_MAX: usize = 5;

/// How much is shown beyond the place where two lines part that say the same in words.
const BEYOND: usize = 60;

/// The first line in which two tales of one seed part: its words, or all of it where the words are the same.
fn parts(first: &Result<Vec<String>, String>, second: &Result<Vec<String>, String>) -> String {
    let (first, second) = match (first, second) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(why), _) | (_, Err(why)) => return format!("; it could not be told again: {why}"),
    };
    let place = (0..first.len().max(second.len())).find(|place| first.get(*place) != second.get(*place));
    let Some(place) = place else { return "; told twice more, no event differed".to_owned() };
    let halves = |lines: &[String]| {
        let line = lines.get(place).map_or("(the end)", |line| line.trim());
        let (words, all) = line.rsplit_once('\t').unwrap_or((line, ""));
        (words.to_owned(), all.to_owned())
    };
    let (one, other) = (halves(first), halves(second));
    let (one, other) = if one.0 == other.0 {
        let same = one.1.chars().zip(other.1.chars()).take_while(|(one, other)| one == other).count();
        let shown = |all: &str| all.chars().take(same + BEYOND).collect();
        (shown(&one.1), shown(&other.1))
    } else {
        (one.0, other.0)
    };
    format!("; first, in two more runs:\n    {one}\n    {other}")
}

/// The fingerprints that a fresh process prints.
///
/// # Errors
/// If it could not be started, did not come to its end in time, or said something that is no fingerprint.
pub fn elsewhere(args: &[String], within: Duration) -> Result<BTreeMap<u64, u64>, String> {
    let line = |line: &str| {
        let (seed, print) = line.split_once(' ')?;
        Some((seed.parse().ok()?, u64::from_str_radix(print, 16).ok()?))
    };
    let said = said_elsewhere(args, within)?;
    said.iter().map(|text| line(text).ok_or_else(|| format!("no fingerprint: {text}"))).collect()
}

/// What a fresh process of this program says whose environment, time zone and working directory are others.
///
/// # Errors
/// If it could not be started, or did not come to its end in time.
pub fn said_elsewhere(args: &[String], within: Duration) -> Result<Vec<String>, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let mut fresh = Command::new(program);
    fresh.args(args).env_clear().current_dir("/");
    fresh.env("TZ", "Pacific/Kiritimati").env("LANG", "tr_TR.UTF-8").env("ORCH_SOMETHING_ELSE", "x".repeat(4_096));
    heard(&mut fresh, within)
}

fn heard(fresh: &mut Command, within: Duration) -> Result<Vec<String>, String> {
    let said = run_along(fresh, within).map_err(|why| format!("the fresh process: {why}"))?;
    if !said.status.success() {
        return Err(format!("the fresh process ended with {}: {}", said.status, said.stderr.trim()));
    }
    Ok(said.stdout.lines().map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::witnessed;
    use crate::sim::plan::Plan;
    use crate::sim::planted;
    use crate::sim::run::Sim;
    use crate::sim::{draw, replay};

    fn campaign() -> Campaign {
        Campaign {
            seeds: 0..3,
            duration_ms: Some(600_000),
            projects: Some(2),
            roles: Some(1),
            kinds: draw::kinds(),
            named: false,
            threads: 2,
            fingerprint: true,
        }
    }

    /// The gate over runs that a planted bug spoils in this process, while the fresh one is sound.
    fn gated(bug: Option<&str>) -> Vec<String> {
        let campaign = campaign();
        let one = |seed| {
            let schedule = campaign.schedule(seed);
            let bug = planted::all().find(|known| Some(known.name) == bug);
            let bend = bug.map(|bug| (bug.plant)(&schedule));
            let plan = Plan { fingerprint: true, ..replay::plan(&schedule, None) };
            let sim = Sim::bent(plan, bend).map_err(|error| error.to_string());
            Played { seed, came: sim.map(|sim| sim.play(witnessed::under(schedule.is_calm(), schedule.policy()))) }
        };
        let elsewhere = || Ok((0..3).map(|seed| (seed, print_of(&campaign.one(seed)))).collect());
        let told = |seed: u64, fresh: bool| Ok(vec![format!("{seed} begins"), format!("fresh: {fresh}")]);
        let found = gate(&campaign, Players { one, elsewhere, told }).expect("played");
        found.into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn the_same_bytes_pass() {
        assert_eq!(gated(None), Vec::<String>::new());
    }

    #[test]
    fn the_order_of_a_hash_map_and_the_machine_s_clock_are_found() {
        for bug in ["hash_order_in_output", "machine_clock_in_output"] {
            let found = gated(Some(bug));
            let twice = found.iter().filter(|line| line.contains("twice in one process: event ")).count();
            let fresh = found.iter().filter(|line| line.contains("another one in a fresh process")).count();
            assert_eq!((twice, fresh), (3, 3), "{bug}: {found:#?}");
        }
    }

    #[test]
    fn the_first_event_that_differs_is_told() {
        let lines = |words: &[&str]| Ok(words.iter().map(ToString::to_string).collect());
        let told = parts(&lines(&["a", "b", "c"]), &lines(&["a", "x", "y"]));
        assert!(told.ends_with("in two more runs:\n    b\n    x"), "{told}");
        assert!(parts(&lines(&["a", "b"]), &lines(&["a"])).ends_with("    b\n    (the end)"));
        assert!(parts(&lines(&["a"]), &lines(&["a"])).contains("no event differed"));
        assert!(parts(&lines(&["a"]), &Err("no room".to_owned())).contains("no room"));
        let told = parts(&lines(&["words\tall 1"]), &lines(&["words\tall 2"]));
        assert!(told.ends_with("in two more runs:\n    all 1\n    all 2"), "what the words leave out: {told}");
    }

    #[test]
    fn a_fresh_process_that_gives_other_bytes_is_found() {
        let campaign = campaign();
        let elsewhere =
            || Ok((0..3).map(|seed| (seed, print_of(&campaign.one(seed)) ^ u64::from(seed == 1))).collect());
        let players = Players { one: |seed| campaign.one(seed), elsewhere, told: |_, _| Ok(Vec::new()) };
        let found = gate(&campaign, players).expect("played");
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].0, 1);
        assert!(found[0].1.starts_with("seed 1: another one in a fresh process"), "{found:#?}");
    }

    #[test]
    fn a_fresh_process_that_dies_half_way_is_no_difference() {
        let campaign = campaign();
        let half = || Ok((0..2).map(|seed| (seed, print_of(&campaign.one(seed)))).collect());
        let players = Players { one: |seed| campaign.one(seed), elsewhere: half, told: |_, _| Ok(Vec::new()) };
        assert_eq!(gate(&campaign, players), Err("the fresh process said nothing of seed 2".to_owned()));
        let sh = |script: &str, within| heard(Command::new("sh").args(["-c", script]), within);
        let minute = Duration::from_secs(60);
        assert_eq!(sh("echo 0 1", minute), Ok(vec!["0 1".to_owned()]));
        assert!(sh("echo 0 1; echo why >&2; exit 1", minute).is_err_and(|said| said.ends_with(": why")));
        assert!(sh("echo 0 1; kill -KILL $$", minute).is_err());
        assert!(sh("echo 0 1; exec sleep 60", Duration::from_millis(50)).is_err_and(|said| said.contains("no end")));
    }

    /// Played on the thread that receives, the second runs would come one after the other, however many threads there are.
    #[test]
    fn both_runs_of_a_seed_are_the_worker_s() {
        let campaign = campaign();
        let receiver = std::thread::current().id();
        let one = |seed| {
            assert_ne!(std::thread::current().id(), receiver);
            Played { seed, came: Err("nothing is played".to_owned()) }
        };
        let print = fnv1a(b"nothing is played");
        let elsewhere = || Ok((0..3).map(|seed| (seed, print)).collect());
        let found = gate(&campaign, Players { one, elsewhere, told: |_, _| Ok(Vec::new()) });
        assert_eq!(found, Ok(Vec::new()));
    }
}
