//! Do the examples end well when nobody reads them any more?

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

/// Starts an example, and returns its output.
fn start(example: &str) -> (Child, BufReader<ChildStdout>) {
    let this = env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let program: PathBuf = profile.join("examples").join(example);
    let program = program.with_extension(env::consts::EXE_EXTENSION);
    assert!(program.exists(), "first: cargo build --example {example}");
    let mut program = Command::new(program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(program.stdout.take().unwrap());
    (program, output)
}

/// Waits until something is so.
fn until(mut is_so: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "not in {LONG:?}: {what}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_example_ends_without_a_word_if_its_output_has_no_reader() {
    let examples = [
        "blocking",
        "drain",
        "failover",
        "pool",
        "slots",
        "supervised",
    ];
    for example in examples {
        let (mut program, mut output) = start(example);
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{example}");
        drop(output);
        until(|| program.try_wait().unwrap().is_some(), example);
        let mut said = String::new();
        let errors = program.stderr.as_mut().unwrap();
        errors.read_to_string(&mut said).unwrap();
        assert_eq!(said, "", "{example}");
        assert!(program.wait().unwrap().success(), "{example}");
    }
}

#[test]
fn the_servers_of_failover_end_if_it_is_killed() {
    let (mut program, mut output) = start("failover");
    let mut line = String::new();
    while !line.starts_with("  trying ") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the end");
    }
    let server: SocketAddr = line["  trying ".len()..].trim().parse().unwrap();
    until(|| TcpStream::connect(server).is_ok(), "it listens");
    program.kill().unwrap();
    program.wait().unwrap();
    until(|| TcpStream::connect(server).is_err(), "it is gone");
}
