//! Trouble with the tmux server itself.

use super::stage::Harm;
use super::table::Case;

/// Every case about the server.
pub(crate) const CASES: &[Case] = &[
    ("the server is killed", |play| {
        play.up();
        play.harm(Harm::KillServer);
        play.hears(
            "killed",
            &["control TmuxLost", "control PanesListed", "pidfd ProcessGone a", "pidfd ProcessGone b"],
        );
        play.lists("another answers");
        play.does("collect", Some("a"), play.collect("a"));
        play.does("hand_brief", Some("a"), play.brief("a", false));
        let next = play.respawn("a");
        play.does("respawn", Some("a"), next);
        play.does("end_remains", None, play.end_remains());
        play.does("end_session", None, play.end_session());
        play.does("ensure_session", None, play.session());
    }),
    ("the server is killed under an effect", |play| {
        play.up();
        play.harm(Harm::StopServer);
        let end = play.order(None, play.end_session());
        let brief = play.order(Some("a"), play.brief("a", false));
        play.forget();
        play.harm(Harm::KillServer);
        play.ends("end_session", end);
        play.ends("hand_brief", brief);
        play.hears(
            "of that",
            &["control TmuxLost", "control PanesListed", "pidfd ProcessGone a", "pidfd ProcessGone b"],
        );
    }),
    ("the server is killed, an agent stubborn", |play| {
        play.up();
        play.harm(Harm::Stubborn("a"));
        play.harm(Harm::KillServer);
        play.hears("killed", &["control TmuxLost", "control PanesListed", "pidfd ProcessGone b"]);
        play.does("collect", Some("a"), play.collect("a"));
        play.does("end_remains", None, play.end_remains());
        play.hears("of that", &["pidfd ProcessGone a"]);
    }),
    ("the connection breaks", |play| {
        play.up();
        play.harm(Harm::CutConnection);
        play.hears("broken", &["control TmuxLost", "control PanesListed"]);
        play.lists("the same answers");
        play.does("collect", Some("a"), play.collect("a"));
        play.does("ensure_session", None, play.session());
    }),
    ("the connection breaks under an effect", |play| {
        play.up();
        play.harm(Harm::StopServer);
        let end = play.order(None, play.end_session());
        let brief = play.order(Some("a"), play.brief("a", false));
        play.forget();
        play.harm(Harm::CutConnection);
        play.harm(Harm::ContinueServer);
        play.ends("end_session", end);
        play.ends("hand_brief", brief);
        play.hears("of that", &["control TmuxLost", "control PanesListed"]);
        play.lists("panes");
    }),
    ("the server is stopped, a session asked for", |play| {
        play.furnish();
        play.forget();
        play.harm(Harm::StopServer);
        play.hears("stopped", &[]);
        let session = play.order(None, play.session());
        play.lists("panes");
        play.ends("ensure_session", session);
        play.harm(Harm::ContinueServer);
        play.comes_to("it goes on: a late creation", "session of ours: a1 alive, b1 alive");
        play.hears("of that", &["control PanesListed"]);
        play.does("ensure_session then", None, play.session());
    }),
    ("the server is stopped, more is asked for", |play| {
        play.up();
        play.harm(Harm::StopServer);
        let brief = play.order(Some("a"), play.brief("a", false));
        let collect = play.order(Some("b"), play.collect("b"));
        let sample = play.order(Some("b"), play.sample("b"));
        play.ends("hand_brief", brief);
        play.ends("collect", collect);
        play.ends("sample", sample);
        play.harm(Harm::KillAgent("b"));
        play.hears("an agent killed meanwhile", &["pidfd ProcessGone b"]);
        play.harm(Harm::ContinueServer);
        play.comes_to("it goes on", "session of ours: a1 alive, b1 dead");
        play.does("collect then", Some("b"), play.collect("b"));
        play.does("hand_brief then", Some("a"), play.brief("a", true));
        play.reports("it reports");
    }),
    ("the server is stopped, an end asked for", |play| {
        play.up();
        play.harm(Harm::StopServer);
        let end = play.order(None, play.end_session());
        play.ends("end_session", end);
        play.harm(Harm::ContinueServer);
        play.forget();
        play.lists("panes");
        play.does("end_session then", None, play.end_session());
        play.lists("panes then");
    }),
    ("the server is stopped, a respawn asked for", |play| {
        play.up();
        play.harm(Harm::KillAgent("a"));
        play.comes_to("panes", "session of ours: a1 dead, b1 alive");
        play.harm(Harm::StopServer);
        let next = play.respawn("a");
        play.does("respawn", Some("a"), next);
        play.harm(Harm::ContinueServer);
        play.forget();
        play.lists("panes then");
        play.does("respawn then", Some("a"), play.respawn_again("a"));
    }),
    ("the socket is unlinked", |play| {
        play.up();
        play.harm(Harm::UnlinkSocket);
        play.hears("unlinked", &[]);
        play.lists("panes");
        play.does("collect", Some("a"), play.collect("a"));
        play.does("hand_brief", Some("a"), play.brief("a", false));
        play.reports("it reports");
        play.does("end_session", None, play.end_session());
    }),
];
