//! The wrappers: what stays while connections come and go.

mod halves;
mod io;
mod session;
mod shared;
mod wakers;

pub use io::RedialIo;
pub use session::{SendError, Session, SessionEvent};
pub use shared::{Lent, Shared, SharedReady};
