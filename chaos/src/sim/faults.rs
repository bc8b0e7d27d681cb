//! What each kind of fault does to the simulated world, and what ends it.
//!
//! A fault that finds nothing to break has no effect, and says so: what took effect is known from the world, never
//! from the plan.

use super::agent::{Agent, Mood};
use super::deed::{Armed, Deed, Spoil, Target, Undo};
use super::kernel::{Mark, Program};
use super::world::World;
use crate::fault::{AGENT_EXIT_CODE, Kind, Victim};
use crate::schedule::Planned;
use crate::witness::Fact;
use orchestrator::domain::event::{FileIs, Report, Source};
use orchestrator::domain::id::{ProcessId, ProjectId, Token};
use orchestrator::domain::state::ProjectState;
use orchestrator::validate::judge;

const HOUR_US: i64 = 3_600_000_000;
const LASTS_US: u64 = 15_000_000;
/// How late events come that are held back: later than the sweep, and than what follows from it.
const LATE_US: u64 = 20_000_000;
/// What work looks like that fails and goes on: what was taken for a crash in incident 04.
const SCARY: &str = "Traceback (most recent call last):\nException: fatal error\nprocess exited with exit status 1\n";

impl World {
    /// Does a fault.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what hits neither fleet, project nor file hits an agent")]
    pub fn inject(&mut self, planned: &Planned, target: &Target) -> Deed {
        let lasts = planned.params.for_ms.map_or(LASTS_US, |ms| ms * 1_000);
        match planned.kind {
            Kind::ServerKill | Kind::ServerExit => self.kill_server(),
            Kind::ServerStop if self.stop_server() => Deed::Until(Undo::ContinueServer, lasts),
            Kind::ServerStop => Deed::Nothing("no server runs"),
            Kind::SocketUnlink => match &mut self.server {
                Some(server) if server.socket => {
                    server.socket = false;
                    Deed::Done
                }
                Some(_) | None => Deed::Nothing("there is no socket"),
            },
            Kind::Reboot => Deed::Reboot,
            Kind::OrchKill => Deed::KillOrchestrator,
            Kind::CommitReplyLost => Deed::KillAfterCommit,
            Kind::DbLocked => Deed::Lock(lasts),
            Kind::OrchPause => Deed::Pause(lasts),
            Kind::PausedWriter => Deed::Supersede,
            Kind::SecondOrchestrator => Deed::Second,
            Kind::RowForgedProcessing => Deed::Forge(ProjectState::Running),
            Kind::RowForgedFailed => Deed::Forge(ProjectState::Failed),
            Kind::PaneIdReuse => self.reuse_panes(),
            Kind::BenignTmuxEagain => self.refuse_connections(lasts),
            Kind::DiskFull => {
                self.disk.full = true;
                self.witness(Fact::Hindered { by: "disk" });
                Deed::Until(Undo::Space, lasts)
            }
            Kind::BenignSlowTmux => {
                self.slowness = 100;
                self.witness(Fact::Hindered { by: "load" });
                Deed::Until(Undo::Speed, lasts)
            }
            Kind::BenignCpuLoad => {
                self.slowness = 10;
                self.witness(Fact::Hindered { by: "load" });
                Deed::Until(Undo::Speed, lasts)
            }
            Kind::Suspend => {
                self.kernel.sleep(8 * HOUR_US.unsigned_abs());
                Deed::Done
            }
            Kind::ClockStepBack => self.step_clock(-5 * HOUR_US),
            Kind::ClockStepForward => self.step_clock(26 * HOUR_US),
            Kind::EventDuplicate => {
                self.doubled = true;
                Deed::Until(Undo::Once, lasts)
            }
            Kind::ForeignSession => self.foreign("somebody-elses", None),
            Kind::StraySession => self.foreign("p999999-0042", Some(Token("f".repeat(32)))),
            Kind::NameTwin => match self.session_of(target.project) {
                Some(name) => self.foreign(&format!("{name}-twin"), None),
                None => Deed::Nothing("there is no session"),
            },
            Kind::SessionKill => self.kill_session_of(target.project),
            Kind::EmptyShell | Kind::NameTaken => self.take_name(planned, target),
            Kind::CreateReplyLost => {
                self.arm(planned, target, "create", Spoil::ReplyLost);
                // So that there is a next one. What counts is the answer that is lost.
                self.kill_session_of(target.project);
                Deed::Armed
            }
            Kind::StderrNull if planned.params.victim == Some(Victim::Git) => {
                self.spoil_git(planned, target, Spoil::Null)
            }
            Kind::StderrEmpty => self.spoil_git(planned, target, Spoil::Empty),
            Kind::StderrBinary => self.spoil_git(planned, target, Spoil::Binary),
            Kind::StderrFlood => self.spoil_git(planned, target, Spoil::Flood),
            Kind::ProcSignal => self.spoil_git(planned, target, Spoil::Signal),
            Kind::ProcMissing => self.spoil_git(planned, target, Spoil::NotFound),
            Kind::ProcTimeout => self.spoil_git(planned, target, Spoil::Hangs),
            Kind::ProcLies => self.spoil_git(planned, target, Spoil::Lies),
            Kind::ClaudeMdDelete => self.spoil_file(target, None),
            Kind::ClaudeMdTruncate => self.spoil_file(target, Some(FileIs::Regular(judge::pin_of(b"")))),
            Kind::ClaudeMdUnreadable => self.unusable(target, "it cannot be read: Permission denied (os error 13)"),
            Kind::ClaudeMdSymlink => self.unusable(target, "it is a symbolic link"),
            Kind::ClaudeMdIsDir => self.unusable(target, "it is a directory"),
            Kind::BenignFileTouch => self.touch_file(target),
            Kind::WorktreeDelete | Kind::WorktreeHusk => self.spoil_tree(target, planned.kind),
            _ => self.hit_agent(planned, target, lasts),
        }
    }

