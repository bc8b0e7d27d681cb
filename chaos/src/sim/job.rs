//! Effects under way: each is a job that goes from stage to stage.
//!
//! A stage is one step that can be seen from outside; between any two of them the orchestrator may be killed, and what
//! others are already doing for it (the tmux server with its message, a git of its own) goes on without it.

use super::heap::Tick;
use super::points::Side;
use super::world::{Ev, World};
use crate::witness::Fact;
use orchestrator::domain::effect::{Effect, Ordered};
use orchestrator::domain::event::{Event, Fact as Done, Happened, Source};
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Program, Stderr};
use orchestrator::domain::id::ProcessId;
use orchestrator::domain::limits::deadline;
use orchestrator::domain::time::Span;

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// For nothing but its time.
    Time,
    /// For a connection to tmux.
    Link,
    /// For the tmux server to read its message.
    Server,
}

/// An effect under way.
#[derive(Debug)]
pub struct Job {
    /// Whose it is.
    pub life: usize,
    /// What.
    pub ordered: Ordered,
    /// Its next stage.
    pub stage: u8,
    /// What it waits for.
    pub waits: Waits,
    /// Whether nobody waits for its result any more: what was sent is done all the same.
    pub ghost: bool,
    /// Whether what it was to make was there already.
    pub adopted: bool,
    /// Where it has put what stood in its way.
    pub parked: Option<String>,
    /// The git that works for it.
    pub git: Option<ProcessId>,
    /// Processes that it is ending.
    pub left: Vec<ProcessId>,
    /// How many it has ended.
    pub ended: u32,
    /// When it began.
    pub began: Tick,
}

/// What comes after a stage.
pub enum Next {
    /// The next stage, after so many microseconds.
    Go(u64),
    /// That stage, after so many microseconds.
    Skip(u8, u64),
    /// The next stage, once there is a connection.
    Link,
    /// The next stage, by the tmux server when it reads the message.
    Tmux,
    /// It is over.
    Over(Result<Done, Box<Failure>>),
    /// It is over, and nothing is told of it.
    Silent,
}

impl World {
    /// An orchestrator hands an effect over.
    pub(super) fn submit(&mut self, life: usize, ordered: Ordered) {
        if ordered.effect == Effect::ListPanes {
            let after = self.takes(200, 1_500);
            self.after(after, Ev::List { life, source: Source::Sweep });
            return;
        }
        if ordered.effect == Effect::Survey {
            let after = self.takes(200, 1_500);
            self.after(after, Ev::Survey { life });
            return;
        }
        let id = self.next_job;
        self.next_job += 1;
        let job = Job {
            life,
            ordered,
            stage: 0,
            waits: Waits::Time,
            ghost: false,
            adopted: false,
            parked: None,
            git: None,
            left: Vec::new(),
            ended: 0,
            began: self.at,
        };
        self.jobs.insert(id, job);
        let after = self.takes(20, 150);
        self.after(after, Ev::Step { job: id, stage: 0 });
    }

