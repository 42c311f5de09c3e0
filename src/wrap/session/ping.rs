//! How a session sends a ping, of which only `keep_alive` knows the type.

use core::marker::PhantomData;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_sink::Sink;

use crate::driver::MaybeSend;
use crate::wrap::from_connection::FromConnection;

/// Sends pings on a connection `N`, whatever its items are.
pub(super) trait Pings<N, E>: MaybeSend {
    /// Forgets the ping of the connection before.
    fn forget(&mut self);
    /// A ping is due.
    fn ask(&mut self);
    /// Whether a ping is due that has not begun.
    fn is_due(&self) -> bool;
    /// Goes on with the ping, if there is one. It begins only if the place for the
    /// next item is `free`. Ready with true if it was blocked before.
    fn poll(
        &mut self,
        connection: &mut N,
        cx: &mut Context<'_>,
        free: bool,
    ) -> Poll<Result<bool, E>>;
    /// Flushes what the connection itself wants to send: the answer to a ping of the
    /// server's, for example.
    fn flush(&mut self, connection: &mut N, cx: &mut Context<'_>) -> Result<(), E>;
}

pub(super) struct Ping<F, T> {
    make: F,
    step: Step,
    is_blocked: bool,
    item: PhantomData<fn() -> T>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    Due,
    Sent,
}

impl<F, T> Ping<F, T> {
    pub(super) fn new(make: F) -> Self {
        Self {
            make,
            step: Step::Nothing,
            is_blocked: false,
            item: PhantomData,
        }
    }
}

impl<N, E, F, T> Pings<N, E> for Ping<F, T>
where
    N: Sink<T> + Unpin,
    E: FromConnection<N::Error>,
    F: FnMut() -> T + MaybeSend,
{
    fn forget(&mut self) {
        (self.step, self.is_blocked) = (Step::Nothing, false);
    }

    fn ask(&mut self) {
        self.step = Step::Due;
    }

    fn is_due(&self) -> bool {
        self.step == Step::Due
    }

    fn poll(
        &mut self,
        connection: &mut N,
        cx: &mut Context<'_>,
        free: bool,
    ) -> Poll<Result<bool, E>> {
        let mut connection = Pin::new(connection);
        loop {
            let polled = match self.step {
                Step::Nothing => return Poll::Ready(Ok(mem::take(&mut self.is_blocked))),
                Step::Due if !free => return Poll::Pending,
                Step::Due => connection.as_mut().poll_ready(cx),
                Step::Sent => connection.as_mut().poll_flush(cx),
            };
            match polled {
                Poll::Pending => {
                    self.is_blocked = true;
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(())) if self.step == Step::Due => {
                    let ping = (self.make)();
                    connection.as_mut().start_send(ping)?;
                    self.step = Step::Sent;
                }
                Poll::Ready(Ok(())) => self.step = Step::Nothing,
            }
        }
    }

    fn flush(&mut self, connection: &mut N, cx: &mut Context<'_>) -> Result<(), E> {
        match Pin::new(connection).poll_flush(cx) {
            Poll::Ready(flushed) => Ok(flushed?),
            Poll::Pending => Ok(()),
        }
    }
}
