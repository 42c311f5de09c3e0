//! Does the simulator tell what a fleet does to its server?
#![cfg(feature = "storm")]
#![allow(clippy::float_cmp)] // by hand, and exact in binary

use std::iter;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redial::policy::from_fn;
use redial::storm::{Client, Mix, Overflow, Report, Server, Storm, Summary, Sweep};
use redial::{
    Cause, Config, Exponential, Failed, InvalidConfig, Jitter, Policy, Rng, Sequence, Stratified,
    Verdict,
};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A chat client of 2015: every two seconds, without jitter.
fn hipchat() -> impl Policy<State: Send + Sync> + std::fmt::Debug + Send + Sync {
    from_fn(|_| iter::repeat(secs(2)))
}

/// A policy that records its input, and waits a second each time.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<Failed>>>);

impl Policy for Witness {
    type State = ();

    fn begin(&self, _: &mut Rng) {}

    fn next_delay(&self, (): &mut (), _: &mut Rng, failed: &Failed) -> Option<Duration> {
        self.0.lock().unwrap().push(*failed);
        Some(secs(1))
    }
}

impl Witness {
    fn heard(&self, storm: &Storm) -> Vec<(u32, u64, Cause)> {
        storm.run(self);
        let heard = self.0.lock().unwrap();
        let told = |failed: &Failed| {
            let elapsed = failed.elapsed;
            (failed.attempt, elapsed.as_millis() as u64, failed.cause)
        };
        heard.iter().map(told).collect()
    }
}

#[test]
fn one_client_is_followed_to_the_nanosecond() {
    let storm = Storm::new(1)
        .capacity(4)
        .outage(Duration::from_millis(2_500));
    let report = storm.run(&Sequence::new([secs(1)]).jitter(Jitter::None));
    // Refused at 1 s and 2 s, served at 3 s in a quarter of a second.
    let back = report.t_full.unwrap();
    assert_eq!(back.time, Duration::from_millis(750));
    assert_eq!(back.over_limit, 3.0);
    assert_eq!(
        report.t_50,
        Some(back).map(|mut half| {
            half.over_limit = 6.0;
            half
        })
    );
    assert_eq!(report.attempts_down, 2.0);
    assert_eq!(
        (
            report.attempts.mean,
            report.attempts.p99,
            report.attempts.max
        ),
        (1.0, 1, 1)
    );
    assert_eq!(
        (report.wasted, report.goodput, report.fairness),
        (0.0, 1.0, 1.0)
    );
    let arrivals: Vec<_> = report
        .arrivals
        .iter()
        .filter(|&(_, count)| count > 0)
        .collect();
    assert_eq!(arrivals, [(-1.5, 1), (-0.5, 1), (0.5, 1)]);
    let returns: Vec<_> = report
        .returns
        .seconds()
        .filter(|&(_, count)| count > 0)
        .collect();
    assert_eq!(returns, [(0.0, 1)]);
}

#[test]
fn the_network_delays_the_attempt_and_its_answer() {
    let storm = Storm::new(1).capacity(10).outage(secs(1));
    let storm = storm.network_delay(Duration::from_millis(50));
    let report = storm.run(&Sequence::new([Duration::from_millis(900)]).jitter(Jitter::None));
    // Sent at 0.9 s, refused at 0.95 s, told at 1 s, sent at 1.9 s, served
    // from 1.95 s on, told at 2.1 s.
    assert_eq!(report.t_full.unwrap().time, Duration::from_millis(1_100));
    assert_eq!(report.attempts_down, 1.0);
}

#[test]
fn the_policy_gets_the_same_input_as_from_the_driver() {
    // Refused at once, twice.
    let refused = Witness::default().heard(&Storm::new(1).outage(secs(3)).capacity(1));
    assert_eq!(
        refused,
        [
            (0, 0, Cause::Down),
            (1, 1_000, Cause::Down),
            (2, 2_000, Cause::Down)
        ]
    );

    // No answer, for 13 s each time.
    let hole = Storm::new(1).outage(secs(51)).capacity(1);
    let hole = hole.attempt_timeout(secs(13)).patience(Duration::ZERO);
    let silent = Witness::default().heard(&hole.server(Server::cheap().black_hole()));
    let told = [(1, 14_000), (2, 28_000), (3, 42_000), (4, 56_000)];
    assert_eq!(silent[0], (0, 0, Cause::Down));
    assert_eq!(
        silent[1..],
        told.map(|(attempt, elapsed)| (attempt, elapsed, Cause::Stalled))
    );
}

