//! Advice on errors: stops that must come twice, and who must act.

use alloc::boxed::Box;
use core::mem;
use core::time::Duration;

use super::maybe_send::MaybeSend;
use super::state::{Core, Phase};
use crate::advice::{Actor, Advice, StopOnRepeat};
use crate::policy::Policy;
use crate::verdict::Verdict;

/// A closure that gives advice on errors, and the count of the stops that it advised.
pub(super) struct Advised<E> {
    advise: Box<dyn Advise<E>>,
    stops: StopOnRepeat,
    /// A person asked for the attempt that is made or comes next.
    is_asked_for: bool,
}

/// A closure that gives advice on errors.
pub(super) trait Advise<E>: FnMut(&E) -> Option<Advice> + MaybeSend {}
impl<E, F: FnMut(&E) -> Option<Advice> + MaybeSend> Advise<E> for F {}

impl<E, P: Policy> Core<E, P> {
    /// Takes advice from now on. The count of stops goes on.
    pub(super) fn advise(&mut self, advise: Box<dyn Advise<E>>) {
        let known = self.extras().advised.take();
        let mut stops = known.map_or_else(StopOnRepeat::new, |known| known.stops);
        // An outage may be that of a first connect. But a wrong retry costs less than a
        // wrong stop.
        if self.outage.is_ongoing() || self.extras().restored.is_some() {
            stops.was_connected();
        }
        if let Phase::Up { .. } = self.phase {
            stops.connected(Duration::from_nanos(self.now()));
        }
        let extras = self.extras();
        extras.classify = None;
        extras.advised = Some(Box::new(Advised {
            advise,
            stops,
            is_asked_for: false,
        }));
    }

    /// As `judge`, by the advice on the error.
    #[cold]
    pub(super) fn judge_advised(&mut self, error: &E) -> Verdict {
        let now = Duration::from_nanos(self.now());
        let by_kind = self.judge;
        let extras = self.extras();
        let Some(advised) = &mut extras.advised else {
            return by_kind(error, None);
        };
        let is_asked_for = mem::take(&mut advised.is_asked_for);
        let advice = (advised.advise)(error);
        extras.actor = advice.and_then(Advice::actor);
        extras.is_elsewhere = advice.is_some_and(Advice::is_elsewhere);
        extras.is_for_all = advice.is_some_and(Advice::needs_repeat);
        if advice.is_some_and(Advice::is_one_at_a_time) {
            self.set_one_at_a_time();
        }
        let extras = self.extras();
        let Some(advised) = &mut extras.advised else {
            return by_kind(error, None);
        };
        match advice {
            Some(advice) if extras.unattended => advised.stops.judge(advice.unattended(), now),
            Some(advice) if is_asked_for => advice.verdict(),
            Some(advice) => advised.stops.judge(advice, now),
            None => by_kind(error, None),
        }
    }

    /// Who must act, as the advice on the last error says.
    #[inline]
    pub(super) fn actor(&self) -> Option<Actor> {
        self.extras.as_ref()?.actor
    }

    /// Nobody must act any more: a connection came up, something without an error
    /// happened, or a new outage begins.
    #[inline]
    pub(super) fn clear_actor(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.actor = None;
        }
    }

    /// Counts what happens to the connection, or to the attempt, if there is a count.
    #[inline]
    pub(super) fn count(&mut self, what: What) {
        if self.extras.as_ref().is_some_and(|it| it.advised.is_some()) {
            self.count_now(what);
        }
    }

    #[cold]
    fn count_now(&mut self, what: What) {
        let now = Duration::from_nanos(self.now());
        let Some(advised) = self.extras().advised.as_deref_mut() else {
            return;
        };
        match what {
            What::Connected => {
                advised.is_asked_for = false;
                advised.stops.connected(now);
            }
            What::Lost => advised.stops.lost(now),
            What::Restored => {
                advised.is_asked_for = false;
                advised.stops = StopOnRepeat::restored();
            }
            What::AskedFor => advised.is_asked_for = true,
            What::NoAnswer => advised.is_asked_for = false,
        }
    }
}

/// What the count of stops must know.
#[derive(Clone, Copy)]
pub(super) enum What {
    /// A connection came up.
    Connected,
    /// The connection is gone.
    Lost,
    /// An outage goes on that another run of the program has saved.
    Restored,
    /// A person asks for the attempt that comes next, and watches it.
    AskedFor,
    /// An attempt has failed without an error.
    NoAnswer,
}
