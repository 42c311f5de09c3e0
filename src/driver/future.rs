//! The futures of a driver, and the calls that return them.

use alloc::boxed::Box;
use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::Redial;
use super::connect::Connect;
use super::error::Error;
use super::flight::Flight;
use super::state::Over;
use crate::policy::Policy;

impl<C: Connect, P: Policy> Redial<C, P> {
    /// Waits until there is a connection, and lends it.
    ///
    /// While a connection is up this returns at once. If it turns out to be
    /// dead, report that by [`lost`](Self::lost), or the next call lends the
    /// same connection again. [`take`](Self::take) hands it over.
    ///
    /// # Errors
    ///
    /// If the outage reached a limit, if an error was judged to be
    /// [`Verdict::Stop`](crate::Verdict::Stop), or if the driver was
    /// [closed](crate::Handle::close).
    ///
    /// # Panics
    ///
    /// If it must wait outside of a tokio runtime with a time driver.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the attempt in flight and the place
    /// in the wait stay in the driver, and the next call goes on with them. In
    /// between nobody polls the attempt, but time passes.
    pub fn ready(&mut self) -> Ready<'_, C, P> {
        Ready {
            redial: Some(self),
            waits: false,
        }
    }

    /// As [`ready`](Self::ready), for futures that are written by hand.
    ///
    /// The first poll of a wait binds it to the runtime of that poll, which must
    /// go on. [`ready`](Self::ready) and [`connect`](Self::connect) can go on
    /// with the wait in another runtime.
    ///
    /// # Errors
    ///
    /// As [`ready`](Self::ready).
    ///
    /// # Panics
    ///
    /// If it must wait outside of a tokio runtime with a time driver.
    #[inline]
    pub fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<&mut C::Connection, Error<C::Error>>> {
        if !self.is_plainly_up() {
            self.obey();
            ready!(self.poll_connection(cx))?;
        }
        Poll::Ready(Ok(self.connection.as_mut().expect("checked above")))
    }

    /// Waits until there is a connection, and hands it over.
    ///
    /// **In `select!`, call [`ready`](Self::ready) and then
    /// [`take`](Self::take).** Dropping the future of `connect` drops the
    /// attempt in flight. So beside a timer that fires every second, an attempt
    /// that takes longer than a second never succeeds.
    ///
    /// Calling `connect` again reports the previous connection as lost, so the
    /// next attempt waits as after any loss. If some time passes in between, call
    /// [`lost`](Self::lost) when the connection dies: the driver assumes that it
    /// was up until it hears of the loss. A connection that
    /// [`ready`](Self::ready) has lent is handed over as it is.
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
    /// Dropping the future drops the attempt in flight, which counts as one that
    /// took too long. An attempt that [`ready`](Self::ready) began stays in the
    /// driver, and so does the place in a wait.
    #[inline]
    pub fn connect(&mut self) -> Connecting<'_, C, P> {
        self.disarm();
        Connecting {
            redial: Some(self),
            flight: Flight::none(),
        }
    }

    /// Hands over the connection that [`ready`](Self::ready) has lent. `None` if
    /// there is none, or if a handle has [closed](crate::Handle::close) the
    /// driver.
    ///
    /// This is the way to own a connection in a `select!` loop, because no
    /// attempt is lost when another branch is ready first:
    ///
    /// ```
    /// # async fn doc() -> Result<(), redial::Error<std::io::Error>> {
    /// use redial::Redial;
    /// use std::time::Duration;
    /// use tokio::net::TcpStream;
    ///
    /// let mut redial = Redial::new(redial::tcp::connect("chat.example:6667"));
    /// let mut tick = tokio::time::interval(Duration::from_secs(1));
    /// let stream: TcpStream = loop {
    ///     tokio::select! {
    ///         ready = redial.ready() => {
    ///             ready?;
    ///             break redial.take().expect("it is ready");
    ///         }
    ///         _ = tick.tick() => println!("still connecting"),
    ///     }
    /// };
    /// # Ok(()) }
    /// ```
    ///
    /// As after [`connect`](Self::connect), asking for a connection again
    /// reports this one as lost.
    pub fn take(&mut self) -> Option<C::Connection> {
        self.obey();
        self.connection.take()
    }

    /// The connection, if it is up and was not handed over. Does not wait.
    pub fn get_mut(&mut self) -> Option<&mut C::Connection> {
        self.obey();
        self.connection.as_mut()
    }

    /// There is a connection, and no handle that could have closed it.
    #[inline]
    fn is_plainly_up(&self) -> bool {
        self.connection.is_some() && self.core.control.0.get().is_none()
    }

    /// Forgets in which runtime the driver sleeps.
    ///
    /// A timer belongs to the runtime in which it was made. So each future
    /// makes its own, or a driver that was moved would wait for the clock of a
    /// runtime that nobody drives any more.
    #[inline]
    pub(crate) fn disarm(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.as_mut().disarm();
        }
    }

    /// The slow path of [`poll_ready`](Self::poll_ready). It does not
    /// [`obey`](Self::obey): the wrappers must notice each end of a connection.
    #[cold]
    pub(crate) fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error<C::Error>>> {
        if self.core.is_closed() {
            self.connection = None;
        }
        if self.connection.is_some() {
            return Poll::Ready(Ok(()));
        }
        let flight = self.flight.get_or_insert_with(|| Box::pin(Flight::none()));
        let connection = match ready!(self.core.poll(&mut self.connector, flight.as_mut(), cx)) {
            Ok(connection) => connection,
            Err(over) => return Poll::Ready(Err(self.core.error(over))),
        };
        // Handles that are made later ask for the age of a lent connection.
        self.core.note_since();
        self.connection = Some(connection);
        Poll::Ready(Ok(()))
    }

    /// The slow path of [`connect`](Self::connect), after
    /// [`ready`](Self::ready) was called: goes on with the connection that it
    /// lent, or with the attempt that it began.
    #[inline(never)]
    fn poll_taking_over(
        &mut self,
        own: Pin<&mut Flight<C::Attempt>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, Over>> {
        if let Some(connection) = self.take() {
            return Poll::Ready(Ok(connection));
        }
        let flight = match &mut self.flight {
            Some(begun) if begun.attempt.is_some() => begun.as_mut(),
            Some(begun) => {
                begun.as_mut().disarm();
                own
            }
            None => own,
        };
        self.core.poll(&mut self.connector, flight, cx)
    }
}

