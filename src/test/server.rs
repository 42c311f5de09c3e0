//! The side of a script that the test holds.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::Instant;

/// The server of a [`Script`](super::Script): it has the other ends of the script's
/// connections, and knows when attempts were made.
///
/// Ends that nobody accepts stay open, and so does everything if the `Server` is
/// dropped. To lose a connection from this side, accept its end and drop it.
///
/// ```
/// use redial::Redial;
/// use redial::test::{Script, paused};
/// use tokio::io::AsyncReadExt;
///
/// paused(async {
///     let (connector, mut server) = Script::new().connect().forever().bytes();
///     let mut redial = Redial::new(connector);
///     let client = redial.ready().await.unwrap();
///     drop(server.accept().await);
///     assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
/// });
/// ```
pub struct Server<S>(pub(super) Arc<Log<S>>);

/// What a connector and its server share.
pub(super) struct Log<S> {
    state: Mutex<State<S>>,
    connected: Notify,
}

struct State<S> {
    attempts: Vec<Instant>,
    connections: usize,
    waiting: VecDeque<S>,
}

impl<S> Log<S> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                attempts: Vec::new(),
                connections: 0,
                waiting: VecDeque::new(),
            }),
            connected: Notify::new(),
        })
    }

    pub(super) fn attempted(&self) {
        self.lock().attempts.push(Instant::now());
    }

    pub(super) fn connected(&self, end: S) {
        let mut state = self.lock();
        state.connections += 1;
        state.waiting.push_back(end);
        drop(state);
        self.connected.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Server<S> {
    /// The other end of the next connection, in the order in which they were made.
    /// Waits until there is one.
    ///
    /// # Cancel safety
    ///
    /// No end is lost.
    pub async fn accept(&mut self) -> S {
        loop {
            if let Some(end) = self.try_accept() {
                return end;
            }
            self.0.connected.notified().await;
        }
    }

    /// The other end of the next connection, if one was made.
    pub fn try_accept(&mut self) -> Option<S> {
        self.0.lock().waiting.pop_front()
    }

    /// How many attempts the script has seen.
    pub fn attempts(&self) -> usize {
        self.0.lock().attempts.len()
    }

    /// When each attempt began.
    pub fn attempted_at(&self) -> Vec<Instant> {
        self.0.lock().attempts.clone()
    }

    /// How many attempts have connected.
    pub fn connections(&self) -> usize {
        self.0.lock().connections
    }
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Server")
            .field("attempts", &state.attempts.len())
            .field("connections", &state.connections)
            .finish_non_exhaustive()
    }
}
