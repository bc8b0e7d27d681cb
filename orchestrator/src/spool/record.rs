//! One report as one JSON file.
//!
//! Written to `tmp/`, flushed to the disk, renamed into `new/`: a reader sees all of it or nothing, whatever dies
//! when. The name sorts by the time of writing.

use super::folder::{Folder, make_folder};
use super::{Identity, SpoolError};
use crate::domain::event::Report;
use crate::domain::id::{Epoch, ProjectId, RoleName, Token};
use crate::domain::limits::{SPOOL_RECORD_BYTES_MAX, TAIL_BYTES_MAX};
use crate::validate::{file, text};
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The version of the form that this code writes, and the only one it reads.
pub const VERSION: u32 = 1;
/// Bytes of a report's text: what a person reads of it.
pub const TEXT_BYTES_MAX: usize = TAIL_BYTES_MAX;

/// One report of one agent, as it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`VERSION`].
    pub v: u32,
    /// Whose.
    pub project: ProjectId,
    /// Which role's.
    pub role: RoleName,
    /// Which incarnation's.
    pub epoch: Epoch,
    /// The token its pane was started with.
    pub token: Token,
    /// What it says; its text is one line of at most [`TEXT_BYTES_MAX`] bytes once written or read.
    pub report: Report,
    /// When it was written, in microseconds since 1970, by the wall clock: for people and for the order of names.
    pub wall_us: i64,
    /// The process that wrote it.
    pub pid: u32,
}

impl Record {
    /// A report by whom the environment names.
    #[must_use]
    pub fn new(identity: &Identity, report: Report, wall_us: i64, pid: u32) -> Self {
        Self {
            v: VERSION,
            project: identity.project,
            role: identity.role.clone(),
            epoch: identity.epoch,
            token: identity.token.clone(),
            report,
            wall_us,
            pid,
        }
    }
}

/// The report with its text made one bounded line (B15, B19).
fn tidy(report: Report) -> Report {
    let line = |said: String| text::one_line(&said, TEXT_BYTES_MAX);
    match report {
        Report::Progress(said) => Report::Progress(said.map(line)),
        Report::Done(said) => Report::Done(said.map(line)),
        Report::NeedsInput(said) => Report::NeedsInput(said.map(line)),
        Report::Fail(said) => Report::Fail(line(said)),
        Report::Ack | Report::Idle | Report::Credit(_) => report,
    }
}

