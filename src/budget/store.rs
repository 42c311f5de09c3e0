//! Where a shared bucket is stored, and the question that is asked there.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::error::Error;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use crate::invalid::{InvalidConfig, expect};

/// Where many processes store one bucket: a Redis or Valkey server, or whatever
/// runs the same script.
///
/// The crate `redial-redis` has a store on the crate `redis`. With another client,
/// run [`Call::SCRIPT`] with one key and six arguments, and return its three
/// integers:
///
/// ```
/// use redial::budget::{Call, Store, StoreError, StoreErrorKind};
/// # struct Client;
/// # enum Failure { Reply(String), Closed }
/// # impl Client {
/// #     async fn evalsha(&self, _: &str, _: &str, _: [i64; 6]) -> Result<[i64; 3], Failure> {
/// #         Err(Failure::Closed)
/// #     }
/// #     async fn eval(&self, _: &str, _: &str, _: [i64; 6]) -> Result<[i64; 3], Failure> {
/// #         Err(Failure::Closed)
/// #     }
/// # }
///
/// struct MyStore(Client);
///
/// impl Store for MyStore {
///     async fn run(&self, call: &Call) -> Result<[i64; 3], StoreError> {
///         let (key, arguments) = (call.key(), call.arguments());
///         let mut reply = self.0.evalsha(Call::SHA1, key, arguments).await;
///         if matches!(&reply, Err(Failure::Reply(text)) if text.contains("NOSCRIPT")) {
///             // The server has started anew. It stores the script that it is sent.
///             reply = self.0.eval(Call::SCRIPT, key, arguments).await;
///         }
///         reply.map_err(|failure| match failure {
///             Failure::Reply(text) => StoreError::reply(&text),
///             Failure::Closed => StoreError::new(StoreErrorKind::Unreachable, "closed"),
///         })
///     }
/// }
/// ```
///
/// # Cancel safety
///
/// The future may be dropped at any moment, if its answer is late. A store must
/// not ask again by itself: the server may have run the script, and would count the
/// tokens twice. The next call must not wait for a call that was dropped.
pub trait Store: Send + Sync + 'static {
    /// Runs the script once, and returns the integers of its answer.
    ///
    /// # Errors
    ///
    /// What kept the server from answering. No error fails a reconnect: it is paid from
    /// the local bucket.
    fn run(&self, call: &Call) -> impl Future<Output = Result<[i64; 3], StoreError>> + Send;
}

/// A question to a [`Store`]: for some tokens of one bucket.
///
/// It is for those who implement or test a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    key: Arc<str>,
    period: u64,
    burst: u32,
    count: u32,
    floor: u64,
    deadline: u64,
    keep: u64,
}

const SECOND: u64 = 1_000_000;
const DAY: u64 = 24 * 60 * 60 * SECOND;

impl Call {
    /// The script, for Redis 5 or newer, and Valkey.
    ///
    /// `KEYS[1]` is [`key`](Self::key), and `ARGV` is
    /// [`arguments`](Self::arguments). It answers with three integers: 1, or 0 if
    /// the deadline is over; its time, in microseconds since 1970; and the time until
    /// the first token is there, in microseconds, which may be negative. Token `i`
    /// comes `i` periods later.
    ///
    /// It calls `TIME`, `GET` and `SET`. It needs no other rights than these, `EVALSHA`
    /// and `EVAL`, on the keys `redial:*`.
    pub const SCRIPT: &'static str = include_str!("script.lua");

    /// The SHA-1 of the script, in hexadecimal digits, for `EVALSHA`.
    pub const SHA1: &'static str = "b30d9ae4d5411229edd64e685c86b6646e6cb9d4";

    /// The most tokens of one call.
    pub const MOST: u32 = 1024;

