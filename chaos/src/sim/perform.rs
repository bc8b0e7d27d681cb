//! What each effect does to the world, stage by stage: the model of `orchestrator/src/env/live/perform.rs`.

use super::acts::Heard;
use super::agent::Agent;
use super::deed::Armed;
use super::job::{Next, tmux_failure, words};
use super::kernel::{Mark, Program};
use super::planted::Of;
use super::tmux::Server;
use super::world::World;
use crate::seed::fnv1a;
use crate::truth::Incarnation;
use crate::witness::Fact;
use orchestrator::domain::effect::{Effect, Launch, Ordered, RoleLook};
use orchestrator::domain::event::{Fact as Done, Head, PaneEnd, PaneUp, Remains};
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Stderr};
use orchestrator::domain::id::{ProcessId, Token};
use orchestrator::domain::limits::deadline;
use orchestrator::domain::silence::Sample;
use orchestrator::domain::time::Span;

/// How long a process is given after SIGTERM.
const GRACE_US: u64 = 5_000_000;
/// The stage in which what outlived an earlier try has been told to end.
const OUTLIVED: u8 = 20;

fn refused(ordered: &Ordered, message: &str) -> Next {
    let failure = tmux_failure(ordered, FailureKind::SubprocessFailed, Ending::Reason(message.to_owned()));
    Next::Over(Err(Box::new(failure)))
}

/// The connection went while something was asked: nobody can tell whether it was done (T8).
fn connection_lost(ordered: &Ordered) -> Next {
    let reason = "the connection to tmux was lost: server exited unexpectedly";
    let failure = tmux_failure(ordered, FailureKind::SubprocessFailed, Ending::Lost(reason.to_owned()));
    Next::Over(Err(Box::new(failure)))
}

pub(super) fn failed(ordered: &Ordered, kind: FailureKind, why: &str) -> Next {
    Next::Over(Err(Box::new(Failure::of_operation(ordered.stage, kind, words(ordered), why))))
}

impl World {
    /// One stage of a job.
    pub(super) fn perform(&mut self, id: u64, stage: u8) -> Next {
        let Some(job) = self.jobs.get(&id) else { return Next::Silent };
        let ordered = job.ordered.clone();
        match (&ordered.effect, stage) {
            (Effect::Preflight { .. }, 0) => Next::Go(self.takes(3_000, 8_000)),
            (Effect::Preflight { .. }, _) => self.preflight(&ordered),
            (Effect::EnsureWorktree { .. }, _) => self.worktree(id, stage, &ordered),
            (Effect::EnsureFiles { worktree, files, park }, _) => self.files(stage, &ordered, worktree, files, park),
            (Effect::Look { .. } | Effect::Certify { .. }, 0) => Next::Go(self.takes(100, 600)),
            (Effect::Look { roles }, _) => {
                let roles = roles.iter().map(|look| self.disk.look(look)).collect();
                Next::Over(Ok(Done::Looked { roles }))
            }
            (Effect::Certify { roles }, _) => self.certify(roles),
            // Everything below asks tmux: a connection first, then a message that the server reads in its time.
            (_, 0) => Next::Link,
            (_, 1) => Next::Tmux,
            // What ends or doubles something asks first (T7, T8): a question that is answered late does nothing more.
            (Effect::EndRemains { tokens }, 2) => {
                let named = |server: &Server| tokens.iter().any(|token| server.named(token).is_some());
                if self.server.as_ref().is_some_and(named) { Next::Tmux } else { Next::Skip(3, 20) }
            }
            (Effect::EndSession { session, token, .. }, 2) => {
                if self.is_ours(session, token) {
                    Next::Tmux
                } else {
                    Next::Skip(3, 20)
                }
            }
            (Effect::EndRemains { tokens }, 3) => {
                let server = self.server.as_ref();
                let named = tokens.iter().filter_map(|token| server.and_then(|server| server.named(token)));
                let names: Vec<String> = named.map(ToOwned::to_owned).collect();
                for name in names {
                    self.session_ends(&name);
                }
                self.terminate(id, tokens)
            }
            (Effect::EndRemains { tokens }, 4) => {
                let ended = self.kill_left(id);
                Next::Over(Ok(Done::RemainsEnded { tokens: tokens.clone(), ended }))
            }
            (Effect::EnsureSession { session, token, launches }, _) => {
                self.ensure_session(id, stage, &ordered, (session, token), launches)
            }
            (Effect::Respawn { .. }, _) => self.ensure_agent(id, stage, &ordered),
            (Effect::HandBrief { pane, token, line, .. } | Effect::Nudge { pane, token, line }, _) => {
                self.hand_line(stage, &ordered, (pane, token), line)
            }
            (Effect::Sample { pane, process }, _) => self.sample(&ordered, pane, *process),
            (Effect::Collect { .. }, 2) => Next::Go(self.takes(300, 2_500)),
            (Effect::Collect { .. }, _) => self.collect(&ordered),
            (Effect::EndSession { session, token, tokens }, 3) => {
                if self.is_ours(session, token) {
                    self.session_ends(session);
                }
                self.terminate(id, tokens)
            }
            (Effect::EndSession { .. }, _) => {
                self.kill_left(id);
                Next::Over(Ok(Done::SessionEnded))
            }
            (Effect::ListPanes | Effect::Survey | Effect::EndRemains { .. }, _) => Next::Silent,
        }
    }

