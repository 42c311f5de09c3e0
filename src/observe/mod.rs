//! Observers of a driver, for the libraries that programs log and count with.
//!
//! - `Tracing`, with the feature `tracing`, makes a span of each outage, with an event
//!   for each attempt, wait and verdict.
//! - `Metrics`, with the feature `metrics`, counts attempts and outages, and measures
//!   how long they last.
//!
//! Both make a closure for [`Redial::observe`](crate::Redial::observe). Observers stack,
//! so a driver can have both, and your own closure too:
//!
//! ```
//! # #[cfg(all(feature = "tracing", feature = "metrics"))]
//! # fn doc() {
//! use redial::{Event, Redial, observe, tcp};
//!
//! let redial = Redial::new(tcp::connect("chat.example:6667"))
//!     .observe(observe::Tracing::new().observer())
//!     .observe(observe::Metrics::new().label("server", "chat.example").observer())
//!     .observe(|event| {
//!         if let Event::GaveUp { reason, .. } = event {
//!             eprintln!("No connection any more: {reason}.");
//!         }
//!     });
//! # }
//! ```
//!
//! The wrappers take a [`Redial`](crate::Redial) that has its observers already, so this
//! works for them as well.
//!
//! # Time
//!
//! The observers read the driver's clock, at each event. It is tokio's clock, which tests
//! can pause. It does not run while the device sleeps.

mod course;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
#[cfg(feature = "tracing")]
pub use self::tracing::Tracing;

use crate::policy::Cause;
use crate::verdict::Verdict;

/// What a verdict is called in a field or a label.
fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Retry(Cause::Down) => "down",
        Verdict::Retry(Cause::Busy) => "busy",
        Verdict::Retry(Cause::Stalled) => "stalled",
        Verdict::RetryAfter(_) => "retry_after",
        Verdict::Slot(_) => "slot",
        Verdict::Stop => "stop",
    }
}
