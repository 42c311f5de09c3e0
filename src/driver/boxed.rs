//! Drivers whose type can be written down.

use alloc::boxed::Box;
use core::any::Any;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Redial;
use super::connect::Connect;
use super::info::AttemptInfo;
use super::maybe_send::MaybeSend;
use super::servers::Servers;
use crate::outage::{AttemptPhase, Outage};
use crate::policy::{AnyPolicy, Policy};

/// A [`Redial`] whose type can be written down, because its connector and its
/// policy are [boxed](Redial::boxed): makes connections of type `T`, or fails with
/// an `E`.
pub type BoxRedial<T, E> = Redial<BoxConnect<T, E>, AnyPolicy>;

impl<C, P> Redial<C, P>
where
    C: Connect<Attempt: MaybeSend + 'static> + MaybeSend + 'static,
    P: Policy<State: Send + Sync + 'static> + fmt::Debug + Send + Sync + 'static,
{
    /// Puts connector and policy in boxes, so that the type of the driver can be
    /// written down: in the field of a struct, or in a static.
    ///
    /// ```
    /// use redial::{BoxRedial, Error, Redial};
    /// use std::io;
    /// use std::sync::LazyLock;
    /// use tokio::net::TcpStream;
    /// use tokio::sync::Mutex;
    ///
    /// struct Client {
    ///     chat: BoxRedial<TcpStream, io::Error>,
    ///     nick: String,
    /// }
    ///
    /// impl Client {
    ///     fn new(host: &'static str, nick: String) -> Self {
    ///         let chat = Redial::new(redial::tcp::connect((host, 6667))).boxed();
    ///         Self { chat, nick }
    ///     }
    /// }
    ///
    /// static NEWS: LazyLock<Mutex<BoxRedial<TcpStream, io::Error>>> =
    ///     LazyLock::new(|| Mutex::new(Redial::new(redial::tcp::connect("news.example:119")).boxed()));
    ///
    /// async fn read_news() -> Result<(), Error<io::Error>> {
    ///     let mut news = NEWS.lock().await;
    ///     let stream = news.ready().await?;
    ///     // …
    /// #   let _ = stream;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// Each attempt then costs one allocation, and so does each outage.
    /// Connector and attempts must be `Send`, except on wasm32; see
    /// [`MaybeSend`].
    ///
    /// On a driver that is in use, an attempt in flight is dropped, and counts as
    /// one that took too long. The connection, the outage and the place in a wait stay.
    pub fn boxed(self) -> BoxRedial<C::Connection, C::Error> {
        Redial {
            connector: BoxConnect::new(self.connector),
            connection: self.connection,
            flight: None,
            core: self.core.with_outage(Outage::with_any_policy),
        }
    }
}

/// A connector of any type, in a box: made by [`Redial::boxed`].
///
/// It owns its attempts, so an attempt that is dropped leaves nothing behind.
pub struct BoxConnect<T, E>(Box<dyn AnyConnect<T, E>>);

/// An attempt of a [`BoxConnect`].
pub struct BoxAttempt<T, E>(Pin<Box<dyn AnyAttempt<T, E>>>);

impl<T, E> BoxConnect<T, E> {
    /// Puts a connector in a box.
    pub fn new<C>(connector: C) -> Self
    where
        C: Connect<Connection = T, Error = E, Attempt: MaybeSend + 'static> + MaybeSend + 'static,
    {
        Self(Box::new(connector))
    }
}

impl<T, E> Connect for BoxConnect<T, E> {
    type Connection = T;
    type Error = E;
    type Attempt = BoxAttempt<T, E>;

    fn connect(&mut self) -> BoxAttempt<T, E> {
        BoxAttempt(self.0.connect_any(None))
    }

    fn connect_with(&mut self, info: AttemptInfo<'_, E>) -> BoxAttempt<T, E> {
        BoxAttempt(self.0.connect_any(Some(info)))
    }

    fn wants_last_error(&self) -> bool {
        self.0.wants_last_error_any()
    }

    fn network_changed(&mut self) {
        self.0.network_changed_any();
    }

    fn phase(&self, attempt: &BoxAttempt<T, E>) -> AttemptPhase {
        attempt.0.phase_any(self.0.as_any())
    }

    fn limits_its_dial(&self) -> bool {
        self.0.limits_its_dial_any()
    }

    fn servers(&mut self) -> Option<Servers<'_>> {
        self.0.servers_any()
    }

    /// # Panics
    ///
    /// If the attempt is one of a connector of another type.
    fn poll_attempt(
        &mut self,
        mut attempt: Pin<&mut BoxAttempt<T, E>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>> {
        attempt.0.as_mut().poll_any(self.0.as_any_mut(), cx)
    }
}

trait AnyConnect<T, E>: MaybeSend {
    fn connect_any(&mut self, info: Option<AttemptInfo<'_, E>>) -> Pin<Box<dyn AnyAttempt<T, E>>>;
    fn wants_last_error_any(&self) -> bool;
    fn network_changed_any(&mut self);
    fn limits_its_dial_any(&self) -> bool;
    fn servers_any(&mut self) -> Option<Servers<'_>>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

trait AnyAttempt<T, E>: MaybeSend {
    /// Polls the attempt through its connector, which must be of its own type.
    fn poll_any(
        self: Pin<&mut Self>,
        connector: &mut dyn Any,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>>;

    /// How far the attempt is, as its connector tells.
    fn phase_any(&self, connector: &dyn Any) -> AttemptPhase;
}

impl<C> AnyConnect<C::Connection, C::Error> for C
where
    C: Connect<Attempt: MaybeSend + 'static> + MaybeSend + 'static,
{
    fn connect_any(
        &mut self,
        info: Option<AttemptInfo<'_, C::Error>>,
    ) -> Pin<Box<dyn AnyAttempt<C::Connection, C::Error>>> {
        Box::pin(Attempt::<C> {
            attempt: match info {
                Some(info) => self.connect_with(info),
                None => self.connect(),
            },
        })
    }

    fn wants_last_error_any(&self) -> bool {
        self.wants_last_error()
    }

    fn network_changed_any(&mut self) {
        self.network_changed();
    }

    fn limits_its_dial_any(&self) -> bool {
        self.limits_its_dial()
    }

    fn servers_any(&mut self) -> Option<Servers<'_>> {
        self.servers()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

pin_project! {
    /// An attempt that remembers the type of its connector.
    struct Attempt<C: Connect> {
        #[pin]
        attempt: C::Attempt,
    }
}

impl<C> AnyAttempt<C::Connection, C::Error> for Attempt<C>
where
    C: Connect<Attempt: MaybeSend> + 'static,
{
    fn poll_any(
        self: Pin<&mut Self>,
        connector: &mut dyn Any,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Connection, C::Error>> {
        let connector = connector.downcast_mut::<C>();
        let connector = connector.expect("an attempt is polled by its own connector");
        connector.poll_attempt(self.project().attempt, cx)
    }

    fn phase_any(&self, connector: &dyn Any) -> AttemptPhase {
        let connector = connector.downcast_ref::<C>();
        connector.map_or(AttemptPhase::Unknown, |it| it.phase(&self.attempt))
    }
}

impl<T, E> fmt::Debug for BoxConnect<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxConnect").finish_non_exhaustive()
    }
}

impl<T, E> fmt::Debug for BoxAttempt<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxAttempt").finish_non_exhaustive()
    }
}
