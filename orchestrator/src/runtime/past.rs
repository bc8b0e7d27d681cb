//! What a start finds out about the time before it: whether the machine was rebooted, for how long nobody looked, and
//! whether the database is the one that was there.

use super::mark::Mark;
use super::serve::ServeError;
use crate::config::Home;
use crate::domain::event::{Event, Trace};
use crate::domain::fleet::Fleet;
use crate::domain::id::{Epoch, ProjectId};
use crate::domain::limits;
use crate::domain::project::{Project, Role};
use crate::domain::state::RoleState;
use crate::domain::time::Timestamp;
use crate::env::clock::{self, Timeline};
use crate::env::{leftovers, traces};
use crate::store::{Store, StoreError};
use std::collections::BTreeSet;

/// What it found.
pub(super) struct Past {
    /// What is to be decided before anything is watched.
    pub(super) first: Vec<Event>,
    /// When the last holder renewed its lease.
    pub(super) renewed: Option<Timestamp>,
    /// How far the journal got, as it is kept from here on.
    pub(super) mark: Mark,
}

impl Past {
    /// Looks at the database, the mark beside it and the world. Writes nothing but which ids are not given again.
    ///
    /// # Errors
    /// If the database is another installation's, or cannot be read.
    pub(super) fn find(home: &Home, store: &mut Store, timeline: &Timeline) -> Result<Self, ServeError> {
        let installation = store.installation()?.unwrap_or_default();
        let has = store.last_seq()?;
        let mut first = Vec::new();
        if store.anchor()?.is_some_and(|anchor| anchor.boot_id != timeline.boot_id()) {
            first.push(Event::Rebooted);
        }
        if let Some(mark) = Mark::read(home.dir()) {
            if mark.installation != installation {
                let why = format!(
                    "it is of installation {installation}, and {} was served here; put its own back, or remove \
                     journal.json if this is meant",
                    mark.installation
                );
                return Err(ServeError::Environment { what: "trust the database", why });
            }
            if has < mark.seq {
                first.push(Event::Restored { had: mark.seq, has });
            }
        }
        let newer = newer(home, store, &installation)?;
        if !newer.is_empty() {
            first.push(Event::Traced(newer));
        }
        let renewed = store.lease()?.map(|lease| lease.renewed);
        // The mark is written once what it says is dealt with.
        Ok(Self { first, renewed, mark: Mark { installation, seq: crate::domain::id::Seq(0) } })
    }
}

/// Traces of incarnations that the database does not know.
fn newer(home: &Home, store: &mut Store, installation: &str) -> Result<Vec<Trace>, StoreError> {
    let known = store.epochs()?;
    let told = |found: std::io::Result<Vec<Trace>>| {
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "whether there are agents that the database does not know cannot be looked up");
            Vec::new()
        })
    };
    let mut found = told(traces::of_processes(&home.spool(), installation));
    found.extend(told(traces::of_logs(&home.logs())));
    found.retain(|trace| known.get(&trace.slug).is_none_or(|epoch| trace.epoch > *epoch));
    let unknown = found.iter().filter(|trace| !known.contains_key(&trace.slug));
    let id = |trace: &Trace| trace.slug.strip_prefix('p')?.split('-').next()?.parse().ok();
    if let Some(last) = unknown.filter_map(id).max() {
        store.skip_ids(ProjectId(last))?;
    }
    Ok(found)
}

/// What clears what agents that are over have left in the installation; it blocks. What cannot be cleared is told of and
/// left. Which manifests are over is decided now, not when it runs: by then others may have been written.
pub(super) fn clear(home: &Home, fleet: &Fleet) -> impl FnOnce() + Send + 'static + use<> {
    let awaited = |project: &str, role: &str, epoch: Epoch| {
        let project = project.parse().ok().and_then(|id| fleet.project(ProjectId(id)));
        // Also with its process known: the launcher may not have come to read it.
        let waits = |it: &Role| it.name.0 == role && it.epoch == epoch && it.state() == RoleState::Starting;
        project.is_some_and(|project| project.roles.iter().any(waits))
    };
    let manifests = leftovers::manifests(&home.run_dir().join("launch"), awaited);
    let known = |project: &Project| {
        let of = |role: &Role| (project.slug.clone(), role.name.0.clone(), role.epoch);
        project.roles.iter().map(of).collect::<Vec<_>>()
    };
    let known: BTreeSet<_> = fleet.projects().flat_map(known).collect();
    let lives = move |slug: &str, role: &str, epoch: Epoch| known.contains(&(slug.to_owned(), role.to_owned(), epoch));
    let kept = i64::try_from(limits::STDERR_KEPT.0 / 1_000_000).unwrap_or(i64::MAX);
    let before = (clock::wall_us() / 1_000_000).saturating_sub(kept);
    let logs = home.logs();
    move || {
        told("manifests of launches that are over", manifests.and_then(|files| leftovers::remove(&files)));
        told("old files of standard error", leftovers::stderr_files(&logs, before, lives));
    }
}

fn told(what: &str, cleared: std::io::Result<u32>) {
    match cleared {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "{what} were cleared"),
        Err(error) => tracing::warn!(%error, "not all {what} can be cleared"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{EffectId, RoleName};
    use crate::domain::limits::Policy;
    use crate::domain::spec::Spec;
    use crate::domain::state::ProjectState;
    use std::sync::Arc;

    #[test]
    fn a_manifest_is_kept_while_its_role_is_starting() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::init(&dir.path().join("home")).expect("made");
        let folder = home.run_dir().join("launch");
        std::fs::create_dir_all(&folder).expect("made");
        let role = |name: &str, state| {
            let process = Some(crate::domain::id::ProcessId { pid: 7, start: 7 });
            let mut role = Role::restored(RoleName(name.to_owned()), state);
            (role.process, role.epoch) = (process, Epoch(1));
            role
        };
        let roles = vec![role("starting", RoleState::Starting), role("working", RoleState::Working)];
        let mut fleet = Fleet::new(Policy::default(), EffectId(1));
        let spec = Spec::plain(Vec::new());
        let (spec, slug) = (Arc::new(spec), "p1-t".to_owned());
        fleet.put(Project::restored(ProjectId(1), spec, slug, ProjectState::Launching, Timestamp(0), roles));
        let write = |role: &str| std::fs::write(folder.join(format!("1.{role}.e1.json")), "{}").expect("written");
        ["starting", "working"].into_iter().for_each(write);
        let clear = clear(&home, &fleet);
        // As of a launch that is ordered meanwhile.
        write("later");
        clear();
        let left = |role: &str| folder.join(format!("1.{role}.e1.json")).exists();
        assert_eq!(["starting", "working", "later"].map(left), [true, false, true]);
    }
}
