//! Bugs in how the records are taken through which agents report.

use super::bend::Bend;
use super::known::Known;
use crate::sim::world::World;
use orchestrator::domain::event::{Event, Report};
use orchestrator::domain::project::Project;
use orchestrator::domain::time::Span;
use orchestrator::env::SpoolItem;

/// Records are taken from the spool before anything of them is committed.
#[derive(Default)]
pub(super) struct TakesEarly;

impl Bend for TakesEarly {
    fn drained(&mut self, world: &mut World, items: Vec<SpoolItem>) -> Vec<SpoolItem> {
        for item in &items {
            world.spool.remove(&item.name);
        }
        items
    }
}

/// Records come late, and whoever wrote them counts as whoever is there now.
#[derive(Default)]
pub(super) struct TrustsAnyone {
    known: Known,
    held: Vec<SpoolItem>,
}

impl Bend for TrustsAnyone {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn drained(&mut self, world: &mut World, items: Vec<SpoolItem>) -> Vec<SpoolItem> {
        for item in items {
            world.spool.remove(&item.name);
            self.held.push(item);
        }
        let at = world.now();
        let due = |item: &SpoolItem| {
            let done = matches!(item.happened.event, Event::Reported { report: Report::Done(_), .. });
            !done || at.since(item.happened.seen_at) > Span::from_secs(20)
        };
        let (mut out, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held).into_iter().partition(due);
        self.held = kept;
        for item in &mut out {
            if let Event::Reported { project, role, epoch, token, .. } = &mut item.happened.event
                && let Some(role) = self.known.project(*project).and_then(|project| project.role(role))
                && let Some(now) = &role.token
            {
                (*epoch, *token) = (role.epoch, now.clone());
            }
        }
        out
    }
}
