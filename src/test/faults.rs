//! What goes wrong on a connection, and when.

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use super::faulty::{FaultyIo, FaultyItems, Trouble};
use crate::policy::Cause;
use crate::rng::Rng;
use crate::verdict::Verdict;

/// What goes wrong on a connection: a plan, which [`on_bytes`](Self::on_bytes) and
/// [`on_items`](Self::on_items) apply to any connection.
///
/// | | what is read | what is written |
/// |---|---|---|
/// | [`lose`](Self::lose) | an error, and for items the end of the stream after it | fails with the same error |
/// | [`end`](Self::end) | the end of the stream | fails with `BrokenPipe` |
/// | [`silence`](Self::silence) | nothing arrives, as after a pulled cable | vanishes |
/// | [`block`](Self::block) | nothing arrives | waits, as if the peer had stopped reading |
/// | [`delay`](Self::delay) | arrives later | arrives as before |
/// | [`chop`](Self::chop) | bytes arrive in small parts | bytes are taken in small parts |
///
/// A plan may have several faults. Of those that have begun, the uppermost in this
/// table counts. What had arrived and was not read is lost with the connection.
///
/// ```
/// use redial::test::{Faults, Pipe, When, paused};
/// use std::io::ErrorKind;
/// use tokio::io::AsyncReadExt;
///
/// paused(async {
///     let (client, server) = Pipe::pair();
///     let mut client = Faults::new().lose(When::Read(5)).on_bytes(client);
///     server.say(b"hello world");
///     let mut word = [0; 5];
///     client.read_exact(&mut word).await.unwrap();
///     assert_eq!(&word, b"hello");
///     let error = client.read(&mut word).await.unwrap_err();
///     assert_eq!(error.kind(), ErrorKind::ConnectionReset);
/// });
/// ```
///
/// The random numbers come from [`seed`](Self::seed), so a test does the same each
/// time. To try many orders of events, run it with many seeds.
#[derive(Clone, Debug)]
pub struct Faults {
    pub(super) plan: Vec<(When, Kind)>,
    pub(super) delay: Option<RangeInclusive<Duration>>,
    pub(super) is_chopped: bool,
    pub(super) verdict: Verdict,
    seed: u64,
}

/// When a fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// So long after the connection was made.
    After(Duration),
    /// When so many bytes or items were read; 0 is at once.
    Read(u64),
    /// When so many bytes or items were written; 0 is at once.
    Written(u64),
    /// As [`Read`](Self::Read), at a random number below this one.
    ReadWithin(u64),
    /// As [`Written`](Self::Written), at a random number below this one.
    WrittenWithin(u64),
}

/// The faults, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Blocked,
    Silent,
    Ended,
    Lost,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

impl Faults {
    /// No fault.
    pub const fn new() -> Self {
        Self {
            plan: Vec::new(),
            delay: None,
            is_chopped: false,
            verdict: Verdict::Retry(Cause::Down),
            seed: 0,
        }
    }

    /// The seed of the random numbers: 0 by default.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The connection is lost, as by a reset.
    pub fn lose(self, when: When) -> Self {
        self.with(when, Kind::Lost)
    }

    /// What the error of a loss means: `Retry(Down)` by default. See
    /// [`ScriptedError`](super::ScriptedError).
    pub fn verdict(self, verdict: Verdict) -> Self {
        Self { verdict, ..self }
    }

    /// The peer ends the connection in good order.
    pub fn end(self, when: When) -> Self {
        self.with(when, Kind::Ended)
    }

    /// Nothing arrives any more, in either direction, and nobody is told: a pulled
    /// cable. A client notices only if it looks for it, as with
    /// [`Session::keep_alive`](crate::Session::keep_alive).
    pub fn silence(self, when: When) -> Self {
        self.with(when, Kind::Silent)
    }

    /// Nothing arrives any more, and writes wait: the peer has stopped reading.
    pub fn block(self, when: When) -> Self {
        self.with(when, Kind::Blocked)
    }

    fn with(mut self, when: When, kind: Kind) -> Self {
        self.plan.push((when, kind));
        self
    }

    /// What arrives is read after a random time between these, in its order.
    ///
    /// ```
    /// use redial::test::{Faults, Pipe, paused};
    /// use std::time::Duration;
    /// use tokio::io::AsyncReadExt;
    /// use tokio::time::Instant;
    ///
    /// let [least, most] = [50, 200].map(Duration::from_millis);
    /// paused(async {
    ///     let (client, server) = Pipe::pair();
    ///     let mut client = Faults::new().delay(least..=most).on_bytes(client);
    ///     let start = Instant::now();
    ///     server.say(b"late");
    ///     client.read_exact(&mut [0; 4]).await.unwrap();
    ///     assert!(start.elapsed() >= least && start.elapsed() <= most + Duration::from_millis(1));
    /// });
    /// ```
    pub fn delay(self, times: RangeInclusive<Duration>) -> Self {
        Self {
            delay: Some(times),
            ..self
        }
    }

    /// A read gets, and a write takes, a random part of what it could: at least a
    /// byte. So frames arrive cut. Items are not cut.
    pub fn chop(self) -> Self {
        Self {
            is_chopped: true,
            ..self
        }
    }

    /// Applies the faults to a connection of bytes, from now on.
    pub fn on_bytes<T>(self, connection: T) -> FaultyIo<T> {
        FaultyIo::new(connection, Trouble::new(self))
    }

    /// Applies the faults to a connection of items, from now on: a stream of `Result`s,
    /// a sink, or both.
    ///
    /// ```
    /// use futures::StreamExt;
    /// use redial::test::{Faults, When, paused};
    /// use std::io;
    ///
    /// paused(async {
    ///     let items = futures::stream::iter((0..5).map(Ok::<_, io::Error>));
    ///     let mut items = Faults::new().lose(When::Read(2)).on_items(items);
    ///     assert_eq!(items.next().await.unwrap().unwrap(), 0);
    ///     assert_eq!(items.next().await.unwrap().unwrap(), 1);
    ///     assert!(items.next().await.unwrap().is_err());
    ///     assert!(items.next().await.is_none());
    /// });
    /// ```
    pub fn on_items<T, I, E>(self, connection: T) -> FaultyItems<T>
    where
        T: futures_core::Stream<Item = Result<I, E>>,
    {
        FaultyItems::new(connection, Trouble::new(self))
    }

    /// The same faults, with the random numbers of connection `n`.
    pub(super) fn fork(&self, n: u64) -> Self {
        let seed = Rng::from_seed(self.seed ^ n.rotate_left(32)).next_u64();
        self.clone().seed(seed)
    }

    pub(super) fn rng(&self) -> Rng {
        Rng::from_seed(self.seed)
    }
}
