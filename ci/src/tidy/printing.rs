//! Only the command lines print: what a library prints cannot be redirected, silenced or tested by its caller.

use super::Finding;
use super::tree::Tree;

const MACROS: [&str; 4] = ["println", "eprintln", "print", "eprint"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, source) in tree.rust().filter(|(file, _)| !may_print(&file.path)) {
        for pair in source.tokens().windows(2) {
            let [name, sign] = pair else { continue };
            if sign.text == "!" && MACROS.contains(&name.text.as_str()) && !file.is_test_line(name.line) {
                let message = format!("{}! outside the command line; return it, or log it", name.text);
                found.push(Finding::new(&file.path, name.line, message));
            }
        }
    }
    found
}

fn may_print(path: &str) -> bool {
    let inside = |folder: &str| path.split_once(folder).is_some_and(|(_, rest)| rest.starts_with('/') || rest == ".rs");
    path.starts_with("ci/") || path.ends_with("/src/main.rs") || inside("/src/cli") || inside("chaos/src/report")
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use super::check;

    #[test]
    fn printing_is_found_outside_the_command_lines() {
        let text = "fn f() {\n    println!(\"a\");\n    std::eprint!(\"b\");\n}\n";
        let files = [
            ("orchestrator/src/runtime/mod.rs", text),
            ("orchestrator/src/cli/output.rs", text),
            ("orchestrator/src/client.rs", text),
            ("orchestrator/src/main.rs", text),
            ("chaos/src/report/text.rs", text),
            ("chaos/src/cli.rs", text),
            ("chaos/tests/main.rs", text),
            ("ci/src/steps.rs", text),
            ("chaos/src/lib.rs", "// println!\nfn f() { log(\"println!\"); writeln!(out); pretty_print!(); }"),
        ];
        assert_eq!(
            findings(check, &files),
            [
                "orchestrator/src/runtime/mod.rs:2",
                "orchestrator/src/runtime/mod.rs:3",
                "orchestrator/src/client.rs:2",
                "orchestrator/src/client.rs:3",
            ]
        );
    }
}
