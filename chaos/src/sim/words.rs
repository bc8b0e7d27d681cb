//! What agents say of themselves beside the course of their work, as the hooks of a coding agent do.

use super::acts::Act;
use super::world::World;
use crate::setting::{Word, Wrote};
use crate::witness::Fact;
use orchestrator::domain::event::Report;
use orchestrator::domain::id::{ProjectId, RoleName};
use orchestrator::domain::limits::CREDIT_WAIT;
use orchestrator::domain::time::Span;

/// How long somebody takes to answer once the world is healed.
const ANSWER_US: u64 = 1_000_000;
/// How long after a newer agent's start a record of an older one comes in: before its brief, and after it.
const ECHO_US: (u64, u64) = (10_000, 3_000_000);

impl World {
    /// An agent says something, if there is one that can.
    pub(super) fn says(&mut self, project: ProjectId, role: &RoleName, word: Word) {
        if let Word::Late { wrote } = word {
            match self.newest_with_elder(project, role) {
                Some(number) => self.echo(number, wrote),
                None => self.late.entry((project, role.clone())).or_default().push_back(wrote),
            }
            return;
        }
        let Some(number) = self.living_agent_of(project, role) else { return };
        let agent = &self.agents[number];
        let stands = self.kernel.get(agent.process).is_some_and(|process| !process.stopped);
        if !agent.up || agent.done || agent.hung.is_some() || !stands {
            return;
        }
        match word {
            Word::Idle => drop(self.report(number, Report::Idle)),
            Word::NeedsInput { for_ms } => {
                if self.report(number, Report::NeedsInput(Some("May I run this?".to_owned()))) {
                    self.agents[number].asks = true;
                    self.pauses(number, for_ms * 1_000);
                }
            }
            Word::Credit { seconds } => self.spends(number, seconds),
            Word::Fail => {
                self.agents[number].plan += 1;
                self.plan(number, 0, Act::GiveUp);
            }
            Word::Late { .. } => {}
        }
    }

    fn spends(&mut self, number: usize, seconds: Option<u64>) {
        if !self.report(number, Report::Credit(seconds)) {
            return;
        }
        let rests = seconds.map_or(CREDIT_WAIT, Span::from_secs);
        let project = self.agents[number].incarnation.project;
        self.witness(Fact::Spent { project, wait: rests });
        self.pauses(number, rests.0);
    }

    /// It does nothing of itself for so long.
    fn pauses(&mut self, number: usize, micros: u64) {
        self.agents[number].plan += 1;
        self.plan(number, micros, Act::GoOn);
    }

    pub(super) fn goes_on(&mut self, number: usize) {
        self.agents[number].asks = false;
        self.report(number, Report::Progress(None));
        // Whoever had not read its brief is handed it again.
        if self.agents[number].briefed {
            self.works(number);
        }
    }

    /// Whoever waits for a person is answered.
    pub(super) fn answer_all(&mut self) {
        for number in 0..self.agents.len() {
            if self.agents[number].asks {
                self.pauses(number, ANSWER_US);
            }
        }
    }

    /// A new agent has begun: what one before it wrote may come in now.
    pub(super) fn echoes(&mut self, number: usize) {
        let incarnation = &self.agents[number].incarnation;
        let whose = (incarnation.project, incarnation.role.clone());
        if !self.late.contains_key(&whose) || self.elder(number).is_none() {
            return;
        }
        let Some(wrote) = self.late.get_mut(&whose).and_then(std::collections::VecDeque::pop_front) else { return };
        let after = self.temper.between(ECHO_US.0, ECHO_US.1);
        self.plan(number, after, Act::Echo(wrote));
    }

    /// A record of an older agent of this one's role comes in.
    pub(super) fn echo(&mut self, number: usize, wrote: Wrote) {
        let Some(elder) = self.elder(number) else { return };
        let report = match wrote {
            Wrote::Ack => Report::Ack,
            Wrote::Progress => Report::Progress(None),
            Wrote::Done => Report::Done(Some("done".to_owned())),
            Wrote::Fail => Report::Fail("the specification contradicts itself".to_owned()),
        };
        self.report(elder, report);
    }

    fn newest_with_elder(&self, project: ProjectId, role: &RoleName) -> Option<usize> {
        self.agent_of(project, role).filter(|number| self.elder(*number).is_some())
    }

    /// The last agent of the same role and an older epoch than this one: the order of births says nothing, since tmux
    /// may create late what an older incarnation had asked for (C15).
    fn elder(&self, number: usize) -> Option<usize> {
        let is = &self.agents[number].incarnation;
        let older = |it: &usize| {
            let other = &self.agents[*it].incarnation;
            other.project == is.project && other.role == is.role && other.epoch < is.epoch
        };
        (0..self.agents.len()).rev().find(older)
    }
}
