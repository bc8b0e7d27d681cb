//! The course of a soak: projects keep coming, agents are watched, and the orchestrator is killed.

use super::ledger::{Agents, Ledger, Life};
use super::moments::{Moment, Told};
use super::{Soak, SoakStep};
use crate::live::clock::Clock;
use crate::live::database::Database;
use crate::live::journal::Journal;
use crate::live::orch::{Orch, Serve};
use crate::live::play::{Over, every};
use crate::live::process::{is_alive, marked, parent};
use crate::live::sample::incarnation;
use crate::live::sandbox::{MARK, Sandbox, Work};
use crate::live::stop::{Stop, Waited};
use crate::truth::{Incarnation, ProjectRow};
use orchestrator::domain::id::{ProcessId, Token};
use orchestrator::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often the log is read on.
const READ_EVERY: Duration = Duration::from_millis(20);
/// How often agents are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// Between a look in which something seems wrong and the one that has to confirm it.
const AGAIN_AFTER: Duration = Duration::from_millis(150);
/// How often it is looked whether another project is wanted.
const FEED_EVERY: Duration = Duration::from_millis(50);
/// How long an entry of the journal is waited for; if it does not come, the kill comes all the same.
const TOLD_WITHIN: Duration = Duration::from_secs(3);
/// How often it is looked whether it has come: the kill must land close behind it.
const TOLD_EVERY: Duration = Duration::from_millis(2);
/// How long a start may take until it says that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(15);
/// How long everything may take to finish after the last kill.
const FINISH_WITHIN: Duration = Duration::from_secs(120);
/// The whole soak takes at most so long for each kill, beside what finishing takes.
const KILL_WITHIN: Duration = Duration::from_secs(8);
/// Starts in a row that may end by themselves before it is given up.
const REFUSED_MAX: u32 = 5;
/// After how many kills it is told how far it is.
const TELL_EVERY: u64 = 25;

/// Everything that a soak plays with.
pub(super) struct Course<'a> {
    pub(super) soak: &'a Soak,
    pub(super) sandbox: &'a Sandbox,
    pub(super) orch: &'a Orch,
    pub(super) database: &'a Database,
    pub(super) journal: &'a Journal,
    pub(super) clock: &'a Clock,
    pub(super) stop: &'a Stop,
    pub(super) tell: &'a (dyn Fn(SoakStep) + Sync),
}

/// Figures beside the ledger's.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) moments: BTreeMap<String, u64>,
    pub(super) states: BTreeMap<String, u64>,
    pub(super) intents: BTreeMap<String, u64>,
    pub(super) journal: BTreeMap<String, u64>,
    pub(super) trouble: Vec<String>,
}

/// What the threads share.
#[derive(Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    /// The newest look.
    agents: Mutex<Agents>,
    trouble: Mutex<Vec<String>>,
    /// No more projects are wanted.
    fed: AtomicBool,
    over: AtomicBool,
}

