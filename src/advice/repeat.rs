//! A stop that must come more than once.

use core::time::Duration;

use super::{Advice, Proof};
use crate::policy::Cause;
use crate::verdict::Verdict;

/// Believes a stop only after it has been repeated, if its table asks for that.
///
/// - If this client was never connected, a stop counts at once: the settings are new,
///   and somebody watches.
/// - Otherwise the first such stop is a retry. The same stop becomes
///   [`Stop`](Verdict::Stop) if it has come as often, and over as long a time, as the
///   table says: mostly twice, with half a minute in between.
/// - After a refused login there is only one more attempt, when that time is over.
/// - A connection that lasts half a minute clears the count. A shorter one does not,
///   because many servers accept a connection first and check the login later.
///
/// Two stops are the same if their advices are equal. Answers of other kinds in
/// between change nothing.
///
/// `now` is the time on any monotonic clock, always the same one.
///
/// ```
/// use redial::codes::{StopOnRepeat, http};
/// use redial::{Cause, Verdict};
/// use std::time::Duration;
///
/// let mut stops = StopOnRepeat::new();
/// let at = Duration::from_secs;
/// let wrong_method = http::status(405).unwrap();
///
/// // Never connected: the address is wrong.
/// assert_eq!(stops.judge(wrong_method, at(0)), Verdict::Stop);
///
/// // Connected for an hour with the same settings: a deploy, perhaps.
/// stops.connected(at(10));
/// assert_eq!(stops.judge(wrong_method, at(3610)), Verdict::Retry(Cause::Busy));
/// assert_eq!(stops.judge(wrong_method, at(3620)), Verdict::Retry(Cause::Busy));
/// assert_eq!(stops.judge(wrong_method, at(3640)), Verdict::Stop);
/// ```
///
/// A [`Redial`](crate::Redial) with [`advise`](crate::Redial::advise) does all this by
/// itself. This type is for loops of your own. For a program that nobody watches, judge
/// [`advice.unattended()`](Advice::unattended). When a person has changed the settings,
/// begin with a new `StopOnRepeat`.
#[derive(Clone, Debug, Default)]
pub struct StopOnRepeat {
    was_connected: bool,
    up_since: Option<Duration>,
    /// The latest stops that are not believed yet.
    seen: [Option<Seen>; 4],
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    advice: Advice,
    first: Duration,
    last: Duration,
    times: u32,
}

/// How long a connection lasts that shows that the client's settings are right.
const LASTING: Duration = Duration::from_secs(30);

impl StopOnRepeat {
    /// For a client that was never connected.
    pub const fn new() -> Self {
        Self {
            was_connected: false,
            up_since: None,
            seen: [None; 4],
        }
    }

    /// For a client that was connected with the same settings in an earlier run of the
    /// program.
    pub const fn restored() -> Self {
        Self {
            was_connected: true,
            ..Self::new()
        }
    }

    /// The client was connected at some time.
    #[cfg(feature = "tokio")]
    pub(crate) fn was_connected(&mut self) {
        self.was_connected = true;
    }

    /// The client is connected.
    pub fn connected(&mut self, now: Duration) {
        self.clear_after_lasting(now);
        self.was_connected = true;
        self.up_since = Some(now);
    }

    /// The connection is gone. Without this call it counts as up until the next call of
    /// another method.
    pub fn lost(&mut self, now: Duration) {
        self.clear_after_lasting(now);
    }

    /// The verdict on an advice that comes now.
    pub fn judge(&mut self, advice: Advice, now: Duration) -> Verdict {
        self.clear_after_lasting(now);
        if !advice.needs_repeat() {
            return advice.verdict();
        }
        match advice.proof() {
            Proof::Once => advice.verdict(),
            Proof::Repeated { .. } if !self.was_connected => Verdict::Stop,
            Proof::Repeated {
                times,
                over,
                is_spaced,
            } => {
                let seen = self.count(advice, now);
                let passed = now.saturating_sub(seen.first);
                if seen.times >= u32::from(times) && passed >= over {
                    Verdict::Stop
                } else if is_spaced && passed < over {
                    Verdict::RetryAfter(over.saturating_sub(passed))
                } else {
                    Verdict::Retry(Cause::Busy)
                }
            }
            Proof::AgainWithin(time) => {
                let before = self.find(advice).map(|seen| seen.last);
                self.count(advice, now);
                match before {
                    Some(last) if now.saturating_sub(last) <= time => Verdict::Stop,
                    _ => Verdict::Retry(Cause::Busy),
                }
            }
        }
    }

