//! An installation's directory: finding it, making it, and what lies where in it.
//!
//! It is recognised by what `orch init` puts there, not by its name: every worktree has a folder `.orch/` too (for
//! the brief), and an agent that asks from within a worktree must find the installation above it.

use super::file::default_file;
use crate::spool::Folder;
use crate::validate::{file, judge, text};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The directory's name where none is given.
pub const HOME_NAME: &str = ".orch";
/// The variable that names another directory.
pub const HOME_VAR: &str = "ORCH_HOME";
/// The configuration's file name; written last by `init`, so it marks a finished one.
pub const CONFIG_NAME: &str = "config.toml";
/// The database's file name; also marks an installation, so that one whose configuration is lost is not overlooked.
pub const DB_NAME: &str = "orch.db";
/// Bytes of the tmux socket's path: the system refuses more than about 107 (T20), and tmux appends nothing.
pub const SOCKET_BYTES_MAX: usize = 100;

const SPOOL: &str = "spool";
const WORKTREES: &str = "worktrees";
const LOGS: &str = "logs";
const BACKUPS: &str = "backups";
const RUN: &str = "run";
const IGNORE: &str = ".gitignore";
const SOCKET: &str = "tmux.sock";
/// Where the socket's path is kept once it could not lie in the directory itself.
const SOCKET_NOTE: &str = "socket";

/// An installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Canonical, absolute, UTF-8, without control characters.
    dir: PathBuf,
}

/// Why there is no installation to work with; its text is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HomeError {
    /// None was named and none was found.
    #[error("no {HOME_NAME}/ in {from} or above it; make one with orch init, or name one with --home or {HOME_VAR}")]
    NotFound {
        /// Where the search began, escaped.
        from: String,
    },
    /// The directory that was named is none.
    #[error("{source_name} {dir}: no installation is there ({words}); make one with orch init")]
    NotOne {
        /// `--home` or [`HOME_VAR`].
        source_name: &'static str,
        /// The directory, escaped.
        dir: String,
        /// What is there instead.
        words: String,
    },
    /// `init` found one; nothing has been changed.
    #[error("{dir} is an installation already; nothing has been changed")]
    AlreadyThere {
        /// The directory, escaped.
        dir: String,
    },
    /// `init` found something else there; nothing has been changed.
    #[error("{dir} has other things in it ({found}); an installation needs a directory of its own")]
    Occupied {
        /// The directory, escaped.
        dir: String,
        /// One of the things, escaped.
        found: String,
    },
    /// Its path would do harm (B44, B56).
    #[error("{dir}: {rule}")]
    BadPath {
        /// The path, escaped.
        dir: String,
        /// What is wrong and what is allowed.
        rule: String,
    },
    /// The directory of the tmux socket is not safe (T20, B81).
    #[error("{dir} cannot hold the tmux socket: {problem}; allowed: a directory of this user with mode 0700")]
    SocketDir {
        /// The directory, escaped.
        dir: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file operation failed.
    #[error("cannot {doing} {path}: {words}")]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On what, escaped.
        path: String,
        /// The system's words.
        words: String,
    },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = text::show_path(path);
    move |error| HomeError::Io { doing, path, words: file::system_words(&error) }
}

/// Refuses a path that cannot be shown on a line or handed to tmux as text (B44, B56).
fn check_path(dir: &Path) -> Result<(), HomeError> {
    let refuse = |rule: String| HomeError::BadPath { dir: text::show_path(dir), rule };
    let Some(written) = dir.to_str() else { return Err(refuse("the path must be UTF-8".to_owned())) };
    text::path(written).map_err(refuse)
}

fn is_installation(dir: &Path) -> bool {
    [CONFIG_NAME, DB_NAME].iter().any(|name| dir.join(name).symlink_metadata().is_ok())
}

impl Home {
    /// Finds the installation: the one named on the command line (`--home`), else the one the environment names (the
    /// value of [`HOME_VAR`]), else the nearest `.orch/` in `cwd` or above it that is one.
    ///
    /// # Errors
    /// [`HomeError`] that says how to make or name one. What is named explicitly is never searched for elsewhere.
    pub fn find(explicit: Option<&Path>, env: Option<OsString>, cwd: &Path) -> Result<Self, HomeError> {
        if let Some(dir) = explicit {
            return Self::named("--home", &cwd.join(dir));
        }
        if let Some(dir) = env {
            return Self::named(HOME_VAR, &cwd.join(dir));
        }
        for folder in cwd.ancestors() {
            let dir = folder.join(HOME_NAME);
            if is_installation(&dir) {
                return Self::at(&dir);
            }
        }
        Err(HomeError::NotFound { from: text::show_path(cwd) })
    }

