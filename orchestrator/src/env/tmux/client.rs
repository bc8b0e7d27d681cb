//! The connection: one `tmux -C` process on a keeper session, one task that writes, one that reads.
//!
//! The server answers in the order it was asked, so requests wait in a queue and each answer belongs to the first of
//! them. A request that was given up keeps its place: its answer still comes, and must not be taken for another's.

use super::command::{self, CONDITION_FAILED};
use super::orphan::reap_orphaned_clients;
use super::parse::{Block, Message, Parser};
use super::server::{self, ServerId, Version};
use super::{Command, TmuxError};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// The session that keeps the server up and the client attached; it runs nothing but `cat` on its own terminal.
pub(super) const KEEPER: &str = "orch-keeper";

/// Requests on the way to the server. A server that hangs for hours must not gather them without bound, neither
/// here nor in the client process, which buffers all it is given.
const IN_FLIGHT_MAX: usize = 256;

/// Between attempts to connect while a server is still leaving (T29): at first, and at most.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// How long a client whose connection ended may take to leave before its last words are read.
const CLIENT_EXIT_DEADLINE: Duration = Duration::from_millis(500);

/// The part of the client's stderr that is kept for the error text.
const STDERR_BYTES: u64 = 4096;

/// The server-wide options, as arguments of `set-option`.
///
/// `remain-on-exit` must be there before any session, since a program may be gone before the next message (T13);
/// `update-environment` is emptied so that no client's variables reach an agent (T19).
const OPTIONS: [(&str, &str, &str); 9] = [
    ("-s", "exit-empty", "off"),
    ("-s", "default-terminal", "screen-256color"),
    ("-gw", "remain-on-exit", "on"),
    ("-gw", "automatic-rename", "off"),
    ("-gw", "allow-rename", "off"),
    ("-g", "destroy-unattached", "off"),
    ("-g", "set-titles", "off"),
    ("-g", "history-limit", "2000"),
    ("-g", "update-environment", ""),
];

/// How to reach a tmux server, and how to start it if there is none.
#[derive(Debug, Clone)]
pub struct TmuxConfig {
    /// The tmux program; if it is no path, it is looked for in the PATH of `env`.
    pub program: PathBuf,
    /// The server's socket: an absolute path, in a directory of the user's own.
    pub socket: PathBuf,
    /// All of the environment the server is started with, and so what every agent inherits (T19).
    pub env: Vec<(String, String)>,
    /// How long anything may take before its outcome is called unknown; 10 s is a good choice.
    pub deadline: Duration,
}

/// What the connection tells without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Sessions, windows or panes may have changed: list once.
    Changed,
    /// The connection is gone; nothing is known about the sessions. The last notice there is.
    Lost {
        /// What tmux said last, or how its client ended.
        reason: String,
    },
}

/// A connection to a tmux server; clones share it. The last one dropped ends it, and leaves the server alone.
#[derive(Debug, Clone)]
pub struct Control {
    link: Arc<Link>,
    server: ServerId,
}

impl Control {
    /// Connects, starting the server if there is none, sets the server-wide options and verifies them.
    ///
    /// Attempts are repeated within the deadline while the connection is lost at once, as it is when the old server
    /// is just leaving (T29). Whether the server is the one known from before is for the caller to compare: one
    /// whose socket was unlinked cannot be reached, and another is started beside it (T10, [`super::recreate_socket`]).
    ///
    /// # Errors
    /// `Socket` and `Spawn` at once; `Lost` or `Timeout` after the deadline; `TooOld`, `Refused`, `Protocol` for a
    /// server that will not do.
    pub async fn connect(config: &TmuxConfig) -> Result<(Self, mpsc::Receiver<Notice>), TmuxError> {
        server::check_socket(&config.socket)?;
        let mut last = None;
        let attempts = async {
            let (mut pause, pause_max) = RETRY_PAUSES;
            loop {
                match Self::attempt(config).await {
                    Err(lost @ TmuxError::Lost { .. }) => last = Some(lost),
                    settled => return settled,
                }
                // A client that a killed orchestrator left behind may be what keeps an ending server from ending.
                reap_orphaned_clients(&config.socket);
                sleep(pause).await;
                pause = (pause * 2).min(pause_max);
            }
        };
        let settled = timeout(config.deadline, attempts).await;
        settled.unwrap_or_else(|_| {
            let argv = vec![config.program.display().to_string(), "-C".into(), "new-session".into(), KEEPER.into()];
            Err(last.unwrap_or(TmuxError::Timeout { argv, after: config.deadline }))
        })
    }

