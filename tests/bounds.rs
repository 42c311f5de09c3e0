//! Do the bounds of the spread tests hold what they promise: rarely an alarm
//! for a sound sample, and as tight as their documentation says?

mod fleet;
mod statistics;

use fleet::{ARRIVING, CLIENTS, IN_STEP, MIXING_TENTHS, TENTHS};
use redial::Rng;
use statistics::*;
use statrs::distribution::{Binomial, DiscreteCDF};

fn close(value: f64, expected: f64, digits: i32) -> bool {
    (value - expected).abs() <= 0.5 * 10f64.powi(-digits)
}

// ---- tight: the published figures

#[test]
fn ks_is_3_272_over_the_root_of_n() {
    for n in [100_usize, 10_000, 1_000_000] {
        assert!(close(ks_limit(n, ALPHA) * (n as f64).sqrt(), 3.272, 3));
    }
}

#[test]
fn anderson_darling_is_just_above_its_published_quantiles() {
    // Marsaglia and Marsaglia (2004): 2.492 at 5 %, 3.878 at 1 %.
    for (alpha, quantile) in [(0.05, 2.492), (0.01, 3.878)] {
        let limit = anderson_darling_limit(alpha);
        assert!(limit > quantile && limit < quantile * 1.1, "{limit}");
    }
    let limit = anderson_darling_limit(ALPHA);
    assert!(limit > 19.0 && limit < 20.0, "{limit}");
}

#[test]
fn a_fleet_of_1e5_over_1_s_loads_1_ms_bins_with_26_to_184() {
    let whole = |(least, most): (f64, f64)| (least.ceil() as u64, most as u64);
    assert_eq!(whole(load_limits(100.0, 1000, ALPHA)), (26, 184));
    // And 10 ms bins with:
    assert_eq!(whole(load_limits(1000.0, 100, ALPHA)), (775, 1233));
}

#[test]
fn bounds_at_1e5_are_a_few_per_cent() {
    assert!(close(correlation_limit(100_000, ALPHA), 0.0209, 4));
    assert!(close(resultant_limit(100_000, ALPHA), 0.0297, 4));
}

#[test]
fn fano_over_a_minute_of_tenths_is_below_one_and_a_half() {
    let limit = fano_limit(600, ALPHA);
    assert!(limit > 1.4 && limit < 1.5, "{limit}");
}

#[test]
fn the_page_on_spread_states_the_sizes_and_limits_of_the_tests() {
    let page = include_str!("../src/docs/spread.md").replace('\n', " ");
    let thousands = |n: usize| match n {
        10_000.. => format!("{} {:03}", n / 1000, n % 1000),
        _ => n.to_string(),
    };
    let bins = CLIENTS / BIN_LOAD;
    let (least, most) = load_limits(BIN_LOAD as f64, bins, ALPHA);
    let (least, most) = (least.ceil(), most.floor());
    for stated in [
        format!("waits of {} clients", thousands(CLIENTS)),
        format!("{bins} bins of the window"),
        format!("between {least} and {most} of them, about a mean of {BIN_LOAD}"),
        format!("{} clients are no more in step", thousands(IN_STEP)),
        format!(
            "{} clients after one, five and ten minutes",
            thousands(ARRIVING)
        ),
        format!(
            "| {} | {:.4} |",
            thousands(CLIENTS),
            ks_limit(CLIENTS, ALPHA)
        ),
        format!("| {:.1} |", anderson_darling_limit(ALPHA)),
        format!("| {least} to {most} |"),
        format!(
            "nanosecond of a minute | {} | {} |",
            thousands(CLIENTS),
            commonest_limit(CLIENTS, 1.0 / 60e9, ALPHA)
        ),
        format!(
            "| {} pairs | {:.4} |",
            thousands(CLIENTS / 2),
            correlation_limit(CLIENTS / 2, ALPHA)
        ),
        format!(
            "| {} | {:.4} |",
            thousands(IN_STEP),
            resultant_limit(IN_STEP, ALPHA)
        ),
        format!(
            "| {TENTHS} tenths of a second | {:.2} |",
            fano_limit(TENTHS, ALPHA)
        ),
        format!(
            "| {MIXING_TENTHS} tenths of a second | {:.3} |",
            autocorrelation_limit(MIXING_TENTHS, ALPHA)
        ),
    ] {
        assert!(page.contains(&stated), "the page does not say: {stated}");
    }
    assert!(close(ALPHA, 1e-9, 12) && page.contains("10⁻⁹ for one assertion"));
}

