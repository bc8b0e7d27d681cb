//! The steps of the checks, as data, and how they are run: in order, each named and timed, ending at the first failure.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::tidy;

/// One step.
pub(crate) struct Step {
    name: &'static str,
    work: Work,
}

enum Work {
    /// The rules of this crate.
    Tidy,
    /// A cargo command: its variables, and its arguments.
    Cargo(&'static [(&'static str, &'static str)], &'static [&'static str]),
}

/// What is checked before every commit.
pub(crate) const FAST: &[Step] = &[
    Step { name: "fmt", work: Work::Cargo(&[], &["fmt", "--all", "--check"]) },
    Step { name: "tidy", work: Work::Tidy },
    Step {
        name: "clippy",
        work: Work::Cargo(&[], &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    // A snapshot that differs must fail here and leave nothing behind, whatever the developer's own setting.
    Step { name: "test", work: Work::Cargo(&[("INSTA_UPDATE", "no")], &["test", "--quiet", "--workspace"]) },
];

/// What is checked besides before a merge.
pub(crate) const FULL: &[Step] = &[
    Step {
        name: "doc",
        work: Work::Cargo(&[("RUSTDOCFLAGS", "-D warnings")], &["doc", "--quiet", "--workspace", "--no-deps"]),
    },
    Step { name: "benches", work: Work::Cargo(&[], &["bench", "--quiet", "-p", "benches", "--no-run"]) },
    // More than a year of virtual operation under every checker; the seeds are fixed, so that a red run is red for everybody.
    Step { name: "simulate", work: Work::Cargo(&[], &simulated(["--seeds", "0..20000"])) },
    Step { name: "determinism", work: Work::Cargo(&[], &simulated(["--seeds=0..1000", "--check-determinism"])) },
    // With the shrinking, which takes too long for a test in a debug build.
    Step { name: "planted", work: Work::Cargo(&[], &HARNESS) },
];

/// `orch-chaos planted`.
const HARNESS: [&str; 9] = ["run", "--quiet", "--release", "-p", "chaos", "--bin", "orch-chaos", "--", "planted"];

/// `orch-chaos run --mode sim` with two more arguments.
const fn simulated(more: [&'static str; 2]) -> [&'static str; 13] {
    let [one, two] = more;
    ["run", "--quiet", "--release", "-p", "chaos", "--bin", "orch-chaos", "--", "run", "--mode", "sim", one, two]
}

/// Runs the steps of `plans` at `root`; says whether all of them passed.
pub(crate) fn run(root: &Path, plans: &[&[Step]]) -> Result<bool> {
    run_each(plans, |work| work.run(root))
}

fn run_each(plans: &[&[Step]], mut perform: impl FnMut(&Work) -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    for step in plans.iter().copied().flatten() {
        let start = Instant::now();
        println!("{}: started", step.name);
        let passed = perform(&step.work).with_context(|| format!("failed to run step {}", step.name))?;
        let seconds = start.elapsed().as_secs_f64();
        if !passed {
            println!("{}: FAILED after {seconds:.1} s; to repeat it: {}", step.name, step.work.command());
            return Ok(false);
        }
        println!("{}: passed, {seconds:.1} s", step.name);
    }
    println!("all passed, {:.1} s", start.elapsed().as_secs_f64());
    Ok(true)
}

impl Work {
    fn run(&self, root: &Path) -> Result<bool> {
        match self {
            Self::Tidy => tidy::run(root),
            Self::Cargo(variables, arguments) => {
                let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                let mut command = Command::new(cargo);
                command.args(*arguments).envs(variables.iter().copied()).current_dir(root);
                Ok(command.status().context("failed to start cargo")?.success())
            }
        }
    }

    /// What to type to run this step alone.
    fn command(&self) -> String {
        match self {
            Self::Tidy => "cargo ci tidy".to_owned(),
            Self::Cargo(variables, arguments) => {
                let variables = variables.iter().map(|(name, value)| format!("{name}='{value}' "));
                format!("{}cargo {}", variables.collect::<String>(), arguments.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_repeat_a_step_carries_its_variables() {
        let doc = FULL.iter().find(|step| step.name == "doc").expect("full builds the documentation");
        assert_eq!(doc.work.command(), "RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps");
    }

    #[test]
    fn the_first_failing_step_ends_the_run() {
        let mut ran = Vec::new();
        let passed = run_each(&[FAST, FULL], |work| {
            ran.push(work.command());
            Ok(ran.len() < 2)
        });
        assert!(!passed.expect("no step broke"));
        assert_eq!(ran, ["cargo fmt --all --check", "cargo ci tidy"]);
    }

    #[test]
    fn full_is_every_step() {
        let mut count = 0;
        let passed = run_each(&[FAST, FULL], |_| {
            count += 1;
            Ok(true)
        });
        assert!(passed.expect("no step broke"));
        assert_eq!(count, FAST.len() + FULL.len());
    }
}
