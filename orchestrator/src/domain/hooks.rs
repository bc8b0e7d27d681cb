//! Putting our hooks into a settings file of Claude Code that somebody else owns. Pure.
//!
//! Invariants:
//! - INV-H1: outside our own entries and the lists they stand in, not a byte changes: order, numbers, repeated keys,
//!   line ends and a byte order mark stay. The file is cut at the places that change, never written from a model.
//! - INV-H2: merging a merged file changes nothing.
//! - INV-H3: what cannot be understood in full is refused, not mended: comments, trailing commas, a `hooks` that is
//!   no object.
//!
//! Entries of ours are known by [`MARK`] in their command. Older ones, also under other events, go; foreign entries of
//! the same event stay as they are, before ours.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;
use std::ops::Range;
use thiserror::Error;

/// What every command of ours ends with, before its version; a comment to the shell.
pub const MARK: &str = "# orch hook";

/// Why a file is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HooksError {
    /// Not text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Not JSON.
    #[error("it is not valid JSON ({0}); comments and trailing commas are not allowed there")]
    NotJson(String),
    /// A part is not of the kind that Claude Code defines.
    #[error("{part} is not {kind}")]
    Shape {
        /// Which part.
        part: String,
        /// What it must be.
        kind: &'static str,
    },
    /// A key that we would have to add to is there twice.
    #[error("{0} is there more than once")]
    Repeated(String),
}

/// The members of a JSON object, in their order, values as written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

impl<'a> Members<'a> {
    fn of(object: &'a RawValue, part: &str) -> Result<Self, HooksError> {
        let shape = |_| HooksError::Shape { part: part.to_owned(), kind: "an object" };
        serde_json::from_str(object.get()).map_err(shape)
    }

    fn get(&self, key: &str) -> Result<Option<&'a RawValue>, HooksError> {
        let mut found = self.0.iter().filter(|(name, _)| name == key);
        match (found.next(), found.next()) {
            (one, None) => Ok(one.map(|(_, value)| *value)),
            (_, Some(_)) => Err(HooksError::Repeated(key.to_owned())),
        }
    }
}

/// The file's new text, or `None` if it is as it should be. `ours` is a settings file with our hooks alone, its
/// indentation two spaces; a missing or blank file becomes it.
///
/// # Errors
/// [`HooksError`]: the file is to be left alone.
pub fn merge(existing: Option<&[u8]>, ours: &str) -> Result<Option<String>, HooksError> {
    let text = std::str::from_utf8(existing.unwrap_or_default()).map_err(|_| HooksError::NotUtf8)?;
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    if body.trim().is_empty() {
        return Ok(Some(ours.to_owned()));
    }
    let wanted =
        Members::of(parse(ours)?, "ours")?.get("hooks")?.map(|hooks| Members::of(hooks, "ours")).transpose()?;
    let wanted = wanted.unwrap_or(Members(Vec::new()));
    let mut file = File { text, newline: if body.contains("\r\n") { "\r\n" } else { "\n" }, edits: Vec::new() };
    let whole = parse(body)?;
    let top = Members::of(whole, "it")?;
    if let Some(hooks) = top.get("hooks")? {
        file.merge_hooks(hooks, &wanted)?;
    } else {
        // Our own text is well formed, so it has the one member.
        let hooks = Members::of(parse(ours)?, "ours")?.get("hooks")?.map_or("{}", RawValue::get);
        file.add(whole, &top, &[("hooks".to_owned(), hooks)], 1);
    }
    Ok(file.edited())
}

fn parse(text: &str) -> Result<&RawValue, HooksError> {
    serde_json::from_str(text).map_err(|error| HooksError::NotJson(error.to_string()))
}

fn list<'a>(value: &'a RawValue, part: &str) -> Result<Vec<&'a RawValue>, HooksError> {
    let shape = |_| HooksError::Shape { part: part.to_owned(), kind: "a list" };
    serde_json::from_str(value.get()).map_err(shape)
}

/// A text and what is to change in it.
struct File<'a> {
    text: &'a str,
    newline: &'static str,
    edits: Vec<(Range<usize>, String)>,
}

