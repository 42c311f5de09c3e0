//! What a process knows of the store's clock.

use core::time::Duration;

/// A clock that moves by more than this was set.
const JUMP: u64 = 1_000_000;

/// A reading of the store's clock. The store read it between the two instants, which
/// are on this process's clock.
///
/// All times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) store: u64,
    pub(super) sent: u64,
    pub(super) arrived: u64,
}

impl Reading {
    /// The latest that the store's clock may show at `at`.
    ///
    /// As a deadline it never refuses a question that is in time, unless the clock was
    /// set since.
    pub(super) fn latest(self, at: u64) -> u64 {
        self.store.saturating_add(at.saturating_sub(self.sent))
    }

    /// What the store's clock shows at `at`. It is behind by the answer's way back.
    #[cfg(feature = "slots")]
    pub(super) fn at(self, at: u64) -> u64 {
        self.store.saturating_add(at.saturating_sub(self.arrived))
    }

    /// How far the clock was set since, and whether back, if that is more than clocks
    /// drift.
    pub(super) fn moved(self, next: Self) -> Option<(Duration, bool)> {
        let least = self.store + next.sent.saturating_sub(self.arrived);
        let elapsed = next.arrived.saturating_sub(self.sent);
        let most = self.store + elapsed;
        // No clock drifts by more than a thousandth.
        let allowed = JUMP + elapsed / 1000;
        let (by, back) = if next.store > most {
            (next.store - most, false)
        } else {
            (least.saturating_sub(next.store), true)
        };
        (by > allowed).then(|| (Duration::from_micros(by), back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;

    fn reading(store: u64, sent: u64, arrived: u64) -> Reading {
        Reading {
            store,
            sent,
            arrived,
        }
    }

    #[test]
    fn a_clock_that_was_not_set_has_not_moved() {
        let first = reading(50 * HOUR, 1_000_000, 1_200_000);
        // Both ways may have been slow.
        for (sent, arrived, store) in [
            (1_200_000, 1_400_000, 50 * HOUR),
            (1_200_000, 1_400_000, 50 * HOUR + 400_000),
            (1_000_000 + HOUR, 1_000_000 + HOUR, 51 * HOUR + 3_000_000),
        ] {
            assert_eq!(first.moved(reading(store, sent, arrived)), None);
        }
    }

    #[test]
    fn a_clock_that_was_set_has_moved_by_at_least_so_much() {
        let first = reading(50 * HOUR, 0, 1000);
        let ahead = first.moved(reading(51 * HOUR, 1000, 2000)).unwrap();
        assert_eq!(ahead, (Duration::from_micros(HOUR - 2000), false));
        let back = first.moved(reading(49 * HOUR, 1000, 2000)).unwrap();
        assert_eq!(back, (Duration::from_micros(HOUR), true));
    }

    #[test]
    fn a_deadline_is_not_too_early() {
        let first = reading(50 * HOUR, 0, 1000);
        assert_eq!(first.latest(200_000), 50 * HOUR + 200_000);
    }
}
