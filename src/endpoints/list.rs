//! The list of servers, and who must know when it is replaced.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::Waker;

use crate::sync::{Mutex, lock};

/// A list of servers that connectors share.
pub(super) struct List<S>(Mutex<State<S>>);

struct State<S> {
    servers: Arc<[S]>,
    /// How often the list was replaced.
    version: u64,
    /// A seat for each connector, and in it the task that has an attempt in flight.
    seats: Vec<Seat>,
}

#[derive(Default)]
struct Seat {
    is_taken: bool,
    waker: Option<Waker>,
}

impl<S> List<S> {
    pub(super) fn new(servers: Vec<S>) -> Self {
        Self(Mutex::new(State {
            servers: servers.into(),
            version: 0,
            seats: Vec::new(),
        }))
    }

    /// The version of the list, and the list.
    pub(super) fn look(&self) -> (u64, Arc<[S]>) {
        let state = lock(&self.0);
        (state.version, state.servers.clone())
    }

    /// The list, if it is not of this version. Otherwise the task of `waker` is woken when
    /// it is replaced.
    pub(super) fn await_change(
        &self,
        version: u64,
        seat: usize,
        waker: Option<&Waker>,
    ) -> Option<(u64, Arc<[S]>)> {
        let mut state = lock(&self.0);
        let seat = &mut state.seats[seat];
        // A waker of a program may do anything when it is dropped, so not under the lock.
        let mut before = None;
        if let Some(waker) = waker {
            if !seat.waker.as_ref().is_some_and(|it| it.will_wake(waker)) {
                before = seat.waker.replace(waker.clone());
            }
        }
        let changed = (state.version != version).then(|| (state.version, state.servers.clone()));
        drop(state);
        drop(before);
        changed
    }

    /// No task waits for another list.
    pub(super) fn await_nothing(&self, seat: usize) {
        let before = lock(&self.0).seats[seat].waker.take();
        drop(before);
    }

    pub(super) fn replace(&self, servers: Vec<S>) {
        let mut state = lock(&self.0);
        let before = mem::replace(&mut state.servers, servers.into());
        state.version += 1;
        let wakers: Vec<Waker> = state
            .seats
            .iter_mut()
            .filter_map(|seat| seat.waker.take())
            .collect();
        drop(state);
        drop(before);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn take_seat(&self) -> usize {
        let mut state = lock(&self.0);
        let free = state.seats.iter().position(|seat| !seat.is_taken);
        let seat = free.unwrap_or_else(|| {
            state.seats.push(Seat::default());
            state.seats.len() - 1
        });
        state.seats[seat].is_taken = true;
        seat
    }

    pub(super) fn leave_seat(&self, seat: usize) {
        let mut state = lock(&self.0);
        let before = mem::take(&mut state.seats[seat]);
        drop(state);
        drop(before);
    }
}
