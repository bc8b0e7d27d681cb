//! Ground truth: what tmux and `/proc` show, looked at again and again.

use super::clock::Clock;
use super::database::Database;
use super::process::{Environ, is_alive, marked};
use super::sandbox::MARK;
use super::tmux::{Pane, Tmux};
use crate::truth::{Incarnation, Sample, Seen, SessionSeen};
use orchestrator::domain::id::{Epoch, ProcessId, ProjectId, RoleName, Token};
use std::collections::{BTreeMap, BTreeSet};

/// Looks at the world of one run.
#[derive(Debug)]
pub(super) struct Sampler {
    tmux: Tmux,
    database: Database,
    clock: Clock,
    mark: String,
    /// The project of every session token that was ever seen with a living process.
    projects: BTreeMap<String, ProjectId>,
    /// Session tokens that the database was ever seen to know.
    known: BTreeSet<String>,
    samples: Vec<Sample>,
}

impl Sampler {
    pub(super) fn new(tmux: Tmux, database: Database, clock: Clock, mark: &str) -> Self {
        let (projects, known, samples) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        Self { tmux, database, clock, mark: mark.to_owned(), projects, known, samples }
    }

    /// Looks once; what is as before only lasts longer.
    pub(super) fn look(&mut self) {
        let agents = self.agents();
        let sessions = self.sessions();
        let seen = Seen { sessions, agents };
        let now = self.clock.now();
        match self.samples.last_mut() {
            Some(last) if last.seen == seen => last.until = now,
            Some(_) | None => self.samples.push(Sample { from: now, until: now, seen }),
        }
    }

    /// The newest look.
    pub(super) fn last(&self) -> Option<&Sample> {
        self.samples.last()
    }

    /// All of them.
    pub(super) fn into_samples(self) -> Vec<Sample> {
        self.samples
    }

    /// The incarnations of which a process lived, all at one and the same moment: whoever was found and still lives
    /// after the finding lived when the last one was found.
    fn agents(&self) -> BTreeMap<Incarnation, ProcessId> {
        let found: Vec<(Incarnation, ProcessId)> = marked(MARK, &self.mark)
            .iter()
            .filter_map(|(process, environ)| Some((incarnation(environ)?, *process)))
            .collect();
        let mut agents: BTreeMap<Incarnation, ProcessId> = BTreeMap::new();
        for (incarnation, process) in found.into_iter().filter(|(_, process)| is_alive(*process)) {
            // The oldest process stands for all: it is the agent itself, the others are its children of a moment.
            let oldest = agents.entry(incarnation).or_insert(process);
            if (process.start, process.pid) < (oldest.start, oldest.pid) {
                *oldest = process;
            }
        }
        agents
    }

    /// The agents' sessions; the orchestrator's own keeper, which carries no token and runs no agent, is none.
    fn sessions(&mut self) -> Option<Vec<SessionSeen>> {
        let panes = self.tmux.panes().ok()?;
        let mut sessions: BTreeMap<String, SessionSeen> = BTreeMap::new();
        for pane in panes {
            let project = self.project(&pane);
            let agent = Environ::of(pane.pid).is_some_and(|environ| environ.get("ORCH_INSTANCE").is_some());
            if pane.token.is_none() && !agent {
                continue;
            }
            let Pane { session: name, token, dead, .. } = pane;
            let known = token.as_ref().is_some_and(|token| self.known.contains(token));
            let seen = sessions.entry(name.clone()).or_insert_with(|| {
                let token = token.map(Token);
                SessionSeen { name, token, project: None, live: false, unknown: !known }
            });
            seen.project = seen.project.or(project);
            seen.live |= !dead;
        }
        let mut sessions: Vec<SessionSeen> = sessions.into_values().collect();
        if sessions.iter().any(|session| session.unknown) {
            self.settle_unknown(&mut sessions);
        }
        Some(sessions)
    }

    fn project(&mut self, pane: &Pane) -> Option<ProjectId> {
        let named = Environ::of(pane.pid).and_then(|environ| environ.get("ORCH_PROJECT")?.parse().ok());
        match (named.map(ProjectId), &pane.token) {
            (Some(project), Some(token)) => {
                self.projects.insert(token.clone(), project);
                Some(project)
            }
            (Some(project), None) => Some(project),
            (None, Some(token)) => self.projects.get(token).copied(),
            (None, None) => None,
        }
    }

    /// A token that the database does not know may be older than what the database was just asked: it counts as
    /// unknown only if it is still listed after the database did not know it.
    fn settle_unknown(&mut self, sessions: &mut [SessionSeen]) {
        if let Ok(tokens) = self.database.session_tokens() {
            self.known.extend(tokens);
        }
        let still = self.tmux.tokens().unwrap_or_default();
        for session in sessions {
            let token = session.token.as_ref().map(|token| token.0.as_str());
            let known = token.is_some_and(|token| self.known.contains(token));
            let gone = token.is_some() && still.get(&session.name).map(String::as_str) != token;
            session.unknown = !known && !gone;
        }
    }
}

/// Whose process it is, if it is an agent's.
pub(super) fn incarnation(environ: &Environ) -> Option<Incarnation> {
    Some(Incarnation {
        project: ProjectId(environ.get("ORCH_PROJECT")?.parse().ok()?),
        role: RoleName(environ.get("ORCH_ROLE")?.to_owned()),
        epoch: Epoch(environ.get("ORCH_EPOCH")?.parse().ok()?),
        token: Token(environ.get("ORCH_INSTANCE")?.to_owned()),
    })
}
