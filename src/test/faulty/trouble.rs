//! Which fault a connection has now.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;

use crate::clock::{Sleep, Stopwatch, after};
use crate::nanos::{nanos, scale};
use crate::rng::Rng;
use crate::scripted_error::ScriptedError;
use crate::test::faults::{Faults, Kind, When};

/// The faults of one connection.
pub(in crate::test) struct Trouble {
    plan: Vec<(At, Kind)>,
    /// The worst that has begun.
    present: Option<Kind>,
    faults: Faults,
    rng: Rng,
    age: Stopwatch,
    counts: [u64; 2],
    /// Two tasks may hold the two halves of a connection.
    sleeps: [Pin<Box<Sleep>>; 2],
    wakers: [Option<Waker>; 2],
}

#[derive(Clone, Copy)]
enum At {
    /// In nanoseconds since the connection was made.
    Time(u64),
    Count(Half, u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Read,
    Write,
}

impl Trouble {
    pub(in crate::test) fn new(faults: Faults) -> Self {
        let mut rng = faults.rng();
        let plan = faults.plan.iter().map(|&(when, kind)| {
            let at = match when {
                When::After(time) => At::Time(after(0, time)),
                When::Read(n) => At::Count(Half::Read, n),
                When::Written(n) => At::Count(Half::Write, n),
                When::ReadWithin(n) => At::Count(Half::Read, rng.below(n)),
                When::WrittenWithin(n) => At::Count(Half::Write, rng.below(n)),
            };
            (at, kind)
        });
        let plan = plan.collect();
        let mut this = Self {
            plan,
            present: None,
            faults,
            rng,
            age: Stopwatch::start(),
            counts: [0; 2],
            sleeps: [(); 2].map(|()| Box::pin(Sleep::unset())),
            wakers: [None, None],
        };
        this.look();
        this
    }

    /// The present fault. `half` is woken when another one begins.
    pub(super) fn poll(&mut self, half: Half, cx: &mut Context<'_>) -> Option<Kind> {
        loop {
            self.look();
            let Some(next) = self.next_time() else { break };
            let next = self.age.instant(next);
            let sleep = self.sleeps[half as usize].as_mut();
            if sleep.poll_until(next, cx).is_pending() {
                break;
            }
        }
        self.wakers[half as usize] = Some(cx.waker().clone());
        self.present
    }

    /// The present fault, for a call that has no waker.
    pub(super) fn present(&mut self) -> Option<Kind> {
        self.look();
        self.present
    }

    /// Goes on to the worst fault that has begun.
    fn look(&mut self) {
        let age = self.age();
        let counts = self.counts;
        let has_begun = |at| match at {
            At::Time(time) => time <= age,
            At::Count(half, n) => n <= counts[half as usize],
        };
        let begun = self.plan.iter().filter(|&&(at, _)| has_begun(at));
        let worst = begun.map(|&(_, kind)| kind).max();
        self.plan.retain(|&(at, _)| !has_begun(at));
        if worst > self.present {
            self.present = worst;
            for waker in self.wakers.iter_mut().filter_map(Option::take) {
                waker.wake();
            }
        }
    }

    fn next_time(&self) -> Option<u64> {
        let times = self.plan.iter().filter_map(|&(at, _)| match at {
            At::Time(time) => Some(time),
            At::Count(..) => None,
        });
        times.min()
    }

    /// So many bytes or items were read or written.
    pub(super) fn count(&mut self, half: Half, n: usize) {
        self.counts[half as usize] += n as u64;
        self.look();
    }

    /// How many of `n` bytes to read or write next: at least one, if `n` is.
    pub(super) fn part(&mut self, half: Half, n: usize) -> usize {
        let done = self.counts[half as usize];
        let left = self.plan.iter().filter_map(|&(at, _)| match at {
            At::Count(of, at) if of == half => Some(at - done),
            _ => None,
        });
        let n = left.min().map_or(n, |left| n.min(left as usize));
        if self.faults.is_chopped && n > 1 {
            return 1 + self.rng.below(n as u64) as usize;
        }
        n
    }

    pub(super) fn is_delayed(&self) -> bool {
        self.faults.delay.is_some()
    }

    /// When that which arrives now may be read, by [`age`](Self::age).
    pub(super) fn arrival(&mut self) -> u64 {
        let age = self.age();
        let Some(times) = &self.faults.delay else {
            return age;
        };
        let (least, most) = (nanos(*times.start()), nanos(*times.end()));
        let range = most.saturating_sub(least).saturating_add(1);
        let time = least.saturating_add(scale(self.rng.next_u64(), range));
        after(age, Duration::from_nanos(time))
    }

    /// Waits for an [`arrival`](Self::arrival).
    pub(super) fn poll_arrival(
        &self,
        sleep: Pin<&mut Sleep>,
        at: u64,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if at <= self.age() {
            return Poll::Ready(());
        }
        sleep.poll_until(self.age.instant(at), cx)
    }

    fn age(&self) -> u64 {
        nanos(self.age.elapsed())
    }

    /// The error of a loss.
    pub(super) fn error(&self) -> io::Error {
        ScriptedError::lost(self.faults.verdict).into()
    }
}

impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trouble")
            .field("present", &self.present)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}
