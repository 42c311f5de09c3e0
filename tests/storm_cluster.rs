//! Does a storm tell what a fleet does to a cluster that loses some of its servers?
//!
//! The figures of the ignored test were first found by another simulator, of which only
//! the figures are here. A figure that differs by more than 5 % is listed with the reason,
//! and held to our own value.
#![cfg(feature = "storm")]
#![allow(clippy::float_cmp)] // by hand, and exact in binary

use std::iter;
use std::time::Duration;

use redial::policy::from_fn;
use redial::storm::{Cluster, Overflow, Report, Server, Storm, Sweep};
use redial::{InvalidConfig, Jitter, Sequence, Stratified, Verdict};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How long a lost server stays lost, if others are left.
const FOR_GOOD: Duration = Duration::MAX;

/// One client that loses its server, and waits a second before each round.
fn one_client(storm: &Storm) -> Report {
    storm.run(&Sequence::new([secs(1)]).jitter(Jitter::None))
}

/// When the only client was back.
fn back(report: &Report) -> Duration {
    report.t_full.unwrap().time
}

/// Each server takes four clients a second.
fn cluster(clients: u32, cluster: Cluster) -> Storm {
    Storm::new(clients).capacity(4).cluster(cluster).phases()
}

/// Servers of every kind.
fn servers() -> Vec<(&'static str, Server)> {
    let over = |overflow| Server::stale(secs(2)).overflow(overflow);
    vec![
        ("cheap", Server::cheap()),
        ("costly", Server::costly(0.1)),
        ("slow", Server::slow()),
        ("stale", Server::stale(secs(10))),
        ("slots", Server::slots()),
        ("lifo", Server::lifo(secs(10))),
        ("hints", Server::hints(Verdict::Slot)),
        ("hint", Server::hints(|_| Verdict::RetryAfter(secs(5)))),
        ("reset", over(Overflow::Reset)),
        ("syn dropped", over(Overflow::SynDropped)),
        ("handshake reset", over(Overflow::HandshakeReset)),
        ("silent", over(Overflow::Silent)),
        ("black hole", Server::cheap().black_hole()),
    ]
}

// ---- one client

#[test]
fn a_refusal_costs_a_round_trip_and_no_wait() {
    for seed in 0..20 {
        let storm = cluster(5, Cluster::new(5).lost(4)).network_delay(millis(50));
        // Four clients are lost, and the one that is looked at is the first of them.
        let report = one_client(&storm.seed(seed));
        assert_eq!(report.clients, 4);
        // The wait, at most three refusals, the way there, four handshakes, and back.
        assert!(back(&report) >= millis(1_000 + 50 + 250 + 50));
        assert!(back(&report) <= millis(1_000 + 300 + 50 + 1_000 + 50));
    }
}

#[test]
fn a_client_comes_to_the_server_that_is_left_in_one_round() {
    for seed in 0..20 {
        let report = one_client(&cluster(2, Cluster::new(2).lost(1)).seed(seed));
        assert_eq!(back(&report), millis(1_250));
        // It is tried before the one that was lost.
        assert_eq!((report.attempts.max, report.attempts_gone), (1, 0.0));
    }
}

#[test]
fn a_round_of_refusals_is_one_failure_and_one_wait() {
    // All five refuse for 2.5 s: two rounds, and the third is served.
    let report = one_client(&cluster(1, Cluster::new(5)).outage(millis(2_500)));
    assert_eq!(report.attempts_down, 10.0);
    assert_eq!(report.attempts.mean, 1.0);
    assert_eq!(back(&report), millis(500 + 250));
}

#[test]
fn a_silent_server_costs_a_second() {
    let mut seconds = Vec::new();
    for seed in 0..50 {
        let storm = cluster(1, Cluster::new(5).lost(4).silent(4)).seed(seed);
        let after = back(&one_client(&storm)) - millis(1_250);
        assert!(after.subsec_nanos() == 0 && after <= secs(3), "{after:?}");
        seconds.push(after.as_secs());
    }
    seconds.sort_unstable();
    seconds.dedup();
    assert_eq!(seconds, [0, 1, 2, 3]);
}

