//! What the tests of the storm's figures share.

// Each test file uses its own part of this module.
#![allow(dead_code, unreachable_pub)]

#[path = "../../examples/storm/clients.rs"]
pub mod clients;

use std::time::Duration;

use redial::Exponential;
use redial::storm::{Fleet, Report, Server, Storm};

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn full_jitter() -> Exponential {
    Exponential::new(secs(1), secs(60))
}

/// The storm after an outage without an answer, with a server that then has room for all.
pub fn after_silence(storm: &Storm, outage: u64, fleet: &impl Fleet) -> Report {
    let storm = storm.clone().capacity(1e9).outage(secs(outage));
    storm.server(Server::cheap().black_hole()).run(fleet)
}

/// When half of the clients are back, and when 99 %, in seconds since the return.
pub fn half_and_most(report: &Report) -> [f64; 2] {
    [report.t_50, report.t_99].map(|at| at.unwrap().time.as_secs_f64())
}
