//! The time that tickets are on, and what it says about a ticket.

use core::time::Duration;

use super::ticket::Claim;

const SECOND: i64 = 1_000_000;
/// So long after its instant a ticket is honoured, in µs: a client that comes later has
/// missed its slot.
const LATE: i64 = 60 * SECOND;
/// If two readings of the time differ by less, they are of one clock. The same goes for
/// two front ends.
const SLACK: i64 = SECOND;

/// So long before its instant a ticket is honoured, in µs: a second and 2 % of its wait,
/// because the client's clock is not the server's.
const fn early(wait: i64) -> i64 {
    SECOND + wait / 50
}

/// An instant, on the clock that the server counts on, and on the one that tickets are on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// In µs since an instant that the server chose. It does not go back.
    ticks: i64,
    /// In µs since 1970. It may go back, or jump.
    time: i64,
}

impl Now {
    pub(super) fn new(ticks: Duration, time: Duration) -> Self {
        Self {
            ticks: micros(ticks),
            time: micros(time),
        }
    }
}

/// In µs, and at most 73 000 years, so that sums of a few do not overflow.
fn micros(time: Duration) -> i64 {
    const LONGEST: i64 = i64::MAX / 4;
    i64::try_from(time.as_micros()).map_or(LONGEST, |time| time.min(LONGEST))
}

/// Whole ms, rounded up.
fn millis(micros: i64) -> u64 {
    micros.max(0).unsigned_abs().div_ceil(1000)
}

/// What the time says about a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Its instant has come.
    Due,
    /// Its instant comes after so many ms.
    Early(u64),
    /// Its instant was too long ago, or before the server began, or the ticket is from
    /// the future.
    Void,
}

/// The time that tickets are on: that of a shared counter, or the wall clock's.
///
/// That time can jump. Until the last ticket that was given before has expired, tickets
/// are honoured by the time before the jump, too.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// From ticks to the time.
    offset: Option<i64>,
    /// The same, before the last jump.
    before: Option<Before>,
    /// When the last ticket expires that this server knows of, in ticks.
    over: i64,
    /// When this server first read the time, in ticks.
    began: Option<i64>,
    /// The last slot of a client that was refused, in ticks.
    refused: i64,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    offset: i64,
    /// From then on no ticket depends on it, in ticks.
    until: i64,
}

impl Times {
    /// Reads the time.
    pub(super) fn set(&mut self, now: Now) {
        self.began.get_or_insert(now.ticks);
        let offset = now.time - now.ticks;
        let old = self.offset.replace(offset).unwrap_or(offset);
        if old.abs_diff(offset) > SLACK.unsigned_abs() {
            // Only the last jump counts. So two times that alternate, because two
            // machines do, both stay.
            self.before = Some(Before {
                offset: old,
                until: self.over,
            });
        }
    }

    /// The wait of a client that is refused: at least so long, and at least a `period`
    /// longer than that of the one before.
    pub(super) fn refuse(&mut self, now: Now, wait: Duration, period: Duration) -> Duration {
        let after_the_last = self.refused + micros(period);
        self.refused = (now.ticks + micros(wait)).max(after_the_last);
        Duration::from_micros((self.refused - now.ticks).unsigned_abs())
    }

    /// What the ticket says of a client that must wait so long from now on.
    pub(super) fn claim(&mut self, now: Now, wait: Duration) -> Claim {
        let wait = u32::try_from(millis(micros(wait))).unwrap_or(u32::MAX);
        let slot = now.ticks + i64::from(wait) * 1000;
        self.over = self.over.max(slot + LATE);
        let due = slot + self.offset.unwrap_or_default();
        Claim {
            // Rounded down, or the rest of the wait could be more than the wait.
            due: (due.max(0).unsigned_abs() / 1000).min(Claim::LAST),
            wait,
        }
    }

