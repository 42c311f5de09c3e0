//! What has arrived and may not be read yet.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use super::trouble::Trouble;
use crate::clock::Sleep;

/// A queue of what a connection gave, each with its time of arrival.
pub(super) struct Inbox<T> {
    held: VecDeque<(u64, T)>,
    sleep: Pin<Box<Sleep>>,
    latest: u64,
}

/// What is on its way at most, of a connection that always has more.
const ROOM: usize = 64;

impl<T> Inbox<T> {
    pub(super) fn new() -> Self {
        Self {
            held: VecDeque::new(),
            sleep: Box::pin(Sleep::unset()),
            latest: 0,
        }
    }

    /// Takes what `poll` has. Without a delay nothing is read ahead.
    pub(super) fn fill(&mut self, trouble: &mut Trouble, mut poll: impl FnMut() -> Poll<T>) {
        let room = if trouble.is_delayed() { ROOM } else { 1 };
        while self.held.len() < room {
            let Poll::Ready(item) = poll() else { break };
            // One that comes later is not read before.
            self.latest = self.latest.max(trouble.arrival());
            self.held.push_back((self.latest, item));
        }
    }

    /// The first of the queue, once it may be read.
    pub(super) fn poll_first(&mut self, trouble: &Trouble, cx: &mut Context<'_>) -> Poll<&mut T> {
        let Some((at, first)) = self.held.front_mut() else {
            return Poll::Pending;
        };
        ready!(trouble.poll_arrival(self.sleep.as_mut(), *at, cx));
        Poll::Ready(first)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.held.pop_front().map(|(_, item)| item)
    }
}