// ---- sound: against the exact law of the statistic

#[test]
fn no_binomial_load_passes_its_limits_more_often_than_alpha() {
    for n in [1_000_usize, 20_000, 1_000_000] {
        for bins in [2_usize, 10, 500, 10_000] {
            let (least, most) = load_limits(n as f64 / bins as f64, bins, ALPHA);
            let load = Binomial::new(1.0 / bins as f64, n as u64).unwrap();
            let above = load.sf(most as u64) * bins as f64;
            assert!(above <= ALPHA, "{n} in {bins}: {above}");
            if least >= 1.0 {
                let below = load.cdf(least.ceil() as u64 - 1) * bins as f64;
                assert!(below <= ALPHA, "{n} in {bins}: {below}");
            }
        }
    }
}

#[test]
fn no_share_passes_its_limit_more_often_than_alpha() {
    for n in [1_000_usize, 100_000] {
        for chance in [0.001, 0.02, 0.5, 0.9] {
            let limit = share_limit(n, chance, ALPHA);
            let hits = Binomial::new(chance, n as u64).unwrap();
            let above = hits.sf(((chance + limit) * n as f64) as u64);
            let least = ((chance - limit) * n as f64).ceil();
            let below = if least >= 1.0 {
                hits.cdf(least as u64 - 1)
            } else {
                0.0
            };
            assert!(above + below <= ALPHA, "{n} of {chance}: {above} + {below}");
        }
    }
}

#[test]
fn birthdays_agree_as_often_as_the_limit_says() {
    // 23 people, one birthday shared by two: 51 % (and the union bound 69 %).
    assert_eq!(commonest_limit(23, 1.0 / 365.0, 0.7), 1);
    assert_eq!(commonest_limit(23, 1.0 / 365.0, 0.5), 2);
    // Of 2e5 clients over a minute, three share a nanosecond with 4e-7.
    assert_eq!(commonest_limit(200_000, 1.0 / 60e9, ALPHA), 3);
    // Where every draw must be the same, all are.
    assert_eq!(commonest_limit(50, 1.0, ALPHA), 50);
}

// ---- sound: by experiment, at an error that can be counted

/// Asserts that `alarm`, given a generator, is true in at most one of a hundred
/// trials. The count of alarms is binomial, and itself tested at `ALPHA`.
#[track_caller]
fn alarms_once_in_a_hundred(trials: u64, mut alarm: impl FnMut(&mut Rng) -> bool) {
    let mut rng = Rng::from_seed(1);
    let alarms = (0..trials).filter(|_| alarm(&mut rng)).count() as u64;
    let chance = Binomial::new(0.01, trials).unwrap().sf(alarms);
    assert!(chance >= ALPHA, "{alarms} alarms in {trials}");
}

fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

fn units(rng: &mut Rng, n: usize) -> Uniform {
    Uniform::new((0..n).map(|_| unit(rng)))
}

#[test]
fn ks_raises_no_more_alarms_than_it_says() {
    alarms_once_in_a_hundred(5000, |rng| units(rng, 100).ks().value > ks_limit(100, 0.01));
}

#[test]
fn anderson_darling_raises_no_more_alarms_than_it_says() {
    let limit = anderson_darling_limit(0.01);
    alarms_once_in_a_hundred(5000, |rng| units(rng, 100).anderson_darling().value > limit);
}

