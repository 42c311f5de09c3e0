//! Budgets whose type a driver need not know.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::Budget;
use crate::bucket::{Reserved, TokenBucket};

/// A budget of any type: what [`Redial::budget`](crate::Redial::budget) takes.
///
/// A [`TokenBucket`] stays as it is, and costs no allocation. Any other budget
/// costs one for each token. Clones share their tokens.
#[derive(Clone)]
pub struct AnyBudget(Kind);

#[derive(Clone)]
enum Kind {
    Bucket(TokenBucket),
    Other(Arc<dyn Erased>),
}

impl AnyBudget {
    /// Puts a budget of your own into this form.
    ///
    /// ```
    /// use redial::{AnyBudget, Budget, Redial, Reserved, TokenBucket};
    /// use std::future::Future;
    /// use std::pin::Pin;
    /// use std::time::Duration;
    ///
    /// /// Says how long each reconnect waits for its token.
    /// struct Logged(TokenBucket);
    ///
    /// impl Budget for Logged {
    ///     type Reserve = Pin<Box<dyn Future<Output = Reserved> + Send>>;
    ///
    ///     fn reserve(&self) -> Self::Reserve {
    ///         let reserved = self.0.reserve();
    ///         println!("a token in {:?}", reserved.wait());
    ///         Box::pin(async { reserved })
    ///     }
    ///
    ///     fn give_back(&self, unused: Reserved) {
    ///         self.0.give_back(unused);
    ///     }
    /// }
    ///
    /// # async fn log_in() -> Result<(), std::io::Error> { Ok(()) }
    /// let budget = AnyBudget::new(Logged(TokenBucket::new(1, Duration::from_secs(1))));
    /// let redial = Redial::new(log_in).budget(budget);
    /// ```
    pub fn new<B>(budget: B) -> Self
    where
        B: Budget<Reserve: Send + 'static> + Send + Sync + 'static,
    {
        Self(Kind::Other(Arc::new(budget)))
    }
}

impl From<TokenBucket> for AnyBudget {
    fn from(bucket: TokenBucket) -> Self {
        Self(Kind::Bucket(bucket))
    }
}

impl From<&TokenBucket> for AnyBudget {
    fn from(bucket: &TokenBucket) -> Self {
        bucket.clone().into()
    }
}

impl From<&AnyBudget> for AnyBudget {
    fn from(budget: &AnyBudget) -> Self {
        budget.clone()
    }
}

impl Budget for AnyBudget {
    type Reserve = AnyReserve;

    fn reserve(&self) -> AnyReserve {
        AnyReserve(match &self.0 {
            Kind::Bucket(bucket) => Answer::Now(Some(bucket.reserve())),
            Kind::Other(budget) => Answer::Later(budget.reserve_boxed()),
        })
    }

    fn give_back(&self, unused: Reserved) {
        match &self.0 {
            Kind::Bucket(bucket) => bucket.give_back(unused),
            Kind::Other(budget) => budget.give_back_erased(unused),
        }
    }

    fn bound(&self) -> Duration {
        match &self.0 {
            Kind::Bucket(bucket) => bucket.bound(),
            Kind::Other(budget) => budget.bound_erased(),
        }
    }

    fn period(&self) -> Duration {
        match &self.0 {
            Kind::Bucket(bucket) => bucket.period(),
            Kind::Other(budget) => budget.period_erased(),
        }
    }
}

type BoxReserve = Pin<Box<dyn Future<Output = Reserved> + Send>>;

/// [`Budget`], without its type.
trait Erased: Send + Sync {
    fn reserve_boxed(&self) -> BoxReserve;
    fn give_back_erased(&self, unused: Reserved);
    fn bound_erased(&self) -> Duration;
    fn period_erased(&self) -> Duration;
}

impl<B> Erased for B
where
    B: Budget<Reserve: Send + 'static> + Send + Sync,
{
    fn reserve_boxed(&self) -> BoxReserve {
        Box::pin(self.reserve())
    }

    fn give_back_erased(&self, unused: Reserved) {
        self.give_back(unused);
    }

    fn bound_erased(&self) -> Duration {
        self.bound()
    }

    fn period_erased(&self) -> Duration {
        self.period()
    }
}

/// The future that an [`AnyBudget`] returns.
///
/// # Panics
///
/// If it is polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct AnyReserve(Answer);

enum Answer {
    Now(Option<Reserved>),
    Later(BoxReserve),
}

impl AnyReserve {
    /// The answer, if it is there without a wait.
    pub(crate) fn take_now(&mut self) -> Option<Reserved> {
        match &mut self.0 {
            Answer::Now(reserved) => reserved.take(),
            Answer::Later(_) => None,
        }
    }
}

impl Future for AnyReserve {
    type Output = Reserved;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reserved> {
        match &mut self.0 {
            Answer::Now(reserved) => {
                Poll::Ready(reserved.take().expect("polled after it was ready"))
            }
            Answer::Later(reserve) => reserve.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for AnyBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Bucket(bucket) => f.debug_tuple("AnyBudget").field(bucket).finish(),
            Kind::Other(_) => f.debug_struct("AnyBudget").finish_non_exhaustive(),
        }
    }
}

impl fmt::Debug for AnyReserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyReserve").finish_non_exhaustive()
    }
}
