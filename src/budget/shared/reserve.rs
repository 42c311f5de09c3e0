//! A question for one token of a shared budget.

use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use tokio::sync::oneshot;

use super::Shared;
use crate::bucket::Reserved;

/// The future that [`SharedBudget`](super::SharedBudget) returns.
///
/// # Panics
///
/// If it is polled after it was ready.
///
/// # Cancel safety
///
/// If it is dropped before the question left, no token is taken. If it is dropped
/// later, its token goes to the next who asks in this process.
#[must_use = "futures do nothing unless polled"]
pub struct SharedReserve {
    budget: Arc<Shared>,
    state: State,
}

enum State {
    Ready(Reserved),
    Asked(oneshot::Receiver<Reserved>),
    Done,
}

impl SharedReserve {
    pub(super) fn ready(budget: Arc<Shared>, reserved: Reserved) -> Self {
        let state = State::Ready(reserved);
        Self { budget, state }
    }

    pub(super) fn asked(budget: Arc<Shared>, answer: oneshot::Receiver<Reserved>) -> Self {
        let state = State::Asked(answer);
        Self { budget, state }
    }
}

impl Future for SharedReserve {
    type Output = Reserved;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reserved> {
        let answered = match &mut self.state {
            State::Asked(answer) => match Pin::new(answer).poll(cx) {
                Poll::Ready(answered) => answered.ok(),
                Poll::Pending => return Poll::Pending,
            },
            State::Ready(_) | State::Done => None,
        };
        let before = core::mem::replace(&mut self.state, State::Done);
        Poll::Ready(match (before, answered) {
            (State::Ready(reserved), _) | (_, Some(reserved)) => reserved,
            // The agent ended in the middle of its work.
            (State::Asked(_), None) => self.budget.local(),
            (State::Done, None) => panic!("polled after it was ready"),
        })
    }
}

impl Drop for SharedReserve {
    fn drop(&mut self) {
        let unread = match core::mem::replace(&mut self.state, State::Done) {
            State::Ready(reserved) => Some(reserved),
            State::Asked(mut answer) => {
                // From now on the agent keeps what it sends here.
                answer.close();
                answer.try_recv().ok()
            }
            State::Done => None,
        };
        if let Some(unread) = unread {
            self.budget.keep(&unread);
        }
    }
}

impl fmt::Debug for SharedReserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedReserve").finish_non_exhaustive()
    }
}