#[test]
fn bins_raise_no_more_alarms_than_they_say() {
    let (least, most) = load_limits(50.0, 20, 0.01);
    alarms_once_in_a_hundred(5000, |rng| {
        let loads = units(rng, 1000).loads(20);
        loads.iter().any(|&load| load as f64 > most)
    });
    alarms_once_in_a_hundred(5000, |rng| {
        let loads = units(rng, 1000).loads(20);
        loads.iter().any(|&load| (load as f64) < least)
    });
}

#[test]
fn correlation_raises_no_more_alarms_than_it_says() {
    let limit = correlation_limit(100, 0.01);
    alarms_once_in_a_hundred(5000, |rng| {
        correlation((0..100).map(|_| (unit(rng), unit(rng)))).value > limit
    });
}

#[test]
fn phases_raise_no_more_alarms_than_they_say() {
    let limit = resultant_limit(100, 0.01);
    alarms_once_in_a_hundred(5000, |rng| {
        phase_locking((0..100).map(|_| unit(rng)), 0.0).value > limit
    });
}

#[test]
fn a_mean_raises_no_more_alarms_than_it_says() {
    let limit = mean_limit(100, 2.0, 0.01);
    alarms_once_in_a_hundred(5000, |rng| {
        mean((0..100).map(|_| 2.0 * unit(rng)), 1.0, 2.0).value > limit
    });
}

/// What 2000 clients that know nothing of each other load 200 bins with.
fn arrivals(rng: &mut Rng) -> Vec<u64> {
    units(rng, 2000).loads(200)
}

#[test]
fn fano_raises_no_more_alarms_than_it_says() {
    let limit = fano_limit(200, 0.01);
    alarms_once_in_a_hundred(2000, |rng| fano_factor(&arrivals(rng)) > limit);
}

#[test]
fn intensity_raises_no_more_alarms_than_it_says() {
    // At ALPHA itself: none in so many trials.
    let rates = [10.0; 200];
    alarms_once_in_a_hundred(2000, |rng| {
        !intensity(&arrivals(rng), &rates).is_sound()
            || !fano_about(&arrivals(rng), &rates).is_sound()
    });
}

#[test]
fn autocorrelation_raises_no_more_alarms_than_it_says() {
    let limit = autocorrelation_limit(200, 0.01);
    alarms_once_in_a_hundred(2000, |rng| autocorrelation(&arrivals(rng), 7).value > limit);
}

// ---- the statistics themselves, on samples small enough for paper

#[test]
fn the_statistics_are_what_paper_says() {
    let quarters = Uniform::new([0.125, 0.375, 0.625, 0.875]);
    assert!(close(quarters.ks().value, 0.125, 12));
    // The terms weigh 1, 3, 5 and 7; a symmetric sample's two logarithms agree.
    let a2 = -4.0
        - 0.25
            * 2.0
            * (0.125_f64.ln() + 3.0 * 0.375_f64.ln() + 5.0 * 0.625_f64.ln() + 7.0 * 0.875_f64.ln());
    assert!(close(quarters.anderson_darling().value, a2, 12));
    assert_eq!(quarters.loads(2), [2, 2]);

    assert!(close(commonest([7, 1, 7, 2, 7], 0.1).value, 3.0, 12));
    assert!(close(correlation([(1.0, 1.0), (0.0, 0.0)]).value, 3.0, 12));
    assert!(close(
        phase_locking([0.0, 0.5, 0.25, 0.75], 0.0).value,
        0.0,
        12
    ));
    assert!(close(phase_locking([0.2, 1.2], 0.0).value, 1.0, 12));
    assert!(close(fano_factor(&[1, 3, 1, 3]), 4.0 / 3.0 / 2.0, 12));
    assert!(close(
        autocorrelation(&[0, 2, 0, 2, 0, 2, 0, 2], 2).value,
        0.75,
        12
    ));
    assert!(close(fano_about(&[1, 6], &[2.0, 4.0]).value, 0.75, 12));
}
