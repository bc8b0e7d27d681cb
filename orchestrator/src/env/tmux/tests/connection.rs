//! The connection and its server: silence, loss, and who outlives whom.

use super::*;

#[tokio::test]
async fn a_hung_server_is_a_timeout_and_confuses_no_later_answer() {
    let Some(bench) = Bench::new().await else { return };
    let (control, _notices) = bench.connect_within(Duration::from_secs(2)).await;
    let server = control.server();
    signal(server, Signal::STOP).expect("stopped");
    let asked = [Command::new(["set-option", "-s", "@late", "done"]), Command::new(["show-options", "-sv", "@late"])];
    let hung = control.run(&asked).await;
    assert!(matches!(&hung, Err(TmuxError::Timeout { argv, .. }) if argv[0] == "set-option"), "{hung:?}");
    signal(server, Signal::CONT).expect("continued");
    let panes = control.run(&[Command::list_all_panes("#{session_name}")]).await.expect("the answer to this");
    assert_eq!(panes, [["orch-keeper"]]);
    // What was given up was done all the same (T8).
    assert_eq!(control.run(&asked[1..]).await.expect("an answer"), [["done"]]);
}

#[tokio::test]
async fn a_lost_server_ends_everything_that_waits() {
    let Some(bench) = Bench::new().await else { return };
    let (control, mut notices) = bench.connect_within(PATIENCE).await;
    let server = control.server();
    signal(server, Signal::STOP).expect("stopped");
    let waiting = tokio::spawn({
        let control = control.clone();
        async move { list_panes(&control).await }
    });
    signal(server, Signal::KILL).expect("killed");
    let answer = waiting.await.expect("no panic");
    assert!(matches!(answer, Err(TmuxError::Lost { .. })), "{answer:?}");
    let mut last = None;
    while let Some(notice) = notices.recv().await {
        last = Some(notice);
    }
    let Some(Notice::Lost { reason }) = last else { panic!("{last:?}") };
    assert!(reason.contains("server exited unexpectedly"), "{reason}");
    let after = list_panes(&control).await.expect_err("still lost").to_string();
    assert!(after.contains("server exited unexpectedly"), "{after}");
}

#[tokio::test]
async fn connects_while_the_old_server_leaves() {
    let Some(bench) = Bench::new().await else { return };
    let mut last = None;
    for _ in 0..10 {
        let control = bench.connect().await;
        assert_ne!(last.replace(control.server()), Some(control.server()));
        // A request before the client is attached would fail with another text, and be no proof of absence.
        assert_eq!(pane_end(&control, "%9999").await.expect("a reading"), PaneEnd::Gone);
        kill_server(&control).await.expect("killed");
    }
}

#[tokio::test]
async fn a_server_outlives_its_clients_and_its_socket() {
    let Some(bench) = Bench::new().await else { return };
    let first = bench.connect().await;
    create_session(&first, "p-1", "t1", &[role("dev", "d1", &["cat"])]).await.expect("created");
    let (server, socket) = (first.server(), bench.config().socket);
    drop(first);
    std::fs::remove_file(&socket).expect("removed");
    recreate_socket(server).expect("signalled");
    until("the socket", || async {
        tokio::task::yield_now().await;
        socket.exists().then_some(())
    })
    .await;
    let second = bench.connect().await;
    assert_eq!(second.server(), server);
    assert_eq!(only_pane(&second, "p-1").await.session_token.as_deref(), Some("t1"));
}

#[tokio::test]
async fn an_orphaned_client_does_not_keep_the_server_from_ending() {
    let Some(bench) = Bench::new().await else { return };
    let (control, mut notices) = bench.connect_within(PATIENCE).await;
    // As after a kill -9 of an orchestrator: answers are unread, and then nobody holds the client's pipes.
    let socket = bench.config().socket;
    let (input, mut words) = std::io::pipe().expect("a pipe");
    let (answers, output) = std::io::pipe().expect("a pipe");
    let mut orphan = tokio::process::Command::new("tmux")
        .arg("-S")
        .arg(&socket)
        .args(["-C", "new-session", "-A", "-s", "orch-keeper"])
        .stdin(input)
        .stdout(output)
        .kill_on_drop(true)
        .spawn()
        .expect("a client");
    words.write_all("show-options -g\n".repeat(200).as_bytes()).expect("written");
    until("a full pipe", || async {
        list_panes(&control).await.expect("a list");
        (rustix::io::ioctl_fionread(&answers).expect("a pipe") > 60_000).then_some(())
    })
    .await;
    drop((words, answers));
    kill_server(&control).await.expect("killed");
    while notices.recv().await.is_some() {}
    let next = bench.connect().await;
    assert_ne!(next.server(), control.server());
    orphan.wait().await.expect("it was killed");
    assert_eq!(reap_orphaned_clients(&socket), 0, "our own client is none");
    list_panes(&next).await.expect("still connected");
}
