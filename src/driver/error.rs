//! Why there is no connection, and will be none.

use alloc::boxed::Box;
use core::error;
use core::fmt;
use core::time::Duration;

use crate::outage::Reason;

/// Why a [`Redial`](crate::Redial) gave up, or was closed.
///
/// The error of the last attempt is the [`source`](error::Error::source), and
/// [`last`](Self::last).
///
/// It is a [`std::error::Error`](error::Error) where `E` is one. A boxed error is
/// not, so where `E` is that, `?` needs a `map_err(|error| error.to_string())` or
/// the like.
///
/// To ask again after this error begins a new outage, whose first attempt is
/// spread like that after a loss. After [`close`](crate::Handle::close), the
/// answer stays the same.
#[derive(Clone)]
pub struct Error<E>(Box<Inner<E>>);

/// In a box, so that what returns a connection need not have room for this.
#[derive(Clone)]
struct Inner<E> {
    kind: Kind,
    attempts: u32,
    elapsed: Duration,
    last: Option<E>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    GaveUp(Reason),
    Closed,
}

impl<E> Error<E> {
    pub(crate) fn gave_up(
        reason: Reason,
        attempts: u32,
        elapsed: Duration,
        last: Option<E>,
    ) -> Self {
        Self(Box::new(Inner {
            kind: Kind::GaveUp(reason),
            attempts,
            elapsed,
            last,
        }))
    }

    pub(crate) fn closed(attempts: u32, elapsed: Duration) -> Self {
        Self(Box::new(Inner {
            kind: Kind::Closed,
            attempts,
            elapsed,
            last: None,
        }))
    }

    /// Trying again cannot help: the verdict on the last error was
    /// [`Verdict::Stop`](crate::Verdict::Stop).
    pub fn is_stopped(&self) -> bool {
        self.0.kind == Kind::GaveUp(Reason::Stopped)
    }

    /// A limit was reached: attempts, time, or the policy's own.
    pub fn is_exhausted(&self) -> bool {
        matches!(self.0.kind, Kind::GaveUp(reason) if reason != Reason::Stopped)
    }

    /// Somebody called [`Handle::close`](crate::Handle::close).
    pub fn is_closed(&self) -> bool {
        self.0.kind == Kind::Closed
    }

    /// Why it gave up; none where it was closed.
    pub fn reason(&self) -> Option<Reason> {
        match self.0.kind {
            Kind::GaveUp(reason) => Some(reason),
            Kind::Closed => None,
        }
    }

    /// How many attempts the outage has had.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How long the outage lasted.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// The error of the last attempt; `None` where it timed out, panicked or
    /// was dropped, or where the driver was closed.
    pub fn last(&self) -> Option<&E> {
        self.0.last.as_ref()
    }

    /// As [`last`](Self::last), by value.
    pub fn into_inner(self) -> Option<E> {
        self.0.last
    }
}

impl<E: fmt::Debug> fmt::Debug for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("attempts", &self.0.attempts)
            .field("elapsed", &self.0.elapsed)
            .field("last", &self.0.last)
            .finish()
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            Kind::Closed => f.write_str("closed"),
            Kind::GaveUp(reason) => {
                // Whole milliseconds: nobody reads the rest.
                let elapsed = Duration::from_millis(self.0.elapsed.as_millis() as u64);
                let attempts = self.0.attempts;
                let s = if attempts == 1 { "" } else { "s" };
                write!(
                    f,
                    "gave up after {attempts} attempt{s} in {elapsed:?}: {reason}"
                )
            }
        }
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.last.as_ref().map(|last| last as _)
    }
}
