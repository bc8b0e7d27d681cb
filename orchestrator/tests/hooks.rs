//! The hooks that Claude Code gets, run as it runs them: by a shell, with what happened as JSON on standard input.

use orchestrator::domain::event::Report;
use orchestrator::domain::id::{Epoch, ProjectId, RoleName};
use orchestrator::spool;
use orchestrator::validate::{brief, hooks};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const TOKEN: &str = "00112233445566778899aabbccddeeff";

fn command_of(event: &str) -> String {
    let settings: Value = serde_json::from_str(&hooks::settings()).expect("JSON");
    settings["hooks"][event][0]["hooks"][0]["command"].as_str().expect("a command").to_owned()
}

fn run(event: &str, env: &BTreeMap<&str, String>, input: &Value) -> Output {
    let mut child = Command::new("sh")
        .args(["-c", &command_of(event)])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").expect("a PATH"))
        .envs(env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    // A hook that does not read its input may have ended before.
    drop(child.stdin.take().expect("piped").write_all(input.to_string().as_bytes()));
    child.wait_with_output().expect("its output")
}

/// The environment of an agent that reports into `spool`.
fn agent(spool: &Path, orch: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("ORCH_PROJECT", "7".to_owned()),
        ("ORCH_ROLE", "developer".to_owned()),
        ("ORCH_EPOCH", "2".to_owned()),
        ("ORCH_INSTANCE", TOKEN.to_owned()),
        ("ORCH_SPOOL", spool.display().to_string()),
        ("ORCH_BIN", orch.to_owned()),
    ])
}

fn silent(output: &Output) {
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn every_hook_reports_what_it_is_for() {
    let line = brief::brief_line(&RoleName("developer".to_owned()), ProjectId(7), Epoch(2));
    let check = |event: &str, input: Value, due: Report| {
        let dir = tempfile::tempdir().unwrap();
        silent(&run(event, &agent(dir.path(), env!("CARGO_BIN_EXE_orch")), &input));
        let records = spool::list(dir.path()).unwrap();
        let reports: Vec<Report> = records.iter().map(|path| spool::read(path).unwrap().report).collect();
        assert_eq!(reports, [due], "{event} {input}");
    };
    check("SessionStart", json!({ "source": "startup" }), Report::Progress(None));
    check("UserPromptSubmit", json!({ "cwd": "/w", "prompt": line }), Report::Ack);
    check("UserPromptSubmit", json!({ "cwd": "/w", "prompt": format!(" {line}\n") }), Report::Ack);
    check("UserPromptSubmit", json!({ "cwd": "/w/.orch", "prompt": "What is this?" }), Report::Progress(None));
    check("PreToolUse", json!({ "tool_name": "Bash" }), Report::Progress(None));
    check("PostToolUse", json!({ "tool_response": "x".repeat(1 << 20) }), Report::Progress(None));
    check("Stop", json!({ "stop_hook_active": false }), Report::Idle);
    check("Notification", json!({ "message": "?" }), Report::NeedsInput(Some("Claude Code asks".to_owned())));
}

#[test]
fn no_hook_ever_fails_or_speaks() {
    let events = ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "Notification"];
    let dir = tempfile::tempdir().unwrap();
    let mut nobody = agent(dir.path(), env!("CARGO_BIN_EXE_orch"));
    nobody.insert("ORCH_ROLE", "no role".to_owned());
    let mut elsewhere = agent(dir.path(), env!("CARGO_BIN_EXE_orch"));
    elsewhere.remove("ORCH_INSTANCE");
    for event in events {
        for env in [&BTreeMap::new(), &elsewhere, &nobody, &agent(dir.path(), "/no/such/orch"), &agent(dir.path(), "")]
        {
            silent(&run(event, env, &json!({ "prompt": "Read .orch/brief.md and follow it" })));
        }
    }
    assert_eq!(spool::list(dir.path()).unwrap_or_default(), [""; 0].map(std::path::PathBuf::from));
}
