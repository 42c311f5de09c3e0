//! How a shared connection is watched.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::{Shared, State};
use crate::control::Ending;
use crate::driver::{Connect, Error, MaybeSend};
use crate::liveness::Liveness;
use crate::policy::Policy;
use crate::sync::lock;
use crate::verdict::Verdict;
use crate::wrap::monitor::{Certificate, Monitor};
use crate::wrap::vitals::{Vital, Vitals};
use crate::wrap::wakers::Wakers;

/// What a shared connection has only if it is watched.
pub(super) struct Live<C: Connect> {
    pub(super) vitals: Vitals,
    ask: Option<Box<dyn Ask<C::Connection, C::Error>>>,
    /// The ping that is out.
    answer: Option<BoxAnswer<C::Error>>,
    /// Somebody waits for that answer, so it has less time.
    is_hurried: bool,
    certificate: Option<Certificate>,
}

/// Sends a ping on a connection.
trait Ask<N, E>: FnMut(N) -> BoxAnswer<E> + MaybeSend {}
impl<N, E, F: FnMut(N) -> BoxAnswer<E> + MaybeSend> Ask<N, E> for F {}

/// The answer to a ping.
pub(super) trait Answer<E>: Future<Output = Result<(), E>> + MaybeSend {}
impl<E, F: Future<Output = Result<(), E>> + MaybeSend> Answer<E> for F {}

pub(super) type BoxAnswer<E> = Pin<Box<dyn Answer<E>>>;

/// What must be dropped, but not under the lock: its `Drop` may use the `Shared`.
/// In a box, because most often there is nothing.
pub(super) type Trash<C> = Option<Box<Dropped<C>>>;

pub(super) struct Dropped<C: Connect> {
    pub(super) connections: Vec<C::Connection>,
    answers: Vec<BoxAnswer<C::Error>>,
    certificate: Option<Certificate>,
}

impl<C: Connect> Default for Dropped<C> {
    fn default() -> Self {
        Self {
            connections: Vec::new(),
            answers: Vec::new(),
            certificate: None,
        }
    }
}

/// A connection that is up, or why none is.
type Up<C> = Result<(), Error<<C as Connect>::Error>>;

/// How the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Up,
    /// It was silent for too long, and has not answered yet.
    Asked,
    /// It was lost just now.
    Lost,
}

