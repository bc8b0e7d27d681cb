//! The live crash sweep: kill -9 of the real orchestrator at every crash point, exactly there, and a look at what the
//! next start makes of it (G2, G3, G5, G11).
//!
//! The orchestrator is traced from outside ([`trace`]), without any hook in it. What was met by a kill is read from
//! the database and the world before anything is started again: a point that was not met is never passed.

mod call;
mod early;
mod late;
mod middle;
mod moment;
mod points;
mod rest;
mod scene;
mod trace;

pub use points::{POINTS, Point};

use super::cleanup;
use super::doctor::examine;
use super::guard::Guard;
use super::orch::Orch;
use super::play::LiveError;
use super::sandbox::Sandbox;
use super::stop::{Stop, Why};
use crate::fault::Mode;
use crate::schedule::{Schedule, VERSION};
use crate::seed::Seed;
use scene::{Odd, Scene, missed};
use serde::Serialize;
use std::path::PathBuf;

/// How often a point is tried whose moment did not come: what the agents do meanwhile is not ours to order.
const TRIES: u32 = 3;

/// What to sweep.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Which points.
    pub points: Vec<&'static Point>,
    /// The program `orch`.
    pub orch: PathBuf,
    /// The program that becomes the guard: `orch-chaos`.
    pub guard: PathBuf,
}

/// What became of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything was as the table says.
    AsExpected,
    /// It was not killed there.
    NotReached,
    /// Something was otherwise.
    Differs,
}

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The point.
    pub point: &'static str,
    /// Where it is killed.
    pub what: &'static str,
    /// What must be so after the restart.
    pub expected: &'static str,
    /// What became of it.
    pub verdict: Verdict,
    /// What was observed.
    pub observed: String,
}

/// How far it is.
#[derive(Debug, Clone)]
pub enum SweepStep {
    /// A point is done.
    Done(Row),
}

/// Plays the points one after the other, each in a sandbox of its own, of which nothing is left.
///
/// # Errors
/// [`LiveError`], if no point can be played here.
pub fn run_sweep(
    sweep: &Sweep,
    stop: &Stop,
    tell: &(dyn Fn(SweepStep) + Sync),
) -> Result<(Vec<Row>, Option<Why>), LiveError> {
    let ground = examine(&sweep.orch);
    let missing: Vec<String> =
        ground.into_iter().filter_map(|ground| Some(format!("{}: {}", ground.name, ground.found.err()?))).collect();
    if !missing.is_empty() {
        return Err(LiveError::Environment(missing.join("; ")));
    }
    let mut rows = Vec::new();
    for point in &sweep.points {
        let mut played = Err(missed("cut short"));
        for _ in 0..TRIES {
            if stop.asked().is_some() {
                break;
            }
            played = play(sweep, point, stop)?;
            if !matches!(played, Err(Odd::NotReached(_))) {
                break;
            }
        }
        let (verdict, observed) = match played {
            Ok(observed) => (Verdict::AsExpected, observed),
            Err(Odd::Differs(why)) => (Verdict::Differs, why),
            Err(Odd::NotReached(why)) => (Verdict::NotReached, why),
        };
        let Point { id, what, expected, .. } = **point;
        let row = Row { point: id, what, expected, verdict, observed };
        tell(SweepStep::Done(row.clone()));
        rows.push(row);
    }
    Ok((rows, stop.asked()))
}

/// One point, once. What outlives its cleaning up is a difference too.
fn play(sweep: &Sweep, point: &Point, stop: &Stop) -> Result<Result<String, Odd>, LiveError> {
    // Only its repository is used: there is nothing to schedule.
    let schedule = Schedule {
        version: VERSION,
        seed: Seed(0),
        mode: Mode::Live,
        duration_ms: 0,
        control_ms: 0,
        projects: 1,
        roles: 1,
        faults: Vec::new(),
        setting: crate::setting::Setting::default(),
        story: None,
        violates: None,
        expected: None,
    };
    let sandbox = Sandbox::create(&schedule).map_err(LiveError::Environment)?;
    let guard = Guard::start(&sweep.guard, sandbox.dir(), sandbox.mark());
    let played = match &guard {
        Ok(_) => on(sweep, point, &sandbox, stop),
        Err(why) => Err(missed(why)),
    };
    let left = cleanup::clean_up(sandbox.dir(), sandbox.mark());
    if let Ok(guard) = guard {
        guard.dismiss();
    }
    Ok(match played {
        Ok(_) if !left.is_empty() => Err(Odd::Differs(left.join(", "))),
        played => played,
    })
}

fn on(sweep: &Sweep, point: &Point, sandbox: &Sandbox, stop: &Stop) -> Result<String, Odd> {
    let orch = Orch::new(&sweep.orch, sandbox).map_err(missed)?;
    let scene = Scene { sandbox, orch: &orch, stop, work: point.work };
    orch.init(&scene.config()).map_err(missed)?;
    (point.play)(&scene)
}
