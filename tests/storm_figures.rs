//! Do the figures that the pages give of fleets come out again?
//!
//! `tests/storm_table.rs` holds the table of the policies, `tests/storm_fleet.rs` that of
//! the servers, and `tests/storm_cluster.rs` that of the clusters. The others are here.
#![cfg(feature = "storm")]

mod storms;

use redial::Stratified;
use redial::storm::{Mix, Offline, Server, Storm, Summary, Sweep};
use storms::{after_silence, clients, full_jitter, half_and_most, secs};

/// Collects the figures that are wrong.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    /// Figures are printed with two or three digits, so 3 % is the least that is safe.
    fn check(&mut self, name: &str, is: f64, told: f64) {
        println!("{name}: {is:.3}, told {told}");
        if (is / told - 1.0).abs() > 0.03 {
            self.0.push(format!("{name}: {is:.3}, not {told}"));
        }
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        assert!(self.0.is_empty(), "{:#?}", self.0);
    }
}

/// The README's picture, and its sentence.
#[test]
#[ignore = "it takes long: cargo test -- --ignored"]
fn the_storm_of_the_readme() {
    let storm = Storm::new(100_000)
        .capacity(2_000)
        .outage(secs(30))
        .server(Server::costly(0.1));
    let report = storm.run(&Stratified::default());
    let mut wrong = Wrong::default();
    wrong.check("all are back", report.t_full.unwrap().over_limit, 1.4);
}

#[test]
#[ignore = "it takes long: cargo test -- --ignored"]
fn one_client_after_a_silent_outage() {
    let blind = Storm::new(20_000);
    let sighted = blind.clone().phases();
    let without_repeats = blind.clone().syn_retries(0);
    let impatient = blind.clone().attempt_timeout(secs(10)).patience(secs(0));
    let mut wrong = Wrong::default();
    for (outage, told) in [
        (
            300,
            [[12.0, 31.5], [15.0, 105.0], [114.0, 210.0], [14.0, 56.0]],
        ),
        (
            900,
            [[12.0, 31.5], [44.5, 165.0], [113.0, 281.0], [14.0, 56.0]],
        ),
        (
            3_600,
            [[12.0, 31.5], [240.0, 627.0], [304.0, 689.0], [14.0, 56.0]],
        ),
    ] {
        let found = [
            after_silence(&sighted, outage, &Stratified::default()),
            after_silence(&blind, outage, &Stratified::default()),
            after_silence(&without_repeats, outage, &Stratified::default()),
            after_silence(&impatient, outage, &full_jitter()),
        ];
        for (column, (report, told)) in found.iter().zip(told).enumerate() {
            for (found, told) in half_and_most(report).into_iter().zip(told) {
                wrong.check(&format!("{outage} s, column {column}"), found, told);
            }
        }
        if outage == 900 {
            wrong.check("attempts, sighted", found[0].attempts_down, 33.0);
            wrong.check("attempts, blind", found[1].attempts_down, 7.7);
        }
    }
}

#[test]
#[ignore = "it takes long: cargo test -- --ignored"]
fn a_rolling_deployment() {
    let mut wrong = Wrong::default();
    let mut check = |name: &str, offline: Offline, told: &[f64]| {
        let found = [offline.mean, offline.p50, offline.p99];
        for (found, told) in found.iter().zip(told) {
            wrong.check(name, found.as_secs_f64(), *told);
        }
    };
    let storm = Storm::new(10_000).capacity(10_000.0 / 60.0);
    let storm = storm.rolling(12, secs(30));
    let stratified = Mix::new(1.0, Stratified::default());
    let full = Mix::new(1.0, full_jitter());
    check(
        "stratified",
        storm.run(&stratified).offline,
        &[7.0, 6.3, 21.0],
    );
    check("full", storm.run(&full).offline, &[7.4, 6.3, 25.0]);
    for (name, told) in [
        ("grpc", [9.0, 7.7, 31.0]),
        ("gcm", [20.0, 17.0, 65.0]),
        ("ably", [30.0, 31.0, 90.0]),
    ] {
        let clients = clients::named(name).unwrap();
        check(name, storm.run(&clients).offline, &told);
    }
    let hasty = Storm::new(10_000).capacity(1_000).rolling(12, secs(5));
    check("hasty, stratified", hasty.run(&stratified).offline, &[1.5]);
    check("hasty, full", hasty.run(&full).offline, &[1.2]);
}

#[test]
#[ignore = "it takes long: cargo test -- --ignored"]
fn whole_clients_of_other_libraries() {
    let mut wrong = Wrong::default();
    let storm = Storm::new(2_000);
    let costly = storm.clone().server(Server::costly(0.1));
    let stale = storm.clone().server(Server::stale(secs(30)));
    for (name, cheap, (costly_99, costly_never), (stale_99, stale_never)) in [
        ("grpc", 1.68, (2.54, 0), (1.27, 0)),
        ("aws", 1.22, (4.29, 21), (1.26, 0)),
        ("gcm", 2.17, (2.77, 0), (1.80, 0)),
        ("ably", 3.32, (6.87, 21), (2.26, 6)),
        ("phoenix", 3.52, (9.21, 29), (6.277, 42)),
    ] {
        let clients = clients::named(name).unwrap();
        for (server, storm, told, never) in [
            ("cheap", &storm, cheap, 0),
            ("costly", &costly, costly_99, costly_never),
            ("stale", &stale, stale_99, stale_never),
        ] {
            let summary = Summary::of(&Sweep::standard(storm).run(&clients));
            let name = format!("{name}, {server}");
            wrong.check(&name, summary.at_once, told);
            if summary.never != never {
                let found = summary.never;
                wrong
                    .0
                    .push(format!("{name}: {found} never end, not {never}"));
            }
        }
    }
}

/// Patience does in a deep queue what strata do elsewhere. After an outage, strata help.
#[test]
#[ignore = "it takes long: cargo test -- --ignored"]
fn full_jitter_wins_in_deep_queues_if_it_is_patient_and_nothing_was_down() {
    let mut wrong = Wrong::default();
    for (queue, is_sighted, stratified, full) in [
        (30, false, [1.31, 2.03], [1.27, 2.68]),
        (120, false, [1.74, 2.59], [1.65, 3.74]),
        (30, true, [1.00, 1.56], [1.00, 2.13]),
        (120, true, [1.29, 1.99], [1.29, 2.65]),
    ] {
        let storm = Storm::new(10_000)
            .seed(1_000)
            .server(Server::stale(secs(queue)));
        let storm = if is_sighted { storm.phases() } else { storm };
        let sweep = Sweep::standard(&storm);
        for (name, reports, told) in [
            ("stratified", sweep.run(&Stratified::default()), stratified),
            ("full", sweep.run(&full_jitter()), full),
        ] {
            let found = Summary::of(&reports);
            wrong.check(&format!("{name}, {queue} s"), found.at_once, told[0]);
            wrong.check(
                &format!("{name}, {queue} s, outage"),
                found.after_outage,
                told[1],
            );
            assert_eq!(found.never, 0, "{name}");
        }
    }
}
