//! How far an attempt is.

/// How far an attempt is, as its connector tells; see
/// [`Connect::phase`](crate::Connect::phase).
///
/// A failure costs the server nothing while it knows nothing of the client. So a dial
/// that takes too long is [`Cause::Down`](crate::Cause::Down), and the client tries
/// again soon. What takes too long after it is
/// [`Cause::Stalled`](crate::Cause::Stalled).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptPhase {
    /// The connector does not tell, or the attempt begins and was not polled yet.
    #[default]
    Unknown,
    /// The transport is not established yet. "Connecting", for people.
    Dialing,
    /// The transport is established, and the handshake or the login goes on. "Logging
    /// in", for people.
    Established,
}

impl AttemptPhase {
    /// Whether an attempt in this phase has come further than in the other one. An
    /// attempt does not go back: it would never end if each change were new time.
    pub(crate) fn is_beyond(self, other: Self) -> bool {
        self as u8 > other as u8
    }
}
