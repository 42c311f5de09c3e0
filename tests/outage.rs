//! What does the outage machine answer? Stepped through simulated time.

use std::time::Duration;

use redial::policy::from_fn;
use redial::{Cause, Exponential, Failed, Jitter, Next, Outage, Policy, Reason, SavedOutage};
use redial::{Rng, Stratified, Verdict};

const DOWN: Verdict = Verdict::Retry(Cause::Down);
const STALLED: Verdict = Verdict::Retry(Cause::Stalled);
const BUSY: Verdict = Verdict::Retry(Cause::Busy);

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// 1, 2, 4, … 64 s: waits that differ from each other.
fn doubling() -> Outage<Exponential> {
    Outage::from_seed(Exponential::new(secs(1), secs(64)).jitter(Jitter::None), 1)
}

fn wait(next: Next) -> Duration {
    match next {
        Next::Wait(wait) => wait,
        Next::GiveUp(reason) => panic!("gave up: {reason}"),
    }
}

/// A policy that records its input, and waits a second.
#[derive(Clone)]
struct Told(std::sync::Arc<std::sync::Mutex<Vec<Failed>>>);

impl Policy for Told {
    type State = ();

    fn begin(&self, _: &mut Rng) {}

    fn next_delay(&self, (): &mut (), _: &mut Rng, failed: &Failed) -> Option<Duration> {
        self.0.lock().unwrap().push(*failed);
        Some(secs(1))
    }
}

fn told() -> (Outage<Told>, impl Fn() -> Vec<Failed>) {
    let list = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let policy = Told(list.clone());
    (Outage::from_seed(policy, 1), move || {
        std::mem::take(&mut *list.lock().unwrap())
    })
}

#[test]
fn the_first_reconnect_is_spread_over_the_first_window() {
    let firsts: Vec<_> = (0..1000)
        .map(|seed| {
            let mut outage = Outage::from_seed(Stratified::default(), seed);
            outage.connected(secs(0));
            wait(outage.lost(secs(3600)))
        })
        .collect();
    assert!(firsts.iter().all(|&d| d > Duration::ZERO && d <= secs(1)));
    let early = firsts.iter().filter(|&&d| d < secs(1) / 2).count();
    // The window's density falls by g = 1.6 from its start to its end, so more
    // than half of it lies in the first half: (1.6^x - 1)/0.6 = 1/2 at 0.558.
    // Hoeffding at 1e-9 for n = 1000 is 103.5.
    assert!((455..=661).contains(&early), "{early}");
}

#[test]
fn the_first_outage_of_a_seed_waits_as_the_policy_does_for_that_seed() {
    let policy = Stratified::default();
    let mut outage = Outage::from_seed(policy, 7);
    outage.connected(secs(0));
    let mut now = secs(50);
    let mut next = outage.lost(now);
    for expected in policy.delays_from_seed(7).take(20) {
        assert_eq!(wait(next), expected);
        now += expected;
        outage.connecting(now);
        next = outage.failed(now, DOWN);
    }
}

#[test]
fn later_outages_have_streams_of_their_own() {
    let mut outage = Outage::from_seed(Stratified::default(), 7);
    let mut firsts = Vec::new();
    for hour in 1..100 {
        outage.connected(secs(3600 * hour));
        firsts.push(wait(outage.lost(secs(3600 * hour + 3000))));
    }
    firsts.sort();
    firsts.dedup();
    assert_eq!(firsts.len(), 99);
}

#[test]
fn a_server_that_accepts_and_drops_sees_growing_waits() {
    let mut outage = doubling();
    let mut now = secs(0);
    outage.connected(now);
    for expected in [1, 2, 4, 8, 16, 32, 64, 64] {
        now += secs(1); // up for a second each time
        let d = wait(outage.lost(now));
        assert_eq!(d, secs(expected));
        now += d;
        outage.connecting(now);
        outage.connected(now);
    }
    assert_eq!(outage.attempts(), 8);
}

#[test]
fn only_stable_uptime_ends_an_outage() {
    for (uptime, expected) in [
        (secs(10) - Duration::from_nanos(1), secs(2)),
        (secs(10), secs(1)),
    ] {
        let mut outage = doubling();
        outage.connected(secs(0));
        let first = wait(outage.lost(secs(100)));
        let up = secs(100) + first;
        outage.connected(up);
        assert!(outage.is_ongoing());
        assert_eq!(wait(outage.lost(up + uptime)), expected, "{uptime:?}");
    }
}

#[test]
fn five_healthy_hours_and_then_a_loss_retry_anew() {
    let mut outage = doubling().max_attempts(3).max_elapsed(secs(60));
    outage.connected(secs(0));
    assert_eq!(wait(outage.lost(secs(18_000))), secs(1));
    assert_eq!(outage.elapsed(secs(18_001)), secs(1));
    assert_eq!(wait(outage.failed(secs(18_001), DOWN)), secs(2));
    outage.connected(secs(18_003));
    assert_eq!(wait(outage.lost(secs(36_000))), secs(1));
    assert_eq!(outage.attempts(), 0);
}

#[test]
fn time_spent_waiting_is_not_uptime() {
    let mut outage = doubling();
    outage.connected(secs(0));
    let _ = outage.lost(secs(100));
    // A failure long after: the outage goes on, however long the wait was.
    assert_eq!(wait(outage.failed(secs(500), DOWN)), secs(2));
    outage.connected(secs(502));
    assert_eq!(wait(outage.lost(secs(503))), secs(4));
    assert!(outage.save(secs(600)).is_some());
}

