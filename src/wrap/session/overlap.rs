//! How a session moves from one connection to the next while both live.

use alloc::boxed::Box;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use futures_core::stream::TryStream;
use futures_sink::Sink;

use super::error::SendError;
use super::event::SessionEvent;
use super::keep::Keep;
use super::live::MOST_DRAINED;
use super::{End, Item, MOST_EVENTS, Session};
use crate::clock::{Sleep, Stopwatch};
use crate::control::Ending;
use crate::driver::{Connect, DRAIN, Turn};
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;
use crate::wrap::from_connection::FromConnection;
use crate::wrap::halves::Half;

/// The time for a close handshake, as in the socket mode of Slack's clients (3.2.0).
const CLOSE: Duration = Duration::from_secs(1);

/// After so many items in a row the session looks whether a renewal is due, also if there
/// are more.
const MANY_ITEMS: u8 = 64;

/// What a session has only if its connections are renewed.
pub(super) struct Overlap<N> {
    /// The connection that was replaced, while it lives.
    old: Option<Old<N>>,
    /// The connection that is up, and takes the place of the present one once that has
    /// nothing more to read.
    next: Option<Next<N>>,
    /// The item that was read last comes from it.
    pub(super) is_late: bool,
    /// How many items were received since the last look.
    items: u8,
}

impl<N> Default for Overlap<N> {
    fn default() -> Self {
        Self {
            old: None,
            next: None,
            is_late: false,
            items: 0,
        }
    }
}

struct Next<N> {
    connection: N,
    since: Stopwatch,
    /// A timer whose time has come.
    timer: Pin<Box<Sleep>>,
}

struct Old<N> {
    connection: N,
    /// It was found ready for one item.
    is_ready: bool,
    /// Its stream has not ended.
    is_read: bool,
    /// Items that it has taken and not flushed.
    unflushed: usize,
    /// Items that were sent later, and were lost.
    lost_later: usize,
    step: Step,
    /// The time of this step.
    stopwatch: Stopwatch,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// What the server still sends on it is read.
    Drains,
    Closes,
    /// As above, and no other connection is made before.
    ClosesFirst,
}

impl<N> Old<N> {
    fn enter(&mut self, step: Step) {
        self.step = step;
        self.stopwatch = Stopwatch::start();
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let time = match self.step {
            Step::Drains => DRAIN,
            Step::Closes | Step::ClosesFirst => CLOSE,
        };
        let until = self.stopwatch.instant(time.as_nanos() as u64);
        self.timer.as_mut().poll_until(until, cx)
    }
}

