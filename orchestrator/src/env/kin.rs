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
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Known = BTreeMap<String, BTreeSet<ProcessId>>;

/// Everybody who is known to belong to an incarnation, by its token. Shared; blocking where it says so.
#[derive(Debug, Clone, Default)]
pub struct Kin(Arc<Mutex<Known>>);

impl Kin {
    /// An incarnation's own process, which may have ended already: the session that it founded is still its own.
    pub fn root(&self, token: &Token, process: ProcessId) {
        self.with(|known| known.entry(token.0.clone()).or_default().insert(process));
    }

    /// Looks at who has come and gone. Blocking: nothing is read while nobody is known; otherwise one small file a
    /// process, however many are known, some 9 µs of CPU each and nearly all of that the kernel's. Whoever is made
    /// known meanwhile stays so.
    ///
    /// # Errors
    /// The system's, if `/proc` itself cannot be read.
    pub fn look(&self) -> io::Result<()> {
        self.look_below(Path::new(scan::PROC))
    }

    fn look_below(&self, proc: &Path) -> io::Result<()> {
        let judged = self.with(|known| everybody(known));
        if judged.is_empty() {
            return Ok(());
        }
        let table = Table::new(scan::kinship(proc)?);
        self.with(|known| {
            for all in known.values_mut() {
                grow(all, &table);
                forget(all, &table, &judged);
            }
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
        let judged = self.with(|known| {
            for (process, token) in bearers {
                known.entry(token).or_default().insert(process);
            }
            everybody(known)
        });
        let table = Table::new(scan::kinship(Path::new(scan::PROC))?);
        Ok(self.with(|known| {
            let mut found = BTreeSet::new();
            for (_, all) in known.iter_mut().filter(|(token, _)| tokens.contains(*token)) {
                grow(all, &table);
                forget(all, &table, &judged);
                found.extend(all.iter().copied().filter(|id| table.lives(*id)));
            }
            found.into_iter().collect()
        }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who is known before a table is read: only of them does their absence from it tell anything.
fn everybody(known: &Known) -> BTreeSet<ProcessId> {
    known.values().flatten().copied().collect()
}

/// Who was there in one look through `/proc`. Who is below whom and in which session is put in order once, so that
/// asking for one incarnation does not go through everybody.
struct Table {
    rows: BTreeMap<u32, Kinship>,
    /// The living, each behind its parent's number, in order.
    children: Vec<(u32, ProcessId)>,
    /// The living, each behind its session's number, in order.
    members: Vec<(u32, ProcessId)>,
    /// How many rows were looked at.
    #[cfg(test)]
    asked: std::cell::Cell<usize>,
}

impl Table {
    fn new(rows: BTreeMap<u32, Kinship>) -> Self {
        let in_order = |behind: fn(&Kinship) -> u32| {
            let living = rows.iter().filter(|(_, row)| row.alive);
            let mut list: Vec<_> =
                living.map(|(pid, row)| (behind(row), ProcessId { pid: *pid, start: row.start })).collect();
            list.sort_unstable();
            list
        };
        let (children, members) = (in_order(|row| row.parent), in_order(|row| row.session));
        Self {
            rows,
            children,
            members,
            #[cfg(test)]
            asked: std::cell::Cell::default(),
        }
    }

    fn get(&self, pid: u32) -> Option<&Kinship> {
        self.count();
        self.rows.get(&pid)
    }

    fn lives(&self, id: ProcessId) -> bool {
        self.get(id.pid).is_some_and(|row| row.start == id.start && row.alive)
    }

    /// The living members of the session of that number, whosever it is.
    fn session(&self, number: u32) -> impl Iterator<Item = ProcessId> {
        self.behind(&self.members, number)
    }

    /// The living whom it started, or who were left to it, and who are in the session that it founded.
    fn below(&self, of: ProcessId) -> impl Iterator<Item = ProcessId> {
        let now = self.get(of.pid);
        let (same, alive) = (now.is_some_and(|row| row.start == of.start), now.is_some_and(|row| row.alive));
        let children = (same && alive).then(|| self.behind(&self.children, of.pid));
        // The kernel gives no number twice while a session of that number has members. So who is in it is either of
        // the founder's, or somebody took the number, which shows while that one lives.
        let members = (same || now.is_none()).then(|| self.session(of.pid).filter(move |id| id.start >= of.start));
        children.into_iter().flatten().chain(members.into_iter().flatten())
    }

    fn behind<'a>(&self, list: &'a [(u32, ProcessId)], number: u32) -> impl Iterator<Item = ProcessId> + use<'_, 'a> {
        let from = list.partition_point(|(of, _)| *of < number);
        let own = list[from..].iter().take_while(move |(of, _)| *of == number);
        own.map(|(_, id)| *id).inspect(|_| self.count())
    }

    fn count(&self) {
        #[cfg(test)]
        self.asked.update(|asked| asked + 1);
    }
}

/// Adds who belongs to those that are known, until nobody is added.
fn grow(known: &mut BTreeSet<ProcessId>, table: &Table) {
    let mut unasked: Vec<ProcessId> = known.iter().copied().collect();
    while let Some(of) = unasked.pop() {
        unasked.extend(table.below(of).filter(|id| known.insert(*id)));
    }
}

/// Forgets, of those who are `judged`, the dead whose sessions are empty.
fn forget(known: &mut BTreeSet<ProcessId>, table: &Table, judged: &BTreeSet<ProcessId>) {
    // Once somebody else has the number, the session that went by it had no member left: what goes by it from then on
    // is a stranger's, also after that one has left it.
    known.retain(|id| match table.get(id.pid) {
        Some(now) if now.start == id.start && now.alive => true,
        _ if !judged.contains(id) => true,
        Some(now) if now.start != id.start => false,
        Some(_) | None => table.session(id.pid).next().is_some(),
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::env::process::{INSTANCE_VARIABLE, identify, is_alive};
    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;
    use rustix::fd::OwnedFd;
    use rustix::fs::inotify;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    const GRACE: Duration = Duration::from_millis(300);

    /// One look at these, all of whom are judged.
    fn settle(known: &mut BTreeSet<ProcessId>, rows: &BTreeMap<u32, Kinship>) {
        let (table, judged) = (Table::new(rows.clone()), known.clone());
        grow(known, &table);
        forget(known, &table, &judged);
    }

    fn row(parent: u32, session: u32, start: u64) -> Kinship {
        Kinship { parent, session, start, alive: true }
    }

    fn id(pid: u32, start: u64) -> ProcessId {
        ProcessId { pid, start }
    }

    #[test]
    fn who_belongs_is_found_by_descent_and_by_session_and_nobody_else() {
        let mut rows = BTreeMap::from([
            (10, row(1, 10, 100)),  // the agent
            (11, row(10, 10, 110)), // its child
            (12, row(11, 12, 120)), // a grandchild in a session of its own
            (13, row(1, 10, 130)),  // an orphan in the agent's session
            (14, row(1, 12, 140)),  // an orphan in the grandchild's session
            (20, row(1, 20, 105)),
            (21, row(20, 20, 150)),
        ]);
        let mut known = BTreeSet::from([id(10, 100)]);
        settle(&mut known, &rows);
        let pids = |known: &BTreeSet<ProcessId>| known.iter().map(|id| id.pid).collect::<Vec<_>>();
        assert_eq!(pids(&known), [10, 11, 12, 13, 14]);
        // The agent and the grandchild are gone; their sessions are still theirs.
        rows.remove(&10);
        rows.remove(&12);
        rows.insert(15, row(1, 12, 160));
        settle(&mut known, &rows);
        assert_eq!(pids(&known), [10, 11, 12, 13, 14, 15]);
        // Somebody else has got the agent's number: neither he nor his are ours.
        let mut known = BTreeSet::from([id(10, 100)]);
        let others = BTreeMap::from([(10, row(1, 10, 900)), (30, row(10, 10, 910))]);
        settle(&mut known, &others);
        assert!(!known.contains(&id(10, 900)) && !known.contains(&id(30, 910)), "{known:?}");
    }

    #[test]
    fn the_session_of_whoever_took_a_number_stays_a_strangers_when_its_founder_leaves() {
        let mut known = BTreeSet::from([id(10, 100)]);
        // The agent is gone, a stranger has its number and a session, and goes, as a shell does that leaves a job.
        let mut rows = BTreeMap::from([(10, row(1, 10, 900)), (30, row(10, 10, 910))]);
        settle(&mut known, &rows);
        rows.remove(&10);
        rows.insert(30, row(1, 10, 910));
        settle(&mut known, &rows);
        assert!(known.is_empty(), "{known:?}");
    }

    #[test]
    fn who_is_made_known_while_a_table_is_read_is_not_forgotten_by_it() {
        let (older, newer) = (id(10, 100), id(11, 110));
        let mut known = BTreeSet::from([older, newer]);
        forget(&mut known, &Table::new(BTreeMap::new()), &BTreeSet::from([older]));
        assert_eq!(known, BTreeSet::from([newer]));
    }

    proptest! {
        /// The old way, which went through everybody until nobody was added, is the measure of the new.
        #[test]
        fn who_belongs_is_what_going_through_everybody_finds(
            rows in btree_map(1_u32..24, (0_u32..24, 1_u32..24, 0_u64..6, any::<bool>()), 0..24),
            first in btree_set((1_u32..24, 0_u64..6), 0..6),
        ) {
            let rows: BTreeMap<u32, Kinship> = rows
                .into_iter()
                .map(|(pid, (parent, session, start, alive))| (pid, Kinship { parent, session, start, alive }))
                .collect();
            let mut known: BTreeSet<ProcessId> = first.into_iter().map(|(pid, start)| id(pid, start)).collect();
            let mut expected = known.clone();
            slowly(&mut expected, &rows);
            settle(&mut known, &rows);
            prop_assert_eq!(known, expected);
        }
    }

    /// Goes through everybody until nobody is added.
    fn slowly(known: &mut BTreeSet<ProcessId>, rows: &BTreeMap<u32, Kinship>) {
        let lives = |id: &ProcessId| rows.get(&id.pid).is_some_and(|row| row.start == id.start && row.alive);
        loop {
            let founded = |of: &ProcessId| rows.get(&of.pid).is_none_or(|now| now.start == of.start);
            let belongs = |row: &Kinship| {
                known.iter().any(|of| {
                    (of.pid == row.parent && lives(of))
                        || (of.pid == row.session && founded(of) && row.start >= of.start)
                })
            };
            let living = rows.iter().filter(|(_, row)| row.alive && belongs(row));
            let found: BTreeSet<ProcessId> = living.map(|(pid, row)| id(*pid, row.start)).collect();
            if found.is_subset(known) {
                break;
            }
            known.extend(found);
        }
        known.retain(|id| match rows.get(&id.pid) {
            Some(now) if now.start != id.start => false,
            Some(now) if now.alive => true,
            Some(_) | None => rows.values().any(|row| row.session == id.pid && row.alive),
        });
    }

    #[test]
    fn what_is_asked_of_a_table_grows_with_who_is_there_and_not_with_the_tokens_as_well() {
        const TOKENS: u32 = 1_000;
        let mut rows = BTreeMap::new();
        let mut fleet = Vec::new();
        for agent in (10..).step_by(10).take(TOKENS as usize) {
            rows.insert(agent, row(1, agent, 100));
            rows.insert(agent + 1, row(agent, agent, 110));
            rows.insert(agent + 2, row(agent + 1, agent + 2, 120));
            fleet.push(BTreeSet::from([id(agent, 100)]));
        }
        let table = Table::new(rows);
        for _ in 0..2 {
            table.asked.set(0);
            for known in &mut fleet {
                let judged = known.clone();
                grow(known, &table);
                forget(known, &table, &judged);
                assert_eq!(known.len(), 3);
            }
            // Each is asked whom it has below and whether it lives, and is met as a child and as a member.
            let (asked, most) = (table.asked.get(), 4 * table.rows.len());
            assert!((table.rows.len()..=most).contains(&asked), "{asked} of {most}");
        }
    }

    #[test]
    fn one_look_opens_one_file_a_process_for_any_number_of_tokens_and_none_for_none() {
        const AGENTS: u32 = 40;
        // Nobody has numbers so high, so nothing here depends on who runs.
        let first = 1 << 30;
        let proc = tempfile::tempdir().unwrap();
        let opened = Opened::watch();
        for pid in first..first + 2 * AGENTS {
            let dir = proc.path().join(pid.to_string());
            std::fs::create_dir(&dir).unwrap();
            let (parent, before) = (if pid % 2 == 0 { 1 } else { pid - 1 }, "0 ".repeat(13));
            let line = format!("{pid} (sleep) S {parent} {pid} {pid} {before} 1 0 {pid} {} 8 9 0\n", "0 ".repeat(27));
            std::fs::write(dir.join("stat"), line).unwrap();
            std::fs::write(dir.join("environ"), "HOME=/\0").unwrap();
            opened.add(&dir);
        }
        let kin = Kin::default();
        kin.look_below(proc.path()).unwrap();
        assert_eq!(opened.take(), BTreeMap::new(), "nobody is known");
        for pid in (first..first + 2 * AGENTS).step_by(2) {
            kin.root(&Token(pid.to_string()), id(pid, u64::from(pid)));
        }
        for _ in 0..2 {
            kin.look_below(proc.path()).unwrap();
            assert_eq!(opened.take(), BTreeMap::from([("stat".to_owned(), 2 * AGENTS as usize)]));
            kin.with(|known| assert!(known.values().all(|all| all.len() == 2), "{known:?}"));
        }
        proc.close().unwrap();
        let empty = tempfile::tempdir().unwrap();
        kin.look_below(empty.path()).unwrap();
        assert!(kin.look_below(&empty.path().join("gone")).is_ok(), "nobody is left, so nothing is looked at");
    }

    /// Which files are opened, as the kernel tells.
    struct Opened(OwnedFd);

    impl Opened {
        fn watch() -> Self {
            Self(inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap())
        }

        fn add(&self, dir: &Path) {
            // With the closing told as well no two openings follow each other, which the kernel would tell as one.
            let both = inotify::WatchFlags::OPEN | inotify::WatchFlags::CLOSE_NOWRITE;
            inotify::add_watch(&self.0, dir, both).unwrap();
        }

        /// How often which name since the last time.
        fn take(&self) -> BTreeMap<String, usize> {
            let mut counted = BTreeMap::new();
            let mut buffer = Vec::with_capacity(4 << 10);
            let mut events = inotify::Reader::new(&self.0, buffer.spare_capacity_mut());
            while let Ok(event) = events.next() {
                let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
                if let Some(name) = name.filter(|_| event.events().contains(inotify::ReadFlags::OPEN)) {
                    *counted.entry(name).or_default() += 1;
                }
            }
            counted
        }
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
