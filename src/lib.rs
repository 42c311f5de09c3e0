//! Reconnect without the stampede.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

// Pure: no clock, no runtime, no std.
mod bucket;
mod outage;
mod policy;
mod sync;
mod verdict;

#[cfg(feature = "std")]
mod entropy;

// The driver, on tokio's clock.
#[cfg(feature = "tokio")]
mod connect;
#[cfg(feature = "tokio")]
mod error;
#[cfg(feature = "tokio")]
mod event;
#[cfg(feature = "tokio")]
mod redial;

// Wrappers, on the driver.
#[cfg(feature = "tokio")]
mod halves;
#[cfg(feature = "tokio")]
mod io;
#[cfg(feature = "tokio")]
mod session;
#[cfg(feature = "tokio")]
mod shared;
#[cfg(feature = "tokio")]
mod status;
#[cfg(feature = "tokio")]
mod wakers;

pub use bucket::TokenBucket;
pub use outage::{Next, Outage, Reason, SavedOutage};
pub use policy::{
    Backoff, Cause, Decorrelated, Delays, Exponential, Failed, InvalidPolicy, IterBackoff, Jitter,
    Policy, Seeded, Sequence, Stratified,
};
pub use verdict::Verdict;

#[cfg(feature = "tokio")]
pub use connect::Connect;
#[cfg(feature = "tokio")]
pub use error::Error;
#[cfg(feature = "tokio")]
pub use event::Event;
#[cfg(feature = "tokio")]
pub use io::RedialIo;
#[cfg(feature = "tokio")]
pub use redial::{Connecting, Ready, Redial};
#[cfg(feature = "tokio")]
pub use session::{SendError, Session, SessionEvent};
#[cfg(feature = "tokio")]
pub use shared::{Lent, Shared, SharedReady};
#[cfg(feature = "tokio")]
pub use status::{Handle, Status, Watch};

/// The generator that feeds one outage: small, fast, and the same on every
/// platform (from the `rand` crate).
pub use rand::rngs::Xoshiro256PlusPlus;
