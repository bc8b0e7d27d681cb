//! Against a real tmux, on private sockets.

mod connection;

use super::parse::{PANE_TAG, SESSION_TAG};
use super::server::{signal, start_time};
use super::*;
use crate::domain::id::ProcessId;
use rustix::process::Signal;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Longer than anything may take on a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket of its own, whose servers do not outlive the test.
struct Bench {
    dir: tempfile::TempDir,
    servers: Mutex<Vec<ServerId>>,
}

impl Bench {
    /// `None` (and a word on why) where there is no tmux.
    async fn new() -> Option<Self> {
        if let Err(error) = version("tmux".as_ref()).await {
            eprintln!("not tested: {error}");
            return None;
        }
        Some(Self { dir: private_dir(), servers: Mutex::default() })
    }

    fn config(&self) -> TmuxConfig {
        let path = std::env::var("PATH").expect("a PATH");
        TmuxConfig {
            program: PathBuf::from("tmux"),
            socket: self.dir.path().join("s"),
            env: vec![("PATH".into(), path), ("HOME".into(), self.dir.path().display().to_string())],
            deadline: PATIENCE,
        }
    }

    async fn connect_within(&self, deadline: Duration) -> (Control, mpsc::Receiver<Notice>) {
        let config = TmuxConfig { deadline, ..self.config() };
        let connected = Control::connect(&config).await.expect("a server");
        self.servers.lock().expect("no panic").push(connected.0.server());
        connected
    }

    async fn connect(&self) -> Control {
        self.connect_within(PATIENCE).await.0
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for &server in self.servers.get_mut().map_or(&mut Vec::new(), |servers| servers).iter() {
            signal(server, Signal::KILL).ok();
        }
    }
}

fn private_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let private = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("orch-tmux-").permissions(private).tempdir().expect("a directory")
}

fn text(value: &str) -> String {
    value.to_owned()
}

fn role(window: &str, token: &str, argv: &[&str]) -> LaunchPane {
    let env = vec![("ORCH_ROLE".into(), text(window)), (format!("ONLY_{}", window.to_uppercase()), "it's $1;".into())];
    LaunchPane { window: window.into(), token: token.into(), env, argv: argv.iter().map(|&word| word.into()).collect() }
}

async fn panes_of(control: &Control, session: &str) -> Vec<Pane> {
    let panes = list_panes(control).await.expect("a list");
    panes.into_iter().filter(|pane| pane.session == session).collect()
}

async fn only_pane(control: &Control, session: &str) -> Pane {
    let mut panes = panes_of(control, session).await;
    assert_eq!(panes.len(), 1, "{panes:?}");
    panes.remove(0)
}

/// Asks again until the answer is there; every question is a round trip, so this does not spin.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
    }
}

fn process(pid: u32) -> ProcessId {
    ProcessId { pid, start: start_time(pid).expect("it runs") }
}

fn environment(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).split('\0').map(text).collect()
}

#[tokio::test]
async fn creates_once_and_settles_by_token() {
    let Some(bench) = Bench::new().await else { return };
    let control = bench.connect().await;
    let roles = [role("dev", "d1", &["cat"]), role("review", "r1", &["no-such-program", "-x"])];
    assert_eq!(create_session(&control, "p-1", "t1", &roles).await.expect("created"), Created::New);
    let panes = panes_of(&control, "p-1").await;
    let seen: Vec<_> = panes.iter().map(|p| (p.window.as_str(), p.role_token.as_deref())).collect();
    assert_eq!(seen, [("dev", Some("d1")), ("review", Some("r1"))]);
    assert!(panes.iter().all(|pane| pane.session_token.as_deref() == Some("t1")));

    assert_eq!(create_session(&control, "p-1", "t1", &roles).await.expect("adopted"), Created::Adopted);
    assert_eq!(create_session(&control, "p-1", "t2", &roles).await.expect("refused"), Created::Conflict);
    assert_eq!(panes_of(&control, "p-1").await.len(), 2, "neither made a window");

    let more = [roles[0].clone(), roles[1].clone(), role("test", "x1", &["cat"])];
    assert_eq!(create_session(&control, "p-1", "t1", &more).await.expect("completed"), Created::Adopted);
    let panes = panes_of(&control, "p-1").await;
    assert_eq!((panes.len(), panes[2].role_token.as_deref()), (3, Some("x1")));

    // The code says that the program is not there (T13); the shell's words may be missing from the screen (T30).
    let end = until("the end", || async {
        match pane_end(&control, &panes[1].pane).await.expect("a reading") {
            PaneEnd::Dead { status: Some(status), .. } => Some(status),
            PaneEnd::Dead { .. } | PaneEnd::Alive { .. } | PaneEnd::Gone => None,
        }
    });
    assert_eq!(end.await, 127);
}

