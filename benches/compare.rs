//! Prints the results of the benchmarks as the table of `src/docs/compare.md`.
//!
//! Reads the files that `cargo bench` writes under `target/criterion`;
//! `.ci/compare` runs both. Each figure is the fastest of criterion's samples,
//! because other programs on the machine can only slow a sample down. If threads
//! contend, the figure is the median: in the fastest samples they happened not to
//! contend. Wrappers take turns with the bare connection, and their ratio is the
//! median of the ratios of all turns.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use redial_benches::median;
use serde_json::Value;

/// One or more rows of the table: each variant of ours and the fastest peer.
struct Question {
    text: &'static str,
    /// Criterion's name of the benchmark group.
    group: &'static str,
    /// Criterion's names of our variants, and the names that the table shows.
    ours: &'static [(&'static str, &'static str)],
    /// Criterion's names of the peers to compare with; empty for all peers.
    peers: &'static [&'static str],
    bar: Bar,
    /// How many of the row's operations one iteration performs.
    each: f64,
}

enum Bar {
    /// The highest ratio of our time to the peer's time.
    Ratio(f64),
    /// The same, for samples that took turns with the peer's samples.
    InTurns(f64),
    /// The most nanoseconds that we may take beyond the peer's time.
    Over(f64),
    /// No bar: the row only informs.
    None,
}

const DELAYS: &[(&str, &str)] = &[
    ("redial Stratified", "`Stratified`"),
    ("redial Exponential Full", "`Exponential`, full jitter"),
    ("redial Exponential Equal", "`Exponential`, equal jitter"),
    (
        "redial Exponential Proportional",
        "`Exponential`, proportional jitter",
    ),
    ("redial Decorrelated", "`Decorrelated`"),
    ("redial Sequence", "`Sequence`"),
    ("redial TokenBucket", "`TokenBucket`"),
];
const REDIAL: &[(&str, &str)] = &[("redial", "")];
const LIMIT: &[&str] = &["limit"];

const fn wrapped(text: &'static str, group: &'static str) -> Question {
    Question {
        text,
        group,
        ours: REDIAL,
        peers: LIMIT,
        bar: Bar::InTurns(1.01),
        each: 1.0,
    }
}

const fn tokens(
    text: &'static str,
    group: &'static str,
    ours: &'static [(&'static str, &'static str)],
    peers: &'static [&'static str],
    bar: f64,
) -> Question {
    Question {
        text,
        group,
        ours,
        peers,
        bar: Bar::Ratio(bar),
        each: 1.0,
    }
}

