//! Simulates a fleet that loses its server, once with each policy. Prints a table
//! and draws pictures.
//!
//! Without arguments it shows what once happened to a chat service: all clients lose
//! the server at once, and each tries again every two seconds, without jitter. Beside
//! it, the same fleet uses [`Stratified`](redial::Stratified).
//!
//! ```sh
//! cargo run --release --features storm --example storm
//! ```

mod clients;
mod pictures;
mod policies;
mod table;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use redial::InvalidConfig;
use redial::storm::{Overflow, Server, Storm, Summary, Sweep};

use crate::pictures::Picture;
use crate::policies::Named;

#[derive(Parser)]
#[command(name = "storm", about = ABOUT, after_help = CHOICES)]
struct Args {
    /// How many clients lose the server
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clients)]
    #[arg(allow_negative_numbers = true)]
    clients: u32,
    /// How many it takes in a second
    #[arg(long, value_name = "N", default_value_t = 2_000.0, value_parser = capacity)]
    #[arg(allow_negative_numbers = true)]
    capacity: f64,
    /// How long it is down
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    #[arg(allow_negative_numbers = true)]
    outage: Duration,
    /// What it does when overloaded
    #[arg(long, default_value = "costly:0.1", value_parser = server)]
    server: Server,
    /// While down, it gives no answer instead of a refusal
    #[arg(long)]
    black_hole: bool,
    /// When the clients try again; repeat it to compare
    #[arg(long, default_values = ["constant:2", "stratified"], hide_default_value = true)]
    policy: Vec<Named>,
    /// The longest timeout of an attempt by redial
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    #[arg(allow_negative_numbers = true)]
    patience: Option<Duration>,
    /// Another seed, another storm
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    seed: u64,
    /// The folder for the pictures
    #[arg(long, value_name = "FOLDER", default_value = "target/storm")]
    pictures: PathBuf,
    /// Also run 91 storms of other sizes and outages
    #[arg(long)]
    sweep: bool,
    /// Clients in each storm of the sweep
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clients)]
    #[arg(allow_negative_numbers = true)]
    sweep_clients: u32,
}

const ABOUT: &str = "\
Simulates a fleet of clients that lose their server at once. How long until all
are back? How hard is the server hit? Can it stay down for good?";

const CHOICES: &str = "\
Servers, by what they do with an attempt when overloaded:
  cheap               refuse it, which costs nothing
  costly[:PART]       refuse it, which costs a part of a handshake (0.1)
  slow                give no answer
  stale[:SECONDS]     the same, and clients leave the long queue (30)
  reset[:SECONDS]     the same queue, and refuse as if down beyond it (30)
  busy[:SECONDS]      the same queue, and refuse as busy beyond it (30)
  syn[:SECONDS]       the same queue, and drop the SYN beyond it (1)
  silent[:SECONDS]    the same queue, and accept in silence beyond it (30)
  lifo[:SECONDS]      take the newest first, drop older ones (10)
  slots               tell the client when to come back

Policies, with all times in seconds; constant and stratified if none is given:
  stratified[:GROWTH]       redial's default policy (1.6)
  phases                    the same, by clients that know their phases
  full[:BASE,CAP]           exponential, full jitter (1,60)
  equal[:BASE,CAP]          exponential, equal jitter (1,60)
  exponential[:BASE,CAP]    exponential, no jitter (1,60)
  decorrelated[:BASE,CAP]   decorrelated jitter (1,60)
  grpc, aws, gcm, ably,     the clients of gRPC, the AWS SDKs, Chromium, Ably
    phoenix                 and Phoenix, with timeouts of their own
  constant[:WAIT]           always the same wait, no jitter (2)
  sequence:WAIT,WAIT,...    these waits, then the last one for ever
  0.9*grpc+0.1*constant     a mixed fleet";

fn clients(text: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    match text.parse::<i64>()? {
        ..1 => Err("needs at least 1 client".into()),
        clients => Ok(u32::try_from(clients).map_err(|_| "too many clients")?),
    }
}

fn capacity(text: &str) -> Result<f64, Box<dyn Error + Send + Sync>> {
    let capacity = text.parse()?;
    // What the storm refuses, the command line refuses.
    Storm::new(1).try_capacity(capacity)?;
    Ok(capacity)
}

