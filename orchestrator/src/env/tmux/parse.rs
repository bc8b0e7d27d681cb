//! What tmux says, as data. Pure.

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its output, or the error's text.
    pub lines: Vec<String>,
    /// Whether it ended with `%end` rather than `%error`.
    pub ok: bool,
}

/// One thing the server told the control client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The answer to the command the client was started with.
    Attached(Block),
    /// The answer to a command that was written to the connection; they come in the order of the commands.
    Reply(Block),
    /// Sessions, windows or panes may have changed. The notifications differ in name and order (T25), so nothing
    /// is read out of them.
    Changed,
    /// The server ends the connection, with its reason if it gives one.
    Exit(Option<String>),
}

/// Turns control-mode lines into messages, one line at a time.
///
/// A block ends only at the `%end` or `%error` that repeats its header (time, number, flags): the screen of an
/// agent, which a capture returns inside a block, may well hold such lines.
#[derive(Debug, Default)]
pub struct Parser {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    header: Vec<u8>,
    lines: Vec<String>,
}

impl Parser {
    /// Takes one line, without its newline.
    pub fn feed(&mut self, line: &[u8]) -> Option<Message> {
        if let Some(open) = &mut self.open {
            let ok = match line {
                [b'%', b'e', b'n', b'd', b' ', rest @ ..] if rest == open.header => true,
                [b'%', b'e', b'r', b'r', b'o', b'r', b' ', rest @ ..] if rest == open.header => false,
                _ => {
                    open.lines.push(String::from_utf8_lossy(line).into_owned());
                    return None;
                }
            };
            let open = self.open.take()?;
            let block = Block { lines: open.lines, ok };
            // The last field says whether the command came over the connection.
            let ours = open.header.ends_with(b" 1");
            return Some(if ours { Message::Reply(block) } else { Message::Attached(block) });
        }
        if let Some(header) = line.strip_prefix(b"%begin ") {
            self.open = Some(Open { header: header.to_vec(), lines: Vec::new() });
            return None;
        }
        let (name, rest) = match line.iter().position(|&c| c == b' ') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        match name {
            b"%sessions-changed"
            | b"%session-changed"
            | b"%session-renamed"
            | b"%window-add"
            | b"%window-close"
            | b"%window-renamed"
            | b"%unlinked-window-add"
            | b"%unlinked-window-close"
            | b"%unlinked-window-renamed" => Some(Message::Changed),
            b"%exit" => {
                let reason = String::from_utf8_lossy(rest).trim().to_owned();
                Some(Message::Exit(Some(reason).filter(|reason| !reason.is_empty())))
            }
            _ => None,
        }
    }
}

/// One pane of the server, with all that identity and evidence are judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pane {
    /// Its id, `%N`; unique for the life of the server only (T6).
    pub pane: String,
    /// The pid of its process (of the last one, if that is dead).
    pub pid: u32,
    /// Whether its process is gone.
    pub dead: bool,
    /// The exit code of a dead process; absent also when tmux lost it (T24).
    pub status: Option<i32>,
    /// The signal that ended a dead process; absent also when tmux lost it (T24), and always before tmux 3.3.
    pub signal: Option<i32>,
    /// The name of its session.
    pub session: String,
    /// The name of its window.
    pub window: String,
    /// The session's `@orch_instance`.
    pub session_token: Option<String>,
    /// The pane's `@orch_role_instance`.
    pub role_token: Option<String>,
}

/// The option that marks a session as one incarnation's.
pub(super) const SESSION_TAG: &str = "@orch_instance";
/// The option that marks a pane as one incarnation of a role.
pub(super) const PANE_TAG: &str = "@orch_role_instance";

/// The format [`Pane::parse`] reads. Fields are separated by tabs, which tmux lets into no name; the options, which
/// anybody may set to anything, stand last, where they cannot hide a pane.
pub(super) const PANE_FORMAT: &str = "#{pane_id}\t#{pane_pid}\t#{pane_dead}\t#{pane_dead_status}\t\
     #{pane_dead_signal}\t#{session_name}\t#{window_name}\t#{@orch_instance}\t#{@orch_role_instance}";

impl Pane {
    /// Reads one line of `PANE_FORMAT`; `None` for what is no such line (the rest of an option with a newline).
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let pane = fields.next().filter(|id| id.starts_with('%'))?;
        let pid = fields.next()?.parse().ok()?;
        let dead = match fields.next()? {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        let number = |field: &str| field.parse().ok();
        let (status, signal) = (number(fields.next()?), number(fields.next()?));
        let (session, window) = (fields.next()?, fields.next()?);
        let mut tag = || fields.next().filter(|tag| !tag.is_empty()).map(str::to_owned);
        Some(Self {
            pane: pane.to_owned(),
            pid,
            dead,
            status,
            signal,
            session: session.to_owned(),
            window: window.to_owned(),
            session_token: tag(),
            role_token: tag(),
        })
    }
}

