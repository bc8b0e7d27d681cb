//! Bugs in what an orchestrator does: effects that are lost, doubled, done under another name or not done at all.

use super::bend::{Bend, Turn, answer};
use super::known::Known;
use crate::sim::world::World;
use orchestrator::domain::effect::{Effect, Ordered};
use orchestrator::domain::event::{Fact, Happened};
use orchestrator::domain::id::{EffectId, Token};
use orchestrator::domain::project::Project;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// A session under a name that nobody has written down.
pub(super) struct Renames;

impl Bend for Renames {
    fn submit(&mut self, _: &mut World, _: usize, mut ordered: Ordered) -> Vec<Ordered> {
        if let Effect::EnsureSession { session, .. } = &mut ordered.effect {
            *session = format!("test-spec-{}", ordered.id);
        }
        vec![ordered]
    }
}

/// What comes next is begun before it is intended.
pub(super) struct Hurries;

impl Bend for Hurries {
    fn submit(&mut self, _: &mut World, _: usize, ordered: Ordered) -> Vec<Ordered> {
        let mut out = vec![ordered.clone()];
        if let Effect::EnsureFiles { .. } = ordered.effect {
            out.push(Ordered { id: EffectId(ordered.id.0 + 500_000), ..ordered });
        }
        out
    }
}

/// Every so manieth effect that changes something is forgotten.
pub(super) struct Forgets {
    pub(super) every: u32,
    pub(super) seen: u32,
}

impl Bend for Forgets {
    fn submit(&mut self, _: &mut World, _: usize, ordered: Ordered) -> Vec<Ordered> {
        self.seen += u32::from(ordered.effect.is_durable());
        if ordered.effect.is_durable() && self.seen.is_multiple_of(self.every) { Vec::new() } else { vec![ordered] }
    }
}

/// What older incarnations left is called ended, and nobody looks.
pub(super) struct NoProof;

impl Bend for NoProof {
    fn submit(&mut self, world: &mut World, life: usize, ordered: Ordered) -> Vec<Ordered> {
        let Effect::EndRemains { tokens } = &ordered.effect else { return vec![ordered] };
        answer(world, life, &ordered, Fact::RemainsEnded { tokens: tokens.clone(), ended: 0 });
        Vec::new()
    }
}

/// The session is ended at the end, and what it started is not.
#[derive(Default)]
pub(super) struct NoReaping {
    known: Known,
}

impl Bend for NoReaping {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn submit(&mut self, world: &mut World, life: usize, mut ordered: Ordered) -> Vec<Ordered> {
        if !self.known.over(&ordered) {
            return vec![ordered];
        }
        if let Effect::EndSession { tokens, .. } = &mut ordered.effect {
            tokens.clear();
        }
        NoProof.submit(world, life, ordered)
    }
}

/// Nothing is taken down at the end.
#[derive(Default)]
pub(super) struct NoCleanup {
    known: Known,
    kept: Vec<Token>,
}

impl Bend for NoCleanup {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "everything else is done as it should be")]
    fn submit(&mut self, world: &mut World, life: usize, ordered: Ordered) -> Vec<Ordered> {
        // What a recovery ends is no part of this bug.
        let over = self.known.over(&ordered);
        // What stays would be found as a late creation and ended then; this bug does not do that either.
        let fact = match &ordered.effect {
            Effect::EndSession { token, tokens, .. } if over => {
                self.kept.push(token.clone());
                self.kept.extend(tokens.iter().cloned());
                Fact::SessionEnded
            }
            Effect::EndRemains { tokens } if tokens.iter().any(|token| self.kept.contains(token)) => {
                Fact::RemainsEnded { tokens: tokens.clone(), ended: 0 }
            }
            _ => return vec![ordered],
        };
        answer(world, life, &ordered, fact);
        Vec::new()
    }
}

/// Every agent is started twice.
pub(super) struct Doubles;

impl Bend for Doubles {
    fn submit(&mut self, _: &mut World, _: usize, mut ordered: Ordered) -> Vec<Ordered> {
        if let Effect::EnsureSession { launches, .. } = &mut ordered.effect {
            let again = launches.iter().cloned().map(|mut launch| {
                launch.token = Token(launch.token.0.chars().rev().collect());
                launch
            });
            let again: Vec<_> = again.collect();
            launches.extend(again);
        }
        vec![ordered]
    }
}

/// A lease that nobody verifies: whoever writes finds itself its holder.
#[derive(Default)]
pub(super) struct NoFence {
    door: Option<Connection>,
    holders: BTreeMap<usize, (i64, i64, i64)>,
}

impl NoFence {
    fn hold(&mut self, life: usize) -> rusqlite::Result<()> {
        let Some(door) = &self.door else { return Ok(()) };
        let found =
            door.query_row(include_str!("sql/holder.sql"), [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let (epoch, pid, start) = *self.holders.entry(life).or_insert(found);
        door.execute(include_str!("sql/hold.sql"), (epoch, pid, start)).map(drop)
    }
}

impl Bend for NoFence {
    fn starts(&mut self, door: Connection) -> rusqlite::Result<()> {
        self.door = Some(door);
        Ok(())
    }

    fn turned(&mut self, _: &World, turn: Turn, happened: Vec<Happened>) -> Vec<Happened> {
        // A lease that cannot be stolen stays as it is; then this bug shows in another seed.
        let _ = self.hold(turn.life);
        happened
    }
}

/// An orchestrator that starts takes the database over, whoever serves.
pub(super) struct NoLock;

impl Bend for NoLock {
    fn looks_at_the_lock(&self) -> bool {
        false
    }
}

/// SQL that is run when an orchestrator starts: the first time, and every time after that.
#[derive(Default)]
pub(super) struct Sql {
    pub(super) first: &'static str,
    pub(super) later: &'static str,
    pub(super) started: bool,
}

impl Bend for Sql {
    fn starts(&mut self, door: Connection) -> rusqlite::Result<()> {
        let sql = if std::mem::replace(&mut self.started, true) { self.later } else { self.first };
        door.execute_batch(sql)
    }
}

/// A breaker that ages its attempts by the wall clock: each step of the clock makes every one of them older or younger
/// by as much.
#[derive(Default)]
pub(super) struct AgesByWall {
    door: Option<Connection>,
    ahead: Option<i64>,
    stepped: bool,
}

impl AgesByWall {
    fn step(&self, by_us: i64) -> rusqlite::Result<()> {
        let Some(door) = &self.door else { return Ok(()) };
        door.execute(include_str!("sql/breaker_by_the_wall_clock.sql"), [by_us]).map(drop)
    }
}

impl Bend for AgesByWall {
    fn starts(&mut self, door: Connection) -> rusqlite::Result<()> {
        self.door = Some(door);
        Ok(())
    }

    fn turned(&mut self, world: &World, turn: Turn, happened: Vec<Happened>) -> Vec<Happened> {
        let ahead = world.kernel.wall(world.at) - turn.at.0.cast_signed();
        let by_us = ahead - self.ahead.unwrap_or(ahead);
        // A database that is locked just now takes the step at a later turn.
        if by_us == 0 || self.step(by_us).is_ok() {
            self.ahead = Some(ahead);
            self.stepped = by_us != 0;
        }
        happened
    }

    fn rereads(&mut self) -> bool {
        std::mem::take(&mut self.stepped)
    }
}

/// Another policy than the one the checkers know.
pub(super) struct Lax(pub(super) fn(&mut orchestrator::domain::limits::Policy));

impl Bend for Lax {
    fn policy(&mut self, policy: &mut orchestrator::domain::limits::Policy) {
        (self.0)(policy);
    }
}
