//! Contradictions between database and tmux, counted where a complete list of panes is held against the fleet.
//!
//! The fleet is taken as the last commit left it, before the list is decided on: what the list contradicts counts until
//! the next list, which a sweep brings within seconds. While tmux is unknown the last count stands.

use crate::domain::event::PaneSeen;
use crate::domain::fleet::Fleet;
use crate::domain::id::Token;
use crate::domain::project::{Project, Role};
use crate::domain::state::ProjectState;
use crate::telemetry::fold::Mismatches;
use std::collections::BTreeSet;

/// What the list and the fleet contradict each other in. A session counts once, whatever the number of its panes.
pub(super) fn count(fleet: &Fleet, panes: &[PaneSeen]) -> Mismatches {
    let listed: BTreeSet<&Token> = panes.iter().filter_map(|pane| pane.session_token.as_ref()).collect();
    let alive = panes.iter().filter(|pane| !pane.dead);
    let agents: BTreeSet<_> = alive.filter_map(|pane| Some((pane.role_token.as_ref()?, pane.pid))).collect();
    let known: BTreeSet<&Token> = fleet.projects().flat_map(Project::tokens).collect();
    let mut found = Mismatches { tmux_only: number(listed.difference(&known)), ..Mismatches::default() };
    for project in fleet.projects().filter(|project| !project.state().is_terminal()) {
        let session = project.session.as_ref();
        let due = matches!(project.state(), ProjectState::Briefing | ProjectState::Running);
        if due && session.is_none_or(|session| session.name.is_empty()) {
            found.session_name_null += 1;
        }
        let Some(session) = session.filter(|_| project.session_live()) else { continue };
        if !listed.contains(&session.token) {
            found.db_only += 1;
        } else if project.roles.iter().any(|role| contradicted(role, &agents)) {
            found.status_conflict += 1;
        }
    }
    found
}

/// Whether a role that lives by the database has no living pane with its process among `agents`, (token, pid).
fn contradicted(role: &Role, agents: &BTreeSet<(&Token, u32)>) -> bool {
    let (Some(process), Some(token)) = (role.process, role.token.as_ref()) else { return false };
    role.state().is_live() && !agents.contains(&(token, process.pid))
}

fn number<T>(of: impl Iterator<Item = T>) -> u64 {
    of.fold(0, |count, _| count + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{EffectId, ProcessId, ProjectId, RoleName};
    use crate::domain::limits::Policy;
    use crate::domain::project::{SessionIs, SessionRef};
    use crate::domain::spec::Spec;
    use crate::domain::state::RoleState;
    use crate::domain::time::Timestamp;
    use std::sync::Arc;

    fn token(text: &str) -> Token {
        Token(text.to_owned())
    }

    /// One project with one agent, confirmed in its session.
    fn running() -> Project {
        let spec = Arc::new(Spec::plain(Vec::new()));
        let mut role = Role::restored(RoleName("developer".to_owned()), RoleState::Working);
        (role.token, role.process) = (Some(token("agent")), Some(ProcessId { pid: 41, start: 1 }));
        let (id, state) = (ProjectId(7), ProjectState::Running);
        let mut project = Project::restored(id, spec, "p7-ab12".to_owned(), state, Timestamp(0), vec![role]);
        let (name, token) = ("p7-ab12-e1".to_owned(), token("session"));
        project.session = Some(SessionRef { name, token, is: SessionIs::Live, server: None });
        project
    }

    fn pane(session: &str, role: &str, pid: u32, dead: bool) -> PaneSeen {
        let (session_token, role_token) = (Some(token(session)), Some(token(role)));
        PaneSeen { pane: "%1".to_owned(), pid, dead, session: "p7-ab12-e1".to_owned(), session_token, role_token }
    }

    fn check(project: Project, panes: &[PaneSeen], expected: Mismatches) {
        let mut fleet = Fleet::new(Policy::default(), EffectId(1));
        fleet.put(Arc::new(project));
        assert_eq!(count(&fleet, panes), expected, "{panes:?}");
    }

    #[test]
    fn every_contradiction_counts_under_its_kind() {
        let none = Mismatches::default();
        let sound = pane("session", "agent", 41, false);
        check(running(), std::slice::from_ref(&sound), none);
        check(running(), &[], Mismatches { db_only: 1, ..none });
        check(running(), &[pane("other", "x", 5, false)], Mismatches { db_only: 1, tmux_only: 1, ..none });
        let two = [sound.clone(), pane("other", "x", 5, false), pane("other", "y", 6, false)];
        check(running(), &two, Mismatches { tmux_only: 1, ..none });
        let stranger = PaneSeen { session_token: None, role_token: None, ..sound.clone() };
        check(running(), &[sound.clone(), stranger], none);
        for wrong in
            [pane("session", "agent", 41, true), pane("session", "agent", 42, false), pane("session", "x", 41, false)]
        {
            check(running(), &[wrong], Mismatches { status_conflict: 1, ..none });
        }
        let mut nameless = running();
        nameless.session = None;
        nameless.roles[0].token = None;
        check(nameless, &[], Mismatches { session_name_null: 1, ..none });
        let mut asked = running();
        if let Some(session) = &mut asked.session {
            session.is = SessionIs::Intended;
        }
        check(asked, &[], none);
    }
}
