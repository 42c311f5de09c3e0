//! The budget: a token for each reconnect.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use super::flight::Flight;
use super::state::{Core, Phase, Plan};
use crate::bucket::Reserved;
use crate::budget::{AnyBudget, AnyReserve, Budget};
use crate::clock::{Timer, after};
use crate::control::WaitsFor;
use crate::policy::Policy;

/// How late an attempt may be for the token that it reserved, if the budget's
/// period is shorter.
///
/// An attempt that is later would be one of many: of all clients that were
/// paused, or that nobody polled. Within one period of a bucket only one token
/// comes due, so a lateness of a period adds one attempt at most.
const TOKEN_SLACK: Duration = Duration::from_secs(1);

/// Pays for reconnects.
pub(super) struct Payer {
    budget: AnyBudget,
    /// The question to a budget beyond this process. If it is dropped, its answer
    /// goes back to the budget.
    asking: Option<AnyReserve>,
    /// A token that is taken, and not there yet.
    reserved: Option<Reserved>,
}

impl Payer {
    pub(super) fn new(budget: AnyBudget) -> Self {
        Self {
            budget,
            asking: None,
            reserved: None,
        }
    }

    /// The answer to the question. `None` if there is no question: its future has
    /// panicked.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reserved>> {
        // A future must not be polled after it panicked. So it is put back only if
        // it has not.
        let Some(mut asking) = self.asking.take() else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut asking).poll(cx);
        if polled.is_pending() {
            self.asking = Some(asking);
        }
        polled.map(Some)
    }

    fn refund(&mut self) {
        self.asking = None;
        if let Some(reserved) = self.reserved.take() {
            self.budget.give_back(reserved);
        }
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        self.refund();
    }
}

/// A token for an attempt beside a connection.
#[derive(Clone, Copy)]
pub(super) enum Token {
    /// It is there, or none is needed.
    There,
    /// It is due then.
    Due(u64),
    /// The budget was asked, and may take until then to answer.
    Asked(u64),
}

impl<E, P: Policy> Core<E, P> {
    fn payer(&mut self) -> Option<&mut Payer> {
        self.extras.as_deref_mut()?.payer.as_deref_mut()
    }

    /// The policy's wait is over. Takes a token, and waits for it if it must.
    pub(super) fn pay(&mut self) {
        let Some(payer) = self.payer() else {
            self.enter(Phase::Due);
            return;
        };
        let mut question = payer.budget.reserve();
        if let Some(reserved) = question.take_now() {
            self.wait_for_token(reserved);
            return;
        }
        payer.asking = Some(question);
        let bound = payer.budget.bound();
        let now = self.now();
        self.enter(Phase::Asking);
        self.timers.set(Timer::Budget, after(now, bound));
    }

    /// Waits for the answer of a budget beyond this process, as long as it may take.
    pub(super) fn poll_asking<A>(
        &mut self,
        flight: Pin<&mut Flight<A>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let answer = match self.payer() {
            Some(payer) => payer.poll_answer(cx),
            None => Poll::Ready(None),
        };
        match answer {
            Poll::Ready(Some(reserved)) => self.wait_for_token(reserved),
            Poll::Ready(None) => self.enter(Phase::Due),
            Poll::Pending => {
                self.publish_phase();
                ready!(self.poll_timers(flight, cx));
                self.refund();
                self.enter(Phase::Due);
            }
        }
        Poll::Ready(())
    }

    /// The token is taken. Waits until it is there.
    pub(super) fn wait_for_token(&mut self, reserved: Reserved) {
        let source = reserved.source();
        let now = self.now();
        let Some(until) = self.hold_token(now, reserved) else {
            self.enter(Phase::Due); // and the token is used at once
            return;
        };
        self.enter(Phase::Paying { wall: 0 });
        self.timers.set(Timer::Budget, until);
        self.begin_naps(now, until);
        self.announce_wait_of(Duration::from_nanos(until - now), Some(source));
    }

    /// When the token is due. `None` if it is there.
    fn hold_token(&mut self, now: u64, reserved: Reserved) -> Option<u64> {
        let until = match reserved.due() {
            Some(due) => self.time_of(due),
            None => after(now, reserved.wait()),
        };
        if until <= now {
            return None;
        }
        if let Some(payer) = self.payer() {
            payer.reserved = Some(reserved);
        }
        Some(until)
    }

    /// Takes a token for an attempt beside a connection.
    pub(super) fn pay_beside(&mut self, now: u64) -> Token {
        let Some(payer) = self.payer() else {
            return Token::There;
        };
        let mut question = payer.budget.reserve();
        if let Some(reserved) = question.take_now() {
            return self.token(now, reserved);
        }
        payer.asking = Some(question);
        Token::Asked(after(now, payer.budget.bound()))
    }

    /// The answer to a question that was asked for an attempt beside a connection.
    pub(super) fn poll_asked_beside(&mut self, now: u64, cx: &mut Context<'_>) -> Poll<Token> {
        let answer = match self.payer() {
            Some(payer) => ready!(payer.poll_answer(cx)),
            None => None,
        };
        Poll::Ready(match answer {
            Some(reserved) => self.token(now, reserved),
            None => Token::There,
        })
    }

    fn token(&mut self, now: u64, reserved: Reserved) -> Token {
        self.hold_token(now, reserved)
            .map_or(Token::There, Token::Due)
    }

    /// Uses the token that was due then, unless that is too long ago. Whether it did.
    pub(super) fn spend_token(&mut self, due: u64) -> bool {
        if self.is_late(due) {
            self.refund();
            return false;
        }
        if let Some(payer) = self.payer() {
            payer.reserved = None;
        }
        true
    }

    /// The token is there. Uses it, or takes another if it was there too long ago.
    pub(super) fn spend(&mut self) {
        let due = self.timers.get(Timer::Budget);
        if due.is_none_or(|due| self.spend_token(due)) {
            self.enter(Phase::Due);
        } else {
            self.pay();
        }
    }

    /// Whether an attempt that begins now is too late for its token.
    fn is_late(&mut self, due: u64) -> bool {
        let period = self.payer().map(|payer| payer.budget.period());
        let slack = TOKEN_SLACK.max(period.unwrap_or_default());
        self.now() > after(due, slack)
    }

    /// Ends the question, and gives the reserved token back, if there is one.
    pub(super) fn refund(&mut self) {
        if let Some(payer) = self.payer() {
            payer.refund();
        }
    }

    /// Gives the reserved token back, and takes another when the driver is
    /// polled: of another budget.
    pub(super) fn pay_anew(&mut self) {
        self.leave_queue();
        let now = self.now();
        self.timers.set(Timer::Wait, now);
    }

    /// Gives the reserved token back and keeps its instant as a plain wait,
    /// after which the driver takes another token.
    pub(super) fn leave_queue(&mut self) {
        let until = match self.phase {
            // It never knew its instant.
            Phase::Asking => Some(self.now()),
            _ => self.timers.get(Timer::Budget),
        };
        self.refund();
        self.enter(Phase::Waiting {
            wall: 0,
            plan: Plan::by(WaitsFor::Budget),
        });
        if let Some(until) = until {
            self.timers.set(Timer::Wait, until);
        }
    }
}
