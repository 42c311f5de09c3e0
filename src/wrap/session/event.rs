//! What a session reports.

use core::time::Duration;

use crate::liveness::Silent;
use crate::policy::Cause;
use crate::verdict::Verdict;

/// What a [`Session`](super::Session) reports to its reader.
///
/// The enum is closed on purpose: a program that reads a session must handle each
/// event. Only [`Down`](Self::Down) is `#[non_exhaustive]`, because later versions
/// may add details of a loss. Match it with `..`, and make one with
/// [`SessionEvent::down`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent<T, E> {
    /// There is a new connection. If no `Down` came before, it takes the place of one that
    /// was [renewed](super::Session#renewal).
    Up,
    /// An item of the present connection; or of the one before it, if that was
    /// [renewed](super::Session#renewal) and [`is_late`](super::Session::is_late) says so.
    Item(T),
    /// The connection is lost. Items that were sent on it and not flushed may be
    /// lost; the [sink](super::Session#sending) reports how many.
    #[non_exhaustive]
    Down {
        /// The error of the connection. `None` if the connection ended in good
        /// order, if the program called [`lost`](super::Session::lost) or
        /// [`ended`](super::Session::ended), or if a [`Handle`](crate::Handle) ended
        /// it. For a `reconnect` or a `suspend` the verdict is the default one.
        error: Option<E>,
        /// What the loss means for the next attempt.
        verdict: Verdict,
        /// How long nothing was received, if the connection was dropped because of
        /// [`keep_alive`](super::Session::keep_alive) or
        /// [`idle_timeout`](super::Session::idle_timeout). Then there is no error, and
        /// the verdict is `Retry(Down)`.
        silent: Option<Silent>,
    },
}

impl<T, E> SessionEvent<T, E> {
    /// A [`Down`](Self::Down), for the tests of a program that handles events.
    ///
    /// ```
    /// use redial::{SessionEvent, Verdict};
    ///
    /// fn status(event: &SessionEvent<String, std::io::Error>) -> &'static str {
    ///     match event {
    ///         SessionEvent::Up | SessionEvent::Item(_) => "online",
    ///         SessionEvent::Down { verdict: Verdict::Stop, .. } => "banned",
    ///         SessionEvent::Down { .. } => "offline",
    ///     }
    /// }
    ///
    /// assert_eq!(status(&SessionEvent::down(None, Verdict::Stop)), "banned");
    /// assert_eq!(status(&SessionEvent::down(None, Verdict::default())), "offline");
    /// ```
    pub const fn down(error: Option<E>, verdict: Verdict) -> Self {
        Self::Down {
            error,
            verdict,
            silent: None,
        }
    }

    /// A [`Down`](Self::Down) of a connection that was silent for so long, for the
    /// tests of a program that handles events.
    pub const fn silent(duration: Duration) -> Self {
        Self::Down {
            error: None,
            verdict: Verdict::Retry(Cause::Down),
            silent: Some(Silent::new(duration)),
        }
    }
}
