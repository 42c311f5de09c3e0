//! The writing side of a session.

use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};

use futures_core::stream::TryStream;
use futures_sink::Sink;

use super::error::{SendError, Unsent};
use super::event::SessionEvent;
use super::keep::Keep;
use super::live::MOST_DRAINED;
use super::old::finish;
use super::{End, MOST_EVENTS, Session};
use crate::control::Ending;
use crate::driver::Connect;
use crate::policy::Policy;
use crate::wrap::from_connection::FromConnection;
use crate::wrap::halves::Half;

/// So many sends fail in a row for want of a connection until the task must yield.
/// Otherwise a loop that sends again at once would keep a runtime of one thread
/// from making the connection.
const FAILED_SENDS: u8 = 32;

impl<C, P, K> Session<C, P, K>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    /// Ready once something can be sent.
    #[cold] // for a session that does not watch its connection
    fn poll_sendable(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        if self.halves.is_watching(Half::Write) && self.is_quiet() {
            return Poll::Ready(Ok(()));
        }
        self.poll_up_to_send(cx)
    }

    #[cold]
    fn poll_up_to_send(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            self.obey();
            self.report(false)?;
            if self.end != End::Open {
                return Poll::Ready(Err(SendError::not_accepted(Unsent::Over)));
            }
            if self.halves.is_up() {
                self.failed_sends = 0;
                if self.renews() && self.renew(Half::Write, cx).is_ready() {
                    continue;
                }
                if self.live.is_none() && !self.renews() {
                    self.halves.settle(Half::Write);
                } else if !self.is_quiet() && self.watch(Half::Write, cx).is_ready() {
                    continue;
                } else if !self.renews() {
                    self.halves.settle_watching(Half::Write);
                }
                return Poll::Ready(Ok(()));
            }
            match self.poll_up(Half::Write, cx) {
                Poll::Ready(_) => {}
                // The driver was polled before this failure, because a client that
                // only sends must get its connection, too.
                Poll::Pending if self.fail_while_down => {
                    self.failed_sends = (self.failed_sends + 1) % FAILED_SENDS;
                    if self.failed_sends == 0 {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    return Poll::Ready(Err(SendError::not_accepted(Unsent::Down)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Before a flush of a session that is not settled.
    #[cold]
    fn begin_flush(&mut self, cx: &Context<'_>) -> Result<(), SendError> {
        if self.halves.is_watching(Half::Write) && !self.has_ping() {
            return Ok(());
        }
        self.note_handles(cx);
        // If the flush has to wait, it looks anyway; if not, the next call does.
        if self.has_ping() {
            let _ = self.watch(Half::Write, cx);
        }
        if self.renews() {
            let _ = self.renew(Half::Write, cx);
        }
        self.report(true)
    }

    /// Notices what a handle asks, for calls that would go on with the connection.
    #[cold]
    fn note_handles(&mut self, cx: &Context<'_>) {
        self.obey();
        if self.end != End::Over && self.halves.redial.is_closed() {
            // It is ready, with the error that the reader gets.
            let _ = self.poll_up(Half::Write, cx);
        }
    }

    /// Reports lost items, which the sink does before anything else. `accepted` says
    /// whether the item of this call can be one of them.
    #[cold]
    fn report(&mut self, accepted: bool) -> Result<(), SendError> {
        match mem::take(&mut self.sending.lost) {
            0 => Ok(()),
            lost => Err(SendError::new(Unsent::Lost(lost), accepted)),
        }
    }

    /// A write has failed. If there is a reader, it still gets what the connection
    /// has received, without waiting for more.
    #[cold]
    pub(super) fn write_failed(&mut self, error: C::Error) {
        if self.has_reader {
            let mut cx = Context::from_waker(Waker::noop());
            while self.events.len() < MOST_EVENTS + MOST_DRAINED {
                let Some(connection) = &mut self.halves.redial.connection else {
                    break;
                };
                match Pin::new(connection).try_poll_next(&mut cx) {
                    Poll::Ready(Some(Ok(item))) => self.events.push_back(SessionEvent::Item(item)),
                    _ => break,
                }
            }
        }
        let verdict = self.halves.redial.judge(&error);
        self.down(Ending::Lost(verdict), Some(error));
    }
}

impl<C, P, K> Session<C, P, K>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    /// As `poll_sendable`, for items of this type.
    #[cold]
    fn poll_sendable_as<T>(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>>
    where
        C: Connect<Connection: Sink<T>>,
        C::Error: FromConnection<<C::Connection as Sink<T>>::Error>,
        K: Keep<T>,
    {
        self.finish = Some(finish::<C::Connection, T, K, C::Error>);
        self.poll_sendable(cx)
    }

    /// Sends in the place that was promised before the connection was replaced, if that is
    /// so. The present connection is not ready.
    #[cold]
    #[inline(never)]
    fn send_on_old<T>(&mut self, item: T) -> Result<(), SendError>
    where
        C::Connection: Sink<T>,
        K: Keep<T>,
    {
        if !self.has_promised() {
            let lost = mem::take(&mut self.sending.lost);
            return Err(SendError::not_accepted(Unsent::Lost(lost)));
        }
        self.kept.add(&item);
        let sent = self.old_sink().map(|old| Pin::new(old).start_send(item));
        if let Some(Err(_)) = sent {
            self.drop_old();
            self.report(true)?;
        }
        Ok(())
    }
}

impl<C, P, K, T> Sink<T> for Session<C, P, K>
where
    C: Connect<Connection: TryStream + Sink<T> + Unpin>,
    C::Error: FromConnection<<C::Connection as Sink<T>>::Error>,
    P: Policy,
    K: Keep<T>,
{
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = &mut *self;
        loop {
            let settled = this.halves.is_settled(Half::Write);
            if !settled {
                ready!(this.poll_sendable_as::<T>(cx))?;
            }
            match Pin::new(this.halves.connection()).poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    if !settled {
                        this.has_room();
                    }
                    this.sending.ready = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => this.write_failed(error.into()),
                Poll::Pending => {
                    if this.pend(Half::Write, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<(), SendError> {
        let this = &mut *self;
        // The connection that was ready may be lost, and another one up.
        let ready = mem::take(&mut this.sending.ready);
        match &mut this.halves.redial.connection {
            Some(connection) if ready => {
                this.sending.unflushed += 1;
                this.kept.add(&item);
                if let Err(error) = Pin::new(connection).start_send(item) {
                    this.write_failed(error.into());
                    this.report(true)?;
                }
                Ok(())
            }
            _ => this.send_on_old(item),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = &mut *self;
        let settled = this.halves.is_settled(Half::Write);
        if !settled {
            this.begin_flush(cx)?;
        }
        let Some(connection) = &mut this.halves.redial.connection else {
            return this.flush_of_old(); // nothing else was accepted
        };
        match Pin::new(connection).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                let flushed = mem::take(&mut this.sending.unflushed);
                this.kept.flushed(flushed);
                if settled {
                    return Poll::Ready(Ok(()));
                }
                this.flushed(flushed > 0);
                this.flush_of_old()
            }
            Poll::Ready(Err(error)) => {
                this.write_failed(error.into());
                Poll::Ready(this.report(true))
            }
            // What it lost is reported if the connection turns out to be dead.
            Poll::Pending => this.pend_flush(cx).map(|()| this.report(true)),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = &mut *self;
        this.note_handles(cx);
        if this.halves.redial.connection.is_none() {
            this.finish();
            return Poll::Ready(this.report(true));
        }
        if this.end == End::Open {
            this.end = End::Last;
            this.halves.unsettle();
        }
        if this.closes_old(cx) {
            return Poll::Pending;
        }
        match Pin::new(this.halves.connection()).poll_close(cx) {
            Poll::Ready(Ok(())) => {
                this.kept.flushed(mem::take(&mut this.sending.unflushed));
                Poll::Ready(this.report(true))
            }
            Poll::Ready(Err(error)) => {
                this.write_failed(error.into());
                Poll::Ready(this.report(true))
            }
            // What it lost is reported if the connection turns out to be dead.
            Poll::Pending => this.pend_flush(cx).map(|()| this.report(true)),
        }
    }
}
