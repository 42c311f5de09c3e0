//! How a shared connection is replaced while tasks use it.

use alloc::boxed::Box;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::live::Trash;
use super::{Lent, Shared, State};
use crate::clock::{Sleep, Stopwatch};
use crate::driver::{Connect, DRAIN, Turn};
use crate::policy::Policy;
use crate::sync::lock;

/// What a shared connection has only if it is renewed.
#[derive(Default)]
pub(super) struct Renewing {
    /// The present connection takes no new work.
    is_leaving: bool,
    /// The connection that was replaced, while tasks may have it.
    old: Option<Old>,
}

struct Old {
    generation: u64,
    stopwatch: Stopwatch,
    timer: Pin<Box<Sleep>>,
}

impl<C, P> Shared<C, P>
where
    C: Connect<Connection: Clone>,
    P: Policy,
{
    /// Replaces the present connection before it ends; see
    /// [`Handle::renew_within`](crate::Handle::renew_within) and
    /// [Renewal](Self#renewal). It is lent until the next one is there.
    pub fn renew_within(&self, grace: Duration) {
        lock(&self.inner.state).redial.renew_within(grace);
        self.inner.waiting.wake_all();
    }

    /// As [`renew_within`](Self::renew_within), with a hint for one attempt; see
    /// [`Handle::renew_with_hint`](crate::Handle::renew_with_hint).
    pub fn renew_with_hint(&self, grace: Duration, hint: &str) {
        lock(&self.inner.state).redial.renew_with_hint(grace, hint);
        self.inner.waiting.wake_all();
    }

    /// Replaces the present connection now; see
    /// [`Handle::renew_now`](crate::Handle::renew_now).
    pub fn renew_now(&self) {
        lock(&self.inner.state).redial.renew_now();
        self.inner.waiting.wake_all();
    }
}

impl<C: Connect, P: Policy> Lent<C, P> {
    /// Reports that this connection takes no new work and ends after `lead`: the server
    /// has sent a GOAWAY, for instance, and finishes what it has begun.
    ///
    /// The connection is [renewed](Shared::renew_within), and is not lent any more.
    /// [`ready`](Shared::ready) waits for the next one, or until `lead` is over; then an
    /// outage begins, as after [`ended`](Self::ended). So `lead` is also the longest time
    /// that new work may wait: if you do not know when the server ends the connection,
    /// some seconds are a good value. Tasks that have the connection keep it.
    ///
    /// The first report counts, and one that names an earlier end. A report of an older
    /// connection does nothing.
    pub fn leaves_within(&self, lead: Duration) {
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        let mut state = lock(&owner.state);
        if state.generation == self.generation && state.redial.connection.is_some() {
            state.redial.renew_within(lead);
            // Without an end, work could wait forever.
            if lead != Duration::MAX {
                state.renewing.get_or_insert_default().is_leaving = true;
            }
            drop(state);
            owner.waiting.wake_all();
        }
    }
}

impl<C: Connect, P: Policy> State<C, P> {
    /// Whether the present connection takes no new work.
    pub(super) fn is_leaving(&self) -> bool {
        let renewing = self.renewing.as_ref();
        self.redial.connection.is_some() && renewing.is_some_and(|it| it.is_leaving)
    }

    /// Drives the renewal. True if the present connection is another one, or gone.
    #[cold]
    pub(super) fn renew(&mut self, cx: &mut Context<'_>, trash: &mut Trash<C>) -> bool {
        let renewing = self.renewing.get_or_insert_default();
        if self.redial.connection.is_none() {
            renewing.is_leaving = false;
            return false;
        }
        loop {
            let renewing = self.renewing.get_or_insert_default();
            match self.redial.poll_renewal(cx, renewing.old.is_none()) {
                Poll::Pending => return false,
                // The tasks that still have the oldest one learn that it is gone.
                Poll::Ready(Turn::NeedsRoom) => renewing.old = None,
                Poll::Ready(Turn::Renewed(connection)) => {
                    renewing.is_leaving = false;
                    renewing.old = Some(Old {
                        generation: self.generation,
                        stopwatch: Stopwatch::start(),
                        timer: Box::pin(Sleep::unset()),
                    });
                    let old = self.redial.connection.replace(connection);
                    trash.get_or_insert_default().connections.extend(old);
                    self.generation += 1;
                    self.begin_watch(trash);
                    return true;
                }
                Poll::Ready(Turn::End(ending)) => {
                    renewing.is_leaving = false;
                    self.lose(ending, None, trash);
                    return true;
                }
            }
        }
    }

    /// Whether the connection of this number is gone. If not, `waker` is woken in time.
    pub(super) fn is_gone(&mut self, generation: u64, waker: &Waker) -> bool {
        if self.generation == generation {
            return self.redial.connection.is_none();
        }
        let Some(renewing) = &mut self.renewing else {
            return true;
        };
        match &mut renewing.old {
            Some(old) if old.generation == generation => {
                let until = old.stopwatch.instant(DRAIN.as_nanos() as u64);
                let mut cx = Context::from_waker(waker);
                let is_gone = old.timer.as_mut().poll_until(until, &mut cx).is_ready();
                if is_gone {
                    renewing.old = None;
                }
                is_gone
            }
            _ => true,
        }
    }
}