/// What only the sink can do, as only it knows the type of the items.
pub(super) enum Last<'a, 'b, N, K> {
    Flush(&'a mut N, &'a mut Context<'b>),
    Close(&'a mut N, &'a mut Context<'b>),
    /// So many copies are not needed any more; after them come those of so many items.
    Forget(&'a mut K, usize, usize),
}

pub(super) type Finish<N, K, E> = fn(Last<'_, '_, N, K>) -> Poll<Result<(), E>>;

pub(super) fn finish<N, T, K, E>(last: Last<'_, '_, N, K>) -> Poll<Result<(), E>>
where
    N: Sink<T> + Unpin,
    K: Keep<T>,
    E: FromConnection<N::Error>,
{
    let done = match last {
        Last::Flush(connection, cx) => Pin::new(connection).poll_flush(cx),
        Last::Close(connection, cx) => Pin::new(connection).poll_close(cx),
        Last::Forget(kept, items, later) => {
            kept.flushed_before(items, later);
            return Poll::Ready(Ok(()));
        }
    };
    done.map_err(E::from)
}

impl<C, P, K> Session<C, P, K>
where
    C: Connect<Connection: TryStream + Unpin>,
    P: Policy,
{
    /// Replaces the present connection before it ends; see
    /// [`Handle::renew_within`](crate::Handle::renew_within) and
    /// [Renewal](Self#renewal).
    pub fn renew_within(&mut self, grace: Duration) {
        self.halves.redial.renew_within(grace);
        self.halves.nudge();
    }

    /// As [`renew_within`](Self::renew_within), with a hint for one attempt; see
    /// [`Handle::renew_with_hint`](crate::Handle::renew_with_hint).
    pub fn renew_with_hint(&mut self, grace: Duration, hint: &str) {
        self.halves.redial.renew_with_hint(grace, hint);
        self.halves.nudge();
    }

    /// Replaces the present connection now; see
    /// [`Handle::renew_now`](crate::Handle::renew_now).
    pub fn renew_now(&mut self) {
        self.halves.redial.renew_now();
        self.halves.nudge();
    }

    /// Whether the item that was read last comes from a connection that was replaced
    /// before. A server that sends to both connections may have sent it twice.
    pub fn is_late(&self) -> bool {
        self.overlap.as_ref().is_some_and(|it| it.is_late)
    }

    /// Closes the connection that was replaced, if it still is there, without waiting for
    /// what the server may send on it. Items that it has taken are flushed.
    pub fn close_old(&mut self) {
        self.hurry();
        self.halves.nudge();
    }

    /// Whether connections are renewed.
    pub(super) fn renews(&self) -> bool {
        self.overlap.is_some() || self.halves.redial.renews()
    }

    fn old(&mut self) -> Option<&mut Old<C::Connection>> {
        self.overlap.as_mut()?.old.as_mut()
    }

    /// Drives the renewal and the connection that was replaced. Ready if the present
    /// connection is another one, or gone.
    #[cold]
    pub(super) fn renew(&mut self, half: Half, cx: &Context<'_>) -> Poll<()> {
        if !self.renews() {
            return Poll::Pending;
        }
        // Whichever half polls, both are woken: the other one may be gone.
        self.halves.wait_for_both(half, cx);
        let waker = self.halves.waker_of_both();
        let mut cx = Context::from_waker(&waker);
        self.poll_old(&mut cx);
        while self.end == End::Open && self.halves.redial.connection.is_some() {
            if self.has_next() {
                let is_read = ready!(self.poll_rest(&mut cx));
                self.switch(is_read);
                return Poll::Ready(());
            }
            let has_room = self.old().is_none();
            match ready!(self.halves.redial.poll_renewal(&mut cx, has_room)) {
                Turn::Renewed(connection) => {
                    self.overlap.get_or_insert_default().next = Some(Next {
                        connection,
                        since: Stopwatch::start(),
                        timer: Box::pin(Sleep::unset()),
                    });
                    continue;
                }
                Turn::End(Ending::MakesRoom) => self.make_room(),
                Turn::End(ending) => self.down(ending, None),
                Turn::NeedsRoom => {
                    self.hurry();
                    self.poll_old(&mut cx);
                    if self.old().is_some() {
                        return Poll::Pending;
                    }
                    continue;
                }
            }
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Looks at the renewal after many items.
    pub(super) fn renew_after_item(&mut self, cx: &Context<'_>) {
        if !self.renews() {
            return;
        }
        let overlap = self.overlap.get_or_insert_default();
        overlap.items += 1;
        if overlap.items == MANY_ITEMS {
            overlap.items = 0;
            let _ = self.renew(Half::Read, cx);
        }
    }

    fn has_next(&self) -> bool {
        self.overlap.as_ref().is_some_and(|it| it.next.is_some())
    }

    /// Reads what the present connection has received. Ready with whether its stream goes
    /// on.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while self.has_reader && self.events.len() < MOST_EVENTS + MOST_DRAINED {
            let Some(present) = &mut self.halves.redial.connection else {
                break;
            };
            match Pin::new(present).try_poll_next(cx) {
                Poll::Ready(Some(Ok(item))) => self.events.push_back(SessionEvent::Item(item)),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
                Poll::Pending => {
                    // Tokio lets a task read only so much in one poll. After that,
                    // everything looks pending, also a timer whose time has come.
                    let next = self.overlap.as_mut().and_then(|it| it.next.as_mut());
                    if let Some(next) = next {
                        let past = next.since.instant(0);
                        ready!(next.timer.as_mut().poll_until(past, cx));
                    }
                    break;
                }
            }
        }
        Poll::Ready(true)
    }

    /// The new connection takes the place of the present one.
    fn switch(&mut self, is_read: bool) {
        let Some(next) = self.overlap.as_mut().and_then(|it| it.next.take()) else {
            return;
        };
        let old = self.halves.redial.connection.replace(next.connection);
        let step = if is_read { Step::Drains } else { Step::Closes };
        self.keep_old(old, is_read, step);
        self.halves.renewed();
        self.begin_watch();
        self.push(SessionEvent::Up);
    }

    /// The present connection ends, and its successor is up: that is no loss. Whether it
    /// is so.
    pub(super) fn is_succeeded(&mut self, ending: Ending, has_failed: bool) -> bool {
        if !self.has_next() {
            return false;
        }
        self.switch(false);
        if has_failed || matches!(ending, Ending::Silent(_)) {
            self.drop_old();
        }
        true
    }

    /// What follows concerns the connection that is up, if it did not take its place yet.
    pub(super) fn switch_now(&mut self) {
        if self.has_next() {
            self.switch(true);
        }
    }

    /// The present connection is closed before the next one is made.
    fn make_room(&mut self) {
        let old = self.halves.redial.connection.take();
        self.keep_old(old, true, Step::ClosesFirst);
        self.halves.end(Ending::MakesRoom, None);
        let verdict = Verdict::Retry(Cause::Busy);
        self.push(SessionEvent::down(None, verdict));
    }

    fn keep_old(&mut self, old: Option<C::Connection>, is_read: bool, step: Step) {
        let old = old.map(|connection| Old {
            connection,
            is_ready: mem::take(&mut self.sending.ready),
            is_read,
            unflushed: mem::take(&mut self.sending.unflushed),
            lost_later: 0,
            step,
            stopwatch: Stopwatch::start(),
            timer: Box::pin(Sleep::unset()),
        });
        self.overlap.get_or_insert_default().old = old;
    }

    /// The connection that was replaced closes now.
    pub(super) fn hurry(&mut self) {
        if let Some(old) = self.old() {
            if old.step == Step::Drains {
                old.enter(Step::Closes);
            }
        }
    }

    /// Flushes the connection that was replaced, and closes it in time.
    pub(super) fn poll_old(&mut self, cx: &mut Context<'_>) {
        let finish = self.finish;
        let Some(old) = self.overlap.as_mut().and_then(|it| it.old.as_mut()) else {
            return;
        };
        let mut is_over = false;
        if old.unflushed > 0 {
            let flushed = finish.map(|finish| finish(Last::Flush(&mut old.connection, cx)));
            match flushed {
                Some(Poll::Ready(Ok(()))) => {
                    let flushed = mem::take(&mut old.unflushed);
                    let later = old.lost_later + self.sending.unflushed;
                    if let Some(finish) = finish {
                        let _ = finish(Last::Forget(&mut self.kept, flushed, later));
                    }
                    self.halves.wake();
                }
                Some(Poll::Ready(Err(_))) => is_over = true,
                Some(Poll::Pending) | None => {}
            }
        }
        if old.step == Step::Drains && old.poll_timer(cx).is_ready() {
            old.enter(Step::Closes);
        }
        if old.step != Step::Drains {
            let closed = match finish {
                Some(finish) => finish(Last::Close(&mut old.connection, cx)),
                // Nothing was ever sent.
                None => Poll::Ready(Ok(())),
            };
            match closed {
                Poll::Ready(Ok(())) => {
                    let flushed = mem::take(&mut old.unflushed);
                    let later = old.lost_later + self.sending.unflushed;
                    if let (Some(finish), 1..) = (finish, flushed) {
                        let _ = finish(Last::Forget(&mut self.kept, flushed, later));
                    }
                    is_over = true;
                }
                Poll::Ready(Err(_)) => is_over = true,
                Poll::Pending => is_over |= old.poll_timer(cx).is_ready(),
            }
        }
        if is_over {
            self.drop_old();
        }
    }

    /// The connection that was replaced is gone. That is no loss, except of the items that
    /// it did not flush.
    pub(super) fn drop_old(&mut self) {
        let Some(old) = self.overlap.as_mut().and_then(|it| it.old.take()) else {
            return;
        };
        self.sending.lost += old.unflushed;
        // Some may wait for its end.
        self.halves.nudge();
    }

    /// The session ends.
    pub(super) fn drop_all_others(&mut self) {
        self.drop_old();
        self.overlap = None;
    }

    /// An item of the connection that was replaced.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Option<Item<C>> {
        let overlap = self.overlap.as_mut()?;
        overlap.is_late = false;
        let old = overlap.old.as_mut()?;
        if !old.is_read {
            return None;
        }
        match Pin::new(&mut old.connection).try_poll_next(cx) {
            Poll::Ready(Some(Ok(item))) => {
                overlap.is_late = true;
                Some(item)
            }
            Poll::Ready(Some(Err(_))) => {
                self.drop_old();
                None
            }
            Poll::Ready(None) => {
                old.is_read = false;
                self.hurry();
                self.halves.nudge();
                None
            }
            Poll::Pending => None,
        }
    }

    /// Whether the connection that was replaced must close before another one is made. If
    /// so, it goes on with that.
    pub(super) fn closes_first(&mut self, half: Half, cx: &Context<'_>) -> bool {
        if self.old().is_none_or(|old| old.step != Step::ClosesFirst) {
            return false;
        }
        self.halves.wait_for_both(half, cx);
        let waker = self.halves.waker_of_both();
        self.poll_old(&mut Context::from_waker(&waker));
        self.old().is_some()
    }

    /// Items of the present connection are lost.
    pub(super) fn lost_later(&mut self, items: usize) {
        if let Some(old) = self.old() {
            old.lost_later += items;
        }
    }

    /// How many of the copies that are kept last must stay: they are of items that can
    /// still be flushed, or come after such items.
    pub(super) fn flushable(&self) -> usize {
        let old = self.overlap.as_ref().and_then(|it| it.old.as_ref());
        let before = match old {
            Some(old) if old.unflushed > 0 => old.unflushed + old.lost_later,
            _ => 0,
        };
        before + self.sending.unflushed
    }

    /// Pending while the connection that was replaced has items that are not flushed. It
    /// was polled before.
    #[cold]
    pub(super) fn flush_of_old(&self) -> Poll<Result<(), SendError>> {
        let old = self.overlap.as_ref().and_then(|it| it.old.as_ref());
        match old {
            Some(old) if old.unflushed > 0 => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Whether the connection that was replaced has promised a place, which is taken now.
    pub(super) fn has_promised(&mut self) -> bool {
        let Some(old) = self.old() else { return false };
        let has_promised = mem::take(&mut old.is_ready);
        old.unflushed += has_promised as usize;
        has_promised
    }

    pub(super) fn old_sink(&mut self) -> Option<&mut C::Connection> {
        self.old().map(|old| &mut old.connection)
    }

    /// The session ends. Whether the connection that was replaced must still be closed.
    pub(super) fn closes_old(&mut self, cx: &Context<'_>) -> bool {
        self.switch_now();
        if self.old().is_none() {
            return false;
        }
        self.hurry();
        let _ = self.renew(Half::Write, cx);
        self.old().is_some()
    }

    /// The present connection has promised a place.
    pub(super) fn no_other_promise(&mut self) {
        if let Some(old) = self.old() {
            old.is_ready = false;
        }
    }
}
