//! The wrappers: a stream and a sink, bytes, or a client that many tasks clone,
//! which stay while connections come and go.
//!
//! Where to look, if
//!
//! - a half of a stream is not woken: [`halves`];
//! - a task that shares a connection is not woken: [`wakers`], and `shared::ready`;
//! - an item is lost, doubled or out of order: `session::stream`, `session::sink`;
//! - a byte is, or a reset is missing: `io`;
//! - a dead connection is not noticed, or one that lives is dropped: `liveness` for
//!   the rules, [`vitals`] for the timer, `session::live` for pings and the last look;
//! - a connection is lost that was in order, or one is lent that is not: `shared`.

mod from_connection;
mod halves;
mod io;
mod monitor;
mod session;
mod shared;
mod vitals;
mod wakers;

pub use from_connection::FromConnection;
pub use io::{PingRequests, RedialIo};
pub use monitor::{Monitor, Monitored};
pub use session::{Keep, KeepNothing, KeepUnsent, SendError, Session, SessionEvent};
#[cfg(feature = "tower")]
pub(crate) use shared::Place;
pub use shared::{Lent, Shared, SharedReady, Watching};
