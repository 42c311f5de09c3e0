//! The connection that a session has replaced, until it ends.

use alloc::boxed::Box;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use futures_core::stream::TryStream;
use futures_sink::Sink;

use super::error::SendError;
use super::keep::Keep;
use super::{Item, Session};
use crate::clock::{Sleep, Stopwatch};
use crate::driver::{Connect, DRAIN};
use crate::policy::Policy;
use crate::wrap::from_connection::FromConnection;
use crate::wrap::halves::Half;

/// The time for a close handshake, as in the socket mode of Slack's clients (3.2.0).
const CLOSE: Duration = Duration::from_secs(1);

pub(super) struct Old<N> {
    connection: N,
    /// It was found ready for one item.
    is_ready: bool,
    /// Its stream has not ended.
    is_read: bool,
    /// Items that it has taken and not flushed.
    unflushed: usize,
    /// Items that were sent later, and were lost.
    lost_later: usize,
    step: Step,
    /// The time of this step.
    stopwatch: Stopwatch,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// What the server still sends on it is read.
    Drains,
    Closes,
    /// As above, and no other connection is made before.
    ClosesFirst,
}

impl<N> Old<N> {
    fn enter(&mut self, step: Step) {
        self.step = step;
        self.stopwatch = Stopwatch::start();
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let time = match self.step {
            Step::Drains => DRAIN,
            Step::Closes | Step::ClosesFirst => CLOSE,
        };
        let until = self.stopwatch.instant(time.as_nanos() as u64);
        self.timer.as_mut().poll_until(until, cx)
    }
}

