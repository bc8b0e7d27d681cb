//! `orch events`: the journal, for people or as JSON lines, once or as it grows.

use super::exit::{CliError, Exit};
use super::host;
use super::output::{self, Screen, Style};
use crate::domain::id::{ProjectId, Seq};
use crate::domain::signal::{Entry, Level, What};
use crate::domain::time::WallTime;
use crate::store::{Mode, Store};
use crate::telemetry::line::{self, Context, json_line};
use crate::telemetry::text::{cut, escape, message};
use rustix::event::{PollFd, PollFlags};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// Entries read at once.
const BATCH: usize = 1_000;
/// Entries of the past that `-f` begins with, as `tail` and `journalctl` do.
const BEFORE_FOLLOWING: i64 = 20;
/// How often `-f` asks the database whether it has changed; this is a viewer, and asking costs microseconds.
const POLL: Duration = Duration::from_millis(100);
/// Characters of a title in front of every line.
const TITLE_CHARS: usize = 24;

/// The command line of `orch events`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Go on as the journal grows; without --after, begin with its last 20 entries
    #[arg(short, long)]
    pub follow: bool,
    /// One JSON object per line, with every entry in it
    #[arg(long)]
    pub json: bool,
    /// Only entries after this one
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(0..))]
    pub after: Option<i64>,
    /// Only entries of this project
    #[arg(long, value_name = "ID")]
    pub project: Option<i64>,
    /// Intents and moves of roles too
    #[arg(long, conflicts_with = "json")]
    pub verbose: bool,
}

/// Shows the journal.
///
/// # Errors
/// If there is no readable database, or no such project.
pub fn run(args: &Args, home: &Path) -> Result<Exit, CliError> {
    let store = Store::open(&home.join(host::DATABASE), Mode::ReadOnly)?;
    if let Some(id) = args.project
        && store.project_rows(Some(ProjectId(id)))?.is_empty()
    {
        return Err(CliError::NoProject(id));
    }
    let from = match args.after {
        Some(after) => after,
        None if args.follow => (store.last_seq()?.0 - BEFORE_FOLLOWING).max(0),
        None => 0,
    };
    let mut viewer = Viewer::new(args, &store, Seq(from), Screen::of_stdout())?;
    if args.follow { follow(&mut viewer) } else { viewer.catch_up(&mut output::print).map(|()| Exit::Ok) }
}

/// Reads the journal on and turns it into text.
pub struct Viewer<'a> {
    store: &'a Store,
    screen: Screen,
    json: Option<Context>,
    project: Option<ProjectId>,
    verbose: bool,
    after: Seq,
    date: Option<String>,
    titles: BTreeMap<ProjectId, String>,
}

impl<'a> Viewer<'a> {
    /// A viewer that begins after `after`.
    ///
    /// # Errors
    /// If the installation's mark cannot be read.
    pub fn new(args: &Args, store: &'a Store, after: Seq, screen: Screen) -> Result<Self, CliError> {
        let context = Context {
            run_id: None,
            mode: line::Mode::Live,
            seed: None,
            installation: store.installation()?.unwrap_or_default(),
        };
        Ok(Self {
            store,
            screen,
            json: args.json.then_some(context),
            project: args.project.map(ProjectId),
            verbose: args.verbose,
            after,
            date: None,
            titles: BTreeMap::new(),
        })
    }

    /// Hands out everything that is in the journal by now, in pieces.
    ///
    /// # Errors
    /// If the journal cannot be read, or what `print` says.
    pub fn catch_up(&mut self, print: &mut dyn FnMut(&str) -> Result<(), CliError>) -> Result<(), CliError> {
        loop {
            let entries = match self.project {
                Some(id) => self.store.entries_of(id, self.after, BATCH)?,
                None => self.store.entries_after(self.after, BATCH)?,
            };
            let Some(last) = entries.last() else { return Ok(()) };
            self.after = last.seq;
            let mut text = String::new();
            for entry in &entries {
                self.show(entry, &mut text)?;
            }
            if !text.is_empty() {
                print(&text)?;
            }
        }
    }

