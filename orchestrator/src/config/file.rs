//! `config.toml`: what an installation may change, with ranges (B36–B43).
//!
//! Read once at start. A key that is left out has its default; a file that is not there is an error, because limits
//! that silently fall back to defaults are a surprise in the middle of the night.

use super::home::{CONFIG_NAME, Home};
use crate::domain::limits::{Policy, SPEC_BYTES_MAX};
use crate::validate::file::{self, FileFault};
use crate::validate::table::{self, Fault, Table, Value};
use crate::validate::text;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// Names of environment variables that are always passed on to the tmux server, beside every `LC_…` (T19).
pub const PASSED_ALWAYS: &[&str] = &["PATH", "HOME", "USER", "SHELL", "LANG", "TERM", "TZ"];
/// Names that `allow_env` may add.
pub const ALLOW_ENV_MAX: usize = 100;

const KEYS: &[&str] = &["policy", "http", "http_public", "tmux", "git", "sweep_s", "allow_env"];
/// Seconds between two sweeps: more than five minutes would leave a fault without events unseen for too long.
const SWEEP_S: Bound = Bound { key: "sweep_s", min: 1, max: 300, help: "seconds between two sweeps while events flow" };

/// What an installation has configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Limits that decisions obey.
    pub policy: Policy,
    /// Where status and metrics are served; port 0 lets the system choose. A loopback address unless `http_public`.
    pub http: SocketAddr,
    /// Whether `http` may be an address that other machines reach (B82).
    pub http_public: bool,
    /// The tmux program: a name to be found on PATH, or a path.
    pub tmux: String,
    /// The git program, likewise.
    pub git: String,
    /// Seconds between two sweeps while the event sources are healthy; 1 to 300.
    pub sweep_s: u64,
    /// Names of variables passed to the tmux server beside [`PASSED_ALWAYS`] and `LC_…`.
    pub allow_env: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            http_public: false,
            tmux: "tmux".to_owned(),
            git: "git".to_owned(),
            sweep_s: 5,
            allow_env: Vec::new(),
        }
    }
}

/// Why a configuration cannot be used; its text is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or everybody may change it (B30–B35, B43).
    #[error("{path}: {fault}{}", if matches!(fault, FileFault::System(_)) { "; an empty file means all defaults" } else { "" })]
    File {
        /// The file, escaped.
        path: String,
        /// Why not.
        fault: FileFault,
    },
    /// What it says is wrong (B36–B42).
    #[error("{path}:{}{fault}", if fault.place.is_some() { "" } else { " " })]
    Content {
        /// The file, escaped.
        path: String,
        /// Where, which key, which value, what is allowed.
        fault: Fault,
    },
}

/// One key with its value in effect, for `orch config show --origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key, such as `policy.max_active`.
    pub key: String,
    /// Its value as TOML.
    pub value: String,
    /// Whether it differs from the default.
    pub changed: bool,
}

struct Bound {
    key: &'static str,
    min: i64,
    max: i64,
    help: &'static str,
}

/// One key of `[policy]`.
struct Limit {
    bound: Bound,
    get: fn(&Policy) -> u64,
    set: fn(&mut Policy, u64),
}

macro_rules! limit {
    ($key:ident, $kind:ty, $min:literal..=$max:literal, $help:literal) => {
        Limit {
            bound: Bound { key: stringify!($key), min: $min, max: $max, help: $help },
            get: |policy| u64::from(policy.$key),
            // The range of every key fits its type; a value that did not would be the largest.
            set: |policy, value| policy.$key = <$kind>::try_from(value).unwrap_or(<$kind>::MAX),
        }
    };
}

