//! One tmux command as an argument vector, and the only place that turns one into text for the server.

use super::TmuxError;
use std::fmt::Write as _;

/// What new panes are sized to, since no terminal is attached that could say.
const SIZE: [&str; 4] = ["-x", "200", "-y", "50"];

/// What a branch of [`Command::when`] answers in place of acting.
pub(super) const CONDITION_FAILED: &str = "orch-condition-failed";

/// One tmux command.
///
/// Every argument is quoted when the line is written, so no argument can become a second command (T2), a variable
/// or a comment. Formats are still formats where tmux expands them; texts from outside belong into none (T1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    argv: Vec<String>,
    /// How many answers it gives: one, and one more for each command of a branch.
    answers: usize,
}

impl Command {
    /// A command from its words, the first being its name.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), answers: 1 }
    }

    /// Its words, with the values of `-e NAME=value` left out: they may be secrets, and errors are logged.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        let mut after_e = false;
        self.argv
            .iter()
            .map(|word| {
                let name = word.split_once('=').map(|(name, _)| name).filter(|_| after_e);
                after_e = word == "-e";
                name.map_or_else(|| word.clone(), |name| format!("{name}=…"))
            })
            .collect()
    }

    /// How many answer blocks the server gives if all goes well.
    pub(super) fn answers(&self) -> usize {
        self.answers
    }

    /// The text of one line of commands, with its newline.
    pub(super) fn line(commands: &[Self]) -> Result<String, TmuxError> {
        let mut line = Self::sequence(commands)?;
        line.push('\n');
        Ok(line)
    }

    fn sequence(commands: &[Self]) -> Result<String, TmuxError> {
        let mut text = String::new();
        for (at, command) in commands.iter().enumerate() {
            if at > 0 {
                text.push_str(" ; ");
            }
            for (at, word) in command.argv.iter().enumerate() {
                if at > 0 {
                    text.push(' ');
                }
                quote(word, &mut text)?;
            }
        }
        Ok(text)
    }

    /// `new-session -d`, with the first pane's process; fails if the name is taken.
    #[must_use]
    pub fn new_session(session: &str, window: &str, env: &[(String, String)], argv: &[String]) -> Self {
        let head = ["new-session", "-d", "-s", session, "-n", window];
        Self::launching(head.into_iter().chain(SIZE), env, argv)
    }

    /// `new-window -d` behind the session's last window, which is how [`Command::tag_last_pane`] finds it.
    #[must_use]
    pub fn new_window(session: &str, window: &str, env: &[(String, String)], argv: &[String]) -> Self {
        Self::launching(["new-window", "-d", "-a", "-t", &last_window(session), "-n", window], env, argv)
    }

    /// `respawn-pane -k`: ends what runs in the pane and starts another process in it.
    #[must_use]
    pub fn respawn_pane(pane: &str, env: &[(String, String)], argv: &[String]) -> Self {
        Self::launching(["respawn-pane", "-k", "-t", pane], env, argv)
    }

    /// The agent is the pane's own process. Given one word, tmux would hand it to the user's shell as source text,
    /// and given several it would call a program that is not there an exit with 1 and say nothing; `sh` makes it 127
    /// with a message on the screen (T13), and replaces itself.
    fn launching<'a>(head: impl IntoIterator<Item = &'a str>, env: &[(String, String)], argv: &'a [String]) -> Self {
        let mut command = Self::new(head);
        for (name, value) in env {
            command.argv.push("-e".into());
            command.argv.push(format!("{name}={value}"));
        }
        command.argv.extend(["/bin/sh", "-c", "exec \"$@\"", "sh"].map(Into::into));
        command.argv.extend_from_slice(argv);
        command
    }

    /// Sets an option of one session.
    #[must_use]
    pub fn set_session_option(session: &str, option: &str, value: &str) -> Self {
        Self::new(["set-option", "-t", &exact(session), option, value])
    }

    /// Sets an option of one pane, by its id.
    #[must_use]
    pub fn set_pane_option(pane: &str, option: &str, value: &str) -> Self {
        Self::new(["set-option", "-p", "-t", pane, option, value])
    }

    /// Sets an option of the pane in the session's last window.
    #[must_use]
    pub fn tag_last_pane(session: &str, option: &str, value: &str) -> Self {
        Self::new(["set-option", "-p", "-t", &last_window(session), option, value])
    }

    /// Removes a variable from the session's environment, from which later panes would inherit it.
    #[must_use]
    pub fn forget_variable(session: &str, name: &str) -> Self {
        Self::new(["set-environment", "-t", &exact(session), "-u", name])
    }

    /// Lists the panes of all sessions.
    #[must_use]
    pub fn list_all_panes(format: &str) -> Self {
        Self::new(["list-panes", "-a", "-F", format])
    }

    /// Lists the panes of one session; fails if there is none of that name.
    #[must_use]
    pub fn list_session_panes(session: &str, format: &str) -> Self {
        Self::new(["list-panes", "-s", "-t", &exact(session), "-F", format])
    }

    /// Lists exactly one pane; fails if it is gone, where `display-message` would not (T22).
    #[must_use]
    pub fn list_pane(pane: &str, format: &str) -> Self {
        let only = format!("#{{==:#{{pane_id}},{pane}}}");
        Self::new(["list-panes", "-t", pane, "-f", &only, "-F", format])
    }

    /// Performs `then` if the format `condition` is true of the target, and else the same number of answers
    /// [`CONDITION_FAILED`]. Judged and performed by the server in one go, so it holds however late it arrives.
    ///
    /// It must be the last command of its line: an error inside a branch does not keep the server from going on
    /// with the line. And it must be preceded by a command that fails for an absent target, for which `if-shell`
    /// would judge some other pane.
    pub(super) fn when(target: &str, condition: &str, then: &[Self]) -> Result<Self, TmuxError> {
        let otherwise = vec![Self::new(["display-message", "-p", CONDITION_FAILED]); then.len()];
        let (then_text, else_text) = (Self::sequence(then)?, Self::sequence(&otherwise)?);
        let argv = ["if-shell", "-F", "-t", target, condition, &then_text, &else_text];
        Ok(Self { answers: 1 + then.len(), ..Self::new(argv) })
    }
}

