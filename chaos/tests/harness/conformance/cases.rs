//! Sessions, panes and agents: what tmux and the machine answer, and which source tells of what.

use super::stage::Harm;
use super::table::Case;

/// Every case about sessions, panes and agents.
pub(crate) const CASES: &[Case] = &[
    ("ensure_session", |play| {
        play.furnish();
        play.forget();
        play.does("nothing there", None, play.session());
        play.hears("of that", &["control PanesListed"]);
        play.lists("panes");
        play.await_agent("a");
        play.await_agent("b");
        play.does("again", None, play.session());
        play.harm(Harm::KillAgent("a"));
        play.comes_to("an agent dead", "session of ours: a1 dead, b1 alive");
        play.does("with a dead pane", None, play.session());
        play.harm(Harm::ClosePane("a"));
        play.does("with a pane gone", None, play.session());
        play.lists("panes then");
    }),
    ("ensure_session, its name taken", |play| {
        play.furnish();
        play.harm(Harm::Foreign("p1-conf-e1"));
        play.forget();
        play.does("a stranger's of that name", None, play.session());
        play.lists("panes");
        play.does("end_session", None, play.end_session());
        play.lists("panes then");
    }),
    ("ensure_session, a name like its", |play| {
        play.furnish();
        play.harm(Harm::Foreign("p1-conf-e1-twin"));
        play.does("a name that begins with ours", None, play.session());
        play.lists("panes");
        play.does("end_session", None, play.end_session());
        play.lists("panes then");
    }),
    ("ensure_session on bad ground", |play| {
        play.furnish();
        play.harm(Harm::Remove("a"));
        let session = play.order(None, play.session());
        play.end_of(session).expect("a session");
        play.comes_to("the launcher refuses", "session of ours: a1 dead, b1 alive");
        play.collects("collect", "a");
    }),
    ("end_session", |play| {
        play.up();
        play.does("there", None, play.end_session());
        play.hears("of that", &["control PanesListed", "pidfd ProcessGone a", "pidfd ProcessGone b"]);
        play.lists("panes");
        play.does("again", None, play.end_session());
    }),
    ("end_session, an agent stubborn", |play| {
        play.up();
        play.harm(Harm::Stubborn("a"));
        play.does("there", None, play.end_session());
        play.hears("of that", &["control PanesListed", "pidfd ProcessGone a", "pidfd ProcessGone b"]);
    }),
    ("end_remains", |play| {
        play.does("nothing there", None, play.end_remains());
        play.up();
        play.does("of one agent that lives", Some("a"), play.end_remains_of("a"));
        play.comes_to("panes", "session of ours: a1 dead, b1 alive");
        play.does("collect", Some("a"), play.collect("a"));
        play.harm(Harm::Stubborn("b"));
        play.does("of all, one stubborn", None, play.end_remains());
        play.does("again", None, play.end_remains());
        play.lists("panes then");
    }),
    ("respawn", |play| {
        play.up();
        play.harm(Harm::KillAgent("a"));
        play.hears("killed", &["pidfd ProcessGone a"]);
        play.comes_to("panes", "session of ours: a1 dead, b1 alive");
        let next = play.respawn("a");
        play.does("in a dead pane", Some("a"), next);
        play.does("again", Some("a"), play.respawn_again("a"));
        play.lists("panes then");
        play.watch();
        play.forget();
        let next = play.respawn("a");
        play.does("over one that lives", Some("a"), next);
        play.hears("of that", &["pidfd ProcessGone a"]);
        let stranger = play.respawn_over_stranger("b");
        play.does("over a stranger", Some("b"), stranger);
        play.lists("panes after that");
    }),
    ("respawn, its pane gone", |play| {
        play.up();
        play.harm(Harm::ClosePane("a"));
        play.forget();
        let next = play.respawn("a");
        play.does("in a new window", Some("a"), next);
        play.hears("of that", &["control PanesListed"]);
        play.does("again", Some("a"), play.respawn_again("a"));
        play.lists("panes");
        play.harm(Harm::KillSession);
        play.forget();
        let next = play.respawn("a");
        play.does("its session gone", Some("a"), next);
        play.harm(Harm::Foreign("p1-conf-e1"));
        let next = play.respawn("a");
        play.does("a stranger's session of that name", Some("a"), next);
        play.lists("panes then");
    }),
    ("hand_brief", |play| {
        play.up();
        play.does("to one that listens", Some("a"), play.brief("a", false));
        play.hears("of that", &["spool SpoolTouched"]);
        play.reports("it reports");
        play.harm(Harm::KillAgent("b"));
        play.hears("killed", &["pidfd ProcessGone b"]);
        play.comes_to("panes", "session of ours: a1 alive, b1 dead");
        play.does("to a dead pane", Some("b"), play.brief("b", true));
        play.harm(Harm::ClosePane("b"));
        play.forget();
        play.does("to a pane that is gone", Some("b"), play.brief("b", true));
    }),
    ("hand_brief, another incarnation in its pane", |play| {
        play.up();
        play.harm(Harm::KillAgent("a"));
        play.comes_to("panes", "session of ours: a1 dead, b1 alive");
        let next = play.respawn("a");
        play.does("respawn", Some("a"), next);
        play.await_agent("a");
        play.does("for the one before", Some("a"), play.brief_before("a"));
        play.does("for the one that is there", Some("a"), play.brief("a", false));
        play.reports("it reports");
    }),
    ("hand_brief in copy mode", |play| {
        play.up();
        play.harm(Harm::CopyMode("a"));
        play.does("once", Some("a"), play.brief("a", false));
        play.reports("it reports");
    }),
    ("nudge", |play| {
        play.up();
        play.does("to one that listens", Some("a"), play.nudge("a"));
        play.harm(Harm::KillAgent("b"));
        play.comes_to("panes", "session of ours: a1 alive, b1 dead");
        play.does("to a dead pane", Some("b"), play.nudge("b"));
        play.harm(Harm::ClosePane("b"));
        play.does("to a pane that is gone", Some("b"), play.nudge("b"));
    }),
    ("sample", |play| {
        play.up();
        play.does("of one that lives", Some("a"), play.sample("a"));
        play.harm(Harm::KillAgent("a"));
        // A pane is shown dead before its process has ended.
        play.hears("killed", &["pidfd ProcessGone a"]);
        play.comes_to("panes", "session of ours: a1 dead, b1 alive");
        play.does("of a dead one", Some("a"), play.sample("a"));
        play.harm(Harm::ClosePane("a"));
        play.does("its pane gone", Some("a"), play.sample("a"));
    }),
    ("an agent is killed", |play| {
        play.up();
        play.does("alive", Some("a"), play.collect("a"));
        play.harm(Harm::KillAgent("a"));
        play.hears("killed", &["pidfd ProcessGone a"]);
        play.comes_to("panes", "session of ours: a1 dead, b1 alive");
        play.does("collect", Some("a"), play.collect("a"));
        play.does("again", Some("a"), play.collect("a"));
    }),
    ("an agent exits", |play| {
        play.up();
        play.harm(Harm::Exit("a", 0));
        play.hears("with 0", &["pidfd ProcessGone a"]);
        play.harm(Harm::Exit("b", 41));
        play.hears("with 41", &["pidfd ProcessGone b"]);
        play.comes_to("panes", "session of ours: a1 dead, b1 dead");
        play.does("collect 0", Some("a"), play.collect("a"));
        play.does("collect 41", Some("b"), play.collect("b"));
    }),
    ("a dead process is watched", |play| {
        play.furnish();
        let session = play.order(None, play.session());
        play.end_of(session).expect("a session");
        play.await_agent("a");
        play.harm(Harm::KillAgent("a"));
        play.comes_to("panes", "session of ours: a1 dead, b1 alive");
        play.forget();
        play.watch();
        play.hears("watched only now", &["pidfd ProcessGone a"]);
    }),
    ("a pane is closed", |play| {
        play.up();
        play.harm(Harm::ClosePane("a"));
        play.hears("one of two", &["control PanesListed", "pidfd ProcessGone a"]);
        play.does("collect", Some("a"), play.collect("a"));
        play.harm(Harm::ClosePane("b"));
        play.hears("the last", &["control PanesListed", "pidfd ProcessGone b"]);
        play.does("collect then", Some("b"), play.collect("b"));
        play.lists("panes");
    }),
    ("a pane is closed, an agent stubborn", |play| {
        play.up();
        play.harm(Harm::Stubborn("a"));
        play.harm(Harm::ClosePane("a"));
        play.hears("closed", &["control PanesListed"]);
        play.does("collect", Some("a"), play.collect("a"));
        play.does("end_remains", Some("a"), play.end_remains_of("a"));
        play.hears("of that", &["pidfd ProcessGone a"]);
    }),
    ("a session is killed", |play| {
        play.up();
        play.harm(Harm::KillSession);
        play.hears("killed", &["control PanesListed", "pidfd ProcessGone a", "pidfd ProcessGone b"]);
        play.does("collect", Some("a"), play.collect("a"));
        play.harm(Harm::Foreign("p1-conf-e1"));
        play.hears("a stranger takes its name", &["control PanesListed"]);
        play.does("collect then", Some("a"), play.collect("a"));
        play.lists("panes");
    }),
];
