//! What a driver and its handles share: presses go in, statuses come out.
//!
//! "A waker was lost" is a fault of this folder: [`Control::commands`] stores
//! the waker of the task that polls the driver, and every press takes and wakes
//! it. [`watch`] has the wakers of those who read the statuses.

mod handle;
#[cfg(all(test, loom))]
mod interleavings;
mod renewal;
mod status;
mod watch;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Waker};
use core::time::Duration;

use crate::clock::{self, Instant, WallTime};
use crate::liveness::Silent;
use crate::nanos::nanos;
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, lock};
use crate::verdict::Verdict;

use watch::Watchers;

pub use handle::Handle;
pub use renewal::RenewalHold;
pub(crate) use renewal::{AskedRenewal, Grace};
pub use status::{Status, WaitsFor, Why};
pub use watch::Watch;

/// The least time between an attempt and the next one that a handle asks for.
const PRESS_INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two changes of the network that each lead to an
/// attempt. Platforms report such changes in bursts (lichess-org/mobile 3201).
const CHANGES_INTERVAL: u64 = nanos(Duration::from_secs(5));

/// After a pause of so long a connection is doubted. An app is in the background for
/// less at each glance at a notification (sesori-ai/sesori_apps_monorepo 262).
const LONG_HOLD: Duration = Duration::from_secs(20);

/// What a driver and its handles share.
pub(crate) struct Control {
    state: Mutex<State>,
    /// A handle has closed the driver, for good.
    closed: AtomicBool,
    /// A handle asks something that concerns a connection that is up. It is not
    /// under the lock, because every call on such a connection reads it.
    disturbed: AtomicBool,
    /// There is a reason to doubt that the connection lives.
    doubted: AtomicBool,
}

struct State {
    status: Status,
    why: Why,
    /// What the present wait, attempt, or given-up outage is to end with. A press
    /// belongs to what it was pressed on.
    press: Option<Press>,
    hold: Hold,
    /// Since when attempts are held back, on both clocks.
    held: Option<(Instant, WallTime)>,
    /// The driver has seen that it is held.
    hold_seen: bool,
    /// How the present connection is to end, by its generation.
    ending: Option<(u64, Ending)>,
    /// The renewal that is asked for, and of which connection.
    asked: Option<(u64, Box<AskedRenewal>)>,
    /// How many guards hold renewals back.
    renewal_holds: u32,
    /// The connection that did its work, by its generation.
    healed: u64,
    /// The number of the present connection, or of the last one.
    generation: u64,
    /// The network has changed, and the driver has not looked since.
    changed: bool,
    /// The network has changed while the present connection was up.
    changed_while_up: bool,
    /// When the last change that led to an attempt did so: on the driver's
    /// stopwatch, perhaps ahead.
    changed_at: Option<u64>,
    /// When the last attempt began, on the driver's stopwatch.
    attempt_at: Option<u64>,
    press_interval: Duration,
    /// No status will follow.
    over: bool,
    /// The task that polls the driver.
    driver: Option<Waker>,
    watchers: Watchers,
}

/// A press that asks for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Press {
    /// By a person: at once, whatever the server said.
    Now,
    /// By a program: spread, and after the time that the server asked for.
    Spread,
    /// As `Spread`, also if the attempt in flight is young.
    Reconnect,
}

/// What the handles hold back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hold {
    #[default]
    Nothing,
    /// Attempts that have not begun.
    Paused,
    /// Everything.
    Suspended,
}

/// How a handle ends the connection that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is lost.
    Lost(Verdict),
    /// Its peer is silent.
    Silent(Silent),
    /// It is to be replaced.
    Reconnect,
    /// It is dropped, and none follows for now.
    Suspend,
    /// It is replaced by one that the server does not allow beside it.
    MakesRoom,
}

/// What the handles ask of the driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Commands {
    pub(crate) press: Option<Press>,
    pub(crate) changed: bool,
    pub(crate) hold: Hold,
    pub(crate) closed: bool,
}

impl State {
    /// Notes that attempts are held back from now on.
    fn hold(&mut self) {
        self.held
            .get_or_insert_with(|| (Instant::now(), clock::wall()));
    }

