//! Does a token bucket hold its rate, to the nanosecond and the token?
#![cfg(not(loom))]

use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use redial::policy::BucketPolicy;
use redial::{Backoff, Cause, Failed, Policy, Reserved, TokenBucket};

const SECOND: Duration = Duration::from_secs(1);
const NANOSECOND: Duration = Duration::from_nanos(1);
const CENTURY: Duration = Duration::from_secs(100 * 31_557_600);
/// Where the bucket's time ends.
const END: Duration = Duration::from_nanos(u64::MAX);

fn just_before(instant: Duration) -> Duration {
    instant.saturating_sub(NANOSECOND)
}

/// How many tokens there are to take at `now`, up to `most`.
fn takes(bucket: &TokenBucket, now: Duration, most: usize) -> usize {
    (0..most)
        .take_while(|_| bucket.try_take_at(now).is_ok())
        .count()
}

// ---- the rate

#[test]
fn a_new_bucket_holds_its_burst_and_earns_one_token_each_period() {
    let bucket = TokenBucket::new(5, SECOND);
    assert_eq!(takes(&bucket, Duration::ZERO, 100), 5);
    assert_eq!(takes(&bucket, just_before(SECOND), 100), 0);
    assert_eq!(takes(&bucket, SECOND, 100), 1);
    assert_eq!(takes(&bucket, 4 * SECOND, 100), 3);
    assert_eq!(takes(&bucket, 100 * SECOND, 100), 5);
}

#[test]
fn clones_share_their_tokens() {
    let bucket = TokenBucket::new(3, SECOND);
    let clone = bucket.clone();
    assert_eq!(takes(&bucket, Duration::ZERO, 1), 1);
    let reserved = bucket.reserve_at(Duration::ZERO);
    assert_eq!(takes(&clone, Duration::ZERO, 100), 1);
    // In the middle of the queue by now, and its instant is not ahead.
    clone.give_back(reserved);
    assert_eq!(takes(&bucket, Duration::ZERO, 100), 0);
}

#[test]
fn each_waiter_is_given_an_instant_of_its_own() {
    let bucket = TokenBucket::new(2, SECOND);
    let waits: Vec<_> = (0..6)
        .map(|_| bucket.reserve_at(7 * SECOND).wait())
        .collect();
    assert_eq!(waits, [0, 0, 1, 2, 3, 4].map(Duration::from_secs));
    // The queue goes on while time does.
    assert_eq!(bucket.reserve_at(10 * SECOND).wait(), 2 * SECOND);
    // And while it stands there is nothing to take at once.
    assert_eq!(bucket.try_take_at(10 * SECOND), Err(3 * SECOND));
}

// ---- giving back

#[test]
fn the_last_token_given_back_leaves_the_bucket_as_it_was() {
    let bucket = TokenBucket::new(3, SECOND);
    let reserved = bucket.reserve_at(Duration::ZERO);
    bucket.give_back(reserved);
    assert_eq!(takes(&bucket, Duration::ZERO, 100), 3);
    // Tokens of a queue, last in first out.
    let queue = [(); 3].map(|()| bucket.reserve_at(Duration::ZERO));
    assert_eq!(
        queue.each_ref().map(|token| token.wait().as_secs()),
        [1, 2, 3]
    );
    queue
        .into_iter()
        .rev()
        .for_each(|token| bucket.give_back(token));
    assert_eq!(bucket.reserve_at(Duration::ZERO).wait(), SECOND);
}

#[test]
fn the_next_caller_gets_exactly_the_instant_that_was_given_back() {
    let bucket = TokenBucket::new(1, SECOND);
    let [_now, one, two, _three] = [(); 4].map(|()| bucket.reserve_at(Duration::ZERO));
    bucket.give_back(two);
    bucket.give_back(one);
    let half = SECOND / 2;
    assert_eq!(bucket.reserve_at(half).wait(), half, "the earliest first");
    assert_eq!(bucket.reserve_at(half).wait(), SECOND + half);
    assert_eq!(
        bucket.reserve_at(half).wait(),
        3 * SECOND + half,
        "and then the queue's end"
    );
}

