//! What the harness itself counted, and what follows from it. Pure: looks come in as data.

use crate::history::Logged;
use crate::report::Percentiles;
use crate::truth::{Incarnation, ProjectRow};
use orchestrator::domain::id::{ProcessId, ProjectId};
use orchestrator::domain::signal::What;
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// G11: the state after a crash is reached within this.
const ANSWERS_WITHIN: Span = Span::from_secs(5);

/// The processes that stand for an agent: whose parent does not carry the same token.
pub(super) type Agents = BTreeMap<Incarnation, Vec<ProcessId>>;

/// Something that must never have happened, and how often it could have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Zero {
    /// Its name.
    pub name: &'static str,
    /// What must not have happened.
    pub says: &'static str,
    /// How often it could have happened.
    pub trials: u64,
    /// What a trial is.
    pub unit: &'static str,
    /// Where it happened.
    pub found: Vec<String>,
}

/// One `orch serve`, from its start to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) pid: u32,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) acknowledged: BTreeSet<ProjectId>,
    pub(super) kills: u64,
    pub(super) looks: u64,
    pub(super) lives: Vec<Life>,
    pub(super) refused_starts: Vec<String>,
    agents: BTreeMap<Incarnation, ProcessId>,
    known: BTreeSet<String>,
    duplicated: BTreeSet<String>,
    untracked: BTreeSet<String>,
    missing: BTreeSet<String>,
    asked_after: u64,
    survivals: u64,
    vanished: Vec<(u64, Incarnation, ProcessId)>,
}

impl Ledger {
    /// Tokens of these agents that the database was never seen to know.
    pub(super) fn unknown(&self, agents: &Agents) -> bool {
        agents.keys().any(|agent| !self.known.contains(&agent.token.0))
    }

    /// The database knows these tokens.
    pub(super) fn know(&mut self, tokens: impl IntoIterator<Item = String>) {
        self.known.extend(tokens);
    }

    /// Whether something in this look is wrong, if it is still so at a second look.
    pub(super) fn suspects(&self, agents: &Agents) -> bool {
        !wrongs(self, agents).is_empty()
    }

    /// Takes down what was seen twice.
    pub(super) fn saw(&mut self, first: &Agents, second: &Agents) {
        self.looks += 1;
        for (agent, processes) in first {
            if let Some(process) = processes.first() {
                self.agents.entry(agent.clone()).or_insert(*process);
            }
        }
        let lasting: Agents = first
            .iter()
            .filter_map(|(agent, processes)| {
                let still = second.get(agent)?;
                let both: Vec<ProcessId> =
                    processes.iter().copied().filter(|process| still.contains(process)).collect();
                (!both.is_empty()).then(|| (agent.clone(), both))
            })
            .collect();
        for wrong in wrongs(self, &lasting) {
            match wrong {
                Wrong::Twice(text) => self.duplicated.insert(text),
                Wrong::Unknown(text) => self.untracked.insert(text),
            };
        }
    }

    /// A serve was killed while these agents lived: how it stands with them after the life of the next one.
    pub(super) fn survived(&mut self, kill: u64, before: &Agents, lives: impl Fn(ProcessId) -> bool) {
        for (agent, process) in before.iter().filter_map(|(agent, processes)| Some((agent, *processes.first()?))) {
            self.survivals += 1;
            if !lives(process) {
                self.vanished.push((kill, agent.clone(), process));
            }
        }
    }

    /// After a kill the database has these projects, of those that had been acknowledged before it was asked.
    pub(super) fn present(&mut self, kill: u64, acknowledged: &BTreeSet<ProjectId>, rows: &[ProjectRow]) {
        self.asked_after += acknowledged.len() as u64;
        let there: BTreeSet<ProjectId> = rows.iter().map(|row| row.id).collect();
        for id in acknowledged.difference(&there) {
            self.missing.insert(format!("after kill {kill} project {id}, which had been acknowledged, is not there"));
        }
    }

    /// How many incarnations were seen alive.
    pub(super) fn incarnations(&self) -> u64 {
        self.agents.len() as u64
    }

