//! Text from outside: which is allowed where, and how it is shown without doing harm (B01–B29, B15).
//!
//! Every check answers with the reason as a sentence fragment that ends in what is allowed.

use crate::domain::id::RoleName;
use crate::domain::limits::TITLE_BYTES_MAX;
use std::fmt::Write as _;
use std::path::Path;

/// Characters of a value that an error shows; what is longer is cut there.
pub const SHOWN_CHARS_MAX: usize = 80;
/// Characters of a path that an error shows: paths are what a person has to find, so more than of a value.
const SHOWN_PATH_CHARS_MAX: usize = 512;
/// Bytes of a role's name: it becomes a window name, a directory and a part of a branch.
pub const ROLE_BYTES_MAX: usize = 32;
/// Bytes of a path: the system's own limit is 4,096 with what is appended to it (B57).
pub const PATH_BYTES_MAX: usize = 4_000;
/// Names that cannot be a directory on Windows, where a clone of the branch would fail (B29).
const DEVICE_NAMES: &[&str] = &[
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// A value as an error shows it: quoted, escaped, cut at [`SHOWN_CHARS_MAX`] with `…` behind the quote.
#[must_use]
pub fn show(value: &str) -> String {
    let (escaped, cut) = escape_cut(value, SHOWN_CHARS_MAX, true);
    if cut { format!("\"{escaped}\"…") } else { format!("\"{escaped}\"") }
}

/// Text on one line without quotes: control and invisible characters escaped, cut at `chars_max` with `…`.
#[must_use]
pub fn escape(value: &str, chars_max: usize) -> String {
    let (mut escaped, cut) = escape_cut(value, chars_max, false);
    if cut {
        escaped.push('…');
    }
    escaped
}

/// A path as an error shows it: on one line, bytes that are not UTF-8 replaced.
#[must_use]
pub fn show_path(path: &Path) -> String {
    escape(&path.to_string_lossy(), SHOWN_PATH_CHARS_MAX)
}

/// Escapes until `chars_max` characters are written; whether anything was left off.
fn escape_cut(value: &str, chars_max: usize, quoted: bool) -> (String, bool) {
    let mut escaped = String::new();
    let mut written = 0;
    for c in value.chars() {
        let mut unit = String::new();
        match c {
            '\n' => unit.push_str("\\n"),
            '\r' => unit.push_str("\\r"),
            '\t' => unit.push_str("\\t"),
            '"' | '\\' if quoted => unit.extend(['\\', c]),
            _ if c.is_control() || is_hidden(c) => {
                // Writing to a String cannot fail.
                let _ = write!(unit, "\\u{{{:x}}}", u32::from(c));
            }
            _ => unit.push(c),
        }
        written += unit.chars().count();
        if written > chars_max {
            return (escaped, true);
        }
        escaped.push_str(&unit);
    }
    (escaped, false)
}

/// Whether a character cannot be seen but changes what is seen: direction marks, zero-width and filler characters,
/// line separators, tags (B19).
#[must_use]
pub fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a zero-width joiner between these two makes one emoji of them, which B20 accepts; anywhere else it hides.
fn joins_emoji(before: Option<char>, after: Option<char>) -> bool {
    let pictograph = |c: char| matches!(c, '\u{2190}'..='\u{2bff}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}');
    before.is_some_and(pictograph) && after.is_some_and(pictograph)
}

/// The first character that may not stand in one line of printable text, in words, with its position counted in
/// characters from 0 (B14, B15, B16, B19).
#[must_use]
pub fn unprintable(text: &str) -> Option<String> {
    let mut before = None;
    let mut rest = text.chars().enumerate().peekable();
    while let Some((at, c)) = rest.next() {
        let after = rest.peek().map(|(_, next)| *next);
        if c.is_control() {
            return Some(format!("control character U+{:04X} at {at}", u32::from(c)));
        }
        if is_hidden(c) && !(c == '\u{200d}' && joins_emoji(before, after)) {
            return Some(format!("invisible character U+{:04X} at {at}", u32::from(c)));
        }
        before = Some(c);
    }
    None
}

/// Checks a title, a key or a batch name: 1 to [`TITLE_BYTES_MAX`] bytes of printable text on one line, kept as it is
/// written (B01–B22).
///
/// # Errors
/// Why not, and what is allowed.
pub fn title(text: &str) -> Result<(), String> {
    let allowed = format!("allowed: printable text on one line, 1 to {TITLE_BYTES_MAX} bytes");
    // The length is looked at first, so that a megabyte is not searched for its first bad character (B22).
    if text.len() > TITLE_BYTES_MAX {
        return Err(format!("{} bytes; {allowed}", text.len()));
    }
    if let Some(found) = unprintable(text) {
        return Err(format!("{found}; {allowed}"));
    }
    if text.trim().is_empty() {
        return Err(format!("name is empty; {allowed}"));
    }
    Ok(())
}

/// Checks a role's name: `[a-z0-9-]{1,32}` and no device name (B23, B24, B26, B29).
///
/// # Errors
/// Why not, and what is allowed.
pub fn role_name(text: &str) -> Result<RoleName, String> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() || text.len() > ROLE_BYTES_MAX || !text.bytes().all(legal) {
        return Err("role must match [a-z0-9-]{1,32}".to_owned());
    }
    if DEVICE_NAMES.contains(&text) {
        return Err("role must not be a device name of Windows (con, aux, nul, …)".to_owned());
    }
    Ok(RoleName(text.to_owned()))
}