#[tokio::test]
async fn variables_reach_their_own_role_only() {
    let Some(bench) = Bench::new().await else { return };
    let control = bench.connect().await;
    let roles = [role("a", "a1", &["cat"]), role("b", "b1", &["cat"])];
    create_session(&control, "p-1", "t1", &roles).await.expect("created");
    for (pane, (own, others)) in panes_of(&control, "p-1").await.iter().zip([("A", "B"), ("B", "A")]) {
        let own = format!("ONLY_{own}=it's $1;");
        let variables = until("the process", || async {
            list_panes(&control).await.expect("a list");
            Some(environment(pane.pid)).filter(|variables| variables.contains(&own))
        });
        let variables = variables.await;
        assert!(!variables.iter().any(|v| v.starts_with(&format!("ONLY_{others}="))), "{variables:?}");
        assert!(!variables.iter().any(|v| v.starts_with("CARGO")), "only what the configuration names (T19)");
    }
}

#[tokio::test]
async fn twins_by_prefix_are_told_apart() {
    let Some(bench) = Bench::new().await else { return };
    let control = bench.connect().await;
    create_session(&control, "test-spec", "t1", &[role("dev", "d1", &["cat"])]).await.expect("created");
    assert!(!kill_session(&control, "test", "t1").await.expect("absent"));
    let stray = respawn(&control, ("test", "t1"), None, None, &role("dev", "d2", &["cat"])).await;
    assert!(matches!(stray, Err(TmuxError::Refused { .. })), "{stray:?}");
    let created = create_session(&control, "test", "t2", &[role("dev", "d3", &["cat"])]).await;
    assert_eq!(created.expect("no duplicate"), Created::New);
    assert!(!kill_session(&control, "test", "t1").await.expect("not this incarnation's"));
    assert!(kill_session(&control, "test", "t2").await.expect("killed"));
    assert!(!kill_session(&control, "test", "t2").await.expect("absent"));
    assert_eq!(list_panes(&control).await.expect("a list").len(), 1);
}

#[tokio::test]
async fn respawns_its_own_pane_only() {
    let Some(bench) = Bench::new().await else { return };
    let control = bench.connect().await;
    create_session(&control, "p-1", "t1", &[role("dev", "d1", &["cat"])]).await.expect("created");
    create_session(&control, "p-2", "t2", &[role("dev", "d1", &["cat"])]).await.expect("created");
    let pane = only_pane(&control, "p-1").await;
    let next = role("dev", "d2", &["cat"]);
    let (own, other, forged) = (("p-1", "t1"), ("p-2", "t2"), ("p-1", "t2"));
    for (session, expected) in [(own, Some("dx")), (own, None), (other, Some("d1")), (forged, Some("d1"))] {
        let refused = respawn(&control, session, Some(&pane.pane), expected, &next).await;
        assert!(matches!(refused, Err(TmuxError::Refused { .. })), "{session:?} {expected:?}: {refused:?}");
        assert_eq!(only_pane(&control, "p-1").await, pane, "left alone");
    }
    respawn(&control, own, Some(&pane.pane), Some("d1"), &next).await.expect("respawned");
    let after = only_pane(&control, "p-1").await;
    assert_eq!((after.pane.as_str(), after.role_token.as_deref()), (pane.pane.as_str(), Some("d2")));
    assert_ne!(after.pid, pane.pid);
    respawn(&control, own, Some(&pane.pane), Some("d1"), &next).await.expect("done already");
    assert_eq!(only_pane(&control, "p-1").await, after, "not done twice");
    respawn(&control, own, Some("%99"), Some("d1"), &role("dev", "d3", &["cat"])).await.expect_err("gone");

    let extra = role("test", "x1", &["cat"]);
    let refused = respawn(&control, forged, None, None, &extra).await;
    assert!(matches!(refused, Err(TmuxError::Refused { .. })), "{refused:?}");
    assert_eq!(panes_of(&control, "p-1").await.len(), 1, "no window in a session that is somebody else's");
    for _ in 0..2 {
        respawn(&control, own, None, None, &extra).await.expect("a window");
        assert_eq!(panes_of(&control, "p-1").await.len(), 2, "one window, however often");
    }
    // A pane without a mark may be taken over only if that is what was asked for.
    control.run(&[Command::new(["set-option", "-p", "-u", "-t", &pane.pane, PANE_TAG])]).await.expect("unmarked");
    respawn(&control, own, Some(&pane.pane), None, &role("dev", "d4", &["cat"])).await.expect("respawned");
}

