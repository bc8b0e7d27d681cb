//! S15: nothing that an agent is told, and no secret of its environment, is in the journal or in a line of the log.

use crate::check::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::signal::Entry;

/// What stands in a simulated project's CLAUDE.md, its environment and its brief, and nowhere else.
pub const SECRETS: [&str; 3] = ["The staging door opens with 4711.", "sk-simulated-9c1fe0a2b7", "Call it Quaggatron."];

/// The checker of S15.
#[derive(Debug, Default)]
pub(super) struct Discreet {
    tally: Tally,
}

impl Checker for Discreet {
    fn id(&self) -> &'static str {
        "S15"
    }

    fn title(&self) -> &'static str {
        "no secret, no brief and no CLAUDE.md is in the journal or in a log line"
    }

    fn observe(&mut self, entry: &Entry) {
        let line = serde_json::to_string(entry).unwrap_or_default();
        let found = SECRETS.iter().position(|secret| line.contains(secret));
        self.tally.check(found.is_none(), || {
            let what = found.and_then(|place| ["CLAUDE.md", "the environment", "the brief"].get(place).copied());
            format!("seq {}: it tells what stands in {}", entry.seq, what.unwrap_or_default())
        });
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        self.tally.verdict("nothing was ever told")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;
    use orchestrator::domain::signal::What;

    #[test]
    fn a_secret_anywhere_in_an_entry_fails() {
        assert_eq!(Past::new().running().is(Discreet::default()), Is::Pass);
        for secret in SECRETS {
            let reason = format!("git said: {secret}");
            let told = Past::new().fleet(What::TmuxLost { reason });
            assert_eq!(told.is(Discreet::default()), Is::Fail);
        }
    }
}