/// What only the sink can do, as only it knows the type of the items.
pub(super) enum Last<'a, 'b, N, K> {
    Flush(&'a mut N, &'a mut Context<'b>),
    Close(&'a mut N, &'a mut Context<'b>),
    /// So many copies are not needed any more; after them come those of so many items.
    Forget(&'a mut K, usize, usize),
}

pub(super) type Finish<N, K, E> = fn(Last<'_, '_, N, K>) -> Poll<Result<(), E>>;

pub(super) fn finish<N, T, K, E>(last: Last<'_, '_, N, K>) -> Poll<Result<(), E>>
where
    N: Sink<T> + Unpin,
    K: Keep<T>,
    E: FromConnection<N::Error>,
{
    let done = match last {
        Last::Flush(connection, cx) => Pin::new(connection).poll_flush(cx),
        Last::Close(connection, cx) => Pin::new(connection).poll_close(cx),
        Last::Forget(kept, items, later) => {
            kept.flushed_before(items, later);
            return Poll::Ready(Ok(()));
        }
    };
    done.map_err(E::from)
}

impl<C, P, K> Session<C, P, K>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    pub(super) fn old(&mut self) -> Option<&mut Old<C::Connection>> {
        self.overlap.as_mut()?.old.as_mut()
    }

    pub(super) fn keep_old(&mut self, old: Option<C::Connection>, is_read: bool, step: Step) {
        let old = old.map(|connection| Old {
            connection,
            is_ready: mem::take(&mut self.sending.ready),
            is_read,
            unflushed: mem::take(&mut self.sending.unflushed),
            lost_later: 0,
            step,
            stopwatch: Stopwatch::start(),
            timer: Box::pin(Sleep::unset()),
        });
        self.overlap.get_or_insert_default().old = old;
    }

    /// The connection that was replaced closes now.
    pub(super) fn hurry(&mut self) {
        if let Some(old) = self.old() {
            if old.step == Step::Drains {
                old.enter(Step::Closes);
            }
        }
    }

    /// Flushes the connection that was replaced, and closes it in time.
    pub(super) fn poll_old(&mut self, cx: &mut Context<'_>) {
        let finish = self.finish;
        let Some(old) = self.overlap.as_mut().and_then(|it| it.old.as_mut()) else {
            return;
        };
        let mut is_over = false;
        if old.unflushed > 0 {
            let flushed = finish.map(|finish| finish(Last::Flush(&mut old.connection, cx)));
            match flushed {
                Some(Poll::Ready(Ok(()))) => {
                    let flushed = mem::take(&mut old.unflushed);
                    let later = old.lost_later + self.sending.unflushed;
                    if let Some(finish) = finish {
                        let _ = finish(Last::Forget(&mut self.kept, flushed, later));
                    }
                    self.halves.wake();
                }
                Some(Poll::Ready(Err(_))) => is_over = true,
                Some(Poll::Pending) | None => {}
            }
        }
        if old.step == Step::Drains && old.poll_timer(cx).is_ready() {
            old.enter(Step::Closes);
        }
        if old.step != Step::Drains {
            let closed = match finish {
                Some(finish) => finish(Last::Close(&mut old.connection, cx)),
                // Nothing was ever sent.
                None => Poll::Ready(Ok(())),
            };
            match closed {
                Poll::Ready(Ok(())) => {
                    let flushed = mem::take(&mut old.unflushed);
                    let later = old.lost_later + self.sending.unflushed;
                    if let (Some(finish), 1..) = (finish, flushed) {
                        let _ = finish(Last::Forget(&mut self.kept, flushed, later));
                    }
                    is_over = true;
                }
                Poll::Ready(Err(_)) => is_over = true,
                Poll::Pending => is_over |= old.poll_timer(cx).is_ready(),
            }
        }
        if is_over {
            self.drop_old();
        }
    }

    /// The connection that was replaced is gone. That is no loss, except of the items that
    /// it did not flush.
    pub(super) fn drop_old(&mut self) {
        let Some(old) = self.overlap.as_mut().and_then(|it| it.old.take()) else {
            return;
        };
        self.sending.lost += old.unflushed;
        // Some may wait for its end.
        self.halves.nudge();
    }

    /// An item of the connection that was replaced.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Option<Item<C>> {
        let overlap = self.overlap.as_mut()?;
        overlap.is_late = false;
        let old = overlap.old.as_mut()?;
        if !old.is_read {
            return None;
        }
        match Pin::new(&mut old.connection).try_poll_next(cx) {
            Poll::Ready(Some(Ok(item))) => {
                overlap.is_late = true;
                Some(item)
            }
            Poll::Ready(Some(Err(_))) => {
                self.drop_old();
                None
            }
            Poll::Ready(None) => {
                old.is_read = false;
                self.hurry();
                self.halves.nudge();
                None
            }
            Poll::Pending => None,
        }
    }

    /// Whether the connection that was replaced must close before another one is made. If
    /// so, it goes on with that.
    pub(super) fn closes_first(&mut self, half: Half, cx: &Context<'_>) -> bool {
        if self.old().is_none_or(|old| old.step != Step::ClosesFirst) {
            return false;
        }
        self.halves.wait_for_both(half, cx);
        let waker = self.halves.waker_of_both();
        self.poll_old(&mut Context::from_waker(&waker));
        self.old().is_some()
    }

    /// Items of the present connection are lost.
    pub(super) fn lost_later(&mut self, items: usize) {
        if let Some(old) = self.old() {
            old.lost_later += items;
        }
    }

    /// How many of the copies that are kept last must stay: they are of items that can
    /// still be flushed, or come after such items.
    pub(super) fn flushable(&self) -> usize {
        let old = self.overlap.as_ref().and_then(|it| it.old.as_ref());
        let before = match old {
            Some(old) if old.unflushed > 0 => old.unflushed + old.lost_later,
            _ => 0,
        };
        before + self.sending.unflushed
    }

    /// Pending while the connection that was replaced has items that are not flushed. It
    /// was polled before.
    #[cold]
    pub(super) fn flush_of_old(&self) -> Poll<Result<(), SendError>> {
        let old = self.overlap.as_ref().and_then(|it| it.old.as_ref());
        match old {
            Some(old) if old.unflushed > 0 => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Whether the connection that was replaced has promised a place, which is taken now.
    pub(super) fn has_promised(&mut self) -> bool {
        let Some(old) = self.old() else { return false };
        let has_promised = mem::take(&mut old.is_ready);
        old.unflushed += has_promised as usize;
        has_promised
    }

    pub(super) fn old_sink(&mut self) -> Option<&mut C::Connection> {
        self.old().map(|old| &mut old.connection)
    }

    /// The present connection has promised a place.
    pub(super) fn no_other_promise(&mut self) {
        if let Some(old) = self.old() {
            old.is_ready = false;
        }
    }
}
