//! How a driver learns that its connection is gone.

use super::Redial;
use super::connect::Connect;
use super::outcome::Last;
use super::state::Phase;
use crate::control::Ending;
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
        // A handle may have said more about the same loss.
        let ending = self.take_ending();
        self.end(ending.unwrap_or(Ending::Lost(Verdict::default())), None);
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

    /// Reports that the present connection did its work. Its end then begins a new
    /// outage, however soon it comes.
    ///
    /// Without this, a connection must be up for
    /// [`stable_after`](Self::stable_after), or the waits grow: that is right for a
    /// server that accepts and drops, and wrong for useful sessions that are
    /// short. A [`Handle`](crate::Handle::healed) has the same call, for a session
    /// in [`run`](Self::run).
    ///
    /// This does nothing if there is no connection.
    pub fn healed(&mut self) {
        self.core.outage.healed();
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

    fn lose(&mut self, verdict: Verdict, error: Option<&C::Error>) {
        self.end(Ending::Lost(verdict), error);
    }

    /// Ends the connection. `error` says why it is lost.
    pub(crate) fn end(&mut self, ending: Ending, error: Option<&C::Error>) {
        self.connection = None;
        if let Phase::Up { .. } = self.core.phase {
            let has_error = error.is_some();
            let ending = self
                .core
                .server_ended(&mut self.connector, ending, has_error);
            self.core.end(ending, error);
            // An attempt beside the connection may be that of the outage now.
            if !matches!(self.core.phase, Phase::Connecting { .. }) {
                self.end_flight();
            }
        }
    }

    /// What a handle asks of the connection that is up, if anything. The caller
    /// must [end](Self::end) it so.
    pub(crate) fn take_ending(&mut self) -> Option<Ending> {
        if !self.core.is_disturbed() || !matches!(self.core.phase, Phase::Up { .. }) {
            return None;
        }
        self.take_asked();
        self.core.control()?.take_ending()
    }

    /// Does what the handles ask of the connection that is up. Returns the
    /// connection that has ended, if the driver had it.
    #[inline]
    pub(crate) fn obey(&mut self) -> Option<C::Connection> {
        if !self.core.is_disturbed() {
            return None;
        }
        self.obey_now()
    }

    #[cold]
    fn obey_now(&mut self) -> Option<C::Connection> {
        if self.core.is_closed() {
            self.end_flight();
            return self.connection.take();
        }
        let ending = self.take_ending()?;
        let gone = self.connection.take();
        self.end(ending, None);
        gone
    }

    /// Stores the error of a loss, so that `GaveUp` can report it if no connection
    /// follows, and for a connector that wants it.
    pub(crate) fn keep(&mut self, error: C::Error) {
        let gives_up = matches!(self.core.phase, Phase::GivingUp(_));
        if gives_up || self.connector.wants_last_error() {
            self.core.set_last(Last::Error(error));
        }
    }
}
