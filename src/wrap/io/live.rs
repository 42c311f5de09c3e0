//! How a `RedialIo` watches whether its connection lives.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::requests::{PingRequests, Request, Requests};
use super::{End, RedialIo};
use crate::control::Ending;
use crate::driver::Connect;
use crate::liveness::{Liveness, Silent};
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;
use crate::wrap::halves::Half;
use crate::wrap::monitor::Monitor;
use crate::wrap::vitals::{Vital, Vitals};

/// How many bytes are read before a connection is judged by its writer alone.
const LAST_LOOK: usize = 8 * 1024;

/// What a `RedialIo` has only if it watches its connection.
pub(super) struct Live {
    pub(super) vitals: Vitals,
    /// Where it asks for pings.
    requests: Option<Arc<Requests>>,
    /// A read or a write has begun, and was not pending since. So it has read or
    /// written something: what fails, or ends, ends the connection. This is how a
    /// connection that is not watched pays nothing.
    began: [bool; 2],
    /// What the writer found in a last look, for the reader.
    unread: Vec<u8>,
    /// The loss that was a silence, by its number.
    pub(super) silent: Option<(u64, Silent)>,
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(requests) = &self.requests {
            requests.put(Request::Over);
        }
    }
}

impl<C: Connect, P: Policy> RedialIo<C, P> {
    /// Drops a connection from which no byte was read for `limit`. Off by default.
    ///
    /// Both halves then fail with [`ConnectionReset`](std::io::ErrorKind), as after
    /// any loss, and the error says "silent for 60s". `limit` is best longer than two
    /// intervals of a server that pings by itself. Whoever polls either half drives
    /// it: a write that waits, too. It reads what has arrived before it judges. These
    /// bytes count from then on, so if nobody reads, up to twice the time may pass.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    #[track_caller]
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.live().requests = None;
        self.set_liveness(Liveness::listen_only(limit));
        self
    }

    /// As [`idle_timeout`](Self::idle_timeout), and asks the program to ping in time.
    ///
    /// A `RedialIo` cannot know where a message begins, so it writes nothing by
    /// itself: a ping between two partial writes would corrupt the stream. The
    /// [`PingRequests`] yields when a ping is due. The time for the answer runs from
    /// when the program takes that request, because a quiet and healthy connection
    /// must not end if nobody reads requests; or, if a write waits, from when the ping
    /// was due.
    ///
    /// It reads what has arrived before it asks for a ping, and again before it judges.
    /// What it finds then counts from when the ping was asked for. So a peer that dies is
    /// noticed in time also if nobody reads.
    ///
    /// ```
    /// # async fn doc() -> std::io::Result<()> {
    /// use futures::StreamExt;
    /// use redial::{Liveness, Redial};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// let redial = Redial::new(redial::tcp::connect("time.example:4242"));
    /// let (mut io, mut pings) = redial.into_io().keep_alive(Liveness::new());
    /// let mut buf = [0; 1024];
    /// loop {
    ///     tokio::select! {
    ///         read = io.read(&mut buf) => println!("{:?}", &buf[..read?]),
    ///         // The program knows that it is between two messages here.
    ///         Some(()) = pings.next() => io.write_all(b"PING\n").await?,
    ///     }
    /// }
    /// # }
    /// ```
    pub fn keep_alive(mut self, liveness: Liveness) -> (Self, PingRequests) {
        let live = self.live();
        let (requests, shared) = PingRequests::new(live.vitals.stopwatch());
        if let Some(before) = live.requests.replace(shared) {
            before.put(Request::Over);
        }
        self.set_liveness(liveness);
        (self, requests)
    }

    /// Lets the connector set the liveness of single connections; see [`Monitor`].
    pub fn monitor(mut self, monitor: &Monitor) -> Self {
        self.live().vitals.set_monitor(monitor);
        self
    }

    fn live(&mut self) -> &mut Live {
        self.halves.unsettle();
        let halves = &self.halves;
        self.live.get_or_insert_with(|| {
            Box::new(Live {
                vitals: Vitals::new(halves.both()),
                requests: None,
                began: [false; 2],
                unread: Vec::new(),
                silent: None,
            })
        })
    }

    fn set_liveness(&mut self, liveness: Liveness) {
        self.live().vitals.set(liveness);
        if self.halves.redial.connection.is_some() {
            self.begin_watch();
        }
    }

    /// A connection has come up.
    pub(super) fn begin_watch(&mut self) {
        if let Some(live) = &mut self.live {
            live.vitals
                .begin(&mut self.halves.redial, live.requests.is_some());
            live.began = [false; 2];
            live.unread.clear();
            live.answered();
        }
    }
}

