//! The event log and its being set aside (C40): the real mirror of the journal (`orchestrator/src/telemetry/mirror.rs`) and
//! the real [`EventLog`], over real files in a temporary folder.
//!
//! Between the two stand the moments at which something hits, a disk without space, and what a crash between two files
//! leaves: the full log is renamed here, and the next one is made by the log itself, which finds nothing to rename.

use crate::sim::bank::INSTALLATION;
use crate::sim::points::Side;
use crate::sim::run::Sim;
use crate::sim::sweep::Hit;
use crate::sim::world::World;
use orchestrator::domain::id::Seq;
use orchestrator::domain::signal::Entry;
use orchestrator::domain::time::WallTime;
use orchestrator::runtime::ServeError;
use orchestrator::store::Store;
use orchestrator::telemetry::line::{Context, Mode};
use orchestrator::telemetry::mirror::{Lines, Mirror};
use orchestrator::telemetry::sink::EventLog;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use tempfile::TempDir;

/// Bytes at which the log is set aside: some twenty lines.
const BYTES_MAX: u64 = 8_192;

/// The folder of the logs.
#[derive(Debug)]
pub struct Logs {
    folder: TempDir,
    /// What was in the logs over which another was set aside.
    gone: RefCell<String>,
    /// Where the journal ended each time an older database was put in place.
    back: RefCell<Vec<Seq>>,
}

impl Logs {
    fn new() -> io::Result<Self> {
        Ok(Self { folder: TempDir::new()?, gone: RefCell::default(), back: RefCell::default() })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.ndjson")
    }

    fn aside(&self) -> PathBuf {
        self.folder.path().join("events.ndjson.1")
    }

    /// Sets the log aside, over the one that was set aside before.
    fn set_aside(&self) -> io::Result<()> {
        self.gone.borrow_mut().push_str(&text(self.aside())?);
        fs::rename(self.path(), self.aside())
    }

    /// An older database is in place: the journal goes on after this number.
    pub(super) fn put_back(&self, has: Seq) {
        self.back.borrow_mut().push(has);
    }
}

fn text(path: PathBuf) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// The log as one orchestrator has it open.
pub struct Logged {
    world: Rc<RefCell<World>>,
    life: usize,
    logs: Rc<Logs>,
    log: EventLog,
    /// Up to where a planted bug takes the log for complete.
    taken: Option<Seq>,
}

impl Logged {
    /// An orchestrator opens the log, if one is kept, and finds out where it ends.
    ///
    /// # Errors
    /// If that or the journal cannot be read.
    pub(in crate::sim) fn open(
        world: &Rc<RefCell<World>>,
        life: usize,
        store: &Store,
    ) -> Result<Option<Mirror<Self>>, ServeError> {
        let Some(logs) = world.borrow().disk.logs.clone() else { return Ok(None) };
        let log = EventLog::with_limit(&logs.path(), BYTES_MAX)
            .map_err(|error| ServeError::Environment { what: "open the event log", why: error.to_string() })?;
        let bend = world.borrow().bend.clone();
        let completes = bend.is_none_or(|bend| bend.borrow().completes_the_log());
        let taken = if completes { None } else { Some(store.last_seq()?) };
        let context = Context { run_id: None, mode: Mode::Sim, seed: None, installation: INSTALLATION.to_owned() };
        let logged = Self { world: Rc::clone(world), life, logs, log, taken };
        let mut mirror = Mirror::over(logged, context);
        mirror.resume(|after, most| store.entries_after(after, most), |_| {})?;
        Ok(Some(mirror))
    }

    /// One step, with what is planned on either side of it. An error if it did not happen, or if nothing comes after it.
    fn pass(&mut self, name: &str, what: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let (struck, due) = {
            let mut world = self.world.borrow_mut();
            (world.points.pass(|| name.to_owned()), world.points.due.take())
        };
        self.suffers(due, Side::Before, struck)?;
        if self.world.borrow().disk.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        what(self)?;
        self.suffers(due, Side::After, struck)
    }

    fn suffers(&self, due: Option<(Side, Hit)>, side: Side, struck: Option<Side>) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let hit = due.filter(|(of, _)| *of == side).map(|(_, hit)| hit);
        if let Some(hit) = hit {
            world.suffer(hit);
        }
        if struck == Some(side) {
            world.points.struck = Some(self.life);
            return Err(io::ErrorKind::Interrupted.into());
        }
        // Lines that are written are not taken back by what comes after them.
        if side == Side::Before && hit == Some(Hit::IoError) { Err(io::Error::other("EIO")) } else { Ok(()) }
    }
}

impl Lines for Logged {
    fn last_seq(&self) -> Option<Seq> {
        self.log.last_seq().max(self.taken)
    }

    fn append(&mut self, lines: &[String], last: Option<Seq>) -> io::Result<()> {
        let is = fs::metadata(self.logs.path()).map_or(0, |meta| meta.len());
        let more: usize = lines.iter().map(|line| line.len() + 1).sum();
        if is > 0 && is + more as u64 > BYTES_MAX {
            self.pass("log.0", |logged| logged.logs.set_aside())?;
        }
        self.pass("log.1", |logged| logged.log.append(lines, last))
    }

