//! Brings a client back to its server, without the stampede.
//!
//! A client loses its server. So do a hundred thousand others, in the same
//! second. This crate decides when each tries again, so that all are back about
//! as soon as the server can take them and the server never falls over; and it
//! does the trying, so that an app is written as if its connection stayed up.
//!
//! # Overview
//!
//! From the bottom up; each layer can be used without those above it.
//!
//! - **Policies** say how long to wait: [`Stratified`] (the default),
//!   [`Exponential`], [`Decorrelated`], [`Sequence`], [`TokenBucket`], or your
//!   own [`Policy`].
//! - A **[`Verdict`]** says what an error means: try again, try again not before,
//!   try again at exactly, or stop.
//! - **[`Outage`]** is told what happened and when, and answers how long to wait
//!   or to give up. It reads no clock and does no I/O, so it fits any runtime, or
//!   none.
//! - **[`Redial`]** drives an outage on tokio's clock, around any connection
//!   factory. A [`Handle`] looks on and steps in.
//! - **[`Session`]** (items), **[`RedialIo`]** (bytes) and **[`Shared`]** (clones)
//!   stay while connections come and go, and never hide the seam between two.
//! - **`storm`**, a feature, simulates what a fleet of clients with your policy
//!   does to a server of your capacity.
//!
//! Five things set it apart from a retry loop:
//!
//! - **The first reconnect is spread.** Everybody lost the server in the same
//!   instant. Only the first connect is immediate.
//! - **Connected is not healed.** An outage goes on until a connection has been
//!   up for a while, so a server that accepts and drops is not hammered.
//! - **What a failure cost the server decides the next wait**: nothing, an
//!   answer, or a whole handshake; see [`Cause`].
//! - **Patience grows.** After an attempt that stalled, the next one waits longer
//!   for its answer: who leaves the queue early only joins it again.
//! - **Spread is proven**, by tests that state the law of every wait.
//!
//! # Usage
//!
//! ```no_run
//! use redial::Redial;
//! use std::time::Duration;
//! use tokio::io::{AsyncBufReadExt, BufReader};
//! use tokio::net::TcpStream;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), redial::Error<std::io::Error>> {
//! let mut redial = Redial::new(|| TcpStream::connect("news.example:1119"))
//!     .attempt_timeout(Duration::from_secs(20))
//!     .observe(|event| eprintln!("{event:?}"));
//! loop {
//!     let mut lines = BufReader::new(redial.ready().await?).lines();
//!     while let Ok(Some(line)) = lines.next_line().await {
//!         println!("{line}");
//!     }
//!     redial.lost();
//! }
//! # }
//! ```
//!
//! Without a runtime, or in another one, [`Outage`] is the whole of it: see its
//! example.
//!
//! # What is not here
//!
//! - Retries of single requests. An outage is the unit here, not a call.
//! - Liveness: pings and read timeouts are the protocol's. Whoever finds the
//!   connection dead says so by [`lost`](Redial::lost). That holds after a device
//!   slept, too: the wait it slept through is cut short, a connection is not doubted.
//! - Other runtimes' timers. The pure layer has no need of one.
//!
//! # Pages
//!
//! - [How a server hands out slots](_slots)
//! - [How spread is proven](_spread)
//! - [What it costs](_cost)
//! - [How fast it is, compared with other crates](_compare)
//!
//! # Crate features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tokio` | yes | [`Redial`] and all that stands on it |
//! | `std` | with `tokio` | fresh entropy, verdicts on `std::io::Error`, [`TokenBucket`]'s clock |
//! | `storm` | no | `redial::storm`, the fleet simulator |
//! | `serde` | no | `Serialize` and `Deserialize` for [`SavedOutage`] and the storm's reports |
//!
//! On `wasm32-unknown-unknown` std has neither a clock nor entropy, and panics:
//! there, leave `std` out and give each client a seed.
//!
//! Without any of them the crate is `no_std` with `alloc`. With `tokio` or
//! `storm` it needs 64-bit atomics; on the few targets that have none, the rest
//! comes without [`TokenBucket`].
//!
//! The generator of [`rand`] is part of the interface, and so is [`rand`] itself.
//!
//! # Time
//!
//! Waits are computed in whole nanoseconds. Tokio's timer rounds up to a
//! millisecond: of two clients whose waits are spread over 100 ms, the chance
//! to share a tick is one in a hundred; over 5 ms it is one in five.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

// Pure: no clock, no runtime, no std.
#[cfg(target_has_atomic = "64")]
mod bucket;
mod invalid;
mod nanos;
mod number;
mod outage;
pub mod policy;
mod rng;
#[cfg(target_has_atomic = "64")]
mod sync;
mod verdict;

#[cfg(feature = "std")]
// Without a TokenBucket nothing but seeds asks for the time.
#[cfg_attr(not(target_has_atomic = "64"), allow(dead_code))]
mod clock;
#[cfg(feature = "std")]
mod entropy;

// The driver, on tokio's clock.
#[cfg(feature = "tokio")]
mod control;
#[cfg(feature = "tokio")]
mod driver;

// Wrappers, on the driver.
#[cfg(feature = "tokio")]
mod wrap;

// The fleet simulator, on the pure layer.
#[cfg(feature = "storm")]
pub mod storm;

#[cfg(target_has_atomic = "64")]
pub use bucket::TokenBucket;
pub use invalid::InvalidConfig;
pub use number::Number;
pub use outage::{Config, Next, Outage, Reason, SavedOutage};
#[cfg(target_has_atomic = "ptr")]
#[doc(inline)]
pub use policy::{AnyPolicy, Sequence};
#[doc(inline)]
pub use policy::{
    Backoff, Cause, Decorrelated, Delays, Exponential, Failed, Jitter, Policy, Stratified,
};
pub use rng::Rng;
pub use verdict::Verdict;

#[cfg(feature = "tokio")]
pub use clock::Instant;
#[cfg(feature = "tokio")]
pub use control::{Handle, Status, Watch};
#[cfg(feature = "tokio")]
pub use driver::{
    BoxAttempt, BoxConnect, BoxError, BoxRedial, Connect, Error, Event, MaybeSend, Redial,
};
#[cfg(feature = "tokio")]
pub use wrap::{Lent, RedialIo, SendError, Session, SessionEvent, Shared};

/// The futures that [`Redial`] and [`Shared`] return, for code that names their
/// types.
#[cfg(feature = "tokio")]
pub mod future {
    pub use crate::driver::{Connecting, Ready};
    pub use crate::wrap::SharedReady;
}

#[cfg(all(
    any(feature = "tokio", feature = "storm"),
    not(target_has_atomic = "64")
))]
compile_error!("redial's features `tokio` and `storm` need a target with 64-bit atomics");

#[cfg(any(doc, doctest))]
#[doc = include_str!("docs/slots.md")]
pub mod _slots {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("docs/spread.md")]
pub mod _spread {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("docs/cost.md")]
pub mod _cost {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("docs/compare.md")]
pub mod _compare {}