impl Live {
    /// Notes what was read and written since the last look.
    fn note(&mut self) {
        let [read, written] = mem::take(&mut self.began);
        self.vitals.heard |= read;
        if written {
            self.vitals.wrote(true);
        }
    }

    /// No ping is needed any more.
    fn answered(&self) {
        if let Some(requests) = &self.requests {
            requests.answered();
        }
    }
}

impl<C, P> RedialIo<C, P>
where
    C: Connect<Connection: AsyncRead + AsyncWrite + Unpin>,
    P: Policy,
{
    /// A read begins. False if there is something [unread](Self::take_unread).
    pub(super) fn begin_read(&mut self) -> bool {
        let Some(live) = &mut self.live else {
            return true;
        };
        live.note();
        let begins = live.unread.is_empty();
        live.began[Half::Read as usize] = begins;
        begins
    }

    /// Up to so many bytes that a last look has found.
    ///
    /// The caller fills its buffer itself, so that no call needs the buffer's address:
    /// then the buffer stays in registers on the straight path of a read.
    #[inline(never)] // not `cold`: the filling, beside this call, must be inlined
    pub(super) fn take_unread(&mut self, most: usize) -> Vec<u8> {
        let Some(live) = &mut self.live else {
            return Vec::new();
        };
        let bytes = most.min(live.unread.len());
        live.unread.drain(..bytes).collect()
    }

    /// A write begins. Fails if the connection turns out to be dead.
    pub(super) fn begin_write(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.live.is_none() {
            return Poll::Ready(Ok(()));
        }
        if !self.is_quiet() && self.watch(Half::Write, cx).is_ready() {
            self.seam(Half::Write)?;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(live) = &mut self.live {
            live.began[Half::Write as usize] = true;
        }
        Poll::Ready(Ok(()))
    }

    /// `half` is pending on its side of the connection.
    #[cold]
    pub(super) fn pend(&mut self, half: Half, cx: &Context<'_>) {
        if let Some(live) = &mut self.live {
            live.began[half as usize] = false;
            live.vitals.is_blocked |= matches!(half, Half::Write);
        }
        self.pend_watched(half, cx);
    }

    /// A flush is pending. What goes into a buffer behind it says nothing about the
    /// peer.
    #[cold]
    pub(super) fn pend_flush(&mut self, cx: &Context<'_>) {
        if let Some(live) = &mut self.live {
            live.vitals.is_flushing = true;
        }
        self.pend_watched(Half::Write, cx);
    }

    /// A flush has ended.
    #[cold]
    pub(super) fn flushed(&mut self) {
        if let Some(live) = &mut self.live {
            live.vitals.flushed(false);
        }
    }

    fn pend_watched(&mut self, half: Half, cx: &Context<'_>) {
        self.halves.pend(half, cx);
        if self.watch(half, cx).is_ready() {
            // The next poll reports it.
            cx.waker().wake_by_ref();
        }
    }

    /// Whether nothing is to be done about the connection; see [`Vitals::is_quiet`].
    #[inline]
    fn is_quiet(&mut self) -> bool {
        let Some(live) = &mut self.live else {
            return true;
        };
        live.note();
        live.vitals.is_quiet(&self.halves.redial)
    }

    /// Looks whether the connection lives. Ready if it is gone.
    fn watch(&mut self, half: Half, cx: &Context<'_>) -> Poll<()> {
        if self.live.is_none() || self.halves.redial.connection.is_none() {
            return Poll::Pending;
        }
        // A side that has ended says nothing any more.
        if self.end == End::ReadOut {
            return Poll::Pending;
        }
        // Whichever half polls, both are woken: the other one may be gone.
        self.halves.wait_for_both(half, cx);
        if self.is_quiet() {
            return Poll::Pending;
        }
        let waker = self.halves.waker_of_both();
        loop {
            let Some(live) = &mut self.live else {
                return Poll::Pending;
            };
            live.note();
            if live.vitals.has_heard() {
                live.answered();
            }
            if let Some(requests) = &live.requests {
                let now = live.vitals.now();
                let is_blocked = live.vitals.is_blocked || live.vitals.is_flushing;
                let delay = requests.delay(now, is_blocked);
                live.vitals.put_off(delay);
            }
            match live.vitals.look(&mut self.halves.redial) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Vital::Ping) => {
                    // What nobody has read yet is no answer, and may have come long ago.
                    while let Found::Bytes = self.find(&waker) {}
                    let Some(live) = &mut self.live else {
                        return Poll::Pending;
                    };
                    if self.halves.redial.connection.is_none() || self.end == End::ReadOut {
                        return Poll::Ready(());
                    }
                    live.vitals.forget_heard();
                    if let Some(requests) = &live.requests {
                        requests.put(Request::Due(live.vitals.now()));
                    }
                }
                Poll::Ready(Vital::Dead(silent)) => {
                    if let Some(end) = self.last_look(silent, &waker) {
                        return end;
                    }
                }
            }
        }
    }

    /// The connection seems to be dead. But its answer may have arrived, and nobody has
    /// read it. `None` if that is so.
    fn last_look(&mut self, silent: Silent, waker: &Waker) -> Option<Poll<()>> {
        loop {
            let found = self.find(waker);
            let Some(live) = &mut self.live else {
                return Some(Poll::Pending);
            };
            match found {
                Found::Bytes => live.vitals.heard = true,
                Found::TooMuch => {
                    // The reader does not read. What is behind all this may be a sign
                    // of life.
                    live.vitals.heard = true;
                    return None;
                }
                Found::End => return Some(Poll::Ready(())),
                Found::Nothing if live.vitals.has_answer() => {
                    live.answered();
                    return None;
                }
                Found::Nothing if !live.vitals.is_certain() => return Some(Poll::Pending),
                Found::Nothing => {
                    self.lose(Ending::Silent(silent), None);
                    if let Some(live) = &mut self.live {
                        live.silent = Some((self.losses, silent));
                    }
                    return Some(Poll::Ready(()));
                }
            }
        }
    }

    /// Reads some of what has arrived, for the reader.
    fn find(&mut self, waker: &Waker) -> Found {
        let (Some(live), Some(connection)) = (&mut self.live, &mut self.halves.redial.connection)
        else {
            return Found::Nothing;
        };
        if live.unread.len() >= LAST_LOOK {
            return Found::TooMuch;
        }
        let mut bytes = [0; 1024];
        let mut buf = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(waker);
        match Pin::new(connection).poll_read(&mut cx, &mut buf) {
            Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                if self.end == End::Open {
                    self.lose(Ending::Lost(Verdict::Retry(Cause::Busy)), None);
                } else {
                    // It has no loss to report.
                    let _ = self.read_out();
                }
                Found::End
            }
            Poll::Ready(Ok(())) => {
                live.unread.extend_from_slice(buf.filled());
                // The reader gets them before it reads again.
                self.halves.unsettle();
                self.halves.wake();
                Found::Bytes
            }
            Poll::Ready(Err(error)) => {
                let error = (self.convert)(error);
                let verdict = self.halves.redial.judge(&error);
                self.lose(Ending::Lost(verdict), Some(error));
                Found::End
            }
            Poll::Pending => Found::Nothing,
        }
    }
}

/// What a look at the reading side of a connection finds.
enum Found {
    Bytes,
    /// Nobody reads, and no more is kept.
    TooMuch,
    /// The connection is lost, or its reading side has ended.
    End,
    Nothing,
}
