//! The reading side of a session.

use core::ops::ControlFlow;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use futures_core::stream::{FusedStream, Stream, TryStream};

use super::event::SessionEvent;
use super::{End, News, Session};
use crate::control::Ending;
use crate::driver::Connect;
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;
use crate::wrap::halves::Half;

impl<C, P, K> Session<C, P, K>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    /// What the reader gets before it reads from the connection. `Continue` once
    /// there is nothing left and the connection is up.
    #[cold] // for a session that does not watch its connection
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<ControlFlow<Option<News<C>>>> {
        if self.halves.is_watching(Half::Read) {
            return Poll::Ready(ControlFlow::Continue(()));
        }
        self.poll_other_news(cx)
    }

    #[cold]
    fn poll_other_news(&mut self, cx: &mut Context<'_>) -> Poll<ControlFlow<Option<News<C>>>> {
        self.has_reader = true;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(ControlFlow::Break(Some(Ok(event))));
            }
            if self.end == End::Over {
                return Poll::Ready(ControlFlow::Break(self.error.take().map(Err)));
            }
            self.obey();
            if !self.events.is_empty() {
                continue;
            }
            if let Some(item) = self.poll_late(cx) {
                let late = SessionEvent::Item(item);
                return Poll::Ready(ControlFlow::Break(Some(Ok(late))));
            }
            if self.halves.is_up() {
                if self.live.is_none() && !self.renews() {
                    self.halves.settle(Half::Read);
                } else if !self.renews() {
                    self.halves.settle_watching(Half::Read);
                }
                return Poll::Ready(ControlFlow::Continue(()));
            }
            let _ = ready!(self.poll_up(Half::Read, cx));
        }
    }
}

impl<C, P, K> Stream for Session<C, P, K>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    type Item = News<C>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let settled = this.halves.is_settled(Half::Read);
            if !settled {
                if let ControlFlow::Break(news) = ready!(this.poll_news(cx)) {
                    return Poll::Ready(news);
                }
            }
            match Pin::new(this.halves.connection()).try_poll_next(cx) {
                Poll::Ready(Some(Ok(item))) => {
                    if !settled {
                        this.note_item(&item, cx);
                        this.renew_after_item(cx);
                    }
                    return Poll::Ready(Some(Ok(SessionEvent::Item(item))));
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = (this.convert)(error);
                    let verdict = this.halves.redial.judge(&error);
                    this.down(Ending::Lost(verdict), Some(error));
                }
                Poll::Ready(None) => this.down(Ending::Lost(Verdict::Retry(Cause::Busy)), None),
                Poll::Pending => {
                    if this.pend(Half::Read, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl<C, P, K> FusedStream for Session<C, P, K>
where
    Self: Stream,
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    fn is_terminated(&self) -> bool {
        self.end == End::Over && self.events.is_empty() && self.error.is_none()
    }
}
