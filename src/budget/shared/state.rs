//! What a shared budget knows, and what follows from an answer of its store.
//!
//! All times are in nanoseconds since the budget was made, unless their names say
//! microseconds, as those of the store are.

use alloc::collections::{BTreeMap, BinaryHeap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::mem;
use core::time::Duration;

use tokio::sync::oneshot;

use super::clock::Reading;
use crate::bucket::{Reserved, Source, TokenBucket};
use crate::budget::store::{Answer, Call, StoreError};
use crate::clock::{Stopwatch, after};
use crate::nanos::nanos;

/// The first pause of a store that did not answer …
const PAUSE: u64 = nanos(Duration::from_millis(250));
/// … and the longest.
const LONGEST_PAUSE: u64 = nanos(Duration::from_secs(2));

pub(super) struct State {
    /// Marks tokens as this budget's.
    owner: usize,
    pub(super) age: Stopwatch,
    /// The bucket's settings, and a call for one token of it.
    pub(super) call: Call,
    /// How long a decision may take.
    pub(super) bound: u64,
    pub(super) refresh: u64,
    local: TokenBucket,
    /// Those who asked, and have no answer yet.
    waiting: VecDeque<Waiter>,
    /// Tokens that were given back and are still to come.
    spare: BinaryHeap<Reverse<Spare>>,
    /// The instants that somebody waits for, and how many do.
    awaited: BTreeMap<u64, u32>,
    /// Tokens of the local bucket that are still to come, and that the store does not
    /// know of.
    uncharged: Vec<u64>,
    memory: Option<Memory>,
    clock: Option<Reading>,
    away: Option<Away>,
    /// When the store was asked last.
    asked: u64,
    /// An agent asks the store when there is something to ask.
    has_agent: bool,
}

/// Somebody who asks for a token.
pub(super) struct Waiter {
    pub(super) answer: oneshot::Sender<Reserved>,
    pub(super) since: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Spare {
    due: u64,
    micros: u64,
    is_shared: bool,
}

/// The queue, as the store's last answer told it.
#[derive(Clone, Copy)]
struct Memory {
    /// The time until the bucket is full, in microseconds.
    full_in: u64,
    sent: u64,
    arrived: u64,
}

/// The store does not answer.
struct Away {
    since: u64,
    /// How many tokens the local bucket granted since.
    granted: u64,
    pause: u64,
    /// Until then the store is not asked.
    until: u64,
    /// The store is being asked whether it is back.
    probing: bool,
}

/// What the agent does next.
pub(super) enum Step {
    Ask(Question),
    Sleep(u64),
    /// There is nothing to do until somebody asks again.
    End,
}

/// One call, and what it is for.
pub(super) struct Question {
    pub(super) call: Call,
    /// Those who get its tokens, and still wait.
    pub(super) batch: Vec<Waiter>,
    /// How many of its tokens are for those who wait …
    wanted: usize,
    /// … and how many pay for the local bucket's before.
    charged: usize,
    floor: u64,
    pub(super) sent: u64,
    /// When the answer is too late.
    pub(super) limit: u64,
}

/// What observers are told.
pub(super) enum News {
    Away(StoreError),
    Back { away: Duration, granted: u64 },
    Forgot { restored: Duration },
    ClockMoved { by: Duration, back: bool },
}

impl State {
    pub(super) fn new(call: Call, local: TokenBucket) -> Self {
        Self {
            owner: 0,
            age: Stopwatch::start(),
            call,
            bound: nanos(Duration::from_millis(200)),
            refresh: nanos(Duration::from_millis(250)),
            local,
            waiting: VecDeque::new(),
            spare: BinaryHeap::new(),
            awaited: BTreeMap::new(),
            uncharged: Vec::new(),
            memory: None,
            clock: None,
            away: None,
            asked: 0,
            has_agent: false,
        }
    }

    pub(super) fn now(&self) -> u64 {
        nanos(self.age.elapsed())
    }

    /// The address of the budget that this is the state of.
    pub(super) fn set_owner(&mut self, owner: usize) {
        self.owner = owner;
    }

    // ---- those who ask

    /// A token that can be had without the store: one that was given back; or, if the
    /// store does not answer, one of the local bucket.
    pub(super) fn without_store(&mut self, now: u64) -> Option<Reserved> {
        while let Some(Reverse(spare)) = self.spare.pop() {
            if spare.due > now {
                let source = if spare.is_shared {
                    Source::Shared
                } else {
                    Source::Fallback
                };
                return Some(self.token(now, spare.due, spare.micros, source));
            }
        }
        let away = self.away.as_ref()?;
        (away.probing || now < away.until).then(|| self.local(now))
    }

    /// Somebody waits for an answer.
    pub(super) fn wait(&mut self, waiter: Waiter) {
        self.waiting.push_back(waiter);
    }

    /// Whether an agent must begin its work: somebody waits, and there is none.
    pub(super) fn needs_agent(&mut self) -> bool {
        let has_work = !self.waiting.is_empty() || !self.awaited.is_empty();
        has_work && !mem::replace(&mut self.has_agent, true)
    }

    /// A token of the local bucket.
    pub(super) fn local(&mut self, now: u64) -> Reserved {
        if let Some(memory) = self.memory {
            // As full as the shared bucket. So the tokens of all processes together
            // follow the queue that was there.
            let full_at = memory.arrived.saturating_add(memory.full_in * 1000);
            self.local.not_full_before(full_at);
        }
        let reserved = self.local.reserve_at(Duration::from_nanos(now));
        let due = after(now, reserved.wait());
        if due > now {
            self.uncharged.push(due);
        }
        if let Some(away) = &mut self.away {
            away.granted += 1;
        }
        self.token(now, due, 0, Source::Fallback)
    }

    fn token(&mut self, now: u64, due: u64, micros: u64, source: Source) -> Reserved {
        let at = (due > now).then(|| {
            *self.awaited.entry(due).or_default() += 1;
            self.age.instant(due)
        });
        Reserved::of(self.owner, at, due.saturating_sub(now), micros, source)
    }

    /// Stores a token that nobody uses for the next who asks.
    pub(super) fn keep(&mut self, now: u64, unused: &Reserved) {
        let Some(at) = unused.due().filter(|_| unused.is_of(self.owner)) else {
            return;
        };
        let due = self.age.shows(at);
        if let Some(count) = self.awaited.get_mut(&due) {
            *count -= 1;
            if *count == 0 {
                self.awaited.remove(&due);
            }
        }
        if due > now {
            self.spare.push(Reverse(Spare {
                due,
                micros: unused.micros(),
                is_shared: unused.source() == Source::Shared,
            }));
        }
    }

    // ---- the agent

    /// What the agent does at `now`.
    pub(super) fn step(&mut self, now: u64) -> Step {
        self.awaited = self.awaited.split_off(&(now + 1));
        self.uncharged.retain(|&due| due > now);
        self.waiting.retain(|waiter| !waiter.answer.is_closed());
        let again = match &self.away {
            Some(away) if now < away.until => {
                let until = away.until;
                self.all_local(now);
                return if self.awaited.is_empty() {
                    self.end()
                } else {
                    Step::Sleep(until)
                };
            }
            Some(_) => now,
            None => self.asked + self.refresh,
        };
        if !self.waiting.is_empty() || (again <= now && !self.awaited.is_empty()) {
            Step::Ask(self.ask(now))
        } else if self.awaited.is_empty() {
            self.end()
        } else {
            Step::Sleep(again)
        }
    }

    fn end(&mut self) -> Step {
        self.has_agent = false;
        Step::End
    }

    /// A question for all who wait.
    fn ask(&mut self, now: u64) -> Question {
        let most = Call::MOST as usize;
        let charged = self.uncharged.len().min(most / 2);
        let wanted = self.waiting.len().min(most - charged);
        let floor = self.floor(now);
        let limit = now + self.bound;
        let deadline = self.clock.map(|clock| clock.latest(limit / 1000));
        if let Some(away) = &mut self.away {
            away.probing = true;
        }
        self.asked = now;
        Question {
            call: self
                .call
                .clone()
                .count((charged + wanted) as u32)
                .floor(Duration::from_micros(floor))
                .deadline(deadline),
            batch: self.waiting.drain(..wanted).collect(),
            wanted,
            charged,
            floor,
            sent: now,
            limit,
        }
    }

    /// For how long the bucket is not full, as far as this process remembers: in
    /// microseconds, and never too much.
    fn floor(&self, now: u64) -> u64 {
        self.memory.map_or(0, |memory| {
            memory
                .full_in
                // The clocks may drift, …
                .saturating_sub(memory.full_in / 1000)
                .saturating_sub(now.saturating_sub(memory.sent).div_ceil(1000))
                // … and the way to the store may be slow.
                .saturating_sub(self.bound / 1000)
        })
    }

    /// When the first of those who wait must decide.
    pub(super) fn first_bound(&self, batch: &[Waiter]) -> u64 {
        let since = batch.iter().chain(&self.waiting).map(|waiter| waiter.since);
        since.min().map_or(u64::MAX, |since| since + self.bound)
    }

    /// Gives those who have waited for so long a token of the local bucket.
    pub(super) fn expire(&mut self, now: u64, batch: &mut Vec<Waiter>) {
        let bound = self.bound;
        let mut all = mem::take(batch);
        let in_batch = all.len();
        all.extend(mem::take(&mut self.waiting));
        for (place, waiter) in all.into_iter().enumerate() {
            if waiter.since + bound <= now {
                self.answer_local(now, waiter);
            } else if place < in_batch {
                batch.push(waiter);
            } else {
                self.waiting.push_back(waiter);
            }
        }
    }

    /// Gives all who wait a token of the local bucket.
    pub(super) fn all_local(&mut self, now: u64) {
        for waiter in mem::take(&mut self.waiting) {
            self.answer_local(now, waiter);
        }
    }

    fn answer_local(&mut self, now: u64, waiter: Waiter) {
        if !waiter.answer.is_closed() {
            let reserved = self.local(now);
            self.answer(now, waiter, reserved);
        }
    }

    fn answer(&mut self, now: u64, waiter: Waiter, reserved: Reserved) {
        if let Err(unread) = waiter.answer.send(reserved) {
            self.keep(now, &unread);
        }
    }

    /// The store says that the deadline of a question is over. Returns the deadline by
    /// what its clock shows now.
    pub(super) fn refused(
        &mut self,
        now: u64,
        (sent, limit): (u64, u64),
        store: u64,
    ) -> (u64, Option<News>) {
        let news = self.read_clock(now, sent, store);
        // The store read its clock after the question was sent.
        (store.saturating_add((limit - sent) / 1000), news)
    }

    /// The store's answer arrived.
    pub(super) fn answered(&mut self, now: u64, question: Question, answer: Answer) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(away) = self.away.take() {
            news.push(News::Back {
                away: Duration::from_nanos(now - away.since),
                granted: away.granted,
            });
        }
        news.extend(self.read_clock(now, question.sent, answer.now));
        let (period, burst) = (self.call.period(), u64::from(self.call.burst()));
        // Before this call took its tokens.
        let full_in = answer.wait + ((burst - 1) * period) as i64;
        if question.floor > 0 && full_in == question.floor as i64 {
            news.push(News::Forgot {
                restored: Duration::from_micros(question.floor),
            });
        }
        let count = (question.charged + question.wanted) as u64;
        self.memory = Some(Memory {
            full_in: full_in.max(0) as u64 + count * period,
            sent: question.sent,
            arrived: now,
        });
        // The first tokens pay for those that the local bucket promised.
        self.uncharged.drain(..question.charged);
        let mut batch = question.batch.into_iter();
        for place in question.charged..question.charged + question.wanted {
            let wait = (answer.wait + place as i64 * period as i64).max(0) as u64;
            let (due, micros) = (after(now, Duration::from_micros(wait)), answer.now + wait);
            let reserved = self.token(now, due, micros, Source::Shared);
            match batch.next() {
                Some(waiter) => self.answer(now, waiter, reserved),
                // Its waiter took a local token, as the answer was late.
                None => self.keep(now, &reserved),
            }
        }
        news
    }

    /// The store did not answer.
    pub(super) fn failed(
        &mut self,
        now: u64,
        question: Question,
        error: StoreError,
    ) -> Option<News> {
        let news = self
            .goes_away(now, question.sent)
            .then(|| News::Away(error));
        for waiter in question.batch {
            self.answer_local(now, waiter);
        }
        self.all_local(now);
        news
    }

    /// Pauses before the next question. Returns whether the store did answer before.
    fn goes_away(&mut self, now: u64, since: u64) -> bool {
        let before = self.away.take();
        let pause = before
            .as_ref()
            .map_or(PAUSE, |away| (2 * away.pause).min(LONGEST_PAUSE));
        let is_new = before.is_none();
        self.away = Some(Away {
            since: before.as_ref().map_or(since, |away| away.since),
            granted: before.map_or(0, |away| away.granted),
            pause,
            until: now + pause,
            probing: false,
        });
        is_new
    }

    /// The agent ends in the middle of its work: its runtime is shut down, or the store
    /// has panicked. Those who wait notice that nobody answers.
    pub(super) fn agent_broke(&mut self, now: u64, panicked: bool) {
        self.has_agent = false;
        self.waiting.clear();
        if panicked {
            self.goes_away(now, now);
        }
    }

    /// What the store's clock shows, in microseconds since 1970.
    #[cfg(feature = "slots")]
    pub(super) fn store_time(&self, now: u64) -> Option<u64> {
        self.clock.map(|reading| reading.at(now / 1000))
    }

    /// Notes what the store's clock shows. Returns whether it was set.
    fn read_clock(&mut self, now: u64, sent: u64, store: u64) -> Option<News> {
        let reading = Reading {
            store,
            sent: sent / 1000,
            arrived: now.div_ceil(1000),
        };
        let moved = self.clock.replace(reading)?.moved(reading);
        moved.map(|(by, back)| News::ClockMoved { by, back })
    }
}