/// Checks the name of an environment variable that a person may set: `[A-Za-z_][A-Za-z0-9_]*`, not `ORCH_…`.
///
/// # Errors
/// Why not, and what is allowed.
pub fn env_name(text: &str) -> Result<(), String> {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err("the name of a variable must match [A-Za-z_][A-Za-z0-9_]*".to_owned());
    }
    if text.starts_with("ORCH_") {
        return Err("names that begin with ORCH_ are the orchestrator's own".to_owned());
    }
    Ok(())
}

/// Checks a path that will be handed on: 1 to [`PATH_BYTES_MAX`] bytes, no control character (B56, B57).
///
/// # Errors
/// Why not, and what is allowed.
pub fn path(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("path is empty".to_owned());
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(format!("{} bytes (ENAMETOOLONG); allowed: 1 to {PATH_BYTES_MAX}", text.len()));
    }
    match text.chars().enumerate().find(|(_, c)| c.is_control()) {
        Some((at, c)) => Err(format!("control character U+{:04X} at {at}; a path may have none", u32::from(c))),
        None => Ok(()),
    }
}

/// Checks a token: 32 lower-case hexadecimal digits.
#[must_use]
pub fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// One line for people out of text an agent wrote: line ends and tabs become blanks, other control and invisible
/// characters go, and what exceeds `bytes_max` (at least 3) is cut with `…` (B15, B19).
#[must_use]
pub fn one_line(text: &str, bytes_max: usize) -> String {
    const CUT: &str = "…";
    let mut line = String::new();
    for c in text.chars() {
        let kept = match c {
            '\n' | '\r' | '\t' => ' ',
            '\u{200d}' => c,
            _ if c.is_control() || is_hidden(c) => continue,
            _ => c,
        };
        line.push(kept);
        // Enough to know that it must be cut; a megabyte need not be copied first.
        if line.len() > bytes_max {
            break;
        }
    }
    if line.len() > bytes_max {
        let mut end = bytes_max.saturating_sub(CUT.len());
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push_str(CUT);
    }
    line
}

