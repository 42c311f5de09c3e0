//! Reconnect without the stampede.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
mod entropy;
mod outage;
mod policy;
mod verdict;

pub use outage::{Next, Outage, Reason};
pub use policy::{
    Backoff, Cause, Decorrelated, Delays, Exponential, Failed, InvalidPolicy, IterBackoff, Jitter,
    Policy, Seeded, Sequence, Stratified,
};
/// The generator that feeds one outage: small, fast, and the same on every
/// platform (from the `rand` crate).
pub use rand::rngs::Xoshiro256PlusPlus;
pub use verdict::Verdict;