    /// Forgets the refusals before a connection that lasted.
    fn clear_after_lasting(&mut self, now: Duration) {
        let Some(since) = self.up_since.take() else {
            return;
        };
        if now.saturating_sub(since) < LASTING {
            return;
        }
        for slot in &mut self.seen {
            if slot.is_some_and(|seen| matches!(seen.advice.proof(), Proof::Repeated { .. })) {
                *slot = None;
            }
        }
    }

    fn find(&self, advice: Advice) -> Option<Seen> {
        let mut seen = self.seen.iter().flatten();
        seen.find(|seen| seen.advice == advice).copied()
    }

    /// Counts a stop. If there is no room, it takes the place of the stop that has not
    /// come for longest.
    fn count(&mut self, advice: Advice, now: Duration) -> Seen {
        let known = self.find(advice);
        let seen = Seen {
            advice,
            first: known.map_or(now, |seen| seen.first),
            last: now,
            times: known.map_or(1, |seen| seen.times.saturating_add(1)),
        };
        let is_same = |slot: &Option<Seen>| slot.is_some_and(|seen| seen.advice == advice);
        let index = self.seen.iter().position(is_same).or_else(|| {
            let age = |&index: &usize| self.seen[index].map(|seen| seen.last);
            (0..self.seen.len()).min_by_key(age)
        });
        if let Some(slot) = index.and_then(|index| self.seen.get_mut(index)) {
            *slot = Some(seen);
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::{BUSY, LOGIN, MISSING, STOP, TAKEN_OVER, TWICE, TWICE_THERE};

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const RETRY: Verdict = Verdict::Retry(Cause::Busy);

    /// Connected from second 0, for an hour.
    fn connected() -> StopOnRepeat {
        let mut stops = StopOnRepeat::new();
        stops.connected(at(0));
        stops
    }

    #[test]
    fn a_client_that_was_never_connected_stops_at_once() {
        for advice in [TWICE, TWICE_THERE, LOGIN, MISSING] {
            let mut stops = StopOnRepeat::new();
            assert_eq!(stops.judge(BUSY, at(0)), RETRY);
            assert_eq!(stops.judge(advice, at(1)), Verdict::Stop);
        }
    }

    #[test]
    fn a_restored_client_needs_the_repeat() {
        let mut stops = StopOnRepeat::restored();
        assert_eq!(stops.judge(TWICE, at(1)), RETRY);
        assert_eq!(stops.judge(TWICE, at(31)), Verdict::Stop);
    }

    #[test]
    fn retries_and_plain_stops_pass_through() {
        let mut stops = connected();
        assert_eq!(stops.judge(BUSY, at(3600)), RETRY);
        assert_eq!(stops.judge(STOP, at(3600)), Verdict::Stop);
        let odd = BUSY.if_repeated(2, at(1));
        assert_eq!(stops.judge(odd, at(3600)), RETRY);
        assert_eq!(stops.judge(odd, at(3700)), RETRY);
    }

    #[test]
    fn the_same_stop_counts_once_its_time_has_passed() {
        let mut stops = connected();
        assert_eq!(stops.judge(TWICE, at(3600)), RETRY);
        assert_eq!(stops.judge(TWICE, at(3629)), RETRY);
        assert_eq!(stops.judge(TWICE, at(3630)), Verdict::Stop);
        // It stays believed.
        assert_eq!(stops.judge(TWICE, at(3631)), Verdict::Stop);
    }

    #[test]
    fn a_missing_place_must_be_missing_three_times_over_two_minutes() {
        let mut stops = connected();
        assert_eq!(stops.judge(MISSING, at(3600)), RETRY);
        assert_eq!(stops.judge(MISSING, at(3730)), RETRY);
        assert_eq!(stops.judge(MISSING, at(3731)), Verdict::Stop);
        let mut stops = connected();
        for second in 0..120 {
            assert_eq!(stops.judge(MISSING, at(3600 + second)), RETRY);
        }
        assert_eq!(stops.judge(MISSING, at(3720)), Verdict::Stop);
    }

    #[test]
    fn a_refused_login_is_tried_once_more_when_its_time_has_passed() {
        let mut stops = connected();
        assert_eq!(stops.judge(LOGIN, at(3600)), Verdict::RetryAfter(at(30)));
        assert_eq!(stops.judge(LOGIN, at(3610)), Verdict::RetryAfter(at(20)));
        assert_eq!(stops.judge(LOGIN, at(3630)), Verdict::Stop);
    }

    #[test]
    fn other_answers_in_between_change_nothing() {
        let mut stops = connected();
        assert_eq!(stops.judge(TWICE, at(3600)), RETRY);
        assert_eq!(stops.judge(BUSY, at(3610)), RETRY);
        assert_eq!(stops.judge(TWICE_THERE, at(3620)), RETRY);
        assert_eq!(stops.judge(TWICE, at(3630)), Verdict::Stop);
        assert_eq!(stops.judge(TWICE_THERE, at(3650)), Verdict::Stop);
    }

    #[test]
    fn a_connection_that_lasts_clears_the_count() {
        let mut stops = connected();
        assert_eq!(stops.judge(TWICE, at(3600)), RETRY);
        stops.connected(at(3610));
        assert_eq!(stops.judge(TWICE, at(3640)), RETRY);
        assert_eq!(stops.judge(TWICE, at(3670)), Verdict::Stop);
        // Also if no advice ended that connection.
        let mut stops = connected();
        assert_eq!(stops.judge(TWICE, at(3600)), RETRY);
        stops.connected(at(3610));
        stops.connected(at(7200));
        assert_eq!(stops.judge(TWICE, at(7201)), RETRY);
    }

    #[test]
    fn a_server_that_accepts_and_then_refuses_is_found_out() {
        let mut stops = connected();
        assert_eq!(stops.judge(TWICE, at(3600)), RETRY);
        stops.connected(at(3629));
        assert_eq!(stops.judge(TWICE, at(3630)), Verdict::Stop);
    }

    #[test]
    fn the_time_after_a_loss_is_no_part_of_the_connection() {
        let mut stops = connected();
        assert_eq!(stops.judge(TWICE, at(3600)), RETRY);
        stops.connected(at(3610));
        stops.lost(at(3611));
        assert_eq!(stops.judge(TWICE, at(3700)), Verdict::Stop);
    }

    #[test]
    fn a_second_takeover_within_ten_minutes_stops_across_connections() {
        let mut stops = connected();
        assert_eq!(stops.judge(TAKEN_OVER, at(3600)), RETRY);
        stops.connected(at(3610));
        assert_eq!(stops.judge(TAKEN_OVER, at(4201)), RETRY);
        stops.connected(at(4210));
        assert_eq!(stops.judge(TAKEN_OVER, at(4801)), Verdict::Stop);
    }

    #[test]
    fn more_kinds_of_stops_than_there_is_room_for_forget_the_oldest() {
        let mut stops = connected();
        let kinds = [3, 4, 5, 6, 7].map(|times| STOP.if_repeated(times, at(1)));
        for (second, kind) in (3600..).zip(kinds) {
            assert_eq!(stops.judge(kind, at(second)), RETRY);
        }
        let times = |stops: &StopOnRepeat, kind| stops.find(kind).map(|seen| seen.times);
        assert_eq!(times(&stops, kinds[0]), None);
        assert_eq!(times(&stops, kinds[1]), Some(1));
        assert_eq!(times(&stops, kinds[4]), Some(1));
    }

    #[test]
    fn a_clock_that_goes_back_stops_nothing() {
        let mut stops = connected();
        assert_eq!(stops.judge(TWICE, at(3600)), RETRY);
        assert_eq!(stops.judge(TWICE, at(0)), RETRY);
        assert_eq!(
            stops.judge(LOGIN, Duration::MAX),
            Verdict::RetryAfter(at(30))
        );
        assert_eq!(stops.judge(LOGIN, at(0)), Verdict::RetryAfter(at(30)));
    }
}