    fn named(source_name: &'static str, dir: &Path) -> Result<Self, HomeError> {
        check_path(dir)?;
        let not_one = |words: String| HomeError::NotOne { source_name, dir: text::show_path(dir), words };
        let found = std::fs::metadata(dir).map_err(|error| not_one(file::system_words(&error)))?;
        if !found.is_dir() {
            return Err(not_one("it is not a directory".to_owned()));
        }
        if !is_installation(dir) {
            return Err(not_one(format!("neither {CONFIG_NAME} nor {DB_NAME}")));
        }
        Self::at(dir)
    }

    /// The installation's path is made canonical once, so that every process derives the same names from it (B54).
    fn at(dir: &Path) -> Result<Self, HomeError> {
        let canonical = std::fs::canonicalize(dir).map_err(failed("resolve", dir))?;
        check_path(&canonical)?;
        Ok(Self { dir: canonical })
    }

    /// Makes `dir` (such as `.orch`; its parent must exist) an installation: mode 0700, with a configuration of
    /// commented defaults (mode 0600), and its folders.
    ///
    /// The configuration is written last and renamed into place: if this is interrupted, calling it again finishes.
    ///
    /// # Errors
    /// [`HomeError::AlreadyThere`] and [`HomeError::Occupied`] after having changed nothing; others.
    pub fn init(dir: &Path) -> Result<Self, HomeError> {
        let absolute = std::path::absolute(dir).map_err(failed("resolve", dir))?;
        check_path(&absolute)?;
        if is_installation(&absolute) {
            return Err(HomeError::AlreadyThere { dir: text::show_path(dir) });
        }
        let folders = [SPOOL, WORKTREES, LOGS, BACKUPS, RUN];
        match std::fs::DirBuilder::new().mode(0o700).create(&absolute) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refuse_occupied(&absolute, &folders)?,
            made => made.map_err(failed("make", dir))?,
        }
        std::fs::set_permissions(&absolute, std::fs::Permissions::from_mode(0o700)).map_err(failed("chmod", dir))?;
        let spools = Folder::ALL.iter().map(|folder| Path::new(SPOOL).join(folder.name()));
        for folder in folders.iter().map(PathBuf::from).chain(spools) {
            make_private(&absolute.join(folder))?;
        }
        write_whole(&absolute, IGNORE, "*\n")?;
        write_whole(&absolute, CONFIG_NAME, &default_file())?;
        Self::at(&absolute)
    }

    /// The directory itself: canonical, absolute.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The database.
    #[must_use]
    pub fn db(&self) -> PathBuf {
        self.dir.join(DB_NAME)
    }

    /// The configuration.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.dir.join(CONFIG_NAME)
    }

    /// The spool of agents' reports.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.dir.join(SPOOL)
    }

    /// The folder of all worktrees.
    #[must_use]
    pub fn worktrees(&self) -> PathBuf {
        self.dir.join(WORKTREES)
    }

    /// The folder of logs and of what agents wrote to standard error.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.join(LOGS)
    }

    /// The folder of the database's backups.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.dir.join(BACKUPS)
    }

    /// The folder of what is only valid while something runs.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join(RUN)
    }

    /// The path of the tmux socket, at most [`SOCKET_BYTES_MAX`] bytes, in a directory nobody else can reach.
    ///
    /// It lies in the installation if the path is short enough. Otherwise it lies in `runtime_dir` (the value of
    /// XDG_RUNTIME_DIR) or in `/tmp`, and its path is kept in `run/socket`: a later process whose environment differs
    /// (cron has no XDG_RUNTIME_DIR) must speak to the same server, not start a second one.
    ///
    /// # Errors
    /// [`HomeError::SocketDir`] if the directory is not ours alone (T20, B81); [`HomeError::Io`].
    pub fn socket(&self, runtime_dir: Option<&OsStr>) -> Result<PathBuf, HomeError> {
        let inside = self.dir.join(SOCKET);
        if fits(&inside) {
            check_private(&self.dir, 0o077)?;
            return Ok(inside);
        }
        let uid = rustix::process::geteuid().as_raw();
        let fallback = PathBuf::from(format!("/tmp/orch-{uid}"));
        let name = format!("{}.sock", self.hash());
        let note = self.run_dir().join(SOCKET_NOTE);
        if let Some(kept) = kept_socket(&note, &name) {
            return Ok(kept);
        }
        let wanted = runtime_dir.map(|dir| Path::new(dir).join("orch"));
        let dir = wanted.filter(|dir| is_usable_runtime(dir, &name)).unwrap_or(fallback);
        make_private(&dir)?;
        check_private(&dir, 0o077)?;
        let socket = dir.join(&name);
        make_private(&self.run_dir())?;
        write_whole(&self.run_dir(), SOCKET_NOTE, &socket.to_string_lossy())?;
        Ok(socket)
    }

    /// 16 hexadecimal digits that stand for this directory.
    fn hash(&self) -> String {
        let mut sha256 = judge::pin_of(self.dir.as_os_str().as_encoded_bytes()).sha256;
        sha256.truncate(16);
        sha256
    }
}

