//! The crash sweep, by SQLite's method: count every moment of a run, then fail at the first, the second, the third.
//!
//! A moment is a commit or a stage of a durable effect. Runs are equal until something hits, so the number of a moment
//! means the same in both; what comes again after a hit is looked for in the run that was hit, and struck in the next.
//! Whatever hits, the end must be that of the run in which nothing did.

mod backup;
mod logged;
mod older;
mod play;
mod rows;
mod run;
mod strike;
mod upgrade;

pub use logged::{Logged, Logs};
pub use play::{End, Ended, Played, Scenario, play};
pub use rows::{Due, Moment, ROWS, Row, Spot};
pub use run::{Case, Figures, Found, Judged, Pair, Swept, pairs, points, rows, table};
pub use strike::{At, Committed, Hit, Log, Script, Strike, label};
