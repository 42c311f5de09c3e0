//! Reconnects clients to their server without a stampede.
//!
//! A client loses its server. In the same second, so do a hundred thousand other
//! clients. This crate decides when each client tries again. All clients are back
//! about as soon as the server can take them, and the server does not fall over.
//! The crate also makes the attempts, so you can write an app as if its
//! connection stayed up.
//!
//! # Overview
//!
//! The layers, from the bottom up. You can use each layer without those above it.
//!
//! - A **policy** says how long to wait: [`Stratified`] (the default),
//!   [`Exponential`], [`Decorrelated`], [`Sequence`], or your own; see
//!   [`policy`].
//! - A **[`Verdict`]** says what an error means for the next attempt: retry,
//!   retry after a time, retry at an exact time, or stop. [`codes`] has tables for
//!   the codes of HTTP, WebSocket, TLS, databases, brokers and others.
//! - An **[`Outage`]** is a state machine. Its input is what happened and when.
//!   Its answer is how long to wait, or to give up. It reads no clock and does no
//!   I/O, so it works with any runtime, or without one.
//! - A **[`Heartbeat`]** is a state machine, too. It says when to ping a connection,
//!   and when a silent one is dead.
//! - **[`Redial`]** drives an outage on tokio's clock, with any connector. A
//!   [`Handle`] watches and controls it from anywhere in the program.
//! - **[`tcp::connect`]** is a connector for TCP. It races all addresses of a name,
//!   so an address that drops packets does not keep a client offline.
//! - **[`Endpoints`]** is a list of servers of which one is enough. If a server is down,
//!   a client tries the next one at once.
//! - **[`Session`]** (items), **[`RedialIo`]** (bytes) and **[`Shared`]** (a
//!   client that many tasks clone) stay while connections come and go. They
//!   report each change of connection. They notice a dead connection, if they are
//!   asked to: see [`Session::keep_alive`].
//! - A **[`TokenBucket`]** limits how often many connections reconnect together, and
//!   a **[`SharedBudget`]** those of many processes.
//! - **`Slots`**, a feature, is the other side: a server tells each client when to come.
//! - **`storm`**, a feature, simulates what a fleet of your clients does to your
//!   server.
//!
//! Five things make it more than a retry loop:
//!
//! - **The first reconnect is spread.** All clients lost the server in the same
//!   instant. Only the first connect is immediate.
//! - **Connected is not healed.** An outage goes on until a connection has been
//!   up for a while. So a server that accepts and drops is not hammered.
//! - **The next wait depends on what the failure cost the server**: nothing, an
//!   answer, or a whole handshake; see [`Cause`].
//! - **Patience grows.** After an attempt that stalled, the next attempt waits
//!   longer for its answer. A client that leaves a queue early must queue again.
//! - **The spread is proven** by tests that state the law of every wait.
//!
//! # Usage
//!
//! ```no_run
//! use redial::{Redial, tcp};
//! use tokio::io::{AsyncBufReadExt, BufReader};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), redial::Error<std::io::Error>> {
//! let mut redial = Redial::new(tcp::connect("news.example:1119"))
//!     .observe(|event| eprintln!("{event}"));
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
//! Without tokio, use [`Outage`]; its page has an example.
//!
//! # What is missing
//!
//! - Retries of single requests. This crate handles outages, not calls.
//! - Timers of other runtimes. [`Outage`] needs none.
//!
//! # Pages
//!
//! To begin with:
//!
//! - [Getting started](_getting_started), by protocol
//! - [Cookbook](_cookbook)
//! - [Migrating](_migrating) from other crates, and from a loop of your own
//! - [Testing your app](_testing)
//!
//! To go on:
//!
//! - [Choosing a policy](_choosing)
//! - [Tuning](_tuning), from the size of a fleet to the settings
//! - [How to judge the codes of a protocol](_codes)
//! - [How many processes share one budget](_budget)
//! - [While offline](_offline)
//! - [Observing](_observing)
//!
//! For servers:
//!
//! - [What to answer, and how to restart](_servers)
//! - [How a server hands out slots](_slots)
//!
//! To know more:
//!
//! - [Design](_design)
//! - [How spread is proven](_spread)
//! - [What it costs](_cost)
//! - [What other crates do](_peers), by version
//! - [How fast it is, compared with other crates](_compare)
//!
//! # Crate features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tokio` | yes | [`Redial`] and the types that build on it; [`tcp`], except on wasm |
//! | `std` | with `tokio` | fresh entropy, verdicts on `std::io::Error`, [`TokenBucket`]'s clock |
//! | `storm` | no | `redial::storm`, the fleet simulator |
//! | `slots` | no | `redial::Slots`, with which a server hands out slots and tickets |
//! | `codec` | no | [`Verdict::of`] sees the `io::Error` inside of tokio-util's `LinesCodecError` |
//! | `test-util` | no | [`redial::test`](https://docs.rs/redial/latest/redial/test/index.html), a kit for the tests of your program |
//! | `tracing` | no | [`redial::observe`](https://docs.rs/redial/latest/redial/observe/index.html): a span of each outage, and events in it |
//! | `metrics` | no | the same module: counts and lengths of outages, for any exporter |
//! | `tower` | no | [`redial::tower`](https://docs.rs/redial/latest/redial/tower/index.html): a service that reconnects, and backoffs for tower's retries |
//! | `serde` | no | `Serialize` and `Deserialize` for [`SavedOutage`] and the storm's reports |
//! | `config` | no | `redial::Settings`: policies and limits from a file; the same traits for [`Config`] and [`Liveness`] |
//!
//! Without features the crate is `no_std` with `alloc`. On targets without 64-bit
//! atomics there is no [`TokenBucket`], `tokio`, `slots` or `storm`. On targets without
//! atomic pointers there is no [`Sequence`] or [`AnyPolicy`] either.
//!
//! On `wasm32-unknown-unknown` std has neither a clock nor entropy, and panics if
//! it is asked for them. There, leave `std` out and give each client a seed.
//!
//! # Settings
//!
//! A setter or constructor that can refuse a value has two forms. The plain form
//! panics. The form whose name begins with `try_` returns an [`InvalidConfig`],
//! which names the setting and the value.
//!
//! # Time
//!
//! Waits are computed in whole nanoseconds. Tokio's timer rounds up to a
//! millisecond. If waits are spread over 100 ms, two clients share a tick with
//! probability 0.01; over 5 ms, with probability 0.19.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

