//! The command line of `orch`: what can be typed, and what each word leads to.
//!
//! Only this module prints. Results go to standard output, complaints to standard error as one line; how it ends is
//! an [`exit::Exit`], nothing else. The viewers (`status`, `show`, `events`, `doctor`) only read: they work whether
//! or not an orchestrator runs, and never wait for it.

pub mod agent;
pub mod audit;
pub mod doctor;
pub mod enqueue;
pub mod events;
pub mod exit;
pub mod host;
pub mod init;
pub mod operator;
pub mod output;
pub mod post_mortem;
pub mod serve;
pub mod show;
pub mod status;
#[cfg(test)]
mod testing;
pub mod validate;

use crate::config::{Config, Home};
use crate::domain::request::RequestKind;
use crate::telemetry::{log, text};
use clap::{Parser, Subcommand, ValueEnum};
use exit::{CliError, Exit};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs AI coding agents in tmux and cannot lie about their state
#[derive(Debug, Parser)]
#[command(name = "orch", version, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    /// The installation; without it, the .orch directory found here or above
    #[arg(long, global = true, value_name = "DIR", env = "ORCH_HOME", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// How diagnostics on standard error look; their filter is ORCH_LOG
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub log: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How diagnostics look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    #[default]
    Auto,
    /// One JSON object per line
    Json,
    /// One compact line for a person
    Text,
}

impl From<LogFormat> for log::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Auto => Self::Auto,
            LogFormat::Json => Self::Json,
            LogFormat::Text => Self::Text,
        }
    }
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an installation here
    Init(init::Args),
    /// Put a project into the queue
    Enqueue(enqueue::Args),
    /// Work on the queue until stopped; agents outlive it
    #[command(after_help = serve::HELP)]
    Serve(serve::Args),
    /// Show how everything stands
    Status(status::Args),
    /// Show everything about one project
    Show(show::Args),
    /// Show the journal
    Events(events::Args),
    /// Write up what happened to one project, as Markdown
    PostMortem(post_mortem::Args),
    /// Run an ended project once more, from the queue
    Retry(operator::Args),
    /// End a project now
    Cancel(operator::Args),
    /// Let a project rest; its agents are left alone
    Suspend(operator::Args),
    /// Let a resting project go on
    Resume(operator::Args),
    /// List the breakers, or reset one
    Breaker(operator::BreakerArgs),
    /// Check a spec as `enqueue` would
    Validate(validate::Args),
    /// Report as an agent, from within its session
    Agent(agent::Args),
    /// Check whether the database keeps its invariants
    Audit(audit::Args),
    /// Check whether this machine can do what will be asked of it
    Doctor(doctor::Args),
}

/// The whole program: reads the command line, does what it says, and tells how it ended.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

/// The same for given arguments, the program's name included.
pub fn run(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match dispatch(&cli) {
        Ok(exit) => exit,
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Ok {
                output::complain(&error.line());
            }
            exit
        }
    }
}

/// Help and version are answers, everything else that clap says is a complaint.
fn usage(error: &clap::Error) -> Exit {
    let said = error.render().to_string();
    if !error.use_stderr() {
        return output::print(&said).map_or_else(|error| error.exit(), |()| Exit::Ok);
    }
    // Nothing at all was asked for: the help is the answer, but on the other stream.
    let all = error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    output::complain(&if all { said.trim_end().to_owned() } else { complaint(&said) });
    Exit::Usage
}

/// What clap says, as one line like every other error; the rest of its words is in the help.
fn complaint(said: &str) -> String {
    let words: Vec<&str> = said
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let words = words.join(" ");
    let words = text::outside(words.strip_prefix("error: ").unwrap_or(&words));
    format!("orch: {words}; see `orch --help`")
}