const QUESTIONS: &[Question] = &[
    Question {
        text: "next delay (16 in an outage, its start included)",
        group: "delays",
        ours: DELAYS,
        peers: &[],
        bar: Bar::Ratio(0.4),
        each: 16.0,
    },
    tokens(
        "token granted",
        "token granted",
        &[("redial/1", "1 thread")],
        &["governor/1"],
        1.0,
    ),
    tokens(
        "",
        "token granted",
        &[("redial/2", "2 threads")],
        &["governor/2"],
        1.0,
    ),
    tokens(
        "",
        "token granted",
        &[("redial/4", "4 threads")],
        &["governor/4"],
        1.0,
    ),
    tokens(
        "",
        "token granted",
        &[("redial/8", "8 threads")],
        &["governor/8"],
        1.0,
    ),
    tokens(
        "",
        "token granted",
        &[("redial/1", "1 thread, against tower's deposit and withdraw")],
        &["tower/1"],
        0.15,
    ),
    tokens(
        "",
        "token granted",
        &[(
            "redial/2",
            "2 threads, against tower's deposit and withdraw",
        )],
        &["tower/2"],
        0.15,
    ),
    tokens(
        "token denied",
        "token denied",
        &[("redial/1", "1 thread")],
        &["governor/1"],
        1.0,
    ),
    tokens(
        "",
        "token denied",
        &[("redial/2", "2 threads")],
        &["governor/2"],
        1.0,
    ),
    tokens(
        "",
        "token denied",
        &[("redial/4", "4 threads")],
        &["governor/4"],
        1.0,
    ),
    tokens(
        "",
        "token denied",
        &[("redial/8", "8 threads")],
        &["governor/8"],
        1.0,
    ),
    Question {
        text: "make a driver; its first attempt connects",
        group: "connect at once",
        ours: REDIAL,
        peers: &[],
        bar: Bar::Ratio(1.0),
        each: 1.0,
    },
    Question {
        text: "connect after 4 failures, without waits",
        group: "connect after 4 failures, no waits",
        ours: &[("redial", "fresh entropy"), ("redial, seeded", "seeded")],
        peers: &[],
        bar: Bar::Ratio(1.0),
        each: 1.0,
    },
    Question {
        text: "connect after 4 failures, paused clock",
        group: "connect after 4 failures, paused clock",
        ours: &[
            ("redial", "`Stratified`, fresh entropy"),
            ("redial Exponential, seeded", "`Exponential`, seeded"),
        ],
        peers: &[],
        bar: Bar::Ratio(1.0),
        each: 1.0,
    },
    Question {
        text: "seed an outage from fresh entropy, once per client",
        group: "seeding",
        ours: &[("redial, fresh entropy", "")],
        peers: &[],
        bar: Bar::None,
        each: 1.0,
    },
    Question {
        text: "`ready()` while connected, against a bare `&mut`",
        group: "ready while connected",
        ours: REDIAL,
        peers: LIMIT,
        bar: Bar::Over(2.0),
        each: 1.0,
    },
    wrapped(
        "`Session`: a line there and back over a duplex",
        "line over a duplex",
    ),
    wrapped("`Session`: a line there and back over TCP", "line over TCP"),
    wrapped(
        "`RedialIo`: 64 B echo over a duplex",
        "64 B echo over a duplex",
    ),
    wrapped("`RedialIo`: 64 B echo over TCP", "64 B echo over TCP"),
    wrapped("`RedialIo`: 64 KiB over a duplex", "64 KiB over a duplex"),
    wrapped("`RedialIo`: 64 KiB over TCP", "64 KiB over TCP"),
    Question {
        text: "wake one of 100 000 waiting clients, and attempt",
        group: "wake-ups of 100 000 clients",
        ours: &[
            ("redial", "`Stratified`"),
            ("redial Exponential", "`Exponential`"),
        ],
        peers: &[],
        bar: Bar::None,
        each: 400_000.0,
    },
];

/// The figures of each group, by the name of the benchmark.
type Measured = BTreeMap<String, BTreeMap<String, Figures>>;

/// Nanoseconds for one iteration.
struct Figures {
    /// The figure that the table shows.
    shown: f64,
    /// The mean of each sample, in the order in which they were taken.
    samples: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    let mut measured = Measured::new();
    collect(&Path::new(&target).join("criterion"), &mut measured)?;

    println!("| what | variant | ratio | bar | redial | fastest other |");
    println!("|---|---|---|---|---|---|");
    for question in QUESTIONS {
        rows(question, &measured);
    }
    println!();
    println!("Measured on {}.", machine());
    Ok(())
}

/// Reads all results of criterion under `directory`.
fn collect(directory: &Path, measured: &mut Measured) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)
        .map_err(|error| format!("{}: {error}; run `cargo bench` first", directory.display()))?
    {
        let path = entry?.path();
        if path.ends_with("new") {
            let read = |name| -> Result<Value, Box<dyn Error>> {
                Ok(serde_json::from_str(&fs::read_to_string(path.join(name))?)?)
            };
            let benchmark = read("benchmark.json")?;
            let part = |name| benchmark[name].as_str();
            let (Some(group), Some(mut name)) =
                (part("group_id"), part("function_id").map(String::from))
            else {
                continue;
            };
            let threads = part("value_str");
            if let Some(threads) = threads {
                name = format!("{name}/{threads}");
            }
            let samples =
                samples(&read("sample.json")?).ok_or("sample.json has an unknown form")?;
            let alone = threads.is_none_or(|threads| threads == "1");
            let each = samples.iter().copied();
            let shown = if alone {
                each.fold(f64::INFINITY, f64::min)
            } else {
                median(each)
            };
            let figure = Figures { shown, samples };
            measured
                .entry(group.into())
                .or_default()
                .insert(name, figure);
        } else if path.is_dir() {
            collect(&path, measured)?;
        }
    }
    Ok(())
}