impl<C, P> Shared<C, P>
where
    C: Connect<Connection: Clone>,
    P: Policy,
{
    /// Pings a silent connection, and replaces one that does not answer. Off by
    /// default.
    ///
    /// `ping` is any request. If it fails, the connection is lost with its error. If it
    /// takes longer than [`grace`](Liveness::grace), the connection is dropped as
    /// silent, with the verdict `Retry(Down)`.
    ///
    /// ```
    /// # #[derive(Clone)] struct Client;
    /// # impl Client {
    /// #     async fn open() -> std::io::Result<Self> { Ok(Self) }
    /// #     async fn ping(&self) -> std::io::Result<()> { Ok(()) }
    /// # }
    /// # async fn doc() {
    /// use redial::{Liveness, Redial};
    ///
    /// let shared = Redial::new(Client::open)
    ///     .into_shared()
    ///     .keep_alive(Liveness::new(), async |client: Client| client.ping().await);
    /// tokio::spawn(shared.watch());
    /// # }
    /// ```
    ///
    /// # When it runs
    ///
    /// A `Shared` sees no requests, so a connection counts as silent since it came up,
    /// or since the last answer to a ping. A [`monitor`](Self::monitor) knows better:
    /// let the connector watch the bytes, or call [`Monitor::heard`] after each
    /// response.
    ///
    /// - [`ready`](Self::ready) does not lend a connection that was silent for longer
    ///   than [`idle`](Liveness::idle). It pings first, and waits at most five seconds
    ///   for the answer.
    /// - [`watch`](Self::watch) and [`Lent::gone`](super::Lent::gone) ping whenever a
    ///   ping is due. Without them nobody notices that an idle connection dies, until
    ///   the next `ready`.
    ///
    /// `ping` and its future run under [the lock](Self#the-lock).
    pub fn keep_alive<Fut, T>(
        self,
        liveness: Liveness,
        mut ping: impl FnMut(C::Connection) -> Fut + MaybeSend + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<T, C::Error>> + MaybeSend + 'static,
    {
        let mut trash = None;
        let mut state = lock(&self.inner.state);
        let live = state.live(&self.inner.waiting);
        live.ask = Some(Box::new(move |connection| {
            let answer = ping(connection);
            Box::pin(async move { answer.await.map(drop) })
        }));
        live.vitals.set(liveness);
        if state.redial.connection.is_some() {
            state.begin_watch(&mut trash);
        }
        drop(state);
        drop(trash);
        self
    }

    /// Lets the connector take part: it counts bytes, sets the liveness of single
    /// connections, and hands over a future that ends when its connection dies; see
    /// [`Monitor::ends_with`].
    pub fn monitor(self, monitor: &Monitor) -> Self {
        lock(&self.inner.state)
            .live(&self.inner.waiting)
            .vitals
            .set_monitor(monitor);
        self
    }
}

impl<C: Connect, P: Policy> State<C, P> {
    fn live(&mut self, waiting: &Arc<Wakers>) -> &mut Live<C> {
        self.live.get_or_insert_with(|| {
            Box::new(Live {
                vitals: Vitals::new(waiting.clone()),
                ask: None,
                answer: None,
                is_hurried: false,
                certificate: None,
            })
        })
    }

    /// Another task times what is waited for.
    pub(super) fn disarm(&mut self) {
        self.redial.disarm();
        self.disarm_watch();
    }

    /// Another task times the next look at the connection.
    pub(super) fn disarm_watch(&mut self) {
        if let Some(live) = &mut self.live {
            live.vitals.disarm();
        }
    }

    /// A connection has come up.
    #[cold]
    pub(super) fn begin_watch(&mut self, trash: &mut Trash<C>) {
        if let Some(live) = &mut self.live {
            live.vitals.begin(&mut self.redial, live.ask.is_some());
            let dropped = trash.get_or_insert_default();
            dropped.answers.extend(live.answer.take());
            dropped.certificate = mem::replace(&mut live.certificate, live.vitals.certificate());
        }
    }

    /// Looks whether the connection has died by itself. True if so.
    pub(super) fn has_died(&mut self, waker: &Waker, trash: &mut Trash<C>) -> bool {
        let Some(live) = &mut self.live else {
            return false;
        };
        let Some(certificate) = &mut live.certificate else {
            return false;
        };
        if self.redial.connection.is_none() {
            return false;
        }
        let mut cx = Context::from_waker(waker);
        if certificate.as_mut().poll(&mut cx).is_pending() {
            return false;
        }
        trash.get_or_insert_default().certificate = live.certificate.take();
        self.lose(Ending::Lost(Verdict::default()), None, trash);
        true
    }

    pub(super) fn lose(&mut self, ending: Ending, error: Option<C::Error>, trash: &mut Trash<C>) {
        let dropped = trash.get_or_insert_default();
        if let Some(live) = &mut self.live {
            dropped.answers.extend(live.answer.take());
        }
        dropped.connections.extend(self.redial.connection.take());
        match error {
            Some(error) => self.redial.lost_with(error),
            None => self.redial.end(ending, None),
        }
    }
}

impl<C: Connect<Connection: Clone>, P: Policy> State<C, P> {
    /// Waits until there is a connection that lives. True if it is another one than
    /// before, or if one was lost.
    #[cold]
    pub(super) fn poll_watched(
        &mut self,
        cx: &mut Context<'_>,
        trash: &mut Trash<C>,
    ) -> (Poll<Up<C>>, bool) {
        let mut changed = false;
        loop {
            if self.redial.connection.is_none() {
                match self.redial.poll_connection(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return (Poll::Ready(Err(error)), true),
                    Poll::Pending => return (Poll::Pending, changed),
                }
                changed = true;
                self.generation += 1;
                self.begin_watch(trash);
            }
            match self.watch(cx.waker(), true, trash) {
                Health::Up => return (Poll::Ready(Ok(())), changed),
                Health::Asked => return (Poll::Pending, changed),
                Health::Lost => changed = true,
            }
        }
    }

    /// Looks how the connection is. `hurries` says whether somebody waits for it.
    pub(super) fn watch(&mut self, waker: &Waker, hurries: bool, trash: &mut Trash<C>) -> Health {
        if self.has_died(waker, trash) {
            return Health::Lost;
        }
        loop {
            let (Some(live), true) = (&mut self.live, self.redial.connection.is_some()) else {
                return Health::Up;
            };
            let mut cx = Context::from_waker(waker);
            let answered = live
                .answer
                .as_mut()
                .map_or(Poll::Pending, |answer| answer.as_mut().poll(&mut cx));
            if let Poll::Ready(answer) = answered {
                trash
                    .get_or_insert_default()
                    .answers
                    .extend(live.answer.take());
                if let Err(error) = answer {
                    self.lose(Ending::Lost(Verdict::default()), Some(error), trash);
                    return Health::Lost;
                }
                live.vitals.heard = true;
            }
            if hurries && live.answer.is_some() && !mem::replace(&mut live.is_hurried, true) {
                live.vitals.doubt();
            }
            match live.vitals.look(&mut self.redial) {
                Poll::Pending if live.vitals.is_asked() => return Health::Asked,
                Poll::Pending => return Health::Up,
                Poll::Ready(Vital::Ping) => {
                    if let (Some(ask), Some(connection)) = (&mut live.ask, &self.redial.connection)
                    {
                        let connection = connection.clone();
                        trash
                            .get_or_insert_default()
                            .answers
                            .extend(live.answer.replace(ask(connection)));
                        live.is_hurried = false;
                    }
                }
                Poll::Ready(Vital::Dead(silent)) => {
                    if !live.vitals.is_certain() {
                        return Health::Asked;
                    }
                    self.lose(Ending::Silent(silent), None, trash);
                    return Health::Lost;
                }
            }
        }
    }
}
