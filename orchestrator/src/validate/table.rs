//! TOML with the place of every value, so that a refusal can say where it stands (B36–B42).
//!
//! A hand-written walk instead of a derived reader: it knows line, column and the value as written for every rule,
//! also for those no derive can express, and the words are ours.

use super::text;
use std::fmt;
use std::ops::RangeInclusive;
use toml::de::{DeTable, DeValue};

/// Levels of nesting that the TOML parser accepts before it gives up (B41).
const LEVELS_MAX: u32 = 80;

/// Where something stands, as editors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset`; of the end if the text is shorter.
    #[must_use]
    pub fn of(source: &str, offset: usize) -> Self {
        let mut end = offset.min(source.len());
        while !source.is_char_boundary(end) {
            end -= 1;
        }
        let (before, _) = source.split_at(end);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// One broken rule: where, which field, which value, what is allowed. Its text is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where; none if what is wrong is that something is not there.
    pub place: Option<Place>,
    /// The field, such as `role[0].name`; empty if it is the text as a whole.
    pub field: String,
    /// The value, escaped and cut; none if it is missing.
    pub value: Option<String>,
    /// What is wrong and what is allowed.
    pub rule: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{}:{}: ", place.line, place.column)?;
        }
        if !self.field.is_empty() {
            f.write_str(&self.field)?;
            if let Some(value) = &self.value {
                write!(f, " = {value}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.rule)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// The same without the value, which may be a secret.
    #[must_use]
    pub fn without_value(self) -> Self {
        Self { value: None, ..self }
    }
}

/// The text of a TOML file as it is parsed: UTF-8, without byte order mark, line ends as `\n` (B40).
///
/// # Errors
/// [`Fault`] with the place of the first byte that is not UTF-8.
pub fn normalised(bytes: &[u8]) -> Result<String, Fault> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let valid = valid.trim_start_matches('\u{feff}');
            let wrong = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            return Err(Fault {
                place: Some(Place::of(valid, valid.len())),
                field: String::new(),
                value: None,
                rule: format!("byte 0x{wrong:02x} is not UTF-8"),
            });
        }
    };
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n"))
}

/// Parses a whole document; duplicate keys and deep nesting are among what the parser refuses (B36, B41, B42).
///
/// # Errors
/// [`Fault`] with line and column, and the offending piece.
pub fn parse(source: &str) -> Result<DeTable<'_>, Fault> {
    DeTable::parse(source).map(toml::Spanned::into_inner).map_err(|error| {
        let span = error.span();
        let piece = span.clone().and_then(|span| source.get(span)).filter(|piece| !piece.trim().is_empty());
        let mut rule = text::escape(error.message(), 200);
        if rule.contains("recurs") {
            rule = format!("nested deeper than {LEVELS_MAX} levels");
        }
        if let Some(piece) = piece {
            rule = format!("{rule}: {}", text::show(piece));
        }
        Fault { place: span.map(|span| Place::of(source, span.start)), field: String::new(), value: None, rule }
    })
}

/// A table within a document.
#[derive(Debug, Clone)]
pub struct Table<'a> {
    source: &'a str,
    name: String,
    offset: Option<usize>,
    entries: &'a DeTable<'a>,
}

/// A value within a document.
#[derive(Debug, Clone)]
pub struct Value<'a> {
    source: &'a str,
    /// Its field, such as `role[0].name`.
    pub field: String,
    span: std::ops::Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Table<'a> {
    /// The document's own table.
    #[must_use]
    pub fn root(source: &'a str, entries: &'a DeTable<'a>) -> Self {
        Self { source, name: String::new(), offset: None, entries }
    }

    fn field(&self, key: &str) -> String {
        let key = text::escape(key, text::SHOWN_CHARS_MAX);
        if self.name.is_empty() { key } else { format!("{}.{key}", self.name) }
    }

    /// Refuses the first key that is none of `allowed`, and names the nearest of them (B37).
    ///
    /// # Errors
    /// [`Fault`].
    pub fn only(&self, allowed: &[&str]) -> Result<(), Fault> {
        let unknown = self.entries.keys().filter(|key| !allowed.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let nearest = text::nearest(key.get_ref(), allowed).unwrap_or_default();
        Err(Fault {
            place: Some(Place::of(self.source, key.span().start)),
            field: self.field(key.get_ref()),
            value: None,
            rule: format!("unknown key; did you mean {nearest}? (allowed: {})", allowed.join(", ")),
        })
    }

    /// Says that a key must be there and is not.
    #[must_use]
    pub fn missing(&self, key: &str, allowed: &str) -> Fault {
        let place = self.offset.map(|offset| Place::of(self.source, offset));
        Fault { place, field: self.field(key), value: None, rule: format!("missing; {allowed}") }
    }

    /// Every entry, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.entries.iter().map(|(key, value)| {
            let found = Value {
                source: self.source,
                field: self.field(key.get_ref()),
                span: value.span(),
                value: value.get_ref(),
            };
            (key.get_ref().as_ref(), found)
        })
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.values().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The value of a key that must be there.
    ///
    /// # Errors
    /// [`Fault`] that says `allowed`.
    pub fn require(&self, key: &str, allowed: &str) -> Result<Value<'a>, Fault> {
        self.get(key).ok_or_else(|| self.missing(key, allowed))
    }

    /// The tables written as `[[key]]`; none if there is no such key.
    ///
    /// # Errors
    /// [`Fault`] if it is something else.
    pub fn tables(&self, key: &str) -> Result<Vec<Table<'a>>, Fault> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let wanted = format!("must be written as [[{key}]]");
        value.items(&wanted)?.iter().map(|item| item.table(&wanted)).collect()
    }
}

