//! Which address worked.

use core::net::SocketAddr;

use crate::sync::{Mutex, lock};

/// The address that last worked. The attempts of all clones of a dial share it.
#[derive(Default)]
pub(super) struct Memory(Mutex<Option<SocketAddr>>);

impl Memory {
    pub(super) fn address(&self) -> Option<SocketAddr> {
        *lock(&self.0)
    }

    pub(super) fn worked(&self, address: SocketAddr) {
        *lock(&self.0) = Some(address);
    }

    /// One failure is enough: what was true an hour ago tells little now.
    pub(super) fn failed(&self, address: SocketAddr) {
        let mut known = lock(&self.0);
        if *known == Some(address) {
            *known = None;
        }
    }

    pub(super) fn forget(&self) {
        *lock(&self.0) = None;
    }
}
