//! Progress: what a project's state demands and it does not have yet is ordered.

use super::death;
use super::draft::Draft;
use super::fault;
use super::sight;
use crate::domain::effect::{Effect, FileToWrite, Launch, RoleLook, Way};
use crate::domain::event::LeftAlone;
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::id::Epoch;
use crate::domain::project::{Project, Role, SessionIs, SessionRef, Worktree};
use crate::domain::signal::What;
use crate::domain::silence::Vigil;
use crate::domain::spec::{Hooks, RoleSpec};
use crate::domain::state::{ProjectEvent, ProjectState, RoleEvent, RoleState};
use crate::validate::{brief, hooks, judge};

/// Orders whatever the project's state demands and it lacks, and moves it on where it lacks nothing.
pub(super) fn advance(draft: &mut Draft<'_, '_>) {
    // Every pass but the last moves the project one state on, so this ends; the bound only states it.
    for _ in 0..ProjectState::ALL.len() {
        // To brief takes nothing but the connection that is there.
        if draft.p.state() != ProjectState::Briefing && sight::pauses(draft) {
            return;
        }
        let moved = match draft.p.state() {
            ProjectState::Provisioning => provision(draft),
            ProjectState::Launching => launch(draft),
            ProjectState::Briefing => hand_briefs(draft),
            ProjectState::Running => certify(draft),
            ProjectState::Completed | ProjectState::Failed | ProjectState::Cancelled => take_down(draft),
            ProjectState::Queued | ProjectState::Recovering | ProjectState::Suspended => false,
        };
        if !moved {
            return;
        }
    }
}

/// Worktrees, files, and proof that nothing older is left; then everything is looked at once more.
fn provision(draft: &mut Draft<'_, '_>) -> bool {
    if draft.p.busy.is_some() || draft.p.roles.iter().any(Role::is_acted_on) {
        return false;
    }
    if !draft.p.preflighted {
        let spec = draft.p.spec.clone();
        let programs = spec.roles.iter().filter_map(|role| role.command.first().cloned()).collect();
        draft.order(Effect::Preflight { repo: spec.repo.clone(), base_sha: spec.base_sha.clone(), programs });
        return false;
    }
    if !draft.p.stale.is_empty() {
        if !draft.tmux_answers() {
            return false;
        }
        let tokens = draft.p.stale.clone();
        // Who is left of an older incarnation may still write: nothing is moved, made or branched off before they are
        // proved gone (G5, T11).
        draft.order(Effect::EndRemains { tokens });
        return false;
    }
    let mut ordered = false;
    for index in 0..draft.p.roles.len() {
        ordered |= provision_role(draft, index);
    }
    if ordered || draft.p.looking.is_some() {
        return false;
    }
    if !draft.p.verified {
        let roles = looks(&draft.p);
        draft.order_look(None, Effect::Look { roles });
        return false;
    }
    draft.step(ProjectEvent::Provisioned, None)
}

/// One role's worktree, then its files. True if something was ordered.
fn provision_role(draft: &mut Draft<'_, '_>, index: usize) -> bool {
    let epoch = draft.p.epoch.next();
    let Some(role) = draft.p.roles.get(index) else { return false };
    let Some(spec) = draft.p.role_spec(index).cloned() else { return false };
    if !role.has_worktree() {
        let (path, branch) = worktree_names(&draft.p, role, epoch);
        // An earlier branch of the role holds its work: the new one starts there, so that nothing is lost.
        let base = match &role.worktree {
            Some(old) if old.branch != branch => old.branch.clone(),
            Some(_) | None => draft.p.spec.base_sha.clone(),
        };
        let park = park_folder(&draft.p, role);
        let repo = draft.p.spec.repo.clone();
        if let Some(role) = draft.p.roles.get_mut(index) {
            role.worktree = Some(Worktree { path: path.clone(), branch: branch.clone(), ready: false });
            role.claude_md = None;
        }
        draft.order_role(index, Effect::EnsureWorktree { repo, path, branch, base, park });
        return true;
    }
    if role.claude_md.is_none() {
        let effect = ensure_files(&draft.p, role, &spec);
        draft.order_role(index, effect);
        return true;
    }
    false
}

