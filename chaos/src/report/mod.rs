//! What a run leaves: the verdict, in figures for machines and in lines for people.

mod campaign;
mod files;
mod judge;
mod model;
mod percentiles;
mod prometheus;
mod tale;
mod text;

pub use campaign::{campaign_json, campaign_text};
pub use files::{read, write};
pub use judge::{Played, judge};
pub use model::{Control, Effect, FaultLine, Invariant, KindSummary, Report, Run, SCHEMA, Threshold, Verdict};
pub use percentiles::Percentiles;
pub use prometheus::exposition;
pub use tale::Teller;
pub use text::{Style, render};