impl Course<'_> {
    /// From the first project to the last look.
    pub(super) fn run(&self) -> (Ledger, Counts) {
        let shared = Shared::default();
        let mut counts = Counts::default();
        thread::scope(|scope| {
            // Set on every way out, also by a panic: a scope waits for its threads.
            let _over = Over(&shared.over);
            scope.spawn(|| every(READ_EVERY, &shared.over, || self.journal.catch_up()));
            scope.spawn(|| every(LOOK_EVERY, &shared.over, || self.look(&shared)));
            scope.spawn(|| self.feed(&shared));
            if let Err(why) = self.kills(&shared, &mut counts) {
                counts.trouble.push(why);
            }
        });
        counts.trouble.extend(shared.trouble.into_inner().unwrap_or_else(PoisonError::into_inner));
        (shared.ledger.into_inner().unwrap_or_else(PoisonError::into_inner), counts)
    }

    /// Keeps so many projects unfinished: some that wait until the end, and short ones that come and go.
    fn feed(&self, shared: &Shared) {
        let mut stream = self.soak.seed.stream("work");
        let long = u64::from(self.soak.projects / 3).max(1);
        // One more than there are slots: somebody always waits in the queue.
        let wanted = self.soak.projects as usize + 1;
        let mut number = 0;
        while !shared.fed.load(Ordering::SeqCst) && !shared.over.load(Ordering::SeqCst) {
            let unfinished =
                self.database.rows().map(|rows| rows.iter().filter(|row| !row.state.is_terminal()).count());
            if unfinished.is_ok_and(|unfinished| unfinished >= wanted) {
                thread::sleep(FEED_EVERY);
                continue;
            }
            let work = Work { steps: stream.between(1, 4), step_ms: stream.between(50, 400), waits: number < long };
            let repo = u32::try_from(number % u64::from(self.soak.projects)).unwrap_or(0);
            let enqueued = self.sandbox.write_spec(number, repo, &work).and_then(|spec| self.orch.enqueue(&spec));
            match enqueued {
                Ok(id) => {
                    lock(&shared.ledger).acknowledged.insert(id);
                }
                Err(why) => {
                    lock(&shared.trouble).push(why);
                    return;
                }
            }
            number += 1;
        }
    }

    /// Looks at the agents once, and a second time if something seems wrong.
    fn look(&self, shared: &Shared) {
        let first = self.agents();
        if lock(&shared.ledger).unknown(&first)
            && let Ok(tokens) = self.database.agent_tokens()
        {
            lock(&shared.ledger).know(tokens);
        }
        if lock(&shared.ledger).suspects(&first) {
            thread::sleep(AGAIN_AFTER);
            let second = self.agents();
            if let Ok(tokens) = self.database.agent_tokens() {
                lock(&shared.ledger).know(tokens);
            }
            lock(&shared.ledger).saw(&first, &second);
        } else {
            lock(&shared.ledger).saw(&first, &first);
        }
        *lock(&shared.agents) = first;
    }

    /// The agents that live, each by the processes whose parent is none of its own.
    fn agents(&self) -> Agents {
        let found: Vec<(Incarnation, ProcessId)> = marked(MARK, self.sandbox.mark())
            .iter()
            .filter_map(|(process, environ)| Some((incarnation(environ)?, *process)))
            .collect();
        let tokens: BTreeMap<u32, Token> =
            found.iter().map(|(agent, process)| (process.pid, agent.token.clone())).collect();
        let mut agents = Agents::new();
        for (agent, process) in found.into_iter().filter(|(_, process)| is_alive(*process)) {
            let child = parent(process.pid).and_then(|parent| tokens.get(&parent)).is_some_and(|of| *of == agent.token);
            if !child {
                agents.entry(agent).or_default().push(process);
            }
        }
        agents.values_mut().for_each(|processes| processes.sort_by_key(|process| (process.start, process.pid)));
        agents
    }

    fn kills(&self, shared: &Shared, counts: &mut Counts) -> Result<(), String> {
        let mut stream = self.soak.seed.stream("kills");
        let until = Instant::now() + FINISH_WITHIN + KILL_WITHIN * u32::try_from(self.soak.kills).unwrap_or(u32::MAX);
        let mut refused = 0;
        let (mut serve, mut from) = self.start(shared)?;
        let mut kill = 0;
        let mut watched = Agents::new();
        while kill < self.soak.kills {
            if self.stop.asked().is_some() {
                return Ok(());
            } else if Instant::now() >= until || refused > REFUSED_MAX {
                return Err(format!("given up after {kill} kills: late, or {refused} starts ended by themselves"));
            }
            let moment = Moment::draw(&mut stream);
            self.await_moment(moment, &mut serve);
            // Not looked at now: that would take its time, and the moment would be another.
            let before = lock(&shared.agents).clone();
            let killed = serve.kill();
            let now = self.clock.now();
            // Those of the kill before have lived through it, and through the whole life of the one that came after.
            lock(&shared.ledger).survived(kill, &watched, is_alive);
            watched = before;
            lock(&shared.ledger).lives.push(Life { pid: serve.pid(), from, until: now });
            match killed {
                Ok(()) => {
                    kill += 1;
                    refused = 0;
                    lock(&shared.ledger).kills = kill;
                    *counts.moments.entry(moment.name()).or_insert(0) += 1;
                    self.note(counts);
                }
                Err(why) => {
                    refused += 1;
                    lock(&shared.ledger).refused_starts.push(format!("after kill {kill}: {why}"));
                }
            }
            (serve, from) = self.start(shared)?;
            self.present(shared, kill);
            if kill % TELL_EVERY == 0 && refused == 0 {
                self.report(shared);
            }
        }
        self.finish(shared, &mut serve, from, &watched)
    }

    /// Starts the next one. One that has ended already is a start that was refused, and is followed by another.
    fn start(&self, shared: &Shared) -> Result<(Serve, Timestamp), String> {
        let mut last = String::new();
        for _ in 0..REFUSED_MAX {
            let from = self.clock.now();
            match self.orch.spawn_serve(&self.sandbox.dir().join("serve.log")) {
                Ok(serve) => return Ok((serve, from)),
                Err(why) => {
                    let mut ledger = lock(&shared.ledger);
                    let kills = ledger.kills;
                    ledger.refused_starts.push(format!("after kill {kills}: {why}"));
                    last = why;
                }
            }
            thread::sleep(READ_EVERY);
        }
        Err(last)
    }

    fn await_moment(&self, moment: Moment, serve: &mut Serve) {
        match moment {
            Moment::AfterStart(gap) => thread::sleep(gap),
            Moment::AfterReady(gap) => {
                self.await_ready(serve);
                thread::sleep(gap);
            }
            Moment::After(told, gap) => {
                self.await_ready(serve);
                self.await_told(told);
                thread::sleep(gap);
            }
        }
    }

    fn await_ready(&self, serve: &mut Serve) -> bool {
        let ready =
            self.stop.wait(Instant::now() + READY_WITHIN, || self.orch.is_ready(serve) || serve.ended().is_some());
        ready == Waited::Ready
    }

    fn await_told(&self, told: Told) {
        self.journal.catch_up();
        let mut seen = self.journal.with(<[_]>::len);
        let deadline = Instant::now() + TOLD_WITHIN;
        while Instant::now() < deadline && self.stop.asked().is_none() {
            self.journal.catch_up();
            let came = self.journal.with(|journal| {
                let new = journal.get(seen..).unwrap_or_default();
                seen = journal.len();
                new.iter().any(|logged| told.is(logged))
            });
            if came {
                return;
            }
            thread::sleep(TOLD_EVERY);
        }
    }

    /// In what the kill landed: nobody writes the database now but `orch enqueue`.
    fn note(&self, counts: &mut Counts) {
        let rows = self.database.rows().unwrap_or_default();
        let states: BTreeSet<&str> =
            rows.iter().filter(|row| !row.state.is_terminal()).map(|row| row.state.name()).collect();
        for state in states {
            *counts.states.entry(state.to_owned()).or_insert(0) += 1;
        }
        for effect in self.database.open_intents(&rows).unwrap_or_default() {
            *counts.intents.entry(effect).or_insert(0) += 1;
        }
    }

    /// Right after a restart: everything that was acknowledged is there.
    fn present(&self, shared: &Shared, kill: u64) {
        let acknowledged = lock(&shared.ledger).acknowledged.clone();
        match self.database.rows() {
            Ok(rows) => lock(&shared.ledger).present(kill, &acknowledged, &rows),
            Err(why) => lock(&shared.trouble).push(why),
        }
    }

    fn report(&self, shared: &Shared) {
        let agents = self.agents().len() as u64;
        let ended = self.database.rows().unwrap_or_default().iter().filter(|row| row.state.is_terminal()).count();
        let ledger = lock(&shared.ledger);
        let (made, acknowledged) = (ledger.kills, ledger.acknowledged.len() as u64);
        drop(ledger);
        (self.tell)(SoakStep::Kills { made, acknowledged, ended: ended as u64, agents });
    }

    /// Lets everything finish, and stops in order.
    fn finish(&self, shared: &Shared, serve: &mut Serve, from: Timestamp, watched: &Agents) -> Result<(), String> {
        (self.tell)(SoakStep::Finishing);
        shared.fed.store(true, Ordering::SeqCst);
        if !self.await_ready(serve) {
            return Err("the last start was not ready in time".to_owned());
        }
        self.sandbox.release()?;
        let ended = |row: &ProjectRow| row.state.is_terminal();
        self.stop.wait(Instant::now() + FINISH_WITHIN, || {
            let rows = self.database.rows().unwrap_or_default();
            serve.ended().is_some() || (rows.iter().all(ended) && self.agents().is_empty())
        });
        let kills = lock(&shared.ledger).kills;
        // Now all of them are gone: each must have been done first.
        lock(&shared.ledger).survived(kills, watched, is_alive);
        for agent in self.agents().keys() {
            lock(&shared.trouble)
                .push(format!("an agent of project {} ({}) is left at the end", agent.project, agent.role));
        }
        let stopped = serve.stop();
        lock(&shared.ledger).lives.push(Life { pid: serve.pid(), from, until: self.clock.now() });
        stopped
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // What was counted stays as true if a thread panicked.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
