//! How a session watches whether its connection lives.

use alloc::boxed::Box;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use futures_core::stream::TryStream;
use futures_sink::Sink;

use super::event::SessionEvent;
use super::ping::{Ping, Pings};
use super::{Item, MOST_EVENTS, Session};
use crate::control::Ending;
use crate::driver::{Connect, MaybeSend};
use crate::liveness::{Liveness, Silent};
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;
use crate::wrap::from_connection::FromConnection;
use crate::wrap::halves::Half;
use crate::wrap::monitor::Monitor;
use crate::wrap::vitals::{Vital, Vitals};

/// How many items of a connection that ends are still read.
pub(super) const MOST_DRAINED: usize = 1024;

/// After so many items in a row the session looks whether a ping is due, also if
/// there are more.
const MANY_ITEMS: u8 = 64;

/// What a session has only if it watches its connection.
pub(super) struct Live<C: Connect<Connection: TryStream>> {
    pub(super) vitals: Vitals,
    pings: Option<Box<dyn Pings<C::Connection, C::Error>>>,
    hears: Option<Box<dyn Hears<Item<C>>>>,
    /// How many items were received since the last look.
    items: u8,
    /// When the session last looked at a ping that waits for a place that the program
    /// was promised.
    held: Option<Duration>,
    /// A ping could not be sent yet.
    has_ping: bool,
    /// Something was received since the connection was last flushed.
    owes_flush: bool,
}

impl<C: Connect<Connection: TryStream>> Live<C> {
    /// A ping that could not be sent yet needs no answer yet.
    fn put_off_held(&mut self) {
        if let Some(since) = self.held.take() {
            let now = self.vitals.now();
            self.vitals.put_off(now.saturating_sub(since));
            self.held = Some(now);
        }
    }
}

/// A closure that says whether an item counts.
trait Hears<T>: FnMut(&T) -> bool + MaybeSend {}
impl<T, F: FnMut(&T) -> bool + MaybeSend> Hears<T> for F {}

