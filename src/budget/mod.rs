//! Budgets: where the tokens for reconnects come from.
//!
//! A [`Budget`] limits how often many connections reconnect together. Each
//! reconnect [takes a token](crate::Redial::budget), and waits until it is there.
//! A [`TokenBucket`] counts within one process. A [`SharedBudget`] counts over many, on a
//! [`Store`]: a Redis server that runs one script.

mod any;
// On wasm tokio has no tasks, and in loom's tests no clock to share.
#[cfg(not(any(target_family = "wasm", loom)))]
mod shared;
#[cfg(not(any(target_family = "wasm", loom)))]
mod store;

use alloc::sync::Arc;
use core::future::{Future, Ready, ready};
use core::time::Duration;

use crate::bucket::{Reserved, TokenBucket};

pub use any::{AnyBudget, AnyReserve};
#[cfg(not(any(target_family = "wasm", loom)))]
pub use shared::{BudgetEvent, NeedsShare, SharedBudget, SharedReserve};
#[cfg(not(any(target_family = "wasm", loom)))]
pub use store::{Call, Store, StoreError, StoreErrorKind};

/// Where reconnects are paid from: a [`TokenBucket`], or a bucket that is
/// further away.
///
/// Each token is an instant, and each caller gets one of its own. So nobody asks
/// twice, and nobody starves.
///
/// [`AnyBudget::new`] puts a budget of your own into the form that
/// [`Redial::budget`](crate::Redial::budget) takes.
pub trait Budget {
    /// A question for one token.
    ///
    /// It owns what it needs, so that a driver can store it beside the budget.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any moment. A token that it was given, and that nobody
    /// has read, must go back to the budget then.
    type Reserve: Future<Output = Reserved>;

    /// Asks for a token. It does not fail: a budget that cannot be reached
    /// answers by a rule of its own.
    fn reserve(&self) -> Self::Reserve;

    /// Returns a token that was not used.
    ///
    /// It may be handed to one other caller, at its own instant, if that is still
    /// ahead. A budget that instead counted one token more would promise an
    /// instant that another caller holds.
    fn give_back(&self, unused: Reserved);

    /// How long a driver waits for an answer: 200 ms by default. Then it makes the
    /// attempt without a token, so that a budget that hangs keeps no client
    /// offline.
    fn bound(&self) -> Duration {
        Duration::from_millis(200)
    }

    /// The time in which one token is earned, if it is known; zero by default.
    ///
    /// An attempt may be so late for its token, or one second if that is longer.
    fn period(&self) -> Duration {
        Duration::ZERO
    }
}

/// It answers at once.
impl Budget for TokenBucket {
    type Reserve = Ready<Reserved>;

    fn reserve(&self) -> Ready<Reserved> {
        ready(self.reserve())
    }

    fn give_back(&self, unused: Reserved) {
        self.give_back(unused);
    }

    fn period(&self) -> Duration {
        self.period()
    }
}

impl<B: Budget + ?Sized> Budget for Arc<B> {
    type Reserve = B::Reserve;

    fn reserve(&self) -> B::Reserve {
        (**self).reserve()
    }

    fn give_back(&self, unused: Reserved) {
        (**self).give_back(unused);
    }

    fn bound(&self) -> Duration {
        (**self).bound()
    }

    fn period(&self) -> Duration {
        (**self).period()
    }
}