// Pure: no clock, no runtime, no std.
mod advice;
#[cfg(target_has_atomic = "64")]
mod bucket;
pub mod codes;
#[cfg(all(feature = "tokio", not(any(target_family = "wasm", loom))))]
mod dial_error;
mod invalid;
mod liveness;
mod nanos;
mod number;
mod outage;
pub mod policy;
mod rng;
#[cfg(any(feature = "tokio", feature = "storm"))]
// No server of a storm joins or leaves its cluster.
#[cfg_attr(not(feature = "tokio"), allow(dead_code))]
mod roster;
#[cfg(feature = "test-util")]
mod scripted_error;
#[cfg(target_has_atomic = "64")]
mod sync;
mod verdict;

// Policies and limits from a file.
#[cfg(feature = "config")]
mod settings;

#[cfg(feature = "std")]
// Without a TokenBucket nothing but seeds asks for the time.
#[cfg_attr(not(target_has_atomic = "64"), allow(dead_code))]
mod clock;
#[cfg(feature = "std")]
mod entropy;

// Budgets, for the driver.
#[cfg(feature = "tokio")]
pub mod budget;

// The driver, on tokio's clock.
#[cfg(feature = "tokio")]
mod control;
#[cfg(feature = "tokio")]
mod driver;

// Observers, for the driver.
#[cfg(any(feature = "tracing", feature = "metrics"))]
pub mod observe;

// A connector with several servers, for the driver.
#[cfg(feature = "tokio")]
mod endpoints;

// A connector, for the driver. In loom's tests tokio has no sockets.
#[cfg(all(feature = "tokio", not(any(target_family = "wasm", loom))))]
pub mod tcp;

// Wrappers, on the driver.
#[cfg(feature = "tokio")]
mod wrap;

// The server's side of slots.
#[cfg(feature = "slots")]
mod slots;

// Services of tower, on a wrapper.
#[cfg(feature = "tower")]
pub mod tower;

// The fleet simulator, on the pure layer.
#[cfg(feature = "storm")]
pub mod storm;

// A kit for the tests of programs, on the driver.
#[cfg(feature = "test-util")]
pub mod test;

#[cfg(target_has_atomic = "64")]
pub use bucket::{Reserved, TokenBucket};
pub use invalid::InvalidConfig;
pub use liveness::{Heartbeat, Liveness, Pulse, Silent};
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
#[cfg(feature = "config")]
pub use settings::{PolicyConfig, Settings};
#[cfg(all(
    feature = "slots",
    feature = "tokio",
    not(any(target_family = "wasm", loom))
))]
pub use slots::SharedSlots;
#[cfg(feature = "slots")]
pub use slots::{Admission, Slots, Ticket};
#[cfg(feature = "std")]
pub use verdict::AsError;
pub use verdict::Verdict;

