//! Bugs in what an orchestrator tells: its journal and its metrics, as everybody outside reads them.

use super::bend::{Bend, Turn};
use crate::sim::world::World;
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::event::Happened;
use orchestrator::domain::failure::FailureKind;
use orchestrator::domain::id::{EffectId, ProjectId};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::HashSet;

/// Keeps the journal without a gap while entries come and go.
#[derive(Debug, Default)]
pub(super) struct Rewrite {
    shift: i64,
}

impl Rewrite {
    /// Lets each entry be replaced by any number of entries.
    pub(super) fn each(&mut self, entries: &mut Vec<Entry>, mut replace: impl FnMut(Entry, &mut Vec<Entry>)) {
        let mut all = Vec::new();
        for entry in std::mem::take(entries) {
            let mut out = Vec::new();
            let seq = entry.seq.0;
            replace(entry, &mut out);
            let many = i64::try_from(out.len()).unwrap_or(1);
            for (place, mut entry) in (0_i64..).zip(out) {
                entry.seq.0 = seq + self.shift + place;
                all.push(entry);
            }
            self.shift += many - 1;
        }
        *entries = all;
    }

    /// Adds one that nothing stands behind.
    fn add(&mut self, entries: &mut Vec<Entry>, mut entry: Entry) {
        self.shift += 1;
        entry.seq.0 += 1;
        entries.push(entry);
    }
}

/// What is as it must be is made anew, again and again, while nothing happens.
#[derive(Default)]
pub(super) struct Restless {
    rewrite: Rewrite,
    last: Option<Entry>,
    now: Timestamp,
    begun: Option<EffectId>,
    life: usize,
}

impl Bend for Restless {
    fn turned(&mut self, _: &World, turn: Turn, happened: Vec<Happened>) -> Vec<Happened> {
        (self.now, self.life) = (turn.at, turn.life);
        happened
    }

    fn witnessed(&mut self, facts: &mut Vec<Witnessed>) {
        if let Some(effect) = self.begun.take() {
            let fact = Fact::Began { life: self.life, effect, name: "ensure_files", durable: true };
            facts.push(Witnessed { at: self.now, fact });
        }
    }

    fn journaled(&mut self, entries: &mut Vec<Entry>) {
        self.rewrite.each(entries, |entry, out| out.push(entry));
        self.last = entries.last().cloned().or(self.last.take());
        let Some(mut entry) = self.last.clone() else { return };
        if self.now.since(entry.at) > Span::from_secs(300) {
            let effect_id = EffectId(1_000_000 + entry.seq.0);
            entry.at = self.now;
            entry.signal.project_id = Some(ProjectId(1));
            entry.signal.what = What::EffectIntended { effect_id, effect: "ensure_files".to_owned() };
            self.rewrite.add(entries, entry);
            self.last = entries.last().cloned();
            self.begun = Some(effect_id);
        }
    }
}

/// How entries are replaced by others, without a gap.
pub(super) struct Tells {
    rewrite: Rewrite,
    how: fn(Entry, &mut Vec<Entry>),
}

impl Tells {
    pub(super) fn by(how: fn(Entry, &mut Vec<Entry>)) -> Self {
        Self { rewrite: Rewrite::default(), how }
    }
}

impl Bend for Tells {
    fn journaled(&mut self, entries: &mut Vec<Entry>) {
        self.rewrite.each(entries, self.how);
    }
}

/// Changes entries one by one.
pub(super) struct Alters(pub(super) fn(&mut Entry));

impl Bend for Alters {
    fn journaled(&mut self, entries: &mut Vec<Entry>) {
        entries.iter_mut().for_each(self.0);
    }
}

/// Loses a line of the log now and then.
pub(super) struct LosesLines;

impl Bend for LosesLines {
    fn journaled(&mut self, entries: &mut Vec<Entry>) {
        entries.retain(|entry| entry.seq.0 % 20 != 0 || !matters_little(&entry.signal.what));
    }
}