    /// What must be zero.
    pub(super) fn zeros(&self, journal: &[Logged], rows: &[ProjectRow]) -> Vec<Zero> {
        let zero = |name, says, trials, unit, found| Zero { name, says, trials, unit, found };
        let list = |found: &BTreeSet<String>| found.iter().cloned().collect::<Vec<_>>();
        let projects = self.acknowledged.len() as u64;
        let (answered, late) = self.answers(journal);
        let seen = self.incarnations();
        vec![
            zero(
                "lost",
                "an acknowledged project does not end in exactly one final state",
                projects,
                "projects",
                lost(&self.acknowledged, journal, rows),
            ),
            zero(
                "missing",
                "an acknowledged project is not in the database after a kill",
                self.asked_after,
                "project-kills",
                list(&self.missing),
            ),
            zero("failed", "a project ends otherwise than completed", projects, "projects", failed(rows)),
            zero(
                "duplicated",
                "two live processes for one role, or two in turn for one token",
                self.looks,
                "looks",
                list(&self.duplicated),
            ),
            zero(
                "untracked",
                "a live agent whose token the database does not know",
                seen,
                "agents",
                list(&self.untracked),
            ),
            zero(
                "agents killed",
                "an agent that lived before a kill and had not reported done is gone after it",
                self.survivals,
                "agent-kills",
                self.killed(journal),
            ),
            zero(
                "false deaths",
                "the journal tells of a death or a recovery, and nothing was hurt but the orchestrator",
                seen,
                "agents",
                deaths(journal),
            ),
            zero(
                "starts refused",
                "a start after a kill ends by itself",
                self.kills,
                "starts",
                self.refused_starts.clone(),
            ),
            zero("late", "tmux is not answered for within 5 s of a start", answered.len() as u64, "starts", late),
        ]
    }

    /// From start to announcement, and from start to the first answer of tmux.
    pub(super) fn latencies(&self, journal: &[Logged]) -> (Percentiles, Percentiles) {
        let announced: Vec<Span> = self
            .lives
            .iter()
            .filter_map(|life| Some(journal[announcement(journal, life)?].committed().since(life.from)))
            .collect();
        let (answered, _) = self.answers(journal);
        (Percentiles::of(&announced), Percentiles::of(&answered))
    }

    /// How long every life took to its first answer of tmux, and those that took too long.
    fn answers(&self, journal: &[Logged]) -> (Vec<Span>, Vec<String>) {
        let (mut took, mut late) = (Vec::new(), Vec::new());
        for life in &self.lives {
            let announced = announcement(journal, life);
            let after = announced.map_or(&journal[journal.len()..], |place| &journal[place + 1..]);
            let own = after.iter().take_while(|logged| !is_start(logged));
            let answer = own.into_iter().find(|logged| matches!(logged.entry.signal.what, What::TmuxAnswered { .. }));
            let lived = life.until.since(life.from);
            let span = match answer {
                Some(answer) => answer.committed().since(life.from),
                None if lived > ANSWERS_WITHIN => lived,
                None => continue,
            };
            took.push(span);
            if span > ANSWERS_WITHIN {
                late.push(format!("process {}: {} ms", life.pid, span.as_millis()));
            }
        }
        (took, late)
    }

    fn killed(&self, journal: &[Logged]) -> Vec<String> {
        let done: BTreeSet<_> = journal.iter().filter_map(done).collect();
        let of = |agent: &Incarnation| (agent.project, agent.role.0.clone(), agent.epoch.0);
        let vanished = self.vanished.iter().filter(|(_, agent, _)| !done.contains(&of(agent)));
        vanished
            .map(|(kill, agent, process)| format!("kill {kill}: {} (process {process}) is gone", name(agent)))
            .collect()
    }
}

enum Wrong {
    Twice(String),
    Unknown(String),
}

fn wrongs(ledger: &Ledger, agents: &Agents) -> Vec<Wrong> {
    let mut found = Vec::new();
    let mut by_role: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (agent, processes) in agents {
        let of_role = by_role.entry((agent.project, &agent.role)).or_default();
        of_role.extend(processes.iter().map(|process| format!("{process} of epoch {}", agent.epoch)));
        let first = ledger.agents.get(agent);
        for process in processes.iter().filter(|process| first.is_some_and(|first| first != *process)) {
            found.push(Wrong::Twice(format!("{}: process {process} after another", name(agent))));
        }
        if !ledger.known.contains(&agent.token.0) {
            found.push(Wrong::Unknown(name(agent)));
        }
    }
    for ((project, role), processes) in by_role.into_iter().filter(|(_, processes)| processes.len() > 1) {
        found.push(Wrong::Twice(format!("project {project}, {role}: processes {}", processes.join(" and "))));
    }
    found
}

