//! A service that stays while its connections come and go.

use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::Service;

use crate::control::Handle;
use crate::driver::{Connect, Error, Redial};
use crate::policy::{Policy, Stratified};
use crate::wrap::{Lent, Place, Shared};

/// A service that reconnects; made by [`Redial::into_service`].
///
/// Clones share the connection. A service is ready once there is a connection and that
/// is ready. All clones wait for the same attempt, and the waits between attempts are
/// those of the policy.
///
/// ```
/// # use std::{convert::Infallible, io};
/// # async fn open() -> io::Result<tower::util::BoxCloneService<u32, u32, Infallible>> {
/// #     let service = tower::service_fn(|n: u32| async move { Ok(n + 1) });
/// #     Ok(tower::util::BoxCloneService::new(service))
/// # }
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// use redial::Redial;
/// use tower::{Service, ServiceExt};
///
/// // `open` connects, and returns a client that is a service: an HTTP/2 connection of
/// // hyper, a channel of tonic, or your own.
/// let service = Redial::new(open).into_service();
/// for number in [1, 2, 3] {
///     let mut service = service.clone();
///     tokio::spawn(async move { service.ready().await?.call(number).await });
/// }
/// # Ok(()) }
/// ```
///
/// # When a connection is lost
///
/// If its `poll_ready` fails. The error is not returned: the service connects again. So
/// clients must notice in `poll_ready` that their connection is gone, as those of hyper
/// and tower do. An error of a response is returned as it is, and ends no connection.
///
/// # Connections that are not `Clone`
///
/// Put them into a [`Buffer`](https://docs.rs/tower/latest/tower/buffer/struct.Buffer.html)
/// when you connect. A buffer notices that its connection is gone when the next request
/// comes, which then fails.
///
/// ```
/// # use std::{convert::Infallible, io};
/// # type Client = tower::util::BoxService<u32, u32, Infallible>;
/// # async fn open() -> io::Result<Client> {
/// #     let service = tower::service_fn(|n: u32| async move { Ok(n + 1) });
/// #     Ok(tower::util::BoxService::new(service))
/// # }
/// use redial::{Connect, Redial};
/// use std::future::ready;
/// use tower::buffer::Buffer;
///
/// let connect = open.then(|client| ready(io::Result::Ok(Buffer::new(client, 32))));
/// let service = Redial::new(connect).into_service();
/// ```
///
/// # Compared with tower's `Reconnect`
///
/// `tower::reconnect::Reconnect` makes the next attempt at once, for each clone on its
/// own. Here attempts wait, and there is one at a time.
pub struct Reconnect<C: Connect, P: Policy = Stratified> {
    shared: Shared<C, P>,
    place: Place,
    /// The connection that the next call uses.
    lent: Option<Lent<C, P>>,
}

impl<C: Connect, P: Policy> Redial<C, P> {
    /// A service of tower that reconnects; see [`Reconnect`].
    pub fn into_service(self) -> Reconnect<C, P>
    where
        C::Connection: Clone,
    {
        Reconnect::new(self.into_shared())
    }
}

impl<C: Connect, P: Policy> Reconnect<C, P> {
    /// A service on a connection that other parts of the program share, too.
    pub fn new(shared: Shared<C, P>) -> Self {
        Self {
            shared,
            place: Place::default(),
            lent: None,
        }
    }

    /// Waits for no connection any more.
    fn leave(&mut self) {
        self.place.leave(&self.shared);
        self.place = Place::default();
    }

    /// The connection that all clones share, for what is no request.
    pub fn shared(&self) -> &Shared<C, P> {
        &self.shared
    }

    /// A handle, which shows the status, skips a wait, pauses, resumes and closes from
    /// anywhere in the program.
    pub fn handle(&self) -> Handle
    where
        C::Connection: Clone,
    {
        self.shared.handle()
    }
}

impl<C, P, R> Service<R> for Reconnect<C, P>
where
    C: Connect<Connection: Service<R> + Clone>,
    P: Policy,
{
    type Response = <C::Connection as Service<R>>::Response;
    type Error = ServiceError<C::Error, <C::Connection as Service<R>>::Error>;
    type Future = ResponseFuture<<C::Connection as Service<R>>::Future, C::Error>;

    /// Ready once there is a connection that is ready.
    ///
    /// Fails only if the driver [gives up](Error) or was closed. By default it gives up
    /// only if trying again cannot help.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        loop {
            let present = self.lent.take().filter(Lent::is_present);
            let mut lent = if let Some(lent) = present {
                lent
            } else {
                let outcome = ready!(self.place.poll(&self.shared, cx));
                // Or the next call would get the error of this one.
                self.leave();
                outcome.map_err(ServiceError::Connect)?
            };
            match lent.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    self.lent = Some(lent);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(_)) => lent.lost(),
                Poll::Pending => {
                    self.lent = Some(lent);
                    return Poll::Pending;
                }
            }
        }
    }

    /// # Panics
    ///
    /// If [`poll_ready`](Self::poll_ready) has not said that the service is ready.
    fn call(&mut self, request: R) -> Self::Future {
        // The next call may need another connection.
        let lent = self.lent.take();
        let mut lent = lent.expect("poll_ready is called before each call");
        ResponseFuture {
            response: lent.call(request),
            connect: core::marker::PhantomData,
        }
    }
}

impl<C: Connect, P: Policy> Clone for Reconnect<C, P> {
    /// The same connection. The clone is not ready.
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl<C: Connect, P: Policy> Drop for Reconnect<C, P> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Reconnect<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect").finish_non_exhaustive()
    }
}

pin_project! {
    /// The response of a [`Reconnect`].
    pub struct ResponseFuture<F, E> {
        #[pin]
        response: F,
        connect: core::marker::PhantomData<fn() -> E>,
    }
}

impl<F, E, T, S> Future for ResponseFuture<F, E>
where
    F: Future<Output = Result<T, S>>,
{
    type Output = Result<T, ServiceError<E, S>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().response.poll(cx).map_err(ServiceError::Call)
    }
}

impl<F, E> fmt::Debug for ResponseFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Why a request to a [`Reconnect`] failed.
#[derive(Debug)]
pub enum ServiceError<E, S> {
    /// There is no connection, and no other attempt is made for this request.
    Connect(Arc<Error<E>>),
    /// The connection's own answer.
    Call(S),
}

impl<E, S> fmt::Display for ServiceError<E, S>
where
    Error<E>: fmt::Display,
    S: fmt::Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl<E, S> core::error::Error for ServiceError<E, S>
where
    Error<E>: core::error::Error,
    S: core::error::Error,
    E: fmt::Debug,
{
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Connect(error) => error.source(),
            Self::Call(error) => error.source(),
        }
    }
}