#[tokio::test]
async fn a_screen_that_shows_the_same_again_has_scrolled() {
    let Some(bench) = Bench::new().await else { return };
    let control = bench.connect().await;
    let burst = "yes same | head -n 300";
    let script = format!("{burst}; read again; {burst}; cat");
    create_session(&control, "p-1", "t1", &[role("dev", "d1", &["sh", "-c", &script])]).await.expect("created");
    let pane = only_pane(&control, "p-1").await;
    let settled = |least: u32| {
        let (control, id) = (&control, pane.pane.as_str());
        async move {
            let (scrolled, text) = screen(control, id).await.expect("a screen");
            (scrolled.parse::<u32>().expect("a number") > least).then_some((scrolled, text))
        }
    };
    let (before, text) = until("the first lines", || settled(200)).await;
    assert!(text.lines().count() < 200 && text.lines().all(|line| line == "same"), "{text}");
    press_enter(&control, Marked { pane: &pane.pane, token: "d1" }).await.expect("pressed");
    let (after, _) = until("the others", || settled(450)).await;
    assert_ne!(before, after);
    let gone = screen(&control, "%99").await;
    assert!(matches!(gone, Err(TmuxError::Refused { .. })), "{gone:?}");
}

#[tokio::test]
async fn pastes_in_copy_mode_and_never_into_the_dead() {
    let Some(bench) = Bench::new().await else { return };
    let control = bench.connect().await;
    create_session(&control, "p-1", "t1", &[role("dev", "d1", &["cat"])]).await.expect("created");
    let pane = only_pane(&control, "p-1").await;
    let id = pane.pane.as_str();
    let to = Marked { pane: id, token: "d1" };
    // Before cat runs the terminal echoes, too: it is the second copy that shows the whole way.
    let line = "-read ORCH's brief; #{pid} $HOME \\;";
    for mode in [None, Some("copy-mode"), Some("choose-tree")] {
        if let Some(mode) = mode {
            control.run(&[Command::new([mode, "-t", id])]).await.expect("in a mode");
        }
        control
            .run(&[Command::new(["send-keys", "-R", "-t", id]), Command::new(["clear-history", "-t", id])])
            .await
            .expect("cleared");
        paste_line(&control, to, "orch-p-1", line).await.expect("pasted");
        press_enter(&control, to).await.expect("pressed");
        until("both copies", || async {
            let screen = capture(&control, id, 4096).await.expect("a screen");
            (screen.matches(line).count() == 2).then_some(())
        })
        .await;
    }
    for bad in ["", "a\nb", "ä", "\u{1b}", &"x".repeat(513)] {
        let refused = paste_line(&control, to, "b", bad).await;
        assert!(matches!(refused, Err(TmuxError::BadArgument { .. })), "{bad:?}");
    }
    let other = Marked { token: "d2", ..to };
    for refused in [paste_line(&control, other, "b", "x").await, press_enter(&control, other).await] {
        assert!(matches!(refused, Err(TmuxError::Refused { .. })), "somebody else's pane: {refused:?}");
    }
    paste_line(&control, to, "b", "gone").await.expect("pasted");
    clear_line(&control, to).await.expect("pressed");

    control.run(&[Command::new(["select-pane", "-d", "-t", id])]).await.expect("input off");
    press_enter(&control, to).await.expect_err("input is off");
    paste_line(&control, to, "b", "x").await.expect_err("input is off");
    control.run(&[Command::new(["select-pane", "-e", "-t", id])]).await.expect("input on");

    signal(process(pane.pid), Signal::KILL).expect("killed");
    until("the end", || async {
        let end = pane_end(&control, id).await.expect("a reading");
        (!matches!(end, PaneEnd::Alive { .. })).then_some(())
    })
    .await;
    paste_line(&control, to, "b", "x").await.expect_err("dead");
    press_enter(&control, to).await.expect_err("dead");
    paste_line(&control, Marked { pane: "%99", ..to }, "b", "x").await.expect_err("gone");
    let buffers = control.run(&[Command::new(["list-buffers"])]).await.expect("the server is alive");
    assert!(buffers.concat().is_empty(), "{buffers:?}");

    for buffer in ["orch-brief-7", "theirs", "orch-brief-8"] {
        control.run(&[Command::new(["set-buffer", "-b", buffer, "--", "x"])]).await.expect("loaded");
    }
    forget_buffers(&control, "orch-brief-").await.expect("deleted");
    let left = control.run(&[Command::new(["list-buffers", "-F", "#{buffer_name}"])]).await.expect("a list").concat();
    assert_eq!(left, ["theirs"]);
}

