//! Backoffs and a budget for tower's retries.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use pin_project_lite::pin_project;
use tower::retry::backoff::{Backoff, MakeBackoff};
use tower::retry::budget::Budget;

use crate::bucket::TokenBucket;
use crate::clock::{Instant, Sleep};
use crate::policy::{Delays, Policy};

/// Makes the backoffs of tower's retries from a policy.
///
/// Each backoff, and each clone of one, has its own generator. So requests that failed
/// together do not come back together.
///
/// ```
/// use redial::{Stratified, tower::Waits};
/// use tower::retry::backoff::{Backoff, MakeBackoff};
///
/// # async fn doc() {
/// let mut backoff = Waits::new(Stratified::default()).make_backoff();
/// // In the `retry` of a `tower::retry::Policy`:
/// backoff.next_backoff().await;
/// # }
/// ```
///
/// If the policy has no more waits, its last wait repeats, because a backoff of tower
/// cannot give up. The `retry` of your policy does that.
#[derive(Clone, Debug, Default)]
pub struct Waits<P> {
    policy: P,
}

impl<P: Policy> Waits<P> {
    /// The waits of `policy`.
    pub fn new(policy: P) -> Self {
        Self { policy }
    }
}

impl<P: Policy> MakeBackoff for Waits<P> {
    type Backoff = Waiting<P>;

    fn make_backoff(&mut self) -> Waiting<P> {
        Waiting::new(self.policy.clone())
    }
}

/// The waits of one request; made by [`Waits`].
pub struct Waiting<P: Policy> {
    policy: P,
    delays: Delays<P>,
    last: Duration,
}

impl<P: Policy> Waiting<P> {
    fn new(policy: P) -> Self {
        Self {
            delays: policy.delays(),
            policy,
            last: Duration::ZERO,
        }
    }
}

impl<P: Policy> Backoff for Waiting<P> {
    type Future = Pause;

    fn next_backoff(&mut self) -> Pause {
        self.last = self.delays.next().unwrap_or(self.last);
        Pause {
            until: Instant::after(self.last),
            sleep: Sleep::unset(),
        }
    }
}

impl<P: Policy> Clone for Waiting<P> {
    /// The waits of another request, from the first one on.
    fn clone(&self) -> Self {
        Self::new(self.policy.clone())
    }
}

impl<P: Policy + fmt::Debug> fmt::Debug for Waiting<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of a wait of [`Waiting`].
    ///
    /// # Panics
    ///
    /// When it is polled outside of a tokio runtime with its time driver.
    #[must_use = "futures do nothing unless polled"]
    pub struct Pause {
        until: Instant,
        #[pin]
        sleep: Sleep,
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.sleep.poll_until(*this.until, cx)
    }
}

impl fmt::Debug for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pause")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// One retry for each token. A request that succeeds brings none: the tokens come with
/// time.
impl Budget for TokenBucket {
    fn deposit(&self) {}

    fn withdraw(&self) -> bool {
        self.try_take().is_ok()
    }
}
