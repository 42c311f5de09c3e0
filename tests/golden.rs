//! Does a seed mean the same waits, on every platform and in every version?
//!
//! Nanoseconds, for seed 42, computed apart from this crate: from the
//! definitions of `SplitMix64` and xoshiro256++, the laws in integers, and for
//! `Stratified` the curve with sixty digits, which the fixed-point one meets to
//! a nanosecond an instant here.
//!
//! A change here is a change that users can notice: it belongs in the changelog.

mod fleet;

use std::time::Duration;

use fleet::SECOND;
use redial::{
    Cause, Decorrelated, Exponential, Failed, Jitter, Next, Outage, Policy, Rng, Sequence,
    Stratified, TokenBucket, Verdict,
};

const ONE: Duration = Duration::from_nanos(SECOND);

/// The first waits where every attempt fails at once, for `cause`.
fn waits<const N: usize>(policy: &impl Policy, cause: Cause) -> [u64; N] {
    let mut backoff = policy.start(Rng::from_seed(42));
    let mut now = Duration::ZERO;
    std::array::from_fn(|attempt| {
        let failed = Failed::new(attempt as u32, now, cause);
        let wait = backoff
            .next_delay(&failed)
            .expect("no policy here gives up");
        now += wait;
        wait.as_nanos() as u64
    })
}

#[test]
#[rustfmt::skip]
fn exponential() {
    let minute = Exponential::new(ONE, 60 * ONE);
    assert_eq!(waits(&minute, Cause::Down), [
        814_305_146, 637_642_081, 3_935_576_673, 5_609_084_786,
        12_696_071_836, 18_819_150_927, 7_521_146_524, 36_307_346_920,
    ]);
    assert_eq!(waits(&minute.jitter(Jitter::Equal), Cause::Down), [
        907_152_573, 1_318_821_041, 3_967_788_337, 6_804_542_393,
        14_348_035_918, 25_409_575_464, 33_760_573_262, 48_153_673_460,
    ]);
    assert_eq!(waits(&minute.jitter(Jitter::Proportional(0.2)), Cause::Down), [
        1_125_722_058, 1_855_056_832, 4_774_230_670, 8_643_633_914,
        17_878_428_734, 33_127_660_371, 42_507_048_843, 52_102_448_974,
    ]);
    assert_eq!(waits(&minute.jitter(Jitter::None), Cause::Down), [
        SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND, 16 * SECOND, 32 * SECOND, 60 * SECOND,
    ]);
}

#[test]
#[rustfmt::skip]
fn decorrelated() {
    assert_eq!(waits(&Decorrelated::new(ONE, 60 * ONE), Cause::Down), [
        2_628_610_291, 3_195_347_760, 9_447_757_911, 20_171_342_584,
        47_816_764_892, 35_697_809_522, 8_395_794_081, 15_636_327_970,
    ]);
}

#[test]
#[rustfmt::skip]
fn sequence() {
    assert_eq!(waits(&Sequence::new([2 * ONE, 10 * ONE, 30 * ONE]), Cause::Down), [
        1_628_610_291, 3_188_210_401, 29_516_825_046,
        21_034_067_945, 23_805_134_691, 17_642_953_995,
    ]);
}

#[test]
#[rustfmt::skip]
fn token_bucket() {
    assert_eq!(waits(&TokenBucket::new(2, 10 * ONE).as_policy(), Cause::Down), [
        8_143_051_452, 3_188_210_401, 9_838_941_682,
        7_011_355_982, 9_753_485_380, 7_945_939_768,
    ]);
}

/// 1.6^n s while windows grow; what a cause makes of them after nine.
#[test]
#[rustfmt::skip]
fn stratified() {
    let policy = Stratified::default();
    let growing = [
        777_127_939, 1_303_290_536, 2_970_292_719, 3_870_518_995, 6_239_331_004,
        10_659_553_440, 12_785_603_058, 26_713_848_895, 25_075_262_049,
    ];
    for (cause, at_the_cap) in [
        (Cause::Down, [36_500_206_764, 30_893_092_091, 29_005_540_823, 32_700_097_059, 23_542_957_066]),
        (Cause::Busy, [43_244_935_214, 47_326_366_954, 55_820_199_223, 78_309_585_943, 71_589_617_372]),
        // The same as `Busy` up to its cap.
        (Cause::Stalled, [43_244_935_214, 47_326_366_954, 55_820_199_223, 78_309_585_943, 71_589_617_372]),
    ] {
        let waits: [u64; 14] = waits(&policy, cause);
        assert_eq!(waits[..9], growing, "{cause:?}");
        assert_eq!(waits[9..], at_the_cap, "{cause:?}");
    }
}

/// The seeds after the first are hashes of it: outputs of `SplitMix64`.
#[test]
fn later_outages_of_a_seed() {
    let policy = Stratified::default();
    let mut outage = Outage::from_seed(policy, 42);
    let mut now = Duration::ZERO;
    for seed in [42, 6_332_618_229_526_065_668, 17_630_415_256_238_047_317] {
        let first = policy.delays_from_seed(seed).next().unwrap();
        assert_eq!(outage.lost(now), Next::Wait(first), "{seed}");
        outage.connected(now + first);
        now += 3_600 * ONE;
    }
}

/// The spread of a hint in whole seconds comes from the other end of those hashes.
#[test]
fn the_spread_of_a_hint() {
    let mut outage = Outage::from_seed(Sequence::new([Duration::ZERO]), 42);
    for spread in [84_875_554, 522_062_882] {
        let next = outage.failed(Duration::ZERO, Verdict::RetryAfter(ONE));
        assert_eq!(next, Next::Wait(ONE + Duration::from_nanos(spread)));
    }
}