#[test]
fn the_same_seed_is_the_same_storm() {
    let storm = Storm::new(3_000).capacity(200).outage(secs(20));
    let policy = Exponential::new(secs(1), secs(60));
    let report = storm.clone().seed(7).run(&policy);
    assert_eq!(report, storm.clone().seed(7).run(&policy));
    assert_ne!(report, storm.clone().seed(8).run(&policy));
    // Golden: the same on every platform, too.
    assert_eq!(
        report.arrivals.counts().iter().sum::<u64>(),
        GOLDEN_ATTEMPTS
    );
}
const GOLDEN_ATTEMPTS: u64 = 17_829;

#[test]
fn no_server_is_ever_faster_than_its_limit() {
    for server in [
        Server::cheap(),
        Server::costly(0.1),
        Server::slow(),
        Server::stale(secs(30)),
        Server::slots(),
        Server::cheap().black_hole(),
    ] {
        for outage in [0, 40] {
            let storm = Storm::new(2_000).capacity(100).outage(secs(outage));
            let report = storm.server(server.clone()).run(&Stratified::default());
            let context = format!("{server:?} {outage} s: {report}");
            assert!(report.recovered(), "{context}");
            for at in [report.t_50, report.t_99, report.t_full] {
                // The clients who left a queue come late, and their work is
                // in nobody's way.
                assert!(at.unwrap().over_limit > 0.999_999, "{context}");
            }
            let returns: u64 = report.returns.counts().iter().sum();
            assert_eq!((report.back, returns), (2_000, 2_000));
            let attempts: u64 = report.arrivals.counts().iter().sum();
            let told = (report.attempts.mean + report.attempts_down) * 2_000.0;
            assert!((attempts as f64 - told).abs() < 0.5, "{context}");
            assert!(report.attempts.max >= report.attempts.p99, "{context}");
            assert!(
                report.attempts.p99 as f64 >= report.attempts.mean / 2.0,
                "{context}"
            );
        }
    }
}

#[test]
fn a_fleet_in_step_hits_the_server_all_at_once() {
    let storm = Storm::new(10_000).capacity(500).outage(secs(30));
    let hipchat = storm.run(&hipchat());
    // All of N/C = 20 s of work, in the same 100 ms.
    assert_eq!(hipchat.peak_100ms, 200.0);
    assert_eq!(hipchat.peak_second, 20.0);
    let stratified = storm.run(&Stratified::default());
    assert!(stratified.peak_second < 2.0, "{stratified}");
    assert!(hipchat.attempts.mean > stratified.attempts.mean);
}

/// The fluid law of the rule: N (g - 1) / (ln g (base + (g - 1) t)).
#[test]
fn stratified_arrivals_fall_as_the_theory_says() {
    const N: u32 = 200_000;
    let storm = Storm::new(N).outage(secs(40));
    let report = storm.run(&Stratified::default());
    let (g, n) = (1.6_f64, f64::from(N));
    for (from, to) in [(1, 4), (4, 10), (10, 25)] {
        let counted: u64 = report.arrivals.counts()[from * 10..to * 10].iter().sum();
        let upto = |t: usize| n / g.ln() * (1.0 + (g - 1.0) * t as f64).ln();
        let ratio = counted as f64 / (upto(to) - upto(from));
        // Of 100 000 arrivals and more: five standard deviations of a count
        // are 1.6 %.
        assert!((ratio - 1.0).abs() < 0.016, "{from}..{to} s: {ratio}");
    }
}

#[test]
fn clients_that_leave_the_queue_keep_it_full_of_stale_handshakes() {
    let storm = Storm::new(10_000)
        .capacity(100)
        .server(Server::stale(secs(30)));
    let full_jitter = Exponential::new(secs(1), secs(60));
    let impatient = storm.clone().patience(Duration::ZERO).run(&full_jitter);
    assert!(!impatient.recovered(), "{impatient}");
    assert!(
        impatient.goodput < 0.3 && impatient.back < 10_000,
        "{impatient}"
    );
    assert_eq!(impatient.t_full, None);
    let patient = storm.run(&full_jitter);
    assert!(patient.recovered() && patient.goodput > 0.6, "{patient}");
}

#[test]
fn the_cost_of_refusals_lowers_the_goodput() {
    let storm = Storm::new(10_000).capacity(500);
    let run = |server| storm.clone().server(server).run(&Stratified::default());
    let (cheap, costly) = (run(Server::cheap()), run(Server::costly(0.1)));
    assert_eq!(cheap.goodput, 1.0);
    // Every refused attempt is a tenth of a handshake.
    let refused = costly.attempts.mean - 1.0;
    assert!(
        (costly.goodput - 1.0 / (1.0 + 0.1 * refused)).abs() < 1e-9,
        "{costly}"
    );
    assert!(costly.t_full.unwrap().time > cheap.t_full.unwrap().time);
}

