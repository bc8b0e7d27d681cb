//! A second orchestrator that is started while the first holds the lock: it must come to nothing (G10).

use super::host::Host;
use super::run::Sim;
use crate::witness::Fact;
use orchestrator::runtime::ServeError;

impl Sim {
    /// One more is started beside whoever holds the lock; true if it was refused.
    pub(super) fn second(&mut self) -> bool {
        if self.world.borrow().holder().is_none() {
            self.came_to_nothing("nobody holds the lock");
            return false;
        }
        let changed = self.bank.watch();
        let started = Host::start(&self.world, &self.bank, &self.gate, self.plan.policy.clone());
        let refused = matches!(started, Err(ServeError::Held { .. }));
        if let Ok(mut host) = started {
            host.plan();
            self.hosts.push(host);
        }
        match changed.and_then(|changed| changed()) {
            Ok(wrote) => self.world.borrow_mut().witness(Fact::Second { refused, wrote }),
            Err(why) => self.outcome.broke = Some(format!("the database cannot be watched: {why}")),
        }
        refused
    }
}
