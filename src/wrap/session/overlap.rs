//! How a session moves from one connection to the next while both live.

use alloc::boxed::Box;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use futures_core::stream::TryStream;

use super::event::SessionEvent;
use super::live::MOST_DRAINED;
use super::old::{Old, Step};
use super::{End, MOST_EVENTS, Session};
use crate::clock::{Sleep, Stopwatch};
use crate::control::Ending;
use crate::driver::{Connect, Turn};
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;
use crate::wrap::halves::Half;

/// After so many items in a row the session looks whether a renewal is due, also if there
/// are more.
const MANY_ITEMS: u8 = 64;

/// What a session has only if its connections are renewed.
pub(super) struct Overlap<N> {
    /// The connection that was replaced, while it lives.
    pub(super) old: Option<Old<N>>,
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

    /// The session ends.
    pub(super) fn drop_all_others(&mut self) {
        self.drop_old();
        self.overlap = None;
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
}
