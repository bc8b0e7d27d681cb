//! The orchestrator does not know that it is tested by breaking it: no word of it, and no feature for it. What a fault
//! can reach, the world can reach.

use super::Finding;
use super::tree::{File, Tree};

const WORD: &str = "chaos";
/// The harness exports its figures through the same table of metrics, so that one page describes them all.
const METRIC: &str = "orch_chaos_";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let is_orchestrator =
        |file: &&File| file.path.starts_with("orchestrator/src/") || file.path == "orchestrator/Cargo.toml";
    tree.files.iter().filter(is_orchestrator).flat_map(mentions).collect()
}

fn mentions(file: &File) -> Vec<Finding> {
    let may_name_metrics = file.path.starts_with("orchestrator/src/telemetry");
    let mentions = |line: &str| {
        let line = line.to_lowercase();
        if may_name_metrics { line.replace(METRIC, "") } else { line }.contains(WORD)
    };
    let lines = file.text.lines().enumerate().filter(|(_, line)| mentions(line));
    lines
        .map(|(index, _)| Finding::new(&file.path, index + 1, "the orchestrator must not mention its harness"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::check;

    #[test]
    fn every_mention_is_found_but_metric_names_in_telemetry() {
        let metric = "const A: &str = \"orch_chaos_runs_total\";\n";
        let files = [
            ("orchestrator/src/env/mod.rs", "\n/// Chaos enters here.\n"),
            ("orchestrator/src/telemetry/metric.rs", metric),
            ("orchestrator/src/telemetry/log.rs", "// orch_chaos_ and chaos\n"),
            ("orchestrator/src/cli/mod.rs", metric),
            ("orchestrator/Cargo.toml", "[features]\nchaos = []\n"),
            ("orchestrator/tests/main.rs", "// chaos\n"),
            ("chaos/src/lib.rs", "//! chaos\n"),
        ];
        assert_eq!(
            findings(check, &files),
            [
                "orchestrator/src/env/mod.rs:2",
                "orchestrator/src/telemetry/log.rs:1",
                "orchestrator/src/cli/mod.rs:1",
                "orchestrator/Cargo.toml:2",
            ]
        );
    }
}
