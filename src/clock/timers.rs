//! The deadlines of a driver.

/// Lists the timers, one a line.
macro_rules! timers {
    ($($(#[$doc:meta])+ $timer:ident,)+) => {
        /// What a driver waits for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Timer {
            $($(#[$doc])+ $timer,)+
        }

        const ALL: &[Timer] = &[$(Timer::$timer),+];
    };
}

timers! {
    /// The attempt in flight takes too long.
    Attempt,
    /// The wait is over. During an attempt: a press ends it.
    Wait,
    /// A part of a long wait is over, and the wall clock is read.
    Nap,
    /// The token that the budget promised is due.
    Budget,
}

/// An instant for each [`Timer`] that is set, in nanoseconds since the driver
/// first read its clock.
///
/// A driver sleeps until the earliest of them, so it needs only one sleep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    at: [u64; ALL.len()],
}

/// The instant of a timer that is not set. No timer is set for it: waits are
/// cut to a century.
const UNSET: u64 = u64::MAX;

impl Timers {
    pub(crate) const fn none() -> Self {
        Self {
            at: [UNSET; ALL.len()],
        }
    }

    #[inline]
    pub(crate) fn set(&mut self, timer: Timer, at: u64) {
        self.at[timer as usize] = at;
    }

    #[inline]
    pub(crate) fn stop(&mut self, timer: Timer) {
        self.at[timer as usize] = UNSET;
    }

    #[inline]
    pub(crate) fn get(&self, timer: Timer) -> Option<u64> {
        let at = self.at[timer as usize];
        (at != UNSET).then_some(at)
    }

    /// The earliest timer and its instant. Of two at the same instant it is
    /// the one that is listed first.
    pub(crate) fn next(&self) -> Option<(Timer, u64)> {
        let earliest = ALL.iter().min_by_key(|&&timer| self.at[timer as usize])?;
        self.get(*earliest).map(|at| (*earliest, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_timers_has_no_next() {
        assert_eq!(Timers::none().next(), None);
    }

    #[test]
    fn the_next_timer_is_the_earliest() {
        let mut timers = Timers::none();
        timers.set(Timer::Wait, 30);
        timers.set(Timer::Nap, 20);
        timers.set(Timer::Attempt, 40);
        assert_eq!(timers.next(), Some((Timer::Nap, 20)));
        timers.set(Timer::Nap, 35);
        assert_eq!(timers.next(), Some((Timer::Wait, 30)));
        timers.stop(Timer::Wait);
        timers.stop(Timer::Nap);
        assert_eq!(timers.next(), Some((Timer::Attempt, 40)));
    }

    #[test]
    fn a_wait_that_ends_with_its_nap_is_over() {
        let mut timers = Timers::none();
        timers.set(Timer::Nap, 20);
        timers.set(Timer::Wait, 20);
        assert_eq!(timers.next(), Some((Timer::Wait, 20)));
    }

    #[test]
    fn a_timer_is_set_until_it_is_stopped() {
        let mut timers = Timers::none();
        assert_eq!(timers.get(Timer::Budget), None);
        timers.set(Timer::Budget, 0);
        assert_eq!(timers.get(Timer::Budget), Some(0));
        timers.stop(Timer::Budget);
        assert_eq!(timers.get(Timer::Budget), None);
    }
}
