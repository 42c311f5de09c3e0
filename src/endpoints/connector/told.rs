//! What the driver tells a connector of several servers, and what it asks.

use core::mem;
use core::time::Duration;

use super::{EndpointsConnector, InFlight, Order, Up};
use crate::driver::{Connect, Ended, Limits, News, Onward, Purpose, Rounds};
use crate::nanos::nanos;
use crate::outage::AttemptPhase;
use crate::roster::{End, Judged};
use crate::verdict::Verdict;

/// A wall clock that is so much ahead of the monotonic one says that the device slept.
const SLEPT: u64 = nanos(Duration::from_secs(5));

impl<S, C, F> Rounds for EndpointsConnector<S, C, F>
where
    S: PartialEq,
    F: FnMut(&S) -> C,
    C: Connect,
{
    fn prepare(&mut self, purpose: Purpose, limits: Limits, random: &mut dyn FnMut() -> u64) {
        // The order must know the servers that came to the list since, or they could come
        // after the one that leaves.
        self.sync(None);
        self.limits = limits;
        self.goes_on = false;
        let renews = purpose != Purpose::Connection;
        let is_first = renews && !mem::replace(&mut self.renews, renews);
        let was_stable = self.was_stable();
        let roster = &mut self.order(random).roster;
        match purpose {
            Purpose::InsteadOfOld if is_first => roster.stays(was_stable),
            Purpose::InsteadOfLeaving if is_first => roster.stays(false),
            _ => {}
        }
    }

    fn take_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    fn has_run_out(&self) -> bool {
        self.has_run_out
    }

    fn failed(&mut self, judged: Judged) -> Onward {
        if self.flight == InFlight::Nothing {
            self.sync(None);
        }
        let now = self.clock.elapsed();
        let present = self.present.take();
        let (Some((server, phase)), Some(order)) = (present, &mut self.order) else {
            // Its server is on the list no more.
            return Onward {
                server: None,
                goes_on: judged.verdict != Verdict::Stop,
                is_anew: self.flight != InFlight::Leads,
                is_farthest: false,
            };
        };
        let is_open = order.roster.failed(server, judged, now);
        let is_anew = self.flight != InFlight::Leads;
        let is_left = self.flight != InFlight::Nothing || order.roster.has_next(now);
        self.goes_on = match self.flight {
            _ if judged.verdict == Verdict::Stop && !is_open => false,
            InFlight::Leads => true,
            InFlight::Dials | InFlight::Nothing => is_open && is_left,
        };
        let rank = |phase| phase == AttemptPhase::Established;
        let is_farthest = self
            .farthest
            .is_none_or(|before| rank(phase) >= rank(before));
        if is_farthest {
            self.farthest = Some(phase);
        }
        Onward {
            server: Some(server),
            goes_on: self.goes_on,
            is_anew,
            is_farthest,
        }
    }

    fn verdict(&mut self) -> Verdict {
        let now = self.clock.elapsed();
        let order = self.order.as_ref();
        order.map_or_else(Verdict::default, |order| order.roster.verdict(now))
    }

    fn connected(&mut self, wall: u64) -> Option<usize> {
        let since = self.clock.elapsed();
        self.up = Some(Up { since, wall });
        self.renews = false;
        let (server, _) = self.present?;
        self.order.as_mut()?.roster.connected(server);
        Some(server)
    }

    fn ended(&mut self, end: Ended, wall: u64) -> Verdict {
        // What is in flight must know the list that it began with.
        if self.flight == InFlight::Nothing {
            self.sync(None);
        }
        let now = self.clock.elapsed();
        let was_stable = self.was_stable();
        let slept = self.up.take().is_some_and(|up| {
            let uptime = nanos(now.saturating_sub(up.since));
            wall.saturating_sub(up.wall).saturating_sub(uptime) >= SLEPT
        });
        let Some(Order { roster, .. }) = &mut self.order else {
            return Verdict::default();
        };
        let end = match end {
            Ended::Ours => End::Ours { was_stable },
            Ended::Theirs(judged) if slept && judged == Judged::default() => {
                End::Ours { was_stable }
            }
            Ended::Theirs(judged) => {
                let is_suspect = was_stable && judged == Judged::default();
                self.lost = roster.current().filter(|_| is_suspect);
                End::Theirs(judged)
            }
        };
        roster.lost(end, now)
    }
}