#[test]
fn clients_that_give_up_are_counted_and_not_waited_for() {
    let twice = from_fn(|_| iter::repeat_n(secs(1), 2));
    let report = Storm::new(100)
        .capacity(10)
        .outage(Duration::from_millis(1_500))
        .run(&twice);
    // The second attempt finds 1 s of work at most, which is ten clients.
    assert_eq!((report.back, report.gave_up), (10, 90));
    assert!(report.recovered());
    assert_eq!(report.t_99, None);
}

#[test]
fn a_policy_that_never_waits_does_not_hang_the_simulation() {
    let never = from_fn(|_| iter::repeat(Duration::ZERO));
    let report = Storm::new(10).outage(secs(10)).run(&never);
    assert!(!report.recovered());
    let later = Storm::new(10)
        .outage(secs(10))
        .run(&from_fn(|_| iter::repeat(Duration::MAX)));
    assert_eq!((later.back, later.attempts.mean), (0, 0.0));
}

#[test]
fn a_loss_over_a_span_spreads_the_first_attempts() {
    let storm = Storm::new(30_000).capacity(1_000).lost_over(secs(30));
    let report = storm.run(&Sequence::new([secs(1)]).jitter(Jitter::None));
    // A thousand a second from 1 s to 31 s, which is just the capacity.
    let seconds: Vec<u64> = report.arrivals.seconds().map(|(_, count)| count).collect();
    assert_eq!(seconds[0], 0);
    assert!(
        seconds[1..31]
            .iter()
            .all(|count| count.abs_diff(1_000) <= 2),
        "{seconds:?}"
    );
    assert_eq!(report.attempts.max, 1);
}

#[test]
fn the_parts_of_a_fleet_keep_their_shares() {
    let within = |low: f64, share: f64| (share - low).abs() < 0.02;
    let quick = from_fn(|_| iter::repeat(secs(1)));
    let slow = from_fn(|_| iter::repeat(secs(5)));
    let fleet = Mix::new(9.0, quick).and(1.0, slow);
    let report = Storm::new(10_000).capacity(20_000).run(&fleet);
    let at = |second: usize| report.arrivals.counts()[second * 10] as f64 / 10_000.0;
    assert!(
        within(0.9, at(1)) && within(0.1, at(5)),
        "{} {}",
        at(1),
        at(5)
    );
    assert!(Mix::try_new(f64::NAN, quick).is_err());
    let message = Mix::new(1.0, quick)
        .try_and(-2.0, slow)
        .unwrap_err()
        .to_string();
    assert!(message.contains("-2"), "{message}");
}

// ---- what an attempt without an answer learns

/// The time at which a single client is back, since the return.
fn back(storm: &Storm, waits: &[u64]) -> Duration {
    let waits: Vec<_> = waits.iter().copied().map(secs).collect();
    let policy = Sequence::new(waits).jitter(Jitter::None);
    storm.run(&policy).t_full.unwrap().time
}

/// A host that is gone for a time, and a client that tries after a second.
fn silent(outage: u64) -> Storm {
    let storm = Storm::new(1).capacity(1_000_000).outage(secs(outage));
    let storm = storm.server(Server::cheap().black_hole());
    storm.attempt_timeout(secs(13)).patience(Duration::ZERO)
}

const HANDSHAKE: Duration = Duration::from_micros(1);

#[test]
fn an_attempt_in_flight_is_answered_when_its_syn_is_repeated_after_the_return() {
    // Sent at 1 s, and again at 2 s, 4 s and 8 s.
    assert_eq!(back(&silent(5), &[1, 60]), secs(3) + HANDSHAKE);
    assert_eq!(back(&silent(8), &[1, 60]), HANDSHAKE);
    // The next one would be sent at 16 s, but the client leaves at 14 s.
    assert_eq!(
        back(&silent(9), &[1, 60]),
        secs(1 + 13 + 60 - 9) + HANDSHAKE
    );
    let longer = silent(9).attempt_timeout(secs(20));
    assert_eq!(back(&longer, &[1, 60]), secs(7) + HANDSHAKE);
    // Two repeats only, and none.
    assert_eq!(
        back(&silent(5).syn_retries(2), &[1, 20]),
        secs(1 + 13 + 20 - 5) + HANDSHAKE
    );
    assert_eq!(back(&silent(1).syn_retries(0), &[1, 20]), HANDSHAKE);
}

