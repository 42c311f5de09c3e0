//! An outage that is carried over a restart of the program.

use core::time::Duration;

use super::advised::What;
use super::outcome::Last;
use super::state::{Core, Phase, Plan};
use crate::clock::Stopwatch;
use crate::control::{Control, Status, WaitsFor, Why};
use crate::nanos::nanos;
use crate::outage::SavedOutage;
use crate::policy::Policy;

impl<E, P: Policy> Core<E, P> {
    /// Forgets the present outage, and goes on with `saved` when it is polled.
    pub(super) fn restore(&mut self, saved: SavedOutage) {
        self.refund();
        self.end_renewal();
        self.set_last(Last::Unknown);
        self.enter(Phase::Restored);
        self.clear_actor();
        self.count(What::Restored);
        self.extras().restored = Some(saved);
        if let Some(control) = self.control() {
            control.note(Why::default());
        }
        self.publish(|_| Status::Idle);
    }

    /// The restored outage, if it has not gone on yet.
    pub(super) fn take_restored(&mut self) -> Option<SavedOutage> {
        self.extras.as_mut()?.restored.take()
    }

    /// Goes on with the restored outage.
    pub(super) fn begin_restored(&mut self) {
        let Some(saved) = self.take_restored() else {
            self.enter(Phase::Due);
            return;
        };
        let now = self.now();
        let at = Duration::from_nanos(now);
        let next = self.outage.restore(&saved, Duration::ZERO, at);
        // What was saved does not say if the server asked for the wait. So no program
        // shortens it.
        self.obey(now, next, Plan::by(WaitsFor::Policy).whole());
    }

    /// The outage to carry over a restart of the program.
    pub(super) fn save(&self) -> Option<SavedOutage> {
        let is_up = matches!(self.phase, Phase::Up { .. });
        if is_up && self.control().is_some_and(Control::is_healed) {
            return None;
        }
        if let Some(restored) = self.extras.as_ref().and_then(|it| it.restored.as_ref()) {
            return Some(restored.clone());
        }
        let now = self.stopwatch.as_ref().map(Stopwatch::elapsed);
        let now = now.unwrap_or_default();
        let saved = self.outage.save(now)?;
        Some(match self.wait_ends() {
            // The machine knows neither of the budget nor of a device's sleep.
            Some(at) => {
                let left = at.saturating_sub(nanos(now));
                saved.with_wait(Duration::from_nanos(left))
            }
            None => saved,
        })
    }
}
