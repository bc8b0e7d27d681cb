//! What agents do of themselves, in their time.

use super::agent::Mood;
use super::kernel::Program;
use super::world::{Ev, World};
use crate::setting::Wrote;
use crate::witness::Fact;
use orchestrator::domain::event::{Event, FileIs, Happened, Report, Source};
use orchestrator::domain::id::ProcessId;
use orchestrator::domain::silence::{TOOL_END, TOOL_START};
use orchestrator::env::SpoolItem;

/// The exit code for ground that is not as it must be (EX_CONFIG), as the launcher gives it.
const UNFIT: i32 = 78;
/// How long lines wait for an agent that is slow to read them: longer than an acknowledgement is waited for.
const SLUMBERS_US: u64 = 40_000_000;
/// How long an agent waits before it tries a report again that could not be written.
const AGAIN_US: u64 = 1_000_000;

/// Something an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The launcher has looked at the ground and becomes the agent.
    Boot,
    /// It reads what has waited on its terminal.
    Read,
    /// It acknowledges its brief.
    Acknowledge,
    /// It reports progress.
    Progress,
    /// It says that it is done.
    Finish,
    /// It says that it cannot do the work.
    GiveUp,
    /// It exits with that code.
    Exit(i32),
    /// A tool that ran for long has ended.
    ToolEnd,
    /// It answers a question whether it is there.
    Answer,
    /// What it waited for has come: it goes on where it stood.
    GoOn,
    /// A record of an older agent of its role comes in.
    Echo(Wrote),
}

/// A line on an agent's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The brief's.
    Brief,
    /// A nudge.
    Nudge,
}

impl World {
    /// A planned act is due, unless something came between.
    pub(super) fn act(&mut self, number: usize, plan: u64, act: Act) {
        let Some(agent) = self.agents.get(number) else { return };
        let stands = self.kernel.get(agent.process).is_some_and(|process| !process.stopped);
        if agent.plan != plan || !stands || (agent.hung.is_some() && act != Act::Boot) {
            return;
        }
        match act {
            Act::Boot => self.boot(number),
            Act::Read => {
                self.agents[number].mood = Mood::Works;
                self.reads_brief(number);
            }
            Act::Acknowledge => self.acknowledge(number),
            Act::Progress => {
                let tool = self.agents[number].tool;
                if !tool && self.report(number, Report::Progress(None)) {
                    self.worked(number);
                }
                let pause = self.manner.progress_us;
                self.plan(number, pause, Act::Progress);
            }
            Act::Finish => {
                if !self.report(number, Report::Done(Some("done".to_owned()))) {
                    self.plan(number, AGAIN_US, Act::Finish);
                    return;
                }
                let agent = &mut self.agents[number];
                agent.done = true;
                let incarnation = agent.incarnation.clone();
                self.witness(Fact::Done { incarnation });
                // Some exit when they are done, some wait for the next word.
                if self.temper.below(2) == 0 {
                    self.plan(number, 1_000_000, Act::Exit(0));
                }
            }
            Act::GiveUp => {
                if self.report(number, Report::Fail("the specification contradicts itself".to_owned())) {
                    let incarnation = self.agents[number].incarnation.clone();
                    self.witness(Fact::GaveUp { incarnation });
                }
                self.plan(number, 100_000, Act::Exit(0));
            }
            Act::Exit(code) => {
                let process = self.agents[number].process;
                self.end(process, Some(code), None);
            }
            Act::ToolEnd => {
                self.agents[number].tool = false;
                self.report(number, Report::Progress(Some(TOOL_END.to_owned())));
            }
            Act::Answer => {
                self.report(number, Report::Progress(Some("still here".to_owned())));
            }
            Act::GoOn => self.goes_on(number),
            Act::Echo(wrote) => self.echo(number, wrote),
        }
    }

    /// Plans an agent's next act.
    pub(super) fn plan(&mut self, number: usize, after: u64, act: Act) {
        let plan = self.agents[number].plan;
        self.after(after, Ev::Act { agent: number, plan, act });
    }

    /// The launcher: it looks at the ground once more, and becomes the agent or exits.
    fn boot(&mut self, number: usize) {
        let agent = &self.agents[number];
        let tree = self.disk.tree(&agent.tree).filter(|tree| tree.there);
        let file = tree.and_then(|tree| tree.files.get("CLAUDE.md"));
        let sound = matches!(file, Some(FileIs::Regular(pin)) if *pin == agent.pin);
        let (process, mood) = (agent.process, agent.mood);
        if !sound {
            self.agents[number].stderr = Some("CLAUDE.md is not what was recorded at launch".to_owned());
            self.end(process, Some(UNFIT), None);
            return;
        }
        match mood {
            Mood::DiesInStart => {
                self.agents[number].stderr = Some("cannot load the model: connection refused".to_owned());
                self.end(process, Some(3), None);
            }
            Mood::ExitsAtOnce => self.end(process, Some(0), None),
            Mood::Works | Mood::Slow | Mood::Deaf | Mood::GivesUp | Mood::Asks | Mood::Slumbers | Mood::Slumbering => {
                self.agents[number].up = true;
                self.agents[number].output += 1;
                if self.agents[number].heard {
                    self.reads_brief(number);
                }
            }
        }
    }