/// The future that [`Redial::ready`] returns.
///
/// # Panics
///
/// If it is polled after it was ready.
///
/// # Cancel safety
///
/// Dropping it loses nothing; see [`Redial::ready`].
#[must_use = "futures do nothing unless polled"]
pub struct Ready<'a, C: Connect, P: Policy> {
    redial: Option<&'a mut Redial<C, P>>,
    /// It was polled, and was not ready.
    waits: bool,
}

impl<'a, C: Connect, P: Policy> Future for Ready<'a, C, P> {
    type Output = Result<&'a mut C::Connection, Error<C::Error>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let redial = self.redial.take().expect("polled after it was ready");
        if !redial.is_plainly_up() {
            if !mem::replace(&mut self.waits, true) {
                redial.disarm();
            }
            redial.obey();
            match redial.poll_connection(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.redial = Some(redial);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(redial.connection.as_mut().expect("it is ready")))
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Ready<'_, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&self.redial).finish()
    }
}

pin_project! {
    /// The future that [`Redial::connect`] returns.
    ///
    /// It must be pinned to be polled by reference.
    ///
    /// # Panics
    ///
    /// If it is polled after it was ready.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the attempt in flight; see [`Redial::connect`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Connecting<'a, C: Connect, P: Policy> {
        // Until it is ready.
        redial: Option<&'a mut Redial<C, P>>,
        // Here and not in a box: it need not outlive this future.
        #[pin]
        flight: Flight<C::Attempt>,
    }
}

impl<C: Connect, P: Policy> Future for Connecting<'_, C, P> {
    type Output = Result<C::Connection, Error<C::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let redial = this.redial.as_mut().expect("polled after it was ready");
        let outcome = if redial.connection.is_none() && redial.flight.is_none() {
            ready!(redial.core.poll(&mut redial.connector, this.flight, cx))
        } else {
            ready!(redial.poll_taking_over(this.flight, cx))
        };
        let redial = this.redial.take().expect("it was there before");
        Poll::Ready(outcome.map_err(|over| redial.core.error(over)))
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Connecting<'_, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connecting").field(&self.redial).finish()
    }
}