#[test]
fn a_client_that_knows_its_phases_leaves_its_dial_after_5_s() {
    // Sent at 1 s, 2 s and 4 s; left at 6 s.
    assert_eq!(back(&silent(4).phases(), &[1, 60]), HANDSHAKE);
    assert_eq!(
        back(&silent(5).phases(), &[1, 60]),
        secs(1 + 5 + 60 - 5) + HANDSHAKE
    );
    let heard = |storm: Storm| Witness::default().heard(&storm);
    let told = heard(silent(14).phases());
    let down = [(0, 0), (1, 6_000), (2, 12_000)];
    assert_eq!(told, down.map(|(attempt, at)| (attempt, at, Cause::Down)));
    // Sent at 1 s, 2 s, 3 s, 4 s and 5 s.
    let linear = silent(5).phases().syn_linear_timeouts(4);
    assert_eq!(back(&linear, &[1, 60]), HANDSHAKE);
    // Others cannot tell.
    let told = heard(silent(14).syn_retries(0));
    assert_eq!(told[1..], [(1, 14_000, Cause::Stalled)]);
}

#[test]
fn an_attempt_that_is_repeated_counts_once_and_after_the_return() {
    let report = silent(5).run(&Sequence::new([secs(1)]).jitter(Jitter::None));
    assert_eq!(report.arrivals.counts().iter().sum::<u64>(), 1);
    assert_eq!((report.attempts.mean, report.attempts_down), (1.0, 0.0));
    assert_eq!(report.wasted, 0.0);
}

/// Two clients at once before a queue for one, which takes 8 s.
fn two_at_once(overflow: Overflow) -> Storm {
    let server = Server::stale(Duration::from_millis(1_500)).overflow(overflow);
    let storm = Storm::new(2).capacity(0.125).server(server);
    storm.attempt_timeout(secs(13)).patience(Duration::ZERO)
}

#[test]
fn an_overflow_tells_each_client_what_it_can_see() {
    for (overflow, phases, attempt) in [
        (Overflow::Reset, false, (1, 1_000, Cause::Down)),
        (Overflow::Reset, true, (1, 1_000, Cause::Down)),
        (Overflow::Busy, false, (1, 1_000, Cause::Busy)),
        (Overflow::Busy, true, (1, 1_000, Cause::Busy)),
        (Overflow::Unanswered, false, (1, 14_000, Cause::Stalled)),
        (Overflow::Unanswered, true, (1, 6_000, Cause::Down)),
        (Overflow::Silent, false, (1, 14_000, Cause::Stalled)),
        (Overflow::Silent, true, (1, 14_000, Cause::Stalled)),
        (Overflow::SynDropped, true, (1, 6_000, Cause::Down)),
    ] {
        let storm = two_at_once(overflow);
        let storm = if phases { storm.phases() } else { storm };
        let heard = Witness::default().heard(&storm);
        // After the two losses.
        assert_eq!(heard[2], attempt, "{overflow:?}, phases: {phases}");
    }
}

#[test]
fn a_repeated_syn_may_find_room() {
    // Served from 1 s to 9 s; the other sends again at 2 s, 4 s and 8 s, and there is
    // room from 8 s on.
    let storm = two_at_once(Overflow::SynDropped).attempt_timeout(secs(20));
    let report = storm.run(&Sequence::new([secs(1)]).jitter(Jitter::None));
    assert_eq!(report.t_full.unwrap().time, secs(17));
    assert_eq!(report.attempts.max, 1);
}

#[test]
fn a_queue_that_fills_up_during_a_handshake_takes_data_that_is_sent_again() {
    let one_way = Duration::from_millis(50);
    let crowd = |overflow| two_at_once(overflow).network_delay(one_way);
    // Both SYNs find room, and both clients send data at 1.1 s. The queue takes one, and
    // has room again from 7.65 s on. The other data is sent again after 0.3 s, 0.6 s and
    // so on, so it arrives at 10.75 s.
    let storm = crowd(Overflow::SynDropped).attempt_timeout(secs(20));
    let report = storm.run(&Sequence::new([secs(1)]).jitter(Jitter::None));
    assert_eq!(report.t_full.unwrap().time, Duration::from_millis(18_800));
    assert_eq!(report.attempts.max, 1);
    // A client that knows its phases does not call it a dial that failed.
    let told = |storm: Storm| Witness::default().heard(&storm)[2];
    let stalled = (1, 14_100, Cause::Stalled);
    assert_eq!(told(crowd(Overflow::SynDropped).phases()), stalled);
    // Or the kernel resets the connection, and the client hears of it at 1.2 s.
    for storm in [
        crowd(Overflow::HandshakeReset),
        crowd(Overflow::HandshakeReset).phases(),
    ] {
        assert_eq!(told(storm), (1, 1_200, Cause::Down));
    }
}

