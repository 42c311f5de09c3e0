//! Why an item was not sent.

use core::error;
use core::fmt;

/// Why a [`Session`](super::Session) did not send, or why it does not know whether it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError(pub(super) Unsent);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// There is no connection, and sends do not wait for one.
    Down,
    /// So many items were accepted, and not flushed, when a connection was lost.
    Lost(usize),
    /// No connection will follow.
    Over,
}

impl SendError {
    /// There is no connection, and the session is set to
    /// [`fail_while_down`](super::Session::fail_while_down). The item was not
    /// accepted.
    pub fn is_down(&self) -> bool {
        self.0 == Unsent::Down
    }

    /// The session gave up or was closed. The item was not accepted.
    pub fn is_over(&self) -> bool {
        self.0 == Unsent::Over
    }

    /// How many items were accepted, and not flushed, when their connection was
    /// lost. Each of them may have arrived or not. The present item may be one of
    /// them.
    ///
    /// The session goes on.
    pub fn lost(&self) -> usize {
        match self.0 {
            Unsent::Lost(items) => items,
            Unsent::Down | Unsent::Over => 0,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unsent::Down => f.write_str("not sent: there is no connection"),
            Unsent::Over => f.write_str("not sent: the session is over"),
            Unsent::Lost(1) => f.write_str("the connection was lost with 1 item not flushed"),
            Unsent::Lost(items) => {
                write!(f, "the connection was lost with {items} items not flushed")
            }
        }
    }
}

impl error::Error for SendError {}