impl<'a> Value<'a> {
    /// Says that this value breaks a rule.
    #[must_use]
    pub fn refuse(&self, rule: impl Into<String>) -> Fault {
        let shown = match self.value {
            DeValue::String(string) => text::show(string),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
                text::escape(self.source.get(self.span.clone()).unwrap_or_default(), text::SHOWN_CHARS_MAX)
            }
        };
        Fault {
            place: Some(Place::of(self.source, self.span.start)),
            field: self.field.clone(),
            value: Some(shown),
            rule: rule.into(),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// [`Fault`] if it is something else (B38).
    pub fn text(&self) -> Result<&'a str, Fault> {
        match self.value {
            DeValue::String(string) => Ok(string),
            DeValue::Array(_)
            | DeValue::Table(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => Err(self.refuse("must be a string in quotes")),
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`Fault`] if it is something else (B38).
    pub fn boolean(&self) -> Result<bool, Fault> {
        self.value.as_bool().ok_or_else(|| self.refuse("must be true or false"))
    }

    /// A whole number within a range; NaN, fractions, signs and overflow are all outside it (B38, B39).
    ///
    /// # Errors
    /// [`Fault`] with the range.
    pub fn integer(&self, range: RangeInclusive<i64>) -> Result<i64, Fault> {
        self.value
            .as_integer()
            .and_then(|written| i64::from_str_radix(written.as_str(), written.radix()).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| self.refuse(format!("must be a whole number from {} to {}", range.start(), range.end())))
    }

    /// A list; `wanted` says what it should be.
    ///
    /// # Errors
    /// [`Fault`] that says `wanted`.
    pub fn items(&self, wanted: &str) -> Result<Vec<Value<'a>>, Fault> {
        let DeValue::Array(array) = self.value else { return Err(self.refuse(wanted)) };
        let item = |(index, item): (usize, &'a toml::Spanned<DeValue<'a>>)| Value {
            source: self.source,
            field: format!("{}[{index}]", self.field),
            span: item.span(),
            value: item.get_ref(),
        };
        Ok(array.iter().enumerate().map(item).collect())
    }

    /// A table; `wanted` says what it should be.
    ///
    /// # Errors
    /// [`Fault`] that says `wanted`.
    pub fn table(&self, wanted: &str) -> Result<Table<'a>, Fault> {
        let DeValue::Table(entries) = self.value else { return Err(self.refuse(wanted)) };
        Ok(Table { source: self.source, name: self.field.clone(), offset: Some(self.span.start), entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_syntax(source: &str, expected: &str) {
        let fault = parse(source).expect_err("must be refused").to_string();
        assert_eq!(fault, expected);
    }

    #[test]
    fn b36_syntax_errors_have_line_and_column() {
        check_syntax("a = 1\nb = \n", "2:5: string values must be quoted, expected literal string");
        check_syntax("a = 1\n\u{e9} = 'x\n", "2:1: invalid unquoted key, expected letters, numbers, `-`, `_`: \"é\"");
        check_syntax(
            "title = \"a\0b\"",
            r#"1:11: invalid basic string, expected non-double-quote visible characters, `\`: "\u{0}""#,
        );
    }

    #[test]
    fn b36_not_utf8_has_line_and_column() {
        let fault = normalised(b"\xef\xbb\xbfa = 1\nb\xff").expect_err("must be refused");
        assert_eq!(fault.to_string(), "2:2: byte 0xff is not UTF-8");
    }

    #[test]
    fn b40_bom_and_crlf_are_accepted() {
        assert_eq!(normalised(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n"), Ok("a = 1\nb = 2\n".to_owned()));
    }

    #[test]
    fn b41_deep_nesting_is_refused_without_overflow() {
        check_syntax(&format!("a = {}", "[".repeat(10_000)), "1:85: nested deeper than 80 levels: \"[\"");
        check_syntax(&format!("a = {}", "{a=".repeat(10_000)), "1:245: nested deeper than 80 levels: \"{\"");
        check_syntax(&format!("a{} = 1", ".a".repeat(10_000)), "nested deeper than 80 levels");
        check_syntax(&format!("[a{}]", ".a".repeat(500_000)), "nested deeper than 80 levels");
    }

    #[test]
    fn b42_duplicate_keys_are_refused() {
        check_syntax("a = 1\na = 2", "2:1: duplicate key: \"a\"");
        check_syntax("[a]\n[b]\n[a]\n", "3:2: duplicate key: \"a\"");
    }
}
