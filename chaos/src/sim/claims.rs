//! What clients put into the database of a simulated run, and what it says at the end.

use super::bank::Bank;
use crate::check::witnessed::SECRETS;
use crate::setting::Place;
use crate::truth::{Claims, ProjectRow};
use orchestrator::domain::id::RoleName;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::spec::{Hooks, RoleSpec, Spec};
use orchestrator::domain::state::{ProjectState, RoleState, SuspendReason};
use std::collections::BTreeMap;

/// What the database says, row by row and as a whole.
pub(super) fn of(bank: &mut Bank, policy: &Policy) -> Claims {
    let rows = bank.client.project_rows(None).unwrap_or_default();
    let breakers = rows.iter().map(|row| (row.id, row.breaker.clone())).collect();
    let audited = bank.client.audit(policy).map(|audited| {
        let wrong = audited.into_iter().filter(|one| one.violations > 0);
        wrong.map(|one| format!("{}: {} ({} times not)", one.id, one.holds, one.violations)).collect()
    });
    let projects = rows.into_iter().filter_map(row).collect();
    Claims { projects, differences: Some(Vec::new()), breakers, audited: audited.ok(), ..Claims::default() }
}

/// A project's row, unless it names a state that there is not.
fn row(row: orchestrator::store::ProjectRow) -> Option<ProjectRow> {
    let role =
        |role: &orchestrator::store::RoleRow| Some((RoleName(role.name.clone()), RoleState::from_name(&role.state)?));
    Some(ProjectRow {
        id: row.id,
        state: ProjectState::from_name(&row.state)?,
        reason: row.reason.as_deref().and_then(SuspendReason::from_name),
        roles: row.roles.iter().filter_map(role).collect(),
        worktrees: BTreeMap::new(),
    })
}

/// What a client asks for: the project of that number, with something in it that nobody may tell.
pub(super) fn spec(project: u32, roles: u32, place: Place) -> Spec {
    let role = |role: u32| RoleSpec {
        name: RoleName(format!("role-{role}")),
        command: vec!["agent".to_owned()],
        claude_md: format!("You are role {role}. {}\n", SECRETS[0]).into(),
        env: BTreeMap::from([("API_KEY".to_owned(), SECRETS[1].to_owned())]),
        progress: true,
        hooks: Hooks::None,
    };
    Spec {
        title: format!("project {project}"),
        repo: "/srv/app".to_owned(),
        base_sha: "f00d".to_owned(),
        brief: format!("Build it. {}\n", SECRETS[2]).into(),
        key: Some(format!("key-{project}")),
        priority: place.priority,
        batch: place.batch,
        roles: (0..roles).map(role).collect(),
        resources: Vec::new(),
    }
}
