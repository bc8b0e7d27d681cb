//! Diagnostics on stderr.
//!
//! The journal is what happened; this is the orchestrator talking about its own work. JSON where no person watches,
//! compact text on a terminal. The journal is mirrored here too ([`mirror`]), so that whoever follows stderr (journald,
//! say) sees both in one stream; nothing in the project reads it back.

use super::text;
use crate::domain::signal::{Entry, Level, What};
use std::io::IsTerminal;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The variable that holds the filter.
pub const FILTER_VAR: &str = "ORCH_LOG";

/// How diagnostics look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// One compact line for a person.
    Text,
}

/// Why diagnostics could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter is no filter.
    #[error("{FILTER_VAR} is not a filter")]
    Filter(#[from] ParseError),
    /// Something else listens in this process already.
    #[error("diagnostics are set up already")]
    Installed(#[from] TryInitError),
}

/// Sends diagnostics of this process to stderr, filtered as `filter` says (the value of `ORCH_LOG`; `info` without).
///
/// # Errors
/// If the filter cannot be read, or diagnostics are set up already.
pub fn init(format: Format, filter: Option<&str>) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(filter.unwrap_or("info"))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !terminal,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        builder.json().flatten_event(true).with_current_span(false).finish().try_init()?;
    } else {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.compact().with_ansi(colour).with_target(false).finish().try_init()?;
    }
    Ok(())
}

/// Tells the diagnostics of one entry of the journal.
///
/// Intents and moves of roles are many and expected, so they come at debug; the journal has them in any case.
pub fn mirror(entry: &Entry) {
    let signal = &entry.signal;
    let (seq, event, msg) = (entry.seq.0, text::name(&signal.what), text::message(signal));
    // 0 is no project: tracing's JSON leaves an absent field out, and a reader must be able to rely on the key.
    let project_id = signal.project_id.map_or(0, |id| id.0);
    if matches!(signal.what, What::EffectIntended { .. } | What::RoleMoved { .. }) {
        tracing::debug!(seq, event, project_id, "{msg}");
        return;
    }
    match signal.level() {
        Level::Info => tracing::info!(seq, event, project_id, "{msg}"),
        Level::Warn => tracing::warn!(seq, event, project_id, "{msg}"),
        Level::Error => tracing::error!(seq, event, project_id, "{msg}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::telemetry::samples;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_mirror_tells_each_entry_at_its_level() {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for (seq, signal) in (1_i64..).zip(samples::every()) {
                mirror(&samples::entry(seq, Timestamp(0), signal));
            }
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        let samples = samples::every();
        assert_eq!(text.lines().count(), samples.len());
        for (line, signal) in text.lines().zip(&samples) {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let quiet = matches!(signal.what, What::EffectIntended { .. } | What::RoleMoved { .. });
            let level = match signal.level() {
                _ if quiet => "DEBUG",
                Level::Info => "INFO",
                Level::Warn => "WARN",
                Level::Error => "ERROR",
            };
            assert_eq!(value["level"], level, "{line}");
            assert_eq!(value["event"], text::name(&signal.what), "{line}");
            assert_eq!(value["message"], text::message(signal), "{line}");
            assert!(value["seq"].is_i64() && value["project_id"].is_i64(), "{line}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(matches!(init(Format::Text, Some("orch=loud=er")), Err(LogError::Filter(_))));
    }
}