    async fn attempt(config: &TmuxConfig) -> Result<(Self, mpsc::Receiver<Notice>), TmuxError> {
        let (link, notices, attached) = Link::open(config)?;
        // tmux reads the client's input before it gets to the command the client was started with. What it finds
        // there is run without a session, and fails with "no current target" where a target is merely absent.
        if attached.await.is_err() {
            return Err(TmuxError::Lost { reason: link.queue.lost_reason() });
        }
        let server = link.identify().await?;
        link.set_options().await?;
        Ok((Self { link: Arc::new(link), server }, notices))
    }

    /// Which server this is; it cannot change while the connection lasts.
    #[must_use]
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// Sends one line of commands and answers the output lines of each, or the first error.
    ///
    /// # Errors
    /// `BadArgument` if nothing was sent; `Refused` at the first command that fails, those after it not being run;
    /// `Lost` and `Timeout`, after which the outcome is unknown and the commands may still be run.
    pub async fn run(&self, commands: &[Command]) -> Result<Vec<Vec<String>>, TmuxError> {
        self.link.run(commands).await
    }
}

/// The two tasks of one client process, and the way to them.
#[derive(Debug)]
struct Link {
    requests: mpsc::Sender<Request>,
    queue: Arc<Queue>,
    deadline: Duration,
    tasks: [AbortHandle; 2],
}

impl Drop for Link {
    fn drop(&mut self) {
        // The reader owns the client process, which is killed with it.
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Link {
    fn open(config: &TmuxConfig) -> Result<(Self, mpsc::Receiver<Notice>, oneshot::Receiver<()>), TmuxError> {
        let mut client = tokio::process::Command::new(&config.program);
        client
            // Without -u the answers of a client in no UTF-8 locale have `_` for what is not ASCII.
            .args(["-u", "-S"])
            .arg(&config.socket)
            .args(["-f", "/dev/null", "-C", "new-session", "-A", "-s", KEEPER, "-x", "200", "-y", "50"])
            // Two words, because one would go through the user's shell.
            .args(["cat", "-"])
            .env_clear()
            .envs(config.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A signal to our process group, as from a terminal, is not meant for tmux (T9).
            .process_group(0)
            .kill_on_drop(true);
        let mut child =
            client.spawn().map_err(|source| TmuxError::Spawn { program: config.program.clone(), source })?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(TmuxError::Protocol { what: "the start of the client", answer: "no pipes".into() });
        };
        let queue = Arc::new(Queue::default());
        let (requests, inbox) = mpsc::channel(IN_FLIGHT_MAX);
        // One Changed at most, and the Lost at the end.
        let (outbox, notices) = mpsc::channel(2);
        let writer = tokio::spawn(write_requests(stdin, inbox, Arc::clone(&queue)));
        let (attach, attached) = oneshot::channel();
        let client = Client { child, stderr, attach: Some(attach) };
        let reader = tokio::spawn(read_answers(client, stdout, Arc::clone(&queue), outbox));
        let tasks = [writer.abort_handle(), reader.abort_handle()];
        Ok((Self { requests, queue, deadline: config.deadline, tasks }, notices, attached))
    }

    async fn run(&self, commands: &[Command]) -> Result<Vec<Vec<String>>, TmuxError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let line = Command::line(commands)?;
        let answers = commands.iter().map(Command::answers).sum();
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.requests.send(Request { line, answers, reply }).await.ok()?;
            answer.await.ok()
        };
        match timeout(self.deadline, exchange).await {
            Ok(Some(Answer::Outputs(outputs))) => collect(commands, outputs),
            Ok(Some(Answer::Error { at, message })) => {
                let argv = command_at(commands, at).map(Command::shown).unwrap_or_default();
                Err(TmuxError::Refused { argv, message })
            }
            // The queue dropped the request, which it does only when the connection is gone.
            Ok(None) => Err(TmuxError::Lost { reason: self.queue.lost_reason() }),
            Err(_) => Err(TmuxError::Timeout { argv: command::spoken(commands), after: self.deadline }),
        }
    }