fn matters_little(what: &What) -> bool {
    matches!(what, What::BriefHanded { .. } | What::RecoveryDelayed { .. } | What::SessionCreated { .. })
}

/// The move of a role to "done" is in its row and not in the journal.
pub(super) fn without_moves(entry: Entry, out: &mut Vec<Entry>) {
    use orchestrator::domain::state::RoleState;
    if !matches!(entry.signal.what, What::RoleMoved { to: RoleState::Done, .. }) {
        out.push(entry);
    }
}

/// A recovery whose first step could not be started counts for nothing.
pub(super) fn without_failed_starts(entry: Entry, out: &mut Vec<Entry>) {
    let spawn = matches!(
        entry.signal.what,
        What::RecoveryStarted { cause: FailureKind::SpawnFailed | FailureKind::SubprocessFailed, .. }
    );
    if !spawn {
        out.push(entry);
    }
}

/// What the breaker admits once is done twice.
pub(super) fn second_probe(entry: Entry, out: &mut Vec<Entry>) {
    if matches!(entry.signal.what, What::RecoveryStarted { probe: true, .. }) {
        out.push(entry.clone());
    }
    out.push(entry);
}

/// Each death is put down to the role beside it.
pub(super) fn blames_another(entry: &mut Entry) {
    if let What::AgentDied { .. } = entry.signal.what
        && let Some(role) = &mut entry.signal.agent_role
    {
        role.0 = if role.0 == "role-0" { "role-1".to_owned() } else { "role-0".to_owned() };
    }
}

/// An error without a word of what became of it.
pub(super) fn swallows(entry: &mut Entry) {
    if let What::SubprocessFailed { failure } | What::DeathExplained { failure } = &mut entry.signal.what {
        failure.argv = vec!["None".to_owned()];
        failure.stderr = orchestrator::domain::failure::Stderr::Text("None".to_owned());
    }
}

/// A death is told of twice.
pub(super) fn twice_dead(entry: Entry, out: &mut Vec<Entry>) {
    if matches!(entry.signal.what, What::AgentDied { .. }) {
        out.push(entry.clone());
    }
    out.push(entry);
}

/// What a hash map of this process makes of the order of what is told at one moment: it differs from map to map.
#[derive(Default)]
pub(super) struct HashOrder;

impl Bend for HashOrder {
    fn journaled(&mut self, entries: &mut Vec<Entry>) {
        let numbers: Vec<_> = entries.iter().map(|entry| entry.seq).collect();
        let places: HashSet<usize> = (0..entries.len()).collect();
        let mut mixed: Vec<Entry> = places.into_iter().filter_map(|place| entries.get(place).cloned()).collect();
        for (entry, seq) in mixed.iter_mut().zip(numbers) {
            entry.seq = seq;
        }
        *entries = mixed;
    }
}

/// The machine's own clock in what is told.
pub(super) fn real_time(entry: &mut Entry) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    entry.wall.0 += since.map_or(0, |since| i64::from(since.subsec_nanos()));
}

/// Counts what a refused commit would have told, and counts it again when it is committed.
#[derive(Default)]
pub(super) struct CountsEarly {
    seen: u64,
}

impl Bend for CountsEarly {
    fn counted(&mut self, entries: &mut Vec<Entry>, starts: bool) {
        self.seen += u64::from(!starts);
        if let Some(first) = entries.first().cloned()
            && !starts
            && self.seen.is_multiple_of(7)
        {
            entries.insert(0, first);
        }
    }
}

/// Begins to count anew with every start.
#[derive(Default)]
pub(super) struct CountsAnew;

impl Bend for CountsAnew {
    fn counted(&mut self, entries: &mut Vec<Entry>, starts: bool) {
        if starts {
            let last = entries.pop();
            entries.clear();
            entries.extend(last);
        }
    }
}