    /// What the time says about a ticket, and the time before a jump.
    pub(super) fn judge(&mut self, now: Now, claim: Claim) -> Judged {
        let began = self.began.unwrap_or(now.ticks);
        let [time, before] = self
            .offsets(now)
            .map(|offset| judge(began + offset, now.ticks + offset, claim));
        let judged = match (time, before) {
            (Judged::Due, _) | (_, Judged::Due) => Judged::Due,
            (Judged::Early(one), Judged::Early(other)) => Judged::Early(one.min(other)),
            (Judged::Void, judged) | (judged, Judged::Void) => judged,
        };
        if let Judged::Early(left) = judged {
            // Another front end gave it.
            self.over = self.over.max(now.ticks + left as i64 * 1000 + LATE);
        }
        judged
    }

    /// Tickets for an instant before this one have expired, whatever time counts; in ms
    /// since 1970.
    pub(super) fn expired(&self, now: Now) -> u64 {
        let [time, before] = self.offsets(now).map(|offset| now.ticks + offset - LATE);
        time.min(before).max(0).unsigned_abs() / 1000
    }

    /// The times that count; twice the same if there was no jump.
    fn offsets(&self, now: Now) -> [i64; 2] {
        let offset = self.offset.unwrap_or_default();
        let before = self.before.filter(|before| now.ticks < before.until);
        [offset, before.map_or(offset, |before| before.offset)]
    }
}

