//! Does the storm example do what it says? Runs its program with small fleets.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A small fleet that comes back on Stratified, and never with a constant wait.
const SMALL: [&str; 4] = ["--clients", "1000", "--capacity", "20"];

/// The program. Each test has its own folder for the pictures.
fn storm(test: &str, args: &[&str]) -> Command {
    let this = env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let program = profile.join("examples/storm");
    let program = program.with_extension(env::consts::EXE_EXTENSION);
    assert!(program.exists(), "first: cargo build --example storm");
    let mut command = Command::new(program);
    command.args(args).arg("--pictures").arg(pictures(test));
    command
}

fn pictures(test: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test)
}

#[test]
fn the_table_has_a_legend_and_a_conclusion() {
    let output = storm("conclusion", &SMALL).output().unwrap();
    assert!(output.status.success());
    let shown = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = shown.lines().collect();
    for column in ["half", "99 %", "all", "x limit", "tries", "peak", "wasted"] {
        let is_named = |line: &&&str| line.contains(column);
        let mut named = lines.iter().filter(is_named);
        assert!(named.any(|line| line.contains("peak  wasted")), "{column}");
        assert!(named.next().is_some(), "{column} is in the legend");
    }
    let start = "All clients are back soonest on stratified: ";
    let start = lines.iter().position(|line| line.starts_with(start));
    let end = lines[start.expect("a sentence in words") + 1];
    assert!(
        end.ends_with("(the limit is 50.0 s); on constant:2 they never are."),
        "{end}"
    );
    for picture in ["storm.svg", "storm.png"] {
        assert!(pictures("conclusion").join(picture).exists(), "{picture}");
    }
}

#[test]
fn the_table_and_the_help_fit_into_80_columns() {
    for args in [&SMALL[..], &["--help"]] {
        let output = storm("columns", args).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let is_path = |line: &&str| line.contains("columns");
        for line in shown.lines().filter(|line| !is_path(line)) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn an_impossible_number_is_refused_with_the_reason() {
    for (option, number, reason) in [
        (
            "--clients",
            "-1",
            "'-1' for '--clients <N>': needs at least 1 client",
        ),
        ("--clients", "0", "needs at least 1 client"),
        ("--clients", "5000000000", "too many clients"),
        ("--sweep-clients", "-1", "needs at least 1 client"),
        ("--outage", "-1", "a number of seconds from 0"),
        ("--seed", "-1", "invalid digit"),
        ("--capacity", "-3", "capacity is -3"),
        ("--capacity", "0", "capacity is 0"),
        ("--policy", "sequence:1,,2", "give numbers, with a comma"),
    ] {
        let output = storm("refused", &[option, number]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && errors.contains(reason),
            "{errors}"
        );
        assert!(!errors.contains("unexpected argument"), "{errors}");
    }
}

#[test]
fn the_program_ends_quietly_when_its_output_has_no_reader() {
    let args = [&SMALL[..], &["--policy", "constant:2"].repeat(50)].concat();
    let mut program = storm("quiet", &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(program.stdout.take().unwrap());
    // As `head -1` does.
    output.read_line(&mut String::new()).unwrap();
    drop(output);
    let mut errors = String::new();
    let mut stderr = program.stderr.take().unwrap();
    stderr.read_to_string(&mut errors).unwrap();
    let status = program.wait().unwrap();
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}