fn worktree_names(project: &Project, role: &Role, epoch: Epoch) -> (String, String) {
    match &role.worktree {
        // Asked for in this epoch already, outcome unknown: the same names again (C06, C07).
        Some(asked) if asked.branch.ends_with(&format!("/e{epoch}")) => (asked.path.clone(), asked.branch.clone()),
        Some(_) | None => (
            format!("worktrees/{}/{}/e{epoch}", project.slug, role.name),
            format!("orch/{}/{}/e{epoch}", project.slug, role.name),
        ),
    }
}

/// The files that a role's worktree gets, CLAUDE.md first.
fn ensure_files(project: &Project, role: &Role, spec: &RoleSpec) -> Effect {
    let brief = brief::brief_file(&project.spec, spec, project.id);
    let file = |path: &str, way, content| FileToWrite { path: path.to_owned(), way, content };
    let mut files = vec![
        file(judge::CLAUDE_MD_PATH, Way::Exact, spec.claude_md.clone()),
        file(brief::IGNORE_PATH, Way::Exact, brief::IGNORE_CONTENT.into()),
        file(brief::BRIEF_PATH, Way::Exact, brief.into()),
    ];
    if spec.hooks == Hooks::Claude {
        // Ignored before it is there, so that git never shows it.
        files.push(file(hooks::IGNORE_PATH, Way::IfMissing, hooks::IGNORE_CONTENT.into()));
        files.push(file(hooks::SETTINGS_PATH, Way::MergeHooks, hooks::settings().into()));
    }
    Effect::EnsureFiles {
        worktree: role.worktree.as_ref().map(|worktree| worktree.path.clone()).unwrap_or_default(),
        files,
        park: park_folder(project, role),
    }
}

/// Where what stands in a role's way is kept, relative to the installation.
fn park_folder(project: &Project, role: &Role) -> String {
    format!("backups/parked/{}/{}", project.slug, role.name)
}

/// Hooks are an addition, no resource: a settings file that they cannot be added to stops nothing, and is told.
pub(super) fn tell_left_alone(draft: &mut Draft<'_, '_>, index: usize, left: &[LeftAlone]) {
    for LeftAlone { path, why } in left {
        let what = vec!["hooks".to_owned(), path.clone()];
        let mut failure = Failure::of_operation(draft.p.stage(), FailureKind::Io, what, why.clone());
        failure.hint = Some("the file is left alone; put it right, or set hooks = \"none\" for the role".to_owned());
        draft.tell_role(index, What::OperationFailed { failure: Box::new(failure) });
    }
}

/// What to look at for every role that has a worktree.
pub(super) fn looks(project: &Project) -> Vec<RoleLook> {
    (0..project.roles.len()).filter_map(|index| look(project, index)).collect()
}

/// What to look at for one role.
pub(super) fn look(project: &Project, index: usize) -> Option<RoleLook> {
    let role = project.roles.get(index)?;
    let spec = project.role_spec(index)?;
    let worktree = role.worktree.as_ref().filter(|worktree| worktree.ready)?;
    Some(RoleLook {
        role: role.name.clone(),
        worktree: worktree.path.clone(),
        branch: worktree.branch.clone(),
        files: judge::files_to_look_at(&project.spec, spec),
    })
}

/// The session with its agents, or the agents that a live session lacks.
fn launch(draft: &mut Draft<'_, '_>) -> bool {
    if draft.p.is_busy() || !draft.tmux_answers() {
        return false;
    }
    let wanting: Vec<usize> =
        (0..draft.p.roles.len()).filter(|index| draft.p.roles.get(*index).is_some_and(Role::wants_process)).collect();
    if wanting.is_empty() {
        return draft.step(ProjectEvent::Launched, None);
    }
    let old: Vec<(Option<String>, Option<crate::domain::id::Token>)> = wanting
        .iter()
        .filter_map(|index| draft.p.roles.get(*index))
        .map(|role| (role.pane.clone(), role.token.clone()))
        .collect();
    let fresh = mint_incarnations(draft, &wanting);
    let launch = |index: &usize| launch_of(&draft.p, *index, !fresh.contains(index));
    let launches: Vec<Launch> = wanting.iter().filter_map(launch).collect();
    match draft.p.session.clone().filter(|session| session.is == SessionIs::Live) {
        Some(session) => {
            for ((index, (pane, old_token)), launch) in wanting.into_iter().zip(old).zip(launches) {
                let (name, session_token) = (session.name.clone(), session.token.clone());
                draft.order_role(index, Effect::Respawn { session: name, session_token, pane, old_token, launch });
            }
        }
        None => {
            let (session, token) = intended_session(draft);
            draft.order(Effect::EnsureSession { session, token, launches });
        }
    }
    false
}

