//! Every example runs and says what its README says.

use std::process::{Command, Stdio};

/// Runs an example to its end and gives what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    text
}

#[test]
fn hello() {
    let folder = tempfile::tempdir().unwrap();
    let registry = format!("--registry=file://{}", folder.path().display());
    let mut server = Command::new(env!("CARGO_BIN_EXE_hello-server"))
        .arg(&registry)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let client = env!("CARGO_BIN_EXE_hello-client");
    let begun = tokio::time::Instant::now();
    let said = loop {
        let output = Command::new(client)
            .args(["Ann", &registry])
            .output()
            .unwrap();
        if output.status.success() {
            break String::from_utf8(output.stdout).unwrap();
        }
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(begun.elapsed().as_secs() < 30, "{error}");
    };
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(said, "Hello, Ann!\n");
}

#[test]
fn failover() {
    let text = run(env!("CARGO_BIN_EXE_failover"), &[]);
    assert!(text.contains("attempt 0 of / on greeter-1: code"), "{text}");
    assert!(text.contains("116 calls answered, 0 failed"), "{text}");
}

#[test]
fn canary() {
    let text = run(env!("CARGO_BIN_EXE_canary"), &[]);
    let calls = |version: &str| -> u32 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(version))
            .unwrap();
        line.trim_start_matches(": ")
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    assert_eq!(calls("1.0") + calls("2.0"), 2000);
    // Five standard deviations around 200.
    assert!((133..=267).contains(&calls("2.0")), "{text}");
}

#[test]
fn tonic() {
    let text = run(env!("CARGO_BIN_EXE_tonic"), &[]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "Hello, Ann!");
    assert_eq!(lines[1], "InvalidArgument: nobody to greet");
    assert!(
        lines[2].starts_with("NotFound: ") && lines[2].contains("nobody"),
        "{text}"
    );
}

#[test]
fn reqwest() {
    let text = run(env!("CARGO_BIN_EXE_reqwest"), &[]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "asked for \"greeter\"");
    assert!(lines[1].contains("nobody"), "{text}");
}

#[test]
fn budget() {
    let text = run(env!("CARGO_BIN_EXE_budget"), &[]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "code 408");
    assert_eq!(lines[1], "first: begun 1, finished 0");
    assert_eq!(lines[2], "second: begun 1, finished 0");
    assert_eq!(lines[3], "third: begun 0, finished 0");
}
