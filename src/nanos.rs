//! Time as whole nanoseconds.

use core::time::Duration;

/// Nanoseconds, saturating: `u64::MAX` of them are 584 years.
#[inline]
pub(crate) const fn nanos(duration: Duration) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    let (seconds, rest) = (duration.as_secs(), duration.subsec_nanos() as u64);
    // Plain arithmetic if it cannot overflow. Then the compiler sees that this
    // undoes a `Duration::from_nanos`, and leaves both out.
    if seconds < u64::MAX / SECOND {
        seconds * SECOND + rest
    } else {
        seconds.saturating_mul(SECOND).saturating_add(rest)
    }
}

/// The time in whole milliseconds, for people: nobody reads the rest.
#[cfg(feature = "tokio")]
pub(crate) const fn readable(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64)
}

/// `range * random / 2^64`: uniform over `0..range` for a uniform `random`,
/// with a bias below `range / 2^64`.
#[inline]
pub(crate) const fn scale(random: u64, range: u64) -> u64 {
    ((random as u128 * range as u128) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_more_than_584_years_count_as_584_years() {
        let nanosecond = Duration::from_nanos(1);
        let last = Duration::from_nanos(u64::MAX);
        for (time, expected) in [
            (Duration::ZERO, 0),
            (last - nanosecond, u64::MAX - 1),
            (last, u64::MAX),
            // Within the last second of a `u64`, and after it.
            (last + nanosecond, u64::MAX),
            (last + Duration::from_secs(1), u64::MAX),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!(nanos(time), expected, "{time:?}");
        }
    }
}
