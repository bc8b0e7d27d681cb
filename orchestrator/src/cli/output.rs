//! What a person sees: the only place that writes to standard output and standard error, and how text is laid out.

use super::exit::CliError;
use crate::domain::signal::Level;
use std::io::{self, IsTerminal, Write};

/// What is known of the place the output goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Columns to fit into; none where nobody's eyes are known to be.
    pub width: Option<usize>,
    /// Whether colours may be used.
    pub colour: bool,
}

impl Screen {
    /// No terminal: everything, without colours.
    pub const PLAIN: Self = Self { width: None, colour: false };

    /// Standard output as it is. Colours only on a terminal, and never with a non-empty NO_COLOR.
    #[must_use]
    pub fn of_stdout() -> Self {
        if !io::stdout().is_terminal() {
            return Self::PLAIN;
        }
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let asked = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let width = told.or_else(asked).filter(|width| *width > 0);
        Self { width, colour: !refused && !dumb }
    }

    /// The text in a style, where colours may be used.
    #[must_use]
    pub fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Warn => "33",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// How a piece of text is to look; never the only carrier of a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// A heading.
    Bold,
    /// Of less weight.
    Dim,
    /// As it should be.
    Good,
    /// Not as it should be, and dealt with.
    Warn,
    /// Wrong.
    Bad,
}

impl Style {
    /// The style of a level.
    #[must_use]
    pub fn of(level: Level) -> Self {
        match level {
            Level::Info => Self::Plain,
            Level::Warn => Self::Warn,
            Level::Error => Self::Bad,
        }
    }
}

/// Writes to standard output, as one piece.
///
/// # Errors
/// If it cannot be written; a closed pipe is an error too, which ends the command with success.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::Output)
}

/// Writes one line to standard error. If that cannot be written either, there is nobody left to tell.
pub fn complain(line: &str) {
    let _told = writeln!(io::stderr().lock(), "{line}");
}

/// One cell of a table.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its text, already escaped.
    pub text: String,
    /// Its looks.
    pub style: Style,
}

/// A cell.
#[must_use]
pub fn cell(text: impl Into<String>, style: Style) -> Cell {
    Cell { text: text.into(), style }
}

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub head: &'static str,
    /// Whether numbers stand in it.
    pub right: bool,
    /// How narrow it may become where space is short; none if it must stay whole.
    pub least: Option<usize>,
}

const GAP: usize = 2;

/// A table with a heading. Where it does not fit the screen, the columns that may shrink do, the widest first; empty
/// columns are left out.
#[must_use]
pub fn table(columns: &[Column], rows: &[Vec<Cell>], screen: Screen) -> String {
    let mut widths: Vec<usize> = (0..columns.len())
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| display_width(&cell.text)).max().unwrap_or(0))
        .collect();
    for (width, column) in widths.iter_mut().zip(columns) {
        if *width > 0 || rows.is_empty() {
            *width = (*width).max(column.head.len());
        }
    }
    if let Some(screen) = screen.width {
        shrink(&mut widths, columns, screen);
    }
    let mut out = String::new();
    let heads: Vec<Cell> = columns.iter().map(|column| cell(column.head, Style::Dim)).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        let mut pad = 0;
        for ((cell, width), column) in row.iter().zip(&widths).zip(columns).filter(|((_, width), _)| **width > 0) {
            let text = fit(&cell.text, *width);
            let space = width.saturating_sub(display_width(&text));
            let (before, after) = if column.right { (space, 0) } else { (0, space) };
            line.push_str(&" ".repeat(pad + before));
            line.push_str(&screen.paint(cell.style, &text));
            pad = after + GAP;
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn shrink(widths: &mut [usize], columns: &[Column], screen: usize) {
    let total = |widths: &[usize]| {
        let shown = widths.iter().filter(|width| **width > 0).count();
        widths.iter().sum::<usize>() + GAP * shown.saturating_sub(1)
    };
    while total(widths) > screen {
        let widest = widths
            .iter_mut()
            .zip(columns)
            .filter(|(width, column)| column.least.is_some_and(|least| **width > least))
            .map(|(width, _)| width)
            .max_by_key(|width| **width);
        match widest {
            Some(width) => *width -= 1,
            None => return,
        }
    }
}

/// The text in at most `width` columns; what is cut is marked.
#[must_use]
pub fn fit(text: &str, width: usize) -> String {
    if display_width(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += columns_of(c);
        if used > width.saturating_sub(1) {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

/// Columns that a text takes on a terminal.
#[must_use]
pub fn display_width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Columns of one character: an approximation by blocks, enough to keep a table straight; a full table of Unicode
/// would be a dependency for the sake of alignment.
fn columns_of(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200d | 0xfe00..=0xfe0f | 0x1f3fb..=0x1f3ff => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { head: "ID", right: true, least: None },
        Column { head: "TITLE", right: false, least: Some(6) },
        Column { head: "EMPTY", right: false, least: None },
        Column { head: "STATE", right: false, least: None },
    ];

    fn rows() -> Vec<Vec<Cell>> {
        let row = |id: &str, title: &str, state: &str| {
            vec![cell(id, Style::Plain), cell(title, Style::Plain), cell("", Style::Plain), cell(state, Style::Bad)]
        };
        vec![row("7", "a title that goes on and on", "failed"), row("12", "日本語のタイトル", "running")]
    }

    #[test]
    fn a_table_fits_the_screen() {
        insta::assert_snapshot!(table(COLUMNS, &rows(), Screen::PLAIN), @"
        ID  TITLE                        STATE
         7  a title that goes on and on  failed
        12  日本語のタイトル             running
        ");
        let narrow = table(COLUMNS, &rows(), Screen { width: Some(30), colour: false });
        insta::assert_snapshot!(narrow, @"
        ID  TITLE              STATE
         7  a title that goe…  failed
        12  日本語のタイトル   running
        ");
        for line in narrow.lines() {
            assert!(display_width(line) <= 30, "{line}");
        }
        // Too narrow even so: whole columns stay whole.
        let tiny = table(COLUMNS, &rows(), Screen { width: Some(5), colour: false });
        assert!(tiny.contains("running"), "{tiny}");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let coloured = table(COLUMNS, &rows(), Screen { width: Some(30), colour: true });
        assert!(coloured.contains("\u{1b}[31mfailed\u{1b}[0m"), "{coloured}");
        let stripped = coloured.replace("\u{1b}[31m", "").replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
        let plain = table(COLUMNS, &rows(), Screen { width: Some(30), colour: false });
        let trimmed = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(trimmed(&stripped), trimmed(&plain));
    }

    #[test]
    fn wide_characters_are_cut_at_a_character() {
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("abc", 0), "…");
    }
}
