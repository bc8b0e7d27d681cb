//! `report.json`, schema 1. Later schemas may add; they never rename or drop.

use super::percentiles::Percentiles;
use super::zero::Zero;
use crate::check::Is;
use crate::fault::{Kind, Mode, Outcome};
use crate::seed::Seed;
use orchestrator::domain::failure::FailureKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The number of this schema.
pub const SCHEMA: u32 = 1;

/// A run and its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was run.
    pub run: Run,
    /// What came of it.
    pub verdict: Verdict,
    /// Every fault with what became of it, by time.
    pub faults: Vec<FaultLine>,
    /// The same, by kind.
    pub summary: BTreeMap<Kind, KindSummary>,
    /// What happened while nothing did that could alarm anybody.
    pub control: Control,
    /// Every invariant with its verdict.
    pub invariants: Vec<Invariant>,
    /// How many projects ended in each state.
    pub projects: BTreeMap<String, u64>,
    /// Thresholds that were asked for.
    pub thresholds: Vec<Threshold>,
    /// What keeps a simulated campaign from being a pass beside violations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// The figures that only a simulated campaign has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<Figures>,
}

/// The figures of a simulated campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Which seeds, and what became of them.
    pub seeds: Seeds,
    /// Events of the simulated worlds.
    pub events: u64,
    /// Turns of the orchestrators' loops.
    pub turns: u64,
    /// Entries of the journals.
    pub entries: u64,
    /// Starts of orchestrators.
    pub starts: u64,
    /// How many seeds were played at once.
    pub threads: usize,
    /// Where each kind took effect.
    pub met: BTreeMap<Kind, Met>,
    /// How often each rare moment came.
    pub sometimes: BTreeMap<String, u64>,
}

/// The seeds of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Seeds {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
    /// How many were played.
    pub played: u64,
    /// How many of them had no fault.
    pub fault_free: u64,
    /// Under how many something was violated.
    pub violated: u64,
    /// Under how many a checker broke or the run stopped early.
    pub doubtful: u64,
    /// If none was violated: the part of all seeds below which violations are, with 95 % confidence.
    pub below: Option<f64>,
}

impl Seeds {
    /// What "none was violated" rests on: a seed that is doubtful was not looked at as a whole.
    #[must_use]
    pub fn zero(&self) -> Option<Zero> {
        let sound = self.played.saturating_sub(self.doubtful);
        (self.violated == 0 && sound > 0).then_some(Zero::Among(sound))
    }
}

/// Where faults of a kind took effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// Before any other.
    pub first: u64,
    /// While another was being dealt with.
    pub meanwhile: u64,
    /// While everything was at work again.
    pub after: u64,
    /// The states of projects that they met.
    pub states: Vec<String>,
}

/// What was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id, also the name of its report's folder.
    pub id: String,
    /// Where it was played.
    pub mode: Mode,
    /// Its seed.
    pub seed: Seed,
    /// HEAD of the repository that the orchestrator's program lies in; null if it lies in none.
    pub commit: Option<String>,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// When its verdict was reached.
    pub ended_at: String,
    /// How long it took by the clock on the wall.
    pub duration_ms: u64,
    /// How long it took on the clock that the orchestrator saw; live, the same.
    pub virtual_ms: u64,
    /// How many projects.
    pub projects: u32,
    /// How long agents lived, summed over agents.
    pub agent_hours: f64,
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every invariant held and everything that was injected took effect.
    Pass,
    /// An invariant was violated.
    Fail,
    /// Nothing was proved.
    Inconclusive,
    /// It was cut short.
    Aborted,
}

/// Whether a fault took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Its probe saw it.
    Confirmed,
    /// Its probe saw it, but another fault had already done worse.
    Masked,
    /// Its probe did not see it.
    None,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultLine {
    /// Its number in the schedule.
    pub id: u32,
    /// Which kind.
    pub kind: Kind,
    /// The orchestrator's id of the project.
    pub project: Option<i64>,
    /// The role's name, if it hit one.
    pub role: Option<String>,
    /// When, from the start of the run.
    pub injected_at_ms: Option<f64>,
    /// Whether it took effect.
    pub effect: Effect,
    /// When the first entry that tells of it had been committed.
    pub detected_at_ms: Option<f64>,
    /// Which source told.
    pub detected_by: Option<String>,
    /// As what it was classified.
    pub classified_as: Option<FailureKind>,
    /// When its project worked again.
    pub recovered_at_ms: Option<f64>,
    /// What became of it; null if it never took effect, or if its incident had not ended.
    pub outcome: Option<Outcome>,
}

/// All faults of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KindSummary {
    /// How many were scheduled and tried.
    pub injected: u64,
    /// How many of them took effect.
    pub confirmed: u64,
    /// What became of them; absent where each fault is not followed: in simulated campaigns D1 to D3 hold every single
    /// death, spoiled file and hung server against the journal instead.
    #[serde(flatten)]
    pub fates: Option<Fates>,
}

/// What became of the faults of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fates {
    /// How many of these were detected.
    pub detected: u64,
    /// How many ended in recovery.
    pub recovered: u64,
    /// How many ended behind an open breaker.
    pub contained: u64,
    /// How many needed nothing.
    pub harmless: u64,
    /// How many lay under another fault.
    pub masked: u64,
    /// How many nobody noticed.
    pub missed: u64,
    /// From injection to detection.
    pub detection_ms: Percentiles,
    /// From injection to the project working again.
    pub recovery_ms: Percentiles,
}

/// What happened while nothing did that could alarm anybody: live, in the phases without faults; simulated, in the seeds
/// in which there is no fault and no agent falls silent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Alarms.
    pub false_alarms: u64,
    /// Projects that were called failed.
    pub false_failures: u64,
    /// How long agents lived in these phases, summed over agents.
    pub agent_hours: f64,
}

/// One invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invariant {
    /// Its number.
    pub id: String,
    /// What it says.
    pub title: String,
    /// Whether it held.
    pub verdict: Is,
    /// How often it was looked at.
    pub checked: u64,
    /// What speaks against a pass.
    pub violations: Vec<String>,
}

/// One threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// As it was asked for.
    pub expr: String,
    /// The figure that it was held against.
    pub actual: f64,
    /// Whether it was kept.
    pub ok: bool,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Aborted => "aborted",
        }
    }
}

impl Report {
    /// How many faults were tried.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.summary.values().map(|kind| kind.injected).sum()
    }

    /// How many took effect.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.summary.values().map(|kind| kind.confirmed).sum()
    }

    /// How many nobody noticed.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.summary.values().filter_map(|kind| kind.fates.as_ref()).map(|fates| fates.missed).sum()
    }
}