    fn ensure_session(
        &mut self,
        id: u64,
        stage: u8,
        ordered: &Ordered,
        (session, token): (&str, &Token),
        launches: &[Launch],
    ) -> Next {
        match stage {
            2 if self.outlived(session, token, launches) => {
                let tokens: Vec<Token> = launches.iter().map(|launch| launch.token.clone()).collect();
                self.terminate_first(id, &tokens)
            }
            2 => self.create_session(id, ordered, session, token, launches),
            3 => self.session_up(id, ordered, launches),
            _ => self.outlived_ends(id),
        }
    }

    fn ensure_agent(&mut self, id: u64, stage: u8, ordered: &Ordered) -> Next {
        let Effect::Respawn { session, session_token, pane, old_token, launch } = &ordered.effect else {
            return Next::Silent;
        };
        match stage {
            2 if self.outlived(session, session_token, std::slice::from_ref(launch)) => {
                self.terminate_first(id, std::slice::from_ref(&launch.token))
            }
            2 if pane.is_some() => Next::Tmux,
            2 | 3 => {
                let session = (session.as_str(), session_token);
                self.respawn(ordered, session, pane.as_deref(), old_token.as_ref(), launch)
            }
            _ => self.outlived_ends(id),
        }
    }

    fn outlived_ends(&mut self, id: u64) -> Next {
        self.kill_left(id);
        Next::Skip(1, 0)
    }

    /// Whether the session of that name carries that token.
    fn is_ours(&self, session: &str, token: &Token) -> bool {
        let found = self.server.as_ref().and_then(|server| server.session(session));
        found.is_some_and(|found| found.token.as_ref() == Some(token))
    }

    fn preflight(&mut self, ordered: &Ordered) -> Next {
        if self.disk.full {
            return failed(ordered, FailureKind::Io, "only 0 bytes are free where the installation is");
        }
        if let Some(project) = ordered.project
            && self.spoiled(project, "preflight").is_some()
        {
            return failed(ordered, FailureKind::Invalid, "the agent's program \"agent\" is not on PATH");
        }
        Next::Over(Ok(Done::Preflighted))
    }

    /// The fault that waits for this operation of this project; it is used up.
    pub(super) fn spoiled(
        &mut self,
        project: orchestrator::domain::id::ProjectId,
        operation: &'static str,
    ) -> Option<Armed> {
        let of = |armed: &Armed| armed.project == project && armed.operation == operation;
        let place = self.armed.iter().position(of)?;
        let armed = self.armed[place].clone();
        if !armed.for_ever {
            self.armed.remove(place);
        }
        self.witness(Fact::Injected { id: armed.id });
        Some(armed)
    }

    fn certify(&mut self, roles: &[RoleLook]) -> Next {
        let found: Vec<_> = roles.iter().map(|look| self.disk.look(look)).collect();
        let head = |look: &RoleLook| {
            let tree = self.disk.tree(&look.worktree);
            let (commits, dirty) = tree.map_or((0, false), |tree| (tree.commits, tree.dirty));
            Head { role: look.role.clone(), sha: format!("{commits:040x}"), dirty }
        };
        let sound = roles.iter().zip(&found).filter(|(_, found)| found.worktree.is_none());
        let heads = sound.map(|(look, _)| head(look)).collect();
        Next::Over(Ok(Done::Certified { roles: found, heads }))
    }

