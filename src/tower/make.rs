//! Connectors that are services of tower.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::Service;

use crate::driver::Connect;

/// A connector that calls a `MakeService`: a service of tower whose responses are
/// connections. Each attempt calls it with a clone of `target`.
///
/// The driver polls the service until it is ready, as part of the attempt. So the
/// [timeout](crate::Config::attempt_timeout) counts that time, too.
///
/// ```
/// use redial::{Redial, tower::make};
/// use std::io;
/// use tokio::net::TcpStream;
/// use tower::service_fn;
///
/// // Such as hyper-util's `HttpConnector`, or one of your own.
/// let connector = service_fn(|address: String| async move {
///     TcpStream::connect(address).await
/// });
/// let redial = Redial::new(make(connector, "chat.example:6667".to_owned()));
/// ```
pub fn make<M, T>(service: M, target: T) -> Make<M, T>
where
    M: Service<T>,
    T: Clone,
{
    Make { service, target }
}

/// The connector that [`make`] returns.
#[derive(Clone)]
pub struct Make<M, T> {
    service: M,
    target: T,
}

pin_project! {
    /// An attempt of [`Make`].
    pub struct MakeAttempt<F> {
        // None until the service is ready.
        #[pin]
        call: Option<F>,
    }
}

impl<M, T> Connect for Make<M, T>
where
    M: Service<T>,
    T: Clone,
{
    type Connection = M::Response;
    type Error = M::Error;
    type Attempt = MakeAttempt<M::Future>;

    fn connect(&mut self) -> MakeAttempt<M::Future> {
        MakeAttempt { call: None }
    }

    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut MakeAttempt<M::Future>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<M::Response, M::Error>> {
        let mut call = attempt.project().call;
        if call.is_none() {
            ready!(self.service.poll_ready(cx))?;
            call.set(Some(self.service.call(self.target.clone())));
        }
        call.as_pin_mut().expect("set above").poll(cx)
    }
}

impl<M, T: fmt::Debug> fmt::Debug for Make<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Make")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for MakeAttempt<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MakeAttempt").finish_non_exhaustive()
    }
}
