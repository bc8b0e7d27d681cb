//! Trace context: what ties log lines, the agents' own spans and reports of one project together. Pure.
//!
//! Ids derive from the installation's mark, so that every program that knows it (the event log, the launcher, `orch
//! show`) says the same ids without having to remember any.

use super::id::{Epoch, ProjectId};
use sha2::{Digest, Sha256};

/// The trace of a project: everything that happens to it, over every incarnation and restart.
#[must_use]
pub fn trace_id(installation: &str, project: ProjectId) -> String {
    hex(format!("orch trace {installation} {project}").as_bytes(), 16)
}

/// The span of one incarnation of a project.
#[must_use]
pub fn span_id(installation: &str, project: ProjectId, epoch: Epoch) -> String {
    hex(format!("orch span {installation} {project} {epoch}").as_bytes(), 8)
}

/// What an agent of that incarnation gets as TRACEPARENT (W3C trace context, sampled).
#[must_use]
pub fn traceparent(installation: &str, project: ProjectId, epoch: Epoch) -> String {
    format!("00-{}-{}-01", trace_id(installation, project), span_id(installation, project, epoch))
}

fn hex(text: &[u8], bytes: usize) -> String {
    Sha256::digest(text).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_context_is_stable_and_well_formed() {
        let parent = traceparent("ab12", ProjectId(7), Epoch(2));
        insta::assert_snapshot!(parent, @"00-48efc7f83adeb45a18e72fe24734ec1e-ef821bffcafa50b5-01");
        assert_ne!(trace_id("ab12", ProjectId(7)), trace_id("ab13", ProjectId(7)));
        assert_ne!(span_id("ab12", ProjectId(7), Epoch(1)), span_id("ab12", ProjectId(7), Epoch(2)));
    }
}
