//! A clone of a shared connection, which knows where it comes from.

use alloc::sync::{Arc, Weak};
use core::fmt;
use core::ops::{Deref, DerefMut};

use super::{Inner, Shared};
use crate::driver::{Connect, Redial};
use crate::policy::{Policy, Stratified};
use crate::sync::lock;

/// A clone of the connection of a [`Shared`]; made by [`Shared::ready`] and
/// [`Shared::get`].
///
/// It derefs to the connection. It knows the [`Shared`] that it comes from and
/// which of its connections it is, so a late report of a loss cannot end a newer
/// connection. It does not keep the driver: once every [`Shared`] is dropped, a
/// report does nothing.
///
/// If the connection has a method of the same name as one of these, call it by
/// `(*lent).lost()`.
pub struct Lent<C: Connect, P: Policy = Stratified> {
    connection: C::Connection,
    pub(super) generation: u64,
    /// Weak, so that dropping the last `Shared` still closes the driver.
    pub(super) owner: Weak<Inner<C, P>>,
}

impl<C: Connect, P: Policy> Lent<C, P> {
    pub(super) fn new(
        connection: C::Connection,
        generation: u64,
        owner: &Arc<Inner<C, P>>,
    ) -> Self {
        Self {
            connection,
            generation,
            owner: Arc::downgrade(owner),
        }
    }

    /// The connection by itself.
    pub fn into_inner(self) -> C::Connection {
        self.connection
    }

    /// The number of the connection, counted from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Reports this connection as lost.
    ///
    /// The first report ends the connection. Later reports, and reports of an
    /// older connection, do nothing.
    pub fn lost(&self) {
        self.report(Redial::lost);
    }

    /// As [`lost`](Self::lost), with an error for the
    /// [classifier](Redial::classify) to judge.
    pub fn lost_with(&self, error: C::Error) {
        self.report(|redial| redial.lost_with(error));
    }

    /// Reports that this connection did its work; see [`Redial::healed`].
    pub fn healed(&self) {
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        let mut state = lock(&owner.state);
        if state.generation == self.generation {
            state.redial.healed();
        }
    }

    /// As [`lost`](Self::lost), if the server closes the connection in good order:
    /// after a GOAWAY, for instance. See [`Redial::ended`].
    pub fn ended(&self) {
        self.report(Redial::ended);
    }

    /// Calls `report` if this is the present connection.
    fn report(&self, report: impl FnOnce(&mut Redial<C, P>)) {
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        // The program may use the `Shared` in the `Drop` of its connection. So the
        // connection is declared before the lock, and dropped after the lock is
        // released, even if the classifier or an observer panics.
        let _gone;
        let mut state = lock(&owner.state);
        if state.generation == self.generation {
            _gone = state.redial.connection.take();
            report(&mut state.redial);
            drop(state);
            // Some may wait for the end of this connection.
            owner.waiting.wake_all();
        }
    }

    /// Whether no other connection has taken its place, and it was not lost or ended by
    /// a handle.
    #[cfg(feature = "tower")]
    pub(crate) fn is_present(&self) -> bool {
        let Some(owner) = self.owner.upgrade() else {
            return false;
        };
        // Dropped after the lock, as in `report`.
        let _gone;
        let mut state = lock(&owner.state);
        _gone = state.redial.obey();
        state.generation == self.generation && state.redial.connection.is_some()
    }

    /// Whether this is a connection of `shared`.
    pub(super) fn is_of(&self, shared: &Shared<C, P>) -> bool {
        Weak::as_ptr(&self.owner) == Arc::as_ptr(&shared.inner)
    }
}

impl<C: Connect, P: Policy> Deref for Lent<C, P> {
    type Target = C::Connection;

    fn deref(&self) -> &C::Connection {
        &self.connection
    }
}

impl<C: Connect, P: Policy> DerefMut for Lent<C, P> {
    fn deref_mut(&mut self) -> &mut C::Connection {
        &mut self.connection
    }
}

impl<C: Connect<Connection: Clone>, P: Policy> Clone for Lent<C, P> {
    fn clone(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            generation: self.generation,
            owner: self.owner.clone(),
        }
    }
}

impl<C: Connect<Connection: fmt::Debug>, P: Policy> fmt::Debug for Lent<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent")
            .field("connection", &self.connection)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
