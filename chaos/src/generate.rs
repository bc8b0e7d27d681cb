//! From a seed to a schedule. Pure: the same seed and the same request give the same schedule, for ever.

use crate::fault::{Kind, Mode, Victim};
use crate::schedule::{Params, Planned, Schedule, ScheduleError, VERSION};
use crate::seed::{Seed, Stream};
use orchestrator::domain::limits::Policy;
use std::collections::BTreeMap;
use thiserror::Error;

/// Part of the duration that each control phase takes, in per cent.
const CONTROL_PERCENT: u64 = 15;
/// Faults on one project are at least this far apart, so that each has its own detection and recovery.
const GAP_MS: u64 = 2_500;
/// How long a project that is enqueued under an armed fault is left alone: it is recovered and launched meanwhile.
const HELD_BACK_MS: u64 = 4_000;
/// Projects that are held back are enqueued in this first part of the fault phase, in per cent.
const ENQUEUE_PERCENT: u64 = 30;
/// A run has at least this many faults, where they fit ...
const FAULTS_MIN: usize = 12;
/// ... and each kind at least this many of them.
const PER_KIND_MIN: usize = 3;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The seed.
    pub seed: Seed,
    /// Where it is to be played.
    pub mode: Mode,
    /// How long.
    pub duration_ms: u64,
    /// How many projects.
    pub projects: u32,
    /// How many roles each.
    pub roles: u32,
    /// How often each kind is drawn, relative to the others; one that is not named is not drawn at all.
    pub weights: BTreeMap<Kind, u32>,
}

/// Why there is no such schedule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenerateError {
    /// The request is out of range.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// No kind is left to draw.
    #[error("every fault has weight 0: nothing would be injected")]
    NoKinds,
    /// Not even one fault of each kind fits.
    #[error("{projects} projects and {duration_ms} ms leave room for {room} faults, but {kinds} kinds are asked for")]
    NoRoom {
        /// Projects asked for.
        projects: u32,
        /// Duration asked for.
        duration_ms: u64,
        /// Faults that fit.
        room: usize,
        /// Kinds asked for.
        kinds: usize,
    },
}

/// The room for faults that one project has.
struct Room {
    /// When the git fault comes under which it is enqueued, if it is held back.
    git_at: Option<u64>,
    /// From when on it can be hit otherwise.
    from: u64,
    /// How many faults it gets beside the git fault.
    count: usize,
    /// How many it could get.
    most: usize,
}

/// The schedule of a request.
///
/// # Errors
/// Nothing fits, or the request is out of range.
pub fn generate(request: &Request) -> Result<Schedule, GenerateError> {
    let control_ms = request.duration_ms * CONTROL_PERCENT / 100;
    let mut schedule = Schedule {
        version: VERSION,
        seed: request.seed,
        mode: request.mode,
        duration_ms: request.duration_ms,
        control_ms,
        projects: request.projects,
        roles: request.roles,
        faults: Vec::new(),
        setting: crate::setting::Setting::default(),
        story: None,
        violates: None,
        expected: None,
    };
    schedule.check()?;
    let kinds: Vec<(Kind, u32)> =
        request.weights.iter().filter(|(_, weight)| **weight > 0).map(|(kind, weight)| (*kind, *weight)).collect();
    if kinds.is_empty() {
        return Err(GenerateError::NoKinds);
    }
    let end = request.duration_ms - control_ms;
    let mut rooms = rooms(request, control_ms, end);
    let gits = rooms.iter().filter(|room| room.git_at.is_some()).count();
    let room = gits + rooms.iter().map(|room| room.most).sum::<usize>();
    let others = kinds.iter().filter(|(kind, _)| gits == 0 || *kind != Kind::StderrNull).count();
    if room - gits < others {
        let (projects, duration_ms) = (request.projects, request.duration_ms);
        return Err(GenerateError::NoRoom { projects, duration_ms, room, kinds: kinds.len() });
    }
    distribute(request, &mut rooms, gits);
    let mut deck = deck(request, &kinds, rooms.iter().map(|room| room.count).sum(), gits);
    schedule.faults = place(request, &rooms, end, &mut deck);
    schedule.check()?;
    Ok(schedule)
}

