//! Powers of two and logarithms in integers. The `exp2` and `log2` of floats differ
//! between platforms; these do not.

use crate::nanos::scale;

/// The bits of a logarithm after the binary point. Seven are left before it.
pub(super) const FRACTION: u32 = 57;
/// The logarithm of a nanosecond. The offset of 64 keeps all logarithms positive.
pub(super) const NANOSECOND: u64 = 64 << FRACTION;
/// About 1e-12: smaller differences of logarithms are rounding errors.
pub(super) const ROUNDING: u64 = 1 << (FRACTION - 40);

/// The power of two in nanoseconds, rounded down. Monotonic.
#[inline]
pub(super) const fn exp2(log: u64) -> u64 {
    // 2^(i/512) comes from a table. A parabola through both ends and the middle
    // gives 2^t for the rest t, which is below 1/512. The error is at most 2e-11.
    let power = POWERS[(log >> (FRACTION - 9)) as usize % POWERS.len()];
    let t = log << (64 - FRACTION + 9); // as a fraction of 2^64
    let rise = scale(t, SLOPE + scale(t, BEND));
    let power = power + scale(rise, power);
    match power.checked_shr(127 - (log >> FRACTION) as u32) {
        Some(nanoseconds) => nanoseconds,
        None => 0,
    }
}

/// 2^(i/512), in units of 2^-63.
const POWERS: [u64; 512] = {
    let mut powers = [1 << 63; 512];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = ((powers[i - 1] as u128 * ROOT as u128) >> 63) as u64;
        i += 1;
    }
    powers
};

/// 2^(1/512), in units of 2^-63.
const ROOT: u64 = root(9);
/// The parabola from 0 at t = 0, through 2^(1/1024) - 1, to 2^(1/512) - 1 at
/// t = 1, in units of 2^-64. It ends slightly below the next entry of the table;
/// otherwise rounding could make a step down.
const SLOPE: u64 = 8 * (root(10) - (1 << 63)) - 2 * (ROOT - (1 << 63)) - 64;
const BEND: u64 = 4 * (ROOT - (1 << 63)) - 8 * (root(10) - (1 << 63));

/// 2^(2^-n), in units of 2^-63, from integer square roots.
const fn root(n: u32) -> u64 {
    let mut root = 1_u128 << 64;
    let mut i = 0;
    while i < n {
        root = (root << 63).isqrt();
        i += 1;
    }
    root as u64
}

/// log2 of `x`, rounded down, one bit for each squaring. `x` is at least 1.
pub(super) const fn log2(x: u64) -> u64 {
    let whole = x.ilog2();
    let mut log = (whole as u64) << FRACTION;
    let mut mantissa = (x as u128) << (63 - whole); // in 1..2, in units of 2^-63
    let mut bit = 1 << (FRACTION - 1);
    while bit > 0 {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            log |= bit;
        }
        bit >>= 1;
    }
    log
}

/// log2 of a float between 2^-12 and 2^63.
pub(super) const fn log2_of_float(x: f64) -> i64 {
    const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;
    let bits = x.to_bits();
    let exponent = (bits >> MANTISSA) as i64 - 1023;
    let mantissa = bits & ((1 << MANTISSA) - 1) | 1 << MANTISSA;
    log2(mantissa) as i64 + ((exponent - MANTISSA as i64) << FRACTION)
}

/// `time` times `exp(0.27 (2v - 1))`, where v is `random` as a fraction of 2^64: from
/// 0.76 to 1.31 times as long, evenly on a logarithmic scale.
#[inline]
pub(crate) const fn jittered(time: u64, random: u64) -> u64 {
    /// 0.27 / ln 2.
    const REACH: u64 = (0.389_527_661_062_053_6 * (1_u64 << FRACTION) as f64) as u64;
    /// The factor is in units of 2^-32.
    const UNIT: u64 = NANOSECOND + (32 << FRACTION);
    let factor = exp2(UNIT - REACH + scale(random, 2 * REACH));
    let product = (time as u128 * factor as u128) >> 32;
    if product < u64::MAX as u128 {
        product as u64
    } else {
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_exact_to_ten_digits_and_logarithms_to_sixteen() {
        extern crate std;
        let unit = 2_f64.powi(-(FRACTION as i32));
        for i in 0..100_000_u64 {
            let log = NANOSECOND + i * ((62 << FRACTION) / 100_000);
            let exact = ((log - NANOSECOND) as f64 * unit).exp2();
            let ours = exp2(log) as f64;
            assert!((ours - exact).abs() <= 1.0 + 2e-11 * exact, "2^{log}");
            if ours > 1e12 {
                let back = log2(exp2(log)) as f64;
                assert!((back - (log - NANOSECOND) as f64).abs() * unit < 1e-10);
            }
        }
        for x in [1, 2, 3, 1_000_000_000, 6_871_947_674, u64::MAX] {
            assert!(
                (log2(x) as f64 * unit - (x as f64).log2()).abs() < 1e-14,
                "{x}"
            );
        }
        assert_eq!(log2(1 << 62), 62 << FRACTION);
        for x in [0.001, 0.6, 1.0, 1.001, 1.6, 2.0, 1e9] {
            assert!(
                (log2_of_float(x) as f64 * unit - x.log2()).abs() < 1e-14,
                "{x}"
            );
        }
        assert_eq!([exp2(0), exp2(NANOSECOND - 1), exp2(NANOSECOND)], [0, 0, 1]);
    }

    #[test]
    fn powers_do_not_fall_between_two_cells_of_the_table() {
        for cell in 1..=512_u64 {
            // The largest powers, in which a step of one shows.
            let log = NANOSECOND + (62 << FRACTION) + (cell << (FRACTION - 9));
            assert!(exp2(log - 1) <= exp2(log), "{cell}");
        }
    }

    #[test]
    fn a_jittered_time_is_even_on_a_logarithmic_scale() {
        let second = 1_000_000_000;
        for (random, exponent) in [
            (0, -0.27),
            (1 << 62, -0.135),
            (1 << 63, 0.0),
            (u64::MAX, 0.27),
        ] {
            let exact = f64::exp(exponent) * 1e9;
            let ours = jittered(second, random) as f64;
            assert!((ours / exact - 1.0).abs() < 1e-8, "{random}: {ours}");
        }
        assert_eq!(jittered(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(jittered(0, u64::MAX), 0);
    }
}