fn fits(socket: &Path) -> bool {
    socket.as_os_str().len() <= SOCKET_BYTES_MAX
}

/// The socket an earlier process chose, if its directory is still there and ours alone.
fn kept_socket(note: &Path, name: &str) -> Option<PathBuf> {
    let read = file::read_regular(note, 4_096, false).ok()?;
    let kept = PathBuf::from(String::from_utf8(read.bytes).ok()?);
    let dir = kept.parent().filter(|dir| dir.is_absolute())?;
    let same = kept.file_name().is_some_and(|kept| kept == name);
    (same && fits(&kept) && check_private(dir, 0o077).is_ok()).then_some(kept)
}

/// Whether a directory below XDG_RUNTIME_DIR can be used: that one is ours alone, absolute, and short enough.
fn is_usable_runtime(dir: &Path, name: &str) -> bool {
    let base_is_ours = dir.parent().is_some_and(|base| check_private(base, 0o077).is_ok());
    dir.is_absolute() && check_path(dir).is_ok() && fits(&dir.join(name)) && base_is_ours
}

/// Refuses a directory that is a symlink, another user's, or has any of the bits of `forbidden`.
fn check_private(dir: &Path, forbidden: u32) -> Result<(), HomeError> {
    let refuse = |problem: String| HomeError::SocketDir { dir: text::show_path(dir), problem };
    let found = std::fs::symlink_metadata(dir).map_err(|error| refuse(file::system_words(&error)))?;
    let uid = rustix::process::geteuid().as_raw();
    if !found.is_dir() {
        return Err(refuse("it is not a directory".to_owned()));
    }
    if found.uid() != uid {
        return Err(refuse(format!("it belongs to user {}, not {uid}", found.uid())));
    }
    if found.mode() & forbidden != 0 {
        return Err(refuse(format!("its mode is {:04o}", found.mode() & 0o7777)));
    }
    Ok(())
}

/// A directory left by an `init` that was interrupted may be finished; anything else in it is somebody's.
fn refuse_occupied(dir: &Path, folders: &[&str]) -> Result<(), HomeError> {
    for entry in std::fs::read_dir(dir).map_err(failed("list", dir))? {
        let name = entry.map_err(failed("list", dir))?.file_name();
        let ours = folders.iter().chain(&[IGNORE]).any(|ours| name == *ours);
        if !ours && !name.as_encoded_bytes().starts_with(b".tmp-") {
            let found = text::escape(&name.to_string_lossy(), text::SHOWN_CHARS_MAX);
            return Err(HomeError::Occupied { dir: text::show_path(dir), found });
        }
    }
    Ok(())
}

fn make_private(dir: &Path) -> Result<(), HomeError> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(failed("make", dir)),
    }
}

