//! Connections on which something goes wrong.

mod bytes;
mod inbox;
mod items;
mod trouble;

pub use bytes::FaultyIo;
pub use items::FaultyItems;
pub(super) use trouble::Trouble;