    /// One token of the bucket `name`, which holds `burst` tokens and earns one each
    /// `period`.
    ///
    /// A period is rounded up to whole microseconds.
    ///
    /// # Panics
    ///
    /// As [`try_new`](Self::try_new) fails.
    #[track_caller]
    pub fn new(name: &str, burst: u32, period: Duration) -> Self {
        expect(Self::try_new(name, burst, period))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If `name` is empty, if `burst` or `period` is zero, if `period` is longer than a
    /// day, or if it takes more than 30 days to earn the burst. Up to there the
    /// numbers of Redis's scripts are exact, until the year 2255.
    pub fn try_new(name: &str, burst: u32, period: Duration) -> Result<Self, InvalidConfig> {
        if name.is_empty() {
            return Err(InvalidConfig::new(
                "name",
                "empty",
                "name what the bucket limits, such as chat-logins; all processes must agree",
            ));
        }
        if burst == 0 {
            return Err(InvalidConfig::new(
                "burst",
                burst,
                "the bucket would never hold a token; give it at least 1",
            ));
        }
        let micros = period.as_nanos().div_ceil(1000);
        if micros == 0 || micros > u128::from(DAY) {
            return Err(InvalidConfig::duration(
                "period",
                period,
                "one token is earned in each; take from 1 µs to 1 day",
            ));
        }
        let micros = micros as u64;
        if micros.saturating_mul(u64::from(burst)) > 30 * DAY {
            return Err(InvalidConfig::new(
                "burst",
                burst,
                format!(
                    "to earn so many tokens, one each {period:?}, takes more than 30 days; \
                     take a smaller burst or a shorter period"
                ),
            ));
        }
        Ok(Self {
            key: format!("redial:{{{name}}}").into(),
            period: micros,
            burst,
            count: 1,
            floor: 0,
            deadline: 0,
            keep: DAY,
        })
    }

    /// How many tokens are taken: 1 by default. Zero takes none, and asks when the
    /// next one is there. More than [`MOST`](Self::MOST) count as so many.
    pub fn count(self, count: u32) -> Self {
        Self {
            count: count.min(Self::MOST),
            ..self
        }
    }

    /// The bucket is not full before this time is over, as far as the caller
    /// remembers: zero by default.
    pub fn floor(self, floor: Duration) -> Self {
        Self {
            floor: micros(floor).min(366 * DAY),
            ..self
        }
    }

    /// The server's time, in microseconds since 1970, after which the caller waits
    /// no longer. By default it waits for ever.
    pub fn deadline(self, deadline: Option<u64>) -> Self {
        Self {
            // Zero is none. It is long over.
            deadline: deadline.map_or(0, |deadline| deadline.clamp(1, 1 << 53)),
            ..self
        }
    }

    /// How long the server remembers a bucket that is full: a day by default, and
    /// from 1 second to 366 days.
    ///
    /// A bucket that was forgotten begins empty, so it costs the burst once.
    pub fn keep(self, keep: Duration) -> Self {
        Self {
            keep: micros(keep).clamp(SECOND, 366 * DAY),
            ..self
        }
    }

    /// The key of the bucket: `redial:{name}`. All of a cluster's nodes agree on its
    /// slot.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// One token is earned in so many microseconds.
    pub(crate) fn period(&self) -> u64 {
        self.period
    }

    pub(crate) fn burst(&self) -> u32 {
        self.burst
    }

    /// What the script is called with: period, burst, count, floor, deadline and
    /// keep. `keep` is in milliseconds, all other times are in microseconds.
    pub fn arguments(&self) -> [i64; 6] {
        [
            self.period,
            u64::from(self.burst),
            u64::from(self.count),
            self.floor,
            self.deadline,
            self.keep / 1000,
        ]
        .map(|argument| argument as i64)
    }
}

/// Whole microseconds, rounded down.
fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

/// A [`Store`], without its type.
pub(crate) trait AnyStore: Send + Sync {
    fn run_boxed<'a>(
        &'a self,
        call: &'a Call,
    ) -> Pin<Box<dyn Future<Output = Result<[i64; 3], StoreError>> + Send + 'a>>;
}

impl<S: Store> AnyStore for S {
    fn run_boxed<'a>(
        &'a self,
        call: &'a Call,
    ) -> Pin<Box<dyn Future<Output = Result<[i64; 3], StoreError>> + Send + 'a>> {
        Box::pin(self.run(call))
    }
}

/// What the script answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The tokens are taken; or the deadline is over.
    pub(crate) granted: bool,
    /// The time of the store, in microseconds since 1970.
    pub(crate) now: u64,
    /// The time until the first token is there, in microseconds; less than zero if it
    /// was there before.
    pub(crate) wait: i64,
}

impl Answer {
    /// Reads the three integers.
    pub(crate) fn read([granted, now, wait]: [i64; 3]) -> Result<Self, StoreError> {
        // What doubles hold exactly.
        const EXACT: i64 = 1 << 53;
        let answer = Self {
            granted: granted == 1,
            now: now as u64,
            wait,
        };
        let is_right = (0..=1).contains(&granted)
            && (0..=EXACT).contains(&now)
            && (-EXACT..=EXACT).contains(&wait);
        is_right.then_some(answer).ok_or_else(|| {
            let text = format!("[{granted}, {now}, {wait}] is no answer of the script");
            StoreError::new(StoreErrorKind::Other, text)
        })
    }
}

