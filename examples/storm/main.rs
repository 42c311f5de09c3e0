//! What a fleet on each of several policies does to its server, in a table
//! and in pictures.
//!
//! Without arguments it re-enacts the morning of a chat service: every client
//! loses the server at once, and tries again every two seconds, without
//! jitter. Beside it, the same fleet on [`Stratified`](redial::Stratified).

mod pictures;
mod policies;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use redial::InvalidConfig;
use redial::storm::{Report, Server, Storm, Summary, Sweep};

use crate::pictures::Picture;
use crate::policies::Named;

/// N clients lose their server at once. How long until all are back, how hard
/// is it hit, can it stay down for good?
#[derive(Parser)]
#[command(name = "storm")]
struct Args {
    /// How many clients lose the server
    #[arg(long, default_value_t = 100_000)]
    clients: u32,
    /// How many it takes in a second
    #[arg(long, default_value_t = 2_000.0)]
    capacity: f64,
    /// For how many seconds it is gone
    #[arg(long, default_value = "30", value_parser = seconds)]
    outage: Duration,
    /// What it does with attempts that are too many: cheap, costly[:handshakes]
    /// (a refusal costs it a part of a handshake), slow (no answer),
    /// stale[:seconds] (a long queue that clients leave), slots
    #[arg(long, default_value = "costly:0.1", value_parser = server)]
    server: Server,
    /// While it is gone, attempts time out rather than be refused
    #[arg(long)]
    black_hole: bool,
    /// To compare; once for each: stratified[:growth], full[:base,cap],
    /// equal[:base,cap], exponential[:base,cap] (no jitter),
    /// decorrelated[:base,cap], grpc, constant[:seconds], sequence:0,2,10,30;
    /// a mixed fleet is 0.9*stratified+0.1*constant:2
    #[arg(long, default_values = ["constant:2", "stratified"])]
    policy: Vec<Named>,
    /// The most that an attempt's timeout of 13 s grows to, in seconds
    #[arg(long, default_value = "120", value_parser = seconds)]
    patience: Duration,
    /// Another storm of the same kind
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The folder for the pictures
    #[arg(long, default_value = "target/storm")]
    pictures: PathBuf,
    /// Also run the storms of each N/C from 0.5 s to 500 s and each outage up
    /// to ten minutes, for a heat map
    #[arg(long)]
    sweep: bool,
    /// How many clients the storms of the sweep have
    #[arg(long, default_value_t = 2_000)]
    sweep_clients: u32,
}

fn seconds(text: &str) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

fn server(text: &str) -> Result<Server, Box<dyn Error + Send + Sync>> {
    Ok(match text.split_once(':').unwrap_or((text, "")) {
        ("cheap", "") => Server::cheap(),
        ("costly", "") => Server::costly(0.1),
        ("costly", handshakes) => Server::try_costly(handshakes.parse()?)?,
        ("slow", "") => Server::slow(),
        ("stale", "") => Server::stale(Duration::from_secs(30)),
        ("stale", queue) => Server::stale(seconds(queue)?),
        ("slots", "") => Server::slots(),
        _ => return Err("no such server; --help lists them".into()),
    })
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let server = if args.black_hole {
        args.server.black_hole()
    } else {
        args.server
    };
    let fleet = |clients| -> Result<Storm, InvalidConfig> {
        let storm = Storm::try_new(clients)?.server(server.clone());
        Ok(storm.patience(args.patience).seed(args.seed))
    };
    let storm = fleet(args.clients)?
        .try_capacity(args.capacity)?
        .outage(args.outage);

    let width = args.policy.iter().map(|policy| policy.name.len()).max();
    let width = width.unwrap_or_default();
    println!("{:width$} {}", "", Report::HEADER);
    let mut reports = Vec::new();
    for policy in &args.policy {
        let report = storm.run(&policy.policy);
        println!("{:width$} {report}", policy.name);
        reports.push((policy.name.as_str(), report));
    }
    std::fs::create_dir_all(&args.pictures)
        .map_err(|error| format!("{}: {error}", args.pictures.display()))?;
    let mut drawn = Picture::Storm(&reports).save(&args.pictures)?.to_vec();

    if args.sweep {
        let sweep = Sweep::standard(&fleet(args.sweep_clients)?);
        let bar = ProgressBar::new((sweep.len() * args.policy.len()) as u64).with_style(
            ProgressStyle::with_template("{wide_bar} {pos}/{len} storms, {eta} to go")?,
        );
        let mut maps = Vec::new();
        for policy in &args.policy {
            let reports = sweep.run_watched(&policy.policy, |_| bar.inc(1));
            bar.suspend(|| println!("{:width$} {}", policy.name, Summary::of(&reports)));
            maps.push((policy.name.as_str(), reports));
        }
        bar.finish_and_clear();
        drawn.extend(Picture::Heat(&maps).save(&args.pictures)?);
    }
    for picture in drawn {
        println!("{}", picture.display());
    }
    Ok(())
}
