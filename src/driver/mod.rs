//! The driver: keeps one connection up.
//!
//! Where to look, if
//!
//! - a wait is too long: [`nap`] (the device slept), [`budget`] (no token), and
//!   the policy;
//! - an attempt is made too early, twice or never: [`phases`], and [`outcome`] for
//!   what follows from a failure or a loss;
//! - a connection is replaced too early, too late or twice: [`renewal`];
//! - an attempt goes to the wrong one of several servers: [`servers`], and `roster`;
//! - an attempt or a timer is left behind: [`flight`];
//! - a call hangs, or loses something when it is dropped: [`future`], [`run`];
//! - a press has no effect, or a status is wrong: [`pressed`], and `control`;
//! - a stop is believed too early or too late: [`advised`];
//! - a limit is ignored: `outage`. The driver only does what `outage` says.

mod advised;
mod beside;
mod boxed;
mod budget;
mod builder;
mod connect;
mod error;
mod event;
mod extras;
mod first;
mod flight;
mod future;
mod info;
mod loss;
mod maybe_send;
mod nap;
mod outcome;
mod phases;
mod pressed;
mod renew;
mod renewal;
mod run;
mod saved;
mod servers;
mod silence;
mod state;
mod then;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::Waker;

use flight::Flight;
use state::{Controls, Core, Phase};

use crate::clock::Timers;
use crate::control::{Control, Handle};
use crate::outage::{Outage, Reason, SavedOutage};
use crate::policy::{Policy, Stratified};
use crate::verdict::Verdict;

pub use boxed::{BoxAttempt, BoxConnect, BoxRedial};
pub use connect::Connect;
pub use error::{BoxError, Error};
pub use event::Event;
pub use future::{Connecting, Ready};
pub use info::{AttemptInfo, AttemptKind, MarkEstablished, WithInfo, with_info};
pub use maybe_send::MaybeSend;
pub use renew::Renewed;
pub(crate) use renewal::{DRAIN, Turn};
pub use servers::Servers;
pub(crate) use servers::{Ended, Limits, News, Onward, Purpose, Rounds};
pub use then::{Then, ThenAttempt};

/// Keeps one connection up: connects, waits, and connects again.
///
/// The first connect is immediate. Every reconnect is spread, the first one
/// too, because all other clients lost the server in the same instant.
///
/// # How to use it
///
/// | | the connection | a loss is |
/// |---|---|---|
/// | [`ready`](Self::ready) | is lent | what [`lost`](Self::lost) says |
/// | [`ready`](Self::ready), then [`take`](Self::take) | is handed over | the next call |
/// | [`connect`](Self::connect) | is handed over | the next call |
/// | [`run`](Self::run) | belongs to a session | the session's end |
///
/// ```
/// # async fn doc() -> Result<(), redial::Error<std::io::Error>> {
/// use redial::Redial;
/// use std::time::Duration;
/// use tokio::io::AsyncWriteExt;
///
/// let mut redial = Redial::new(redial::tcp::connect("chat.example:6667"));
/// loop {
///     let stream = redial.ready().await?;
///     if stream.write_all(b"PING :are you there\r\n").await.is_err() {
///         redial.lost();
///     }
///     tokio::time::sleep(Duration::from_secs(30)).await;
/// }
/// # }
/// ```
///
/// The driver does nothing unless it is polled, and it spawns no task.
///
/// # Settings
///
/// | | default |
/// |---|---|
/// | [`policy`](Self::policy) | [`Stratified::default()`] |
/// | [`dial_timeout`](Self::dial_timeout) | 5 s, if the connector tells the [phases](crate::AttemptPhase) of an attempt |
/// | [`attempt_timeout`](Self::attempt_timeout) | 13 s; or 60 s from the end of the dial, if that is known |
/// | [`patience`](Self::patience) | 120 s; or 300 s |
/// | [`stable_after`](Self::stable_after) | 10 s |
/// | [`max_attempts`](Self::max_attempts), [`max_elapsed`](Self::max_elapsed) | no limit |
/// | [`hint_cap`](Self::hint_cap) | 1 h |
/// | [`classify`](Self::classify) or [`advise`](Self::advise) | by the kind of `io::Error`, see [`Verdict`] |
/// | [`unattended`](Self::unattended) | somebody watches |
/// | [`budget`](Self::budget) | none |
/// | [`spread_first`](Self::spread_first), [`pay_first`](Self::pay_first) | the first connect is made at once, and is free |
/// | [`press_interval`](Self::press_interval) | 1 s |
/// | [`describe`](Self::describe) | `io::Error`, boxed errors and text |
/// | [`seed`](Self::seed) | fresh entropy |
/// | [`observe`](Self::observe) | no observer |
/// | [`restore`](Self::restore) | no outage |
/// | [`wall_clock`](Self::wall_clock) | the system's |
///
/// The order of the settings does not matter. A setting may also be changed
/// while the driver is in use; each one says when it takes effect.
///
/// # Sleeping devices
///
/// The monotonic clocks of Linux and macOS do not see that a device sleeps. If
/// it slept during a wait of more than fifteen seconds, that wait ends soon
/// after the device wakes; see [`wall_clock`](Self::wall_clock).
///
/// # Runtime
///
/// Waits and timeouts need a tokio runtime with its time driver. A connector
/// that is ready at once needs none.
pub struct Redial<C: Connect, P: Policy = Stratified> {
    connector: C,
    /// Present while the connection is up, unless it was handed over.
    pub(crate) connection: Option<C::Connection>,
    /// The flight of `ready()`. It is boxed, once for the life of the driver,
    /// so that it stays when the future that polls it is dropped.
    flight: Option<Pin<Box<Flight<C::Attempt>>>>,
    core: Core<C::Error, P>,
}