/// Writes a record into the spool; once this returns it is on the disk and will be found, also after a crash.
///
/// Makes the folders if they are gone (mode 0700); the file has mode 0600.
///
/// # Errors
/// [`SpoolError::Io`]; nothing is left in `new/`.
pub fn write(spool: &Path, record: &Record) -> Result<PathBuf, SpoolError> {
    let tmp = make_folder(spool, Folder::Tmp)?;
    let new = make_folder(spool, Folder::New)?;
    let record = Record { report: tidy(record.report.clone()), ..record.clone() };
    let json = serde_json::to_vec(&record).map_err(|error| failed("encode", &new, &std::io::Error::other(error)))?;
    let mut draw = SysRng;
    let random = draw.try_next_u64().map_err(|error| failed("name", &new, &std::io::Error::other(error)))?;
    // A clock before 1970 gives 0: the order among such records is lost, the records are not.
    let name = format!("{:020}-{}-{random:016x}.json", record.wall_us.max(0), record.pid);
    let (written, placed) = (tmp.join(&name), new.join(&name));
    let done = write_whole(&written, &json)
        .map_err(|error| failed("write", &written, &error))
        .and_then(|()| std::fs::rename(&written, &placed).map_err(|error| failed("place", &placed, &error)));
    if let Err(error) = done {
        // Best effort: what stays in tmp/ is never read.
        let _ = std::fs::remove_file(&written);
        return Err(error);
    }
    // The name is durable only once its folder is.
    File::open(&new).and_then(|folder| folder.sync_all()).map_err(|error| failed("flush", &new, &error))?;
    Ok(placed)
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

pub(super) fn failed(doing: &'static str, path: &Path, error: &std::io::Error) -> SpoolError {
    SpoolError::Io { doing, path: text::show_path(path), words: file::system_words(error) }
}

/// Reads a record; never waits, never follows a symlink, never reads more than [`SPOOL_RECORD_BYTES_MAX`].
///
/// What it claims is checked for form only: version, a positive project, a legal role, a token's digits.
///
/// # Errors
/// [`SpoolError::File`] or [`SpoolError::Content`]: the record is to be put aside with `reject`.
pub fn read(path: &Path) -> Result<Record, SpoolError> {
    let name = text::escape(&path.file_name().unwrap_or_default().to_string_lossy(), text::SHOWN_CHARS_MAX);
    let read = file::read_regular(path, SPOOL_RECORD_BYTES_MAX, false);
    let bytes = read.map_err(|fault| SpoolError::File { name: name.clone(), fault })?.bytes;
    parse(&bytes).map_err(|reason| SpoolError::Content { name, reason })
}

fn parse(bytes: &[u8]) -> Result<Record, String> {
    // The version is read first, so that a newer form is called newer and not broken.
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    if bytes.trim_ascii().is_empty() {
        return Err("is empty; a record is one JSON object".to_owned());
    }
    let words = |error: serde_json::Error| text::escape(&error.to_string(), 200);
    let version: Version = serde_json::from_slice(bytes).map_err(words)?;
    if version.v != VERSION {
        return Err(format!("v = {}: another form of record; allowed: {VERSION}", version.v));
    }
    let record: Record = serde_json::from_slice(bytes).map_err(words)?;
    if record.project.0 < 1 {
        return Err(format!("project = {}: must be a number from 1", record.project));
    }
    text::role_name(&record.role.0).map_err(|rule| format!("role = {}: {rule}", text::show(&record.role.0)))?;
    if !text::is_token(&record.token.0) {
        return Err("token: must be 32 lower-case hexadecimal digits".to_owned());
    }
    Ok(Record { report: tidy(record.report), ..record })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    pub(crate) fn record(report: Report) -> Record {
        let identity = Identity {
            project: ProjectId(3),
            role: RoleName("dev".to_owned()),
            epoch: Epoch(2),
            token: Token("0123456789abcdef0123456789abcdef".to_owned()),
            spool: PathBuf::new(),
        };
        Record::new(&identity, report, 1_700_000_000_000_000, 4_711)
    }

    fn spool() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn check_refused(content: &[u8], expected: &str) {
        let dir = spool();
        let path = dir.path().join("r.json");
        std::fs::write(&path, content).expect("written");
        assert_eq!(read(&path).map_err(|error| error.to_string()), Err(format!("r.json: {expected}")));
    }

    #[test]
    fn every_report_comes_back_as_it_was_written() {
        let dir = spool();
        let said = || Some("half \"way\" \\ ünïcode".to_owned());
        for report in [
            Report::Ack,
            Report::Progress(None),
            Report::Progress(said()),
            Report::Done(said()),
            Report::Fail("no disk".to_owned()),
            Report::Idle,
            Report::NeedsInput(said()),
            Report::Credit(None),
            Report::Credit(Some(3_600)),
        ] {
            let written = record(report);
            let path = write(dir.path(), &written).expect("written");
            assert_eq!(read(&path), Ok(written));
        }
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).expect("listed").count(), 0);
    }

    #[test]
    fn a_record_has_a_sortable_name_and_is_private() {
        let dir = spool();
        let path = write(dir.path(), &record(Report::Ack)).expect("written");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(name.starts_with("00001700000000000000-4711-") && name.ends_with(".json"), "{name}");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(&path), mode(&dir.path().join("new"))), (0o600, 0o700));
        let early = Record { wall_us: -5, ..record(Report::Ack) };
        let path = write(dir.path(), &early).expect("written");
        assert!(path.file_name().unwrap_or_default().to_string_lossy().starts_with("00000000000000000000-"));
    }

    #[test]
    fn b15_texts_become_one_bounded_line() {
        let dir = spool();
        let text = format!("a\nb\u{1b}[31m\0{}", "\"".repeat(100_000));
        let path = write(dir.path(), &record(Report::Fail(text))).expect("written");
        let Report::Fail(said) = read(&path).expect("read").report else { panic!("another report") };
        assert!(said.starts_with("a b[31m\"") && said.len() <= TEXT_BYTES_MAX && said.ends_with('…'));
    }

    #[test]
    fn a_spool_that_cannot_be_made_is_an_error() {
        let refused = write(Path::new("/dev/null/spool"), &record(Report::Ack)).map_err(|error| error.to_string());
        assert_eq!(refused, Err("spool: cannot make /dev/null/spool: Not a directory (ENOTDIR)".to_owned()));
    }

    #[test]
    fn b32_b35_only_regular_bounded_files_are_read() {
        let dir = spool();
        let link = dir.path().join("link.json");
        symlink("/etc/hostname", &link).expect("link");
        assert_eq!(
            read(&link).map_err(|error| error.to_string()),
            Err("link.json: is a symlink, not a file".to_owned())
        );
        assert_eq!(
            read(&dir.path().join("x\n.json")).map_err(|error| error.to_string()),
            Err("x\\n.json: No such file or directory (ENOENT)".to_owned())
        );
        check_refused(&vec![b' '; (64 << 10) + 1], "is longer than 65536 bytes");
    }

    #[test]
    fn b34_b36_b41_b42_what_is_no_record_says_why() {
        let with = |piece: &str, instead: &str| {
            let whole = serde_json::to_string(&record(Report::Ack)).expect("JSON");
            assert!(whole.contains(piece), "{whole}");
            whole.replacen(piece, instead, 1).into_bytes()
        };
        check_refused(b" \n", "is empty; a record is one JSON object");
        check_refused(b"{\"v\":1", "EOF while parsing an object at line 1 column 6");
        check_refused(&[b'['; 10_000], "invalid type: sequence, expected u32 at line 1 column 1");
        check_refused(&with("\"v\":1", "\"v\":2"), "v = 2: another form of record; allowed: 1");
        check_refused(&with("\"v\":1", "\"v\":1,\"v\":1"), "duplicate field `v` at line 1 column 10");
        check_refused(&with("\"project\":3", "\"project\":0"), "project = 0: must be a number from 1");
        check_refused(&with("\"dev\"", "\"../x\""), "role = \"../x\": role must match [a-z0-9-]{1,32}");
        check_refused(&with("0123456789abcdef0", "x"), "token: must be 32 lower-case hexadecimal digits");
    }

    #[test]
    fn no_bytes_make_reading_panic() {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        let whole = serde_json::to_vec(&record(Report::Fail("why".to_owned()))).expect("JSON");
        let mutation = (0..whole.len(), 0_usize..20, proptest::collection::vec(any::<u8>(), 0..12));
        let run = proptest::test_runner::TestRunner::new(config).run(&mutation, |(at, drop, put)| {
            let mut bytes = whole.clone();
            let end = (at + drop).min(bytes.len());
            bytes.splice(at..end, put);
            if let Err(reason) = parse(&bytes) {
                prop_assert!(!reason.chars().any(char::is_control), "{reason:?}");
            }
            Ok(())
        });
        run.expect("the property holds");
    }
}