/// The nanoseconds for one iteration in each sample. There is at least one.
fn samples(sample: &Value) -> Option<Vec<f64>> {
    let times = sample["times"].as_array()?;
    let iterations = sample["iters"].as_array()?;
    let each = times
        .iter()
        .zip(iterations)
        .map(|(time, iterations)| Some(time.as_f64()? / iterations.as_f64()?))
        .collect::<Option<Vec<f64>>>()?;
    (!each.is_empty()).then_some(each)
}

fn rows(question: &Question, measured: &Measured) {
    let Some(group) = measured.get(question.group) else {
        return;
    };
    let rival = group
        .iter()
        .filter(|(name, _)| {
            if question.peers.is_empty() {
                !name.starts_with("redial") && *name != "limit"
            } else {
                question.peers.contains(&name.as_str())
            }
        })
        .min_by(|a, b| a.1.shown.total_cmp(&b.1.shown));
    let mut text = question.text;
    for (name, called) in question.ours {
        let Some(figures) = group.get(*name) else {
            continue;
        };
        let ours = figures.shown / question.each;
        let (ratio, bar, other) = match rival {
            Some((rival, beside)) => {
                let theirs = beside.shown / question.each;
                let rival = rival.split('/').next().unwrap_or(rival);
                let rival = if rival == "limit" { "bare" } else { rival };
                let other = format!("{}, {rival}", time(theirs));
                match question.bar {
                    Bar::Ratio(bar) => (verdict(ours / theirs, bar), format!("{bar}"), other),
                    Bar::InTurns(bar) => {
                        let turns = figures.samples.iter().zip(&beside.samples);
                        let ratio = median(turns.map(|(ours, theirs)| ours / theirs));
                        (verdict(ratio, bar), format!("{bar}"), other)
                    }
                    Bar::Over(bar) => {
                        let met = if ours - theirs <= bar {
                            ""
                        } else {
                            " **missed**"
                        };
                        let over = format!("+ {:.1} ns{met}", ours - theirs);
                        (over, format!("+ {bar} ns"), other)
                    }
                    Bar::None => (format!("{:.2}", ours / theirs), String::new(), other),
                }
            }
            None => Default::default(),
        };
        println!(
            "| {text} | {called} | {ratio} | {bar} | {} | {other} |",
            time(ours)
        );
        text = "";
    }
}

fn verdict(ratio: f64, bar: f64) -> String {
    // A bar near 1 needs one more digit.
    let met = if ratio <= bar { "" } else { " **missed**" };
    if bar > 1.0 {
        format!("{ratio:.3}{met}")
    } else {
        format!("{ratio:.2}{met}")
    }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        few if few < 100.0 => format!("{few:.1} ns"),
        some if some < 10_000.0 => format!("{some:.0} ns"),
        many => format!("{:.1} µs", many / 1e3),
    }
}

/// The machine and the compiler, if the system reports them.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let line = info.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let rustc = Command::new("rustc").arg("--version").output().ok();
    let rustc = rustc.and_then(|output| {
        let version = String::from_utf8(output.stdout).ok()?;
        Some(version.split_whitespace().nth(1)?.to_owned())
    });
    format!(
        "{cores} cores of {} ({}, {}), rustc {}",
        cpu.as_deref().unwrap_or("an unknown processor"),
        std::env::consts::ARCH,
        std::env::consts::OS,
        rustc.as_deref().unwrap_or("unknown"),
    )
}