/// A new epoch and tokens for roles whose last incarnation is proved gone; one that was only asked for, with an
/// unknown outcome, keeps its names and token and is settled by them (C12 to C14). Answers whose are new.
fn mint_incarnations(draft: &mut Draft<'_, '_>, wanting: &[usize]) -> Vec<usize> {
    let fresh: Vec<usize> = wanting
        .iter()
        .copied()
        .filter(|index| draft.p.roles.get(*index).is_some_and(|role| role.state() != RoleState::Starting))
        .collect();
    if fresh.is_empty() {
        return fresh;
    }
    draft.p.epoch = draft.p.epoch.next();
    let epoch = draft.p.epoch;
    for index in fresh.iter().copied() {
        death::forgone(draft, index);
        let token = draft.token();
        if let Some(role) = draft.p.roles.get_mut(index) {
            role.epoch = epoch;
            role.token = Some(token);
            role.process = None;
            role.started_at = None;
            role.briefs_sent = 0;
            role.ack_due = None;
            role.vigil = Vigil::default();
        }
        draft.role_step(index, RoleEvent::Launched);
    }
    fresh
}

/// The session to ask for: the one that was asked for already, or a new one.
fn intended_session(draft: &mut Draft<'_, '_>) -> (String, crate::domain::id::Token) {
    if let Some(session) = draft.p.session.as_ref().filter(|session| session.is == SessionIs::Intended) {
        return (session.name.clone(), session.token.clone());
    }
    let name = format!("{}-e{}", draft.p.slug, draft.p.epoch);
    let token = draft.token();
    for role in &mut draft.p.roles {
        role.pane = None;
    }
    draft.p.session =
        Some(SessionRef { name: name.clone(), token: token.clone(), is: SessionIs::Intended, server: None });
    (name, token)
}

/// The file that takes a role's standard error, relative to the installation.
pub(super) fn stderr_file(project: &Project, role: &Role) -> String {
    format!("logs/{}/{}.e{}.stderr", project.slug, role.name, role.epoch)
}

fn launch_of(project: &Project, index: usize, again: bool) -> Option<Launch> {
    let role = project.roles.get(index)?;
    let spec = project.role_spec(index)?;
    Some(Launch {
        role: role.name.clone(),
        project: project.id,
        epoch: role.epoch,
        token: role.token.clone()?,
        worktree: role.worktree.as_ref()?.path.clone(),
        claude_md: role.claude_md.clone()?,
        stderr: stderr_file(project, role),
        again,
        argv: spec.command.clone(),
        env: spec.env.clone(),
    })
}

/// The brief for every agent that has not had it; on when all have acknowledged.
fn hand_briefs(draft: &mut Draft<'_, '_>) -> bool {
    if draft.p.roles.iter().all(Role::acknowledged) {
        let moved = draft.step(ProjectEvent::Briefed, None);
        if moved {
            fault::recovered(draft);
        }
        return moved;
    }
    for index in 0..draft.p.roles.len() {
        let waits = draft.p.roles.get(index).is_some_and(|role| {
            role.state() == RoleState::Starting
                && role.process.is_some()
                && !role.is_acted_on()
                // Also one that was handed over before an incident, which took its deadline along.
                && role.ack_due.is_none()
        });
        if waits && draft.tmux_answers() {
            hand_brief(draft, index);
        }
    }
    // An agent that died or was lost sight of in this state was faulted where that was seen; only the way back from
    // a restart leads here with a role that has no process.
    if draft.p.roles.iter().any(Role::wants_process) && !draft.p.is_busy() && draft.tmux_answers() {
        let failure = Failure::of_operation(
            draft.p.stage(),
            FailureKind::AgentLost,
            vec!["brief".to_owned()],
            "a role has no process to brief",
        );
        fault::fault(draft, None, failure);
    }
    false
}