#[test]
fn a_client_that_does_not_know_its_phases_waits_for_a_silent_server() {
    let storm = Storm::new(1).cluster(Cluster::new(3).lost(2).silent(2));
    let slow = (0..100)
        .filter(|&seed| back(&one_client(&storm.clone().seed(seed))) > secs(10))
        .count();
    // It tries the other lost server first with even odds. Five deviations are 25.
    assert!((25..=75).contains(&slow), "{slow}");
}

#[test]
fn a_round_in_which_all_are_silent_ends_with_its_last_dial() {
    // Dials at 1, 2 and 3 s, each for 5 s, then a wait of 1 s, and a dial at 9 s.
    let storm = cluster(1, Cluster::new(3).silent(3)).syn_retries(0);
    let report = one_client(&storm.outage(millis(8_500)));
    assert_eq!(report.attempts_down, 3.0);
    assert_eq!(back(&report), millis(500 + 250));
}

#[test]
fn after_a_busy_answer_comes_a_wait_and_then_the_next_server() {
    // Two clients of the lost server, and each other server takes one at a time.
    let full = cluster(6, Cluster::new(3).lost(1)).backlog(Duration::from_nanos(1));
    let mut times = Vec::new();
    for seed in 0..20 {
        let report = one_client(&full.clone().seed(seed));
        times.push((back(&report).as_millis(), report.attempts.mean));
    }
    times.sort_by_key(|&(back, _)| back);
    times.dedup();
    // Both are served at once, or one is told to wait, and it does not go on in that round.
    assert_eq!(times, [(1_250, 1.0), (2_250, 1.5)]);
}

#[test]
fn a_hint_binds_the_server_that_gave_it_and_not_the_others() {
    let hint = Server::hints(|_| Verdict::RetryAfter(secs(1_000)));
    let full = cluster(6, Cluster::new(3).lost(1)).backlog(Duration::from_nanos(1));
    for seed in 0..20 {
        let report = one_client(&full.clone().server(hint.clone()).seed(seed));
        assert!(back(&report) <= millis(2_250), "{report}");
    }
}

// ---- a fleet

#[test]
fn a_cluster_of_one_server_is_a_storm_of_one_server() {
    // If an attempt is decided when it arrives, the random numbers are drawn in the same
    // order.
    let is_exact = ["cheap", "costly", "slots", "hints", "hint", "reset"];
    for (name, server) in servers() {
        for outage in [0, 40] {
            let one = Storm::new(2_000)
                .outage(secs(outage))
                .server(server.clone());
            let reports = [&one, &one.clone().cluster(Cluster::new(1))].map(|storm| {
                let storm = storm.clone().network_delay(millis(20)).phases();
                storm.run(&Stratified::default())
            });
            if is_exact.contains(&name) {
                assert_eq!(reports[0], reports[1], "{name}");
            }
            let [one, cluster] = reports.map(|report| report.t_99.unwrap().over_limit);
            assert!(
                (cluster / one - 1.0).abs() < 0.05,
                "{name}: {cluster}, not {one}"
            );
        }
    }
}

#[test]
fn the_clients_of_a_lost_server_spread_evenly_over_the_others() {
    for (servers, lost) in [(2, 1), (5, 1), (5, 3), (20, 1), (20, 7)] {
        // Room for all, so nobody is sent on to another server.
        let storm = Storm::new(20_000).capacity(20_000);
        let storm = storm.cluster(Cluster::new(servers).lost(lost));
        let report = storm.run(&Stratified::default());
        let (back, left) = (f64::from(report.back), f64::from(servers - lost));
        assert_eq!(report.back, 20_000 / servers * lost);
        // A binomial: one of so many servers is off by 5 deviations once in 1e5 storms.
        let deviation = ((left - 1.0) / back).sqrt();
        assert!(
            report.balance.busiest <= 1.0 + 5.0 * deviation,
            "{report:?}"
        );
        assert!(report.balance.idlest >= 1.0 - 5.0 * deviation, "{report:?}");
    }
}

