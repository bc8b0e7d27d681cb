//! Percentiles of latencies.

use hdrhistogram::Histogram;
use orchestrator::domain::time::Span;
use serde::{Deserialize, Serialize};

/// The longest latency that is told apart: an hour, far beyond any bound.
const LONGEST_US: u64 = 3_600_000_000;

/// In milliseconds; all null where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half were faster.
    pub p50: Option<f64>,
    /// 95 of 100 were faster.
    pub p95: Option<f64>,
    /// 99 of 100 were faster.
    pub p99: Option<f64>,
    /// The slowest.
    pub max: Option<f64>,
}

impl Percentiles {
    /// Of these latencies.
    #[must_use]
    pub fn of(latencies: &[Span]) -> Self {
        let longest = latencies.iter().map(|latency| latency.0.clamp(1, LONGEST_US)).max();
        // Three digits: what is shown has no more.
        let (Some(longest), Ok(mut histogram)) = (longest, Histogram::<u64>::new_with_max(LONGEST_US, 3)) else {
            return Self::default();
        };
        latencies.iter().for_each(|latency| histogram.saturating_record(latency.0.clamp(1, LONGEST_US)));
        // A bucket answers with its upper edge, which may lie beyond the slowest that was measured.
        let at = |quantile| Some(millis(histogram.value_at_quantile(quantile).min(longest)));
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: Some(millis(longest)) }
    }
}

fn millis(micros: u64) -> f64 {
    Span(micros).as_millis_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_is_null_not_zero() {
        assert_eq!(Percentiles::of(&[]), Percentiles::default());
    }

    #[test]
    fn they_lie_where_they_must() {
        let latencies: Vec<Span> = (1..=100).map(Span::from_millis).collect();
        let found = Percentiles::of(&latencies);
        assert!(found.p50.is_some_and(|p50| (p50 - 50.0).abs() < 0.1), "{found:?}");
        assert!(found.p99.is_some_and(|p99| (p99 - 99.0).abs() < 0.1), "{found:?}");
        assert_eq!(found.max, Some(100.0));
        assert_eq!(Percentiles::of(&[Span(1_234)]).p50, Some(1.234));
    }
}