    /// Nothing is held any more. Whether it was for long enough to doubt a connection.
    fn held_long(&mut self) -> bool {
        self.held.take().is_some_and(|(since, wall)| {
            // The monotonic clock stands still while the device sleeps.
            let by_wall = clock::wall().duration_since(wall).unwrap_or_default();
            since.elapsed().max(by_wall) >= LONG_HOLD
        })
    }

    /// Generations are counted from 1.
    fn is_healed(&self) -> bool {
        self.healed > 0 && self.healed == self.generation
    }
}

impl Control {
    pub(crate) fn new(status: Status, generation: u64) -> Self {
        Self {
            state: Mutex::new(State {
                status,
                why: Why::default(),
                press: None,
                hold: Hold::Nothing,
                held: None,
                hold_seen: false,
                ending: None,
                asked: None,
                renewal_holds: 0,
                healed: 0,
                generation,
                changed: false,
                changed_while_up: false,
                changed_at: None,
                attempt_at: None,
                press_interval: PRESS_INTERVAL,
                over: false,
                driver: None,
                watchers: Watchers::default(),
            }),
            closed: AtomicBool::new(false),
            disturbed: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
        }
    }

    /// What is asked of the driver. Stores the waker of its task, so that the
    /// next press wakes it.
    pub(crate) fn commands(&self, cx: &Context<'_>) -> Commands {
        let mut state = lock(&self.state);
        let before = replace(&mut state.driver, cx.waker());
        state.hold_seen = state.hold != Hold::Nothing;
        let commands = Commands {
            press: state.press.take(),
            changed: mem::take(&mut state.changed),
            hold: state.hold,
            closed: self.is_closed(),
        };
        drop(state);
        drop(before);
        commands
    }

