//! What of a run is kept for its report: what became of each fault, and how long agents lived.

use super::deed::{Deed, Target};
use super::heap::Tick;
use super::run::Sim;
use crate::schedule::Planned;
use crate::truth::Injection;
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::time::Timestamp;

/// How many agents live, and since when so many do.
#[derive(Debug, Default)]
pub(super) struct Alive {
    agents: u64,
    since: Tick,
}

impl Sim {
    /// Keeps what a fact says of faults and agents.
    pub(super) fn traced(&mut self, told: &Witnessed) {
        if let Fact::Injected { id } = told.fact {
            self.took_effect(id, told.at);
        } else if let Fact::AgentBorn { .. } = told.fact {
            self.lived();
            self.alive.agents += 1;
        } else if let Fact::AgentGone { .. } = told.fact {
            self.lived();
            self.alive.agents = self.alive.agents.saturating_sub(1);
        }
    }

    /// Why the simulation cannot go on. What came first is the reason; what follows from it is not.
    pub(super) fn breaks(&mut self, why: String) {
        self.outcome.broke.get_or_insert(why);
    }

    /// Adds the time that agents have lived up to now.
    pub(super) fn lived(&mut self) {
        let now = self.world.borrow().at;
        let since = std::mem::replace(&mut self.alive.since, now);
        self.outcome.agent_us += self.alive.agents * now.saturating_sub(since);
    }

    /// Notes that a fault's time has come.
    pub(super) fn tried(&mut self, planned: &Planned, target: Option<&Target>) {
        let why = if target.is_some() { "what it waits for never came" } else { "its project was never accepted" };
        self.outcome.injections.push(Injection {
            id: planned.id,
            kind: planned.kind,
            victim: planned.params.victim,
            project: target.map(|target| target.project),
            role: planned.role.and(target).map(|target| target.role.clone()),
            injected_at: Some(self.world.borrow().now()),
            probe: Err(why.to_owned()),
        });
    }

    /// What a fault does to the world. Its word is not taken for it (M3): of what hurts a project something must be
    /// witnessed at once.
    pub(super) fn deed(&self, planned: &Planned, target: &Target) -> Deed {
        let mut world = self.world.borrow_mut();
        let before = world.facts.len();
        let deed = world.inject(planned, target);
        let boasts = world.bend.as_ref().is_some_and(|bend| bend.borrow().boasts());
        let deed = if boasts && matches!(deed, Deed::Nothing(_)) { Deed::Done } else { deed };
        let hurts = planned.kind.due(planned.params.victim).is_some();
        if deed == Deed::Done && hurts && world.facts.len() == before {
            return Deed::Nothing("it was said to be done, and nothing of it was witnessed");
        }
        deed
    }

    /// The fault that was tried last had nothing to break.
    pub(super) fn came_to_nothing(&mut self, why: &str) {
        if let Some(last) = self.outcome.injections.last_mut() {
            last.probe = Err(why.to_owned());
        }
    }

    /// A fault took effect. However often it is said to, it counts once: M1 holds what took effect against what was
    /// tried.
    fn took_effect(&mut self, id: u32, at: Timestamp) {
        let is = |tried: &&mut Injection| tried.id == id && tried.probe.is_err();
        let Some(tried) = self.outcome.injections.iter_mut().find(is) else { return };
        (tried.probe, tried.injected_at) = (Ok(()), Some(at));
        *self.outcome.confirmed.entry(tried.kind).or_insert(0) += 1;
        self.cover.injected(tried.kind, tried.project);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::sim::{draw, replay};

    #[test]
    fn the_first_reason_stands() {
        let (duration_ms, one) = (Some(4_000), Some(1));
        let request = draw::Request { seed: Seed(0), duration_ms, projects: one, roles: one, kinds: Vec::new() };
        let mut sim = Sim::new(replay::plan(&draw::draw(&request), None)).expect("a world");
        sim.breaks("the disk".to_owned());
        sim.breaks("what follows from it".to_owned());
        assert_eq!(sim.outcome.broke.as_deref(), Some("the disk"));
    }
}