#[test]
fn the_limit_counts_attempts_that_connect() {
    let mut outage = doubling().max_attempts(2);
    outage.connected(secs(0));
    let _ = outage.lost(secs(100));
    let _ = outage.failed(secs(101), DOWN);
    outage.connected(secs(103));
    assert_eq!(outage.lost(secs(104)), Next::GiveUp(Reason::MaxAttempts));
    assert_eq!(outage.attempts(), 2);
}

#[test]
fn a_wait_that_would_pass_the_limit_is_not_begun() {
    let mut outage = doubling().max_elapsed(secs(7));
    outage.connected(secs(0));
    assert_eq!(wait(outage.lost(secs(100))), secs(1));
    assert_eq!(wait(outage.failed(secs(101), DOWN)), secs(2));
    assert_eq!(wait(outage.failed(secs(103), DOWN)), secs(4)); // ends at 7 exactly
    assert_eq!(
        outage.failed(secs(107), DOWN),
        Next::GiveUp(Reason::MaxElapsed)
    );
}

#[test]
fn the_elapsed_limit_counts_from_the_loss_and_not_from_the_start_of_the_process() {
    let mut outage = doubling().max_elapsed(secs(60));
    outage.connected(secs(1_000_000));
    assert_eq!(wait(outage.lost(secs(2_000_000))), secs(1));
}

#[test]
fn the_elapsed_time_of_a_first_connect_includes_the_attempt() {
    let (mut outage, told) = told();
    outage.connecting(secs(100));
    let _ = outage.failed(secs(110), STALLED);
    let _ = outage.failed(secs(115), DOWN);
    assert_eq!(
        told(),
        [
            Failed::new(0, secs(10), Cause::Stalled),
            Failed::new(1, secs(15), Cause::Down),
        ]
    );
    assert_eq!(outage.attempts(), 2);
}

#[test]
fn a_policy_gets_a_loss_as_attempt_zero() {
    let (mut outage, told) = told();
    outage.connected(secs(5));
    let _ = outage.lost(secs(100));
    outage.connecting(secs(101));
    let _ = outage.failed(secs(111), BUSY);
    outage.connecting(secs(112));
    let _ = outage.failed(secs(113), STALLED);
    assert_eq!(
        told(),
        [
            Failed::new(0, secs(0), Cause::Down),
            Failed::new(1, secs(11), Cause::Busy),
            Failed::new(2, secs(13), Cause::Stalled),
        ]
    );
}

#[test]
fn a_hint_that_the_policys_wait_covers_adds_nothing() {
    let (mut outage, told) = told();
    outage.connected(secs(0));
    let hint = Verdict::RetryAfter(secs(1)); // as the policy's
    assert_eq!(wait(outage.lost_with(secs(100), hint)), secs(1));
    assert_eq!(told(), [Failed::new(0, secs(0), Cause::Busy)]);
}

#[test]
fn a_hint_beyond_the_policys_wait_is_spread_over_its_own_length() {
    for (hint, width) in [(secs(10), secs(10)), (millis(1001), millis(1001))] {
        let waits: Vec<_> = (0..1000)
            .map(|seed| {
                let policy = Exponential::new(secs(1), secs(64)).jitter(Jitter::None);
                let mut outage = Outage::from_seed(policy, seed);
                outage.connected(secs(0));
                wait(outage.lost_with(secs(100), Verdict::RetryAfter(hint))) - hint
            })
            .collect();
        assert!(waits.iter().all(|&d| d < width));
        let early = waits.iter().filter(|&&d| d < width / 2).count();
        assert!((397..=603).contains(&early), "{early}"); // Hoeffding at 1e-9
    }
}

#[test]
fn a_short_hint_is_spread_over_a_second_at_least() {
    let waits = (0..1000).map(|seed| {
        let policy = Exponential::new(millis(1), secs(64)).jitter(Jitter::None);
        let mut outage = Outage::from_seed(policy, seed);
        let _ = outage.lost(secs(0));
        wait(outage.failed(secs(1), Verdict::RetryAfter(millis(100))))
    });
    let longest = waits.max().unwrap();
    assert!(
        longest > millis(1000) && longest < millis(1100),
        "{longest:?}"
    );
}

/// 20 s each time was answered with 26, 39, 29, 34, 44, 56, … 120 s before.
#[test]
fn the_same_hint_each_time_is_not_added_to_a_wait_that_grows() {
    for seed in 0..100 {
        let mut outage = Outage::from_seed(Stratified::default(), seed);
        let mut now = secs(0);
        for _ in 0..30 {
            let next = wait(outage.failed(now, Verdict::RetryAfter(secs(20))));
            // The hint and its own length, or the policy's wait: windows of a quarter
            // of the time so far, and a quarter of that.
            let grown = now.mul_f64(0.32) + secs(50);
            assert!(secs(20) <= next && next <= grown, "{next:?}");
            now += next;
        }
    }
}

#[test]
fn a_slot_is_obeyed_exactly() {
    let mut outage = Outage::from_seed(Stratified::default(), 1);
    outage.connected(secs(0));
    let slot = Duration::from_nanos(123_456_789);
    assert_eq!(wait(outage.lost_with(secs(9), Verdict::Slot(slot))), slot);
    assert_eq!(
        wait(outage.failed(secs(10), Verdict::Slot(Duration::ZERO))),
        Duration::ZERO
    );
}

