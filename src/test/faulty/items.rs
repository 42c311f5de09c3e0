//! Faults on a connection of items.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, ErrorKind};

use futures_core::Stream;
use futures_sink::Sink;

use super::inbox::Inbox;
use super::trouble::{Half, Trouble};
use crate::test::faults::Kind;

/// A connection of items with [`Faults`](super::super::Faults): made by
/// [`Faults::on_items`](super::super::Faults::on_items).
///
/// The error of a loss is made from an `io::Error`. If it has faults at a time, or
/// delays, polling it needs a tokio runtime with its time driver.
pub struct FaultyItems<T: Stream> {
    inner: T,
    trouble: Trouble,
    /// `None` is the end of the stream.
    inbox: Inbox<Option<T::Item>>,
    /// The stream of the connection has ended.
    has_ended: bool,
    /// The reader knows of the loss.
    is_told: bool,
}

impl<T: Stream> FaultyItems<T> {
    pub(in crate::test) fn new(inner: T, trouble: Trouble) -> Self {
        Self {
            inner,
            trouble,
            inbox: Inbox::new(),
            has_ended: false,
            is_told: false,
        }
    }

    /// The connection without its faults.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The connection without its faults. What is read through it is not counted.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The connection without its faults. Items that had arrived and were delayed are
    /// lost.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// The error that a sink gives for a fault.
    fn sink_error<E: From<io::Error>>(&self, kind: Kind) -> Option<E> {
        match kind {
            Kind::Lost => Some(self.trouble.error().into()),
            Kind::Ended => Some(io::Error::from(ErrorKind::BrokenPipe).into()),
            Kind::Silent | Kind::Blocked => None,
        }
    }

    /// What a sink does now: `None` if it asks the connection.
    fn poll_troubled<E: From<io::Error>>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Result<(), E>>> {
        let kind = self.trouble.poll(Half::Write, cx)?;
        Some(match self.sink_error(kind) {
            Some(error) => Poll::Ready(Err(error)),
            None if kind == Kind::Blocked => Poll::Pending,
            None => Poll::Ready(Ok(())),
        })
    }
}

// Nothing is ever pinned but what is in a box.
impl<T: Stream + Unpin> Unpin for FaultyItems<T> {}

impl<T, I, E> Stream for FaultyItems<T>
where
    T: Stream<Item = Result<I, E>> + Unpin,
    E: From<io::Error>,
{
    type Item = Result<I, E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.trouble.poll(Half::Read, cx) {
            None => {}
            Some(Kind::Lost) if !this.is_told => {
                this.is_told = true;
                return Poll::Ready(Some(Err(this.trouble.error().into())));
            }
            Some(Kind::Lost | Kind::Ended) => return Poll::Ready(None),
            Some(Kind::Silent | Kind::Blocked) => return Poll::Pending,
        }
        let (inner, has_ended) = (&mut this.inner, &mut this.has_ended);
        this.inbox.fill(&mut this.trouble, || {
            if *has_ended {
                return Poll::Pending;
            }
            let item = ready!(Pin::new(&mut *inner).poll_next(cx));
            *has_ended = item.is_none();
            Poll::Ready(item)
        });
        if this.inbox.poll_first(&this.trouble, cx).is_pending() {
            if this.has_ended && this.inbox.is_empty() {
                return Poll::Ready(None);
            }
            return Poll::Pending;
        }
        let item = this.inbox.pop().flatten();
        if let Some(Ok(_)) = item {
            this.trouble.count(Half::Read, 1);
        }
        Poll::Ready(item)
    }
}

impl<T, O> Sink<O> for FaultyItems<T>
where
    T: Stream + Sink<O, Error: From<io::Error>> + Unpin,
{
    type Error = T::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        let this = self.get_mut();
        match this.poll_troubled(cx) {
            Some(answer) => answer,
            None => Pin::new(&mut this.inner).poll_ready(cx),
        }
    }

    fn start_send(self: Pin<&mut Self>, item: O) -> Result<(), T::Error> {
        let this = self.get_mut();
        match this.trouble.present() {
            // The connection was ready for it.
            None | Some(Kind::Blocked) => {
                Pin::new(&mut this.inner).start_send(item)?;
                this.trouble.count(Half::Write, 1);
                Ok(())
            }
            Some(kind) => this.sink_error(kind).map_or(Ok(()), Err),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        let this = self.get_mut();
        match this.poll_troubled(cx) {
            Some(answer) => answer,
            None => Pin::new(&mut this.inner).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        let this = self.get_mut();
        match this.poll_troubled(cx) {
            Some(answer) => answer,
            None => Pin::new(&mut this.inner).poll_close(cx),
        }
    }
}

impl<T: Stream + fmt::Debug> fmt::Debug for FaultyItems<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyItems")
            .field("inner", &self.inner)
            .field("trouble", &self.trouble)
            .finish_non_exhaustive()
    }
}