#[test]
fn one_of_five_is_lost_and_the_others_take_its_clients_at_their_limit() {
    for cluster in [Cluster::new(5).lost(1), Cluster::new(5).lost(1).silent(1)] {
        let storm = Storm::new(20_000).capacity(100).cluster(cluster).phases();
        let report = storm.run(&Stratified::default());
        assert_eq!((report.clients, report.capacity), (4_000, 400.0));
        assert_eq!((report.limit(), report.outage), (secs(10), secs(0)));
        assert!(report.recovered());
        assert!(report.t_99.unwrap().over_limit < 1.15, "{report}");
    }
}

#[test]
fn no_cluster_is_ever_faster_than_its_limit() {
    for (servers, lost) in [(1, 1), (3, 1), (3, 2), (7, 7), (10, 9)] {
        for outage in [secs(0), secs(7), FOR_GOOD] {
            if servers == lost && outage == FOR_GOOD {
                continue;
            }
            for silent in [0, lost] {
                let cluster = Cluster::new(servers).lost(lost).silent(silent);
                let storm = Storm::new(3_000).capacity(40).outage(outage);
                let report = storm.cluster(cluster).phases().run(&Stratified::default());
                for at in [report.t_50, report.t_99, report.t_full] {
                    assert!(at.unwrap().over_limit >= 1.0 - 1e-9, "{report}");
                }
            }
        }
    }
}

#[test]
fn a_lost_server_that_comes_back_takes_its_share() {
    // One of two is left, and needs 100 s for 1 000 clients. The other is back after 20 s,
    // when 200 are served, and both need 40 s for the rest.
    let alone = Storm::new(2_000)
        .capacity(10)
        .cluster(Cluster::new(2).lost(1));
    let both = alone.clone().outage(secs(20));
    let [alone, both] = [alone, both].map(|storm| storm.run(&Stratified::default()));
    assert_eq!(alone.limit(), secs(100));
    assert!((both.limit().as_secs_f64() - 60.0).abs() < 1e-6);
    for report in [&alone, &both] {
        assert!(report.t_99.unwrap().over_limit >= 1.0, "{report}");
        assert_eq!(report.outage, secs(0));
    }
    assert!(both.t_99.unwrap().time < alone.t_99.unwrap().time);
}

#[test]
fn attempts_at_lost_servers_are_counted_apart() {
    let storm = Storm::new(20_000).capacity(10_000);
    let report = storm
        .cluster(Cluster::new(20).lost(19))
        .run(&Stratified::default());
    // From none to 18 are tried before the one that is left: 9 on average, with a
    // deviation of 5.5 for one client. Five deviations of the mean are 0.2.
    assert!((report.attempts_gone - 9.0).abs() < 0.2, "{report:?}");
    assert!(report.attempts.mean > report.attempts_gone + 0.99);
    assert_eq!(report.attempts_down, 0.0);
    // What was refused by a host that is gone is no load.
    let arrivals: u64 = report.arrivals.counts().iter().sum();
    let load = report.attempts.mean - report.attempts_gone;
    assert_eq!(arrivals, (load * f64::from(report.clients)).round() as u64);
}

#[test]
fn every_server_of_a_cluster_serves_every_client_once() {
    for (name, server) in servers() {
        for delay in [0, 30] {
            for (lost, silent) in [(1, 0), (2, 2), (3, 1), (4, 2)] {
                let storm = Storm::new(400).capacity(20).server(server.clone());
                let cluster = Cluster::new(4).lost(lost).silent(silent);
                let storm = storm.cluster(cluster).network_delay(millis(delay));
                let storm = storm.outage(secs(30)).relapse(secs(4), secs(9));
                let report = storm.phases().run(&Stratified::default());
                assert!(report.recovered(), "{name}, {cluster:?}: {report}");
                let returns: u64 = report.returns.counts().iter().sum();
                assert!(returns >= u64::from(report.clients), "{name}, {cluster:?}");
                assert!(report.goodput <= 1.0, "{name}, {cluster:?}: {report}");
            }
        }
    }
}