/// Writes a file of mode 0600 that is there whole or not at all, and replaces what was there.
fn write_whole(dir: &Path, name: &str, content: &str) -> Result<(), HomeError> {
    let path = dir.join(name);
    // The number keeps two processes apart that do this at the same time; either result is right.
    let written = dir.join(format!(".tmp-{}-{name}", std::process::id()));
    let done = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&written)
        .and_then(|mut file| file.write_all(content.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&written, &path))
        .and_then(|()| std::fs::File::open(dir)?.sync_all());
    done.map_err(failed("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::symlink;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let real = std::fs::canonicalize(dir.path()).expect("canonical");
        (dir, real)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).expect("there").mode() & 0o7777
    }

    fn check<T: std::fmt::Debug>(result: Result<T, HomeError>, expected: &str) {
        assert_eq!(result.expect_err("must be refused").to_string(), expected);
    }

    #[test]
    fn init_makes_a_private_installation() {
        let (_dir, base) = folder();
        let home = Home::init(&base.join(".orch")).expect("made");
        assert_eq!(home.dir(), base.join(".orch"));
        let mut names: Vec<String> = std::fs::read_dir(home.dir())
            .expect("listed")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        assert_eq!(names, [".gitignore", "backups", "config.toml", "logs", "run", "spool", "worktrees"]);
        for dir in [home.dir().to_owned(), home.spool(), home.spool().join("new"), home.worktrees(), home.run_dir()] {
            assert_eq!(mode(&dir), 0o700, "{}", dir.display());
        }
        assert_eq!(mode(&home.config_file()), 0o600);
        assert_eq!(std::fs::read_to_string(home.dir().join(".gitignore")).ok().as_deref(), Some("*\n"));
        assert!(home.spool().join("tmp").is_dir() && home.spool().join("rejected").is_dir());
        assert!(super::super::Config::load(&home).is_ok());
    }

    #[test]
    fn init_twice_says_so_and_changes_nothing() {
        let (_dir, base) = folder();
        let dir = base.join(".orch");
        let home = Home::init(&dir).expect("made");
        std::fs::write(home.config_file(), "sweep_s = 9\n").expect("written");
        std::fs::remove_dir(home.logs()).expect("removed");
        check(Home::init(&dir), &format!("{} is an installation already; nothing has been changed", dir.display()));
        assert_eq!(std::fs::read_to_string(home.config_file()).ok().as_deref(), Some("sweep_s = 9\n"));
        assert!(!home.logs().exists());
    }

    #[test]
    fn an_interrupted_init_is_finished_and_a_foreign_directory_refused() {
        let (_dir, base) = folder();
        let dir = base.join(".orch");
        std::fs::create_dir_all(dir.join("spool/tmp")).expect("made");
        std::fs::write(dir.join(".tmp-1-config.toml"), "half").expect("written");
        assert!(Home::init(&dir).is_ok());
        let foreign = base.join("src");
        std::fs::create_dir(&foreign).expect("made");
        std::fs::write(foreign.join("main.rs"), "").expect("written");
        check(
            Home::init(&foreign),
            &format!(
                "{} has other things in it (main.rs); an installation needs a directory of its own",
                foreign.display()
            ),
        );
        check(
            Home::init(&base.join("none/.orch")),
            &format!("cannot make {}/none/.orch: No such file or directory (ENOENT)", base.display()),
        );
    }

    #[test]
    fn it_is_found_upward_past_the_briefs_of_worktrees() {
        let (_dir, base) = folder();
        let home = Home::init(&base.join(".orch")).expect("made");
        let worktree = home.worktrees().join("p1/dev/e1");
        std::fs::create_dir_all(worktree.join(".orch")).expect("made");
        std::fs::write(worktree.join(".orch/brief.md"), "b").expect("written");
        assert_eq!(Home::find(None, None, &worktree), Ok(home.clone()));
        assert_eq!(Home::find(None, None, &base), Ok(home.clone()));
        std::fs::remove_file(home.config_file()).expect("removed");
        check(
            Home::find(None, None, &base),
            &format!(
                "no .orch/ in {} or above it; make one with orch init, or name one with --home or ORCH_HOME",
                base.display()
            ),
        );
        std::fs::write(home.db(), "").expect("written");
        assert_eq!(Home::find(None, None, &base), Ok(home), "a lost configuration is not an absent installation");
    }

    #[test]
    fn a_named_one_wins_and_is_never_searched_for() {
        let (_dir, base) = folder();
        let near = Home::init(&base.join(".orch")).expect("made");
        let far = Home::init(&base.join("far")).expect("made");
        symlink("far", base.join("link")).expect("link");
        assert_eq!(Home::find(Some(Path::new("far")), Some(".orch".into()), &base), Ok(far.clone()));
        assert_eq!(Home::find(None, Some("link".into()), &base), Ok(far));
        assert_eq!(Home::find(None, None, &base), Ok(near.clone()));
        let base_shown = base.display();
        check(
            Home::find(Some(Path::new("none")), None, &base),
            &format!(
                "--home {base_shown}/none: no installation is there (No such file or directory (ENOENT)); make one with \
                 orch init"
            ),
        );
        check(
            Home::find(None, Some("".into()), &base),
            &format!(
                "ORCH_HOME {base_shown}/: no installation is there (neither config.toml nor orch.db); make one with \
                 orch init"
            ),
        );
        check(
            Home::find(Some(&near.config_file()), None, &base),
            &format!(
                "--home {base_shown}/.orch/config.toml: no installation is there (it is not a directory); make one with \
                 orch init"
            ),
        );
    }

    #[test]
    fn b44_b56_paths_with_control_characters_or_not_utf8_are_refused() {
        let (_dir, base) = folder();
        check(
            Home::init(&base.join("a\nb")),
            &format!(
                "{}/a\\nb: control character U+000A at {}; a path may have none",
                base.display(),
                base.display().to_string().chars().count() + 2
            ),
        );
        let odd = OsString::from_vec(b"a\xffb".to_vec());
        let expected = format!("{}/a\u{fffd}b: the path must be UTF-8", base.display());
        check(Home::init(&base.join(&odd)), &expected);
        check(Home::find(None, Some(odd), &base), &expected);
        std::fs::create_dir(base.join("real\n")).expect("made");
        symlink("real\n", base.join("innocent")).expect("link");
        std::fs::write(base.join("real\n/config.toml"), "").expect("written");
        assert!(Home::find(Some(Path::new("innocent")), None, &base).is_err(), "what it resolves to counts");
    }

    /// An installation whose path is too long for a socket, and a runtime directory.
    fn long() -> (tempfile::TempDir, Home, PathBuf) {
        let (dir, base) = folder();
        let home = Home::init(&base.join("x".repeat(100))).expect("made");
        let runtime = base.join("r");
        std::fs::DirBuilder::new().mode(0o700).create(&runtime).expect("made");
        (dir, home, runtime)
    }

    #[test]
    fn the_socket_lies_inside_while_its_path_is_short() {
        let (_dir, base) = folder();
        let home = Home::init(&base.join(".orch")).expect("made");
        assert_eq!(home.socket(None), Ok(home.dir().join("tmux.sock")));
        // Whatever lets others in at all: tmux is not asked to use it, or serving would try to connect for ever.
        for mode in [0o777, 0o755, 0o750, 0o701] {
            std::fs::set_permissions(home.dir(), std::fs::Permissions::from_mode(mode)).expect("chmod");
            check(
                home.socket(None),
                &format!(
                    "{} cannot hold the tmux socket: its mode is {mode:04o}; allowed: a directory of this user with \
                     mode 0700",
                    home.dir().display()
                ),
            );
        }
    }

    #[test]
    fn a_long_path_puts_it_into_the_runtime_directory_and_there_it_stays() {
        let (_dir, home, runtime) = long();
        let socket = home.socket(Some(runtime.as_os_str())).expect("a socket");
        assert_eq!(socket, runtime.join("orch").join(format!("{}.sock", home.hash())));
        assert_eq!(mode(&runtime.join("orch")), 0o700);
        assert!(fits(&socket));
        assert_eq!(home.socket(None), Ok(socket.clone()), "another environment finds the same server");
        std::fs::set_permissions(runtime.join("orch"), std::fs::Permissions::from_mode(0o755)).expect("chmod");
        check(
            home.socket(Some(runtime.as_os_str())),
            &format!(
                "{}/orch cannot hold the tmux socket: its mode is 0755; allowed: a directory of this user with mode 0700",
                runtime.display()
            ),
        );
    }

    #[test]
    fn b81_an_unsafe_socket_directory_is_not_used() {
        let (_dir, home, runtime) = long();
        symlink("/tmp", runtime.join("orch")).expect("link");
        check(
            home.socket(Some(runtime.as_os_str())),
            &format!(
                "{}/orch cannot hold the tmux socket: it is not a directory; allowed: a directory of this user with \
                 mode 0700",
                runtime.display()
            ),
        );
        std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o777)).expect("chmod");
        assert!(!is_usable_runtime(&runtime.join("orch"), "x.sock"));
        assert!(!is_usable_runtime(Path::new("relative/orch"), "x.sock"));
    }
}