/// Why a [`Store`] gave no answer.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of [`StoreError`] it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is no connection, or it broke.
    Unreachable,
    /// The answer was late.
    Slow,
    /// The server is a replica, or has no master.
    ReadOnly,
    /// The server's memory is full.
    Full,
    /// The key holds something else. It is never overwritten.
    Foreign,
    /// The user has no right to run the script, or the login failed.
    Forbidden,
    /// Any other error, such as a server that is loading its data.
    Other,
}

impl StoreError {
    /// An error of this kind, in words.
    pub fn new(kind: StoreErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            source: None,
        }
    }

    /// The error that a Redis server replied.
    ///
    /// Its code is recognised wherever it stands, as older servers put an error
    /// within a script in words of their own.
    pub fn reply(text: &str) -> Self {
        let kind = |word: &str| {
            Some(match word {
                "READONLY" | "MASTERDOWN" => StoreErrorKind::ReadOnly,
                "OOM" => StoreErrorKind::Full,
                "WRONGTYPE" | "FOREIGN" => StoreErrorKind::Foreign,
                "NOPERM" | "NOAUTH" | "WRONGPASS" => StoreErrorKind::Forbidden,
                _ => return None,
            })
        };
        let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
        // Redis 7 has no code for a right that is missing within a script.
        let forbidden = || {
            let is_it = text.contains("The user executing the script can't");
            is_it.then_some(StoreErrorKind::Forbidden)
        };
        let kind = words.find_map(kind).or_else(forbidden);
        Self::new(kind.unwrap_or(StoreErrorKind::Other), text)
    }

    /// The same, because of an error of the client library.
    pub fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_sha_is_that_of_the_script() {
        use sha1::Digest;

        assert_eq!(
            format!("{:x}", sha1::Sha1::digest(Call::SCRIPT)),
            Call::SHA1
        );
    }

    #[test]
    fn a_code_is_recognised_wherever_it_stands() {
        use StoreErrorKind::{Forbidden, Foreign, Full, Other, ReadOnly};

        for (text, kind) in [
            (
                "READONLY You can't write against a read only replica.",
                ReadOnly,
            ),
            (
                "ERR Error running script (call to f_1d2a): @user_script:25: \
                 -READONLY You can't write against a read only replica.",
                ReadOnly,
            ),
            ("-MASTERDOWN Link with MASTER is down", ReadOnly),
            (
                "OOM command not allowed when used memory > 'maxmemory'. script: 1d2a, \
                 on @user_script:25.",
                Full,
            ),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                Foreign,
            ),
            ("FOREIGN the key holds something else", Foreign),
            (
                "NOPERM User x has no permissions to run 'evalsha'",
                Forbidden,
            ),
            (
                "ERR The user executing the script can't run this command or subcommand script: \
                 b30d, on @user_script:6.",
                Forbidden,
            ),
            ("LOADING Redis is loading the dataset in memory", Other),
            ("ERR the word XOOMX is no code", Other),
            ("", Other),
        ] {
            assert_eq!(StoreError::reply(text).kind(), kind, "{text}");
        }
    }

    #[test]
    fn what_scripts_cannot_count_exactly_is_refused() {
        let micro = Duration::from_micros(1);
        let day = Duration::from_secs(24 * 60 * 60);
        for (name, burst, period, refused) in [
            ("", 1, day, "name is empty"),
            ("x", 0, day, "burst is 0"),
            ("x", 1, Duration::ZERO, "period is 0ns"),
            ("x", 1, day + micro, "period is 86400.000001s"),
            ("x", 31, day, "burst is 31"),
        ] {
            let error = Call::try_new(name, burst, period).unwrap_err().to_string();
            assert!(error.starts_with(refused), "{error}");
        }
        assert!(Call::try_new("x", 30, day).is_ok());
        assert!(Call::try_new("x", u32::MAX, micro / 1000).is_ok());
    }

    #[test]
    fn a_call_has_six_arguments_in_whole_numbers() {
        let call = Call::new("chat", 3, Duration::from_nanos(333_334));
        assert_eq!(call.key(), "redial:{chat}");
        assert_eq!(call.arguments(), [334, 3, 1, 0, 0, 86_400_000]);
        let call = call
            .count(2000)
            .floor(Duration::from_nanos(1_999))
            .deadline(Some(0))
            .keep(Duration::ZERO);
        assert_eq!(call.arguments(), [334, 3, 1024, 1, 1, 1000]);
        let call = call
            .floor(Duration::MAX)
            .deadline(Some(u64::MAX))
            .keep(Duration::MAX);
        let year = 366 * DAY as i64;
        assert_eq!(call.arguments(), [334, 3, 1024, year, 1 << 53, year / 1000]);
        assert_eq!(call.deadline(None).arguments()[4], 0);
    }
}
