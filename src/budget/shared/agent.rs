//! Asks the store for all who wait in this process.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::pin::pin;

use tokio::sync::Notify;

use super::Shared;
use super::state::{Question, Step};
use crate::budget::store::{Answer, AnyStore, Call, StoreError, StoreErrorKind};
use crate::clock::until;

/// Asks one question at a time, for as long as there is something to ask.
pub(super) async fn run(budget: Weak<Shared>, store: Arc<dyn AnyStore>, wake: Arc<Notify>) {
    let mut life = Life {
        budget,
        ended: false,
    };
    loop {
        // In a block: the budget must not live for as long as its agent sleeps.
        let (step, until_when) = {
            let Some(budget) = life.budget.upgrade() else {
                return;
            };
            let mut state = budget.state();
            let now = state.now();
            let step = state.step(now);
            let at = match &step {
                Step::Sleep(at) => *at,
                _ => now,
            };
            (step, state.age.instant(at))
        };
        match step {
            Step::Ask(question) => ask(&life.budget, &*store, question).await,
            Step::Sleep(_) => {
                let _ = until(until_when, pin!(wake.notified())).await;
            }
            Step::End => {
                life.ended = true;
                return;
            }
        }
    }
}

/// Notices that the agent ends in the middle of its work.
struct Life {
    budget: Weak<Shared>,
    ended: bool,
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if let Some(budget) = self.budget.upgrade() {
            let mut state = budget.state();
            let now = state.now();
            state.agent_broke(now, std::thread::panicking());
        }
    }
}

/// Asks one question, and gives the answer to those who wait.
async fn ask(budget: &Weak<Shared>, store: &dyn AnyStore, mut question: Question) {
    let times = (question.sent, question.limit);
    let mut answer = pin!(converse(budget, store, question.call.clone(), times));
    let outcome = loop {
        let deadline = {
            let Some(budget) = budget.upgrade() else {
                return;
            };
            let mut state = budget.state();
            let now = state.now();
            state.expire(now, &mut question.batch);
            if now >= question.limit {
                let text = "the store did not answer in time";
                break Err(StoreError::new(StoreErrorKind::Slow, text));
            }
            let bound = state.first_bound(&question.batch);
            state.age.instant(bound.min(question.limit))
        };
        if let Some(outcome) = until(deadline, answer.as_mut()).await {
            break outcome;
        }
    };
    let Some(budget) = budget.upgrade() else {
        return;
    };
    let news = {
        let mut state = budget.state();
        let now = state.now();
        match outcome {
            Ok(answer) => state.answered(now, question, answer),
            Err(error) => Vec::from_iter(state.failed(now, question, error)),
        }
    };
    budget.tell(news);
}

/// What the store answers in the end. A connection that is found to be broken is
/// replaced and asked once more. So is a store whose clock was set, so that it takes
/// the question for a late one.
async fn converse(
    budget: &Weak<Shared>,
    store: &dyn AnyStore,
    mut call: Call,
    (sent, limit): (u64, u64),
) -> Result<Answer, StoreError> {
    let (mut broken, mut refused) = (false, false);
    loop {
        match store.run_boxed(&call).await.and_then(Answer::read) {
            Ok(answer) if answer.granted => return Ok(answer),
            Ok(_) if refused => {
                let text = "the store takes the question for a late one";
                return Err(StoreError::new(StoreErrorKind::Slow, text));
            }
            Ok(answer) => {
                refused = true;
                let Some(budget) = budget.upgrade() else {
                    return Ok(answer); // and nobody reads it
                };
                let (deadline, news) = {
                    let mut state = budget.state();
                    let now = state.now();
                    state.refused(now, (sent, limit), answer.now)
                };
                call = call.deadline(Some(deadline));
                budget.tell(news);
            }
            // It may have run the script. Then a token is lost.
            Err(error) if error.kind() == StoreErrorKind::Unreachable && !broken => broken = true,
            Err(error) => return Err(error),
        }
    }
}
