//! Why an item was not sent.

use core::error;
use core::fmt;

/// Why a [`Session`](super::Session) did not send, or why it does not know whether it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError {
    unsent: Unsent,
    accepted: bool,
}

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
    pub(super) fn new(unsent: Unsent, accepted: bool) -> Self {
        Self { unsent, accepted }
    }

    pub(super) fn not_accepted(unsent: Unsent) -> Self {
        Self::new(unsent, false)
    }

    /// Whether a connection was given the item of this call. If so, the item is one
    /// of those that are [lost](Self::lost), and may have arrived. If not, it has
    /// not arrived, and is safe to send again.
    ///
    /// A flush and a close have no item of their own. There it says whether items
    /// that were accepted before are lost.
    pub fn was_accepted(&self) -> bool {
        self.accepted
    }

    /// There is no connection, and the session is set to
    /// [`fail_while_down`](super::Session::fail_while_down). The item was not
    /// accepted.
    pub fn is_down(&self) -> bool {
        self.unsent == Unsent::Down
    }

    /// The session gave up or was closed. The item was not accepted.
    pub fn is_over(&self) -> bool {
        self.unsent == Unsent::Over
    }

    /// How many items were accepted, and not flushed, when their connection was
    /// lost. Each of them may have arrived or not.
    ///
    /// The session goes on.
    pub fn lost(&self) -> usize {
        match self.unsent {
            Unsent::Lost(items) => items,
            Unsent::Down | Unsent::Over => 0,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unsent {
            Unsent::Down => return f.write_str("not sent: there is no connection"),
            Unsent::Over => return f.write_str("not sent: the session is over"),
            Unsent::Lost(0) => return f.write_str("not sent: the connection was lost"),
            Unsent::Lost(1) => f.write_str("the connection was lost with 1 item not flushed")?,
            Unsent::Lost(items) => {
                write!(f, "the connection was lost with {items} items not flushed")?;
            }
        }
        if self.accepted {
            return Ok(());
        }
        f.write_str(", and this item was not sent")
    }
}

impl error::Error for SendError {}