impl File<'_> {
    /// Where a value that was read from the text stands in it.
    fn place(&self, value: &RawValue) -> Range<usize> {
        let start = value.get().as_ptr().addr() - self.text.as_ptr().addr();
        start..start + value.get().len()
    }

    fn edited(mut self) -> Option<String> {
        if self.edits.is_empty() {
            return None;
        }
        // From the end, so that earlier places stay true.
        self.edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
        let mut text = self.text.to_owned();
        for (place, new) in self.edits {
            text.replace_range(place, &new);
        }
        Some(text)
    }

    /// Adds members at the end of an object that is `depth` deep.
    fn add(&mut self, object: &RawValue, members: &Members<'_>, new: &[(String, &str)], depth: usize) {
        let (newline, indent) = (self.newline, "  ".repeat(depth));
        let lines: Vec<String> = new
            .iter()
            .map(|(key, value)| format!("{newline}{indent}\"{key}\": {}", value.replace('\n', newline)))
            .collect();
        let lines = lines.join(",");
        match members.0.last() {
            Some((_, last)) => {
                let end = self.place(last).end;
                self.edits.push((end..end, format!(",{lines}")));
            }
            None => {
                let outer = "  ".repeat(depth - 1);
                self.edits.push((self.place(object), format!("{{{lines}{newline}{outer}}}")));
            }
        }
    }

    fn merge_hooks(&mut self, hooks: &RawValue, wanted: &Members<'_>) -> Result<(), HooksError> {
        let there = Members::of(hooks, "hooks")?;
        let mut missing = Vec::new();
        for (event, ours) in &wanted.0 {
            match there.get(event)? {
                Some(groups) => self.merge_event(groups, list(groups, &format!("hooks.{event}"))?, &list(ours, event)?),
                None => missing.push((event.clone(), ours.get())),
            }
        }
        for (event, groups) in &there.0 {
            // Whatever is under an event that we do not use is not judged; only what is known as ours goes.
            if !wanted.0.iter().any(|(name, _)| name == event)
                && let Ok(entries) = list(groups, event)
            {
                self.merge_event(groups, entries, &[]);
            }
        }
        if !missing.is_empty() {
            self.add(hooks, &there, &missing, 2);
        }
        Ok(())
    }

    fn merge_event(&mut self, place: &RawValue, groups: Vec<&RawValue>, ours: &[&RawValue]) {
        let kept: Vec<Option<String>> = groups.iter().map(|group| without_ours(group)).collect();
        let foreign = kept.iter().take_while(|kept| kept.is_some()).count();
        let (head, tail) = groups.split_at(foreign);
        let unmixed = head.iter().zip(&kept).all(|(group, kept)| kept.as_deref() == Some(group.get()));
        let same = |(one, other): (&&RawValue, &&RawValue)| value(one).is_some() && value(one) == value(other);
        if unmixed && tail.len() == ours.len() && tail.iter().zip(ours).all(same) {
            return;
        }
        let newline = self.newline;
        let entries: Vec<String> = kept
            .into_iter()
            .flatten()
            .chain(ours.iter().map(|group| group.get().replace('\n', newline)))
            .map(|group| format!("{newline}      {group}"))
            .collect();
        let close = if entries.is_empty() { String::new() } else { format!("{newline}    ") };
        self.edits.push((self.place(place), format!("[{}{close}]", entries.join(","))));
    }
}

fn value(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).ok()
}

fn is_ours(hook: &RawValue) -> bool {
    let hook = value(hook);
    hook.is_some_and(|hook| hook.get("command").and_then(Value::as_str).is_some_and(|it| it.contains(MARK)))
}

