//! Whose processes are whose, also of those that have wiped their environment.
//!
//! A child of an agent that was started with `env -i` carries no token. Two things still tell whose it is: it descends
//! from a process that is known, or it is in a session that a known process founded. Descent is visible only while the
//! chain of parents lives, so it is looked at while the agents live, at every sweep and once more before an end begins;
//! who was seen once is remembered by pid and start time.
//!
//! Out of reach, and so left alone rather than guessed at: a process that wiped its environment, founded a session of
//! its own *and* lost its parent, all between two looks or while no orchestrator ran. Its working directory would
//! prove nothing: people look into worktrees, too.

use super::process::{EndError, Ended, end_found};
use super::scan::{self, Kinship};
use crate::domain::id::{ProcessId, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Known = BTreeMap<String, BTreeSet<ProcessId>>;

/// Everybody who is known to belong to an incarnation, by its token. Shared; blocking where it says so.
#[derive(Debug, Clone, Default)]
pub(super) struct Kin(Arc<Mutex<Known>>);

impl Kin {
    /// An incarnation's own process, which may have ended already: the session that it founded is still its own.
    pub(super) fn root(&self, token: &Token, process: ProcessId) {
        self.with(|known| known.entry(token.0.clone()).or_default().insert(process));
    }

    /// Looks at who has come and gone. Blocking: one pass through `/proc`, some 20 µs a process.
    ///
    /// # Errors
    /// The system's, if `/proc` itself cannot be read.
    pub(super) fn look(&self) -> io::Result<()> {
        if self.with(|known| known.is_empty()) {
            return Ok(());
        }
        let table = scan::kinship()?;
        self.with(|known| {
            known.values_mut().for_each(|all| grow(all, &table));
            known.retain(|_, all| !all.is_empty());
        });
        Ok(())
    }

    /// Ends everybody who carries one of the tokens or belongs to who does, as [`super::process::end_all`] does, then
    /// forgets them.
    ///
    /// # Errors
    /// As [`super::process::end_all`]; who is left stays known.
    pub(super) async fn end(&self, tokens: &BTreeSet<String>, grace: Duration) -> Result<Ended, EndError> {
        let (kin, wanted) = (self.clone(), tokens.clone());
        let ended = end_found(move || kin.find(&wanted), grace).await?;
        self.with(|known| known.retain(|token, _| !tokens.contains(token)));
        Ok(ended)
    }

    /// All of these incarnations who live now.
    fn find(&self, tokens: &BTreeSet<String>) -> io::Result<Vec<ProcessId>> {
        let bearers = scan::find_by_token(tokens)?;
        let table = scan::kinship()?;
        Ok(self.with(|known| {
            for (process, token) in bearers {
                known.entry(token).or_default().insert(process);
            }
            let mut found = BTreeSet::new();
            for (_, all) in known.iter_mut().filter(|(token, _)| tokens.contains(*token)) {
                grow(all, &table);
                found.extend(all.iter().copied().filter(|id| lives(&table, *id)));
            }
            found.into_iter().collect()
        }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn lives(table: &BTreeMap<u32, Kinship>, id: ProcessId) -> bool {
    table.get(&id.pid).is_some_and(|row| row.start == id.start && row.alive)
}

/// Adds who belongs to those that are known, until nobody is added; forgets the dead whose sessions are empty.
fn grow(known: &mut BTreeSet<ProcessId>, table: &BTreeMap<u32, Kinship>) {
    loop {
        let belongs = |row: &Kinship| {
            let parent = known.range(with_number(row.parent)).any(|of| lives(table, *of));
            // The kernel gives no number twice while a session of that number has members. So who is in it is either
            // of the known founder's, or somebody took the number, which shows while that one lives.
            let mut founders = known.range(with_number(row.session));
            parent
                || founders
                    .any(|of| table.get(&of.pid).is_none_or(|now| now.start == of.start) && row.start >= of.start)
        };
        let found: Vec<ProcessId> = table
            .iter()
            .map(|(pid, row)| (ProcessId { pid: *pid, start: row.start }, row))
            .filter(|(id, row)| row.alive && !known.contains(id) && belongs(row))
            .map(|(id, _)| id)
            .collect();
        if found.is_empty() {
            break;
        }
        known.extend(found);
    }
    // Once somebody else has the number, the session that went by it had no member left: what goes by it from then on
    // is a stranger's, also after that one has left it.
    known.retain(|id| match table.get(&id.pid) {
        Some(now) if now.start != id.start => false,
        Some(now) if now.alive => true,
        Some(_) | None => table.values().any(|row| row.session == id.pid && row.alive),
    });
}

fn with_number(pid: u32) -> std::ops::RangeInclusive<ProcessId> {
    ProcessId { pid, start: 0 }..=ProcessId { pid, start: u64::MAX }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::env::process::{INSTANCE_VARIABLE, identify, is_alive};
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    const GRACE: Duration = Duration::from_millis(300);

    fn row(parent: u32, session: u32, start: u64) -> Kinship {
        Kinship { parent, session, start, alive: true }
    }

    fn id(pid: u32, start: u64) -> ProcessId {
        ProcessId { pid, start }
    }

    #[test]
    fn who_belongs_is_found_by_descent_and_by_session_and_nobody_else() {
        let mut table = BTreeMap::from([
            (10, row(1, 10, 100)),  // the agent
            (11, row(10, 10, 110)), // its child
            (12, row(11, 12, 120)), // a grandchild in a session of its own
            (13, row(1, 10, 130)),  // an orphan in the agent's session
            (14, row(1, 12, 140)),  // an orphan in the grandchild's session
            (20, row(1, 20, 105)),
            (21, row(20, 20, 150)),
        ]);
        let mut known = BTreeSet::from([id(10, 100)]);
        grow(&mut known, &table);
        let pids = |known: &BTreeSet<ProcessId>| known.iter().map(|id| id.pid).collect::<Vec<_>>();
        assert_eq!(pids(&known), [10, 11, 12, 13, 14]);
        // The agent and the grandchild are gone; their sessions are still theirs.
        table.remove(&10);
        table.remove(&12);
        table.insert(15, row(1, 12, 160));
        grow(&mut known, &table);
        assert_eq!(pids(&known), [10, 11, 12, 13, 14, 15]);
        // Somebody else has got the agent's number: neither he nor his are ours.
        let mut known = BTreeSet::from([id(10, 100)]);
        let others = BTreeMap::from([(10, row(1, 10, 900)), (30, row(10, 10, 910))]);
        grow(&mut known, &others);
        assert!(!known.contains(&id(10, 900)) && !known.contains(&id(30, 910)), "{known:?}");
    }

    #[test]
    fn the_session_of_whoever_took_a_number_stays_a_strangers_when_its_founder_leaves() {
        let mut known = BTreeSet::from([id(10, 100)]);
        // The agent is gone, a stranger has its number and a session, and goes, as a shell does that leaves a job.
        let mut table = BTreeMap::from([(10, row(1, 10, 900)), (30, row(10, 10, 910))]);
        grow(&mut known, &table);
        table.remove(&10);
        table.insert(30, row(1, 10, 910));
        grow(&mut known, &table);
        assert!(known.is_empty(), "{known:?}");
    }

    /// An agent: leader of its session, as tmux starts one. Says the pids that its script echoes, as one line.
    async fn agent(script: &str, token: &str) -> (std::process::Child, Vec<ProcessId>) {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", script]).env(INSTANCE_VARIABLE, token).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pids = line.split_ascii_whitespace().map(|pid| identify(pid.parse().unwrap()).unwrap()).collect();
        (child, pids)
    }

    #[tokio::test]
    async fn orphans_of_every_kind_are_ended() {
        let token = format!("orphans-{}", std::process::id());
        // It ignores the hangup, ignores TERM, has its own session, has wiped its environment, and both of the last.
        let script = "exec 2>/dev/null; for how in 'nohup' 'env --ignore-signal=TERM' 'setsid' 'env -i' 'setsid env -i'; do \
                      $how sleep 300 >/dev/null & all=\"$all $!\"; done; sleep 0.2; echo $$ $all; wait";
        let (mut child, ids) = agent(script, &token).await;
        assert_eq!(ids.len(), 6);
        let (bystander, other) = agent("echo $$; exec sleep 300", "somebody").await;
        let kin = Kin::default();
        kin.root(&Token(token.clone()), ids[0]);
        kin.look().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ids[1..].iter().all(|id| is_alive(*id)), "all of them have outlived their agent");
        let ended = kin.end(&BTreeSet::from([token]), GRACE).await.unwrap();
        assert!(ids.iter().all(|id| !is_alive(*id)), "{ended:?}");
        assert_eq!(ended.term + ended.kill, 5);
        assert!(ended.kill >= 1, "{ended:?}");
        assert!(is_alive(other[0]), "and nobody else was");
        kin.with(|known| assert!(known.is_empty(), "nothing is remembered of who is gone"));
        let mut bystander = bystander;
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }

    #[tokio::test]
    async fn a_wiped_orphan_is_found_by_its_dead_agents_session() {
        let token = format!("session-{}", std::process::id());
        let (mut child, ids) = agent("env -i sleep 300 >/dev/null & sleep 0.2; echo $$ $!; wait", &token).await;
        child.kill().unwrap();
        child.wait().unwrap();
        // Nobody ever looked while the agent lived: after a restart only its pid and start time are known.
        let kin = Kin::default();
        kin.root(&Token(token.clone()), ids[0]);
        kin.end(&BTreeSet::from([token]), GRACE).await.unwrap();
        assert!(!is_alive(ids[1]));
    }
}