    fn show(&mut self, entry: &Entry, text: &mut String) -> Result<(), CliError> {
        if let Some(context) = &self.json {
            text.push_str(&json_line(entry, context, None));
        } else if self.verbose || !is_detail(entry) {
            let date = date(entry.wall);
            if self.date.as_ref() != Some(&date) {
                text.push_str(&self.screen.paint(Style::Dim, &format!("-- {date} UTC --")));
                text.push('\n');
                self.date = Some(date);
            }
            let title = self.title(entry)?;
            text.push_str(&human(entry, title.as_deref(), self.screen));
        } else {
            return Ok(());
        }
        text.push('\n');
        Ok(())
    }

    fn title(&mut self, entry: &Entry) -> Result<Option<String>, CliError> {
        let Some(id) = entry.signal.project_id else { return Ok(None) };
        if let Some(title) = self.titles.get(&id) {
            return Ok(Some(title.clone()));
        }
        let title = if let What::ProjectEnqueued { title, .. } = &entry.signal.what {
            title.clone()
        } else {
            self.store.project_rows(Some(id))?.pop().map(|project| project.title).unwrap_or_default()
        };
        let title = cut(&escape(&title), TITLE_CHARS);
        self.titles.insert(id, title.clone());
        Ok(Some(title))
    }
}

/// Whether an entry is a detail that a person leaves out at first.
#[must_use]
pub fn is_detail(entry: &Entry) -> bool {
    matches!(entry.signal.what, What::EffectIntended { .. } | What::RoleMoved { .. })
}

/// One entry for a person: `HH:MM:SS.mmm  LEVEL  #ID title/role  message`, without its newline.
#[must_use]
pub fn human(entry: &Entry, title: Option<&str>, screen: Screen) -> String {
    let signal = &entry.signal;
    let mut whose = signal.project_id.map(|id| format!("#{id} ")).unwrap_or_default();
    let role = signal.agent_role.as_ref().map(|role| escape(&role.0));
    let names: Vec<&str> = title.into_iter().chain(role.as_deref()).collect();
    whose.push_str(&names.join("/"));
    line_of(entry, whose.trim_end(), screen)
}

/// The same without whose it is, for places where that is said already.
#[must_use]
pub fn bare(entry: &Entry, screen: Screen) -> String {
    line_of(entry, "", screen)
}

fn line_of(entry: &Entry, whose: &str, screen: Screen) -> String {
    let level = entry.signal.level();
    let told = screen.paint(Style::of(level), &message(&entry.signal));
    let parts = [time(entry.wall), name(level, screen), whose.to_owned(), told];
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("  ")
}

fn name(level: Level, screen: Screen) -> String {
    let name = match level {
        Level::Info => "info ",
        Level::Warn => "WARN ",
        Level::Error => "ERROR",
    };
    screen.paint(Style::of(level), name)
}

fn time(wall: WallTime) -> String {
    // 2026-11-20T11:59:54.500000Z
    line::rfc3339(wall).split_once('T').map_or_else(String::new, |(_, time)| time.chars().take(12).collect())
}

/// The day of an entry, UTC.
pub(super) fn date(wall: WallTime) -> String {
    line::rfc3339(wall).split_once('T').map_or_else(String::new, |(date, _)| date.to_owned())
}

/// Goes on until somebody ends it, or nobody reads any more.
fn follow(viewer: &mut Viewer<'_>) -> Result<Exit, CliError> {
    let failed = |error| CliError::System("cannot wait for signals", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    // Both are listened to from before the first line on, so that none that comes while printing is lost.
    let (mut interrupt, mut terminate) = runtime
        .block_on(async { Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)) })
        .map_err(failed)?;
    let mut seen = None;
    loop {
        let version = viewer.store.data_version()?;
        if seen != Some(version) {
            viewer.catch_up(&mut output::print)?;
            seen = Some(version);
        }
        if let Some(exit) = runtime.block_on(pause(&mut interrupt, &mut terminate)) {
            return Ok(exit);
        }
        if nobody_reads() {
            return Ok(Exit::Ok);
        }
    }
}

