//! Just enough of Rust's grammar for the rules: which bytes are code, comment or string, and which lines are tests.
//!
//! Not a parser. It knows comments (nested), strings (raw, byte, C), character literals and braces, because a rule that
//! cannot tell a word in a comment from a call would have to be switched off the first time it is wrong.

/// A Rust source text, taken apart.
#[derive(Debug)]
pub(crate) struct Source {
    /// The text with comments and the inside of literals blanked; same length in lines.
    pub(crate) code: String,
    /// The text with everything but comments blanked.
    pub(crate) comments: String,
    /// Every string literal: the line it starts on (from 1) and what stands between its quotes.
    pub(crate) strings: Vec<(usize, String)>,
    /// For every line, whether it belongs to an item under `#[cfg(test)]`.
    test_lines: Vec<bool>,
    /// The names of the modules declared as `#[cfg(test)] mod name;`, whose files are tests throughout.
    pub(crate) test_modules: Vec<String>,
}

impl Source {
    /// Takes `text` apart.
    pub(crate) fn parse(text: &str) -> Self {
        let mut split = Split::default();
        split.run(&text.chars().collect::<Vec<_>>());
        let (test_lines, test_modules) = test_items(&split.code);
        Self { code: split.code, comments: split.comments, strings: split.strings, test_lines, test_modules }
    }

    /// Whether `line` (from 1) belongs to an item under `#[cfg(test)]`.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.get(line.saturating_sub(1)).copied().unwrap_or(false)
    }

    /// How many lines are not under `#[cfg(test)]`.
    pub(crate) fn lines_outside_tests(&self) -> usize {
        self.test_lines.iter().filter(|test| !**test).count()
    }

    /// The words and signs of the code.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        tokens(&self.code)
    }
}

/// An identifier, or a single sign; `::` is one sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// The line it stands on, from 1.
    pub(crate) line: usize,
    /// The identifier or sign.
    pub(crate) text: String,
}

impl Token {
    /// Whether this is an identifier (or keyword, or number).
    pub(crate) fn is_word(&self) -> bool {
        self.text.chars().next().is_some_and(is_word_char)
    }
}

/// Whether `c` may stand in an identifier.
pub(crate) fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The lines (from 1) of `text` on which `word` stands with no other word character beside it.
pub(crate) fn lines_with_word(text: &str, word: &str) -> Vec<usize> {
    let holds = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            !before.is_some_and(is_word_char) && !after.is_some_and(is_word_char)
        })
    };
    text.lines().enumerate().filter(|(_, line)| holds(line)).map(|(index, _)| index + 1).collect()
}

#[derive(Default)]
struct Split {
    code: String,
    comments: String,
    strings: Vec<(usize, String)>,
    line: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

impl Split {
    fn run(&mut self, text: &[char]) {
        self.line = 1;
        let mut at = 0;
        while at < text.len() {
            at = self.step(text, at);
        }
    }

    fn put(&mut self, c: char, kind: Kind) {
        let blank = if c == '\n' { '\n' } else { ' ' };
        self.code.push(if kind == Kind::Code { c } else { blank });
        self.comments.push(if kind == Kind::Comment { c } else { blank });
        if c == '\n' {
            self.line += 1;
        }
    }

    fn put_all(&mut self, text: &[char], kind: Kind) {
        for &c in text {
            self.put(c, kind);
        }
    }