fn name(agent: &Incarnation) -> String {
    format!("project {}, {}, epoch {}", agent.project, agent.role, agent.epoch)
}

fn is_start(logged: &Logged) -> bool {
    matches!(logged.entry.signal.what, What::OrchestratorStarted { .. })
}

fn announcement(journal: &[Logged], life: &Life) -> Option<usize> {
    journal.iter().position(|logged| {
        let own =
            matches!(logged.entry.signal.what, What::OrchestratorStarted { process, .. } if process.pid == life.pid);
        own && logged.entry.at >= life.from
    })
}

fn done(logged: &Logged) -> Option<(ProjectId, String, u32)> {
    let signal = &logged.entry.signal;
    let done = matches!(&signal.what, What::AgentReported { kind, .. } if kind == "done");
    if !done {
        return None;
    }
    Some((signal.project_id?, signal.agent_role.as_ref()?.0.clone(), signal.epoch?.0))
}

fn lost(acknowledged: &BTreeSet<ProjectId>, journal: &[Logged], rows: &[ProjectRow]) -> Vec<String> {
    let mut ends: BTreeMap<ProjectId, Vec<ProjectState>> = BTreeMap::new();
    for logged in journal {
        if let (Some(project), What::ProjectMoved { to, .. }) =
            (logged.entry.signal.project_id, &logged.entry.signal.what)
            && to.is_terminal()
        {
            ends.entry(project).or_default().push(*to);
        }
    }
    let mut found = Vec::new();
    for id in acknowledged {
        let row = rows.iter().find(|row| row.id == *id).map(|row| row.state);
        let told = ends.remove(id).unwrap_or_default();
        if row.is_none_or(|state| !state.is_terminal() || told != [state]) {
            let row = row.map_or("nowhere".to_owned(), |state| state.to_string());
            let told: Vec<String> = told.iter().map(ProjectState::to_string).collect();
            found.push(format!("project {id} is {row}; ends told: [{}]", told.join(", ")));
        }
    }
    found
}

fn failed(rows: &[ProjectRow]) -> Vec<String> {
    let other = rows.iter().filter(|row| row.state != ProjectState::Completed);
    other.map(|row| format!("project {} is {}", row.id, row.state)).collect()
}