#[test]
fn hints_of_any_size_are_taken() {
    let mut outage = doubling();
    outage.connected(secs(0));
    assert_eq!(
        wait(outage.lost_with(secs(1), Verdict::RetryAfter(Duration::ZERO))),
        secs(1)
    );
    let mut outage = outage.hint_cap(Duration::MAX);
    assert_eq!(
        wait(outage.failed(secs(2), Verdict::RetryAfter(Duration::MAX))),
        Duration::MAX
    );
    assert_eq!(
        wait(outage.failed(secs(2), Verdict::Slot(Duration::MAX))),
        Duration::MAX
    );
}

#[test]
fn a_hint_of_years_counts_as_an_hour() {
    let years = secs(9_999_999_999);
    for hint in [
        Verdict::RetryAfter(years),
        Verdict::RetryAfter(Duration::MAX),
        Verdict::Slot(secs(3601)),
        Verdict::Slot(Duration::MAX),
    ] {
        let waits: std::collections::BTreeSet<_> = (0..100)
            .map(|seed| {
                let mut outage = Outage::from_seed(Stratified::default(), seed);
                wait(outage.failed(secs(0), hint))
            })
            .collect();
        assert!(
            waits
                .iter()
                .all(|wait| (secs(3600)..secs(7200)).contains(wait))
        );
        // Nor do all clients come back in that hour's last instant.
        assert_eq!(waits.len(), 100);
        let mut outage = doubling().hint_cap(secs(30));
        assert!((secs(30)..secs(60)).contains(&wait(outage.failed(secs(0), hint))));
        let mut outage = doubling().hint_cap(Duration::ZERO);
        assert_eq!(
            wait(outage.failed(secs(0), hint)),
            secs(1),
            "no hint counts"
        );
    }
    let mut outage = doubling();
    let hour = Verdict::Slot(secs(3600));
    assert_eq!(
        wait(outage.failed(secs(0), hour)),
        secs(3600),
        "it is not beyond"
    );
}

#[test]
fn a_hint_beyond_the_limit_gives_up_with_max_elapsed() {
    for hint in [
        Verdict::RetryAfter(secs(61)),
        Verdict::Slot(secs(61)),
        Verdict::Slot(Duration::MAX),
    ] {
        let mut outage = doubling().max_elapsed(secs(60));
        outage.connected(secs(0));
        assert_eq!(
            outage.lost_with(secs(1), hint),
            Next::GiveUp(Reason::MaxElapsed)
        );
    }
}

#[test]
fn a_stop_gives_up_at_once_also_on_the_last_attempt() {
    let mut outage = doubling().max_attempts(1);
    assert_eq!(
        outage.failed(secs(1), Verdict::Stop),
        Next::GiveUp(Reason::Stopped)
    );
}

#[test]
fn a_policy_may_give_up() {
    let mut outage = Outage::from_seed(from_fn(|_| [secs(1), secs(2)]), 1);
    assert_eq!(wait(outage.failed(secs(0), DOWN)), secs(1));
    assert_eq!(wait(outage.failed(secs(1), DOWN)), secs(2));
    assert_eq!(outage.failed(secs(3), DOWN), Next::GiveUp(Reason::Policy));
}

#[test]
fn patience_grows_with_each_stall_and_only_a_connection_sets_it_back() {
    let mut outage = doubling().attempt_timeout(secs(13));
    let mut timeouts = Vec::new();
    for verdict in [[STALLED; 7].as_slice(), &[DOWN, STALLED, BUSY, STALLED]].concat() {
        timeouts.push(outage.connecting(secs(1)).as_millis());
        let _ = outage.failed(secs(1), verdict);
    }
    // Doubled, within a factor of exp(0.27), and up to two minutes.
    let factor = 0.27_f64.exp();
    for (timeout, middle) in timeouts.iter().zip([13.0, 26.0, 52.0, 104.0]) {
        let timeout = *timeout as f64 / 1e3;
        assert!(timeout >= middle / factor && timeout <= middle * factor);
    }
    assert_eq!(timeouts[0], 13_000);
    assert_eq!(timeouts[5..], [120_000; 6]);
    assert_eq!(outage.connecting(secs(1)), secs(120));
    outage.connected(secs(2));
    assert_eq!(outage.connecting(secs(3)), secs(13));
}

#[test]
fn the_shortest_timeout_grows_too() {
    let mut outage = doubling().attempt_timeout(Duration::from_nanos(1));
    let mut timeouts = Vec::new();
    for _ in 0..300 {
        timeouts.push(outage.connecting(secs(0)));
        let _ = outage.failed(secs(0), STALLED);
    }
    assert_eq!(timeouts[0], Duration::from_nanos(1));
    assert!(timeouts[5] >= Duration::from_nanos(32 * 3 / 4));
    assert!(timeouts[254] > secs(90) && timeouts[299] <= secs(120));

    // Without an end, it stays below the end of time.
    let mut endless = doubling().patience(Duration::MAX);
    for _ in 0..300 {
        endless.connecting(secs(0));
        let _ = endless.failed(secs(0), STALLED);
    }
    assert_eq!(endless.connecting(secs(0)), Duration::MAX);
}

#[test]
fn patience_never_shortens_an_attempt() {
    let mut outage = doubling().attempt_timeout(secs(90)).patience(secs(5));
    assert_eq!(outage.connecting(secs(0)), secs(90));
    let _ = outage.failed(secs(90), STALLED);
    assert_eq!(outage.connecting(secs(91)), secs(90));

    let mut endless = doubling().attempt_timeout(Duration::MAX);
    for _ in 0..300 {
        assert_eq!(endless.connecting(secs(0)), Duration::MAX);
        let _ = endless.failed(secs(0), STALLED);
    }
}