#[test]
fn a_refusal_costs_work_whatever_it_says() {
    for server in [
        Server::costly(0.5),
        Server::hints(|_| Verdict::RetryAfter(secs(5))).refusal_cost(0.5),
        Server::stale(secs(1))
            .overflow(Overflow::Reset)
            .refusal_cost(0.5),
    ] {
        let storm = Storm::new(2_000).capacity(100).server(server);
        let report = storm.run(&Stratified::default());
        let refused = report.attempts.mean - 1.0;
        let goodput = 1.0 / (1.0 + 0.5 * refused);
        assert!((report.goodput - goodput).abs() < 1e-9, "{report}");
    }
}

// ---- servers that change

#[test]
fn a_server_that_vanishes_again_loses_its_clients_and_its_queue() {
    // Up from 2 s to 5 s. Served at 2 s, lost at 5 s, refused at 6 s and 7 s, served at
    // 8 s, in half a second each.
    let storm = Storm::new(1)
        .capacity(2)
        .outage(secs(2))
        .relapse(secs(3), secs(3));
    let report = storm.run(&Sequence::new([secs(1)]).jitter(Jitter::None));
    assert_eq!(report.outage, secs(8));
    assert_eq!(report.t_full.unwrap().time, Duration::from_millis(500));
    assert_eq!((report.back, report.attempts.mean), (1, 1.0));
    assert_eq!(report.returns.counts().iter().sum::<u64>(), 2);
    // Offline until 2.5 s, and from 5 s to 8.5 s.
    assert_eq!(report.offline.mean, secs(6));

    // The handshake is not done when the server vanishes: at 5 s the client learns it.
    let slow = Storm::new(1)
        .capacity(0.25)
        .outage(secs(2))
        .relapse(secs(3), secs(3));
    let heard = Witness::default().heard(&slow);
    let times = heard.iter().map(|&(_, at, cause)| (at, cause));
    let down = [0, 1_000, 5_000, 6_000, 7_000].map(|at| (at, Cause::Down));
    assert_eq!(times.collect::<Vec<_>>(), down);
}

#[test]
fn hosts_restart_one_after_the_other_and_close_their_connections() {
    // The first half is lost at 0 s, the other at 100 s.
    let storm = Storm::new(10_000).capacity(1e9).rolling(2, secs(100));
    let report = storm.run(&Sequence::new([secs(1)]).jitter(Jitter::None));
    assert_eq!(report.back, 10_000);
    // Half of the first half comes to the second host.
    let losses: u64 = report.arrivals.counts().iter().sum();
    assert!((losses as f64 / 12_500.0 - 1.0).abs() < 0.02, "{losses}");
    assert_eq!(report.offline.p50, secs(1));
    assert_eq!(report.offline.p99, secs(2));
}

#[test]
fn the_newest_attempt_is_served_first_and_old_ones_are_dropped() {
    // One a second from 1 s on; each takes 2 s.
    let storm = Storm::new(4).capacity(0.5).lost_over(secs(4));
    let storm = storm.server(Server::lifo(Duration::from_millis(2_500)));
    let storm = storm.attempt_timeout(secs(60)).patience(Duration::ZERO);
    let report = storm.run(&Sequence::new([secs(1)]).jitter(Jitter::None));
    assert_eq!(report.back, 4);
    let ahead: u64 = report.returns.counts()[..100].iter().sum();
    // Served at once, and the newest at 3 s and at 5 s; the fourth is too old.
    assert_eq!(ahead, 3, "{:?}", report.returns);
    assert!(report.attempts.mean > 1.0);
    assert_eq!(report.goodput, 1.0);
}

#[test]
fn every_server_serves_every_client_once() {
    for server in [
        Server::lifo(secs(10)),
        Server::stale(secs(10)).overflow(Overflow::SynDropped),
        Server::stale(secs(10)).overflow(Overflow::HandshakeReset),
        Server::stale(secs(10)).overflow(Overflow::Silent),
        Server::stale(secs(1))
            .overflow(Overflow::SynDropped)
            .black_hole(),
        Server::lifo(secs(10)).black_hole(),
    ] {
        for storm in [
            Storm::new(2_000).outage(secs(40)),
            Storm::new(2_000).outage(secs(40)).phases(),
            Storm::new(2_000)
                .outage(secs(40))
                .relapse(secs(20), secs(10)),
            Storm::new(2_000).rolling(4, secs(20)),
        ] {
            let storm = storm.capacity(100).server(server.clone());
            let report = storm.run(&Stratified::default());
            let context = format!("{server:?} {report}");
            assert_eq!(report.back, 2_000, "{context}");
            let attempts: u64 = report.arrivals.counts().iter().sum();
            let told = (report.attempts.mean + report.attempts_down) * 2_000.0;
            assert!((attempts as f64 - told).abs() < 0.5, "{context}");
            assert!(report.wasted >= 0.0 && report.goodput <= 1.0, "{context}");
        }
    }
}

