//! A session on each connection.

use alloc::sync::Arc;
use core::future::poll_fn;
use core::ops::ControlFlow;
use core::pin::pin;
use core::task::Poll;

use super::Redial;
use super::connect::Connect;
use super::error::Error;
use crate::control::{Control, Ending};
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
            let control = self.core.control.0.get().cloned();
            match until_disturbed(session(connection), control).await {
                Ok(Ok(ControlFlow::Break(value))) => return Ok(value),
                Ok(Ok(ControlFlow::Continue(()))) => self.ended(),
                Ok(Err(error)) => self.lost_with(error),
                Err(Some(ending)) => self.end(ending, None),
                Err(None) => {} // it is closed, and the next turn says so
            }
        }
    }
}

/// What `session` returns, unless a handle ends its connection first. `Err(None)`
/// if a handle closes the driver.
async fn until_disturbed<F: Future>(
    session: F,
    control: Option<Arc<Control>>,
) -> Result<F::Output, Option<Ending>> {
    let mut session = pin!(session);
    poll_fn(|cx| {
        if let Some(control) = control.as_deref() {
            if control.await_disturbance(cx.waker()) {
                let ending = control.take_ending();
                if ending.is_some() || control.is_closed() {
                    return Poll::Ready(Err(ending));
                }
            }
        }
        session.as_mut().poll(cx).map(Ok)
    })
    .await
}