#[test]
fn an_orderly_end_is_spread_too() {
    let (mut outage, told) = told();
    outage.connected(secs(0));
    assert_eq!(wait(outage.ended(secs(100))), secs(1));
    assert_eq!(told(), [Failed::new(0, secs(0), Cause::Busy)]);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut outage = doubling();
    outage.connected(secs(100));
    let _ = outage.lost(secs(50));
    assert_eq!(outage.elapsed(secs(10)), Duration::ZERO);
    assert_eq!(wait(outage.failed(secs(20), DOWN)), secs(2));
}

#[test]
fn debug_shows_the_limits_and_the_progress() {
    let mut outage = doubling().max_attempts(7);
    let _ = outage.failed(secs(1), DOWN);
    let shown = format!("{outage:?}");
    assert!(shown.contains("max_attempts: 7"), "{shown}");
    assert!(shown.contains("attempts: 1"), "{shown}");
}

#[test]
fn reasons_are_told_in_words() {
    let words = [
        Reason::Stopped,
        Reason::MaxAttempts,
        Reason::MaxElapsed,
        Reason::Policy,
    ];
    assert_eq!(
        words.map(|reason| reason.to_string()),
        [
            "trying again cannot help",
            "no attempts are left",
            "no time is left",
            "the policy gave up",
        ]
    );
}