    /// SIGTERM to everything that carries one of these marks; who ignores it gets its time and then SIGKILL (T11).
    fn terminate(&mut self, id: u64, tokens: &[Token]) -> Next {
        let found = self.kernel.marked(tokens);
        let (mut left, mut ended) = (Vec::new(), 0);
        for process in found {
            let stays = self.kernel.get(process).is_some_and(|process| process.survives_term || process.stopped);
            if stays {
                left.push(process);
            } else {
                self.end(process, None, Some(15));
                ended += 1;
            }
        }
        let after = if left.is_empty() { self.takes(500, 3_000) } else { GRACE_US };
        if let Some(job) = self.jobs.get_mut(&id) {
            (job.left, job.ended) = (left, ended);
        }
        Next::Go(after)
    }

    /// Whether something of an earlier try lives that has no pane any more (G5).
    fn outlived(&self, session: &str, token: &Token, launches: &[Launch]) -> bool {
        let found = self.server.as_ref().and_then(|server| server.session(session));
        let found = found.filter(|found| found.token.as_ref() == Some(token));
        let of = |launch: &&Launch| {
            let paned =
                found.is_some_and(|found| found.panes.iter().any(|pane| pane.token.as_ref() == Some(&launch.token)));
            launch.again && !paned
        };
        let tokens: Vec<Token> = launches.iter().filter(of).map(|launch| launch.token.clone()).collect();
        !self.kernel.marked(&tokens).is_empty()
    }

    fn terminate_first(&mut self, id: u64, tokens: &[Token]) -> Next {
        let next = self.terminate(id, tokens);
        if let Next::Go(after) = next { Next::Skip(OUTLIVED, after) } else { next }
    }

    fn kill_left(&mut self, id: u64) -> u32 {
        let Some(job) = self.jobs.get_mut(&id) else { return 0 };
        let (mut left, mut ended) = (std::mem::take(&mut job.left), job.ended);
        let tokens = match &job.ordered.effect {
            Effect::EndRemains { tokens } | Effect::EndSession { tokens, .. } => tokens.clone(),
            Effect::EnsureSession { launches, .. } => launches.iter().map(|launch| launch.token.clone()).collect(),
            Effect::Respawn { launch, .. } => vec![launch.token.clone()],
            Effect::Preflight { .. }
            | Effect::EnsureWorktree { .. }
            | Effect::EnsureFiles { .. }
            | Effect::Look { .. }
            | Effect::HandBrief { .. }
            | Effect::Nudge { .. }
            | Effect::Sample { .. }
            | Effect::Collect { .. }
            | Effect::Certify { .. }
            | Effect::ListPanes
            | Effect::Survey => Vec::new(),
        };
        // It is over only once a look finds nobody: who was born during the grace is ended as well.
        left.extend(self.kernel.marked(&tokens));
        for process in left {
            if self.kernel.is_alive(process) {
                self.end(process, None, Some(9));
                ended += 1;
            }
        }
        ended
    }