/// The allowed word that is nearest to a mistyped one.
#[must_use]
pub fn nearest<'a>(typed: &str, allowed: &[&'a str]) -> Option<&'a str> {
    // The distance of a very long word costs its length; its first part is enough to guess by.
    let typed: String = typed.chars().take(SHOWN_CHARS_MAX).collect::<String>().to_lowercase();
    allowed.iter().copied().min_by_key(|word| strsim::osa_distance(&typed, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: &str = "allowed: printable text on one line, 1 to 200 bytes";

    fn check_title(text: &str, reason: &str) {
        assert_eq!(title(text), Err(format!("{reason}; {ALLOWED}")), "{text:?}");
    }

    fn check_accepted(text: &str) {
        assert_eq!(title(text), Ok(()), "{text:?}");
    }

    #[test]
    fn b01_b02_an_empty_or_blank_title_is_refused() {
        check_title("", "name is empty");
        check_title("   ", "name is empty");
        check_title("\u{3000}", "name is empty");
    }

    #[test]
    fn b03_to_b13_what_means_something_to_tmux_or_a_shell_is_only_text() {
        for text in [
            "a.b",
            "a:b",
            "a_b",
            "test-spec",
            "#(touch x)",
            "#{pid}",
            "#S",
            "##",
            "ends;",
            "; kill-server",
            "$(id)",
            "`id`",
            "|",
            "&&",
            "-x",
            "--help",
            "=x",
            "$1",
            "%1",
            "@1",
            "{last}",
            "!",
            "+",
            "~",
            "*",
            "?",
        ] {
            check_accepted(text);
        }
    }

    #[test]
    fn b14_b15_b16_control_characters_are_refused_with_their_place() {
        check_title("abc\nd", "control character U+000A at 3");
        check_title("\td", "control character U+0009 at 0");
        check_title("é\r", "control character U+000D at 1");
        check_title("\u{1b}[31m", "control character U+001B at 0");
        check_title("x\u{1b}]52;c;YQ==\u{7}", "control character U+001B at 1");
        check_title("bell\u{7}", "control character U+0007 at 4");
        check_title("c1\u{9b}", "control character U+009B at 2");
        check_title("a\0b", "control character U+0000 at 1");
    }

    #[test]
    fn b18_texts_that_look_alike_stay_distinct() {
        check_accepted("caf\u{e9}");
        check_accepted("cafe\u{301}");
        check_accepted("\u{430}dmin");
    }

    #[test]
    fn b19_direction_overrides_and_zero_width_characters_are_refused() {
        check_title("a\u{202e}b", "invisible character U+202E at 1");
        check_title("a\u{200b}b", "invisible character U+200B at 1");
        check_title("a\u{200d}b", "invisible character U+200D at 1");
        check_title("\u{feff}b", "invisible character U+FEFF at 0");
    }

    #[test]
    fn b20_b29_emoji_cjk_and_device_names_are_titles() {
        for text in ["🚀 start", "👩\u{200d}👩\u{200d}👧", "❤\u{fe0f}\u{200d}🔥", "漢字", "CON", "aux"] {
            check_accepted(text);
        }
    }

    #[test]
    fn b21_b22_a_title_is_at_most_200_bytes() {
        check_accepted(&"x".repeat(200));
        check_title(&"x".repeat(256), "256 bytes");
        check_title(&"\n".repeat(1 << 20), "1048576 bytes");
    }

    #[test]
    fn b23_b24_b26_a_role_matches_its_pattern() {
        let long = "x".repeat(33);
        for text in
            ["", "../x", "a/b", "..", ".", "/abs", ".git", "HEAD", "x.lock", "@", "Dev", "dév", " ", long.as_str()]
        {
            assert_eq!(role_name(text), Err("role must match [a-z0-9-]{1,32}".to_owned()), "{text:?}");
        }
        assert_eq!(role_name("dev-2"), Ok(RoleName("dev-2".to_owned())));
        assert!(role_name(&"x".repeat(32)).is_ok());
    }

    #[test]
    fn b29_a_role_is_no_device_name() {
        let refused = Err("role must not be a device name of Windows (con, aux, nul, …)".to_owned());
        assert_eq!(role_name("aux"), refused);
        assert_eq!(role_name("con"), refused);
        assert!(role_name("console").is_ok());
    }

    #[test]
    fn b56_b57_paths_are_bounded_and_on_one_line() {
        assert_eq!(path("a b'\"#{pid}"), Ok(()));
        assert_eq!(path("a\nb"), Err("control character U+000A at 1; a path may have none".to_owned()));
        assert_eq!(path(&"x".repeat(4_001)), Err("4001 bytes (ENAMETOOLONG); allowed: 1 to 4000".to_owned()));
        assert_eq!(path(""), Err("path is empty".to_owned()));
    }

    #[test]
    fn shown_values_are_escaped_and_cut() {
        assert_eq!(show("a\"b\\\n\u{1b}\u{202e}"), r#""a\"b\\\n\u{1b}\u{202e}""#);
        assert_eq!(show(&"x".repeat(81)), format!("\"{}\"…", "x".repeat(80)));
        assert_eq!(show(&"x".repeat(80)), format!("\"{}\"", "x".repeat(80)));
        assert_eq!(escape("say \"hi\"\n", 80), "say \"hi\"\\n");
    }

    #[test]
    fn what_agents_write_becomes_one_bounded_line() {
        assert_eq!(one_line("a\nb\tc\u{1b}[31md\0\u{202e}", 100), "a b c[31md");
        assert_eq!(one_line("ääää", 7), "ää…");
        assert_eq!(one_line("ää", 4), "ää");
    }

    #[test]
    fn the_nearest_word_is_found() {
        assert_eq!(nearest("titel", &["repo", "title", "role"]), Some("title"));
        assert_eq!(nearest("ROLES", &["repo", "title", "role"]), Some("role"));
        assert_eq!(nearest("x", &[]), None);
    }
}