#[tokio::test]
async fn ends_keep_their_evidence() {
    let Some(bench) = Bench::new().await else { return };
    let control = bench.connect().await;
    for round in 0..20 {
        let name = format!("p-{round}");
        let roles = [role("a", "a1", &["cat"]), role("b", "b1", &["cat"]), role("c", "c1", &["cat"])];
        create_session(&control, &name, "t1", &roles).await.expect("created");
        let panes = panes_of(&control, &name).await;
        // It is while panes are made that the server misses the deaths of others.
        let making = tokio::spawn({
            let control = control.clone();
            async move { create_session(&control, &format!("q-{round}"), "t1", &roles).await }
        });
        for pane in &panes {
            control.run(&[Command::new(["display-message", "-p", ""])]).await.expect("an answer");
            signal(process(pane.pid), Signal::KILL).expect("killed");
        }
        making.await.expect("no panic").expect("created");
        for pane in &panes {
            // Without the repair this fails in some of the rounds (T24).
            let end = until("the signal", || async {
                match pane_end(&control, &pane.pane).await.expect("a reading") {
                    PaneEnd::Dead { status: None, signal: None } | PaneEnd::Alive { .. } => None,
                    end @ (PaneEnd::Dead { .. } | PaneEnd::Gone) => Some(end),
                }
            });
            assert_eq!(end.await, PaneEnd::Dead { status: None, signal: Some(9) });
        }
    }
    assert_eq!(pane_end(&control, "%9999").await.expect("a reading"), PaneEnd::Gone);
}

#[tokio::test]
async fn changes_are_noticed_once_until_read() {
    let Some(bench) = Bench::new().await else { return };
    let (control, mut notices) = bench.connect_within(PATIENCE).await;
    assert_eq!(notices.recv().await, Some(Notice::Changed), "the attach itself");
    for name in ["p-1", "p-2", "p-3"] {
        create_session(&control, name, "t1", &[role("dev", "d1", &["cat"])]).await.expect("created");
    }
    // Notifications come after the answers of their line; the next answer comes after them.
    list_panes(&control).await.expect("a list");
    assert_eq!(notices.try_recv().expect("noticed"), Notice::Changed);
    assert!(notices.try_recv().is_err(), "one notice for all three");
    assert!(kill_session(&control, "p-2", "t1").await.expect("killed"));
    assert_eq!(notices.recv().await, Some(Notice::Changed));
}

#[tokio::test]
async fn errors_name_the_command_that_failed() {
    let Some(bench) = Bench::new().await else { return };
    let control = bench.connect().await;
    let ok = Command::new(["display-message", "-p", "ok"]);
    let bad = Command::new(["kill-session", "-t", "=nope:"]);
    let refused = control.run(&[ok.clone(), bad.clone(), ok.clone()]).await.expect_err("an error");
    assert_eq!(refused.to_string(), "tmux refused `kill-session -t =nope:`: can't find session: nope");
    // An error inside a branch ends the branch, and the next request gets its own answer.
    let branch = Command::when("=orch-keeper:", "1", &[bad.clone(), ok.clone()]).expect("quotable");
    let refused = control.run(&[ok.clone(), branch]).await.expect_err("an error");
    assert!(refused.to_string().ends_with("can't find session: nope"), "{refused}");
    assert_eq!(control.run(std::slice::from_ref(&ok)).await.expect("an answer"), [["ok"]]);
    // A line that does not parse has one answer, whatever it holds.
    control.run(&[ok.clone(), Command::new(["no-such-command"]), ok.clone()]).await.expect_err("an error");
    assert_eq!(control.run(&[ok.clone(), ok]).await.expect("an answer"), [["ok"], ["ok"]]);
    assert_eq!(control.run(&[]).await.expect("nothing"), Vec::<Vec<String>>::new());
}

