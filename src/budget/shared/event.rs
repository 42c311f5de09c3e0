//! What observers of a shared budget get.

use core::time::Duration;

use crate::budget::StoreError;

/// What has just happened to a [`SharedBudget`](super::SharedBudget): the argument of
/// its [`observe`](super::SharedBudget::observe) closures.
///
/// It is told once for each change, and never for a single token.
#[derive(Debug)]
#[non_exhaustive]
pub enum BudgetEvent<'a> {
    /// The store does not answer. From now on the local bucket does.
    #[non_exhaustive]
    Away {
        /// Why not.
        error: &'a StoreError,
    },
    /// The store answers again.
    #[non_exhaustive]
    Back {
        /// How long it did not.
        away: Duration,
        /// How many tokens the local bucket granted since.
        granted: u64,
    },
    /// The store knew less than this process remembers: it lost its data, or its clock
    /// went ahead. The queue was restored.
    #[non_exhaustive]
    Forgot {
        /// The time until the bucket is full, as this process remembered it.
        restored: Duration,
    },
    /// The store's clock has moved by more than a second: it was set, or another server
    /// answers. The bucket goes on as if it had not.
    #[non_exhaustive]
    ClockMoved {
        /// By how much.
        by: Duration,
        /// The clock went back, not ahead.
        back: bool,
    },
}