/// What a time in µs since 1970 says about a ticket, to a server that began at another.
fn judge(began: i64, time: i64, Claim { due, wait }: Claim) -> Judged {
    let (due, wait) = (due as i64 * 1000, i64::from(wait) * 1000);
    let left = due - time;
    if due < began - SLACK {
        // Another server took it, or this one did before a restart.
        Judged::Void
    } else if left <= -LATE || left > wait + SLACK {
        Judged::Void
    } else if left <= early(wait) {
        Judged::Due
    } else {
        Judged::Early(millis(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_800_000_000 * SECOND;

    fn claim(due: i64, wait: i64) -> Claim {
        Claim {
            due: (due / 1000) as u64,
            wait: (wait / 1000) as u32,
        }
    }

    #[test]
    fn a_ticket_counts_from_a_second_and_2_percent_of_its_wait_early_until_a_minute_late() {
        let ten = claim(NOON, 10 * SECOND);
        let early = 1_200_000;
        assert_eq!(judge(0, NOON - early - 1, ten), Judged::Early(1_201));
        for time in [-early, 0, LATE - 1] {
            assert_eq!(judge(0, NOON + time, ten), Judged::Due);
        }
        assert_eq!(judge(0, NOON + LATE, ten), Judged::Void);
    }

    #[test]
    fn a_ticket_from_the_future_is_void() {
        let ten = claim(NOON, 10 * SECOND);
        assert_eq!(judge(0, NOON - 11 * SECOND, ten), Judged::Early(11_000));
        assert_eq!(judge(0, NOON - 11 * SECOND - 1, ten), Judged::Void);
    }

    #[test]
    fn a_ticket_for_an_instant_before_the_server_began_is_void() {
        let ten = claim(NOON, 10 * SECOND);
        for (began, judged) in [
            (NOON + SLACK, Judged::Due),
            (NOON + SLACK + 1, Judged::Void),
        ] {
            assert_eq!(judge(began, began, ten), judged);
        }
    }

    #[test]
    fn extreme_instants_do_not_overflow() {
        let ends = [Duration::ZERO, Duration::from_millis(1), Duration::MAX];
        for (ticks, time) in ends.iter().flat_map(|a| ends.map(|b| (*a, b))) {
            let now = Now::new(ticks, time);
            for next in ends.iter().flat_map(|a| ends.map(|b| Now::new(*a, b))) {
                let mut times = Times::default();
                times.set(now);
                for wait in ends {
                    times.refuse(next, wait, wait);
                    let claim = times.claim(next, wait);
                    times.judge(next, claim);
                }
                times.set(next);
                for due in [0, Claim::LAST] {
                    for wait in [0, u32::MAX] {
                        times.judge(now, Claim { due, wait });
                        times.judge(next, Claim { due, wait });
                    }
                }
                times.expired(next);
            }
        }
    }

    /// A clock that begins at noon and jumps, and a server that reads it.
    struct Server {
        times: Times,
        ticks: i64,
        jumped: i64,
    }

    impl Server {
        fn new() -> Self {
            Self {
                times: Times::default(),
                ticks: 0,
                jumped: 0,
            }
        }

        fn now(&mut self) -> Now {
            let now = Now {
                ticks: self.ticks,
                time: NOON + self.ticks + self.jumped,
            };
            self.times.set(now);
            now
        }

        fn give(&mut self, seconds: u64) -> Claim {
            let now = self.now();
            self.times.claim(now, Duration::from_secs(seconds))
        }

        fn show(&mut self, ticket: Claim) -> Judged {
            let now = self.now();
            self.times.judge(now, ticket)
        }

        fn after(&mut self, seconds: i64) -> &mut Self {
            self.ticks += seconds * SECOND;
            self
        }

        fn jump(&mut self, seconds: i64) -> &mut Self {
            self.jumped += seconds * SECOND;
            self
        }
    }

    const JUMPS: [i64; 6] = [-3600, -90, -2, 2, 90, 3600];

    #[test]
    fn tickets_keep_their_slots_if_the_clock_jumps() {
        for jump in JUMPS {
            let mut server = Server::new();
            let (near, far) = (server.give(10), server.give(600));
            server.after(3).jump(jump);
            // After a jump by 2 s nobody can tell by which time it was given.
            let shown = server.show(near);
            assert!(matches!(shown, Judged::Early(5_000..=7_000)), "{shown:?}");
            // Beside those of the new time.
            let new = server.give(10);
            assert_eq!(server.after(7).show(near), Judged::Due, "by {jump} s");
            assert_eq!(server.after(3).show(new), Judged::Due, "by {jump} s");
            assert!(matches!(server.show(far), Judged::Early(_)));
            assert_eq!(server.after(587).show(far), Judged::Due, "by {jump} s");
        }
    }

    #[test]
    fn the_time_before_a_jump_ends_with_the_last_ticket_that_was_given_by_it() {
        for jump in JUMPS {
            let mut server = Server::new();
            let ticket = server.give(100);
            server.after(1).jump(jump).now();
            server.ticks = 160 * SECOND - 1;
            assert_eq!(server.show(ticket), Judged::Due, "by {jump} s");
            server.ticks = 160 * SECOND;
            let now = server.now();
            let [time, before] = server.times.offsets(now);
            assert_eq!(time, before, "by {jump} s");
        }
    }

    #[test]
    fn two_clocks_that_alternate_are_both_kept() {
        let mut server = Server::new();
        let tickets: [_; 4] = core::array::from_fn(|n| {
            if n > 0 {
                server.jump([3600, -3600][n % 2]);
            }
            server.after(1).give(100)
        });
        for (second, ticket) in tickets.into_iter().enumerate() {
            server.ticks = (101 + second as i64) * SECOND;
            assert_eq!(server.show(ticket), Judged::Due);
        }
    }

    #[test]
    fn a_clock_that_is_slewed_is_followed() {
        let mut server = Server::new();
        for _ in 0..1000 {
            server.after(1);
            server.jumped += SECOND / 2;
            let ticket = server.give(10);
            assert_eq!(
                ticket.due as i64,
                (NOON + server.ticks + server.jumped) / 1000 + 10_000
            );
            assert!(server.times.before.is_none());
        }
    }

    #[test]
    fn what_has_expired_has_expired_by_both_times() {
        for jump in JUMPS {
            let mut server = Server::new();
            server.give(1000);
            server.after(500).jump(jump);
            let now = server.now();
            let by_both = NOON + 500 * SECOND + (jump * SECOND).min(0) - LATE;
            assert_eq!(server.times.expired(now) as i64, by_both / 1000);
            let ticket = claim(by_both - 1000, 0);
            assert_eq!(server.show(ticket), Judged::Void);
        }
    }
}