#[test]
fn no_instant_is_given_twice_when_half_of_a_queue_leaves() {
    let bucket = TokenBucket::new(1, SECOND);
    let queue: Vec<_> = (0..100)
        .map(|_| bucket.reserve_at(Duration::ZERO))
        .collect();
    let mut instants: Vec<_> = queue[50..].iter().map(Reserved::wait).collect();
    for unused in queue.into_iter().take(50) {
        bucket.give_back(unused);
    }
    instants.extend((0..50).map(|_| bucket.reserve_at(Duration::ZERO).wait()));
    instants.sort_unstable();
    // The instant at time zero has passed, so one of the fifty joins the end.
    let all: Vec<_> = (1..=100).map(|n| n * SECOND).collect();
    assert_eq!(instants, all);
}

#[test]
fn an_instant_that_has_passed_is_not_given_again() {
    let bucket = TokenBucket::new(1, SECOND);
    let [_now, one, _two] = [(); 3].map(|()| bucket.reserve_at(Duration::ZERO));
    bucket.give_back(one);
    assert_eq!(bucket.reserve_at(SECOND).wait(), 2 * SECOND);
}

#[test]
fn the_token_of_another_bucket_is_ignored() {
    let (bucket, other) = (TokenBucket::new(1, SECOND), TokenBucket::new(1, SECOND));
    let _ = bucket.reserve_at(Duration::ZERO);
    let _ = other.reserve_at(Duration::ZERO);
    bucket.give_back(other.reserve_at(Duration::ZERO));
    assert_eq!(bucket.reserve_at(Duration::ZERO).wait(), SECOND);
    assert_eq!(bucket.reserve_at(Duration::ZERO).wait(), 2 * SECOND);
}

#[derive(Clone, Debug)]
enum Move {
    Pass(u64),
    Reserve,
    Take,
    /// Of the tokens that are held, uses the one at this place if it is due.
    Use(prop::sample::Index),
    /// Of the tokens that are held, gives the one at this place back, whether it is
    /// due or not.
    GiveBack(prop::sample::Index),
}

proptest! {
    /// The law of the bucket: in any span of time W there are at most
    /// burst + W / period instants at which somebody uses a token.
    #[test]
    fn no_window_holds_more_than_the_burst_and_what_it_earns(
        burst in 1..6_u32,
        moves in prop::collection::vec(prop_oneof![
            2 => (0..3_000_u64).prop_map(Move::Pass),
            4 => Just(Move::Reserve),
            1 => Just(Move::Take),
            2 => any::<prop::sample::Index>().prop_map(Move::Use),
            3 => any::<prop::sample::Index>().prop_map(Move::GiveBack),
        ], 1..300),
    ) {
        const PERIOD: u64 = 1_000;
        let bucket = TokenBucket::new(burst, Duration::from_nanos(PERIOD));
        let mut now = 0;
        let (mut held, mut used) = (Vec::new(), Vec::new());
        for step in moves {
            let at = Duration::from_nanos(now);
            match step {
                Move::Pass(time) => now += time,
                Move::Reserve => {
                    let token = bucket.reserve_at(at);
                    held.push((now + token.wait().as_nanos() as u64, token));
                }
                Move::Take => used.extend(bucket.try_take_at(at).is_ok().then_some(now)),
                Move::Use(_) | Move::GiveBack(_) if held.is_empty() => {}
                Move::Use(place) => {
                    let place = place.index(held.len());
                    if held[place].0 <= now {
                        used.push(held.swap_remove(place).0);
                    }
                }
                Move::GiveBack(place) => {
                    bucket.give_back(held.swap_remove(place.index(held.len())).1);
                }
            }
        }
        used.extend(held.into_iter().map(|(due, _)| due));
        used.sort_unstable();
        for (i, first) in used.iter().enumerate() {
            for (more, last) in used[i..].iter().enumerate() {
                let earned = (last - first) / PERIOD;
                prop_assert!((more as u64) < u64::from(burst) + earned, "{used:?}");
            }
        }
    }
}

// ---- exactly

/// The definition, in integers that do not end: a token is `period` units.
struct Exact {
    burst: i128,
    period: i128,
    units: i128,
    at: i128,
}

impl Exact {
    fn new(burst: u32, period: u64) -> Self {
        let (burst, period) = (i128::from(burst), i128::from(period));
        Self {
            burst,
            period,
            units: burst * period,
            at: 0,
        }
    }

    fn wait_at(&mut self, now: u64) -> i128 {
        let now = i128::from(now);
        self.units = (self.units + now - self.at).min(self.burst * self.period);
        self.at = now;
        (self.period - self.units).max(0)
    }

