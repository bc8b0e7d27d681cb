//! Bugs in whom an orchestrator takes for its own: others are ended for a name, a pattern or a number.

use super::bend::{Bend, Of, Turn};
use super::known::Known;
use crate::sim::world::World;
use orchestrator::domain::effect::{Effect, Ordered};
use orchestrator::domain::event::{Event, Happened};
use orchestrator::domain::id::{ProcessId, Token};
use orchestrator::domain::project::Project;
use std::collections::BTreeSet;

/// Sessions are ended by the beginning of their name, as `-t NAME` without `=` takes it (T5).
pub(super) struct EndsByPrefix;

impl Bend for EndsByPrefix {
    fn submit(&mut self, world: &mut World, _: usize, ordered: Ordered) -> Vec<Ordered> {
        if let Effect::EndSession { session, .. } = &ordered.effect {
            end_sessions(world, |name, _| name != session && name.starts_with(session.as_str()));
        }
        vec![ordered]
    }
}

/// A session with a mark that no row knows is taken for a leftover, and ended.
#[derive(Default)]
pub(super) struct EndsStrays {
    known: BTreeSet<Token>,
}

impl Bend for EndsStrays {
    fn watch(&mut self, project: &Project) {
        self.known.extend(project.session.as_ref().map(|session| session.token.clone()));
    }

    fn submit(&mut self, world: &mut World, _: usize, ordered: Ordered) -> Vec<Ordered> {
        if ordered.effect == Effect::ListPanes {
            end_sessions(world, |_, token| token.is_some_and(|token| !self.known.contains(token)));
        }
        vec![ordered]
    }
}

fn end_sessions(world: &mut World, which: impl Fn(&str, Option<&Token>) -> bool) {
    let found = world.server.iter().flat_map(|server| server.sessions());
    let found = found.filter(|(name, session)| which(name, session.token.as_ref()));
    let names: Vec<String> = found.map(|(name, _)| name.clone()).collect();
    for name in names {
        world.session_ends(&name);
    }
}

/// What is left of an agent is ended by its number, whoever has that now.
#[derive(Default)]
pub(super) struct EndsByNumber {
    had: BTreeSet<ProcessId>,
}

impl Bend for EndsByNumber {
    fn watch(&mut self, project: &Project) {
        self.had.extend(project.roles.iter().filter_map(|role| role.process));
    }

    fn submit(&mut self, world: &mut World, _: usize, ordered: Ordered) -> Vec<Ordered> {
        if let Effect::EndRemains { .. } | Effect::EndSession { .. } = ordered.effect {
            let others = self.had.iter().filter_map(|had| world.kernel.identify(had.pid).filter(|now| now != had));
            for other in others.collect::<Vec<_>>() {
                world.end(other, None, Some(9));
            }
        }
        vec![ordered]
    }
}

/// A session is its name, or a pane its number, as with `-t =NAME` and `-t %N` (T6): whoever's that is by now.
pub(super) struct NoMark(pub(super) Of);

impl Bend for NoMark {
    fn asks_for_the_mark(&self, of: Of) -> bool {
        of != self.0
    }
}

/// The end of a process counts as the end of whoever has its role now.
#[derive(Default)]
pub(super) struct EndsByRole {
    known: Known,
}

impl Bend for EndsByRole {
    fn watch(&mut self, project: &Project) {
        self.known.learn(project);
    }

    fn turned(&mut self, _: &World, _: Turn, mut happened: Vec<Happened>) -> Vec<Happened> {
        for heard in &mut happened {
            if let Event::ProcessGone { project, role, process } = &mut heard.event
                && let Some(now) = self.known.project(*project).and_then(|project| project.role(role)?.process)
            {
                *process = now;
            }
        }
        happened
    }
}