    fn agree(&mut self, has: &mut dyn FnMut(Seq, WallTime) -> bool) -> io::Result<()> {
        self.log.agree(has)
    }
}

impl Sim {
    /// From now on the log is kept, by whoever serves.
    pub(super) fn log_from_now(&mut self) {
        match Logs::new() {
            Ok(logs) => self.world.borrow_mut().disk.logs = Some(Rc::new(logs)),
            Err(error) => return self.breaks(format!("a folder for the log: {error}")),
        }
        if let Some(place) = self.serving()
            && let Err(error) = self.hosts[place].keep_log()
        {
            self.breaks(format!("the log cannot be opened: {error}"));
        }
    }

    /// What is wrong with the log in the end.
    pub(super) fn badly_logged(&mut self) -> Vec<String> {
        let Some(logs) = self.world.borrow_mut().disk.logs.take() else { return Vec::new() };
        let all = text(logs.aside()).and_then(|aside| Ok(logs.gone.take() + &aside + &text(logs.path())?));
        match (all, self.bank.client.entries_after(Seq(0), usize::MAX)) {
            (Ok(all), Ok(journal)) => unlike(&all, &journal, &logs.back.borrow()),
            (Err(error), _) => vec![format!("the log cannot be read: {error}")],
            (_, Err(error)) => vec![format!("the journal cannot be read: {error}")],
        }
    }
}

/// How these lines are not this journal, from its first entry to its last. Where an older database was put in place, they
/// go on after its end once more.
fn unlike(text: &str, journal: &[Entry], mut back: &[Seq]) -> Vec<String> {
    let (mut found, mut before, mut told) = (Vec::new(), 0, BTreeMap::new());
    for line in text.lines() {
        let entry = match serde_json::from_str::<Entry>(line) {
            Ok(entry) => entry,
            Err(error) => {
                found.push(format!("a line of the log is damaged: {error}"));
                continue;
            }
        };
        let seq = entry.seq.0;
        let again = back.iter().position(|has| seq <= before && has.0 + 1 == seq);
        if let Some(place) = again {
            back = &back[place + 1..];
        } else if seq != before + 1 {
            found.push(format!("after line {before} of the log comes {seq}"));
        }
        before = seq;
        told.insert(seq, entry);
    }
    let last = journal.last().map_or(0, |entry| entry.seq.0);
    if before != last {
        found.push(format!("the log ends at {before}, and the journal at {last}"));
    }
    let other = journal.iter().find(|entry| told.get(&entry.seq.0).is_some_and(|told| told != *entry));
    found.extend(other.map(|entry| format!("line {} of the log tells something else", entry.seq.0)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchestrator::domain::signal::{Signal, What};
    use orchestrator::domain::time::Timestamp;
    use orchestrator::telemetry::line::json_line;

    fn entry(seq: i64, said: &str) -> Entry {
        let signal = Signal::fleet(What::OrchestratorStopped { reason: said.to_owned() });
        Entry { seq: Seq(seq), at: Timestamp(1), wall: WallTime(1), signal }
    }

    fn of(told: &[(i64, &str)], back: &[Seq]) -> Vec<String> {
        let context = Context { run_id: None, mode: Mode::Sim, seed: None, installation: String::new() };
        let line = |(seq, said): &(i64, &str)| json_line(&entry(*seq, said), &context, None) + "\n";
        let journal = [entry(1, "a"), entry(2, "b"), entry(3, "c")];
        unlike(&told.iter().map(line).collect::<String>(), &journal, back)
    }

    #[test]
    fn a_log_has_every_entry_whole_and_once() {
        let none: [&str; 0] = [];
        assert_eq!(of(&[(1, "a"), (2, "b"), (3, "c")], &[]), none);
        assert_eq!(of(&[(2, "b"), (3, "c")], &[]), ["after line 0 of the log comes 2"]);
        assert_eq!(of(&[(1, "a"), (3, "c")], &[]), ["after line 1 of the log comes 3"]);
        assert_eq!(of(&[(1, "a"), (2, "b"), (3, "c"), (3, "c")], &[]), ["after line 3 of the log comes 3"]);
        assert_eq!(of(&[(1, "a"), (2, "b")], &[]), ["the log ends at 2, and the journal at 3"]);
        assert_eq!(of(&[(1, "a"), (2, "x"), (3, "c")], &[]), ["line 2 of the log tells something else"]);
        let torn = unlike("{\"seq\":1,\"at\n", &[], &[]);
        assert!(torn.len() == 1 && torn[0].contains("damaged"), "{torn:?}");
    }

    #[test]
    fn after_an_older_database_it_goes_on_where_that_one_ends() {
        let lost = [(1, "a"), (2, "y"), (3, "z"), (2, "b"), (3, "c")];
        assert_eq!(of(&lost, &[Seq(1)]), Vec::<String>::new());
        assert_eq!(of(&lost, &[]), ["after line 3 of the log comes 2"]);
        assert_eq!(of(&[(1, "a"), (2, "y"), (3, "z"), (3, "c")], &[Seq(1)])[0], "after line 3 of the log comes 3");
    }
}
