//! Which module of the orchestrator may use which: the arrows of the architecture, held by a table.

use super::Finding;
use super::source::Token;
use super::tree::Tree;

const HOME: &str = "orchestrator/src/";

/// Each module, and the modules it may import besides itself.
const TABLE: [(&str, &[&str]); 10] = [
    ("domain", &[]),
    ("validate", &["domain"]),
    // Of `validate` only the judge and the brief, which are pure; what reads files there is not called from here.
    ("decide", &["domain", "validate"]),
    ("store", &["domain"]),
    ("spool", &["domain", "validate"]),
    // The spool is a part of the world that the live environment hands to the core.
    ("env", &["domain", "spool"]),
    ("telemetry", &["domain"]),
    ("config", &["domain", "validate", "spool"]),
    ("runtime", &["domain", "decide", "store", "env", "telemetry", "validate", "spool", "config"]),
    ("cli", &["domain", "decide", "store", "env", "telemetry", "validate", "spool", "config", "runtime"]),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, source) in tree.rust() {
        let Some(module) = module_path(&file.path) else { continue };
        let Some(name) = module.first().cloned() else { continue };
        let Some((_, allowed)) = TABLE.iter().find(|(known, _)| *known == name) else {
            let message = format!("module `{name}` has no row in the import table (ci/src/tidy/imports.rs)");
            found.push(Finding::new(&file.path, 1, message));
            continue;
        };
        for used in uses_of_root(module, &source.tokens()) {
            if used.text != name && !allowed.contains(&used.text.as_str()) {
                found.push(Finding::new(&file.path, used.line, complaint(&name, &used.text)));
            }
        }
    }
    found
}

fn complaint(module: &str, used: &str) -> String {
    if TABLE.iter().any(|(known, _)| *known == used) {
        format!("`{module}` must not use `{used}`")
    } else {
        format!("`{module}` uses `crate::{used}`; name the module it comes from, so that the import table sees it")
    }
}

/// The names of the modules from the crate's root down to the file; none for the roots themselves.
fn module_path(path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix(HOME)?.strip_suffix(".rs")?;
    if matches!(inside, "lib" | "main") {
        return None;
    }
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    Some(inside.split('/').map(str::to_owned).collect())
}

/// Every name that is looked up in the crate's root, by `crate::` or by enough `super::`.
fn uses_of_root(file: Vec<String>, tokens: &[Token]) -> Vec<Token> {
    let file_depth = file.len();
    let mut depth = 0_usize;
    // How deep the braces stood when each inline module was opened.
    let mut inline = Vec::new();
    let mut used = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "mod" if sign(tokens, at + 2) == "{" => inline.push(depth),
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.pop_if(|opened| *opened == depth);
            }
            "crate" if sign(tokens, at + 1) == "::" => used.extend(names(&tokens[at + 2..])),
            "super" => {
                let supers = tokens[at..].chunks(2).take_while(|pair| pair[0].text == "super").count();
                at += 2 * supers - 1;
                if supers == file_depth + inline.len() && sign(tokens, at) == "::" {
                    used.extend(names(&tokens[at + 1..]));
                }
            }
            _ => {}
        }
        at += 1;
    }
    used
}

fn sign(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| &token.text)
}

/// The first name after a path's `::`, or of every branch if a group follows.
fn names(tokens: &[Token]) -> Vec<Token> {
    if sign(tokens, 0) != "{" {
        return tokens.first().cloned().into_iter().collect();
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut is_start = false;
    for token in tokens {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth <= 1 => break,
            "}" => depth -= 1,
            _ if depth == 1 && is_start && (token.is_word() || token.text == "*") => names.push(token.clone()),
            _ => {}
        }
        is_start = depth == 1 && matches!(token.text.as_str(), "{" | ",");
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::check;

    #[test]
    fn what_the_table_allows_passes() {
        let files = [
            ("orchestrator/src/lib.rs", "pub use crate::domain::Id;"),
            ("orchestrator/src/main.rs", "use crate::cli;"),
            (
                "orchestrator/src/domain/id.rs",
                "use crate::domain::time;\nuse super::limits;\nuse super::super::domain;",
            ),
            (
                "orchestrator/src/decide/mod.rs",
                "use crate::{decide::a, domain::{store, cli}};\nmod t { use super::*; }",
            ),
            ("orchestrator/src/runtime/mod.rs", "use crate::{store, env};\nfn f() { crate::telemetry::g() }"),
            ("orchestrator/src/cli/run.rs", "use crate::runtime::Loop;"),
            ("chaos/src/lib.rs", "use crate::anything;"),
        ];
        assert_eq!(findings(check, &files), [""; 0]);
    }

    #[test]
    fn every_way_around_the_table_is_found() {
        let files = [
            ("orchestrator/src/domain/id.rs", "use crate::store::Store;\n\nfn f() { crate::env::now() }\n"),
            ("orchestrator/src/decide/mod.rs", "use crate::{domain::{a, b},\n store::{c, d},\n env};\n"),
            (
                "orchestrator/src/store/mod.rs",
                "use super::env;\nmod x {\n use super::super::cli;\n use super::y;\n}\nuse super::env;",
            ),
            (
                "orchestrator/src/env/tmux.rs",
                "// crate::store\nuse super::super::{domain, telemetry};\nuse super::a;\n",
            ),
            ("orchestrator/src/telemetry/mod.rs", "use crate::*;\nuse crate::Project;\n"),
            ("orchestrator/src/runtime/mod.rs", "use crate::cli;"),
            ("orchestrator/src/misc.rs", "fn f() {}"),
        ];
        assert_eq!(
            findings(check, &files),
            [
                "orchestrator/src/domain/id.rs:1",
                "orchestrator/src/domain/id.rs:3",
                "orchestrator/src/decide/mod.rs:2",
                "orchestrator/src/decide/mod.rs:3",
                "orchestrator/src/store/mod.rs:1",
                "orchestrator/src/store/mod.rs:3",
                "orchestrator/src/store/mod.rs:6",
                "orchestrator/src/env/tmux.rs:2",
                "orchestrator/src/telemetry/mod.rs:1",
                "orchestrator/src/telemetry/mod.rs:2",
                "orchestrator/src/runtime/mod.rs:1",
                "orchestrator/src/misc.rs:1",
            ]
        );
    }
}