    /// A job's time has come.
    pub(super) fn step(&mut self, id: u64, stage: u8) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.stage == stage) else { return };
        let life = job.life;
        if self.lives[life].alive && self.lives[life].paused && job.waits != Waits::Server && job.git.is_none() {
            // A stopped process does nothing; what it has under way goes on when it does.
            self.after(50_000, Ev::Step { job: id, stage });
            return;
        }
        if job.waits == Waits::Server {
            match &mut self.server {
                None => return self.lost(id),
                Some(server) if server.stopped => {
                    server.unread.push_back(id);
                    return;
                }
                Some(_) => {}
            }
        }
        self.pass(id, stage);
    }

    /// Performs a stage, with the crash that is planted on either side of it.
    fn pass(&mut self, id: u64, stage: u8) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (life, ghost, effect, name) = (job.life, job.ghost, job.ordered.id, job.ordered.effect.name());
        let durable = job.ordered.effect.is_durable();
        let (mut struck, mut due) = (None, None);
        if durable && !ghost && self.lives[life].alive {
            struck = self.points.pass(|| format!("{name}.{stage}"));
            due = self.points.due.take();
            if let Some((Side::Before, hit)) = due {
                self.suffer(hit);
            }
            if struck == Some(Side::Before) {
                self.points.struck = Some(life);
                // It never happens: a message that had not been read goes with who sent it. A git goes on by itself.
                self.jobs.retain(|other, job| *other != id || job.git.is_some());
                return;
            }
            if stage == 0 {
                self.witness(Fact::Began { life, effect, name, durable });
            }
        }
        let next = self.perform(id, stage);
        if let Some((Side::After, hit)) = due {
            self.suffer(hit);
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.waits = Waits::Time;
        if ghost {
            let going_on = matches!(next, Next::Go(_) | Next::Skip(..)) && job.git.is_some();
            if !going_on {
                self.jobs.remove(&id);
                return;
            }
        }
        match next {
            Next::Go(after) => self.go(id, stage + 1, after),
            Next::Skip(to, after) => self.go(id, to, after),
            Next::Link => self.await_link(id, stage + 1),
            Next::Tmux => self.send(id, stage + 1),
            Next::Over(result) => self.settle(id, result),
            Next::Silent => {
                self.jobs.remove(&id);
            }
        }
        if struck == Some(Side::After) {
            self.points.struck = Some(life);
        }
    }

    fn go(&mut self, id: u64, stage: u8, after: u64) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.stage = stage;
            self.after(after, Ev::Step { job: id, stage });
        }
    }

    fn await_link(&mut self, id: u64, stage: u8) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        (job.stage, job.waits) = (stage, Waits::Link);
        let life = job.life;
        // The first list after a connection is told before any effect gets the connection.
        if self.lives[life].link.is_some() && !self.lives[life].notified {
            self.resume(id);
        } else {
            self.lives[life].waiting.push(id);
            self.after(deadline::TMUX.0, Ev::Deadline { job: id, stage });
        }
    }

    /// The connection is there.
    pub(super) fn resume(&mut self, id: u64) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.waits == Waits::Link) else { return };
        job.waits = Waits::Time;
        let stage = job.stage;
        self.after(20, Ev::Step { job: id, stage });
    }

    /// Hands a message to the server; it acts when it reads it.
    fn send(&mut self, id: u64, stage: u8) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        (job.stage, job.waits) = (stage, Waits::Server);
        let life = job.life;
        if self.lives[life].link.is_none() {
            self.lost(id);
            return;
        }
        let after = self.takes(20, 400);
        self.after(after, Ev::Step { job: id, stage });
        if self.server.as_ref().is_some_and(|server| server.stopped) {
            self.after(deadline::TMUX.0, Ev::Deadline { job: id, stage });
        }
    }

    /// The server reads a message that had waited.
    pub(super) fn read(&mut self, id: u64) {
        let Some(job) = self.jobs.get(&id) else { return };
        let stage = job.stage;
        let after = self.takes(20, 400);
        self.after(after, Ev::Step { job: id, stage });
    }

    /// The server went away under a job.
    pub(super) fn lost(&mut self, id: u64) {
        let Some(job) = self.jobs.get(&id) else { return };
        let failure = unanswered(&job.ordered);
        self.settle(id, Err(Box::new(failure)));
    }

    /// The connection went, and the server has what it was asked: that is done, and nobody is told (T8).
    pub(super) fn leave_unanswered(&mut self, life: usize) {
        let asked = |job: &&mut Job| job.life == life && job.waits == Waits::Server && !job.ghost;
        let mut told = Vec::new();
        for job in self.jobs.values_mut().filter(asked) {
            job.ghost = true;
            told.push(settled(&job.ordered, Err(Box::new(unanswered(&job.ordered)))));
        }
        for happened in told {
            self.after(0, Ev::Tell { life, happened });
        }
    }

    /// A job has waited as long as it may: what it asked for may still happen.
    pub(super) fn late(&mut self, id: u64, stage: u8) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.stage == stage && !job.ghost) else { return };
        match job.waits {
            Waits::Time => {}
            Waits::Link => {
                let reason = "the connection to tmux was lost: tmux could not be reached in time";
                let ending = Ending::Lost(reason.to_owned());
                let failure = tmux_failure(&job.ordered, FailureKind::SubprocessFailed, ending);
                self.settle(id, Err(Box::new(failure)));
            }
            Waits::Server => {
                job.ghost = true;
                let failure = tmux_failure(&job.ordered, FailureKind::TimedOut, Ending::DeadlinePassed(deadline::TMUX));
                let told = settled(&job.ordered, Err(Box::new(failure)));
                let life = job.life;
                self.after(0, Ev::Tell { life, happened: told });
            }
        }
    }

    fn settle(&mut self, id: u64, result: Result<Done, Box<Failure>>) {
        let Some(job) = self.jobs.remove(&id) else { return };
        if job.ghost || !self.lives[job.life].alive {
            return;
        }
        let (life, happened) = (job.life, settled(&job.ordered, result));
        self.after(0, Ev::Tell { life, happened });
    }

    /// An orchestrator is gone: what others do for it goes on, everything else ends where it stands.
    pub(super) fn orphan_jobs(&mut self, life: usize) {
        self.jobs.retain(|_, job| job.life != life || job.waits == Waits::Server || job.git.is_some());
        for job in self.jobs.values_mut().filter(|job| job.life == life) {
            job.ghost = true;
        }
    }
}

/// A result is told under the source and moment that led to the effect.
pub(super) fn settled(ordered: &Ordered, result: Result<Done, Box<Failure>>) -> Happened {
    let Ordered { id, project, role, source, seen_at, .. } = ordered;
    let event = Event::Settled { effect: *id, project: *project, role: role.clone(), result };
    Happened { seen_at: *seen_at, source: *source, event }
}

/// The operation in words.
pub(super) fn words(ordered: &Ordered) -> Vec<String> {
    let mut words = vec![ordered.effect.name().to_owned()];
    words.extend(ordered.role.as_ref().map(ToString::to_string));
    words
}

/// The connection went before there was an answer.
fn unanswered(ordered: &Ordered) -> Failure {
    let reason = "the connection to tmux was lost: server exited unexpectedly";
    tmux_failure(ordered, FailureKind::SubprocessFailed, Ending::Lost(reason.to_owned()))
}

/// tmux's refusal, silence or loss as evidence.
pub(super) fn tmux_failure(ordered: &Ordered, kind: FailureKind, ending: Ending) -> Failure {
    Failure {
        stage: ordered.stage,
        kind,
        program: Program::Tmux,
        argv: words(ordered),
        cwd: None,
        ending,
        stderr: Stderr::Null,
        stdout_tail: String::new(),
        duration: Span(0),
        hint: None,
    }
}
