//! A connector of two steps.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::connect::Connect;
use super::info::AttemptInfo;
use super::servers::Servers;
use crate::outage::AttemptPhase;

/// A connector of two steps: made by [`Connect::then`].
#[derive(Clone)]
pub struct Then<C, L> {
    dial: C,
    next: L,
}

impl<C, L> Then<C, L> {
    pub(super) fn new(dial: C, next: L) -> Self {
        Self { dial, next }
    }
}

pin_project! {
    /// An attempt of [`Then`].
    pub struct ThenAttempt<A, Fut> {
        #[pin]
        step: Step<A, Fut>,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<A, Fut> {
        Dial { #[pin] attempt: A },
        Next { #[pin] attempt: Fut },
        // The next step has failed. If the attempt is polled again, another server is
        // dialled.
        Failed,
    }
}

impl<C, L, Fut, T, E> Connect for Then<C, L>
where
    C: Connect,
    L: FnMut(C::Connection) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<C::Error>,
{
    type Connection = T;
    type Error = E;
    type Attempt = ThenAttempt<C::Attempt, Fut>;

    fn connect(&mut self) -> Self::Attempt {
        self.connect_with(AttemptInfo::first(1))
    }

    fn connect_with(&mut self, info: AttemptInfo<'_, E>) -> Self::Attempt {
        // The last error is one of the whole.
        let info = info.for_dial();
        ThenAttempt {
            step: Step::Dial {
                attempt: self.dial.connect_with(info),
            },
        }
    }

    fn network_changed(&mut self) {
        self.dial.network_changed();
    }

    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut Self::Attempt>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>> {
        let mut step = attempt.project().step;
        loop {
            let transport = match step.as_mut().project() {
                StepProj::Dial { attempt } => ready!(self.dial.poll_attempt(attempt, cx))?,
                StepProj::Next { attempt } => {
                    let outcome = ready!(attempt.poll(cx));
                    if outcome.is_err() {
                        step.set(Step::Failed);
                    }
                    return Poll::Ready(outcome);
                }
                StepProj::Failed => {
                    let attempt = self.dial.connect();
                    step.set(Step::Dial { attempt });
                    continue;
                }
            };
            let attempt = (self.next)(transport);
            step.set(Step::Next { attempt });
        }
    }

    #[inline]
    fn phase(&self, attempt: &Self::Attempt) -> AttemptPhase {
        match &attempt.step {
            Step::Next { .. } | Step::Failed => AttemptPhase::Established,
            Step::Dial { attempt } => match self.dial.phase(attempt) {
                AttemptPhase::Unknown => AttemptPhase::Dialing,
                phase => phase,
            },
        }
    }

    fn limits_its_dial(&self) -> bool {
        self.dial.limits_its_dial()
    }

    fn servers(&mut self) -> Option<Servers<'_>> {
        self.dial.servers()
    }
}

impl<C: fmt::Debug, L> fmt::Debug for Then<C, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Then")
            .field("dial", &self.dial)
            .finish_non_exhaustive()
    }
}

impl<A, Fut> fmt::Debug for ThenAttempt<A, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_dialing = matches!(self.step, Step::Dial { .. });
        f.debug_struct("ThenAttempt")
            .field("is_dialing", &is_dialing)
            .finish_non_exhaustive()
    }
}