// ---- clients of their own

#[test]
fn waits_from_the_start_of_an_attempt_are_those_of_grpc() {
    // At once, then 1 s, 2 s and 40 s, from start to start; at least 20 s for each.
    let waits = from_fn(|_| [0, 1, 2, 40, 1_000].map(secs));
    let client = |storm: &Storm| storm.run(&Client::new(waits).from_start(secs(20)));
    // Refused at 0 s, 1 s and 3 s, and served at 43 s.
    let refused = client(&Storm::new(1).capacity(1_000_000).outage(secs(4)));
    assert_eq!(refused.t_full.unwrap().time, secs(39) + HANDSHAKE);
    // Silence: at 0 s, 20 s and 40 s, and the last one until 80 s.
    let hole = silent(39).syn_retries(0);
    assert_eq!(client(&hole).t_full.unwrap().time, secs(1) + HANDSHAKE);
    let hole = silent(79).syn_retries(0);
    assert_eq!(client(&hole).t_full.unwrap().time, secs(1) + HANDSHAKE);
}

#[test]
fn each_part_of_a_mix_has_its_own_limits() {
    let wait = || Sequence::new([secs(1)]).jitter(Jitter::None);
    let part = |seconds| {
        let client = Client::new(wait()).attempt_timeout(secs(seconds));
        client.patience(Duration::ZERO)
    };
    let fleet = Mix::new(0.5, part(10)).and(0.5, part(30));
    let storm = Storm::new(1_000).capacity(1e9).outage(secs(25));
    let storm = storm.server(Server::cheap().black_hole()).syn_retries(0);
    let report = storm.run(&fleet);
    // From 1 s to 11 s, 22 s and 33 s; from 1 s to 31 s.
    let at = |second: usize| report.arrivals.counts()[second * 10];
    assert_eq!(at(12) + at(32), 1_000);
    assert!(at(12) > 400 && at(32) > 400);
}

// ---- slots

/// Through a backlog of 100 ms, which hints must not overrun.
fn hinted(limit: u32, server: Server) -> Report {
    const N: u32 = 20_000;
    let storm = Storm::new(N).capacity(f64::from(N) / f64::from(limit));
    let storm = storm.backlog(Duration::from_millis(100)).server(server);
    storm.run(&Stratified::default())
}

/// `t_full` over N/C, for N/C of 10, 60 and 300 s.
fn full_over_limit(server: &Server) -> [f64; 3] {
    [10, 60, 300].map(|limit| hinted(limit, server.clone()).t_full.unwrap().over_limit)
}

#[test]
fn slots_bring_the_fleet_back_at_the_limit_in_two_attempts() {
    for limit in [10, 60, 300] {
        let report = hinted(limit, Server::slots().slot_rate(1));
        assert!(report.t_full.unwrap().over_limit < 1.005, "{report}");
        assert!(report.attempts.max <= 2, "{report}");
    }
    // After an outage newcomers come for as long as their windows are wide.
    for backlog in [100, 1_000] {
        let report = Storm::new(20_000)
            .outage(secs(300))
            .backlog(Duration::from_millis(backlog))
            .server(Server::slots().slot_rate(1))
            .run(&Stratified::default());
        assert!(report.t_full.unwrap().over_limit < 1.005, "{report}");
        assert!(report.attempts.max <= 2, "{report}");
    }
}

/// Half a queue, two handshakes, and there and back: exactly a timeout.
#[test]
fn slots_of_a_long_queue_are_in_time() {
    for (handshake, delay) in [(333, 0), (333, 600), (4_000, 0), (4_000, 50)] {
        let [handshake, delay] = [handshake, delay].map(Duration::from_millis);
        for outage in [0, 30, 300] {
            let timeout = secs(13);
            let half = timeout - 2 * handshake - 2 * delay;
            let report = Storm::new(1_000)
                .capacity(1.0 / handshake.as_secs_f64())
                .outage(secs(outage))
                // The slots of a queue of more than an hour.
                .config(Config::new().hint_cap(Duration::MAX))
                .attempt_timeout(timeout)
                .network_delay(delay)
                .backlog(2 * half)
                .server(Server::slots().slot_rate(1))
                .run(&Stratified::default());
            assert!(report.t_full.unwrap().over_limit < 1.01, "{report}");
            assert!(report.attempts.max <= 2, "{report}");
        }
    }
}