/// Which projects are held back, and how much room each has; one drawn project may be driven into its breaker.
fn rooms(request: &Request, start: u64, end: u64) -> Vec<Room> {
    let mut stream = request.seed.stream("projects");
    let projects = request.projects as usize;
    let mut order: Vec<usize> = (0..projects).collect();
    stream.shuffle(&mut order);
    let with_git = request.weights.get(&Kind::StderrNull).is_some_and(|weight| *weight > 0) && projects > 1;
    let held_back = if with_git { (projects * 2 / 5).max(1) } else { 0 };
    let budget = Policy::default().breaker_max as usize;
    let overdriven = order[stream.index(projects)];
    let mut rooms: Vec<Room> = (0..projects)
        .map(|project| {
            let allowed = if project == overdriven { budget + 1 } else { budget };
            Room { git_at: None, from: start, count: 0, most: allowed }
        })
        .collect();
    for project in order.into_iter().take(held_back) {
        let at = start + stream.below((end - start) * ENQUEUE_PERCENT / 100 + 1);
        rooms[project].git_at = Some(at);
        rooms[project].from = at + HELD_BACK_MS;
        rooms[project].most -= 1;
    }
    for room in &mut rooms {
        let fit = end.saturating_sub(room.from) / GAP_MS;
        room.most = room.most.min(usize::try_from(fit).unwrap_or(usize::MAX));
    }
    rooms
}

/// Says how many faults each project gets.
fn distribute(request: &Request, rooms: &mut [Room], gits: usize) {
    let mut stream = request.seed.stream("counts");
    let room: usize = gits + rooms.iter().map(|room| room.most).sum::<usize>();
    let least = FAULTS_MIN.max(rooms.len() * FAULTS_MIN / 5).min(room);
    let total = least + stream.index(room - least + 1);
    // The one that may get a fourth gets all of its faults, so that containment is exercised wherever it fits.
    let budget = Policy::default().breaker_max as usize;
    let mut left = total - gits;
    for room in rooms.iter_mut() {
        if room.most + usize::from(room.git_at.is_some()) > budget {
            room.count = room.most.min(left);
            left -= room.count;
        }
    }
    while left > 0 {
        let open: Vec<usize> = (0..rooms.len()).filter(|place| rooms[*place].count < rooms[*place].most).collect();
        let Some(place) = open.get(stream.index(open.len())) else { return };
        rooms[*place].count += 1;
        left -= 1;
    }
}

/// Draws `count` kinds: each at least as often as it must come, the rest by weight, in any order.
fn deck(request: &Request, kinds: &[(Kind, u32)], count: usize, gits: usize) -> Vec<Kind> {
    let mut stream = request.seed.stream("kinds");
    let already = |kind: Kind| if kind == Kind::StderrNull { gits } else { 0 };
    let mut deck = Vec::with_capacity(count);
    // Round by round, so that where room is short every kind still gets its share.
    for round in 0..PER_KIND_MIN {
        for (kind, _) in kinds {
            if already(*kind) <= round && deck.len() < count {
                deck.push(*kind);
            }
        }
    }
    let weights: Vec<u32> = kinds.iter().map(|(_, weight)| *weight).collect();
    while deck.len() < count {
        let Some(place) = stream.weighted(&weights) else { break };
        deck.push(kinds[place].0);
    }
    stream.shuffle(&mut deck);
    deck
}

/// Gives every fault its time and its role.
fn place(request: &Request, rooms: &[Room], end: u64, deck: &mut Vec<Kind>) -> Vec<Planned> {
    let mut stream = request.seed.stream("times");
    let mut faults = Vec::new();
    for (room, project) in rooms.iter().zip(0..) {
        if let Some(at_ms) = room.git_at {
            let params = Params { victim: Some(Victim::Git), for_ms: None };
            faults.push(Planned { id: 0, at_ms, on_event: None, kind: Kind::StderrNull, project, role: None, params });
        }
        for at_ms in times(&mut stream, room.from, end, room.count) {
            let Some(kind) = deck.pop() else { break };
            let role = kind.entry().hits_role.then(|| stream.below(u64::from(request.roles)));
            let role = role.map(|role| u32::try_from(role).unwrap_or(0));
            let params = Params { victim: (kind == Kind::StderrNull).then_some(Victim::Agent), for_ms: None };
            faults.push(Planned { id: 0, at_ms, on_event: None, kind, project, role, params });
        }
    }
    faults.sort_by_key(|fault| (fault.at_ms, fault.project));
    for (fault, id) in faults.iter_mut().zip(1..) {
        fault.id = id;
    }
    faults
}

