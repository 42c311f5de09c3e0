//! A token bucket: a rate with a burst, in one atomic word.

use core::fmt;
use core::time::Duration;

#[cfg(feature = "std")]
use crate::clock::Stopwatch;
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::policy::BucketPolicy;
use crate::sync::{Arc, AtomicU64, Ordering};

/// One token each period, and at most a burst of them saved.
///
/// A new bucket is full. Clones share their tokens: give one to each of many
/// connections, and together they stay within the rate.
///
/// - A limit: [`try_take`](Self::try_take) takes a token, or says when there
///   will be one.
/// - A queue: [`reserve`](Self::reserve) takes a token that is still to come,
///   so that each waiter gets an instant of its own. A server that answers
///   each rejected client with that wait hands out
///   [slots](crate::Verdict::Slot).
/// - A policy for each client by itself: [`as_policy`](Self::as_policy).
///
/// ```
/// use redial::TokenBucket;
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let bucket = TokenBucket::new(2, second);
/// let now = Duration::ZERO; // on any monotonic clock
/// assert!(bucket.try_take_at(now).is_ok());
/// assert!(bucket.try_take_at(now).is_ok());
/// assert_eq!(bucket.try_take_at(now), Err(second));
///
/// assert_eq!(bucket.reserve_at(now), second);
/// assert_eq!(bucket.reserve_at(now), 2 * second);
/// ```
///
/// # Time
///
/// `try_take_at` and `reserve_at` are told the time since an instant that the
/// caller chose. `try_take` and `reserve` read a clock that starts with the
/// bucket: tokio's with the feature `tokio`, and so paused where that is
/// paused, else the standard library's. A bucket keeps one time: use one pair
/// or the other. A clock that goes back earns nothing.
///
/// Time is in whole nanoseconds and exact. It ends at `u64::MAX` of them, 584
/// years, and so does the bucket: once a token is taken that moves the next one
/// beyond that, it refuses all others, and its answer is 584 years.
///
/// # Where it comes from
///
/// The virtual scheduling form of the generic cell rate algorithm (ITU-T
/// I.371): the state is the instant at which the bucket would be full again. It
/// is one atomic word of 64 bits, so the few targets that have none have no
/// `TokenBucket`.
#[derive(Clone)]
pub struct TokenBucket {
    shared: Arc<Shared>,
    burst: u32,
    /// Nanoseconds, as all integers here.
    period: u64,
    /// How far ahead of now `full_at` may be and still leave one token:
    /// (burst - 1) * period.
    tolerance: u64,
}

/// What all clones of a bucket share.
struct Shared {
    /// When the bucket is full again; [`CLOSED`] at the end of time.
    full_at: AtomicU64,
    #[cfg(feature = "std")]
    age: Stopwatch,
}

/// The end of time: `full_at` would lie beyond it.
const CLOSED: u64 = u64::MAX;

impl TokenBucket {
    /// A full bucket of `burst` tokens, which earns one each `period`.
    ///
    /// # Panics
    ///
    /// If `burst` or `period` is zero; [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new(burst: u32, period: Duration) -> Self {
        expect(Self::try_new(burst, period))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If `burst` or `period` is zero.
    pub fn try_new(burst: u32, period: Duration) -> Result<Self, InvalidConfig> {
        if burst == 0 {
            return Err(InvalidConfig::new(
                "burst",
                burst,
                "the bucket would never hold a token; give it at least 1",
            ));
        }
        if period.is_zero() {
            return Err(InvalidConfig::duration(
                "period",
                period,
                "it would limit nothing; give it a length, such as 100 ms",
            ));
        }
        let period = nanos(period);
        Ok(Self {
            shared: Arc::new(Shared {
                full_at: AtomicU64::new(0),
                #[cfg(feature = "std")]
                age: Stopwatch::start(),
            }),
            burst,
            period,
            tolerance: period.saturating_mul(burst as u64 - 1),
        })
    }

    /// Takes a token.
    ///
    /// # Errors
    ///
    /// The time until there will be one, if nobody else takes it.
    #[cfg(feature = "std")]
    pub fn try_take(&self) -> Result<(), Duration> {
        self.try_take_at(self.now())
    }

