//! What a run leaves: the verdict, in figures for machines and in lines for people.

mod campaign;
mod files;
mod judge;
mod junit;
mod model;
mod page;
mod percentiles;
mod prometheus;
mod tale;
mod text;
mod zero;

pub use campaign::{Wall, campaign_report, tried};
pub use files::{Beside, fault_line, read, write};
pub use judge::{Played, judge};
pub use junit::junit;
pub use model::{
    Control, Effect, Fates, FaultLine, Figures, Invariant, KindSummary, Met, Report, Run, SCHEMA, Seeds, Threshold,
    Verdict,
};
pub use page::{html, summary};
pub use percentiles::Percentiles;
pub use prometheus::exposition;
pub use tale::{Keeper, Kept, Teller};
pub use text::{Style, render};
pub use zero::Zero;
