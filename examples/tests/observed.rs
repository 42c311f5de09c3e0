//! Does the page of the example `observed` have what its panels draw?

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use serde_json::Value;

/// The program, which ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(page: SocketAddr) -> Program {
    let this = env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let program: PathBuf = profile.join("examples/observed");
    let program = program.with_extension(env::consts::EXE_EXTENSION);
    assert!(program.exists(), "first: cargo build --example observed");
    let mut command = Command::new(program);
    command.arg(page.to_string()).stderr(Stdio::null());
    Program(command.spawn().unwrap())
}

/// The page, as Prometheus gets it; `None` if nobody serves it yet.
fn scrape(page: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(page).ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Some(answer)
}

/// All queries of all panels.
fn queries() -> Vec<String> {
    let board = include_str!("../observed/grafana.json");
    let board: Value = serde_json::from_str(board).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    let query = |target: &Value| target["expr"].as_str().unwrap().to_owned();
    targets.map(query).collect()
}

/// The names of redial's metrics and labels in a text.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("redial_"))
        .collect()
}

#[test]
fn every_name_in_the_panels_is_on_the_page() {
    let page = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let _program = start(page);
    let queries = queries();
    assert!(queries.len() >= 6);
    let mut wanted: BTreeSet<&str> = queries.iter().flat_map(|query| names(query)).collect();
    // This server never makes its client give up.
    for never in ["redial_give_ups_total", "redial_reason"] {
        assert!(wanted.remove(never));
    }
    let begun = Instant::now();
    loop {
        let answer = scrape(page).unwrap_or_default();
        let names = names(&answer);
        if wanted.is_subset(&names) {
            break;
        }
        let missing: Vec<_> = wanted.difference(&names).collect();
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "no {missing:?} in {answer}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}