    /// Takes a token at `now`.
    ///
    /// # Errors
    ///
    /// The time until there will be one, if nobody else takes it: a
    /// nanosecond earlier there is none.
    #[inline]
    pub fn try_take_at(&self, now: Duration) -> Result<(), Duration> {
        let now = nanos(now);
        let latest = self.latest(now);
        self.update(|full_at| (full_at <= latest).then(|| self.later(full_at, now)))
            .map(|_| ())
            .map_err(|full_at| wait_for_token(full_at, latest))
    }

    /// Takes a token that there is or will be, and returns the wait for it:
    /// zero if there is one.
    ///
    /// One who does not wait for it may [`give_back`](Self::give_back) it.
    #[cfg(feature = "std")]
    #[must_use = "the token is there only after this wait"]
    pub fn reserve(&self) -> Duration {
        self.reserve_at(self.now())
    }

    /// As [`reserve`](Self::reserve), at `now`.
    #[inline]
    #[must_use = "the token is there only after this wait"]
    pub fn reserve_at(&self, now: Duration) -> Duration {
        let now = nanos(now);
        let (Ok(full_at) | Err(full_at)) = self.update(|full_at| Some(self.later(full_at, now)));
        wait_for_token(full_at, self.latest(now))
    }

    /// Returns a token that was taken and not used. A full bucket stays full.
    ///
    /// The waits that others were told stand. So the next one to reserve gets
    /// the instant of the last in the queue, not that of the one who left it:
    /// the number of tokens is right, though two may come due together.
    pub fn give_back(&self) {
        // Who knows how many tokens were taken beyond the end of time?
        let _ =
            self.update(|full_at| (full_at != CLOSED).then(|| full_at.saturating_sub(self.period)));
    }

    /// The bucket's rate as a [policy](crate::Policy), by which each client waits
    /// alone. It takes no tokens from this bucket.
    ///
    /// Clients that share a limit take this bucket as their
    /// [budget](crate::Redial::budget) instead.
    pub const fn as_policy(&self) -> BucketPolicy {
        BucketPolicy::new(self.burst, self.period)
    }

    /// How long an empty bucket takes to be full.
    #[cfg(feature = "tokio")]
    pub(crate) fn fills_within(&self) -> Duration {
        Duration::from_nanos(self.tolerance.saturating_add(self.period))
    }

    /// The latest `full_at` that leaves a token at `now`; never [`CLOSED`].
    #[inline]
    fn latest(&self, now: u64) -> u64 {
        now.saturating_add(self.tolerance).min(CLOSED - 1)
    }

    /// `full_at` with one token less.
    #[inline]
    fn later(&self, full_at: u64, now: u64) -> u64 {
        full_at.max(now).saturating_add(self.period)
    }

    #[inline]
    fn update(&self, next: impl Fn(u64) -> Option<u64>) -> Result<u64, u64> {
        // Relaxed suffices: this word is all that threads share, so there is
        // no other memory to order, and changes to one word have one order.
        let relaxed = Ordering::Relaxed;
        self.shared.full_at.fetch_update(relaxed, relaxed, next)
    }

    #[cfg(feature = "std")]
    fn now(&self) -> Duration {
        self.shared.age.elapsed()
    }
}

/// The time until a bucket that is full at `full_at` has a token, which it has
/// now if that is no later than `latest`.
#[inline]
fn wait_for_token(full_at: u64, latest: u64) -> Duration {
    Duration::from_nanos(match full_at {
        CLOSED => CLOSED,
        _ => full_at.saturating_sub(latest),
    })
}

impl fmt::Debug for TokenBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenBucket")
            .field("burst", &self.burst)
            .field("period", &Duration::from_nanos(self.period))
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nonsense_is_refused_by_its_value() {
        let empty = TokenBucket::try_new(0, SECOND).unwrap_err();
        assert!(empty.to_string().contains("burst is 0"), "{empty}");
        let endless = TokenBucket::try_new(1, Duration::ZERO).unwrap_err();
        assert!(endless.to_string().contains("period is 0ns"), "{endless}");
    }

    #[test]
    #[should_panic(expected = "burst is 0")]
    fn the_plain_form_panics_with_the_words_of_the_error() {
        let _ = TokenBucket::new(0, SECOND);
    }

    #[test]
    fn debug_shows_what_was_configured() {
        assert_eq!(
            format!("{:?}", TokenBucket::new(3, SECOND)),
            "TokenBucket { burst: 3, period: 1s, .. }"
        );
    }
}