impl<C: Connect> Redial<C>
where
    C::Error: 'static,
{
    /// A driver with the default settings. It has not connected yet.
    ///
    /// Errors are judged and printed if their type is `io::Error`, `Box<dyn Error>`
    /// or text. For an error type of your own add
    /// [`classify(Verdict::of)`](Self::classify), which finds the `io::Error` among
    /// its sources.
    pub fn new(connector: C) -> Self {
        Self {
            connector,
            connection: None,
            flight: None,
            core: Core {
                phase: Phase::Due,
                outage: Outage::new(Stratified::default()),
                timers: Timers::none(),
                stopwatch: None,
                judge: Verdict::on,
                extras: None,
                control: Controls::default(),
            },
        }
    }
}

impl<C: Connect, P: Policy> Redial<C, P> {
    /// A handle, which watches and controls this driver from anywhere: it
    /// shows the status, skips a wait, pauses, resumes and closes.
    ///
    /// A driver can have any number of handles. They need not be made before
    /// the driver is used.
    pub fn handle(&self) -> Handle {
        let generation = matches!(self.core.phase, Phase::Up { .. }) as u64;
        self.handle_of(generation)
    }

    /// The present outage, to carry it over a restart of the program. `None` if
    /// no outage goes on.
    ///
    /// ```
    /// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
    /// use redial::Redial;
    /// use std::time::Duration;
    /// use tokio::net::TcpStream;
    ///
    /// let connector = || TcpStream::connect("127.0.0.1:1");
    /// let mut redial = Redial::new(connector);
    /// let _ = tokio::time::timeout(Duration::from_secs(3), redial.ready()).await;
    /// let saved = redial.save().expect("nobody listens there");
    ///
    /// // The feature `serde` can write it to a file. It is read 200 ms later.
    /// let redial = Redial::new(connector).restore(&saved, Duration::from_millis(200));
    /// # Ok(()) }
    /// ```
    pub fn save(&self) -> Option<SavedOutage> {
        self.core.save()
    }

    /// What the driver shares with its handles, made if there is none yet.
    fn core_control(&self) -> &Arc<Control> {
        let generation = matches!(self.core.phase, Phase::Up { .. }) as u64;
        self.control_of(generation)
    }

    fn control_of(&self, generation: u64) -> &Arc<Control> {
        self.core.control.0.get_or_init(|| {
            let control = Control::new(self.core.status(generation), generation);
            if let Phase::Closed = self.core.phase {
                control.finish();
            }
            Arc::new(control)
        })
    }

    // ---- for the wrappers

    /// A handle. If it is the first, the present connection has this number, or the
    /// last one if there is none now.
    pub(crate) fn handle_of(&self, generation: u64) -> Handle {
        Handle::new(self.control_of(generation).clone())
    }

    /// The number of the present connection, or of the last one, if handles know it.
    pub(crate) fn generation(&self) -> Option<u64> {
        self.core.control().map(Control::generation)
    }

    pub(crate) fn has_handle(&self) -> bool {
        self.core.control().is_some()
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Whether a handle asks something that concerns a connection that is up.
    #[inline]
    pub(crate) fn is_disturbed(&self) -> bool {
        self.core.is_disturbed()
    }

    /// Wakes `waker` when a handle asks something that concerns a connection that
    /// is up. Returns whether one has already.
    pub(crate) fn await_disturbance(&self, waker: &Waker) -> bool {
        let control = self.core.control();
        control.is_some_and(|control| control.await_disturbance(waker))
    }

    /// Whether no connection follows, unless somebody asks again.
    pub(crate) fn has_given_up(&self) -> bool {
        matches!(
            self.core.phase,
            Phase::GivingUp(_) | Phase::GaveUp { .. } | Phase::Closed
        )
    }

    /// Whether an error was judged to be [`Verdict::Stop`], and no handle asks for
    /// an attempt since.
    pub(crate) fn is_stopped(&self) -> bool {
        let stopped = matches!(
            self.core.phase,
            Phase::GaveUp {
                reason: Reason::Stopped,
                ..
            }
        );
        stopped && !self.core.control().is_some_and(Control::is_pressed)
    }

    /// Drops the connection and the attempt. No other follows.
    pub(crate) fn close(&mut self) {
        self.connection = None;
        self.flight = None;
        self.core.close();
    }
}

impl<C: Connect, P: Policy> fmt::Debug for Redial<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redial")
            .field("phase", &self.core.phase)
            .field("outage", &self.core.outage)
            .finish_non_exhaustive()
    }
}
