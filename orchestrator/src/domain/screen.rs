//! What of a screen is output, and what merely moves: spinners and counters show that a terminal is drawn, not that
//! work goes on. Pure.

/// A symbol that programs turn in place; each counts only where it stands alone, so that text keeps its meaning.
const SPINNERS: &str = "|/-\\+*·•∗✢✳✶✻✽✦✧◐◓◑◒◴◷◶◵◜◝◞◟▖▘▝▗←↖↑↗→↘↓↙";

/// The screen without what moves by itself: spinners, elapsed times and clocks, token counters, growing dots. Two
/// screens that differ in nothing else are equal after it.
#[must_use]
pub fn settled(screen: &str) -> String {
    let mut text = String::with_capacity(screen.len());
    for line in screen.lines() {
        let words: Vec<&str> = line.split_whitespace().map(core).filter(|word| !word.is_empty()).collect();
        let mut rest = words.as_slice();
        let mut first = true;
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            if is_counter(word) {
                continue;
            }
            // "345 tokens", "12 seconds": the number goes, and its unit with it.
            if is_number(word) && after.first().is_some_and(|unit| is_unit(unit)) {
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            if !first {
                text.push(' ');
            }
            first = false;
            text.push_str(word);
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// A word without brackets around it and dots after it, and nothing at all if it is a spinner.
fn core(word: &str) -> &str {
    let word =
        word.trim_matches(|c| matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';' | '\u{2800}'..='\u{28ff}'));
    let word = word.trim_end_matches(['.', '…']);
    let mut chars = word.chars();
    match (chars.next(), chars.next()) {
        (Some(only), None) if SPINNERS.contains(only) => "",
        _ => word,
    }
}

fn is_number(word: &str) -> bool {
    let word = word.trim_start_matches(['↑', '↓', '~']).trim_end_matches(['k', 'K', 'M']);
    word.starts_with(|c: char| c.is_ascii_digit()) && word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
}

fn is_unit(word: &str) -> bool {
    matches!(
        word,
        "token" | "tokens" | "s" | "sec" | "secs" | "second" | "seconds" | "min" | "minute" | "minutes" | "ms"
    )
}

/// An elapsed time (`12s`, `1m05s`, `2.5s`) or a clock (`0:07`, `1:02:03`).
fn is_counter(word: &str) -> bool {
    is_clock(word) || is_duration(word)
}

fn is_clock(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    matches!(parts.len(), 2 | 3)
        && parts.iter().all(|part| matches!(part.len(), 1 | 2) && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_duration(word: &str) -> bool {
    let mut rest = word;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        if number.len() == rest.len() || !rest.starts_with(|c: char| c.is_ascii_digit()) {
            return false;
        }
        let Some(unit) = ["ms", "min", "sec", "h", "m", "s"].iter().find_map(|unit| number.strip_prefix(unit)) else {
            return false;
        };
        rest = unit;
    }
    !word.is_empty()
}

#[cfg(test)]
mod tests {
    use super::settled;

    fn check_same(before: &str, after: &str) {
        assert_eq!(settled(before), settled(after), "{before:?} and {after:?}");
    }

    fn check_grown(before: &str, after: &str) {
        assert_ne!(settled(before), settled(after), "{before:?} and {after:?}");
    }

    #[test]
    fn a_spinner_that_turns_is_no_output() {
        check_same("⠋ Building", "⠙ Building");
        check_same("⠋Building", "⣾Building");
        for frame in ["|", "/", "-", "\\"] {
            check_same(&format!("Building {frame}"), "Building");
            check_same(&format!("[{frame}] Building"), "[|] Building");
        }
        check_same("✻ Thinking…", "✢ Thinking...");
        check_same("Working.", "Working...");
    }

    #[test]
    fn a_counter_that_runs_is_no_output() {
        check_same("Thinking (12s)", "Thinking (13s)");
        check_same("Thinking… (59s · esc to interrupt)", "Thinking… (1m 0s · esc to interrupt)");
        check_same("waited 1m05s", "waited 1h2m3s");
        check_same("elapsed 0:07", "elapsed 1:02:03");
        check_same("ran for 12 seconds", "ran for 13 seconds");
        check_same("✶ Brewing (9s · ↑ 345 tokens)", "✽ Brewing (10s · ↑ 1.2k tokens)");
        check_same("(↓1,204 tokens)", "(↓1,399 tokens)");
    }

    #[test]
    fn what_is_written_is_output() {
        check_grown("test 12 of 500", "test 13 of 500");
        check_grown("45%", "46%");
        check_grown("a", "a\nb");
        check_grown("[==>   ]", "[===>  ]");
        check_grown("a - b", "a - c");
        check_grown("src/main.rs:12", "src/main.rs:13");
        check_grown("HTTP 404", "HTTP 500");
        check_grown("v1.2.3s-rc", "v1.2.4s-rc");
        assert_eq!(settled("exit status 1\n\n"), "exit status 1");
    }

    proptest::proptest! {
        #[test]
        fn no_screen_makes_it_panic_or_grow(screen: String) {
            let once = settled(&screen);
            proptest::prop_assert!(once.chars().count() <= screen.chars().count() + 1);
        }
    }
}
