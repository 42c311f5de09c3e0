//! Services of [tower](https://docs.rs/tower) that reconnect, and waits for its retries.
//!
//! - [`Redial::into_service`](crate::Redial::into_service) makes a [`Reconnect`]: a
//!   service that any number of tasks clone, and that stays while connections come and
//!   go. [`make`] lets it connect with a `MakeService`, as tower calls a service that
//!   makes services.
//! - [`Waits`] makes the backoffs of tower's retries from a policy.
//! - A [`TokenBucket`](crate::TokenBucket) is a budget of tower's retries.
//!
//! A retry is for a request that failed, and a reconnect for the connection below. A
//! program may need both: a retry then waits in `poll_ready` for as long as the reconnect
//! takes.

mod make;
mod reconnect;
mod retry;

pub use make::{Make, MakeAttempt, make};
pub use reconnect::{Reconnect, ResponseFuture, ServiceError};
pub use retry::{Pause, Waiting, Waits};