/// What is left of a screen for logs: no escape sequences, no control characters but newline and tab, no blank
/// lines at the end, and of that the last `max_bytes`.
pub(super) fn plain_tail(lines: &[String], max_bytes: usize) -> String {
    let mut text = String::new();
    for line in lines {
        strip_controls(line, &mut text);
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    let mut start = text.len().saturating_sub(max_bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.split_off(start)
}

fn strip_controls(line: &str, text: &mut String) {
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // A CSI sequence ends at its first byte from @ to ~.
                Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                // A string (OSC, DCS, APC, PM, SOS) ends at BEL or ESC \.
                Some(']' | 'P' | '_' | '^' | 'X') => {
                    while let Some(c) = chars.next() {
                        if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\t' => text.push(c),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(transcript: &str) -> Vec<Message> {
        let mut parser = Parser::default();
        transcript.lines().filter_map(|line| parser.feed(line.as_bytes())).collect()
    }

    fn block(lines: &[&str], ok: bool) -> Block {
        Block { lines: lines.iter().map(|&line| line.to_owned()).collect(), ok }
    }

    #[test]
    fn reads_an_attach_and_two_replies() {
        // As recorded from tmux 3.3a.
        let transcript = "%begin 1795180944 260 0\n%end 1795180944 260 0\n%window-add @0\n%sessions-changed\n\
            %session-changed $0 orch-keeper\n%begin 1795180944 266 1\n10307 3.3a\n%end 1795180944 266 1\n\
            %begin 1795180944 267 1\nduplicate session: test\n%error 1795180944 267 1\n";
        assert_eq!(
            messages(transcript),
            [
                Message::Attached(block(&[], true)),
                Message::Changed,
                Message::Changed,
                Message::Changed,
                Message::Reply(block(&["10307 3.3a"], true)),
                Message::Reply(block(&["duplicate session: test"], false)),
            ]
        );
    }

    #[test]
    fn a_screen_cannot_end_its_block_by_chance() {
        let screen = ["%end 1 6 1", "%error 1 7 0", "%begin 1 7 1", "%exit", "%sessions-changed"];
        let transcript = format!("%begin 1 7 1\n{}\n%end 1 7 1\n", screen.join("\n"));
        assert_eq!(messages(&transcript), [Message::Reply(block(&screen, true))]);
    }

    #[test]
    fn reads_the_exit_and_ignores_the_unknown() {
        let transcript = "%output %0 hi\\015\n%layout-change @1 x\n%pane-mode-changed %1\nnonsense\n\n\
            %unlinked-window-close @2\n%exit server exited unexpectedly\n";
        let lost = Message::Exit(Some("server exited unexpectedly".into()));
        assert_eq!(messages(transcript), [Message::Changed, lost]);
        assert_eq!(messages("%exit\n"), [Message::Exit(None)]);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_it() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"%begin 1 7 1"), None);
        assert_eq!(parser.feed(b"a\xff"), None);
        assert_eq!(parser.feed(b"%end 1 7 1"), Some(Message::Reply(block(&["a\u{fffd}"], true))));
    }

    #[test]
    fn reads_panes() {
        let alive = Pane::parse("%1\t10310\t0\t\t\ttest\tdev\tabc\td1").expect("a pane");
        assert_eq!((alive.pid, alive.dead, alive.status, alive.signal), (10310, false, None, None));
        assert_eq!((alive.session.as_str(), alive.window.as_str()), ("test", "dev"));
        assert_eq!((alive.session_token.as_deref(), alive.role_token.as_deref()), (Some("abc"), Some("d1")));
        let dead = Pane::parse("%2\t7\t1\t127\t\ttest\ta b\t\t").expect("a pane");
        assert_eq!((dead.dead, dead.status, dead.session_token, dead.role_token), (true, Some(127), None, None));
        let killed = Pane::parse("%2\t7\t1\t\t9\ttest\tdev\t\t").expect("a pane");
        assert_eq!((killed.status, killed.signal), (None, Some(9)));
    }

    #[test]
    fn an_option_with_a_newline_hides_no_pane() {
        assert!(Pane::parse("%2\t7\t0\t\t\ttest\tdev\tfirst").is_some());
        for rest in ["second\t", "", "%x", "%1\t2\t3"] {
            assert_eq!(Pane::parse(rest), None, "{rest:?}");
        }
    }

    #[test]
    fn a_tail_is_plain_and_short() {
        let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
        let screen = lines("one  \n\u{1b}[31mred\u{1b}[0m\u{7}\n\u{1b}]0;title\u{7}t\tx\u{1b}]8;;u\u{1b}\\y\n\n  \n");
        assert_eq!(plain_tail(&screen, 100), "one\nred\nt\txy");
        assert_eq!(plain_tail(&screen, 4), "t\txy");
        assert_eq!(plain_tail(&lines("aé"), 1), "");
        assert_eq!(plain_tail(&lines("\n\n"), 9), "");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(lines: Vec<Vec<u8>>) {
            let mut parser = Parser::default();
            for line in lines {
                parser.feed(&line);
                let text = String::from_utf8_lossy(&line);
                drop(Pane::parse(&text));
                let tail = plain_tail(&[text.into_owned()], 5);
                assert!(tail.len() <= 5 && !tail.contains(|c: char| c.is_control() && c != '\t' && c != '\n'));
            }
        }
    }
}
