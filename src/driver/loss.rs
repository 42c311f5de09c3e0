//! How a driver learns that its connection is gone.

use super::Redial;
use super::connect::Connect;
use super::state::Phase;
use crate::policy::{Cause, Policy};
use crate::verdict::Verdict;

impl<C: Connect, P: Policy> Redial<C, P> {
    /// Reports that the connection is gone. The next [`ready`](Self::ready)
    /// waits and makes a new one.
    ///
    /// This does nothing if there was no connection. If the server closed it in
    /// good order, call [`ended`](Self::ended). If there is an error that says
    /// more, call [`lost_with`](Self::lost_with).
    pub fn lost(&mut self) {
        self.lose(Verdict::default(), None);
    }

    /// Reports that the connection is gone, with an error for
    /// [`classify`](Self::classify) to judge: the server may have said when to
    /// come back, or that trying again cannot help.
    ///
    /// This does nothing if there was no connection.
    pub fn lost_with(&mut self, error: C::Error) {
        if let Phase::Up { .. } = self.core.phase {
            let verdict = self.judge(&error);
            self.lose(verdict, Some(&error));
            self.keep(error);
        }
    }

    /// Reports that the server closed the connection in good order, as servers
    /// do before a deployment; see [`Outage::ended`](crate::Outage::ended).
    ///
    /// This does nothing if there was no connection.
    pub fn ended(&mut self) {
        self.lose(Verdict::Retry(Cause::Busy), None);
    }

    pub(crate) fn judge(&mut self, error: &C::Error) -> Verdict {
        self.core.judge(error)
    }

    pub(crate) fn lose(&mut self, verdict: Verdict, error: Option<&C::Error>) {
        self.connection = None;
        if let Phase::Up { .. } = self.core.phase {
            self.core.lost(verdict, error);
        }
    }

    /// Stores the error of a loss, so that `GaveUp` can report it if no
    /// connection follows.
    pub(crate) fn keep(&mut self, error: C::Error) {
        if let Phase::GivingUp(_) = self.core.phase {
            self.core.set_last(Some(error));
        }
    }
}