#[cfg(feature = "tokio")]
pub use bucket::Source;
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use budget::{AnyBudget, Budget};
#[cfg(all(feature = "tokio", not(any(target_family = "wasm", loom))))]
#[doc(inline)]
pub use budget::{BudgetEvent, SharedBudget};
#[cfg(feature = "tokio")]
pub use clock::Instant;
#[cfg(feature = "tokio")]
pub use control::{Handle, RenewalHold, Status, WaitsFor, Watch, Why};
#[cfg(feature = "tokio")]
pub use driver::{
    AttemptInfo, AttemptKind, BoxAttempt, BoxConnect, BoxError, BoxRedial, Connect, Error, Event,
    MarkEstablished, MaybeSend, Redial, Servers, Then, WithInfo, with_info,
};
#[cfg(feature = "tokio")]
pub use endpoints::{Endpoints, EndpointsConnector};
#[cfg(feature = "tokio")]
pub use outage::AttemptPhase;
#[cfg(feature = "tokio")]
pub use wrap::{
    FromConnection, Keep, KeepNothing, KeepUnsent, Lent, Monitor, Monitored, PingRequests,
    RedialIo, SendError, Session, SessionEvent, Shared,
};

/// The futures that [`Redial`] and [`Shared`] return, for code that names their
/// types.
#[cfg(feature = "tokio")]
pub mod future {
    pub use crate::budget::AnyReserve;
    #[cfg(not(any(target_family = "wasm", loom)))]
    pub use crate::budget::SharedReserve;
    pub use crate::driver::{Connecting, Ready, Renewed, ThenAttempt};
    pub use crate::endpoints::Round;
    pub use crate::wrap::{SharedReady, Watching};
}

#[cfg(all(
    any(feature = "tokio", feature = "storm", feature = "slots"),
    not(target_has_atomic = "64")
))]
compile_error!("redial's features `tokio`, `storm` and `slots` need a target with 64-bit atomics");

// Its programs need client libraries: redial-protocols in `examples` tests them.
#[cfg(all(doc, not(doctest), feature = "tokio"))]
#[doc = include_str!("docs/getting_started.md")]
pub mod _getting_started {}

#[cfg(all(any(doc, doctest), feature = "tokio"))]
#[doc = include_str!("docs/cookbook.md")]
pub mod _cookbook {}

#[cfg(all(any(doc, doctest), feature = "tokio"))]
#[doc = include_str!("docs/testing.md")]
pub mod _testing {}

#[cfg(all(any(doc, doctest), feature = "tokio"))]
#[doc = include_str!("docs/observing.md")]
pub mod _observing {}

#[cfg(all(any(doc, doctest), feature = "tokio"))]
#[doc = include_str!("docs/choosing.md")]
pub mod _choosing {}

#[cfg(all(any(doc, doctest), feature = "tokio"))]
#[doc = include_str!("docs/tuning.md")]
pub mod _tuning {}

#[cfg(all(any(doc, doctest), feature = "tokio"))]
#[doc = include_str!("docs/servers.md")]
pub mod _servers {}

#[cfg(all(any(doc, doctest), feature = "tokio"))]
#[doc = include_str!("docs/design.md")]
pub mod _design {}

// Their code needs the other crates: redial-benches tests it.
#[cfg(all(doc, not(doctest), feature = "tokio"))]
#[doc = include_str!("docs/migrating.md")]
pub mod _migrating {}

#[cfg(all(doc, not(doctest), feature = "tokio"))]
#[doc = include_str!("docs/peers.md")]
pub mod _peers {}

#[cfg(all(any(doc, doctest), feature = "tokio"))]
#[doc = include_str!("docs/offline.md")]
pub mod _offline {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("docs/codes.md")]
pub mod _codes {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("docs/slots.md")]
pub mod _slots {}

#[cfg(all(
    any(doc, doctest),
    feature = "tokio",
    not(any(target_family = "wasm", loom))
))]
#[doc = include_str!("docs/budget.md")]
pub mod _budget {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("docs/spread.md")]
pub mod _spread {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("docs/cost.md")]
pub mod _cost {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("docs/compare.md")]
pub mod _compare {}

#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
mod readme {}