    fn create_session(&mut self, id: u64, ordered: &Ordered, name: &str, token: &Token, launches: &[Launch]) -> Next {
        let Some(server) = &mut self.server else { return connection_lost(ordered) };
        match server.session(name) {
            Some(found) if found.token.as_ref() != Some(token) => {
                let message = format!("a session named {name} exists and is not ours");
                let conflict = tmux_failure(ordered, FailureKind::NameConflict, Ending::Reason(message));
                return Next::Over(Err(Box::new(conflict)));
            }
            Some(_) => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.adopted = true;
                }
            }
            None => {
                server.create(name, Some(token.clone()));
                self.witness(Fact::SessionUp { name: name.to_owned(), token: Some(token.clone()), ours: true });
            }
        }
        for launch in launches {
            let session = self.server.as_ref().and_then(|server| server.session(name));
            let there = session
                .is_some_and(|session| session.panes.iter().any(|pane| pane.token.as_ref() == Some(&launch.token)));
            if !there {
                self.open_pane(name, launch);
            }
        }
        self.sessions_changed();
        let lost = ordered.project.and_then(|project| self.spoiled(project, "create")).is_some();
        if lost {
            // It was done, and the answer never came.
            let ending = Ending::DeadlinePassed(deadline::TMUX);
            return Next::Over(Err(Box::new(tmux_failure(ordered, FailureKind::TimedOut, ending))));
        }
        Next::Go(self.takes(3_000, 12_000))
    }

    fn open_pane(&mut self, session: &str, launch: &Launch) -> Option<String> {
        let server = self.server.as_ref()?;
        let beside = server.session(session).and_then(|session| session.panes.first()).map(|pane| pane.id.clone());
        if let Some(beside) = beside {
            self.reach(&beside);
        }
        let process = self.spawn_agent(launch);
        let pane = self.server.as_mut()?.open(session, process, Some(launch.token.clone()))?;
        self.agent_in(launch, process, pane.clone());
        Some(pane)
    }

    fn spawn_agent(&mut self, launch: &Launch) -> ProcessId {
        let number = self.agents.len();
        let mark = Mark { token: launch.token.clone(), project: launch.project, role: launch.role.clone() };
        self.kernel.spawn(self.at, Program::Agent(number), Some(mark))
    }

    fn agent_in(&mut self, launch: &Launch, process: ProcessId, pane: String) {
        let incarnation = Incarnation {
            project: launch.project,
            role: launch.role.clone(),
            epoch: launch.epoch,
            token: launch.token.clone(),
        };
        let whose = (launch.project, launch.role.clone());
        let mood = self.moods.get_mut(&whose).and_then(std::collections::VecDeque::pop_front).unwrap_or_default();
        self.born(Agent {
            incarnation,
            process,
            pane,
            tree: launch.worktree.clone(),
            pin: launch.claude_md.clone(),
            mood,
            born: self.at,
            up: false,
            heard: false,
            briefed: false,
            done: false,
            hung: None,
            spins: false,
            tool: false,
            asks: false,
            output: 0,
            screen: String::new(),
            plan: 0,
            stderr: None,
        });
    }

    fn session_up(&mut self, id: u64, ordered: &Ordered, launches: &[Launch]) -> Next {
        let Some(server) = &self.server else { return connection_lost(ordered) };
        let (answers, seen) = (server.id, server.list());
        let up = |launch: &Launch| {
            let pane = seen.iter().find(|pane| pane.role_token.as_ref() == Some(&launch.token))?;
            let process = if pane.dead { None } else { self.kernel.identify(pane.pid) };
            Some(PaneUp { role: launch.role.clone(), pane: pane.pane.clone(), process })
        };
        let panes: Vec<PaneUp> = launches.iter().filter_map(up).collect();
        let adopted = self.jobs.get(&id).is_some_and(|job| job.adopted);
        Next::Over(Ok(Done::SessionUp { adopted, panes, server: answers }))
    }

    fn respawn(
        &mut self,
        ordered: &Ordered,
        (session, session_token): (&str, &Token),
        pane: Option<&str>,
        old: Option<&Token>,
        launch: &Launch,
    ) -> Next {
        let Some(server) = &self.server else { return connection_lost(ordered) };
        let Some(found) = server.session(session) else { return refused(ordered, "can't find session") };
        if found.token.as_ref() != Some(session_token) && self.asks_for_the_mark(Of::Session) {
            return refused(ordered, "the session is not the one that was asked for");
        }
        if let Some(there) = found.panes.iter().find(|pane| pane.token.as_ref() == Some(&launch.token)) {
            let process = if there.end.is_some() { None } else { Some(there.process) };
            let up = PaneUp { role: launch.role.clone(), pane: there.id.clone(), process };
            return Next::Over(Ok(Done::AgentUp(up)));
        }
        let same = found.panes.iter().find(|there| Some(there.id.as_str()) == pane).cloned();
        // Of an earlier try the record knows only the new token; the pane then still carries an older one.
        let tried = old == Some(&launch.token);
        let id = match same {
            Some(there) if tried || there.token.as_ref() == old => {
                if there.end.is_none() {
                    self.end(there.process, None, Some(9));
                }
                let process = self.spawn_agent(launch);
                if let Some(again) = self.server.as_mut().and_then(|server| server.pane_mut(&there.id)) {
                    (again.process, again.token, again.end) = (process, Some(launch.token.clone()), None);
                    (again.typed, again.copy_mode) = (None, false);
                }
                self.agent_in(launch, process, there.id.clone());
                there.id
            }
            Some(_) => return refused(ordered, "the pane is not the one that was asked for"),
            None => match self.open_pane(session, launch) {
                // A new window is a change of which the server notifies; a pane that is used again is none (T25).
                Some(id) => {
                    self.sessions_changed();
                    id
                }
                None => return refused(ordered, "can't find session"),
            },
        };
        let process = self.server.as_ref().and_then(|server| server.pane(&id)).map(|pane| pane.process);
        Next::Over(Ok(Done::AgentUp(PaneUp { role: launch.role.clone(), pane: id, process })))
    }

    /// That it does not is a bug that can be planted.
    fn asks_for_the_mark(&self, of: Of) -> bool {
        self.bend.as_ref().is_none_or(|bend| bend.borrow().asks_for_the_mark(of))
    }

    /// One line in three messages: the buffer, its paste, Enter (T17).
    fn hand_line(&mut self, stage: u8, ordered: &Ordered, (pane, token): (&str, &Token), line: &str) -> Next {
        let asks = self.asks_for_the_mark(Of::Pane);
        let Some(found) = self.server.as_mut().and_then(|server| server.pane_mut(pane)) else {
            return refused(ordered, &format!("can't find pane: {pane}"));
        };
        if found.token.as_ref() != Some(token) && asks {
            return refused(ordered, "the pane is not the one that was asked for");
        }
        if found.end.is_some() {
            return refused(ordered, "the pane takes no input (dead, input off: 1 0)");
        }
        match stage {
            2 => {
                found.typed = None;
                self.reach(pane);
                return Next::Tmux;
            }
            3 => {
                found.typed = Some(line.to_owned());
                return Next::Tmux;
            }
            _ => {}
        }
        let process = found.process;
        let spoiled = ordered.project.and_then(|project| self.spoiled(project, "enter")).is_some();
        let found = self.server.as_mut().and_then(|server| server.pane_mut(pane));
        let typed = found.filter(|_| !spoiled).and_then(|found| {
            // Enter would be lost in copy mode (T15), so that is left first.
            found.copy_mode = false;
            found.typed.take()
        });
        let brief = matches!(ordered.effect, Effect::HandBrief { .. });
        if typed.is_some() {
            self.hears(process, if brief { Heard::Brief } else { Heard::Nudge });
        } else if brief {
            self.brief_lost(process);
        }
        Next::Over(Ok(if brief { Done::BriefHanded } else { Done::Nudged }))
    }

    fn sample(&mut self, ordered: &Ordered, pane: &str, process: ProcessId) -> Next {
        if self.server.as_ref().and_then(|server| server.pane(pane)).is_none() {
            return refused(ordered, &format!("can't find pane: {pane}"));
        }
        let Some(Program::Agent(number)) = self.kernel.get(process).map(|process| process.program) else {
            return failed(ordered, FailureKind::Io, "the process is gone");
        };
        let agent = &self.agents[number];
        // As the live one, a fingerprint of the screen and of how much there was of it.
        let output = fnv1a(agent.screen.as_bytes()).wrapping_add(agent.output);
        Next::Over(Ok(Done::Sampled(Sample { output, cpu_ticks: agent.cpu_ticks(self.at) })))
    }

    fn collect(&mut self, ordered: &Ordered) -> Next {
        let Effect::Collect { session, session_token, pane, process, server: known, started_at, .. } = &ordered.effect
        else {
            return Next::Silent;
        };
        let Some(server) = &mut self.server else {
            return connection_lost(ordered);
        };
        let server_changed = known.is_some_and(|known| known != server.id);
        let found = server.session(session).filter(|_| !server_changed);
        let session_present = found.is_some_and(|found| found.token.as_ref() == Some(session_token));
        let end = match pane {
            Some(pane) if session_present => server.pane_end(pane),
            Some(_) | None => PaneEnd::Gone,
        };
        let alive = process.is_some_and(|process| self.kernel.is_alive(process));
        let agent =
            process.and_then(|process| self.by_process.get(&process)).and_then(|number| self.agents.get(*number));
        let said = agent.and_then(|agent| agent.stderr.clone());
        let stderr = said.map_or(Stderr::Empty, Stderr::captured);
        let lifetime = started_at.map_or(Span(0), |started| ordered.seen_at.since(started));
        let screen = agent.map_or_else(String::new, |agent| agent.screen.clone());
        let remains = Remains { pane: end, session_present, server_changed, alive, stderr, screen, lifetime };
        Next::Over(Ok(Done::Collected(Box::new(remains))))
    }
}
