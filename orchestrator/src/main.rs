//! The command line, provisional: just enough for the harness until `cli` arrives.
#![expect(clippy::unwrap_used, reason = "provisional")]
use clap::{Parser, Subcommand};
use orchestrator::config::{Config, Home};
use orchestrator::domain::event::Report;
use orchestrator::domain::id::Seq;
use orchestrator::store::{Mode, Store};
use orchestrator::{env, runtime, spool};
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(version)]
struct Args {
    #[arg(long, global = true, env = "ORCH_HOME")]
    home: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init,
    Enqueue {
        spec: PathBuf,
        #[arg(long)]
        json: bool,
    },
    Serve,
    Events {
        #[arg(long)]
        json: bool,
    },
    Agent {
        #[command(subcommand)]
        what: Agent,
    },
}

#[derive(Subcommand)]
enum Agent {
    Exec {
        #[arg(long)]
        manifest: PathBuf,
    },
    Ack,
    Progress {
        text: Option<String>,
    },
    Done {
        #[arg(long)]
        summary: Option<String>,
    },
    Fail {
        #[arg(long)]
        reason: String,
    },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let cwd = std::env::current_dir()?;
    let home = || Home::find(args.home.as_deref(), None, &cwd);
    match args.command {
        Command::Init => {
            let dir = args.home.clone().unwrap_or_else(|| cwd.join(".orch"));
            println!("{}", runtime::init(&dir)?.dir().display());
        }
        Command::Enqueue { spec, json } => {
            let home = home()?;
            let accepted = runtime::enqueue(&home, &Config::load(&home)?, &spec)?;
            if json {
                println!("{{\"id\":{},\"new\":{}}}", accepted.id, accepted.new);
            } else {
                println!("{}", accepted.id);
            }
        }
        Command::Serve => {
            tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
            let home = home()?;
            runtime::serve(&home, &Config::load(&home)?, std::env::current_exe()?)?;
        }
        Command::Events { .. } => {
            let store = Store::open(&home()?.db(), Mode::ReadOnly)?;
            for entry in store.entries_after(Seq(0), usize::MAX)? {
                println!("{}", serde_json::to_string(&entry)?);
            }
        }
        Command::Agent { what: Agent::Exec { manifest } } => {
            let error = env::live::exec(Path::new(&manifest));
            eprintln!("orch: {error}");
            std::process::exit(error.code().into());
        }
        Command::Agent { what } => {
            let report = match what {
                Agent::Ack => Report::Ack,
                Agent::Progress { text } => Report::Progress(text),
                Agent::Done { summary } => Report::Done(summary),
                Agent::Fail { reason } => Report::Fail(reason),
                Agent::Exec { .. } => unreachable!("above"),
            };
            let identity = spool::from_env(&std::env::vars().collect())?;
            let record = spool::Record::new(&identity, report, env::clock::wall_us(), std::process::id());
            spool::write(&identity.spool, &record).unwrap();
        }
    }
    Ok(())
}