    /// The faults that hit one agent: those that end it, and those that change it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what does not end an agent changes it")]
    fn hit_agent(&mut self, planned: &Planned, target: &Target, lasts: u64) -> Deed {
        let Some(number) = self.living_agent_of(target.project, &target.role) else {
            return Deed::Nothing("the role has no living agent");
        };
        let process = self.agents[number].process;
        let mut moods = |moods: &[Mood]| {
            let whose = (target.project, target.role.clone());
            self.moods.entry(whose).or_default().extend(moods);
        };
        let signal = match planned.kind {
            Kind::StderrNull => return self.exits(process, AGENT_EXIT_CODE),
            Kind::AgentExitSilent => return self.exits(process, 0),
            Kind::PaneKill => return self.kill_pane(number),
            Kind::AgentDieInStart => {
                moods(&[Mood::DiesInStart]);
                9
            }
            Kind::AgentExitInstant => {
                moods(&[Mood::ExitsAtOnce; 6]);
                9
            }
            Kind::BriefAlwaysFails => {
                moods(&[Mood::Deaf; 6]);
                9
            }
            Kind::BenignSlowStart => {
                moods(&[Mood::Slow]);
                9
            }
            Kind::TrustPrompt => {
                moods(&[Mood::Asks]);
                9
            }
            Kind::SlowReader => {
                moods(&[Mood::Slumbers]);
                9
            }
            Kind::EnterLost => {
                self.arm(planned, target, "enter", Spoil::ReplyLost);
                9
            }
            Kind::DoneButGone => {
                if !self.says_done(number) {
                    return Deed::Nothing("it has not begun");
                }
                9
            }
            Kind::PaneHusk | Kind::PidReuse => 9,
            Kind::EventDrop => {
                // The spool is watched by inotify too.
                self.deaf_sources.extend([Source::Pidfd, Source::Inotify, Source::Spool, Source::Control]);
                9
            }
            Kind::EventDelay => {
                self.held_back = LATE_US;
                9
            }
            _ => return self.change_agent(planned, target, number, lasts),
        };
        self.end(process, None, Some(signal));
        match planned.kind {
            Kind::PidReuse => {
                self.kernel.reuse(self.at, process);
                Deed::Done
            }
            Kind::EventDrop => Deed::Until(Undo::Hear, lasts),
            Kind::EventDelay => Deed::Until(Undo::Prompt, lasts),
            // It dies so that there is a next brief. What counts is the Enter that is lost.
            Kind::EnterLost => Deed::Armed,
            _ => Deed::Done,
        }
    }

    fn exits(&mut self, process: ProcessId, code: i32) -> Deed {
        self.end(process, Some(code), None);
        Deed::Done
    }

    fn says_done(&mut self, number: usize) -> bool {
        if !self.agents[number].briefed || !self.report(number, Report::Done(None)) {
            return false;
        }
        self.agents[number].done = true;
        let incarnation = self.agents[number].incarnation.clone();
        self.witness(Fact::Done { incarnation });
        true
    }