    /// A line reaches the program that reads this terminal.
    pub(super) fn hears(&mut self, process: ProcessId, what: Heard) {
        let Some(Program::Agent(number)) = self.kernel.get(process).map(|process| process.program) else { return };
        let agent = &mut self.agents[number];
        agent.output += 1;
        match what {
            Heard::Brief if !agent.up => agent.heard = true,
            Heard::Brief => self.reads_brief(number),
            Heard::Nudge if agent.up && agent.briefed => {
                let after = self.temper.between(100_000, 2_000_000);
                self.plan(number, after, Act::Answer);
            }
            Heard::Nudge => {}
        }
    }

    fn reads_brief(&mut self, number: usize) {
        let agent = &mut self.agents[number];
        agent.heard = false;
        if agent.briefed {
            // It knows the brief by its file and does not begin twice.
            return;
        }
        let process = agent.process;
        match agent.mood {
            Mood::Deaf => return self.brief_lost(process),
            Mood::Asks => {
                agent.mood = Mood::Works;
                return self.brief_lost(process);
            }
            Mood::Slumbers => {
                agent.mood = Mood::Slumbering;
                return self.plan(number, SLUMBERS_US, Act::Read);
            }
            Mood::Slumbering => return,
            Mood::Works | Mood::DiesInStart | Mood::Slow | Mood::ExitsAtOnce | Mood::GivesUp => {}
        }
        let (low, high) = self.manner.ack_us;
        let after = self.temper.between(low, high) * self.slowness;
        self.plan(number, after, Act::Acknowledge);
    }

    /// A brief that was handed over does not come to that agent. Who has read one needs no other, and who waits for a
    /// person is not asked.
    pub(super) fn brief_lost(&mut self, process: ProcessId) {
        let Some(Program::Agent(number)) = self.kernel.get(process).map(|process| process.program) else { return };
        let agent = &self.agents[number];
        if !agent.briefed && !agent.asks {
            let incarnation = agent.incarnation.clone();
            self.witness(Fact::BriefLost { incarnation });
        }
    }

    fn acknowledge(&mut self, number: usize) {
        if self.agents[number].briefed {
            return;
        }
        if !self.report(number, Report::Ack) {
            self.plan(number, AGAIN_US, Act::Acknowledge);
            return;
        }
        let incarnation = self.agents[number].incarnation.clone();
        self.witness(Fact::Acknowledged { incarnation });
        let agent = &mut self.agents[number];
        agent.briefed = true;
        if agent.mood == Mood::GivesUp {
            self.plan(number, 500_000, Act::GiveUp);
            return;
        }
        self.works(number);
    }

    /// It has so much work left, and reports progress meanwhile.
    pub(super) fn works(&mut self, number: usize) {
        let incarnation = &self.agents[number].incarnation;
        let whose = (incarnation.project, incarnation.role.clone());
        let (low, high) = self.manner.work_us;
        let drawn = self.temper.between(low, high);
        let left = *self.work.entry(whose).or_insert(drawn);
        self.plan(number, left.max(1_000_000), Act::Finish);
        let pause = self.manner.progress_us;
        if pause < left {
            self.plan(number, pause, Act::Progress);
        }
    }

    /// A stretch of work is done and kept in the worktree, whoever goes on with it.
    fn worked(&mut self, number: usize) {
        let agent = &mut self.agents[number];
        agent.output += 1;
        let whose = (agent.incarnation.project, agent.incarnation.role.clone());
        let tree = agent.tree.clone();
        let done = self.manner.progress_us;
        if let Some(left) = self.work.get_mut(&whose) {
            *left = left.saturating_sub(done);
        }
        if let Some(tree) = self.disk.tree_mut(&tree) {
            tree.commits += 1;
        }
    }

    /// A tool starts that will say nothing for so long.
    pub(super) fn starts_tool(&mut self, number: usize, micros: u64) {
        self.report(number, Report::Progress(Some(TOOL_START.to_owned())));
        self.agents[number].tool = true;
        self.plan(number, micros, Act::ToolEnd);
    }

    /// Writes a record into the spool; false if that cannot be done just now.
    pub(super) fn report(&mut self, number: usize, report: Report) -> bool {
        if self.disk.full {
            return false;
        }
        let incarnation = &self.agents[number].incarnation;
        let event = Event::Reported {
            project: incarnation.project,
            role: incarnation.role.clone(),
            epoch: incarnation.epoch,
            token: incarnation.token.clone(),
            report,
        };
        self.records += 1;
        let name = std::ffi::OsString::from(format!("{:016}-{:08}", self.at, self.records));
        let happened = Happened { seen_at: self.now(), source: Source::Spool, event };
        self.spool.insert(name.clone(), SpoolItem { name, happened, usable: true });
        for life in self.living() {
            let after = self.takes(59, 300);
            self.tell(life, after, Source::Spool, Event::SpoolTouched);
        }
        true
    }
}