/// A group of hooks as written, without entries of ours; `None` if nothing else is in it.
fn without_ours(group: &RawValue) -> Option<String> {
    let as_written = || Some(group.get().to_owned());
    let Ok(members) = Members::of(group, "a group") else { return as_written() };
    let Ok(Some(hooks)) = members.get("hooks") else { return as_written() };
    let Ok(entries) = list(hooks, "hooks") else { return as_written() };
    let foreign: Vec<&str> = entries.iter().filter(|entry| !is_ours(entry)).map(|entry| entry.get()).collect();
    if foreign.len() == entries.len() {
        return as_written();
    }
    if foreign.is_empty() {
        return None;
    }
    let start = hooks.get().as_ptr().addr() - group.get().as_ptr().addr();
    let mut text = group.get().to_owned();
    text.replace_range(start..start + hooks.get().len(), &format!("[{}]", foreign.join(", ")));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const OURS: &str = r#"{
  "hooks": {
    "Stop": [
      {
        "hooks": [
          {
            "command": "idle # orch hook 2"
          }
        ]
      }
    ],
    "Notification": [
      {
        "matcher": "permission_prompt",
        "hooks": [
          {
            "command": "ask # orch hook 2"
          }
        ]
      }
    ]
  }
}
"#;

    fn stop() -> Value {
        json!({ "hooks": [{ "command": "idle # orch hook 2" }] })
    }

    fn asked() -> Value {
        json!({ "matcher": "permission_prompt", "hooks": [{ "command": "ask # orch hook 2" }] })
    }

    fn merged(existing: &str) -> String {
        let text = merge(Some(existing.as_bytes()), OURS).unwrap().unwrap_or_else(|| existing.to_owned());
        assert_eq!(merge(Some(text.as_bytes()), OURS), Ok(None), "again: {text}");
        text
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn nothing_becomes_ours() {
        assert_eq!(merge(None, OURS), Ok(Some(OURS.to_owned())));
        for blank in ["", " \r\n\t", "\u{feff}", "\u{feff}\n"] {
            assert_eq!(merge(Some(blank.as_bytes()), OURS), Ok(Some(OURS.to_owned())), "{blank:?}");
        }
        assert_eq!(merge(Some(OURS.as_bytes()), OURS), Ok(None));
        assert_eq!(read(&merged("{}")), read(OURS));
        assert_eq!(read(&merged(r#" { "hooks" : { } } "#)), read(OURS));
    }

    #[test]
    fn only_permissions_stay_byte_for_byte() {
        let there = "{\n  \"permissions\": {\n    \"allow\": [\"Bash(git:*)\"],   \"deny\": []\n  }\n}\n";
        let hooks = &OURS[OURS.find("\"hooks\"").unwrap()..];
        let expected = there.replace("\n  }\n}\n", &format!("\n  }},\n  {hooks}"));
        assert_eq!(merged(there), expected);
    }

    #[test]
    fn what_a_model_would_lose_stays() {
        let there =
            r#"{"z":1.10,"a":123456789012345678901234567890,"z":1e400,"e":"\u00e9\/","hooks":{"b":null},"d":-0}"#;
        let text = merged(there);
        let (head, tail) = there.split_once(r#"null}"#).unwrap();
        assert!(text.starts_with(&format!("{head}null,\n    \"Stop\": [")), "{text}");
        assert!(text.ends_with(&format!("]\n    }}{}", &tail)) || text.ends_with(&format!("]}}{tail}")), "{text}");
    }

    #[test]
    fn a_byte_order_mark_and_line_ends_stay() {
        let text = merged("\u{feff}{\r\n  \"model\": \"opus\",\r\n  \"hooks\": {\r\n    \"Stop\": []\r\n  }\r\n}\r\n");
        assert!(text.starts_with("\u{feff}{\r\n  \"model\": \"opus\",\r\n"), "{text:?}");
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text:?}");
        assert_eq!(read(&text)["hooks"], read(OURS)["hooks"]);
    }

    #[test]
    fn foreign_hooks_stay_before_ours_and_older_ones_of_ours_go() {
        let check = |stop_there: Value, expected: Value| {
            let there = json!({ "hooks": { "Stop": stop_there, "PreCompact": [{ "hooks": [] }] } });
            for there in [there.to_string(), serde_json::to_string_pretty(&there).unwrap()] {
                let hooks = read(&merged(&there))["hooks"].clone();
                assert_eq!(hooks["Stop"], expected, "{there}");
                assert_eq!(hooks["Notification"], json!([asked()]));
                assert_eq!(hooks["PreCompact"], json!([{ "hooks": [] }]));
            }
        };
        let foreign =
            json!({ "matcher": "Bash", "hooks": [{ "type": "command", "command": "say done", "timeout": 5 }] });
        let old = json!({ "matcher": "*", "hooks": [{ "command": "x # orch hook 1" }] });
        let mixed = json!({ "m": 1, "hooks": [{ "command": "x # orch hook 1" }, { "command": "say" }] });
        check(json!([]), json!([stop()]));
        check(json!([foreign]), json!([foreign, stop()]));
        check(json!([old, foreign]), json!([foreign, stop()]));
        check(json!([stop(), foreign]), json!([foreign, stop()]));
        check(json!([stop(), stop()]), json!([stop()]));
        check(json!([foreign, old, stop()]), json!([foreign, stop()]));
        check(json!([mixed, stop()]), json!([{ "m": 1, "hooks": [{ "command": "say" }] }, stop()]));
        check(json!([1, null, {}, { "hooks": 3 }]), json!([1, null, {}, { "hooks": 3 }, stop()]));
    }

    #[test]
    fn ours_under_an_event_that_is_no_longer_used_goes() {
        let there = r##"{"hooks":{"SubagentStop":[{"hooks":[{"command":"x # orch hook 1"}]}],"Other":"text"}}"##;
        let hooks = read(&merged(there))["hooks"].clone();
        assert_eq!((&hooks["SubagentStop"], &hooks["Other"]), (&json!([]), &json!("text")));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let check = |there: &[u8], expected: &str| {
            let error = merge(Some(there), OURS).expect_err("must be refused").to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check(b"{ // mine\n}", "it is not valid JSON (key must be a string at line 1 column 3); comments and trailing");
        check(
            b"{ \"a\": 1, }",
            "it is not valid JSON (key must be a string at line 1 column 11); comments and trailing",
        );
        check(b"{} {}", "it is not valid JSON (trailing characters");
        check(b"{", "it is not valid JSON (EOF");
        check(b"\xff{}", "it is not UTF-8");
        check(b"[]", "it is not an object");
        check(b"null", "it is not an object");
        check(br#"{"hooks":null}"#, "hooks is not an object");
        check(br#"{"hooks":{},"hooks":{}}"#, "hooks is there more than once");
        check(br#"{"hooks":{"Stop":{}}}"#, "hooks.Stop is not a list");
        check(br#"{"hooks":{"Stop":[],"Stop":[]}}"#, "Stop is there more than once");
    }

    #[test]
    fn a_large_and_a_deep_file_are_merged() {
        let allow: Vec<String> = (0..40_000).map(|number| format!("\"Bash(tool {number:>10}:*)\"")).collect();
        let there = format!("{{\"permissions\":{{\"allow\":[{}]}}}}", allow.join(","));
        assert!(there.len() > 1_000_000);
        assert!(merged(&there).starts_with(&there[..there.len() - 1]));
        let deep = format!(
            "{{\"a\":{}{},\"hooks\":{{\"Stop\":[{}{}]}}}}",
            "[".repeat(5_000),
            "]".repeat(5_000),
            "[".repeat(500),
            "]".repeat(500)
        );
        assert!(merged(&deep).contains("idle # orch hook 2"));
    }

    /// Without what is ours, and without the keys that adding ours made.
    fn foreign_of(mut settings: Value) -> Value {
        let is_foreign = |hook: &Value| !hook["command"].as_str().is_some_and(|command| command.contains(MARK));
        let Some(events) = settings.get_mut("hooks").and_then(Value::as_object_mut) else { return settings };
        for groups in events.values_mut().filter_map(Value::as_array_mut) {
            groups.retain_mut(|group| {
                let Some(hooks) = group.get_mut("hooks").and_then(Value::as_array_mut) else { return true };
                let before = hooks.len();
                hooks.retain(is_foreign);
                hooks.len() == before || !hooks.is_empty()
            });
        }
        events.retain(|_, groups| groups != &json!([]));
        let none = events.is_empty();
        if none {
            settings.as_object_mut().expect("an object").remove("hooks");
        }
        settings
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    fn any_group() -> impl Strategy<Value = Value> {
        let command =
            prop_oneof![any::<String>(), Just("x # orch hook 1".to_owned()), Just("idle # orch hook 2".to_owned())];
        let hooks = prop::collection::vec(command.prop_map(|command| json!({ "command": command })), 0..3);
        prop_oneof![any_value(), Just(stop()), Just(asked()), hooks.prop_map(|hooks| json!({ "hooks": hooks }))]
    }

    fn any_settings() -> impl Strategy<Value = Value> {
        let event = prop::sample::select(vec!["Stop", "Notification", "PreToolUse", "SubagentStop"]);
        let events = prop::collection::btree_map(event, prop::collection::vec(any_group(), 0..4), 0..4);
        let rest = prop::collection::btree_map(any::<String>(), any_value(), 0..4);
        (rest, prop::option::of(events)).prop_map(|(rest, events)| {
            let mut settings: Value = rest.into_iter().filter(|(key, _)| key != "hooks").collect();
            if let Some(events) = events {
                settings["hooks"] = json!(events);
            }
            settings
        })
    }

    proptest! {
        #[test]
        fn merging_is_idempotent_and_loses_nothing_foreign(settings in any_settings(), pretty: bool, crlf: bool) {
            let mut there =
                if pretty { serde_json::to_string_pretty(&settings).unwrap() } else { settings.to_string() };
            if crlf {
                there = there.replace('\n', "\r\n");
            }
            let after = read(&merged(&there));
            prop_assert_eq!(foreign_of(after.clone()), foreign_of(settings));
            let last = |event: &str| after["hooks"][event].as_array().and_then(|groups| groups.last().cloned());
            prop_assert_eq!((last("Stop"), last("Notification")), (Some(stop()), Some(asked())));
            prop_assert_eq!(after.to_string().matches("orch hook 2").count(), 2);
            prop_assert!(!after.to_string().contains("orch hook 1"));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), there in any_settings(), cut: prop::sample::Index) {
            drop(merge(Some(&bytes), OURS));
            let text = there.to_string();
            drop(merge(Some(&text.as_bytes()[..cut.index(text.len())]), OURS));
        }
    }
}