    fn take(&mut self) {
        self.units -= self.period;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Take,
    Reserve,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pass = prop_oneof![
        0..3_u64,
        0..5_000_000_000_u64,
        0..10_000_000_000_000_000_u64
    ];
    let step = prop_oneof![
        2 => pass.prop_map(Step::Pass),
        4 => Just(Step::Take),
        2 => Just(Step::Reserve),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn every_answer_is_that_of_the_definition_in_exact_integers(
        burst in prop_oneof![1..5_u32, 1..1_000_000_u32],
        period in prop_oneof![1..10_u64, 1..1_000_000_000_000_u64],
        steps in steps(),
    ) {
        let bucket = TokenBucket::new(burst, Duration::from_nanos(period));
        let mut exact = Exact::new(burst, period);
        let mut time = 0_u64;
        for step in steps {
            let now = Duration::from_nanos(time);
            let wait = exact.wait_at(time);
            match step {
                Step::Pass(length) => time += length,
                Step::Take if wait == 0 => {
                    exact.take();
                    prop_assert_eq!(bucket.try_take_at(now), Ok(()));
                }
                Step::Take => {
                    let refused = bucket.try_take_at(now).unwrap_err();
                    prop_assert_eq!(refused.as_nanos() as i128, wait);
                }
                Step::Reserve => {
                    exact.take();
                    prop_assert_eq!(bucket.reserve_at(now).wait().as_nanos() as i128, wait);
                }
            }
        }
    }

    #[test]
    fn not_until_an_instant_means_at_that_instant_and_no_sooner(
        burst in 1..1_000_u32,
        period in 1..1_000_000_000_000_u64,
        queue in 0..2_000_u32,
        now in 0..10_000_000_000_000_000_u64,
    ) {
        let bucket = TokenBucket::new(burst, Duration::from_nanos(period));
        let now = Duration::from_nanos(now);
        for _ in 0..burst + queue {
            let _ = bucket.reserve_at(now);
        }
        let wait = bucket.try_take_at(now).unwrap_err();
        prop_assert!(bucket.try_take_at(just_before(now + wait)) == Err(NANOSECOND));
        prop_assert!(bucket.try_take_at(now + wait) == Ok(()));
    }
}

// ---- faults that other buckets have

#[test]
fn eight_threads_take_exactly_a_hundred_tokens_of_a_hundred() {
    for round in 0..50 {
        let bucket = TokenBucket::new(100, SECOND);
        let now = round * 1_000 * SECOND;
        let taken: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| takes(&bucket, now, 100)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
        assert_eq!(bucket.try_take_at(now), Err(SECOND));
    }
}

#[test]
fn reservations_over_eight_threads_are_one_queue() {
    let bucket = TokenBucket::new(1, SECOND);
    let mut waits: Vec<_> = thread::scope(|scope| {
        let reserve = || [(); 500].map(|()| bucket.reserve_at(SECOND).wait().as_secs());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(reserve)).collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    waits.sort_unstable();
    assert!(waits.into_iter().eq(0..4_000));
}

/// A bucket that refilled in a loop, or kept a list of what was taken, would
/// not come to the end of this test.
#[test]
fn years_of_idling_earn_a_burst_in_one_step() {
    let bucket = TokenBucket::new(4, NANOSECOND);
    for year in 0..500 {
        let now = year * CENTURY / 100;
        assert_eq!(takes(&bucket, now, 100), 4, "year {year}");
    }
}

#[test]
fn a_clock_that_goes_back_mints_no_token() {
    let bucket = TokenBucket::new(3, SECOND);
    assert_eq!(takes(&bucket, 100 * SECOND, 100), 3);
    for back in [100, 99, 50, 0, 100] {
        assert_eq!(takes(&bucket, back * SECOND, 100), 0);
    }
    // Nor does it when it has come back to where it was.
    assert_eq!(bucket.try_take_at(100 * SECOND), Err(SECOND));
    assert_eq!(takes(&bucket, 101 * SECOND, 100), 1);
}

#[test]
fn no_fraction_is_lost_over_a_century() {
    // Neither 2^24 nor 2^53 nanoseconds divide into these.
    let period = Duration::from_secs(3_600) + NANOSECOND;
    let bucket = TokenBucket::new(1, period);
    for nth in 0..876_600 {
        assert_eq!(bucket.reserve_at(Duration::ZERO).wait(), nth * period);
    }
    let century = 876_600 * period;
    assert!(century > CENTURY);
    assert_eq!(bucket.try_take_at(just_before(century)), Err(NANOSECOND));
    assert_eq!(bucket.try_take_at(century), Ok(()));
}

#[test]
fn a_rate_between_two_whole_numbers_is_held() {
    // 0.51, 0.75 and 0.99 tokens a second, asked for ten times a second.
    for (hundredths, exact) in [(51, 5_100), (75, 7_500), (99, 9_900)] {
        let bucket = TokenBucket::new(1, 100 * SECOND / hundredths);
        let mut taken = 0;
        for tick in 0..100_000 {
            taken += usize::from(bucket.try_take_at(tick * SECOND / 10).is_ok());
        }
        // Each take comes up to a tick after its token, and no token is
        // saved meanwhile.
        let least = (f64::from(exact) / (1.0 + 0.1 * f64::from(hundredths) / 100.0)) as usize;
        assert!((least..=exact as usize + 1).contains(&taken), "{taken}");
    }
}

// ---- the end of time

#[test]
fn no_time_and_no_period_panics_or_wraps() {
    let instants = [
        Duration::ZERO,
        NANOSECOND,
        SECOND,
        CENTURY,
        just_before(END),
        END,
        Duration::MAX,
    ];
    for period in &instants[1..] {
        for burst in [1, 2, 5, u32::MAX] {
            for now in instants {
                let Ok(bucket) = TokenBucket::try_new(burst, *period) else {
                    assert!(burst > 1 && *period >= SECOND, "{burst} {period:?}");
                    continue;
                };
                let most = usize::try_from(burst).unwrap().min(20);
                let taken = takes(&bucket, now, 20);
                assert!((1..=most).contains(&taken), "{burst} {period:?} {now:?}");
                if now < SECOND {
                    assert_eq!(taken, most, "{burst} {period:?} {now:?}");
                }
                for again in instants {
                    let _ = bucket.try_take_at(again);
                    let _ = bucket.reserve_at(again);
                    bucket.give_back(bucket.reserve_at(again));
                }
            }
        }
    }
}

#[test]
fn at_the_end_of_time_the_bucket_closes_rather_than_grants_too_much() {
    let bucket = TokenBucket::new(1, Duration::MAX);
    assert_eq!(bucket.try_take_at(SECOND), Ok(()));
    for now in [SECOND, just_before(END), END, Duration::MAX] {
        assert_eq!(bucket.try_take_at(now), Err(END));
        let never = bucket.reserve_at(now);
        assert_eq!(never.wait(), END);
        bucket.give_back(never);
    }
}

#[test]
fn a_burst_that_could_never_be_granted_is_refused() {
    let (years, burst) = (2 * CENTURY, 5);
    let invalid = TokenBucket::try_new(burst, years).unwrap_err();
    assert_eq!((invalid.setting(), invalid.value()), ("burst", "5"));
    let fits = TokenBucket::new(5, CENTURY);
    assert_eq!(takes(&fits, Duration::ZERO, 20), 5);
}

// ---- clocks

#[cfg(feature = "std")]
#[test]
fn the_forms_without_now_read_a_clock() {
    let bucket = TokenBucket::new(1, CENTURY);
    assert_eq!(bucket.try_take(), Ok(()));
    let wait = bucket.try_take().unwrap_err();
    assert!(wait <= CENTURY && CENTURY < wait + 60 * SECOND);
    let second = bucket.reserve();
    assert!(second.wait() <= wait, "time goes on");
    bucket.give_back(second);
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn a_paused_clock_holds_for_the_bucket() {
    let bucket = TokenBucket::new(1, SECOND);
    assert_eq!(bucket.try_take(), Ok(()));
    assert_eq!(bucket.try_take(), Err(SECOND));
    tokio::time::advance(just_before(SECOND)).await;
    assert_eq!(bucket.try_take(), Err(NANOSECOND));
    tokio::time::advance(NANOSECOND).await;
    assert_eq!(bucket.reserve().wait(), Duration::ZERO);
    assert_eq!(bucket.reserve().wait(), SECOND);
}

// ---- as a policy

fn failed(attempt: u32, elapsed: Duration) -> Failed {
    Failed::new(attempt, elapsed, Cause::Down)
}

fn start(policy: &TokenBucket, seed: u64) -> Backoff<BucketPolicy> {
    policy.as_policy().start(redial::Rng::from_seed(seed))
}

// Computed apart from this crate, from the definitions of SplitMix64,
// xoshiro256++ and the rule.
#[test]
fn a_seed_means_the_same_waits_everywhere() {
    let waits = TokenBucket::new(3, SECOND)
        .as_policy()
        .delays_from_seed(42)
        .take(8);
    let waits: Vec<_> = waits.map(|wait| wait.as_nanos()).collect();
    #[rustfmt::skip]
    assert_eq!(waits, [
        814_305_146, 318_821_041, 983_894_169, 701_135_599,
        793_504_490, 588_098_467, 125_352_443, 1_280_011_094,
    ]);
}

#[test]
fn an_outage_spends_its_burst_and_then_one_token_each_period() {
    for burst in [1, 2, 10] {
        for seed in 0..100 {
            let policy = TokenBucket::new(burst, SECOND).as_policy();
            let mut elapsed = Duration::ZERO;
            for (n, wait) in (1..=200).zip(policy.delays_from_seed(seed)) {
                assert!(Duration::ZERO < wait && wait <= 2 * SECOND);
                elapsed += wait;
                // The tokens earned by now, whole or not, pay for n attempts.
                assert!(n <= burst + elapsed.as_secs() as u32);
                // And none is left to lie for two periods.
                assert!(elapsed <= n * SECOND);
            }
        }
    }
}

#[test]
fn clients_lost_at_the_same_instant_do_not_retry_in_step() {
    let policy = TokenBucket::new(1, SECOND).as_policy();
    for n in 0..5 {
        let nth = |seed| policy.delays_from_seed(seed).take(n + 1).sum::<Duration>();
        let mut quarters = [0; 4];
        for seed in 0..4_000 {
            let into_the_period = nth(seed).subsec_nanos();
            quarters[into_the_period as usize / 250_000_000] += 1;
        }
        // 1000 each; a binomial is 7 deviations off with 3e-12.
        for count in quarters {
            assert!((800..1_200).contains(&count), "attempt {n}: {quarters:?}");
        }
    }
}

#[test]
fn an_outage_takes_no_tokens_from_the_bucket() {
    let bucket = TokenBucket::new(2, SECOND);
    let _ = bucket.as_policy().delays_from_seed(1).take(50).last();
    assert_eq!(takes(&bucket, Duration::ZERO, 100), 2);
    // Nor does it feel that they are gone.
    let mut waits = bucket.as_policy().delays_from_seed(1);
    assert!(waits.next().unwrap() <= SECOND);
}

#[test]
fn waits_cut_short_are_paid_for_by_one_period_at_a_time() {
    let mut backoff = start(&TokenBucket::new(1, SECOND), 1);
    for attempt in 0..100 {
        let wait = backoff.next_delay(&failed(attempt, Duration::ZERO));
        assert!(wait.unwrap() <= 2 * SECOND);
    }
}

#[test]
fn attempts_that_were_not_seen_have_spent_their_tokens() {
    // Ten of them and 7 s: the burst of 2 and what was earned are gone.
    let mut backoff = start(&TokenBucket::new(2, SECOND), 1);
    let wait = backoff.next_delay(&failed(10, 7 * SECOND)).unwrap();
    assert!(SECOND < wait && wait <= 2 * SECOND);
}

proptest! {
    #[test]
    fn a_wait_is_longer_than_zero_and_at_most_two_periods(
        burst in prop_oneof![Just(1), 1..10_u32, Just(u32::MAX)],
        period in prop_oneof![Just(1), 1..1_000_000_000_000_u64, Just(u64::MAX)],
        seed: u64,
        seen in prop::collection::vec(any::<(u32, Duration)>(), 1..20),
    ) {
        // The longest that goes with this burst.
        let period = Duration::from_nanos(period.min(u64::MAX / burst as u64));
        let mut backoff = start(&TokenBucket::new(burst, period), seed);
        for (attempt, elapsed) in seen {
            let wait = backoff.next_delay(&failed(attempt, elapsed)).unwrap();
            prop_assert!(Duration::ZERO < wait && wait <= 2 * period);
        }
    }
}

#[test]
fn buckets_and_their_backoffs_cross_threads() {
    fn crosses<T: Send + Sync + Unpin + 'static>() {}
    crosses::<TokenBucket>();
    crosses::<Backoff<BucketPolicy>>();
}