impl<C, P, K> Session<C, P, K>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    /// Pings a silent connection, and drops one that does not answer. Off by default.
    ///
    /// After at most [`idle`](Liveness::idle) of silence, 25 s by default, the session
    /// sends the item that `ping` makes. If nothing at all is received in the
    /// [`grace`](Liveness::grace) after that, 15 s by default, the connection is dropped
    /// without a close, and the reader gets a `Down` that says
    /// [how long](super::SessionEvent::Down) it was silent. The verdict is
    /// `Retry(Down)`. See [`Liveness`] for what counts and for the settings.
    ///
    /// ```
    /// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::StreamExt;
    /// use redial::{Connect, Liveness, Redial, SessionEvent, tcp};
    /// use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
    ///
    /// let dial = tcp::connect("chat.example:6667");
    /// let mut chat = Redial::new(dial.then(async |stream| {
    ///     Ok::<_, LinesCodecError>(Framed::new(stream, LinesCodec::new()))
    /// }))
    /// .into_session()
    /// .keep_alive(Liveness::new(), || "PING".to_string());
    /// while let Some(event) = chat.next().await {
    ///     match event? {
    ///         SessionEvent::Down { silent: Some(silent), .. } => println!("offline: {silent}"),
    ///         other => println!("{other:?}"),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # When it runs
    ///
    /// In each poll of either half: while a send waits, too, and in a session that
    /// is only written to or only read from. If nobody polls the session, nothing
    /// happens. A session that is polled late looks at what has arrived before it
    /// judges. It keeps up to 1,024 items that it found so for the reader. While that
    /// many are unread, the connection counts as alive; of a session that nobody has
    /// ever read, it keeps the last ones.
    ///
    /// An item counts from when the session receives it. If nobody reads, the session
    /// does so before each ping and at the end of the time for its answer; what it finds
    /// then counts from the ping on. So a peer that dies is noticed in time also in a
    /// session that is only written to, at the next send. With an
    /// [`idle_timeout`](Self::idle_timeout), which asks nothing, up to twice the limit
    /// may pass there.
    ///
    /// It also pings at once, with five seconds for the answer, if the device slept
    /// (see [`wall_clock`](crate::Redial::wall_clock)), and after a handle's
    /// [`network_changed`](crate::Handle::network_changed) or a long
    /// [`pause`](crate::Handle::pause).
    ///
    /// # What is sent
    ///
    /// A ping is no item of the program's: no [`SendError`](super::SendError) counts it.
    /// It waits while the program was promised the next place, and so does the end of the
    /// time for its answer: a program that holds a place, and neither sends nor waits,
    /// keeps a connection that only looks alive. The
    /// answer arrives as an item, if the connection does not handle it itself; no
    /// special treatment is needed. Whenever something was received, the session also
    /// flushes its connection, because WebSocket libraries queue their answer to a
    /// ping of the server's.
    ///
    /// Takes effect at once, and replaces an [`idle_timeout`](Self::idle_timeout).
    pub fn keep_alive<T: 'static>(
        mut self,
        liveness: Liveness,
        ping: impl FnMut() -> T + MaybeSend + 'static,
    ) -> Self
    where
        C::Connection: Sink<T>,
        C::Error: FromConnection<<C::Connection as Sink<T>>::Error>,
    {
        self.live().pings = Some(Box::new(Ping::new(ping)));
        self.set_liveness(liveness);
        self
    }

    /// Drops a connection from which nothing was received for `limit`. Off by default.
    ///
    /// It sends nothing, so it is for servers that ping by themselves; `limit` is best
    /// longer than two of their intervals. All else is as in
    /// [`keep_alive`](Self::keep_alive), which this replaces.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    #[track_caller]
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.live().pings = None;
        self.set_liveness(Liveness::listen_only(limit));
        self
    }

    /// Says which items count as signs of life: all of them by default.
    ///
    /// A proxy may answer pings for a server that is gone, or a server may answer them
    /// and deliver nothing. Then leave such answers out, and ping by a request that
    /// only the real server can answer.
    ///
    /// If a [`monitor`](Self::monitor) watches the bytes, all bytes count.
    pub fn hears(mut self, counts: impl FnMut(&Item<C>) -> bool + MaybeSend + 'static) -> Self {
        self.live().hears = Some(Box::new(counts));
        self
    }

    /// Lets the connector take part: it counts bytes, and sets the liveness of single
    /// connections; see [`Monitor`].
    pub fn monitor(mut self, monitor: &Monitor) -> Self {
        self.live().vitals.set_monitor(monitor);
        self
    }

    fn live(&mut self) -> &mut Live<C> {
        // The halves look into the box again before they go on.
        self.halves.unsettle();
        let halves = &self.halves;
        self.live.get_or_insert_with(|| {
            Box::new(Live {
                vitals: Vitals::new(halves.both()),
                pings: None,
                hears: None,
                items: 0,
                held: None,
                has_ping: false,
                owes_flush: false,
            })
        })
    }

    fn set_liveness(&mut self, liveness: Liveness) {
        self.live().vitals.set(liveness);
        if self.halves.redial.connection.is_some() {
            self.begin_watch();
        }
    }

    /// Whether a ping could not be sent yet.
    pub(super) fn has_ping(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.has_ping)
    }

    /// A connection has come up.
    pub(super) fn begin_watch(&mut self) {
        if let Some(live) = &mut self.live {
            live.vitals
                .begin(&mut self.halves.redial, live.pings.is_some());
            (live.held, live.has_ping, live.owes_flush) = (None, false, false);
            if let Some(pings) = &mut live.pings {
                pings.forget();
            }
        }
    }

    /// An item was received.
    #[cold]
    pub(super) fn note_item(&mut self, item: &Item<C>, cx: &Context<'_>) {
        let Some(live) = &mut self.live else { return };
        live.vitals.heard |= live.hears.as_mut().is_none_or(|hears| hears(item));
        live.owes_flush = true;
        live.items += 1;
        if live.items == MANY_ITEMS {
            self.watch_among_items(cx);
        }
    }

    /// Looks whether a ping is due, although there are more items.
    #[cold]
    fn watch_among_items(&mut self, cx: &Context<'_>) {
        let Some(live) = &mut self.live else { return };
        live.items = 0;
        // A connection with so many items does not end here.
        live.put_off_held();
        self.halves.wait_for_both(Half::Read, cx);
        if let Poll::Ready(Vital::Ping) = live.vitals.look(&mut self.halves.redial) {
            if let Some(pings) = &mut live.pings {
                pings.ask();
            }
        }
        let waker = self.halves.waker_of_both();
        let _ = self.ping(&waker);
    }

    /// The connection has room for an item.
    #[cold]
    pub(super) fn has_room(&mut self) {
        self.no_other_promise();
        if let Some(live) = &mut self.live {
            live.vitals.wrote(false);
        }
    }

    /// The connection is flushed. `sent` says whether anything was sent.
    #[cold]
    pub(super) fn flushed(&mut self, sent: bool) {
        if let Some(live) = &mut self.live {
            live.owes_flush = false;
            live.vitals.flushed(sent);
        }
    }

    /// `half` is pending on its side of the connection. Ready if the connection is
    /// gone.
    #[cold]
    pub(super) fn pend(&mut self, half: Half, cx: &Context<'_>) -> Poll<()> {
        self.halves.pend(half, cx);
        if self.renews() && self.renew(half, cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(live) = &mut self.live else {
            return Poll::Pending;
        };
        live.vitals.is_blocked |= matches!(half, Half::Write);
        self.watch(half, cx)
    }

    /// As [`pend`](Self::pend), in a flush: what goes into a buffer behind it says
    /// nothing about the peer.
    #[cold]
    pub(super) fn pend_flush(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.halves.pend(Half::Write, cx);
        let Some(live) = &mut self.live else {
            return Poll::Pending;
        };
        live.vitals.is_flushing = true;
        self.watch(Half::Write, cx)
    }

    /// Whether nothing is to be done about the connection; see [`Vitals::is_quiet`].
    #[inline]
    pub(super) fn is_quiet(&mut self) -> bool {
        match &mut self.live {
            Some(live) => !live.has_ping && live.vitals.is_quiet(&self.halves.redial),
            None => true,
        }
    }

    /// Looks whether the connection lives. Ready if it is gone.
    #[cold]
    pub(super) fn watch(&mut self, half: Half, cx: &Context<'_>) -> Poll<()> {
        if self.live.is_none() || self.halves.redial.connection.is_none() {
            return Poll::Pending;
        }
        // Whichever half polls, both are woken: the other one may be gone.
        self.halves.wait_for_both(half, cx);
        if self.is_quiet() {
            return if self.flush().is_err() {
                Poll::Ready(())
            } else {
                Poll::Pending
            };
        }
        let waker = self.halves.waker_of_both();
        loop {
            let Some(live) = &mut self.live else {
                return Poll::Pending;
            };
            live.items = 0;
            live.put_off_held();
            live.owes_flush |= live.vitals.has_heard();
            if self.flush().is_err() {
                return Poll::Ready(());
            }
            let Some(live) = &mut self.live else {
                return Poll::Pending;
            };
            match live.vitals.look(&mut self.halves.redial) {
                Poll::Pending => break,
                Poll::Ready(Vital::Ping) => {
                    // What nobody has read yet is no answer, and may have come long ago.
                    if self.drain(&waker).is_err() {
                        return Poll::Ready(());
                    }
                    if let Some(live) = &mut self.live {
                        live.vitals.forget_heard();
                        if let Some(pings) = &mut live.pings {
                            pings.ask();
                        }
                    }
                }
                Poll::Ready(Vital::Dead(silent)) => {
                    if let Some(end) = self.last_look(silent, &waker) {
                        return end;
                    }
                }
            }
        }
        match self.ping(&waker) {
            Ok(()) => Poll::Pending,
            Err(Gone) => Poll::Ready(()),
        }
    }

    /// The connection seems to be dead. But its answer may have arrived, and nobody has
    /// read it. `None` if that is so.
    fn last_look(&mut self, silent: Silent, waker: &Waker) -> Option<Poll<()>> {
        if self.ping(waker).is_err() || self.drain(waker).is_err() {
            return Some(Poll::Ready(()));
        }
        let live = self.live.as_mut()?;
        if live.vitals.has_answer() {
            live.owes_flush = true;
            return None;
        }
        if !live.vitals.is_certain() {
            return Some(Poll::Pending);
        }
        self.down(Ending::Silent(silent), None);
        Some(Poll::Ready(()))
    }

    /// Reads what has arrived, for the reader. `Err` if the connection is gone.
    fn drain(&mut self, waker: &Waker) -> Result<(), Gone> {
        let mut cx = Context::from_waker(waker);
        let mut read = false;
        let gone = loop {
            let (Some(live), Some(connection)) =
                (&mut self.live, &mut self.halves.redial.connection)
            else {
                break None;
            };
            if self.events.len() >= MOST_EVENTS + MOST_DRAINED {
                let first = self.events.iter().position(is_item);
                match first {
                    // Nobody has ever read.
                    Some(first) if !self.has_reader => drop(self.events.remove(first)),
                    // The reader does not read. What is behind all this may be a sign
                    // of life.
                    _ => {
                        live.vitals.heard = true;
                        break None;
                    }
                }
            }
            match Pin::new(connection).try_poll_next(&mut cx) {
                Poll::Ready(Some(Ok(item))) => {
                    live.vitals.heard |= live.hears.as_mut().is_none_or(|hears| hears(&item));
                    self.events.push_back(SessionEvent::Item(item));
                    read = true;
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = (self.convert)(error);
                    let verdict = self.halves.redial.judge(&error);
                    break Some((verdict, Some(error)));
                }
                Poll::Ready(None) => break Some((Verdict::Retry(Cause::Busy), None)),
                Poll::Pending => break None,
            }
        };
        if let Some((verdict, error)) = gone {
            self.down(Ending::Lost(verdict), error);
            return Err(Gone);
        }
        if read {
            // The reader gets them before it reads again.
            self.halves.unsettle();
            self.halves.wake();
        }
        Ok(())
    }

    /// Sends the ping that is due. `Err` if the connection is gone.
    fn ping(&mut self, waker: &Waker) -> Result<(), Gone> {
        let free = !self.sending.ready;
        let (Some(live), Some(connection)) = (&mut self.live, &mut self.halves.redial.connection)
        else {
            return Ok(());
        };
        let Some(pings) = &mut live.pings else {
            return Ok(());
        };
        live.held = (!free && pings.is_due()).then(|| live.vitals.now());
        let pinged = pings.poll(connection, &mut Context::from_waker(waker), free);
        live.has_ping = pinged.is_pending();
        match pinged {
            // What was blocked has moved.
            Poll::Ready(Ok(moved)) => live.vitals.heard |= moved,
            Poll::Ready(Err(error)) => {
                self.write_failed(error);
                return Err(Gone);
            }
            Poll::Pending => {}
        }
        Ok(())
    }

    /// Flushes what the connection itself may want to send because it received
    /// something. `Err` if the connection is gone.
    fn flush(&mut self) -> Result<(), Gone> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        if !mem::take(&mut live.owes_flush) {
            return Ok(());
        }
        let waker = self.halves.waker_of_both();
        let (Some(pings), Some(connection)) = (&mut live.pings, &mut self.halves.redial.connection)
        else {
            return Ok(());
        };
        match pings.flush(connection, &mut Context::from_waker(&waker)) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.write_failed(error);
                Err(Gone)
            }
        }
    }
}

fn is_item<T, E>(event: &SessionEvent<T, E>) -> bool {
    matches!(event, SessionEvent::Item(_))
}

/// The connection is gone.
struct Gone;