/// Forgets how often the brief was handed over: none of them need have come to the agent.
pub(super) fn brief_afresh(draft: &mut Draft<'_, '_>, index: usize) {
    if let Some(role) = draft.p.roles.get_mut(index) {
        role.briefs_sent = 0;
        role.ack_due = None;
    }
}

/// Hands the brief to one agent and notes when its acknowledgement is overdue.
pub(super) fn hand_brief(draft: &mut Draft<'_, '_>, index: usize) {
    let due = draft.at() + draft.fleet().policy.ack_wait();
    let id = draft.p.id;
    let Some(role) = draft.p.roles.get_mut(index) else { return };
    let (Some(pane), Some(token)) = (role.pane.clone(), role.token.clone()) else { return };
    role.briefs_sent += 1;
    role.ack_due = Some(due);
    let again = role.briefs_sent > 1;
    let line = brief::brief_line(&role.name, id, role.epoch);
    draft.order_role(index, Effect::HandBrief { pane, token, line, again });
}

/// The final look, once every role is done.
fn certify(draft: &mut Draft<'_, '_>) -> bool {
    if !draft.p.is_busy() && draft.p.roles.iter().all(|role| role.state() == RoleState::Done) {
        let roles = looks(&draft.p);
        draft.order(Effect::Certify { roles });
    }
    false
}

/// After the end: the session goes, with whatever its agents left.
fn take_down(draft: &mut Draft<'_, '_>) -> bool {
    // What is still under way (a respawn, say) must have come out before the end can be final.
    if !draft.p.finalizer || draft.p.is_busy() || !draft.tmux_answers() {
        return false;
    }
    let mut tokens = draft.p.stale.clone();
    tokens.extend(draft.p.roles.iter().filter_map(|role| role.token.clone()));
    match draft.p.session.clone() {
        Some(session) => draft.order(Effect::EndSession { session: session.name, token: session.token, tokens }),
        // What was found of a newer incarnation than the database knew has no session there.
        None if !draft.p.stale.is_empty() => draft.order(Effect::EndRemains { tokens: draft.p.stale.clone() }),
        None => draft.p.finalizer = false,
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ProjectId, RoleName};
    use crate::domain::spec::Spec;
    use crate::domain::time::Timestamp;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn only_claude_code_gets_hooks_and_claude_md_stays_first() {
        let written = |hooks| -> Vec<(String, Way)> {
            let role = RoleSpec {
                name: RoleName("developer".to_owned()),
                command: vec!["claude".to_owned()],
                claude_md: Arc::from("c"),
                env: BTreeMap::new(),
                progress: false,
                hooks,
            };
            let spec = Spec::plain(vec![role.clone()]);
            let project = Project::queued(ProjectId(1), Arc::new(spec), "p1-ab12".to_owned(), Timestamp(0));
            let effect = ensure_files(&project, &project.roles[0], &role);
            let Effect::EnsureFiles { files, .. } = effect else { panic!("{effect:?}") };
            files.into_iter().map(|file| (file.path, file.way)).collect()
        };
        let due =
            |files: &[(&str, Way)]| files.iter().map(|(path, way)| ((*path).to_owned(), *way)).collect::<Vec<_>>();
        let always = [("CLAUDE.md", Way::Exact), (".orch/.gitignore", Way::Exact), (".orch/brief.md", Way::Exact)];
        let hooks = [(".claude/.gitignore", Way::IfMissing), (".claude/settings.local.json", Way::MergeHooks)];
        assert_eq!(written(Hooks::None), due(&always));
        assert_eq!(written(Hooks::Claude), due(&[&always[..], &hooks[..]].concat()));
    }
}