#[test]
fn nonsense_limits_are_refused_by_their_value() {
    let message = |f: fn() -> Outage<Exponential>| {
        let panic = std::panic::catch_unwind(f).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    assert!(message(|| doubling().max_attempts(0)).contains("max_attempts is 0"));
    assert!(message(|| doubling().attempt_timeout(Duration::ZERO)).contains("0ns"));
}

#[test]
fn without_an_outage_there_are_no_attempts_and_no_time() {
    let mut outage = doubling();
    outage.connecting(secs(100));
    assert_eq!(outage.elapsed(secs(105)), Duration::ZERO);
    outage.connected(secs(105));
    assert_eq!(outage.elapsed(secs(106)), Duration::ZERO);
    assert_eq!(outage.attempts(), 0);
}

#[test]
fn a_failure_whose_attempt_nobody_reported_begins_an_outage_now() {
    let mut outage = doubling();
    let _ = outage.failed(secs(100), DOWN);
    assert_eq!(outage.elapsed(secs(100)), Duration::ZERO);
}

#[test]
fn an_outage_that_was_given_up_gets_no_longer() {
    let mut outage = doubling().max_attempts(1);
    let _ = outage.lost(secs(10));
    assert_eq!(
        outage.failed(secs(15), DOWN),
        Next::GiveUp(Reason::MaxAttempts)
    );
    assert_eq!(outage.elapsed(secs(100)), secs(5));
}

#[test]
fn no_attempt_follows_at_the_limit_although_its_wait_is_zero() {
    let mut outage = doubling().max_elapsed(secs(60));
    let _ = outage.lost(secs(0));
    assert_eq!(
        outage.failed(secs(60), Verdict::Slot(Duration::ZERO)),
        Next::GiveUp(Reason::MaxElapsed)
    );
}

#[test]
fn an_attempt_that_begins_at_the_limit_has_its_whole_time() {
    let mut outage = doubling().attempt_timeout(secs(20)).max_elapsed(secs(1));
    assert_eq!(wait(outage.lost(secs(0))), secs(1));
    assert_eq!(outage.connecting(secs(1)), secs(20));
}

#[test]
fn an_attempt_whose_phase_was_unknown_may_begin_its_dial() {
    let mut outage = doubling().max_elapsed(secs(8));
    outage.connecting(secs(0));
    assert_eq!(outage.dialing(secs(1)), secs(5));
    assert_eq!(
        outage.established(secs(6)),
        secs(2),
        "it is as old as it was"
    );
}

#[test]
fn a_suspension_soon_after_a_connection_does_not_end_its_outage() {
    let mut outage = doubling();
    let _ = outage.lost(secs(0));
    outage.connected(secs(1));
    outage.suspended(secs(2));
    assert!(outage.is_ongoing());
    assert_eq!(wait(outage.failed(secs(3), DOWN)), secs(4));
}

#[test]
fn a_suspended_outage_is_saved_without_its_attempt_and_its_wait() {
    let mut outage = doubling();
    outage.connecting(secs(0));
    outage.suspended(secs(1));
    assert_eq!(outage.save(secs(1)), None);

    let mut outage = doubling();
    let _ = outage.lost(secs(0));
    outage.suspended(secs(100));
    let (_, wait) = restored(doubling(), &outage.save(secs(100)).unwrap());
    assert_eq!(wait, secs(1), "the wait that it was in is long over");
}

#[test]
fn a_change_of_the_network_under_a_connection_changes_nothing() {
    let mut outage = doubling();
    let _ = outage.lost(secs(0));
    let _ = outage.failed(secs(1), DOWN);
    outage.connected(secs(3));
    outage.network_changed(secs(4));
    assert_eq!(wait(outage.lost(secs(5))), secs(4));
}

#[test]
fn the_policy_knows_only_what_came_after_a_change_of_the_network() {
    let (mut outage, told) = told();
    let _ = outage.lost(secs(0));
    let _ = outage.failed(secs(100), STALLED);
    let saved = outage.save(secs(100)).unwrap();
    let _ = outage.restore(&saved, secs(0), secs(100));
    outage.network_changed(secs(100));
    told();
    let _ = outage.failed(secs(107), DOWN);
    assert_eq!(told(), [Failed::new(0, secs(7), Cause::Down)]);

    let mut outage = Outage::from_seed(Stratified::default(), 1);
    let _ = outage.failed(secs(0), STALLED);
    let _ = outage.failed(secs(1000), STALLED);
    outage.network_changed(secs(1000));
    assert!(wait(outage.failed(secs(1000), STALLED)) <= secs(1));
}

#[test]
fn an_attempt_that_begins_an_outage_begins_the_policy_too() {
    let mut outage = Outage::from_seed(Stratified::default(), 1);
    let mut now = secs(0);
    while now < secs(600) {
        now += wait(outage.failed(now, DOWN));
    }
    // A stable connection, which the client then drops by itself.
    outage.connected(now);
    now += secs(60);
    outage.suspended(now);
    outage.connecting(now);
    assert!(wait(outage.failed(now, DOWN)) <= secs(1));
}

#[test]
fn a_reset_outage_is_forgotten() {
    let mut outage = doubling();
    let _ = outage.failed(secs(1), DOWN);
    let _ = outage.failed(secs(2), DOWN);
    outage.reset();
    assert!(!outage.is_ongoing());
    assert_eq!(outage.attempts(), 0);
    assert_eq!(wait(outage.failed(secs(3), DOWN)), secs(1));
}

#[test]
fn a_restart_does_not_bypass_the_backoff() {
    let mut outage = doubling().max_attempts(5);
    let mut now = secs(100);
    outage.connected(now);
    assert_eq!(outage.save(now), None, "nothing to carry over");
    let mut next = outage.lost(now);
    for _ in 0..3 {
        now += wait(next);
        next = outage.failed(now, STALLED);
    }
    assert_eq!(wait(next), secs(8));
    let saved = outage.save(now + secs(1)).unwrap();

    // Two seconds later, on a clock that starts anew.
    let mut outage = doubling().max_attempts(5);
    assert_eq!(wait(outage.restore(&saved, secs(2), secs(0))), secs(5));
    assert_eq!(outage.elapsed(secs(0)), secs(10));
    let timeout = outage.connecting(secs(5));
    assert!(timeout >= secs(104) * 3 / 4, "nor of patience: {timeout:?}");
    assert_eq!(wait(outage.failed(secs(5), DOWN)), secs(16));
    assert_eq!(
        outage.failed(secs(21), DOWN),
        Next::GiveUp(Reason::MaxAttempts)
    );

    // A wait that is over is over.
    let mut outage = doubling();
    assert_eq!(wait(outage.restore(&saved, secs(60), secs(9))), secs(0));
}

#[test]
fn a_connection_that_was_up_when_saved_counts_as_lost() {
    let mut outage = doubling();
    outage.connected(secs(0));
    let _ = outage.lost(secs(100));
    outage.connected(secs(101));
    let saved = outage.save(secs(102)).unwrap();
    let mut outage = doubling();
    assert_eq!(wait(outage.restore(&saved, secs(0), secs(0))), secs(2));
}

#[test]
fn an_outage_that_has_healed_is_not_saved() {
    let mut outage = doubling();
    let _ = outage.failed(secs(1), DOWN);
    outage.connected(secs(2));
    assert!(outage.save(secs(11)).is_some());
    assert_eq!(outage.save(secs(12)), None);
}

#[test]
fn a_clock_that_goes_back_does_not_lengthen_a_wait() {
    let mut outage = Outage::from_seed(Stratified::default(), 1);
    let mut now = secs(0);
    while now < secs(1000) {
        now += wait(outage.failed(now, DOWN));
    }
    let elapsed = outage.elapsed(now);
    assert!(wait(outage.failed(secs(10), DOWN)) <= Duration::from_millis(37_500));
    assert!(outage.elapsed(secs(10)) <= elapsed);
}

#[test]
fn the_seconds_of_a_restored_outage_are_spread_too() {
    let mut outage = doubling();
    let saved = {
        let _ = outage.failed(secs(1), DOWN);
        outage.save(secs(1)).unwrap()
    };
    let waits: std::collections::BTreeSet<_> = (0..100)
        .map(|seed| {
            let policy = Exponential::new(secs(1), secs(64)).jitter(Jitter::None);
            let mut outage = Outage::from_seed(policy, seed);
            let _ = outage.restore(&saved, secs(0), secs(0));
            wait(outage.failed(secs(5), Verdict::RetryAfter(secs(10))))
        })
        .collect();
    assert_eq!(waits.len(), 100);
    assert!(waits.last().unwrap().abs_diff(*waits.first().unwrap()) > secs(10) / 2);
}

// ---- saved outages, as public bug reports broke them

fn restored(outage: Outage<Exponential>, saved: &SavedOutage) -> (Outage<Exponential>, Duration) {
    let mut outage = outage;
    let wait = wait(outage.restore(saved, secs(0), secs(0)));
    (outage, wait)
}

#[test]
fn an_outage_that_was_given_up_is_not_saved() {
    let mut outage = doubling().max_attempts(2);
    let _ = outage.failed(secs(0), DOWN);
    assert_eq!(
        outage.failed(secs(1), DOWN),
        Next::GiveUp(Reason::MaxAttempts)
    );
    assert_eq!(outage.save(secs(1)), None);
    assert_eq!(
        outage.attempts(),
        2,
        "the error still tells how many there were"
    );

    let mut outage = doubling();
    assert_eq!(
        outage.failed(secs(0), Verdict::Stop),
        Next::GiveUp(Reason::Stopped)
    );
    assert_eq!(outage.save(secs(0)), None);
}

#[test]
fn a_launch_makes_one_attempt_although_the_saved_outage_has_reached_a_limit() {
    // Killed in its last attempt, which counts as one that stalled.
    let mut outage = doubling().max_attempts(2);
    let _ = outage.failed(secs(0), DOWN);
    outage.connecting(secs(1));
    let saved = outage.save(secs(2)).unwrap();
    let (mut outage, first) = restored(doubling().max_attempts(2), &saved);
    assert_eq!(outage.attempts(), 2);
    outage.connecting(first);
    assert_eq!(
        outage.failed(first, DOWN),
        Next::GiveUp(Reason::MaxAttempts)
    );

    // Opened a day later, with a limit of an hour.
    let hour = secs(3600);
    let mut outage = doubling().max_elapsed(hour);
    let _ = outage.failed(secs(0), DOWN);
    outage.connecting(secs(1));
    let saved = outage.save(secs(2)).unwrap();
    let mut outage = doubling().max_elapsed(hour);
    let first = wait(outage.restore(&saved, 24 * hour, secs(0)));
    outage.connecting(first);
    assert_eq!(outage.failed(first, DOWN), Next::GiveUp(Reason::MaxElapsed));
}

#[test]
fn an_attempt_in_flight_is_saved_as_one_that_stalled() {
    // The app is killed in its very first attempt, launch after launch.
    let mut outage = doubling();
    outage.connecting(secs(0));
    for launch in 1..=20 {
        let saved = outage.save(secs(8)).expect("an attempt is in flight");
        let (next, wait) = restored(doubling(), &saved);
        outage = next;
        assert_eq!(outage.attempts(), launch);
        assert!(
            wait > Duration::ZERO,
            "launch {launch} does not attempt at once"
        );
        let patience = outage.connecting(secs(0));
        assert!(patience > secs(13), "launch {launch} is more patient");
    }
    // An attempt that ends is not counted twice.
    let _ = outage.failed(secs(1), DOWN);
    assert_eq!(outage.attempts(), 21);
}

#[test]
fn an_attempt_that_has_failed_is_saved_once() {
    let mut outage = doubling();
    let _ = outage.lost(secs(0));
    outage.connecting(secs(1));
    let _ = outage.failed(secs(2), DOWN);
    let (outage, _) = restored(doubling(), &outage.save(secs(2)).unwrap());
    assert_eq!(outage.attempts(), 1);
}

/// The longest wait of many clients after a failure as `Down`, if the program restarts
/// twice before it. `happens` returns when.
fn longest_after_restarts(happens: impl Fn(&mut Outage<Stratified>) -> Duration) -> Duration {
    let client = |seed| {
        let mut outage = Outage::from_seed(Stratified::default(), seed);
        let now = happens(&mut outage);
        for _ in 0..2 {
            let saved = outage.save(now).unwrap();
            outage = Outage::from_seed(Stratified::default(), seed);
            let _ = outage.restore(&saved, secs(0), now);
        }
        wait(outage.failed(now, DOWN))
    };
    (0..100).map(client).max().unwrap()
}

#[test]
fn a_stall_before_a_restart_widens_the_windows_after_it() {
    let stalled = longest_after_restarts(|outage| {
        let _ = outage.lost(secs(0));
        let _ = outage.failed(secs(1000), STALLED);
        secs(1000)
    });
    assert!(stalled > 2 * LONGEST_DOWN, "{stalled:?}");
    let killed_in_its_attempt = longest_after_restarts(|outage| {
        outage.connecting(secs(0));
        secs(1000)
    });
    assert!(killed_in_its_attempt > 2 * LONGEST_DOWN);
    // A connection in between is news about the server.
    let connected = longest_after_restarts(|outage| {
        let _ = outage.lost(secs(0));
        let _ = outage.failed(secs(1000), STALLED);
        outage.connected(secs(1001));
        let _ = outage.lost(secs(1002));
        secs(1002)
    });
    assert!(connected <= LONGEST_DOWN, "{connected:?}");
}

#[test]
fn an_attempt_in_flight_is_saved_with_its_time_and_the_waits_before_it() {
    // The very first attempt had no wait before it.
    let mut outage = doubling();
    outage.connecting(secs(0));
    let (outage, wait) = restored(doubling(), &outage.save(secs(8)).unwrap());
    assert_eq!((outage.elapsed(secs(0)), wait), (secs(8), secs(1)));

    // An attempt after a loss had one.
    let mut outage = doubling();
    outage.connected(secs(0));
    let _ = outage.lost(secs(100));
    outage.connecting(secs(101));
    let (outage, wait) = restored(doubling(), &outage.save(secs(103)).unwrap());
    assert_eq!((outage.elapsed(secs(0)), wait), (secs(3), secs(2)));
}

#[test]
fn the_clock_runs_on_after_a_second_restore() {
    let mut outage = doubling().stable_after(secs(10));
    let _ = outage.failed(secs(0), DOWN);
    let saved = outage.save(secs(0)).unwrap();
    let _ = outage.restore(&saved, secs(1000), secs(1));
    let _ = outage.restore(&saved, secs(5), secs(2));
    assert_eq!(outage.elapsed(secs(2)), secs(5));
    assert_eq!(outage.elapsed(secs(62)), secs(65));
    outage.connecting(secs(62));
    outage.connected(secs(62));
    assert!(outage.save(secs(71)).is_some());
    assert_eq!(outage.save(secs(72)), None, "ten seconds up have healed it");
}

#[test]
fn a_restore_replaces_all_that_was_before_it() {
    let saved = {
        let mut outage = doubling();
        let _ = outage.failed(secs(0), BUSY);
        outage.save(secs(1)).unwrap()
    };
    // A change of the network, after which the policy counts anew.
    let (mut outage, told) = told();
    let _ = outage.lost(secs(0));
    let _ = outage.failed(secs(10), DOWN);
    outage.network_changed(secs(20));
    let _ = outage.restore(&saved, secs(0), secs(30));
    told();
    let _ = outage.failed(secs(30), DOWN);
    assert_eq!(told(), [Failed::new(1, secs(1), Cause::Busy)]);

    // A schedule that is in its widest windows.
    let mut outage = Outage::from_seed(Stratified::default(), 1);
    let _ = outage.failed(secs(0), STALLED);
    let _ = outage.failed(secs(9_000), STALLED);
    let _ = outage.restore(&saved, secs(0), secs(9_000));
    assert!(wait(outage.failed(secs(9_000), DOWN)) <= secs(3));
}

#[test]
fn the_outage_after_a_restored_one_knows_nothing_of_it() {
    let (mut outage, told) = told();
    let _ = outage.failed(secs(0), STALLED);
    let saved = outage.save(secs(0)).unwrap();
    let _ = outage.restore(&saved, secs(0), secs(0));
    outage.connected(secs(1));
    told();
    let _ = outage.lost(secs(100));
    assert_eq!(told(), [Failed::new(0, secs(0), Cause::Down)]);
}

#[test]
fn a_restore_long_after_the_zero_of_the_clock_keeps_the_elapsed_time() {
    let (mut outage, told) = told();
    let _ = outage.failed(secs(0), DOWN);
    let saved = outage.save(secs(0)).unwrap();
    let _ = outage.restore(&saved, secs(5), secs(1000));
    assert_eq!(outage.elapsed(secs(1000)), secs(5));
    let _ = told();
    let _ = outage.failed(secs(1060), DOWN);
    assert_eq!(told(), [Failed::new(1, secs(65), Cause::Down)]);
}

#[test]
fn a_wait_for_ever_is_carried_over_each_restart() {
    let mut outage = doubling().hint_cap(Duration::MAX);
    let _ = outage.failed(secs(0), Verdict::Slot(Duration::MAX));
    let mut now = secs(0);
    for _ in 0..3 {
        let saved = outage.save(now).unwrap();
        outage = doubling();
        // Each launch is on a clock that is further ahead.
        now += secs(3600);
        let wait = wait(outage.restore(&saved, secs(0), now));
        assert!(wait > secs(500 * 365 * 86_400), "{wait:?}");
    }
}

#[test]
fn a_century_away_counts_in_full() {
    let mut outage = doubling();
    let _ = outage.failed(secs(0), DOWN);
    let saved = outage.save(secs(0)).unwrap();
    let century = secs(100 * 366 * 86_400);
    let _ = outage.restore(&saved, century, secs(0));
    assert_eq!(outage.elapsed(secs(0)), century);
}

#[test]
fn the_clock_runs_on_after_any_time_away() {
    for away in [secs(600 * 366 * 86_400), Duration::MAX] {
        let mut outage = doubling();
        let _ = outage.failed(secs(0), DOWN);
        let saved = outage.save(secs(0)).unwrap();
        let _ = outage.restore(&saved, away, secs(0));
        let before = outage.elapsed(secs(0));
        assert_eq!(outage.elapsed(secs(60)) - before, secs(60), "{away:?}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_saved_outage_that_began_with_an_attempt_and_had_none_is_taken() {
    let text = r#"{"attempts":0,"eager":true}"#;
    let saved: SavedOutage = serde_json::from_str(text).unwrap();
    let (mut outage, first) = restored(doubling(), &saved);
    assert_eq!(first, secs(1));
    assert_eq!(wait(outage.failed(first, DOWN)), secs(2));
}

#[cfg(feature = "serde")]
#[test]
fn the_largest_count_of_attempts_is_no_limit() {
    let text = r#"{"attempts":4294967295}"#;
    let saved: SavedOutage = serde_json::from_str(text).unwrap();
    let (mut outage, first) = restored(doubling(), &saved);
    outage.connecting(first);
    assert!(matches!(outage.failed(first, DOWN), Next::Wait(_)));
}

// ---- waits that an earlier cause or hint has left behind

const LONGEST_DOWN: Duration = Duration::from_millis(37_500);

#[test]
fn a_skipped_hint_of_a_day_does_not_lengthen_the_next_wait() {
    for seed in 0..1_000 {
        let mut outage = Outage::from_seed(Stratified::default(), seed).hint_cap(Duration::MAX);
        let day = secs(86_400);
        assert!(wait(outage.failed(secs(0), Verdict::RetryAfter(day))) >= day);
        // Somebody presses retry now, and the server asks for five seconds.
        outage.connecting(secs(10));
        let next = wait(outage.failed(secs(11), Verdict::RetryAfter(secs(5))));
        // The hint and its spread, or the policy's wait.
        assert!(secs(5) <= next && next <= LONGEST_DOWN, "{next:?}");
    }
}

#[test]
fn an_hour_that_the_device_slept_through_is_not_waited_for_again() {
    for seed in 0..1_000 {
        let mut outage = Outage::from_seed(Stratified::default(), seed);
        let _ = outage.failed(secs(0), Verdict::RetryAfter(secs(3600)));
        // The monotonic clock stood still meanwhile.
        outage.connecting(secs(2));
        assert!(wait(outage.failed(secs(3), DOWN)) <= LONGEST_DOWN);
    }
}

#[test]
fn a_loss_after_a_black_hole_waits_no_longer_than_down_promises() {
    for seed in 0..1_000 {
        let mut outage = Outage::from_seed(Stratified::default(), seed);
        let mut now = secs(0);
        while now < secs(600) {
            now += outage.connecting(now);
            now += wait(outage.failed(now, STALLED));
        }
        // Somebody presses retry now in a long wait. The server is back for five
        // seconds.
        let _ = outage.failed(now, STALLED);
        outage.connecting(now + secs(1));
        outage.connected(now + secs(1));
        let next = wait(outage.lost(now + secs(6)));
        assert!(next <= LONGEST_DOWN, "{next:?}");
    }
}

/// Nor after one in good order: the server took this client since.
#[test]
fn a_connection_after_a_black_hole_ends_its_wait_whatever_ends_the_connection() {
    for verdict in [DOWN, BUSY, STALLED] {
        for seed in 0..1_000 {
            let mut outage = Outage::from_seed(Stratified::default(), seed);
            let mut now = secs(0);
            while now < secs(3600) {
                now += wait(outage.failed(now, STALLED));
            }
            let _ = outage.failed(now, STALLED);
            outage.connecting(now + secs(1));
            outage.connected(now + secs(1));
            let next = wait(outage.lost_with(now + secs(6), verdict));
            assert!(next <= LONGEST_DOWN, "{verdict:?}: {next:?}");
        }
    }
}

#[test]
fn a_connection_narrows_the_window_that_stalls_have_widened() {
    for seed in 0..1_000 {
        let mut outage = Outage::from_seed(Stratified::default(), seed);
        let mut now = secs(0);
        while now < secs(3_000) {
            now += wait(outage.failed(now, STALLED));
        }
        outage.connected(now);
        let next = wait(outage.lost(now + secs(1)));
        assert!(next <= LONGEST_DOWN, "{next:?}");
    }
}

#[test]
fn an_attempt_out_of_turn_keeps_a_wait_that_its_cause_allows() {
    let mut outage = Outage::from_seed(Stratified::default(), 1);
    let mut now = secs(0);
    while now < secs(60) {
        now += wait(outage.failed(now, DOWN));
    }
    let first = wait(outage.failed(now, DOWN));
    outage.connecting(now + first / 3);
    assert_eq!(
        wait(outage.failed(now + first / 3, DOWN)),
        first - first / 3
    );
}

#[test]
fn a_slot_uses_up_the_wait_of_an_iterator() {
    let mut outage = Outage::from_seed(from_fn(|_| [1, 2, 4].map(secs)), 1);
    assert_eq!(wait(outage.failed(secs(0), DOWN)), secs(1));
    let slot = Verdict::Slot(secs(30));
    assert_eq!(wait(outage.failed(secs(1), slot)), secs(30));
    assert_eq!(wait(outage.failed(secs(31), DOWN)), secs(4));
}

#[test]
fn a_policy_from_an_iterator_goes_on_after_a_restore() {
    // Five waits, over as many launches as there are.
    let policy = || from_fn(|_| [1, 2, 4, 8, 16].map(secs));
    let mut outage = Outage::from_seed(policy(), 1);
    let mut waits = vec![wait(outage.failed(secs(0), DOWN))];
    let mut launches = 0;
    while let Some(saved) = outage.save(secs(0)) {
        launches += 1;
        assert!(launches <= 5, "it begins anew, or goes on after its end");
        outage = Outage::from_seed(policy(), 1);
        let _ = outage.restore(&saved, secs(0), secs(0));
        outage.connecting(secs(0));
        match outage.failed(secs(0), DOWN) {
            Next::Wait(wait) => waits.push(wait),
            Next::GiveUp(reason) => assert_eq!(reason, Reason::Policy),
        }
    }
    assert_eq!(waits, [1, 2, 4, 8, 16].map(secs));
}

// ---- timers that are early

/// How many attempts a client makes in ten minutes whose attempts fail at once, with
/// a timer that truncates to a tick.
fn attempts_with_ticks_of(tick: Duration, policy: Stratified, cause: Cause, seed: u64) -> u32 {
    let mut outage = Outage::from_seed(policy, seed);
    let mut now = secs(0);
    let mut next = wait(outage.lost(now));
    let mut attempts = 0;
    while now + next < secs(600) {
        let due = (now + next).as_nanos() as u64;
        let tick = tick.as_nanos() as u64;
        now = Duration::from_nanos(due / tick * tick).max(now);
        attempts += 1;
        next = wait(outage.failed(now, Verdict::Retry(cause)));
    }
    attempts
}

#[test]
fn an_early_timer_makes_no_attempt_twice() {
    // After the longest wait of narrow windows, too.
    let narrow = Stratified::new(secs(1), secs(2));
    for (policy, seeds) in [(Stratified::default(), 200), (narrow, 20)] {
        for cause in [Cause::Down, Cause::Busy, Cause::Stalled] {
            for seed in 0..seeds {
                let attempts = |tick| attempts_with_ticks_of(tick, policy, cause, seed);
                let exact = attempts(Duration::from_nanos(1));
                for tick in [1, 16] {
                    let early = attempts(millis(tick));
                    // The last one may fall on the other side of the ten minutes.
                    assert!(early.abs_diff(exact) <= 1, "{early}, not {exact}");
                }
            }
        }
    }
}