fn dispatch(cli: &Cli) -> Result<Exit, CliError> {
    let home = || host::home(cli.home.as_deref());
    // A viewer shows what there is even where the configuration is broken; `serve` refuses it.
    let policy = |home: &Home| Config::load(home).map(|config| config.policy).unwrap_or_default();
    match &cli.command {
        Command::Status(args) => {
            let home = home()?;
            status::run(args, home.dir(), &policy(&home)).map(|()| Exit::Ok)
        }
        Command::Show(args) => {
            let home = home()?;
            show::run(args, home.dir(), &policy(&home)).map(|()| Exit::Ok)
        }
        Command::PostMortem(args) => {
            let home = home()?;
            post_mortem::run(args, home.dir(), &policy(&home)).map(|()| Exit::Ok)
        }
        Command::Retry(args) => operator::run(RequestKind::Retry, *args, &home()?).map(|()| Exit::Ok),
        Command::Cancel(args) => operator::run(RequestKind::Cancel, *args, &home()?).map(|()| Exit::Ok),
        Command::Suspend(args) => operator::run(RequestKind::Suspend, *args, &home()?).map(|()| Exit::Ok),
        Command::Resume(args) => operator::run(RequestKind::Resume, *args, &home()?).map(|()| Exit::Ok),
        Command::Breaker(args) => {
            let home = home()?;
            operator::breaker(args, &home, &policy(&home)).map(|()| Exit::Ok)
        }
        Command::Validate(args) => {
            // Without an installation a spec can be judged all the same; one that was named must be there.
            let home = if cli.home.is_some() { Some(home()?) } else { home().ok() };
            validate::run(args, home.as_ref()).map(|()| Exit::Ok)
        }
        Command::Events(args) => events::run(args, home()?.dir()),
        Command::Audit(args) => {
            let home = home()?;
            audit::run(args, home.dir(), &policy(&home))
        }
        Command::Doctor(args) => {
            let home = home().map(|home| (home.dir().to_owned(), policy(&home)));
            let policy = home.as_ref().map(|(_, policy)| policy.clone()).unwrap_or_default();
            doctor::run(args, home.as_ref().map(|(dir, _)| dir.as_path()), &policy)
        }
        Command::Init(args) => init::run(args, cli.home.as_deref()).map(|()| Exit::Ok),
        Command::Enqueue(args) => enqueue::run(args, &home()?).map(|()| Exit::Ok),
        Command::Serve(args) => serve::run(args, &home()?, cli.log.into()),
        Command::Agent(args) => agent::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Report;
    use clap::CommandFactory;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_names_every_exit_code() {
        // The width is given, or the test would depend on the terminal it runs in.
        let help = Cli::command().term_width(100).render_help().to_string();
        assert!(help.contains(exit::HELP), "{help}");
        insta::assert_snapshot!(help, @"
        Runs AI coding agents in tmux and cannot lie about their state

        Usage: orch [OPTIONS] <COMMAND>

        Commands:
          init         Make an installation here
          enqueue      Put a project into the queue
          serve        Work on the queue until stopped; agents outlive it
          status       Show how everything stands
          show         Show everything about one project
          events       Show the journal
          post-mortem  Write up what happened to one project, as Markdown
          retry        Run an ended project once more, from the queue
          cancel       End a project now
          suspend      Let a project rest; its agents are left alone
          resume       Let a resting project go on
          breaker      List the breakers, or reset one
          validate     Check a spec as `enqueue` would
          agent        Report as an agent, from within its session
          audit        Check whether the database keeps its invariants
          doctor       Check whether this machine can do what will be asked of it
          help         Print this message or the help of the given subcommand(s)

        Options:
              --home <DIR>    The installation; without it, the .orch directory found here or above [env:
                              ORCH_HOME]
              --log <FORMAT>  How diagnostics on standard error look; their filter is ORCH_LOG [default:
                              auto] [possible values: auto, json, text]
          -h, --help          Print help (see more with '--help')
          -V, --version       Print version

        Exit codes:
          0    it did what was asked (a closed pipe counts as that)
          1    unexpected error
          2    wrong usage
          3    another orchestrator holds the installation
          4    bad data: spec, configuration, database, no such project; a refusal; a failed audit
          5    unusable environment: no tmux, no git, no installation
          130  interrupted (SIGINT)
          143  terminated (SIGTERM)
        ");
    }

    fn said(words: &[&str]) -> Option<Report> {
        let cli = Cli::try_parse_from(["orch", "agent"].iter().chain(words)).unwrap();
        let Command::Agent(args) = cli.command else { panic!("{:?}", cli.command) };
        args.says.report()
    }

    #[test]
    fn what_an_agent_says_becomes_a_report() {
        assert_eq!(said(&["ack"]), Some(Report::Ack));
        assert_eq!(said(&["progress"]), Some(Report::Progress(None)));
        assert_eq!(said(&["progress", "--help me"]), Some(Report::Progress(Some("--help me".to_owned()))));
        assert_eq!(said(&["done", "--summary", "-x"]), Some(Report::Done(Some("-x".to_owned()))));
        assert_eq!(said(&["fail", "--reason", "no key"]), Some(Report::Fail("no key".to_owned())));
        assert_eq!(said(&["idle"]), Some(Report::Idle));
        assert_eq!(said(&["needs-input", "which?"]), Some(Report::NeedsInput(Some("which?".to_owned()))));
        let tool = |what: &str| Some(Report::Progress(Some(what.to_owned())));
        assert_eq!(said(&["progress", "--tool", "start", "Bash"]), tool("tool: start Bash"));
        assert_eq!(said(&["progress", "--tool", "end"]), tool("tool: end"));
        assert_eq!(said(&["credit"]), Some(Report::Credit(None)));
        assert_eq!(said(&["credit", "--for", "90m"]), Some(Report::Credit(Some(5_400))));
        assert_eq!(said(&["credit", "--until", "2000-01-01T00:00:00Z"]), Some(Report::Credit(Some(0))));
        assert_eq!(said(&["exec", "--manifest", "x"]), None);
    }

    #[test]
    fn wrong_usage_is_its_own_code() {
        for words in [
            vec!["orch"],
            vec!["orch", "nonsense"],
            vec!["orch", "show", "x"],
            vec!["orch", "agent", "fail"],
            vec!["orch", "events", "--after", "-1"],
        ] {
            assert_eq!(run(words.clone()), Exit::Usage, "{words:?}");
        }
    }

    #[test]
    fn a_complaint_is_one_line() {
        let of = |words: &[&str]| {
            let error = Cli::try_parse_from(words).unwrap_err();
            complaint(&error.render().to_string())
        };
        insta::assert_snapshot!(of(&["orch", "statsu"]), @"orch: unrecognized subcommand 'statsu' tip: a similar subcommand exists: 'status'; see `orch --help`");
        insta::assert_snapshot!(of(&["orch", "agent", "fail"]), @"orch: the following required arguments were not provided: --reason <TEXT>; see `orch --help`");
        insta::assert_snapshot!(of(&["orch", "show", "\u{1b}[2J\n7"]), @"orch: invalid value ' 7' for '<ID>': invalid digit found in string; see `orch --help`");
    }

    #[test]
    fn arguments_that_are_no_utf8_do_not_panic() {
        use std::os::unix::ffi::OsStringExt;
        let bad = OsString::from_vec(vec![b's', 0xff]);
        assert_eq!(run([OsString::from("orch"), bad.clone()]), Exit::Usage);
        assert_eq!(run([OsString::from("orch"), "show".into(), bad]), Exit::Usage);
    }

    #[test]
    fn an_installation_that_is_not_there_is_an_unusable_environment() {
        let dir = tempfile::tempdir().unwrap();
        let none = dir.path().join("none");
        let home = none.to_str().unwrap();
        for command in ["status", "events"] {
            assert_eq!(run(["orch", "--home", home, command]), Exit::Environment, "{command}");
        }
        assert_eq!(run(["orch", "--home", home, "show", "1"]), Exit::Environment);
    }

    #[test]
    fn a_file_that_is_no_database_is_bad_data_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(host::DATABASE);
        let home = dir.path().to_str().unwrap();
        for content in ["", "garbage that is long enough to be no database header at all"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(run(["orch", "--home", home, "status"]), Exit::Data, "{content:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }
}
