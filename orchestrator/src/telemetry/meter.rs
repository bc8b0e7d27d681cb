//! Measurements that the journal does not hold: how long the orchestrator's own work took.
//!
//! They start at zero with every process, which is what a Prometheus counter is allowed to do; everything that says
//! something about projects is in [`super::fold`] instead and goes on over a restart.

use super::metric;
use crate::domain::failure::{Ending, Failure, Program};
use crate::domain::time::{Span, WallTime};

/// A kind of transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A turn of the loop.
    Commit,
    /// A project accepted.
    Enqueue,
    /// A single entry of the journal.
    Journal,
    /// Reading.
    Read,
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Enqueue => "enqueue",
            Self::Journal => "journal",
            Self::Read => "read",
        }
    }
}

/// A program's label, if it is one; the orchestrator's own operations are no subprocess.
pub(super) fn program(program: Program) -> Option<&'static str> {
    match program {
        Program::Tmux => Some("tmux"),
        Program::Git => Some("git"),
        Program::Agent => Some("agent"),
        Program::Orch => None,
    }
}

/// A program that was run has ended well.
pub fn subprocess_ok(which: Program, duration: Span) {
    if let Some(name) = program(which) {
        metric::SUBPROCESS_RUNS.count(&[name, "ok"]);
        metric::SUBPROCESS_SECONDS.record(&[name], duration.as_secs_f64());
    }
}

/// A program that was run has failed.
pub fn subprocess_failed(failure: &Failure) {
    if let Some(name) = program(failure.program) {
        metric::SUBPROCESS_RUNS.count(&[name, outcome(&failure.ending)]);
        metric::SUBPROCESS_SECONDS.record(&[name], failure.duration.as_secs_f64());
    }
}

/// A transaction has ended.
pub fn transaction(op: Op, duration: Span) {
    metric::DB_TRANSACTION_SECONDS.record(&[op.name()], duration.as_secs_f64());
}

/// A transaction did not get the lock in time.
pub fn database_busy(op: Op) {
    metric::DB_BUSY.count(&[op.name()]);
}

/// A session could not be begun because its intent could not be written: the one outcome that the journal cannot
/// hold, since it is the journal that failed.
pub fn session_create_db_error() {
    metric::SESSION_CREATE_ATTEMPTS.count(&["db_error"]);
}

/// The world was compared with the database as a whole.
pub fn reconciled(duration: Span, wall: WallTime) {
    metric::RECONCILE_SECONDS.record(&[], duration.as_secs_f64());
    metric::RECONCILE_LAST_SUCCESS.set(&[], wall.0 as f64 / 1_000_000.0);
}

/// File events were lost on their way; everything is looked at instead.
pub fn file_events_lost() {
    metric::EVENTS_DROPPED.count(&["inotify"]);
}

fn outcome(ending: &Ending) -> &'static str {
    match ending {
        Ending::Code(_) | Ending::Lost(_) | Ending::Reason(_) => "exit",
        Ending::Signal(_) => "signal",
        Ending::NotStarted(_) => "spawn_error",
        Ending::DeadlinePassed(_) => "timeout",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::{FailureKind, Stage};
    use crate::telemetry::export::tests::moved;

    #[test]
    fn every_measurement_moves_its_metric() {
        let mut failure =
            Failure::of_operation(Stage::Launch, FailureKind::SubprocessFailed, vec!["tmux".into()], "no server");
        failure.program = Program::Tmux;
        let told = moved(|| {
            subprocess_ok(Program::Git, Span::from_millis(20));
            subprocess_failed(&failure);
            failure.ending = Ending::Signal(9);
            subprocess_failed(&failure);
            transaction(Op::Commit, Span::from_millis(1));
            database_busy(Op::Enqueue);
            session_create_db_error();
            reconciled(Span::from_millis(7), WallTime(1_700_000_000_000_000));
            file_events_lost();
            // What is no program counts nowhere.
            subprocess_ok(Program::Orch, Span(1));
        });
        insta::assert_snapshot!(told, @r#"
        orch_db_busy_total{op="enqueue"} 1
        orch_db_transaction_seconds_sum{op="commit"} 0.001
        orch_db_transaction_seconds_count{op="commit"} 1
        orch_events_dropped_total{reason="inotify"} 1
        orch_reconcile_last_success_timestamp_seconds 1700000000
        orch_reconcile_seconds_sum 0.007
        orch_reconcile_seconds_count 1
        orch_session_create_attempts_total{outcome="db_error"} 1
        orch_subprocess_runs_total{outcome="exit",program="tmux"} 1
        orch_subprocess_runs_total{outcome="ok",program="git"} 1
        orch_subprocess_runs_total{outcome="signal",program="tmux"} 1
        orch_subprocess_seconds_sum{program="git"} 0.02
        orch_subprocess_seconds_count{program="git"} 1
        orch_subprocess_seconds_count{program="tmux"} 2
        "#);
    }
}