/// The ranges: nothing may be 0 (B39), and no time longer than a week is anything but a mistake in the unit.
const LIMITS: &[Limit] = &[
    limit!(max_active, u32, 1..=10_000, "projects worked on at the same time"),
    limit!(breaker_max, u32, 1..=100, "recoveries of one project within the window"),
    limit!(breaker_window_s, u64, 1..=604_800, "seconds of the window, and how long an open breaker stays open"),
    limit!(backoff_base_s, u64, 1..=86_400, "seconds before the second attempt, doubled for every further one"),
    limit!(backoff_cap_s, u64, 1..=86_400, "seconds of the longest wait before an attempt"),
    limit!(probes_max, u32, 1..=100, "half-open probes that may fail before the project is failed"),
    limit!(fleet_breaker_max, u32, 1..=10_000, "projects whose breakers may open before no queued one is admitted"),
    limit!(fleet_breaker_window_s, u64, 1..=604_800, "seconds of the window in which those openings count"),
    limit!(unknown_s, u64, 10..=604_800, "seconds tmux may not answer before its projects wait for an operator"),
    limit!(ack_s, u64, 1..=86_400, "seconds an agent has to acknowledge its brief"),
    limit!(brief_max, u32, 1..=100, "how often the brief is handed over before the agent counts as deaf"),
    limit!(stall_s, u64, 1..=604_800, "seconds an agent that reports progress may be silent before it counts as hung"),
    limit!(stall_tool_s, u64, 1..=604_800, "the same while a tool of its runs, or while it rests without being done"),
];

