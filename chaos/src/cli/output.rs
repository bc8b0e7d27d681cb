//! The only places that print: results on stdout, everything else on stderr.

use crate::report::Style;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

/// Prints a result. A reader that has gone away has had enough, which is no error.
pub(super) fn result(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        note(&format!("cannot write the result: {error}"));
    }
}

/// Prints a word on the side.
pub(super) fn note(text: &str) {
    // There is nowhere left to complain to.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints why it ended badly, in one line.
pub(super) fn error(text: &str) {
    let line: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    note(&format!("error: {}", line.join(" ")));
}

/// Whether results may be coloured.
pub(super) fn style() -> Style {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && std::io::stdout().is_terminal() { Style::Colour } else { Style::Plain }
}