fn seconds(text: &str) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    let seconds = text.parse()?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| "must be a number of seconds from 0 to 500 billion".into())
}

fn seconds_or(text: &str, default: u64) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    match text {
        "" => Ok(Duration::from_secs(default)),
        text => seconds(text),
    }
}

fn server(text: &str) -> Result<Server, Box<dyn Error + Send + Sync>> {
    Ok(match text.split_once(':').unwrap_or((text, "")) {
        ("cheap", "") => Server::cheap(),
        ("costly", "") => Server::costly(0.1),
        ("costly", handshakes) => Server::try_costly(handshakes.parse()?)?,
        ("slow", "") => Server::slow(),
        ("stale", queue) => Server::stale(seconds_or(queue, 30)?),
        ("reset", queue) => Server::stale(seconds_or(queue, 30)?).overflow(Overflow::Reset),
        ("busy", queue) => Server::stale(seconds_or(queue, 30)?).overflow(Overflow::Busy),
        ("syn", queue) => Server::stale(seconds_or(queue, 1)?).overflow(Overflow::SynDropped),
        ("silent", queue) => Server::stale(seconds_or(queue, 30)?).overflow(Overflow::Silent),
        ("lifo", most) => Server::try_lifo(seconds_or(most, 10)?)?,
        ("slots", "") => Server::slots(),
        _ => return Err("no such server; --help lists them".into()),
    })
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output is gone: `head`, for example.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "storm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let server = if args.black_hole {
        args.server.black_hole()
    } else {
        args.server
    };
    let fleet = |clients| -> Result<Storm, InvalidConfig> {
        let storm = Storm::try_new(clients)?
            .server(server.clone())
            .seed(args.seed);
        Ok(match args.patience {
            Some(most) => storm.patience(most),
            None => storm,
        })
    };
    let storm = fleet(args.clients)?
        .try_capacity(args.capacity)?
        .outage(args.outage);

    let mut policies = args.policy;
    for policy in &mut policies {
        *policy = Named::with_patience(&policy.name, args.patience)
            .map_err(|error| error as Box<dyn Error>)?;
    }

    std::fs::create_dir_all(&args.pictures)
        .map_err(|error| format!("{}: {error}", args.pictures.display()))?;

    let mut out = io::stdout();
    let width = table::width(policies.iter().map(|policy| policy.name.as_str()));
    writeln!(
        out,
        "{}\n\n{}",
        table::title(args.clients, args.capacity, args.outage.as_secs_f64()),
        table::head(width),
    )?;
    let mut reports = Vec::new();
    for policy in &policies {
        let report = storm.run(&policy.policy);
        writeln!(out, "{}", table::row(&policy.name, width, &report))?;
        reports.push((policy.name.as_str(), report));
    }
    writeln!(out, "{}{}", table::LEGEND, table::conclusion(&reports))?;
    let mut drawn = Picture::Storm(&reports).save(&args.pictures)?.to_vec();

    if args.sweep {
        let sweep = Sweep::standard(&fleet(args.sweep_clients)?);
        let bar = ProgressBar::new((sweep.len() * policies.len()) as u64).with_style(
            ProgressStyle::with_template("{wide_bar} {pos}/{len} storms, {eta} to go")?,
        );
        let mut maps = Vec::new();
        let title = format!("The sweep, {} storms each:", sweep.len());
        writeln!(out, "\n{title}\n\n{}", table::sweep_head(width))?;
        for policy in &policies {
            let reports = sweep.run_watched(&policy.policy, |_| bar.inc(1));
            let summary = Summary::of(&reports);
            let row = table::sweep_row(&policy.name, width, &summary);
            bar.suspend(|| writeln!(out, "{row}"))?;
            maps.push((policy.name.as_str(), reports));
        }
        bar.finish_and_clear();
        write!(out, "{}", table::SWEEP_LEGEND)?;
        drawn.extend(Picture::Heat(&maps).save(&args.pictures)?);
    }
    writeln!(out, "\nPictures:")?;
    for picture in drawn {
        writeln!(out, "  {}", picture.display())?;
    }
    Ok(())
}
