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

/// `range * random / 2^64`: uniform over `0..range` for a uniform `random`,
/// with a bias below `range / 2^64`.
#[inline]
pub(crate) const fn scale(random: u64, range: u64) -> u64 {
    ((random as u128 * range as u128) >> 64) as u64
}
