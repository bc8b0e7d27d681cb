//! The checks of the house: `cargo ci tidy`, `cargo ci fast`, `cargo ci full`.
//!
//! What is run by hand and what is run by a hosted service is the same command, so that neither can pass alone.

mod steps;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

const USAGE: &str = "\
usage: cargo ci <tidy|fast|full>
  tidy  the rules that no compiler checks
  fast  format, tidy, clippy, tests
  full  fast, documentation and benchmarks build, 20,000 simulated seeds, the determinism gate, the planted bugs";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plan] = arguments.as_slice() else { return usage() };
    let outcome = root().and_then(|root| match plan.as_str() {
        "tidy" => tidy::run(&root).map(Some),
        "fast" => steps::run(&root, &[steps::FAST]).map(Some),
        "full" => steps::run(&root, &[steps::FAST, steps::FULL]).map(Some),
        _ => Ok(None),
    });
    match outcome {
        Ok(Some(true)) => ExitCode::SUCCESS,
        Ok(Some(false)) => ExitCode::FAILURE,
        Ok(None) => usage(),
        Err(error) => {
            eprintln!("ci: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// The workspace root: the folder above this crate's, as `cargo run` names it. It is not compiled in, so that a
/// checkout may be moved together with what was built in it.
fn root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("not started by cargo; use `cargo ci`")?;
    let root = Path::new(&manifest).parent().context("this crate lies in no workspace")?;
    Ok(root.to_owned())
}