async fn pause(interrupt: &mut Listener, terminate: &mut Listener) -> Option<Exit> {
    tokio::select! {
        _ = interrupt.recv() => Some(Exit::Interrupted),
        _ = terminate.recv() => Some(Exit::Terminated),
        () = tokio::time::sleep(POLL) => None,
    }
}

/// Whether the pipe we write to is closed: while nothing happens there is no write that would tell.
fn nobody_reads() -> bool {
    let stdout = std::io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0)
        && polled.iter().any(|polled| polled.revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing;

    fn args() -> Args {
        Args { follow: false, json: false, after: None, project: None, verbose: false }
    }

    fn shown(args: &Args) -> String {
        let built = testing::fleet();
        let after = Seq(args.after.unwrap_or(0));
        let mut viewer = Viewer::new(args, &built.store, after, Screen::PLAIN).unwrap();
        let mut text = String::new();
        viewer
            .catch_up(&mut |piece| {
                text.push_str(piece);
                Ok(())
            })
            .unwrap();
        text
    }

    #[test]
    fn the_journal_for_people() {
        insta::assert_snapshot!(shown(&args()), @r"
        -- 2026-11-20 UTC --
        12:00:00.000  info   orchestrator 0.1.0 started (pid 815): 0 unfinished projects, 0 unconfirmed intents left by its predecessor to be settled by observation
        12:00:01.000  info   #1 Mobile app, version 2  accepted into the queue: Mobile app, version 2 (2 roles)
        12:00:02.000  info   #2 évil \u{1b}[31mtitle; k…  accepted into the queue: évil \u{1b}[31mtitle; kill-server #(touch x) (1 role)
        12:00:03.000  info   #3 日本語のプロジェクト  accepted into the queue: 日本語のプロジェクト (1 role)
        12:00:04.000  info   #4 Waits for a slot  accepted into the queue: Waits for a slot (1 role)
        12:00:04.100  info   #1 Mobile app, version 2  queued -> provisioning after 3.1 s
        12:00:04.145  info   #1 Mobile app, version 2  provisioning -> launching after 45 ms
        12:00:04.145  info   #1 Mobile app, version 2  session p1-ab12-e1 is up
        12:00:04.145  info   #1 Mobile app, version 2/developer  developer started (pid 4010)
        12:00:04.145  info   #1 Mobile app, version 2/tester  tester started (pid 4011)
        12:00:04.145  info   #1 Mobile app, version 2  launching -> briefing after 0 s
        12:00:04.145  info   #1 Mobile app, version 2/tester  brief handed to tester
        12:00:06.145  info   #1 Mobile app, version 2/developer  developer acknowledged its brief
        12:00:06.145  info   #1 Mobile app, version 2/tester  tester acknowledged its brief
        12:00:06.145  info   #1 Mobile app, version 2/tester  tester is done: all\ngreen
        12:00:06.145  info   #1 Mobile app, version 2  briefing -> running after 2.0 s
        12:00:06.245  info   #2 évil \u{1b}[31mtitle; k…  queued -> provisioning after 4.2 s
        12:00:06.285  info   #2 évil \u{1b}[31mtitle; k…  provisioning -> launching after 40 ms
        12:00:06.285  info   #2 évil \u{1b}[31mtitle; k…  session p2-ab12-e1 is up
        12:00:06.285  info   #2 évil \u{1b}[31mtitle; k…/developer  developer started (pid 4010)
        12:00:06.285  info   #2 évil \u{1b}[31mtitle; k…  launching -> briefing after 0 s
        12:00:06.285  info   #2 évil \u{1b}[31mtitle; k…/developer  developer acknowledged its brief
        12:00:06.285  info   #2 évil \u{1b}[31mtitle; k…  briefing -> running after 0 s
        12:00:18.630  WARN   #2 évil \u{1b}[31mtitle; k…/developer  developer died (pid 4010) after 12.3 s; noticed by pidfd
        12:00:18.630  WARN   #2 évil \u{1b}[31mtitle; k…/developer  cause of death of developer: agent_exited; exit code 41, stderr: \u{1b}[2Jfatal: no API key; is ANTHROPIC_API_KEY set for the agent?
        12:00:18.630  ERROR  #2 évil \u{1b}[31mtitle; k…  given up (agent_exited) while running: claude --continue: exit code 41, stderr: \u{1b}[2Jfatal: no API key; is ANTHROPIC_API_KEY set for the agent?
        12:00:18.630  ERROR  #2 évil \u{1b}[31mtitle; k…  running -> failed after 12.3 s (agent_exited)
        12:00:18.730  info   #3 日本語のプロジェクト  queued -> provisioning after 15.7 s
        12:00:18.770  info   #3 日本語のプロジェクト  provisioning -> launching after 40 ms
        12:00:18.770  info   #3 日本語のプロジェクト  session p3-ab12-e1 is up
        12:00:18.770  info   #3 日本語のプロジェクト/developer  developer started (pid 4010)
        12:00:18.770  info   #3 日本語のプロジェクト  launching -> briefing after 0 s
        12:00:19.170  WARN   #3 日本語のプロジェクト  session p3-ab12-e1 died; noticed by sweep, 1.2 s late
        12:00:19.170  WARN   #3 日本語のプロジェクト  briefing -> recovering after 0.4 s (session_died)
        12:00:19.170  ERROR  #3 日本語のプロジェクト  recovery refused, the budget is spent (session_died); next probe in 1 h 00 min
        12:00:19.170  WARN   #3 日本語のプロジェクト  breaker closed -> open (3 attempts in its window)
        12:00:19.170  WARN   #3 日本語のプロジェクト  recovering -> suspended after 0 s (session_died, breaker)
        ");
    }

    #[test]
    fn details_come_with_verbose() {
        let text = shown(&Args { verbose: true, project: Some(1), ..args() });
        assert!(text.contains("about to ensure worktree"), "{text}");
        assert!(text.contains("absent -> starting"), "{text}");
        assert!(!text.contains("#2"), "{text}");
    }

    #[test]
    fn json_lines_hold_every_entry_and_read_back() {
        let text = shown(&Args { json: true, ..args() });
        let built = testing::fleet();
        let entries: Vec<Entry> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(entries, built.store.entries_after(Seq(0), usize::MAX).unwrap());
        let after = shown(&Args { json: true, after: Some(3), ..args() });
        assert_eq!(after.lines().count(), entries.len() - 3);
    }

    #[test]
    fn following_prints_each_entry_once() {
        let mut built = testing::fleet();
        let reader = Store::open(built.store.path(), Mode::ReadOnly).unwrap();
        let mut viewer = Viewer::new(&args(), &reader, reader.last_seq().unwrap(), Screen::PLAIN).unwrap();
        let mut lines = Vec::new();
        let mut version = reader.data_version().unwrap();
        for round in 0..3 {
            built.tell_stopped(&format!("round {round}"));
            assert_ne!(std::mem::replace(&mut version, reader.data_version().unwrap()), version);
            viewer
                .catch_up(&mut |piece| {
                    lines.extend(piece.lines().filter(|line| !line.starts_with("--")).map(str::to_owned));
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn a_closed_pipe_ends_the_reading() {
        let built = testing::fleet();
        let mut viewer = Viewer::new(&args(), &built.store, Seq(0), Screen::PLAIN).unwrap();
        let error = viewer
            .catch_up(&mut |_| Err(CliError::Output(std::io::Error::from(std::io::ErrorKind::BrokenPipe))))
            .unwrap_err();
        assert_eq!(error.exit(), Exit::Ok);
    }
}
