//! Prints what the benchmarks have measured as the table of the README.
//!
//! Reads what `cargo bench` has left under `target/criterion`; `.ci/compare`
//! runs both. A figure is that of the fastest of criterion's samples: what else
//! runs on the machine only ever adds to a sample. Only where threads contend is
//! it the median, as the fastest are those in which they happened not to. What
//! wraps a connection takes turns with the bare one: there the ratio is the
//! median of those of the turns.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use redial_benches::median;
use serde_json::Value;

/// A row of the table, or several: each of ours beside the fastest peer.
struct Question {
    text: &'static str,
    /// Criterion's name of the benchmark group.
    group: &'static str,
    /// Those of ours, by how their names begin, and what to call them.
    ours: &'static [(&'static str, &'static str)],
    /// Those that they are measured against, likewise; all peers where empty.
    peers: &'static [&'static str],
    bar: Bar,
    /// How many of what a row is about there are in an iteration.
    each: f64,
}

enum Bar {
    /// At most so many times the peer's time.
    Ratio(f64),
    /// The same, of samples that were taken in turns with the peer's.
    InTurns(f64),
    /// At most so many nanoseconds more.
    Over(f64),
    /// None: measured to be known.
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
        text: "next delay, 16 an outage, its start included",
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
        &[("redial/1", "1 thread, tower's deposit and withdraw")],
        &["tower/1"],
        0.15,
    ),
    tokens(
        "",
        "token granted",
        &[("redial/2", "2 threads, the same")],
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
        text: "driver made, and connected at once",
        group: "connect at once",
        ours: REDIAL,
        peers: &[],
        bar: Bar::Ratio(1.0),
        each: 1.0,
    },
    Question {
        text: "connected after 4 failures, no waits",
        group: "connect after 4 failures, no waits",
        ours: &[("redial", "fresh entropy"), ("redial, seeded", "seeded")],
        peers: &[],
        bar: Bar::Ratio(1.0),
        each: 1.0,
    },
    Question {
        text: "connected after 4 failures, paused clock",
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
        text: "seeding an outage from fresh entropy, once a client",
        group: "seeding",
        ours: &[("redial, fresh entropy", "")],
        peers: &[],
        bar: Bar::None,
        each: 1.0,
    },
    Question {
        text: "`ready()` while connected, beside `&mut`",
        group: "ready while connected",
        ours: REDIAL,
        peers: LIMIT,
        bar: Bar::Over(2.0),
        each: 1.0,
    },
    wrapped(
        "`Session`, a line there and back over a duplex, beside the bare connection",
        "line over a duplex",
    ),
    wrapped("`Session`, the same over TCP", "line over TCP"),
    wrapped(
        "`RedialIo`, 64 B echo over a duplex",
        "64 B echo over a duplex",
    ),
    wrapped("`RedialIo`, 64 B echo over TCP", "64 B echo over TCP"),
    wrapped("`RedialIo`, 64 KiB over a duplex", "64 KiB over a duplex"),
    wrapped("`RedialIo`, 64 KiB over TCP", "64 KiB over TCP"),
    Question {
        text: "a wake-up of 100 000 waiting clients, its attempt included",
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

/// By benchmark, by group.
type Measured = BTreeMap<String, BTreeMap<String, Figures>>;

/// Nanoseconds an iteration.
struct Figures {
    /// The one to be told.
    told: f64,
    /// Of each sample, as they were taken.
    samples: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    let mut measured = Measured::new();
    collect(&Path::new(&target).join("criterion"), &mut measured)?;

    println!("| what | | redial / other | bar | redial | the fastest other |");
    println!("|---|---|---|---|---|---|");
    for question in QUESTIONS {
        rows(question, &measured);
    }
    println!();
    println!("Measured on {}.", machine());
    Ok(())
}

/// Reads all that criterion has left under `directory`.
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
            let samples = samples(&read("sample.json")?).ok_or("samples of another form")?;
            let alone = threads.is_none_or(|threads| threads == "1");
            let each = samples.iter().copied();
            let told = if alone {
                each.fold(f64::INFINITY, f64::min)
            } else {
                median(each)
            };
            let figure = Figures { told, samples };
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

/// Nanoseconds an iteration of each sample; at least one.
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
        .min_by(|a, b| a.1.told.total_cmp(&b.1.told));
    let mut text = question.text;
    for (name, called) in question.ours {
        let Some(figures) = group.get(*name) else {
            continue;
        };
        let ours = figures.told / question.each;
        let (ratio, bar, other) = match rival {
            Some((rival, beside)) => {
                let theirs = beside.told / question.each;
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
    // As many digits as the bar is told with.
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

/// What it was measured on, as far as the system tells.
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
