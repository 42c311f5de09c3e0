//! A server's queue that serves the newest attempt first.

use alloc::vec::Vec;

use super::Storm;

/// The attempts that wait, the newest last. Times are in nanoseconds since the loss.
///
/// Which attempt is served when depends on those that come later. So the server is
/// moved on to the present before anything else happens in it.
pub(super) struct Stack {
    waiting: Vec<(u64, u32)>,
    /// When the server is done with its present handshake.
    free: f64,
    handshake: f64,
    most: u64,
    pub(super) served: u64,
}

impl Stack {
    /// The stack of a server of this storm, if it has one.
    pub(super) fn of(storm: &Storm) -> Option<Self> {
        let most = storm.server.newest_first?;
        Some(Self::new(1e9 / storm.capacity, most))
    }

    /// Attempts that have waited for more than `most` are dropped.
    fn new(handshake: f64, most: u64) -> Self {
        Self {
            waiting: Vec::new(),
            free: 0.0,
            handshake,
            most,
            served: 0,
        }
    }

    /// An attempt of `client` arrives. The server was moved on to this time before.
    pub(super) fn push(&mut self, now: u64, client: u32) {
        self.waiting.push((now, client));
    }

    /// The next handshake that begins before `now`: when its attempt arrived, whose it
    /// is, and when it is done.
    pub(super) fn serve(&mut self, now: u64) -> Option<(u64, u32, u64)> {
        let &(arrived, client) = self.waiting.last()?;
        let begins = self.free.max(arrived as f64);
        if begins >= now as f64 {
            return None;
        }
        if begins - arrived as f64 > self.most as f64 {
            // All others are older.
            self.waiting.clear();
            return None;
        }
        self.waiting.pop();
        self.free = begins + self.handshake;
        self.served += 1;
        Some((arrived, client, self.free as u64))
    }
}