    /// Stores the waker of the task that has a connection that is up. Returns
    /// whether a handle asks something that concerns it.
    pub(crate) fn await_disturbance(&self, waker: &Waker) -> bool {
        let before = replace(&mut lock(&self.state).driver, waker);
        drop(before);
        self.is_disturbed()
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn is_disturbed(&self) -> bool {
        self.disturbed.load(Ordering::Acquire)
    }

    /// Whether there is a reason to doubt that the connection lives, since the last
    /// call.
    pub(crate) fn take_doubt(&self) -> bool {
        // Two steps, because the first one costs less.
        self.is_doubted() && self.doubted.swap(false, Ordering::AcqRel)
    }

    #[inline]
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Acquire)
    }

    /// Puts back a press that belongs to what comes next.
    pub(crate) fn press_again(&self, press: Press) {
        lock(&self.state).press.get_or_insert(press);
    }

    /// Whether a press waits for a driver that gave up.
    pub(crate) fn is_pressed(&self) -> bool {
        lock(&self.state).press.is_some()
    }

    /// How the connection that is up is to end, if a handle asks for that.
    pub(crate) fn take_ending(&self) -> Option<Ending> {
        let mut state = lock(&self.state);
        let ending = match state.ending.take() {
            _ if state.hold == Hold::Suspended => Some(Ending::Suspend),
            Some((generation, ending)) if generation == state.generation => Some(ending),
            _ => None,
        };
        self.flag(&state);
        ending
    }

    /// Whether a handle said that the present connection did its work.
    pub(crate) fn take_healed(&self) -> bool {
        let mut state = lock(&self.state);
        let healed = state.is_healed();
        state.healed = 0;
        healed
    }

    /// As [`take_healed`](Self::take_healed), for a look at it.
    pub(crate) fn is_healed(&self) -> bool {
        lock(&self.state).is_healed()
    }

    /// Remembers that an attempt begins.
    pub(crate) fn attempt_begins(&self, now: u64) {
        lock(&self.state).attempt_at = Some(now);
    }

    /// The earliest time of an attempt that a handle asks for.
    pub(crate) fn press_floor(&self) -> u64 {
        let state = lock(&self.state);
        state
            .attempt_at
            .map_or(0, |at| at.saturating_add(nanos(state.press_interval)))
    }

    pub(crate) fn set_press_interval(&self, interval: Duration) {
        // A longer one would be no time at all on the driver's stopwatch.
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        lock(&self.state).press_interval = interval.min(YEAR);
    }

    /// When an attempt may follow from a change of the network that is noticed at
    /// `now`. A burst of changes leads to one attempt at once, and to one more
    /// after it.
    pub(crate) fn fold_change(&self, now: u64) -> u64 {
        let mut state = lock(&self.state);
        let at = match state.changed_at {
            // One that is still to come covers this change, too.
            Some(last) if now <= last => last,
            Some(last) => now.max(last.saturating_add(CHANGES_INTERVAL)),
            None => now,
        };
        state.changed_at = Some(at);
        at
    }

    /// Keeps what went wrong, for the statuses that follow.
    pub(crate) fn note(&self, why: Why) {
        lock(&self.state).why = why;
    }

    /// The outage is over without a connection.
    pub(crate) fn note_end(&self) {
        let mut state = lock(&self.state);
        state.why = state.why.ended();
    }

    /// What went wrong last.
    pub(crate) fn why(&self) -> Why {
        lock(&self.state).why.clone()
    }

    /// The number of the present connection, or of the last one.
    pub(crate) fn generation(&self) -> u64 {
        lock(&self.state).generation
    }

    /// Counts a connection that has come up.
    pub(crate) fn connected(&self) {
        let mut state = lock(&self.state);
        state.generation += 1;
        state.why = Why::default();
        state.changed_while_up = false;
    }

    /// Whether the network has changed while the present connection was up.
    pub(crate) fn has_changed_while_up(&self) -> bool {
        lock(&self.state).changed_while_up
    }

    /// Closes the driver, which notices when it is polled next.
    fn close(&self) {
        self.command(|state| {
            self.closed.store(true, Ordering::Release);
            self.flag(state);
        });
    }

    /// Asks something that concerns the present connection, if there is one.
    fn disturb(&self, change: impl FnOnce(&mut State)) {
        self.command(|state| {
            change(state);
            self.flag(state);
        });
    }

    /// Flags whether something is asked that concerns a connection that is up. If
    /// not, calls go straight to it. Each change is flagged under its lock, so that
    /// no flag overtakes another.
    fn flag(&self, state: &State) {
        let disturbed = state.ending.is_some()
            || state.asked.is_some()
            || state.hold == Hold::Suspended
            || self.is_closed();
        self.disturbed.store(disturbed, Ordering::Release);
    }

    /// Changes the status and wakes the watchers.
    pub(crate) fn publish(&self, status: Status) {
        let state = lock(&self.state);
        if state.status != status && !state.over {
            self.tell(state, status);
        }
    }

    /// Publishes the last status.
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        if !state.over {
            state.over = true;
            self.tell(state, Status::Closed);
        }
    }

    fn tell(&self, mut state: MutexGuard<'_, State>, status: Status) {
        // A press belongs to one wait or one attempt. It stays if that wait only
        // gets a new deadline, if the attempt that it was to end ends by itself,
        // and if it was resumed while the driver was about to publish that it is
        // held.
        if !matches!(
            status,
            Status::Waiting { .. } | Status::Paused { .. } | Status::Suspended { .. }
        ) {
            state.press = None;
        }
        let mut asked = None;
        if let Status::Connected { .. } = status {
            state.changed = false;
        } else {
            // What was asked of a connection that is gone.
            state.ending = None;
            asked = state.asked.take();
            self.flag(&state);
        }
        let is_new = state.status != status;
        let mut wakers = Vec::new();
        state.watchers.tell(is_new.then_some(&status), &mut wakers);
        let before = mem::replace(&mut state.status, status);
        // A waker may run anything, so it is not woken under the lock.
        drop(state);
        drop((before, asked));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Changes what is asked of the driver and wakes its task.
    fn command(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let waker = state.driver.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Puts `waker` in `place`, and returns what was there.
///
/// That waker may be the last to hold a task, and the task may hold anything.
/// So the caller must not drop it under a lock.
#[must_use]
fn replace(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(known) if known.will_wake(waker) => None,
        _ => place.replace(waker.clone()),
    }
}