fn deaths(journal: &[Logged]) -> Vec<String> {
    let wrong = journal.iter().filter(|logged| {
        matches!(
            logged.entry.signal.what,
            What::AgentDied { expected: false, .. }
                | What::SessionDied { .. }
                | What::ResourceMissing { .. }
                | What::RecoveryStarted { .. }
                | What::MoveRefused { .. }
        )
    });
    wrong
        .map(|logged| {
            let line = serde_json::to_string(&logged.entry).unwrap_or_default();
            line.chars().take(400).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Story;
    use orchestrator::domain::id::{Epoch, RoleName, Token};

    fn agent(role: &str, epoch: u32) -> Incarnation {
        let token = Token(format!("{role}-{epoch}"));
        Incarnation { project: ProjectId(1), role: RoleName(role.to_owned()), epoch: Epoch(epoch), token }
    }

    fn seen(agents: &[(&str, u32, u32)]) -> Agents {
        let mut seen = Agents::new();
        for (role, epoch, pid) in agents {
            seen.entry(agent(role, *epoch)).or_default().push(ProcessId { pid: *pid, start: 1 });
        }
        seen
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger { acknowledged: [ProjectId(1)].into(), ..Ledger::default() };
        ledger.know(["a-1", "a-2", "b-1"].map(str::to_owned));
        ledger
    }

    fn row(state: ProjectState) -> ProjectRow {
        let (roles, worktrees) = (BTreeMap::new(), BTreeMap::new());
        ProjectRow { id: ProjectId(1), state, reason: None, roles, worktrees }
    }

    fn red(ledger: &Ledger, story: &Story, rows: &[ProjectRow]) -> Vec<&'static str> {
        let zeros = ledger.zeros(story.journal(), rows);
        zeros.into_iter().filter(|zero| !zero.found.is_empty()).map(|zero| zero.name).collect()
    }

    fn finished() -> (Story, [ProjectRow; 1]) {
        (Story::running(1).completed(1), [row(ProjectState::Completed)])
    }

    #[test]
    fn a_clean_history_is_all_zeros() {
        let (story, rows) = finished();
        let mut ledger = ledger();
        let agents = seen(&[("a", 1, 7), ("b", 1, 8)]);
        assert!(!ledger.suspects(&agents));
        ledger.saw(&agents, &agents);
        ledger.survived(1, &agents, |_| true);
        ledger.present(1, &[ProjectId(1)].into(), &rows);
        assert_eq!(red(&ledger, &story, &rows), Vec::<&str>::new());
        assert_eq!(ledger.incarnations(), 2);
    }

    #[test]
    fn what_is_gone_or_ends_twice_is_lost() {
        let (story, rows) = finished();
        assert_eq!(red(&ledger(), &story, &[]), ["lost"]);
        assert_eq!(red(&ledger(), &story, &[row(ProjectState::Running)]), ["lost", "failed"]);
        assert_eq!(red(&ledger(), &Story::running(1).completed(1).completed(1), &rows), ["lost"]);
        let mut ledger = ledger();
        ledger.present(3, &[ProjectId(1)].into(), &[]);
        assert_eq!(red(&ledger, &story, &rows), ["missing"]);
    }

    #[test]
    fn two_at_once_and_two_in_turn_are_duplicates_if_they_last() {
        let (story, rows) = finished();
        for wrong in [&[("a", 1, 7), ("a", 2, 8)][..], &[("a", 1, 7), ("a", 1, 8)]] {
            let mut ledger = ledger();
            let wrong = seen(wrong);
            assert!(ledger.suspects(&wrong));
            ledger.saw(&wrong, &seen(&[("a", 1, 7)]));
            assert_eq!(red(&ledger, &story, &rows), Vec::<&str>::new());
            ledger.saw(&wrong, &wrong);
            assert_eq!(red(&ledger, &story, &rows), ["duplicated"]);
        }
        let mut ledger = ledger();
        ledger.saw(&seen(&[("a", 1, 7)]), &seen(&[("a", 1, 7)]));
        ledger.saw(&seen(&[("a", 1, 9)]), &seen(&[("a", 1, 9)]));
        assert_eq!(red(&ledger, &story, &rows), ["duplicated"]);
    }

    #[test]
    fn a_token_that_nobody_wrote_down_is_untracked() {
        let (story, rows) = finished();
        let mut ledger = ledger();
        let agents = seen(&[("c", 1, 7)]);
        assert!(ledger.unknown(&agents));
        ledger.saw(&agents, &agents);
        assert_eq!(red(&ledger, &story, &rows), ["untracked"]);
    }

    #[test]
    fn an_agent_that_is_gone_was_killed_unless_it_was_done() {
        let (story, rows) = finished();
        let mut ledger = ledger();
        ledger.survived(1, &seen(&[("a", 1, 7)]), |_| false);
        assert_eq!(red(&ledger, &story, &rows), ["agents killed"]);
        let done = || What::AgentReported { kind: "done".to_owned(), text: None };
        assert_eq!(red(&ledger, &story.clone().tell_of(1, "a", done()), &rows), Vec::<&str>::new());
        assert_eq!(red(&ledger, &story.epoch(2).tell_of(1, "a", done()), &rows), ["agents killed"]);
    }

    #[test]
    fn a_death_that_is_told_is_a_false_one() {
        let (_, rows) = finished();
        let story = Story::running(1).session_killed(1).recovered(1).completed(1);
        assert_eq!(red(&ledger(), &story, &rows), ["false deaths"]);
    }

    #[test]
    fn a_start_that_never_comes_to_tmux_is_late_unless_it_was_killed_before() {
        let (story, rows) = finished();
        let life = |until| Life { pid: 9, from: Timestamp(0), until: Timestamp(until) };
        let quick = Ledger { lives: vec![life(400_000)], ..ledger() };
        assert_eq!(red(&quick, &story, &rows), Vec::<&str>::new());
        let late = Ledger { lives: vec![life(6_000_000)], ..ledger() };
        assert_eq!(red(&late, &story, &rows), ["late"]);
    }
}