/// `count` times from `from` to `end`, at least a gap apart: one in each of as many equal parts.
fn times(stream: &mut Stream, from: u64, end: u64, count: usize) -> Vec<u64> {
    if count == 0 {
        return Vec::new();
    }
    let part = end.saturating_sub(from) / count as u64;
    let play = part.saturating_sub(GAP_MS);
    (0..count as u64).map(|place| from + place * part + stream.below(play + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(seed: u64) -> Request {
        let weights = Kind::DRAWN.iter().map(|kind| (*kind, 1)).collect();
        Request { seed: Seed(seed), mode: Mode::Live, duration_ms: 30_000, projects: 5, roles: 2, weights }
    }

    fn per_project(schedule: &Schedule) -> BTreeMap<u32, Vec<&Planned>> {
        let mut found: BTreeMap<u32, Vec<&Planned>> = BTreeMap::new();
        for fault in &schedule.faults {
            found.entry(fault.project).or_default().push(fault);
        }
        found
    }

    #[test]
    fn a_default_run_has_what_was_asked_for_under_every_seed() {
        for seed in 0..500 {
            let schedule = generate(&request(seed)).expect("a schedule");
            assert!(schedule.faults.len() >= 12, "seed {seed}: {} faults", schedule.faults.len());
            for (kind, count) in schedule.counts() {
                assert!(count >= 3, "seed {seed}: {count} of {kind}");
            }
            assert_eq!(schedule.kinds().len(), 3);
            let over = per_project(&schedule).values().filter(|faults| faults.len() > 3).count();
            assert!(over <= 1, "seed {seed}: {over} projects beyond their budget");
            assert!(per_project(&schedule).values().all(|faults| faults.len() <= 4));
            assert_eq!((0..5).filter(|project| schedule.held_back_by(*project).is_some()).count(), 2);
        }
    }

    #[test]
    fn containment_is_exercised_by_most_seeds() {
        let contained = (0..100).filter(|seed| {
            let schedule = generate(&request(*seed)).expect("a schedule");
            per_project(&schedule).values().any(|faults| faults.len() == 4)
        });
        assert!(contained.count() >= 80);
    }

    #[test]
    fn faults_of_one_project_are_apart_and_control_phases_empty() {
        for seed in 0..500 {
            let schedule = generate(&request(seed)).expect("a schedule");
            let end = schedule.duration_ms - schedule.control_ms;
            assert!(schedule.faults.iter().all(|fault| (schedule.control_ms..end).contains(&fault.at_ms)));
            for faults in per_project(&schedule).values() {
                for pair in faults.windows(2) {
                    assert!(pair[1].at_ms - pair[0].at_ms >= GAP_MS, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
        assert_eq!(generate(&request(3)), generate(&request(3)));
        assert_ne!(generate(&request(3)), generate(&request(4)));
    }

    #[test]
    fn a_short_run_still_has_every_kind() {
        for seed in 0..200 {
            let short = Request { duration_ms: 8_000, projects: 2, ..request(seed) };
            assert_eq!(generate(&short).expect("a schedule").kinds().len(), 3, "seed {seed}");
        }
    }

    #[test]
    fn a_restricted_run_has_only_what_it_is_restricted_to() {
        let only = Request { weights: BTreeMap::from([(Kind::ClaudeMdDelete, 2)]), ..request(9) };
        let schedule = generate(&only).expect("a schedule");
        assert_eq!(schedule.kinds().into_iter().collect::<Vec<_>>(), [Kind::ClaudeMdDelete]);
        assert!(schedule.faults.len() >= 12);
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let tiny = Request { duration_ms: 4_000, projects: 1, ..request(1) };
        let words = generate(&tiny).map_err(|error| error.to_string());
        assert_eq!(words, Err("1 projects and 4000 ms leave room for 1 faults, but 3 kinds are asked for".to_owned()));
        let nothing = Request { weights: BTreeMap::new(), ..request(1) };
        assert_eq!(generate(&nothing), Err(GenerateError::NoKinds));
        let endless = Request { duration_ms: u64::MAX / 200, ..request(1) };
        assert!(generate(&endless).is_err());
    }
}
