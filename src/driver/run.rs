//! A session on each connection.

use core::future::poll_fn;
use core::ops::ControlFlow;
use core::pin::pin;
use core::task::{Context, Poll};

use super::Redial;
use super::connect::Connect;
use super::error::Error;
use super::renewal::{DRAIN, Turn};
use crate::clock::after;
use crate::control::Ending;
use crate::policy::Policy;

impl<C: Connect, P: Policy> Redial<C, P> {
    /// Runs `session` on each connection, until one of them breaks the loop.
    ///
    /// The session owns its connection. What it returns decides what follows:
    ///
    /// - `Ok(ControlFlow::Break(value))` ends the loop with `value`;
    /// - `Ok(ControlFlow::Continue(()))` is an end in good order, and the next
    ///   connection is spread;
    /// - `Err(error)` is a loss, which [`classify`](Self::classify) judges.
    ///
    /// ```
    /// # async fn doc() -> Result<(), redial::Error<std::io::Error>> {
    /// use redial::Redial;
    /// use std::ops::ControlFlow;
    /// use tokio::io::{AsyncBufReadExt, BufReader};
    ///
    /// let answer = Redial::new(redial::tcp::connect("oracle.example:4242"))
    ///     .run(async |stream| {
    ///         let mut lines = BufReader::new(stream).lines();
    ///         while let Some(line) = lines.next_line().await? {
    ///             if line.ends_with("42") {
    ///                 return Ok(ControlFlow::Break(line));
    ///             }
    ///         }
    ///         Ok(ControlFlow::Continue(()))
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Renewal
    ///
    /// A [renewal](Self::max_age) runs beside the session. When the next connection is up,
    /// the session keeps its own for up to 30 s, and is dropped then. It can return sooner,
    /// with any result but `Break`: that is no loss, and the next session begins at once. A
    /// [`Handle`](crate::Handle) tells the session of the renewal: the
    /// [generation](crate::Status::Connected) in the status is higher.
    ///
    /// To `tokio::spawn` it, write `async move |connection|`: compilers do not
    /// see yet that a session is `Send` if it borrows its captures.
    ///
    /// # Errors
    ///
    /// As [`ready`](Self::ready).
    ///
    /// # Panics
    ///
    /// If it must wait outside of a tokio runtime with a time driver.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the session and its connection, which the next
    /// call counts as lost. An attempt in flight and the place in a wait stay in
    /// the driver. A [`Handle`](crate::Handle) that closes, suspends or reconnects the
    /// driver, or that reports the connection as lost, also drops the session,
    /// wherever it waits.
    pub async fn run<T>(
        &mut self,
        mut session: impl AsyncFnMut(C::Connection) -> Result<ControlFlow<T>, C::Error>,
    ) -> Result<T, Error<C::Error>> {
        loop {
            self.ready().await?;
            // None if a handle closed the driver just now; the next turn says so.
            let Some(connection) = self.take() else {
                continue;
            };
            let (outcome, is_replaced) = self.beside(session(connection)).await;
            match outcome {
                Ok(Ok(ControlFlow::Break(value))) => return Ok(value),
                // The end of a connection that has a successor is no loss.
                Ok(_) if is_replaced => {}
                Ok(Ok(ControlFlow::Continue(()))) => self.ended(),
                Ok(Err(error)) => self.lost_with(error),
                Err(Some(ending)) => self.end(ending, None),
                Err(None) => {} // it is closed, and the next turn says so
            }
        }
    }

    /// What `session` returns, and whether its connection was replaced meanwhile. `Err` if
    /// the connection must end first, and `Err(None)` if a handle closes the driver or the
    /// session had its time.
    async fn beside<F: Future>(&mut self, session: F) -> (Result<F::Output, Option<Ending>>, bool) {
        let mut session = pin!(session);
        // When the session of a connection that was replaced must end.
        let mut until = None;
        let outcome = poll_fn(|cx| {
            if self.await_disturbance(cx.waker()) {
                let ending = self.take_ending();
                if ending.is_some() || self.is_closed() {
                    return Poll::Ready(Err(ending));
                }
            }
            if self.renews() {
                if let Poll::Ready(ending) = self.poll_beside_session(&mut until, cx) {
                    return Poll::Ready(Err(ending));
                }
            }
            session.as_mut().poll(cx).map(Ok)
        })
        .await;
        (outcome, until.is_some())
    }

    /// Drives the renewal. Ready if the session must end.
    #[cold]
    fn poll_beside_session(
        &mut self,
        until: &mut Option<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Ending>> {
        if until.is_none() {
            match self.poll_renewal(cx, true) {
                Poll::Ready(Turn::End(ending)) => return Poll::Ready(Some(ending)),
                Poll::Ready(Turn::Renewed(connection)) => {
                    self.connection = Some(connection);
                    *until = Some(after(self.core.now(), DRAIN));
                }
                Poll::Ready(Turn::NeedsRoom) | Poll::Pending => {}
            }
        }
        match (*until, &mut self.flight) {
            (Some(until), Some(flight)) => {
                let until = self.core.instant(until);
                flight.as_mut().poll_sleep(until, cx).map(|()| None)
            }
            _ => Poll::Pending,
        }
    }
}