    /// Consumes one comment, literal or character that starts at `at`; says where the next one starts.
    fn step(&mut self, text: &[char], at: usize) -> usize {
        let rest = &text[at..];
        if rest.starts_with(&['/', '/']) {
            let length = rest.iter().position(|&c| c == '\n').unwrap_or(rest.len());
            self.put_all(&rest[..length], Kind::Comment);
            return at + length;
        }
        if rest.starts_with(&['/', '*']) {
            let length = block_comment(rest);
            self.put_all(&rest[..length], Kind::Comment);
            return at + length;
        }
        let after_word = at > 0 && is_word_char(text[at - 1]);
        if let Some(inside) = string_literal(rest, after_word) {
            self.strings.push((self.line, rest[inside.open..inside.close].iter().collect()));
            self.put_all(&rest[..inside.open], Kind::Code);
            self.put_all(&rest[inside.open..inside.close], Kind::Literal);
            self.put_all(&rest[inside.close..inside.end], Kind::Code);
            return at + inside.end;
        }
        let length = char_literal(rest);
        if length > 0 {
            self.put_all(&rest[..length], Kind::Literal);
            return at + length;
        }
        self.put(rest[0], Kind::Code);
        at + 1
    }
}

fn block_comment(text: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Where the content of a string literal starts and ends, and where the literal itself does.
struct Inside {
    open: usize,
    close: usize,
    end: usize,
}

/// The bounds of the string literal that starts here, if one does.
fn string_literal(text: &[char], after_word: bool) -> Option<Inside> {
    let prefix = text.iter().take(2).take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    let raw = text[..prefix].contains(&'r');
    if prefix > 0 && after_word {
        return None;
    }
    let hashes = if raw { text[prefix..].iter().take_while(|&&c| c == '#').count() } else { 0 };
    let open = prefix + hashes + 1;
    if text.get(open - 1) != Some(&'"') {
        return None;
    }
    let mut at = open;
    while at < text.len() {
        match text[at] {
            '\\' if !raw => at += 2,
            '"' if text[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes => {
                return Some(Inside { open, close: at, end: at + 1 + hashes });
            }
            _ => at += 1,
        }
    }
    Some(Inside { open, close: text.len(), end: text.len() })
}

/// How long the character literal is that starts here: 0 if none does (a lifetime, say).
fn char_literal(text: &[char]) -> usize {
    if text[0] != '\'' {
        return 0;
    }
    match text.get(1) {
        Some('\\') => text.iter().skip(3).position(|&c| c == '\'').map_or(0, |end| end + 4),
        Some(_) if text.get(2) == Some(&'\'') => 3,
        _ => 0,
    }
}

fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word_char(first) {
                rest.find(|c| !is_word_char(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push(Token { line: index + 1, text: rest[..length].to_owned() });
            rest = rest[length..].trim_start();
        }
    }
    found
}

/// Marks the lines of every item under `#[cfg(test)]`, and names the modules among them that live in other files.
fn test_items(code: &str) -> (Vec<bool>, Vec<String>) {
    let tokens = tokens(code);
    let mut lines = vec![false; code.lines().count()];
    let mut modules = Vec::new();
    for start in 0..tokens.len() {
        let Some(after) = cfg_test(&tokens[start..]) else { continue };
        let end = item_end(&tokens, start + after);
        let last = tokens.get(end).map_or(lines.len(), |token| token.line);
        lines[tokens[start].line - 1..last].fill(true);
        let item = &tokens[start + after..=end.min(tokens.len() - 1)];
        if let Some(at) = item.iter().position(|token| token.text == "mod")
            && item.last().is_some_and(|token| token.text == ";")
            && let Some(name) = item.get(at + 1)
        {
            modules.push(name.text.clone());
        }
    }
    (lines, modules)
}

/// The length of `#[cfg(test)]`, or of `#[cfg(all(test, …))]`, if one starts here.
fn cfg_test(tokens: &[Token]) -> Option<usize> {
    let starts = |words: &[&str]| tokens.iter().map(|t| t.text.as_str()).take(words.len()).eq(words.iter().copied());
    if starts(&["#", "[", "cfg", "(", "test", ")", "]"]) {
        return Some(7);
    }
    if !starts(&["#", "[", "cfg", "(", "all", "(", "test"]) {
        return None;
    }
    tokens.iter().position(|token| token.text == "]").map(|end| end + 1)
}

/// The index of the token that ends the item starting at `from`: its `;`, or the brace that closes its body.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" if depth <= 1 => return index,
            "}" => depth -= 1,
            ";" if depth == 0 => return index,
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_strings_come_apart() {
        let source =
            Source::parse("let a = \"x // \\\" y\"; // say \"z\"\nlet b = 'c'; /* /* in */ out */ f::<'a>('\"');");
        assert_eq!(source.strings, [(1, "x // \\\" y".to_owned())]);
        assert!(source.code.contains("let b =") && source.code.contains("f::<'a>("));
        assert!(!source.code.contains("say") && !source.code.contains("out"));
        assert!(source.comments.contains("say \"z\"") && source.comments.contains("out */"));
        assert_eq!(source.code.lines().count(), 2);
    }

    #[test]
    fn raw_strings_end_at_their_own_quote() {
        let source = Source::parse("f(r#\"a \" b\"#, br\"\\\", \"c\", '\\'', '\\u{41}'); g()");
        let strings: Vec<_> = source.strings.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(strings, ["a \" b", "\\", "c"]);
        assert!(source.code.ends_with("g()"));
    }

    #[test]
    fn only_the_item_under_the_attribute_is_a_test() {
        let source =
            Source::parse("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod d;\n");
        let tests: Vec<_> = (1..=8).filter(|&line| source.is_test_line(line)).collect();
        assert_eq!(tests, [2, 3, 4, 5, 7, 8]);
        assert_eq!(source.lines_outside_tests(), 2);
        assert_eq!(source.test_modules, ["d"]);
    }
}