impl Config {
    /// Reads an installation's configuration.
    ///
    /// # Errors
    /// [`ConfigError`]: the first rule that is broken.
    pub fn load(home: &Home) -> Result<Self, ConfigError> {
        Self::read(&home.config_file())
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`]: the first rule that is broken.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = text::show_path(path);
        let file_fault = |fault| ConfigError::File { path: shown.clone(), fault };
        let read = file::read_regular(path, SPEC_BYTES_MAX, true).map_err(file_fault)?;
        if read.mode & 0o002 != 0 {
            return Err(file_fault(FileFault::WorldWritable { mode: read.mode }));
        }
        let parsed = table::normalised(&read.bytes).and_then(|source| parse(&source));
        parsed.map_err(|fault| ConfigError::Content { path: shown.clone(), fault })
    }

    /// Whether a variable of this name is passed on to the tmux server, and so to every agent (T19).
    #[must_use]
    pub fn passes(&self, name: &str) -> bool {
        PASSED_ALWAYS.contains(&name) || name.starts_with("LC_") || self.allow_env.iter().any(|allowed| allowed == name)
    }

    /// Every key with its value in effect, in the order of the file that `orch init` writes.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let values = self.values();
        let defaults = Self::default().values();
        let changed = values.iter().zip(&defaults).map(|(value, default)| value != default).collect::<Vec<_>>();
        values
            .into_iter()
            .zip(changed)
            .map(|((key, value), changed)| Setting { key: key.to_owned(), value, changed })
            .chain(LIMITS.iter().map(|limit| Setting {
                key: format!("policy.{}", limit.bound.key),
                value: (limit.get)(&self.policy).to_string(),
                changed: (limit.get)(&self.policy) != (limit.get)(&Policy::default()),
            }))
            .collect()
    }

    fn values(&self) -> Vec<(&'static str, String)> {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let names: Vec<String> = self.allow_env.iter().map(|name| quoted(name)).collect();
        vec![
            ("http", quoted(&self.http.to_string())),
            ("http_public", self.http_public.to_string()),
            ("tmux", quoted(&self.tmux)),
            ("git", quoted(&self.git)),
            ("sweep_s", self.sweep_s.to_string()),
            ("allow_env", format!("[{}]", names.join(", "))),
        ]
    }
}

/// The file that `orch init` writes: every key with its default, commented out.
#[must_use]
pub fn default_file() -> String {
    let mut file =
        format!("# {CONFIG_NAME} of an orch installation; every key with its default. Read when orch starts.\n\n");
    let defaults = Config::default();
    for (key, value) in defaults.values() {
        let help = match key {
            "http" => "address and port of status and metrics; port 0 lets the system choose",
            "http_public" => "whether that address may be one that other machines reach",
            "tmux" => "the tmux program",
            "git" => "the git program",
            "sweep_s" => SWEEP_S.help,
            _ => "variables passed to agents beside PATH HOME USER SHELL LANG LC_* TERM TZ",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(file, "# {help}\n# {key} = {value}");
    }
    file.push_str("\n[policy]\n");
    for Limit { bound, get, .. } in LIMITS {
        let Bound { key, min, max, help } = bound;
        let _ = writeln!(file, "# {help}; {min} to {max}\n# {key} = {}", get(&defaults.policy));
    }
    file
}

fn parse(source: &str) -> Result<Config, Fault> {
    let entries = table::parse(source)?;
    let root = Table::root(source, &entries);
    root.only(KEYS)?;
    let mut config = Config::default();
    if let Some(value) = root.get("policy") {
        config.policy = policy(&value.table("must be a table, written as [policy]")?)?;
    }
    if let Some(value) = root.get("http_public") {
        config.http_public = value.boolean()?;
    }
    if let Some(value) = root.get("http") {
        config.http = http(&value, config.http_public)?;
    }
    if let Some(value) = root.get("tmux") {
        config.tmux = program(&value)?;
    }
    if let Some(value) = root.get("git") {
        config.git = program(&value)?;
    }
    if let Some(value) = root.get(SWEEP_S.key) {
        config.sweep_s = bounded(&value, &SWEEP_S)?;
    }
    if let Some(value) = root.get("allow_env") {
        config.allow_env = allow_env(&value)?;
    }
    Ok(config)
}

fn bounded(value: &Value<'_>, bound: &Bound) -> Result<u64, Fault> {
    Ok(u64::try_from(value.integer(bound.min..=bound.max)?).unwrap_or_default())
}

fn policy(table: &Table<'_>) -> Result<Policy, Fault> {
    let keys: Vec<&str> = LIMITS.iter().map(|limit| limit.bound.key).collect();
    table.only(&keys)?;
    let mut policy = Policy::default();
    for limit in LIMITS {
        if let Some(value) = table.get(limit.bound.key) {
            (limit.set)(&mut policy, bounded(&value, &limit.bound)?);
        }
    }
    // Whichever of the two is written in the file is the one to point at.
    let written = table.get("backoff_base_s").or_else(|| table.get("backoff_cap_s"));
    match written {
        Some(value) if !waits_grow(&policy) => Err(value.refuse(format!(
            "backoff_base_s ({}) must not exceed backoff_cap_s ({})",
            policy.backoff_base_s, policy.backoff_cap_s
        ))),
        Some(_) | None => Ok(policy),
    }
}

/// Whether a `config.toml` could say this: every limit is in its range, and they fit each other.
#[must_use]
pub fn is_possible(policy: &Policy) -> bool {
    let within = |Limit { bound, get, .. }: &Limit| {
        i64::try_from(get(policy)).is_ok_and(|value| (bound.min..=bound.max).contains(&value))
    };
    LIMITS.iter().all(within) && waits_grow(policy)
}

/// Whether the first wait before an attempt is no longer than the longest.
fn waits_grow(policy: &Policy) -> bool {
    policy.backoff_base_s <= policy.backoff_cap_s
}

fn http(value: &Value<'_>, public: bool) -> Result<SocketAddr, Fault> {
    const ALLOWED: &str = "allowed: an address and a port, such as 127.0.0.1:0";
    let address: SocketAddr = value.text()?.parse().map_err(|_| value.refuse(ALLOWED))?;
    if !address.ip().is_loopback() && !public {
        return Err(
            value.refuse("other machines reach this address; allowed: a loopback address, or http_public = true")
        );
    }
    Ok(address)
}

fn program(value: &Value<'_>) -> Result<String, Fault> {
    let written = value.text()?;
    text::path(written).map_err(|rule| value.refuse(format!("program: {rule}")))?;
    if written.trim().is_empty() || written.starts_with('-') {
        return Err(value.refuse("allowed: the name or the path of a program"));
    }
    Ok(written.to_owned())
}

fn allow_env(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    let items = value.items("must be a list of names of variables")?;
    if items.len() > ALLOW_ENV_MAX {
        return Err(value.refuse(format!("{} names; allowed: at most {ALLOW_ENV_MAX}", items.len())));
    }
    let mut names = Vec::new();
    for item in items {
        let name = item.text()?;
        text::env_name(name).map_err(|rule| item.refuse(rule))?;
        names.push(name.to_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn read(content: &[u8], mode: u32) -> Result<Config, String> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("config.toml");
        std::fs::write(&path, content).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        let folder = format!("{}/", dir.path().display());
        Config::read(&path).map_err(|error| error.to_string().replace(&folder, ""))
    }

    fn check(content: &str, expected: &str) {
        assert_eq!(read(content.as_bytes(), 0o600), Err(format!("config.toml:{expected}")));
    }

    #[test]
    fn an_empty_file_means_all_defaults() {
        for content in ["", "\u{feff}# nothing\r\n", "[policy]\n"] {
            assert_eq!(read(content.as_bytes(), 0o600), Ok(Config::default()));
        }
        assert_eq!(Config::default().http.to_string(), "127.0.0.1:0");
    }

    #[test]
    fn the_file_that_init_writes_is_the_defaults_also_without_its_comment_signs() {
        let file = default_file();
        assert_eq!(read(file.as_bytes(), 0o600), Ok(Config::default()));
        let is_key = |line: &str| line.strip_prefix("# ").is_some_and(|rest| rest.contains(" = "));
        let active: String = file
            .lines()
            .map(|line| if is_key(line) { &line[2..] } else { line })
            .fold(String::new(), |all, line| all + line + "\n");
        assert_eq!(read(active.as_bytes(), 0o600), Ok(Config::default()), "{active}");
        for key in KEYS {
            assert!(active.contains(key), "{key}");
        }
    }

    #[test]
    fn every_key_can_be_set() {
        let content = "http = '[::1]:8080'\ntmux = '/opt/tmux'\ngit = 'git2'\nsweep_s = 1\nallow_env = ['CI', 'HTTP_PROXY']\n\
                       [policy]\nmax_active = 7\nbreaker_max = 1\nbreaker_window_s = 2\nbackoff_base_s = 3\n\
                       backoff_cap_s = 4\nprobes_max = 5\nack_s = 6\nbrief_max = 8\nstall_s = 9\nstall_tool_s = 10\n\
                       fleet_breaker_max = 11\nfleet_breaker_window_s = 12\nunknown_s = 13\n";
        let config = read(content.as_bytes(), 0o640).expect("a configuration");
        let policy = Policy {
            max_active: 7,
            breaker_max: 1,
            breaker_window_s: 2,
            backoff_base_s: 3,
            backoff_cap_s: 4,
            probes_max: 5,
            fleet_breaker_max: 11,
            fleet_breaker_window_s: 12,
            unknown_s: 13,
            ack_s: 6,
            brief_max: 8,
            stall_s: 9,
            stall_tool_s: 10,
        };
        assert_eq!(config.policy, policy);
        assert_eq!((config.http.to_string().as_str(), config.sweep_s), ("[::1]:8080", 1));
        assert!(
            config.passes("CI") && config.passes("LC_ALL") && config.passes("PATH") && !config.passes("AWS_SECRET")
        );
        let changed = config.settings().into_iter().filter(|setting| !setting.changed).map(|setting| setting.key);
        assert_eq!(changed.collect::<Vec<_>>(), ["http_public"]);
    }

    #[test]
    fn every_limit_of_the_policy_is_a_key() {
        let json = serde_json::to_value(Policy::default()).expect("JSON");
        let mut keys: Vec<&str> = LIMITS.iter().map(|limit| limit.bound.key).collect();
        keys.sort_unstable();
        let mut fields: Vec<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(keys, fields);
        for limit in LIMITS {
            let default = i64::try_from((limit.get)(&Policy::default())).expect("small");
            assert!((limit.bound.min..=limit.bound.max).contains(&default), "{}", limit.bound.key);
        }
    }

    #[test]
    fn b30_b43_the_file_is_there_and_only_ours_to_change() {
        assert_eq!(
            Config::read(Path::new("/none/config.toml")).map_err(|error| error.to_string()),
            Err("/none/config.toml: No such file or directory (ENOENT); an empty file means all defaults".to_owned())
        );
        assert_eq!(
            read(b"", 0o602),
            Err("config.toml: is writable for everybody (mode 0602); chmod o-w it".to_owned())
        );
        assert_eq!(
            read(&vec![b'#'; (1 << 20) + 1], 0o600),
            Err("config.toml: is longer than 1048576 bytes".to_owned())
        );
    }

    #[test]
    fn b36_b37_b42_what_it_says_is_refused_with_its_place() {
        check("sweep_s = ", "1:11: string values must be quoted, expected literal string");
        check("sweep_s = 5\nsweep_s = 5", "2:1: duplicate key: \"sweep_s\"");
        check(
            "sweeps = 5",
            "1:1: sweeps: unknown key; did you mean sweep_s? (allowed: policy, http, http_public, tmux, git, sweep_s, \
             allow_env)",
        );
        check(
            "[policy]\nmax_actives = 5",
            "2:1: policy.max_actives: unknown key; did you mean max_active? (allowed: max_active, breaker_max, \
             breaker_window_s, backoff_base_s, backoff_cap_s, probes_max, fleet_breaker_max, fleet_breaker_window_s, unknown_s, ack_s, brief_max, stall_s, \
             stall_tool_s)",
        );
        check("policy = 5", "1:10: policy = 5: must be a table, written as [policy]");
    }

    #[test]
    fn b38_b39_numbers_have_ranges() {
        check("sweep_s = 0", "1:11: sweep_s = 0: must be a whole number from 1 to 300");
        for value in ["0", "-1", "864000000", "nan", "1.5", "'30s'"] {
            let shown = value.replace('\'', "\"");
            check(
                &format!("[policy]\nack_s = {value}"),
                &format!("2:9: policy.ack_s = {shown}: must be a whole number from 1 to 86400"),
            );
        }
        check(
            "[policy]\nbackoff_base_s = 301",
            "2:18: policy.backoff_base_s = 301: backoff_base_s (301) must not exceed backoff_cap_s (300)",
        );
        check(
            "[policy]\nbackoff_cap_s = 9",
            "2:17: policy.backoff_cap_s = 9: backoff_base_s (10) must not exceed backoff_cap_s (9)",
        );
    }

    #[test]
    fn b82_other_machines_reach_it_only_if_that_is_said() {
        check(
            "http = '0.0.0.0:80'",
            "1:8: http = \"0.0.0.0:80\": other machines reach this address; allowed: a loopback address, or \
             http_public = true",
        );
        check("http = 'localhost'", "1:8: http = \"localhost\": allowed: an address and a port, such as 127.0.0.1:0");
        let public = read(b"http = '0.0.0.0:80'\nhttp_public = true", 0o600).map(|config| config.http.to_string());
        assert_eq!(public, Ok("0.0.0.0:80".to_owned()));
    }

    #[test]
    fn programs_and_variables_have_legal_names() {
        check("tmux = ''", "1:8: tmux = \"\": program: path is empty");
        check("git = '-c'", "1:7: git = \"-c\": allowed: the name or the path of a program");
        check(
            "allow_env = ['A-B']",
            "1:14: allow_env[0] = \"A-B\": the name of a variable must match [A-Za-z_][A-Za-z0-9_]*",
        );
        check(
            "allow_env = ['ORCH_INSTANCE']",
            "1:14: allow_env[0] = \"ORCH_INSTANCE\": names that begin with ORCH_ are the orchestrator's own",
        );
    }
}