/// The exact target of a session: bare, `test` would also find `test-spec` (T5).
#[must_use]
pub(super) fn exact(session: &str) -> String {
    format!("={session}:")
}

fn last_window(session: &str) -> String {
    format!("={session}:{{end}}")
}

/// Appends `word` to `line` as one word of tmux's command language.
///
/// Between single quotes nothing is special. A tab is written as an escape outside of them; every other control
/// character is refused, since a newline would end the line and no argument of ours has need of one.
fn quote(word: &str, line: &mut String) -> Result<(), TmuxError> {
    line.push('\'');
    for c in word.chars() {
        match c {
            '\'' => line.push_str(r"'\''"),
            '\t' => line.push_str(r"'\t'"),
            c if c.is_control() => {
                let value = word.escape_debug().to_string();
                return Err(TmuxError::BadArgument { what: "argument", value, why: "holds a control character" });
            }
            c => line.push(c),
        }
    }
    line.push('\'');
    Ok(())
}

/// Refuses a name that is not `[a-z0-9-]{1,max}`: what tmux makes of other names differs by version (T3, T4).
pub(super) fn check_name(what: &'static str, name: &str, max: usize) -> Result<(), TmuxError> {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if (1..=max).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(TmuxError::BadArgument { what, value: name.into(), why: "is not of the form [a-z0-9-], within its length" })
}

/// Refuses what is not an id like `%7`.
pub(super) fn check_pane(pane: &str) -> Result<(), TmuxError> {
    let digits = pane.strip_prefix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) {
        return Ok(());
    }
    Err(TmuxError::BadArgument { what: "pane", value: pane.into(), why: "is not a pane id" })
}

/// Refuses variables that tmux or the launching shell would not hand on as they are, and a program they would take
/// for an option.
pub(super) fn check_launch(env: &[(String, String)], argv: &[String]) -> Result<(), TmuxError> {
    for (name, _) in env {
        let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || !name.bytes().all(fits) {
            return Err(TmuxError::BadArgument { what: "variable", value: name.clone(), why: "is not a legal name" });
        }
    }
    match argv.first() {
        None => Err(TmuxError::BadArgument { what: "argv", value: String::new(), why: "is empty" }),
        Some(program) if program.is_empty() || program.starts_with('-') => {
            Err(TmuxError::BadArgument { what: "program", value: program.clone(), why: "is no program's name" })
        }
        Some(_) => Ok(()),
    }
}

/// The words as a person would type them, for messages.
#[must_use]
pub(super) fn spoken(commands: &[Command]) -> Vec<String> {
    let mut words = Vec::new();
    for (at, command) in commands.iter().enumerate() {
        let mut shown = command.shown();
        if at > 0 {
            words.push(";".into());
        }
        if command.answers > 1 {
            // The branches hold whole commands with their variables; the name of the guard says enough.
            shown.truncate(5);
            if let Some(condition) = shown.last_mut() {
                let _ = write!(condition, " …");
            }
        }
        words.append(&mut shown);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(word: &str) -> String {
        let mut line = String::new();
        quote(word, &mut line).expect("no control characters");
        line
    }

    #[test]
    fn quotes_everything() {
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a;"), "'a;'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted("a\tb"), r"'a'\t'b'");
    }

    #[test]
    fn refuses_control_characters() {
        for bad in ["a\nb", "\0", "\u{1b}[201~", "\r", "\u{7f}", "\u{85}"] {
            assert!(quote(bad, &mut String::new()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let env = [("KEY".to_owned(), "s3cret=x".to_owned())];
        let launch = Command::new_session("p-1", "dev", &env, &["a".into(), "-e".into(), "B=c".into()]);
        assert!(!launch.shown().join(" ").contains("s3cret"));
        assert!(launch.shown().contains(&"KEY=…".to_owned()));
        let guarded = Command::when("%1", "1", &[launch]).expect("quotable");
        assert!(!spoken(&[guarded]).join(" ").contains("s3cret"));
    }

    #[test]
    fn names_are_narrow() {
        assert!(check_name("session", "orch-12-e3", 40).is_ok());
        for bad in ["", "A", "a.b", "a:b", "=x", "a b", "ä", "#{x}", &"x".repeat(41)] {
            assert!(check_name("session", bad, 40).is_err(), "{bad}");
        }
        assert!(check_pane("%0").is_ok());
        for bad in ["", "%", "0", "%1x", "$1"] {
            assert!(check_pane(bad).is_err(), "{bad}");
        }
    }
}
