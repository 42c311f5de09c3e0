//! The wrappers: a stream and a sink, bytes, or a client that many tasks clone,
//! which stay while connections come and go.
//!
//! [`halves`] and [`wakers`] see to it that each waiting task is woken.

mod from_connection;
mod halves;
mod io;
mod session;
mod shared;
mod wakers;

pub use from_connection::FromConnection;
pub use io::RedialIo;
pub use session::{SendError, Session, SessionEvent};
pub use shared::{Lent, Shared, SharedReady};