    /// Whether that pane is still the one it was started in: another server gives its number to somebody else's (T6).
    fn is_in_its_pane(&self, number: usize) -> bool {
        let Agent { pane, process, .. } = &self.agents[number];
        let found = self.server.as_ref().and_then(|server| server.pane(pane));
        found.is_some_and(|found| found.process == *process)
    }

    fn kill_pane(&mut self, number: usize) -> Deed {
        let (pane, process) = (self.agents[number].pane.clone(), self.agents[number].process);
        if !self.is_in_its_pane(number) {
            return Deed::Nothing("the pane is gone");
        }
        let Some(server) = &mut self.server else { return Deed::Nothing("no server runs") };
        let session = server.session_with(&pane);
        server.close(&pane);
        if let Some((name, token)) = session.filter(|(name, _)| server.session(name).is_none()) {
            self.witness(Fact::SessionGone { name, token });
        }
        self.hang_up(process);
        self.sessions_changed();
        Deed::Done
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the catalogue says which kinds this world can play")]
    fn change_agent(&mut self, planned: &Planned, target: &Target, number: usize, lasts: u64) -> Deed {
        let process = self.agents[number].process;
        match planned.kind {
            Kind::CopyMode | Kind::BenignWindowMoved if !self.is_in_its_pane(number) => {
                Deed::Nothing("the pane is gone")
            }
            Kind::CopyMode => {
                let pane = self.agents[number].pane.clone();
                let Some(pane) = self.server.as_mut().and_then(|server| server.pane_mut(&pane)) else {
                    return Deed::Nothing("the pane is gone");
                };
                pane.copy_mode = true;
                Deed::Until(Undo::LeaveCopyMode, lasts)
            }
            Kind::AgentStop => {
                if let Some(process) = self.kernel.get_mut(process) {
                    process.stopped = true;
                }
                self.hangs(number, false)
            }
            Kind::AgentHang => self.hangs(number, false),
            Kind::AgentSpinner => self.hangs(number, true),
            Kind::AgentIgnoreTerm => {
                if let Some(process) = self.kernel.get_mut(process) {
                    process.survives_term = true;
                }
                self.hangs(number, false)
            }
            Kind::AgentSetsidChild => {
                let token = self.agents[number].incarnation.token.clone();
                let (project, role) = (target.project, target.role.clone());
                let mark = Mark { token: token.clone(), project, role: role.clone() };
                let child = self.kernel.spawn(self.at, Program::Child(number), Some(mark));
                self.witness(Fact::ChildBorn { token, project, role, process: child });
                self.kill_session_of(target.project)
            }
            Kind::HupSurvivor => {
                if let Some(process) = self.kernel.get_mut(process) {
                    process.survives_hup = true;
                }
                self.kill_session_of(target.project)
            }
            Kind::BenignLongSilence => {
                if !self.agents[number].briefed || self.agents[number].done {
                    return Deed::Nothing("it does not work");
                }
                self.starts_tool(number, 50 * 60_000_000);
                Deed::Done
            }
            Kind::BenignScaryOutput => {
                self.agents[number].output += 3;
                SCARY.clone_into(&mut self.agents[number].screen);
                Deed::Done
            }
            Kind::BenignWindowMoved => {
                let pane = self.agents[number].pane.clone();
                if !self.server.as_mut().is_some_and(|server| server.move_window(&pane)) {
                    return Deed::Nothing("there is no other place in its session");
                }
                self.sessions_changed();
                Deed::Done
            }
            _ => Deed::Nothing("this world cannot play it"),
        }
    }

    /// Ends what lasted.
    pub fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::ContinueServer => drop(self.continue_server()),
            Undo::Speed => {
                self.slowness = 1;
                self.witness(Fact::Unhindered { by: "load" });
            }
            Undo::Space => {
                self.disk.full = false;
                self.witness(Fact::Unhindered { by: "disk" });
            }
            Undo::Hear => self.deaf_sources.clear(),
            Undo::Once => self.doubled = false,
            Undo::Prompt => self.held_back = 0,
            Undo::Connect => self.take_connections(),
            Undo::LeaveCopyMode => self.leave_copy_mode(),
            // Of the orchestrator, not of the world: the course of the run does it.
            Undo::Unlock | Undo::Unpause => {}
        }
    }

    /// What is broken from outside is put right; what has happened stays as it is.
    pub fn heal(&mut self) {
        for undo in [
            Undo::ContinueServer,
            Undo::Speed,
            Undo::Space,
            Undo::Hear,
            Undo::Once,
            Undo::Prompt,
            Undo::Connect,
            Undo::LeaveCopyMode,
        ] {
            self.undo(undo);
        }
        self.armed.clear();
        self.moods.clear();
        self.late.clear();
        self.answer_all();
        self.squatters.clear();
        self.witness(Fact::Healed);
    }

    fn leave_copy_mode(&mut self) {
        let panes: Vec<String> = self.agents.iter().rev().map(|agent| agent.pane.clone()).take(200).collect();
        for pane in panes {
            if let Some(pane) = self.server.as_mut().and_then(|server| server.pane_mut(&pane)) {
                pane.copy_mode = false;
            }
        }
    }

    pub(super) fn arm(&mut self, planned: &Planned, target: &Target, operation: &'static str, how: Spoil) {
        self.armed.push(Armed { id: planned.id, project: target.project, operation, how, for_ever: false });
    }

    fn kill_server(&mut self) -> Deed {
        let Some(id) = self.server.as_ref().map(|server| server.id) else { return Deed::Nothing("no server runs") };
        self.end(id, None, Some(9));
        Deed::Done
    }

    /// A stranger has started the next server before anybody else, and its panes have the ids that ours had (T6).
    fn reuse_panes(&mut self) -> Deed {
        let Some(server) = &self.server else { return Deed::Nothing("no server runs") };
        let number = |id: &str| id.strip_prefix('%').and_then(|number| number.parse::<u32>().ok());
        let highest = server.list().iter().filter_map(|pane| number(&pane.pane)).max();
        let (old, Some(highest)) = (server.id, highest) else { return Deed::Nothing("it has no panes") };
        self.end(old, None, Some(9));
        self.start_server();
        // As many as there were numbers: then every one of ours is somebody else's.
        for place in 0..highest {
            self.squat(&format!("work-{place}"));
        }
        Deed::Done
    }

    fn step_clock(&mut self, by_us: i64) -> Deed {
        self.kernel.step_wall(by_us);
        Deed::Done
    }

    /// The name of the session that a project's agents are in.
    #[must_use]
    pub fn session_of(&self, project: ProjectId) -> Option<String> {
        let server = self.server.as_ref()?;
        let is = |token: &Token| {
            self.agent_with(token).is_some_and(|number| self.agents[number].incarnation.project == project)
        };
        let found =
            server.sessions().find(|(_, session)| session.panes.iter().any(|pane| pane.token.as_ref().is_some_and(is)));
        found.map(|(name, _)| name.clone())
    }

    fn kill_session_of(&mut self, project: ProjectId) -> Deed {
        match self.session_of(project) {
            Some(name) if self.session_ends(&name) => Deed::Done,
            Some(_) | None => Deed::Nothing("there is no session"),
        }
    }

    fn foreign(&mut self, name: &str, token: Option<Token>) -> Deed {
        let process = self.kernel.spawn(self.at, Program::Stranger, None);
        let Some(server) = &mut self.server else { return Deed::Nothing("no server runs") };
        if !server.create(name, token.clone()) {
            return Deed::Nothing("the name is taken");
        }
        server.open(name, process, None);
        self.witness(Fact::SessionUp { name: name.to_owned(), token, ours: false });
        self.sessions_changed();
        Deed::Done
    }

    /// The session goes, and the names that the next epochs would take are somebody else's.
    fn take_name(&mut self, planned: &Planned, target: &Target) -> Deed {
        let Some(name) = self.session_of(target.project) else { return Deed::Nothing("there is no session") };
        self.session_ends(&name);
        if planned.kind == Kind::EmptyShell {
            self.squat(&name);
            return Deed::Done;
        }
        let Some((stem, epoch)) =
            name.rsplit_once("-e").and_then(|(stem, epoch)| Some((stem, epoch.parse::<u32>().ok()?)))
        else {
            return Deed::Done;
        };
        let next = format!("{stem}-e{}", epoch + 1);
        self.squat(&next);
        Deed::Done
    }

    fn hangs(&mut self, number: usize, spins: bool) -> Deed {
        let agent = &mut self.agents[number];
        if agent.hung.is_some() || agent.done {
            return Deed::Nothing("it does nothing as it is");
        }
        agent.hung = Some(self.at);
        agent.spins = spins;
        agent.plan += 1;
        let incarnation = agent.incarnation.clone();
        self.witness(Fact::Hangs { incarnation });
        Deed::Done
    }
}
