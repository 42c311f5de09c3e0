//! The race of the attempts: one future polls them all.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use super::no_answer;
use crate::clock::{Sleep, Stopwatch};
use crate::nanos::nanos;

/// The Connection Attempt Delay that RFC 8305 recommends, in section 8.
const DELAY: Duration = Duration::from_millis(250);

/// The least delay that RFC 8305 recommends. With less, a client far away opens a
/// socket to each address before the first one can answer.
pub(super) const LEAST_DELAY: Duration = Duration::from_millis(100);

/// How long an attempt may take. The kernel repeats a lost SYN after 1 s and after
/// 3 s (RFC 6298), so both repetitions have time for an answer.
const EACH: Duration = Duration::from_secs(5);

/// The most attempts that go on at once.
const LIVE: usize = 8;

/// Each attempt that failed, in this order.
pub(super) type Failures = Vec<(SocketAddr, io::Error)>;

/// Tries the addresses in their order, a new one after each delay or failure. The
/// first attempt that is ready wins. All others are dropped before this returns.
pub(super) async fn race<T, A>(
    addresses: VecDeque<SocketAddr>,
    limit: Duration,
    start: impl FnMut(SocketAddr) -> A,
    failed: impl FnMut(SocketAddr),
) -> Result<(SocketAddr, T), Failures>
where
    A: Future<Output = io::Result<T>>,
{
    let mut sleep = pin!(Sleep::unset());
    let mut race = Race {
        delay: delay(limit, addresses.len()),
        limit,
        clock: Stopwatch::start(),
        next: Duration::ZERO,
        waiting: addresses,
        live: VecDeque::new(),
        failures: Vec::new(),
        start,
        failed,
    };
    poll_fn(|cx| race.poll(sleep.as_mut(), cx)).await
}

/// The delay between two attempts. If the limit is too short for the usual one,
/// the delay is shorter in proportion.
fn delay(limit: Duration, addresses: usize) -> Duration {
    let later = addresses.clamp(1, LIVE) as u32 - 1;
    let needed = EACH + DELAY * later;
    if limit >= needed {
        return DELAY;
    }
    let share = limit.as_secs_f64() / needed.as_secs_f64();
    DELAY.mul_f64(share).max(LEAST_DELAY)
}

struct Race<A, S, F> {
    delay: Duration,
    limit: Duration,
    /// All times are times on it.
    clock: Stopwatch,
    /// When the next attempt starts.
    next: Duration,
    waiting: VecDeque<SocketAddr>,
    /// The oldest first.
    live: VecDeque<Live<A>>,
    failures: Failures,
    start: S,
    failed: F,
}

struct Live<A> {
    address: SocketAddr,
    began: Duration,
    attempt: Pin<Box<A>>,
}

impl<T, A, S, F> Race<A, S, F>
where
    A: Future<Output = io::Result<T>>,
    S: FnMut(SocketAddr) -> A,
    F: FnMut(SocketAddr),
{
    fn poll(
        &mut self,
        mut sleep: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(SocketAddr, T), Failures>> {
        loop {
            let now = self.clock.elapsed();
            if let Some(winner) = self.poll_live(now, cx) {
                return Poll::Ready(Ok(winner));
            }
            let is_first = self.live.is_empty() && self.failures.is_empty();
            if (now >= self.next && now < self.limit) || is_first {
                if let Some(address) = self.waiting.pop_front() {
                    self.begin(address, now);
                    continue;
                }
            }
            if now >= self.limit {
                while self.drop_oldest(now) {}
            }
            // A failure makes the next attempt due, so none is waiting for it here.
            let Some(oldest) = self.live.front() else {
                return Poll::Ready(Err(core::mem::take(&mut self.failures)));
            };
            let mut deadline = (oldest.began + EACH).min(self.limit);
            if !self.waiting.is_empty() {
                deadline = deadline.min(self.next);
            }
            let deadline = self.clock.instant(nanos(deadline));
            if sleep.as_mut().poll_until(deadline, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Polls all attempts. Those that fail, or have run out of time, leave.
    fn poll_live(&mut self, now: Duration, cx: &mut Context<'_>) -> Option<(SocketAddr, T)> {
        let mut place = 0;
        while let Some(live) = self.live.get_mut(place) {
            let error = match live.attempt.as_mut().poll(cx) {
                Poll::Ready(Ok(won)) => return Some((live.address, won)),
                Poll::Ready(Err(error)) => error,
                Poll::Pending if now >= live.began + EACH => no_answer(now - live.began),
                Poll::Pending => {
                    place += 1;
                    continue;
                }
            };
            self.fail(place, error);
            self.next = now;
        }
        None
    }

    fn begin(&mut self, address: SocketAddr, now: Duration) {
        if self.live.len() == LIVE {
            self.drop_oldest(now);
        }
        self.live.push_back(Live {
            address,
            began: now,
            attempt: Box::pin((self.start)(address)),
        });
        self.next = now + self.delay;
    }

    /// Whether there was one.
    fn drop_oldest(&mut self, now: Duration) -> bool {
        let Some(oldest) = self.live.front() else {
            return false;
        };
        let error = no_answer(now - oldest.began);
        self.fail(0, error);
        true
    }

    fn fail(&mut self, place: usize, error: io::Error) {
        if let Some(live) = self.live.remove(place) {
            (self.failed)(live.address);
            self.failures.push((live.address, error));
        }
    }
}
