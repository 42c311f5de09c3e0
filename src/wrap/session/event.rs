//! What a session reports.

use crate::verdict::Verdict;

/// What a [`Session`](super::Session) reports to its reader.
///
/// The enum is complete on purpose: a program that reads a session must handle
/// each event. [`Down`](Self::Down) may get more fields, so match it with `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent<T, E> {
    /// There is a new connection. All items until the next `Down` come from it.
    Up,
    /// An item of the present connection.
    Item(T),
    /// The connection is lost. Items that were sent on it and not flushed may be
    /// lost; the [sink](super::Session#sending) reports how many.
    Down {
        /// The error of the connection. `None` if the connection ended in good
        /// order, or if the program called [`lost`](super::Session::lost) or
        /// [`ended`](super::Session::ended).
        error: Option<E>,
        /// What the loss means for the next attempt.
        verdict: Verdict,
    },
}
