//! What a start finds out about the time before it: the model of `orchestrator/src/runtime/past.rs`.
//!
//! Whether the database is an older one (C46) is told by two things: the mark beside it says how far its journal had
//! got, and the world is full of traces, live processes and the files that take standard error, which every incarnation
//! has of its own.

use super::bank::INSTALLATION;
use super::kernel::Process;
use super::world::World;
use orchestrator::domain::event::{Event, Trace};
use orchestrator::domain::id::ProjectId;
use orchestrator::store::{Store, StoreError};
use std::collections::BTreeMap;

impl World {
    /// What is to be decided before anything is watched, beside a reboot.
    ///
    /// # Errors
    /// If the database cannot be read, or the ids that are not to be given again not be written.
    pub(super) fn before(&self, store: &mut Store) -> Result<Vec<Event>, StoreError> {
        let mut first = Vec::new();
        let has = store.last_seq()?;
        first.extend(self.mark.filter(|had| has < *had).map(|had| Event::Restored { had, has }));
        let known = store.epochs()?;
        let mut found = self.traces();
        found.retain(|trace| known.get(&trace.slug).is_none_or(|epoch| trace.epoch > *epoch));
        let unknown = found.iter().filter(|trace| !known.contains_key(&trace.slug));
        let id = |trace: &Trace| trace.slug.strip_prefix('p')?.split('-').next()?.parse().ok();
        if let Some(last) = unknown.filter_map(id).max() {
            store.skip_ids(ProjectId(last))?;
        }
        if !found.is_empty() {
            first.push(Event::Traced(found));
        }
        Ok(first)
    }

    /// Live processes that carry a mark, and of each project the newest file of standard error.
    fn traces(&self) -> Vec<Trace> {
        let of = |project: ProjectId| format!("p{project}-{INSTALLATION}");
        let process = |process: &Process| {
            let mark = process.mark.as_ref()?;
            let epoch = self.agents.get(self.agent_with(&mark.token)?)?.incarnation.epoch;
            let slug = of(mark.project);
            let what = format!("process {} of {slug}, epoch {epoch},", process.id.pid);
            Some(Trace { slug, epoch, token: Some(mark.token.clone()), what })
        };
        let mut newest = BTreeMap::new();
        for agent in &self.agents {
            let is = &agent.incarnation;
            let known = newest.entry(is.project).or_insert((is.epoch, &is.role));
            if is.epoch > known.0 {
                *known = (is.epoch, &is.role);
            }
        }
        let file = |(project, (epoch, role))| {
            let slug = of(project);
            let what = format!("the file logs/{slug}/{role}.e{epoch}.stderr");
            Trace { slug, epoch, token: None, what }
        };
        self.kernel.processes().filter_map(process).chain(newest.into_iter().map(file)).collect()
    }
}
