//! A token bucket: a rate with a burst, in one atomic word.

#[cfg(feature = "std")]
use alloc::collections::BinaryHeap;
#[cfg(feature = "std")]
use core::cmp::Reverse;
use core::fmt;
use core::time::Duration;

#[cfg(feature = "std")]
use crate::clock::Stopwatch;
#[cfg(feature = "tokio")]
use crate::clock::{Instant, after};
use crate::invalid::{InvalidConfig, expect};
use crate::nanos::nanos;
use crate::policy::BucketPolicy;
use crate::sync::{Arc, AtomicU64, Ordering};
#[cfg(feature = "std")]
use crate::sync::{Mutex, lock};

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
/// let mine = bucket.reserve_at(now);
/// assert_eq!(mine.wait(), second);
/// assert_eq!(bucket.reserve_at(now).wait(), 2 * second);
///
/// // A token that is not used goes to the next caller.
/// bucket.give_back(mine);
/// assert_eq!(bucket.reserve_at(now).wait(), second);
/// ```
///
/// # Time
///
/// `try_take_at` and `reserve_at` take the time since an instant that the caller
/// chose. `try_take` and `reserve` read a clock that starts with the bucket. With
/// the feature `tokio` it is tokio's clock, which tests can pause; otherwise it is
/// the standard library's. A bucket keeps one time, so use one pair or the other.
/// A clock that goes back earns nothing.
///
/// Time is exact, in whole nanoseconds. It ends after `u64::MAX` of them, 584
/// years. If the next token would come after that, the bucket refuses all callers,
/// and its answer is 584 years.
///
/// # Where it comes from
///
/// The virtual scheduling form of the generic cell rate algorithm (ITU-T
/// I.371). Its state is the instant at which the bucket would be full again, in
/// one atomic word of 64 bits. The few targets without such atomics have no
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
    /// Instants that were given back.
    #[cfg(feature = "std")]
    returned: Returned,
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
    /// If `burst` or `period` is zero, or if it takes more than 584 years to earn the
    /// burst; [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new(burst: u32, period: Duration) -> Self {
        expect(Self::try_new(burst, period))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If `burst` or `period` is zero, or if it takes more than 584 years to earn the
    /// burst.
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
        if nanos(period).checked_mul(burst as u64).is_none() {
            return Err(InvalidConfig::new(
                "burst",
                burst,
                alloc::format!(
                    "to earn so many tokens, one each {period:?}, takes more than 584 years; \
                     take a smaller burst or a shorter period"
                ),
            ));
        }
        let period = nanos(period);
        Ok(Self {
            shared: Arc::new(Shared {
                full_at: AtomicU64::new(0),
                #[cfg(feature = "std")]
                returned: Returned::new(),
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
    /// The time until there is one, if no other caller takes it.
    #[cfg(feature = "std")]
    pub fn try_take(&self) -> Result<(), Duration> {
        self.try_take_at(self.now())
    }

    /// Takes a token at `now`.
    ///
    /// # Errors
    ///
    /// The time until there is one, if no other caller takes it. A nanosecond
    /// earlier there is none.
    #[inline]
    pub fn try_take_at(&self, now: Duration) -> Result<(), Duration> {
        let now = nanos(now);
        let latest = self.latest(now);
        self.update(|full_at| (full_at <= latest).then(|| self.later(full_at, now)))
            .map(|_| ())
            .map_err(|full_at| wait_for_token(full_at, latest))
    }

    /// Takes a token that is there or will be, and returns its instant.
    ///
    /// A caller that does not use the token can
    /// [give it back](Self::give_back).
    #[cfg(feature = "std")]
    pub fn reserve(&self) -> Reserved {
        let now = self.now();
        #[cfg_attr(not(feature = "tokio"), allow(unused_mut))]
        let mut reserved = self.reserve_at(now);
        #[cfg(feature = "tokio")]
        if reserved.wait > 0 {
            let due = after(nanos(now), reserved.wait());
            reserved.at = Some(self.shared.age.instant(due));
        }
        reserved
    }

    /// As [`reserve`](Self::reserve), at `now`.
    #[inline]
    pub fn reserve_at(&self, now: Duration) -> Reserved {
        let now = nanos(now);
        #[cfg(feature = "std")]
        if let Some(due) = self.shared.returned.take(now) {
            return self.reserved(due, due - now, CLOSED);
        }
        let (Ok(full_at) | Err(full_at)) = self.update(|full_at| Some(self.later(full_at, now)));
        let wait = nanos(wait_for_token(full_at, self.latest(now)));
        let after = self.later(full_at, now);
        self.reserved(now.saturating_add(wait), wait, after)
    }

    #[inline]
    #[cfg_attr(not(feature = "std"), allow(unused_variables))]
    fn reserved(&self, due: u64, wait: u64, full_at: u64) -> Reserved {
        Reserved {
            #[cfg(feature = "std")]
            due,
            wait,
            full_at,
            owner: Arc::as_ptr(&self.shared) as usize,
            #[cfg(feature = "tokio")]
            at: None,
            #[cfg(feature = "tokio")]
            source: Source::Local,
        }
    }

    /// Returns a token that was reserved and not used.
    ///
    /// The next caller that reserves gets exactly this token's instant, if it
    /// is still ahead. No other caller's instant changes, so in no span of time
    /// are there more tokens than the burst and those that the span earns. A
    /// token whose instant has passed is lost, unless nobody has reserved or taken
    /// a token since: then the bucket is as it was before.
    ///
    /// Without the feature `std` there is no lock to keep instants behind. Then a
    /// token is lost if anybody has reserved or taken one since.
    ///
    /// A token of another bucket is ignored.
    #[allow(clippy::needless_pass_by_value)] // by value: it is given back once
    pub fn give_back(&self, unused: Reserved) {
        if unused.owner != Arc::as_ptr(&self.shared) as usize {
            return;
        }
        // The last token of the queue: as if it had not been reserved. No other
        // reservation leaves the word at this value, as each one moves it on.
        let undone = unused.full_at != CLOSED
            && self
                .update(|full_at| (full_at == unused.full_at).then(|| full_at - self.period))
                .is_ok();
        #[cfg(feature = "std")]
        if !undone && unused.due != CLOSED {
            self.shared.returned.put(unused.due);
        }
        #[cfg(not(feature = "std"))]
        let _ = undone;
    }

    /// The bucket's rate as a [policy](crate::Policy), by which each client waits
    /// alone. It takes no tokens from this bucket.
    ///
    /// Clients that share a limit take this bucket as their
    /// [budget](crate::Redial::budget) instead.
    pub const fn as_policy(&self) -> BucketPolicy {
        BucketPolicy::new(self.period, self.tolerance)
    }

    /// One token is earned in each.
    #[cfg(feature = "tokio")]
    pub(crate) fn period(&self) -> Duration {
        Duration::from_nanos(self.period)
    }

    /// Takes so many tokens that the bucket is not full before `time`, if it would be.
    #[cfg(all(feature = "tokio", not(any(target_family = "wasm", loom))))]
    pub(crate) fn not_full_before(&self, time: u64) {
        let time = time.min(CLOSED - 1);
        let _ = self.update(|full_at| (full_at < time).then_some(time));
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

/// A token that was reserved and is there from an instant on: made by
/// [`TokenBucket::reserve`], or by any other [budget](crate::Redial::budget).
///
/// To use the token, wait until it is there and drop this. It cannot be cloned,
/// so a token is [given back](TokenBucket::give_back) once at most.
#[derive(Debug)]
#[must_use = "the token is there only after its wait"]
pub struct Reserved {
    /// When the token is there, on the clock of what made it.
    #[cfg(feature = "std")]
    due: u64,
    /// The time from the reservation until then.
    wait: u64,
    /// What the reservation left in the bucket's word; [`CLOSED`] if it was a
    /// token that somebody had given back, or if time has ended.
    full_at: u64,
    /// The address of what made it; 0 if it can be any budget.
    owner: usize,
    /// When the token is there, if that is known, and not at once.
    #[cfg(feature = "tokio")]
    at: Option<Instant>,
    #[cfg(feature = "tokio")]
    source: Source,
}

/// Where a [reserved](Reserved) token comes from.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A bucket of this process, such as a [`TokenBucket`].
    Local,
    /// The bucket that many processes share.
    Shared,
    /// The local bucket that answers while the shared one does not.
    Fallback,
}

impl Reserved {
    /// The time from the reservation until the token is there: zero if it was
    /// there at once. At the end of time it is 584 years.
    #[inline]
    pub fn wait(&self) -> Duration {
        Duration::from_nanos(self.wait)
    }
}

#[cfg(feature = "tokio")]
impl Reserved {
    /// A token that is there after `wait` from now: for a
    /// [`Budget`](crate::Budget) of your own.
    pub fn after(wait: Duration, source: Source) -> Self {
        let wait = nanos(wait);
        let until = after(0, Duration::from_nanos(wait));
        Self {
            due: CLOSED,
            wait,
            full_at: CLOSED,
            owner: 0,
            at: (wait > 0).then(|| Stopwatch::start().instant(until)),
            source,
        }
    }

    /// When the token is there. `None` if it was there at once, or if it was
    /// reserved by [`reserve_at`](TokenBucket::reserve_at), whose clock is the
    /// caller's.
    pub fn due(&self) -> Option<Instant> {
        self.at
    }

    /// Where the token comes from.
    pub fn source(&self) -> Source {
        self.source
    }
}

/// Tokens of a bucket beyond this process.
#[cfg(all(feature = "tokio", not(any(target_family = "wasm", loom))))]
impl Reserved {
    /// A token of the budget at this address. `micros` is when it is there, on the
    /// clock of the store.
    pub(crate) fn of(
        owner: usize,
        at: Option<Instant>,
        wait: u64,
        micros: u64,
        source: Source,
    ) -> Self {
        Self {
            due: micros,
            wait,
            full_at: CLOSED,
            owner,
            at,
            source,
        }
    }

    pub(crate) fn is_of(&self, owner: usize) -> bool {
        self.owner == owner
    }

    /// When the token is there, in microseconds on the clock of the store; zero if the
    /// store does not know the token.
    pub(crate) fn micros(&self) -> u64 {
        self.due
    }
}

/// The instants of tokens that were given back, for the next callers.
///
/// Their callers have left the middle of the queue. If the end of the queue were
/// moved back instead, it would free an instant that another caller holds.
#[cfg(feature = "std")]
struct Returned {
    /// How many there are, so that a bucket without any takes no lock.
    count: AtomicU64,
    dues: Mutex<BinaryHeap<Reverse<u64>>>,
}

#[cfg(feature = "std")]
impl Returned {
    fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            dues: Mutex::new(BinaryHeap::new()),
        }
    }

    #[cold]
    fn put(&self, due: u64) {
        let mut dues = lock(&self.dues);
        dues.push(Reverse(due));
        self.count.store(dues.len() as u64, Ordering::Relaxed);
    }

    /// The earliest instant that is still ahead of `now`.
    #[inline]
    fn take(&self, now: u64) -> Option<u64> {
        // Relaxed: a caller that misses a token that is being given back gets
        // another instant.
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.take_locked(now)
    }

    #[cold]
    fn take_locked(&self, now: u64) -> Option<u64> {
        let mut dues = lock(&self.dues);
        let ahead = core::iter::from_fn(|| dues.pop()).find(|Reverse(due)| *due > now);
        self.count.store(dues.len() as u64, Ordering::Relaxed);
        ahead.map(|Reverse(due)| due)
    }
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