#[test]
fn the_same_seed_is_the_same_cluster() {
    let storm = Storm::new(5_000)
        .cluster(Cluster::new(5).lost(2).silent(1))
        .phases();
    let run = |seed| storm.clone().seed(seed).run(&Stratified::default());
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn one_hint_for_all_costs_no_more_than_at_one_server() {
    for (hint, limit) in [(20, 20), (60, 60), (20, 60)] {
        let server = Server::hints(move |_| Verdict::RetryAfter(secs(hint)));
        let one = Storm::new(5_000).server(server);
        let five = one.clone().cluster(Cluster::new(5));
        let [one, five] = [one, five].map(|storm| {
            let sweep = Sweep::new(&storm, &[secs(limit)], &[secs(0)]);
            sweep.run(&Stratified::default())[0]
                .t_99
                .unwrap()
                .over_limit
        });
        assert!(
            five <= one,
            "a hint of {hint} s: {five}, and {one} at one server"
        );
    }
}

#[test]
fn a_sweep_gives_each_cluster_the_capacity_for_its_limit() {
    let clusters = [
        Cluster::new(5),
        Cluster::new(5).lost(1),
        Cluster::new(5).lost(4),
    ];
    for cluster in clusters {
        let storm = Storm::new(1_000).cluster(cluster);
        let limits = [secs(10), secs(40)];
        let outages = [secs(0), secs(20)];
        for (index, report) in Sweep::new(&storm, &limits, &outages)
            .run(&Stratified::default())
            .iter()
            .enumerate()
        {
            let asked = limits[index / 2].as_secs_f64();
            let limit = report.limit().as_secs_f64();
            assert!(
                (limit / asked - 1.0).abs() < 1e-9,
                "{cluster:?}: {limit}, not {asked}"
            );
        }
    }
}

#[test]
fn nonsense_is_refused_by_its_setting_and_value() {
    fn refused<T>(built: Result<T, InvalidConfig>, setting: &str, value: &str) {
        let error = built.err().unwrap();
        assert_eq!(
            (error.setting(), error.value()),
            (setting, value),
            "{error}"
        );
    }
    refused(Cluster::try_new(0), "servers", "0");
    refused(Cluster::try_new(1_001), "servers", "1001");
    let five = Cluster::new(5);
    refused(five.try_lost(0), "lost", "0");
    refused(five.try_lost(6), "lost", "6");
    refused(five.lost(2).try_silent(3), "silent", "3");
    refused(five.silent(3).try_lost(2), "lost", "2");
    let rolling = Storm::new(1).rolling(12, secs(30));
    refused(rolling.try_cluster(five), "cluster", "5");
    refused(
        Storm::new(1).cluster(five).try_rolling(12, secs(30)),
        "hosts",
        "12",
    );
}

#[test]
#[should_panic(expected = "lost is 6: the cluster has only 5")]
fn a_plain_setter_panics_with_the_same_words() {
    let _ = Cluster::new(5).lost(6);
}

#[test]
fn fewer_clients_than_servers_are_a_cluster_too() {
    let report = Storm::new(1)
        .cluster(Cluster::new(1_000).lost(1))
        .run(&Stratified::default());
    assert_eq!((report.clients, report.back), (1, 1));
}

#[test]
fn the_servers_share_the_clients_to_within_one() {
    // Two, two, two and one.
    for (lost, clients) in [(1, 2), (2, 4), (3, 6), (4, 7)] {
        let storm = Storm::new(7).cluster(Cluster::new(4).lost(lost));
        assert_eq!(storm.run(&Stratified::default()).clients, clients);
    }
}

#[test]
fn clocks_drift_in_a_cluster_as_in_a_storm_of_one_server() {
    let exact = Storm::new(1).capacity(4);
    let one = exact.clone().clock_drift(0.5);
    let cluster = one.clone().cluster(Cluster::new(1));
    let [exact, one, cluster] = [exact, one, cluster].map(|storm| back(&one_client(&storm)));
    assert_eq!(cluster, one);
    assert_ne!(cluster, exact);
}

#[test]
fn clients_of_a_cluster_that_give_up_are_counted() {
    let twice = from_fn(|_| iter::repeat_n(secs(1), 2));
    let storm = Storm::new(10).outage(secs(10)).cluster(Cluster::new(2));
    let report = storm.run(&twice);
    assert_eq!((report.back, report.gave_up), (0, 10));
}

// ---- the table

const CLIENTS: u32 = 20_000;
const LIMITS: [Duration; 3] = [secs(2), secs(10), secs(60)];
/// The deviation of one storm is 0.08 times the limit, or less.
const SEEDS: u64 = 10;

/// A cluster for which another simulator has figures: the time to 99 % over each of the
/// limits, the seconds until half of the clients are back at the first limit, and the
/// attempts at the last.
struct Row {
    name: &'static str,
    cluster: Cluster,
    over_limit: [Figure; 3],
    half: Figure,
    attempts: Figure,
    /// What the times over the limits may be at most.
    most: [f64; 3],
}

/// What the other simulator found, and our own figure if it differs. Zero stands for no
/// figure.
#[derive(Clone, Copy)]
struct Figure {
    theirs: f64,
    ours: f64,
}

const fn theirs(theirs: f64) -> Figure {
    Figure { theirs, ours: 0.0 }
}

const fn ours(theirs: f64, ours: f64) -> Figure {
    Figure { theirs, ours }
}

impl Figure {
    fn holds(self, is: f64) -> bool {
        match self {
            Figure {
                theirs: 0.0,
                ours: 0.0,
            } => true,
            Figure { theirs, ours: 0.0 } => (is / theirs - 1.0).abs() <= 0.05,
            Figure { ours, .. } => (is / ours - 1.0).abs() <= 0.02,
        }
    }
}

/// The means over some seeds: the time to 99 % over the limit, the seconds to half of the
/// clients, the attempts, those at lost servers, and the clients of the busiest server.
fn measure(cluster: Cluster, limit: Duration) -> [f64; 5] {
    let mut sums = [0.0; 5];
    for seed in 0..SEEDS {
        let storm = Storm::new(CLIENTS)
            .cluster(cluster)
            .phases()
            .seed(1_000 * seed);
        let reports = Sweep::new(&storm, &[limit], &[FOR_GOOD]).run(&Stratified::default());
        let report = &reports[0];
        assert!(report.recovered(), "{cluster:?}: {report}");
        let figures = [
            report.t_99.unwrap().over_limit,
            report.t_50.unwrap().time.as_secs_f64(),
            report.attempts.mean,
            report.attempts_gone,
            report.balance.busiest,
        ];
        sums = std::array::from_fn(|i| sums[i] + figures[i]);
    }
    sums.map(|sum| sum / SEEDS as f64)
}

#[test]
#[ignore = "it takes long: cargo test -- --ignored"]
fn a_cluster_that_loses_servers_takes_their_clients_as_one_server_would() {
    let five = Cluster::new(5);
    let rows = [
        Row {
            name: "1 of 5 refuses",
            cluster: five.lost(1),
            over_limit: [theirs(1.09), theirs(1.03), theirs(1.15)],
            half: theirs(1.0),
            attempts: theirs(0.0),
            most: [1.15; 3],
        },
        Row {
            name: "4 of 5 refuse",
            cluster: five.lost(4),
            over_limit: [theirs(1.00), theirs(1.00), theirs(1.15)],
            half: theirs(1.0),
            attempts: theirs(29.0),
            most: [1.15; 3],
        },
        // The other simulator's clients first dial the server that they have lost. Ours
        // dial it last, which saves the second of its silence. If they dial it first, our
        // figures are theirs within 2 %.
        Row {
            name: "1 of 5 silent",
            cluster: five.lost(1).silent(1),
            over_limit: [ours(1.51, 1.06), ours(1.47, 1.05), theirs(1.15)],
            half: ours(2.0, 1.0),
            attempts: theirs(0.0),
            most: [1.6, 1.5, 1.2],
        },
        Row {
            name: "4 of 5 silent",
            cluster: five.lost(4).silent(4),
            over_limit: [ours(2.5, 2.0), ours(1.24, 1.02), theirs(1.19)],
            half: ours(3.0, 2.0),
            attempts: theirs(0.0),
            most: [f64::MAX; 3],
        },
        // Each server is left with some 50 clients, so chance decides how many. At 10 s
        // one storm differs from the next by 0.06.
        Row {
            name: "1 of 20 refuses",
            cluster: Cluster::new(20).lost(1),
            over_limit: [theirs(1.28), ours(1.29, 1.37), theirs(1.58)],
            half: theirs(0.0),
            attempts: theirs(0.0),
            most: [f64::MAX; 3],
        },
    ];
    let mut wrong = Vec::new();
    for row in rows {
        let measured = LIMITS.map(|limit| measure(row.cluster, limit));
        print!("{:16}", row.name);
        for (limit, [over_limit, half, attempts, gone, busiest]) in LIMITS.iter().zip(measured) {
            print!(
                " | {limit:?}: {over_limit:.3} {half:5.2} s {attempts:4.1} {gone:4.1} {busiest:.2}"
            );
        }
        println!();
        let over_limit = measured.map(|figures| figures[0]);
        let figures = row.over_limit.into_iter().zip(over_limit);
        let figures = figures.chain([(row.half, measured[0][1]), (row.attempts, measured[2][2])]);
        for (figure, is) in figures {
            if !figure.holds(is) {
                let Figure { theirs, ours } = figure;
                wrong.push(format!("{}: {is:.3}, not {theirs} or {ours}", row.name));
            }
        }
        for (is, most) in over_limit.into_iter().zip(row.most) {
            // The bounds are in hundredths.
            if is > most + 0.005 {
                wrong.push(format!("{}: {is:.3}, more than {most}", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
#[ignore = "it takes long: cargo test -- --ignored"]
fn rounds_over_servers_that_were_all_lost_are_as_good_as_one_server() {
    // The other simulator has 1.61 for clients that do not know their phases. This storm
    // stands at the edge of a cliff: with 55 s instead of 60 s for N/C it is 1.53, and
    // with 80 s it is 2.6.
    let one = Storm::new(CLIENTS)
        .outage(secs(60))
        .server(Server::stale(secs(30)));
    for (is_sighted, ours) in [(false, 1.97), (true, 1.00)] {
        let one = if is_sighted {
            one.clone().phases()
        } else {
            one.clone()
        };
        for storm in [one.clone(), one.cluster(Cluster::new(5))] {
            let reports = Sweep::new(&storm, &[secs(60)], &[secs(60)]).run(&Stratified::default());
            let is = reports[0].t_99.unwrap().over_limit;
            assert!((is / ours - 1.0_f64).abs() < 0.02, "{is}, not {ours}");
        }
    }
}

#[test]
#[ignore = "it takes long: cargo test -- --ignored"]
fn silence_is_dear_to_clients_that_do_not_know_their_phases() {
    let storm = Storm::new(CLIENTS).cluster(Cluster::new(5).lost(4).silent(4));
    let reports = Sweep::new(&storm, &[secs(10)], &[FOR_GOOD]).run(&Stratified::default());
    let over_limit = reports[0].t_99.unwrap().over_limit;
    assert!(over_limit > 20.0, "{over_limit}");
}

#[test]
#[ignore = "it takes long: cargo test -- --ignored"]
fn slots_of_several_servers_are_not_as_good_as_those_of_one() {
    // A slot binds the server that gave it, and not the others. So a client may hold one
    // at each server, and comes to one of them only.
    let one = Storm::new(CLIENTS).server(Server::slots());
    let five = one.clone().cluster(Cluster::new(5));
    let [one, five] = [one, five].map(|storm| {
        let reports = Sweep::new(&storm, &[secs(60)], &[secs(0)]).run(&Stratified::default());
        reports[0].clone()
    });
    let full = |report: &Report| report.t_full.unwrap().over_limit;
    assert!(full(&one) < 1.01 && one.attempts.mean < 2.3, "{one}");
    assert!((full(&five) / 1.56 - 1.0).abs() < 0.02, "{five}");
    assert!((five.attempts.mean / 5.7 - 1.0).abs() < 0.02, "{five}");
}