/// Those whose slot comes while others still make their first attempt may find
/// the server full once more.
#[test]
fn without_known_holders_slots_cost_a_few_clients_a_third_attempt() {
    for limit in [10, 60, 300] {
        let report = hinted(limit, Server::hints(Verdict::Slot));
        assert!(report.t_full.unwrap().over_limit < 1.005, "{report}");
        assert!(report.attempts.mean <= 2.0, "{report}");
        assert!((3..=4).contains(&report.attempts.max), "{report}");
    }
}

#[test]
fn slots_in_whole_seconds_obeyed_exactly_are_waves() {
    let whole = |slot: Duration| secs(slot.as_secs_f64().ceil() as u64);
    let full = full_over_limit(&Server::hints(move |slot| Verdict::Slot(whole(slot))));
    assert!(
        full.iter().all(|full| (3.0..9.0).contains(full)),
        "{full:?}"
    );
}

#[test]
fn one_hint_for_all_obeyed_exactly_is_a_stampede_that_comes_again() {
    let exactly = |hint| Server::hints(move |_| Verdict::Slot(secs(hint)));
    // One second of backlog in each ten: a server that is idle for the rest.
    let storm = Storm::new(20_000).capacity(20_000.0 / 300.0);
    let ten = storm
        .clone()
        .server(exactly(10))
        .run(&Stratified::default());
    assert!(
        (5.0..6.1).contains(&ten.t_full.unwrap().over_limit),
        "{ten}"
    );
    assert!((80.0..86.0).contains(&ten.attempts.mean), "{ten}");
    let storm = storm.capacity(2_000).server(exactly(60));
    let sixty = storm.run(&Stratified::default());
    assert!(
        (29.0..31.0).contains(&sixty.t_full.unwrap().over_limit),
        "{sixty}"
    );
}

#[test]
fn one_hint_for_all_as_a_floor_is_spread_by_the_client() {
    let floor = full_over_limit(&Server::hints(|_| Verdict::RetryAfter(secs(10))));
    // A fleet that could be back in 10 s is told to wait for 10 s, and then
    // spreads over a stratum.
    assert!(
        floor[0] < 5.0 && floor[1] < 2.1 && floor[2] < 1.5,
        "{floor:?}"
    );
}

#[test]
fn a_fleet_of_any_size_comes_back_under_the_defaults() {
    for clients in [1, 2, 10, 59, 60] {
        let report = Storm::new(clients).run(&Stratified::default());
        assert!(report.t_full.is_some(), "{clients} clients: {report}");
    }
}

// ---- what the user gives, and gets