#[tokio::test]
async fn many_requests_at_once_get_their_own_answers() {
    let Some(bench) = Bench::new().await else { return };
    let control = bench.connect().await;
    let asking: Vec<_> = (0..1_000)
        .map(|n| {
            let control = control.clone();
            let ask = [Command::new(["display-message".into(), "-p".into(), n.to_string()])];
            tokio::spawn(async move { control.run(&ask).await })
        })
        .collect();
    for (n, asked) in asking.into_iter().enumerate() {
        assert_eq!(asked.await.expect("no panic").expect("an answer"), [[n.to_string()]]);
    }
}

#[tokio::test]
async fn options_of_strangers_hide_no_pane() {
    let Some(bench) = Bench::new().await else { return };
    let control = bench.connect().await;
    create_session(&control, "p-1", "t1", &[role("dev", "d1", &["cat"])]).await.expect("created");
    let nasty = Command::new(["set-option", "-F", "-t", "=p-1:", SESSION_TAG, "a\tb\t#{l:%0}\t1"]);
    control.run(&[nasty]).await.expect("set");
    let pane = only_pane(&control, "p-1").await;
    assert_eq!(pane.session_token.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_missing_program_is_said() {
    let dir = private_dir();
    let program = dir.path().join("no-tmux");
    let config = TmuxConfig { program: program.clone(), socket: dir.path().join("s"), env: vec![], deadline: PATIENCE };
    let error = Control::connect(&config).await.expect_err("no program").to_string();
    assert!(error.contains("no-tmux") && error.contains("No such file"), "{error}");
    assert!(matches!(version(&program).await, Err(TmuxError::Spawn { .. })));
}

#[test]
fn any_printable_text_survives_the_trip() {
    use proptest::prelude::*;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let Some(bench) = runtime.block_on(Bench::new()) else { return };
    let control = runtime.block_on(bench.connect());
    let printable = prop::collection::vec(any::<char>().prop_filter("printable", |c| !c.is_control()), 0..200);
    let special = r##"[;'"#$~{}\\% \t\-=@:!,%a]{0,40}"##;
    let texts = prop_oneof![printable.prop_map(String::from_iter), special];
    let mut runner = proptest::test_runner::TestRunner::default();
    let outcome = runner.run(&texts, |sent| {
        let set = Command::new(["set-option", "-s", "--", "@trip", &sent]);
        let show = Command::new(["show-options", "-sv", "@trip"]);
        // And nested, as the branch of a condition.
        let nested = Command::when("=orch-keeper:", "1", &[set.clone(), show.clone()]).expect("quotable");
        let plain = runtime.block_on(control.run(&[set, show])).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&plain[1], std::slice::from_ref(&sent));
        let nested = runtime.block_on(control.run(&[nested])).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&nested[0], std::slice::from_ref(&sent));
        Ok(())
    });
    outcome.expect("every text survives");
}

/// The runtime moves operations between threads; the compiler is the test.
#[test]
fn operations_may_move_between_threads() {
    const NONE: Marked<'_> = Marked { pane: "", token: "" };
    fn movable<T: Send>(_: &impl Fn(Control, Vec<LaunchPane>, TmuxConfig) -> T) {}
    movable(&|c, panes, _| async move { create_session(&c, "", "", &panes).await });
    movable(&|c, panes, _| async move { respawn(&c, ("", ""), None, None, &panes[0]).await });
    movable(&|c, _, _| async move { (list_panes(&c).await, pane_end(&c, "").await, kill_session(&c, "", "").await) });
    movable(&|c, _, _| async move { (paste_line(&c, NONE, "", "").await, press_enter(&c, NONE).await) });
    movable(&|c, _, _| async move { (clear_line(&c, NONE).await, capture(&c, "", 0).await, kill_server(&c).await) });
    movable(&|_, _, config| async move { (Control::connect(&config).await, version(&config.program).await) });
}
