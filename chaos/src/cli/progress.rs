//! A progress bar on a terminal; a line per fault in a log.

use super::output::note;
use crate::live::Step;
use crate::schedule::Schedule;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use std::time::Duration;

/// What start, healing and finishing take, about, beside the duration that was asked for.
const AROUND_MS: u64 = 11_000;
/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(100);

/// Shows how far a run is.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Where on the bar the present stage ends.
    reached_ms: Mutex<u64>,
}

impl Progress {
    /// Of a run that plays this schedule; hidden where stderr is no terminal.
    pub(super) fn of(schedule: &Schedule) -> Self {
        let bar = ProgressBar::new(schedule.duration_ms + AROUND_MS);
        let template = "{spinner} {elapsed} [{bar:30}] {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(TICK);
        Self { bar, reached_ms: Mutex::new(0) }
    }

    /// Shows a step.
    pub(super) fn tell(&self, step: &Step) {
        match step {
            Step::Stage(name, time) => {
                // The bar stands at the beginning of the stage that runs.
                let mut reached = self.reached_ms.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                self.bar.set_position(*reached);
                *reached += u64::try_from(time.as_millis()).unwrap_or(0);
                self.bar.set_message(format!("{name}, about {} s", time.as_secs()));
            }
            Step::Fault(fault) => {
                let line = match &fault.probe {
                    Ok(()) => format!("{fault}: took effect"),
                    Err(why) => format!("{fault}: no effect: {why}"),
                };
                if self.bar.is_hidden() { note(&line) } else { self.bar.println(line) }
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