#[test]
fn nonsense_is_refused_by_its_setting_and_value() {
    fn refused<T>(built: Result<T, InvalidConfig>, setting: &str, value: &str) {
        let Err(refused) = built else {
            panic!("{setting} of {value} was accepted");
        };
        assert_eq!((refused.setting(), refused.value()), (setting, value));
    }
    refused(Storm::try_new(0), "clients", "0");
    let storm = || Storm::new(1);
    for (value, text) in [
        (0.0, "0"),
        (-1.5, "-1.5"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
    ] {
        refused(storm().try_capacity(value), "capacity", text);
    }
    for (value, text) in [(-0.5, "-0.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        refused(Server::try_costly(value), "handshakes", text);
    }
    refused(
        storm().try_attempt_timeout(Duration::ZERO),
        "attempt_timeout",
        "0ns",
    );
    refused(Mix::try_new(-1.0, Stratified::default()), "share", "-1");
    refused(Server::slots().try_slot_rate(0), "times", "0");
    refused(Server::slots().try_slot_rate(f64::NAN), "times", "NaN");
    refused(Server::slots().try_front_ends(0), "front_ends", "0");
    refused(Server::cheap().try_refusal_cost(-1.0), "handshakes", "-1");
    refused(Server::try_lifo(Duration::ZERO), "most", "0ns");
    refused(storm().try_relapse(Duration::ZERO, secs(1)), "up", "0ns");
    refused(storm().try_relapse(secs(1), Duration::ZERO), "down", "0ns");
    refused(storm().try_rolling(0, secs(1)), "hosts", "0");
    refused(storm().try_clock_drift(0.6), "most", "0.6");
    refused(storm().try_clock_drift(f64::NAN), "most", "NaN");
    let no_limit = Sweep::try_new(&storm(), &[Duration::ZERO], &[Duration::ZERO]);
    refused(no_limit, "capacity", "inf");
}

#[test]
#[should_panic(expected = "capacity is NaN: ")]
fn a_plain_setter_panics_with_the_same_words() {
    let _ = Storm::new(1).capacity(f64::NAN);
}

#[test]
fn the_longest_durations_are_as_good_as_for_ever() {
    let report = Storm::new(3)
        .outage(Duration::MAX)
        .backlog(Duration::MAX)
        .lost_over(secs(1))
        .horizon(Duration::MAX)
        .patience(Duration::MAX)
        .attempt_timeout(Duration::MAX)
        .server(Server::stale(Duration::MAX).black_hole())
        .run(&Stratified::default());
    assert_eq!((report.back, report.attempts_down), (0, 1.0));
    let huge = Storm::new(3).capacity(f64::MAX).run(&Stratified::default());
    assert!(huge.recovered());
    for delay in [0, 1] {
        let tiny = Storm::new(3)
            .capacity(2e-16)
            .network_delay(secs(delay))
            .backlog(Duration::MAX);
        assert_eq!(tiny.run(&Stratified::default()).back, 0);
    }
}

#[test]
fn waits_of_no_time_end_after_ten_thousand_attempts_all_of_them_counted() {
    let hot = from_fn(|_| std::iter::repeat(Duration::ZERO));
    let report = Storm::new(1)
        .capacity(1)
        .server(Server::cheap())
        .backlog(Duration::ZERO)
        .run(&hot);
    assert_eq!(report.arrivals.counts().iter().sum::<u64>(), 10_000);
    assert_eq!((report.attempts.mean, report.attempts_down), (1e4, 0.0));
}

#[test]
fn a_row_stands_under_its_header() {
    let bars = |line: &str| {
        line.match_indices('|')
            .map(|(at, _)| at)
            .collect::<Vec<_>>()
    };
    let storm = Storm::new(2_000).capacity(100).outage(secs(30));
    for report in [
        storm.run(&Stratified::default()),
        storm.horizon(secs(1)).run(&Stratified::default()),
    ] {
        let row = report.to_string();
        assert_eq!(
            bars(&row),
            bars(Report::HEADER),
            "\n{}\n{row}",
            Report::HEADER
        );
    }
}

#[test]
fn a_sweep_is_its_storms_in_order() {
    let storm = Storm::new(500).seed(3);
    let sweep = Sweep::new(&storm, &[secs(5), secs(50)], &[secs(0), secs(9)]);
    let policy = Exponential::new(secs(1), secs(60));
    let done = Mutex::new(0);
    let reports = sweep.run_watched(&policy, |_| *done.lock().unwrap() += 1);
    assert_eq!((sweep.len(), *done.lock().unwrap()), (4, 4));
    let alone = storm
        .clone()
        .seed(5)
        .capacity(10)
        .outage(secs(0))
        .run(&policy);
    assert_eq!(reports[2], alone);
    assert_eq!(Sweep::standard(&storm).len(), 91);
}

#[test]
fn a_summary_counts_a_storm_that_never_ends_as_20() {
    let storm = Storm::new(100).horizon(secs(30));
    let policy = Sequence::new([secs(1)]).jitter(Jitter::None);
    // N/C of 10 s ends. N/C of 100 s does not within 30 s.
    let sweep = Sweep::new(&storm, &[secs(10), secs(100)], &[secs(0), secs(5)]);
    let reports = sweep.run(&policy);
    let summary = Summary::of(&reports);
    assert_eq!(summary.never, 2);
    let ended = |report: &Report| report.t_99.unwrap().over_limit;
    let mean = |over_limit: f64| (over_limit * Summary::NEVER).sqrt();
    assert!((summary.at_once - mean(ended(&reports[0]))).abs() < 1e-9);
    assert!((summary.after_outage - mean(ended(&reports[1]))).abs() < 1e-9);
    assert!((summary.t_99 - ended(&reports[0])).abs() < 1e-9);
}

#[cfg(feature = "serde")]
#[test]
fn what_is_written_down_is_read_as_it_was() {
    fn again<T>(value: &T) -> T
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
    }
    // JSON's reader may be off by one in the last digit of a long fraction.
    let report = Storm::new(64)
        .capacity(64)
        .outage(secs(30))
        .run(&Stratified::default());
    assert_eq!(again(&report.arrivals), report.arrivals);
    assert_eq!(again(&report.t_full), report.t_full);
    assert_eq!(again(&report).returns, report.returns);
    let sweep = Sweep::new(&Storm::new(64), &[secs(5)], &[secs(0), secs(9)]);
    let summary = redial::storm::Summary::of(&sweep.run(&Stratified::default()));
    assert_eq!(again(&summary).attempts, summary.attempts);
}
