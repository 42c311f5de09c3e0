//! Why there is no connection, and none follows.

use alloc::boxed::Box;
use core::error;
use core::fmt;
use core::time::Duration;

use super::outcome::Last;
use crate::advice::Actor;
use crate::nanos::readable;
use crate::outage::Reason;

/// Why a [`Redial`](crate::Redial) makes no connection: it gave up, or it was
/// closed.
///
/// The error of the last attempt is [`last`](Self::last), and the
/// [`source`](error::Error::source). The text of this error does not repeat the
/// text of that one, so show both.
///
/// Asking for a connection again after the driver gave up begins a new outage,
/// whose first attempt is spread as after a loss. But if trying again
/// [cannot help](Self::is_stopped), the answer stays the same, without the last
/// error, until a [`Handle`](crate::Handle) asks for an attempt:
/// [`retry_now`](crate::Handle::retry_now), or
/// [`resume`](crate::Handle::resume). After [`close`](crate::Handle::close) the
/// answer stays the same for ever.
///
/// This type is opaque, because later versions may add kinds of errors. Ask it
/// by its methods, and by the [`reason`](Self::reason).
///
/// # With `?`
///
/// `Error<E>` is a [`std::error::Error`](error::Error) if `E` is one. Boxed
/// errors, those of `anyhow` for instance, are none. [`boxed`](Self::boxed) makes
/// an error of one, and keeps its sources:
///
/// ```
/// use redial::{Error, Redial};
/// use tokio::net::TcpStream;
///
/// async fn log_in() -> anyhow::Result<TcpStream> {
///     // …
/// #   anyhow::bail!("wrong password")
/// }
///
/// async fn app() -> Result<(), Box<dyn std::error::Error>> {
///     let mut redial = Redial::new(log_in).max_attempts(1);
///     let stream = redial.ready().await.map_err(Error::boxed)?;
///     // …
/// #   let _ = stream;
///     Ok(())
/// }
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # let error = runtime.block_on(app()).unwrap_err();
/// # assert_eq!(error.source().unwrap().to_string(), "wrong password");
/// ```
///
/// [`boxed_local`](Self::boxed_local) does the same for errors that are not
/// `Send`, such as `Box<dyn std::error::Error>`.
#[derive(Clone)]
pub struct Error<E>(Box<Inner<E>>);

/// In a box, so that a function that returns a connection needs no room for
/// this.
#[derive(Clone)]
struct Inner<E> {
    kind: Kind,
    attempts: u32,
    elapsed: Duration,
    last: Last<E>,
    actor: Option<Actor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    GaveUp(Reason),
    Closed,
}

impl<E> Error<E> {
    pub(super) fn gave_up(
        reason: Reason,
        attempts: u32,
        elapsed: Duration,
        last: Last<E>,
        actor: Option<Actor>,
    ) -> Self {
        Self(Box::new(Inner {
            kind: Kind::GaveUp(reason),
            attempts,
            elapsed,
            last,
            actor,
        }))
    }

    pub(super) fn closed(attempts: u32, elapsed: Duration) -> Self {
        Self(Box::new(Inner {
            kind: Kind::Closed,
            attempts,
            elapsed,
            last: Last::Unknown,
            actor: None,
        }))
    }

    /// Trying again cannot help: the verdict on the last error was
    /// [`Verdict::Stop`](crate::Verdict::Stop).
    pub fn is_stopped(&self) -> bool {
        self.0.kind == Kind::GaveUp(Reason::Stopped)
    }

    /// A limit was reached: the attempts, the time, or the policy's own.
    pub fn is_exhausted(&self) -> bool {
        matches!(self.0.kind, Kind::GaveUp(reason) if reason != Reason::Stopped)
    }

    /// A handle has [closed](crate::Handle::close) the driver.
    pub fn is_closed(&self) -> bool {
        self.0.kind == Kind::Closed
    }

    /// Why the driver gave up. `None` if it was closed.
    pub fn reason(&self) -> Option<Reason> {
        match self.0.kind {
            Kind::GaveUp(reason) => Some(reason),
            Kind::Closed => None,
        }
    }

