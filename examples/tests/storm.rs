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

/// The lines that the program prints, without those with the pictures' paths.
fn lines(test: &str, args: &[&str]) -> Vec<String> {
    let output = storm(test, args).output().unwrap();
    assert!(output.status.success(), "{args:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let lines = shown.lines().filter(|line| !line.contains(test));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_tables_and_the_help_fit_into_80_columns() {
    let mixed = "0.9*stratified+0.1*constant:20";
    for args in [
        &SMALL[..],
        &["--help"],
        // Numbers that are too large or too small for their columns.
        &["--clients", "500", "--capacity", "1e9"],
        &["--clients", "50", "--capacity", "1e300"],
        &["--clients", "50", "--capacity", "0.5", "--policy", mixed],
        &[
            "--clients",
            "50",
            "--sweep",
            "--sweep-clients",
            "50",
            "--policy",
            mixed,
        ],
    ] {
        for line in lines("columns", args) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn each_number_stands_under_the_name_of_its_column() {
    for capacity in ["1e300", "1e9", "20", "0.5"] {
        let args = [
            "--clients",
            "500",
            "--capacity",
            capacity,
            "--policy",
            "stratified",
        ];
        let lines = lines("under", &args);
        let head = lines.iter().position(|line| line.contains("peak  wasted"));
        let [head, row] = [0, 1].map(|below| &lines[head.unwrap() + below]);
        assert_eq!(head.chars().count(), row.chars().count(), "{head}\n{row}");
        for name in ["half", "99 %", "x limit", "tries", "peak"] {
            let end = head.find(name).unwrap() + name.len();
            assert!(
                !row[..end].ends_with(' ') && row[end..].starts_with(' '),
                "{name}: {row}"
            );
        }
    }
}

#[test]
fn policies_that_are_equally_soon_are_named_together() {
    // A cheap server shows nothing to clients that know their phases.
    let args = [
        "--server",
        "cheap",
        "--policy",
        "stratified",
        "--policy",
        "phases",
    ];
    let both = lines("ties", &[&SMALL[..], &args].concat());
    let start = "All clients are back equally soon on stratified and phases: ";
    assert!(both.iter().any(|line| line.starts_with(start)), "{both:#?}");
    let three = lines(
        "equal",
        &[&SMALL[..], &args, &["--policy", "full"]].concat(),
    );
    let start = "All clients are back soonest on stratified and phases: ";
    assert!(
        three.iter().any(|line| line.starts_with(start)),
        "{three:#?}"
    );
    let never = lines("ties", &[&SMALL[..], &["--policy", "constant:1"]].concat());
    let words = "Not all clients came back in the simulated time on constant:1 (";
    let never = never.iter().find(|line| line.starts_with(words));
    assert!(never.unwrap().ends_with(" did)."), "{never:?}");
}

#[test]
fn patience_applies_to_clients_that_know_their_phases() {
    // A queue that is deeper than the patience of such clients.
    let deep = [
        "--clients",
        "500",
        "--capacity",
        "2",
        "--server",
        "stale:300",
        "--policy",
        "phases",
    ];
    let row = |patience: &[&str]| {
        let lines = lines("patience", &[&deep, patience].concat());
        lines
            .into_iter()
            .find(|line| line.starts_with("phases"))
            .unwrap()
    };
    assert_ne!(row(&[]), row(&["--patience", "1"]));
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
        ("--policy", "stratified:1,2", "which numbers a policy takes"),
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