    async fn identify(&self) -> Result<ServerId, TmuxError> {
        let answer = self.run(&[Command::new(["display-message", "-p", "#{pid} #{version}"])]).await?;
        let line = answer.concat().concat();
        let read = line.split_once(' ').and_then(|(pid, v)| Some((pid.parse().ok()?, Version::parse(v)?)));
        let Some((pid, version)) = read else {
            return Err(TmuxError::Protocol { what: "display-message", answer: line });
        };
        version.check()?;
        Ok(ServerId { pid, start: server::start_time(pid)? })
    }

    async fn set_options(&self) -> Result<(), TmuxError> {
        let set = OPTIONS.map(|(scope, name, value)| Command::new(["set-option", scope, name, value]));
        let show = OPTIONS.map(|(scope, name, _)| Command::new(["show-options", &format!("{scope}v"), name]));
        let answers = self.run(&[set, show].concat()).await?;
        for ((_, name, value), shown) in OPTIONS.iter().zip(&answers[OPTIONS.len()..]) {
            let shown = shown.join("\n");
            if shown != *value {
                let answer = format!("{name} is {shown:?} after having been set to {value:?}");
                return Err(TmuxError::Protocol { what: "set-option", answer });
            }
        }
        Ok(())
    }
}

/// Which command the answer with this number belongs to.
fn command_at(commands: &[Command], answer: usize) -> Option<&Command> {
    let mut end = 0;
    commands.iter().find(|command| {
        end += command.answers();
        answer < end
    })
}

/// The outputs by command; a condition that did not hold is a refusal.
fn collect(commands: &[Command], outputs: Vec<Vec<String>>) -> Result<Vec<Vec<String>>, TmuxError> {
    let mut rest = outputs.into_iter();
    let mut collected = Vec::with_capacity(commands.len());
    for command in commands {
        let output: Vec<String> = rest.by_ref().take(command.answers()).flatten().collect();
        if command.answers() > 1 && output.iter().any(|line| line == CONDITION_FAILED) {
            let message = "its condition does not hold".into();
            return Err(TmuxError::Refused { argv: command::spoken(std::slice::from_ref(command)), message });
        }
        collected.push(output);
    }
    Ok(collected)
}

/// A line on its way to the server.
#[derive(Debug)]
struct Request {
    line: String,
    answers: usize,
    reply: oneshot::Sender<Answer>,
}

/// What came of a request whose connection lasted.
#[derive(Debug)]
enum Answer {
    /// The output of every command.
    Outputs(Vec<Vec<String>>),
    /// The words of the first error, and how many answers came before it.
    Error { at: usize, message: String },
}

/// A request that was written, and what has come of it so far.
#[derive(Debug)]
struct Pending {
    answers: usize,
    outputs: Vec<Vec<String>>,
    reply: oneshot::Sender<Answer>,
    _place: OwnedSemaphorePermit,
}

