//! The Prometheus text, in one order.
//!
//! The exporter renders its families and series in the order of its hash maps; here they are sorted, so that two
//! runs of one seed give the same bytes (G18) and a person finds what they look for. There is no listener: the text
//! is served by the orchestrator's own route, on loopback, as `text/plain; version=0.0.4`.
//!
//! # Upkeep
//! Observations of a histogram are kept one by one until somebody renders or calls [`Exporter::run_upkeep`]. Where
//! nobody scrapes, that would grow for ever (G13): the runtime calls it with every sweep.

use super::metric::{self, Kind};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why there are no metrics.
#[derive(Debug, Error)]
pub enum ExportError {
    /// A histogram's buckets were refused: a defect of the table.
    #[error("the metrics table is unusable")]
    Table(#[from] BuildError),
    /// Something else has installed a recorder in this process.
    #[error("another metrics recorder is installed already")]
    Installed,
}

/// Renders what a recorder has collected.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
}

/// A recorder that knows every histogram's buckets, and its exporter. For tests and the simulator, with
/// `metrics::with_local_recorder`; that is thread-local, so what runs on other threads is not counted.
///
/// # Errors
/// If the table's buckets are refused.
pub fn recorder() -> Result<(PrometheusRecorder, Exporter), ExportError> {
    let mut builder = PrometheusBuilder::new();
    for metric in metric::ALL {
        // Without buckets the exporter would render a summary over the real clock.
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    let recorder = builder.build_recorder();
    let exporter = Exporter { handle: recorder.handle() };
    Ok((recorder, exporter))
}

/// Installs a recorder for the whole process, with every series there at zero.
///
/// # Errors
/// If one is installed already, or the table's buckets are refused.
pub fn install() -> Result<Exporter, ExportError> {
    let (recorder, exporter) = recorder()?;
    metrics::set_global_recorder(recorder).map_err(|_| ExportError::Installed)?;
    metric::describe_and_preregister();
    Ok(exporter)
}

impl Exporter {
    /// The exposition text, sorted.
    #[must_use]
    pub fn render(&self) -> String {
        sorted(&self.handle.render())
    }

    /// Folds pending observations into their buckets, so that memory stays bounded when nobody scrapes.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// One family: its comments, and its lines by series.
#[derive(Default)]
struct Family<'a> {
    comments: Vec<&'a str>,
    series: BTreeMap<String, Vec<String>>,
}

/// Families by name, series by labels; within one series the lines stay as they come (`le` ascending, sum, count).
fn sorted(text: &str) -> String {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    let mut current = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            current = comment.split(' ').nth(1).unwrap_or_default();
            families.entry(current).or_default().comments.push(line);
        } else {
            let (key, line) = ordered_labels(line);
            families.entry(current).or_default().series.entry(key).or_default().push(line);
        }
    }
    let mut out = String::with_capacity(text.len());
    for family in families.values() {
        for line in &family.comments {
            out.push_str(line);
            out.push('\n');
        }
        for line in family.series.values().flatten() {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The line with its labels sorted (`le` last), and those labels without `le` as the key of its series.
fn ordered_labels(line: &str) -> (String, String) {
    let Some((name, rest)) = line.split_once('{') else { return (String::new(), line.to_owned()) };
    let Some((labels, value)) = rest.rsplit_once('}') else { return (String::new(), line.to_owned()) };
    let mut pairs = split_labels(labels);
    pairs.sort_unstable_by_key(|pair| (pair.starts_with("le="), *pair));
    let key = pairs.iter().filter(|pair| !pair.starts_with("le=")).copied().collect::<Vec<_>>().join(",");
    (key, format!("{name}{{{}}}{value}", pairs.join(",")))
}

/// Splits at the commas that are not within quotes; a quote after a backslash does not end a value.
fn split_labels(labels: &str) -> Vec<&str> {
    let (mut pairs, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in labels.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                pairs.extend(labels.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    pairs.extend(labels.get(start..).filter(|pair| !pair.is_empty()));
    pairs
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a recorder of its own holds after `work`, without comments, zero buckets and zero counters: what moved.
    pub(crate) fn moved(work: impl FnOnce()) -> String {
        let (recorder, exporter) = recorder().unwrap();
        metrics::with_local_recorder(&recorder, work);
        let text = exporter.render();
        let kept = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket"));
        kept.filter(|line| !line.ends_with(" 0")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn families_series_and_labels_are_sorted_and_le_keeps_its_order() {
        let text = "# TYPE b counter\nb{z=\"1\",a=\"x\"} 2\nb{a=\"w,\\\"}\",z=\"9\"} 1\n\n# TYPE a histogram\n\
                    a_bucket{s=\"q\",le=\"2\"} 1\na_bucket{s=\"q\",le=\"10\"} 1\na_bucket{s=\"q\",le=\"+Inf\"} 1\n\
                    a_sum{s=\"q\"} 1\na_count{s=\"q\"} 1\na_bucket{s=\"c\",le=\"2\"} 0\n";
        insta::assert_snapshot!(sorted(text), @r#"
        # TYPE a histogram
        a_bucket{s="c",le="2"} 0
        a_bucket{s="q",le="2"} 1
        a_bucket{s="q",le="10"} 1
        a_bucket{s="q",le="+Inf"} 1
        a_sum{s="q"} 1
        a_count{s="q"} 1
        # TYPE b counter
        b{a="w,\"}",z="9"} 1
        b{a="x",z="1"} 2
        "#);
    }

    #[test]
    fn every_metric_is_there_before_anything_happened_and_twice_the_same() {
        let render = || {
            let (recorder, exporter) = recorder().unwrap();
            metrics::with_local_recorder(&recorder, metric::describe_and_preregister);
            exporter.render()
        };
        let text = render();
        assert_eq!(text, render());
        for metric in metric::ALL {
            let typed = format!("# TYPE {} {}\n", metric.name, metric.kind.name());
            // Gauges come with their first value.
            let there = text.contains(&typed);
            assert_eq!(there, metric.kind != Kind::Gauge || metric.name == metric::BUILD_INFO.name, "{}", metric.name);
        }
    }

    #[test]
    fn no_histogram_becomes_a_summary() {
        let (recorder, exporter) = recorder().unwrap();
        metrics::with_local_recorder(&recorder, metric::describe_and_preregister);
        let text = exporter.render();
        assert!(!text.contains(" summary"), "{text}");
        assert!(!text.contains("quantile="), "{text}");
    }

    #[test]
    fn upkeep_loses_nothing() {
        let (recorder, exporter) = recorder().unwrap();
        metrics::with_local_recorder(&recorder, || metric::RECONCILE_SECONDS.record(&[], 0.5));
        exporter.run_upkeep();
        metrics::with_local_recorder(&recorder, || metric::RECONCILE_SECONDS.record(&[], 0.25));
        assert!(exporter.render().contains("orch_reconcile_seconds_sum 0.75\n"));
    }
}
