//! A driver that two halves poll, from one task or from two: the part that
//! [`Session`](super::Session) and [`RedialIo`](super::RedialIo) share.

use alloc::sync::Arc;
use core::task::{Context, Poll, Waker, ready};

use super::wakers::{Seat, Wakers};
use crate::control::{Ending, Handle};
use crate::driver::{Connect, Error, Redial};
use crate::policy::Policy;

/// No number of wake-ups.
const NOT_SEATED: u64 = u64::MAX;

/// Which half polls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Half {
    Read,
    Write,
}

/// A driver with two halves, each with a waker of its own.
///
/// While there is a connection, each half polls its side of it with its own
/// waker. While there is none, both wait for the same attempt, and both are woken
/// by it.
pub(crate) struct Halves<C: Connect, P: Policy> {
    pub(crate) redial: Redial<C, P>,
    /// How many connections there have been.
    pub(crate) generation: u64,
    /// Whether a half has reported all that came before the present connection.
    settled: [bool; 2],
    /// The same of halves that watch the connection, too.
    watching: [bool; 2],
    /// The wakers with which the halves last waited for the connection.
    wakers: [Option<Waker>; 2],
    both: Arc<Wakers>,
    /// The places of the halves in `both`.
    seats: [Seat; 2],
    /// If `wakers` has the waker with which a half waits in `both`: how often all were
    /// woken when it began to. Otherwise [`NOT_SEATED`].
    seated: [u64; 2],
    shared: Waker,
}

impl<C: Connect, P: Policy> Halves<C, P> {
    pub(crate) fn new(mut redial: Redial<C, P>) -> Self {
        redial.disarm();
        let both = Arc::new(Wakers::default());
        let shared = Waker::from(both.clone());
        // A connection that was lent before is the first, unless handles have
        // counted others.
        let generation = redial.generation();
        Self {
            generation: generation.unwrap_or(redial.connection.is_some() as u64),
            redial,
            settled: [false; 2],
            watching: [false; 2],
            wakers: [None, None],
            both,
            seats: Default::default(),
            seated: [NOT_SEATED; 2],
            shared,
        }
    }

    /// There is a connection, and no handle asks something that concerns it.
    pub(crate) fn is_up(&self) -> bool {
        self.redial.connection.is_some() && !self.redial.is_disturbed()
    }

    /// Whether calls of `half` go straight to the connection: the half is
    /// [settled](Self::settle), and no handle asks something since.
    #[inline]
    pub(crate) fn is_settled(&self, half: Half) -> bool {
        self.settled[half as usize] && !self.redial.is_disturbed()
    }

    /// The connection is up, and `half` has reported all that came before it.
    pub(crate) fn settle(&mut self, half: Half) {
        self.settled[half as usize] = true;
    }

    /// As [`is_settled`](Self::is_settled), of a half that looks whether the connection
    /// lives before each call.
    #[inline]
    pub(crate) fn is_watching(&self, half: Half) -> bool {
        self.watching[half as usize] && !self.redial.is_disturbed()
    }

    /// As [`settle`](Self::settle), for a half that watches the connection.
    pub(crate) fn settle_watching(&mut self, half: Half) {
        self.watching[half as usize] = true;
    }

    /// The connection. The caller knows that it is up.
    #[inline]
    pub(crate) fn connection(&mut self) -> &mut C::Connection {
        let connection = self.redial.connection.as_mut();
        connection.expect("a half is settled, or was polled until it is up")
    }

    /// The connection, unless a handle has closed the driver.
    pub(crate) fn present(&mut self) -> Option<&mut C::Connection> {
        if self.redial.is_closed() {
            return None;
        }
        self.redial.connection.as_mut()
    }

    /// Makes both halves look at the state again before they go on.
    pub(crate) fn unsettle(&mut self) {
        self.settled = [false; 2];
        self.watching = [false; 2];
    }

    /// Ready once there is a connection; true if it is a new one.
    #[cold]
    pub(crate) fn poll_up(
        &mut self,
        half: Half,
        cx: &Context<'_>,
    ) -> Poll<Result<bool, Error<C::Error>>> {
        let fresh = self.redial.connection.is_none();
        self.seated[half as usize] = NOT_SEATED;
        self.both.wait(&mut self.seats[half as usize], cx.waker());
        let mut shared = Context::from_waker(&self.shared);
        let up = ready!(self.redial.poll_connection(&mut shared));
        self.both.leave(&mut self.seats[half as usize]);
        if fresh || up.is_err() {
            self.both.wake_all();
            self.wake();
        }
        up?;
        self.generation += fresh as u64;
        Poll::Ready(Ok(fresh))
    }

    /// `half` is pending on its side of the connection.
    #[cold] // so that the connection's own code is inlined, and not this
    pub(crate) fn pend(&mut self, half: Half, cx: &Context<'_>) {
        match &mut self.wakers[half as usize] {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            other => {
                *other = Some(cx.waker().clone());
                self.seated[half as usize] = NOT_SEATED;
            }
        }
        if self.redial.has_handle() {
            // So that presses are noticed while a connection is up.
            self.both.wait(&mut self.seats[half as usize], cx.waker());
            if self.redial.await_disturbance(&self.shared) {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// `half` is woken with the waker that wakes both halves.
    pub(crate) fn wait_for_both(&mut self, half: Half, cx: &Context<'_>) {
        let index = half as usize;
        let known = self.wakers[index].as_ref();
        let is_known = known.is_some_and(|known| known.will_wake(cx.waker()));
        let wakes = self.both.wakes();
        if is_known && self.seated[index] == wakes {
            return;
        }
        self.both.wait(&mut self.seats[index], cx.waker());
        self.seated[index] = if is_known { wakes } else { NOT_SEATED };
    }

    /// Both halves, if they wait.
    pub(crate) fn both(&self) -> Arc<Wakers> {
        self.both.clone()
    }

    /// The waker that wakes both halves.
    pub(crate) fn waker_of_both(&self) -> Waker {
        self.shared.clone()
    }

    /// A handle. Halves that already wait are polled once, so that they notice what
    /// the handle does.
    pub(crate) fn handle(&self) -> Handle {
        let handle = self.redial.handle_of(self.generation);
        self.both.wake_all();
        self.wakers.iter().flatten().for_each(Waker::wake_by_ref);
        handle
    }

    /// The present connection is another one, without a loss.
    pub(crate) fn renewed(&mut self) {
        self.generation += 1;
        self.nudge();
    }

    /// Both halves look at the state again.
    pub(crate) fn nudge(&mut self) {
        self.unsettle();
        self.both.wake_all();
        self.wake();
    }

    /// The connection ends, and both halves must notice.
    pub(crate) fn end(&mut self, ending: Ending, error: Option<&C::Error>) {
        // First, because the code that is called next may panic.
        self.unsettle();
        self.redial.end(ending, error);
        self.wake();
    }

    /// Ends it: there is no connection, and none follows.
    pub(crate) fn close(&mut self) {
        self.unsettle();
        self.redial.close();
        self.both.wake_all();
        self.wake();
    }

    /// Wakes the halves that wait for a connection that is lost.
    pub(crate) fn wake(&mut self) {
        for waker in &mut self.wakers {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }
}