/// The requests that wait for their answers, until the connection is lost.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    pending: VecDeque<Pending>,
    lost: Option<String>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next place; false if there will be no more answers.
    fn push(&self, pending: Pending) -> bool {
        let mut state = self.lock();
        if state.lost.is_none() {
            state.pending.push_back(pending);
        }
        state.lost.is_none()
    }

    /// An answer came: it belongs to the first request.
    fn settle(&self, block: Block) {
        let mut state = self.lock();
        let Some(first) = state.pending.front_mut() else { return };
        let error = if block.ok {
            first.outputs.push(block.lines);
            if first.outputs.len() < first.answers {
                return;
            }
            None
        } else {
            // The rest of a line is not run after an error, so nothing more will come for this request.
            Some(block.lines.join("\n"))
        };
        let Some(first) = state.pending.pop_front() else { return };
        drop(state);
        let answer = match error {
            None => Answer::Outputs(first.outputs),
            Some(message) => Answer::Error { at: first.outputs.len(), message },
        };
        // Whoever asked may have given up; the answer is then nobody's.
        first.reply.send(answer).ok();
    }

    /// The connection is gone: dropping what is pending is what tells those who wait.
    fn lose(&self, reason: &str) {
        let mut state = self.lock();
        state.lost.get_or_insert_with(|| reason.to_owned());
        state.pending.clear();
    }

    fn lost_reason(&self) -> String {
        self.lock().lost.clone().unwrap_or_else(|| "the client no longer takes requests".into())
    }
}

async fn write_requests(mut stdin: ChildStdin, mut inbox: mpsc::Receiver<Request>, queue: Arc<Queue>) {
    let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    while let Some(Request { line, answers, reply }) = inbox.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        // What was given up before it was written is better never done than late.
        if reply.is_closed() {
            continue;
        }
        let pending = Pending { answers, outputs: Vec::with_capacity(answers), reply, _place: place };
        // A write fails when the client is gone, of which the reader tells.
        if !queue.push(pending) || stdin.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The client process, while it lasts.
struct Client {
    child: Child,
    stderr: ChildStderr,
    /// Whom to tell when it is attached to the keeper session.
    attach: Option<oneshot::Sender<()>>,
}

async fn read_answers(mut client: Client, stdout: ChildStdout, queue: Arc<Queue>, notices: mpsc::Sender<Notice>) {
    let mut stdout = BufReader::new(stdout);
    let mut parser = Parser::default();
    let mut line = Vec::new();
    let mut said = None;
    loop {
        line.clear();
        match stdout.read_until(b'\n', &mut line).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                said = Some(error.to_string());
                break;
            }
        }
        match parser.feed(line.strip_suffix(b"\n").unwrap_or(&line)) {
            None => {}
            Some(Message::Reply(block)) => queue.settle(block),
            Some(Message::Attached(Block { ok: true, .. })) => {
                // Whoever connects may have given up meanwhile.
                client.attach.take().map(|attach| attach.send(()).ok());
            }
            Some(Message::Attached(refused)) => said = Some(refused.lines.join("\n")),
            // One that waits to be read says it all; only this task sends, so the count cannot grow meanwhile.
            Some(Message::Changed) if notices.capacity() < notices.max_capacity() => {}
            Some(Message::Changed) => drop(notices.try_send(Notice::Changed)),
            Some(Message::Exit(reason)) => {
                said = said.or(reason).or_else(|| Some("tmux closed the connection".into()));
                break;
            }
        }
    }
    let reason = last_words(&mut client, said).await;
    queue.lose(&reason);
    // Only now may the one who waits for the attachment learn that it will not come: the reason is there to be read.
    drop(client);
    notices.try_send(Notice::Lost { reason }).ok();
}

/// Why the connection ended: what the server said, what the client wrote to stderr, how the client ended.
async fn last_words(client: &mut Client, said: Option<String>) -> String {
    let mut stderr = Vec::new();
    let end = timeout(CLIENT_EXIT_DEADLINE, async {
        let mut head = (&mut client.stderr).take(STDERR_BYTES);
        head.read_to_end(&mut stderr).await.ok();
        client.child.wait().await
    });
    let status = match end.await {
        Ok(Ok(status)) => format!("the client ended with {status}"),
        Ok(Err(error)) => format!("the client's end is not known: {error}"),
        Err(_) => "the client lingers".into(),
    };
    let stderr = String::from_utf8_lossy(&stderr);
    let stderr = Some(stderr.trim()).filter(|text| !text.is_empty());
    [said.as_deref(), stderr, Some(status.as_str())].into_iter().flatten().collect::<Vec<_>>().join("; ")
}