    /// Who must act before another attempt can help, if [advice](crate::Redial::advise)
    /// on the last error says so.
    pub fn actor(&self) -> Option<Actor> {
        self.0.actor
    }

    /// How many attempts the outage had.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How long the outage lasted.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// The error of the last attempt. `None` if that timed out, panicked or was
    /// dropped, or if the driver was closed.
    pub fn last(&self) -> Option<&E> {
        self.0.last.error()
    }

    /// How long the last attempt was given, if it took longer. `None` if it ended in
    /// another way, or if the driver was closed.
    pub fn timed_out(&self) -> Option<Duration> {
        match self.0.last {
            Last::TimedOut(timeout) => Some(timeout),
            Last::Error(_) | Last::Unknown => None,
        }
    }

    /// The error of the last attempt, by value; see [`last`](Self::last).
    pub fn into_inner(self) -> Option<E> {
        match self.0.last {
            Last::Error(error) => Some(error),
            Last::TimedOut(_) | Last::Unknown => None,
        }
    }

    /// The same with the last error in a box, so that it is a
    /// [`std::error::Error`](error::Error) for every `E` that can be put in one:
    /// `anyhow::Error`, `Box<dyn Error + Send + Sync>`, `String`, and errors.
    pub fn boxed(self) -> Error<BoxError>
    where
        E: Into<Box<dyn error::Error + Send + Sync>>,
    {
        self.map(|last| BoxError(last.into()))
    }

    /// As [`boxed`](Self::boxed), for last errors that are not `Send` or not
    /// `Sync`.
    pub fn boxed_local(self) -> Error<BoxError<dyn error::Error>>
    where
        E: Into<Box<dyn error::Error>>,
    {
        self.map(|last| BoxError(last.into()))
    }

    fn map<F>(self, change: impl FnOnce(E) -> F) -> Error<F> {
        let Inner {
            kind,
            attempts,
            elapsed,
            last,
            actor,
        } = *self.0;
        Error(Box::new(Inner {
            kind,
            attempts,
            elapsed,
            last: match last {
                Last::Error(error) => Last::Error(change(error)),
                Last::TimedOut(timeout) => Last::TimedOut(timeout),
                Last::Unknown => Last::Unknown,
            },
            actor,
        }))
    }
}

impl<E: fmt::Debug> fmt::Debug for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("attempts", &self.0.attempts)
            .field("elapsed", &self.0.elapsed)
            .field("last", &self.last())
            .field("timed_out", &self.timed_out())
            .field("actor", &self.actor())
            .finish()
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            Kind::Closed => f.write_str("closed"),
            Kind::GaveUp(reason) => {
                let elapsed = readable(self.0.elapsed);
                let attempts = self.0.attempts;
                let s = if attempts == 1 { "" } else { "s" };
                write!(f, "gave up after {attempts} attempt{s} in ")?;
                // A `Duration` of zero is shown as nanoseconds.
                match elapsed {
                    Duration::ZERO => f.write_str("0ms")?,
                    _ => write!(f, "{elapsed:?}")?,
                }
                write!(f, ": {reason}")?;
                match self.timed_out() {
                    Some(timeout) => {
                        write!(
                            f,
                            "; the last attempt timed out after {:?}",
                            readable(timeout)
                        )
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.last().map(|last| last as _)
    }
}

/// An error of any type: what [`Error::boxed`] makes of the last error.
///
/// Unlike a `Box<dyn Error>` it is a [`std::error::Error`](error::Error)
/// itself. Its text and its source are those of the error inside.
pub struct BoxError<D: ?Sized = dyn error::Error + Send + Sync>(Box<D>);

impl<D: ?Sized> BoxError<D> {
    /// The error inside, for instance to `downcast_ref` it.
    pub fn get_ref(&self) -> &D {
        &self.0
    }

    /// The box.
    pub fn into_inner(self) -> Box<D> {
        self.0
    }
}

impl<D: fmt::Debug + ?Sized> fmt::Debug for BoxError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<D: fmt::Display + ?Sized> fmt::Display for BoxError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<D: error::Error + ?Sized> error::Error for BoxError<D> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source()
    }
}
