//! Whether a connection still lives, without I/O: what was received and sent goes in,
//! and when to ping, or that it is dead, comes out.

mod config;
#[cfg(test)]
mod rules;
mod silent;

use core::time::Duration;

use crate::nanos::{nanos, scale};
use crate::rng::Rng;

pub use config::Liveness;
pub use silent::Silent;

/// What to do about a connection now.
///
/// The enum is complete on purpose: a loop that drives a [`Heartbeat`] must handle
/// every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Pulse {
    /// Nothing until this instant on the caller's clock. `Duration::MAX` means never.
    Sleep(Duration),
    /// Send something that the peer must answer.
    Ping,
    /// The connection is dead. Drop it: a polite close would wait for a peer that is
    /// gone.
    Dead,
}

/// Watches whether one connection still lives, for any runtime or none.
///
/// A half-open connection looks healthy for ever: the device slept, a NAT forgot the
/// connection, or a cable was pulled, and no packet says so. Only the silence does.
///
/// Make one machine for each connection, when that is up. It reads no clock. `now` is
/// a time on a monotonic clock that the caller owns, from any origin; if it goes
/// back, it counts as standing still. Tell the machine what happens, ask it by
/// [`poll`](Self::poll), and do what the answer says:
///
/// ```
/// # async fn session(
/// #     mut lines: impl futures::Stream<Item = String> + Unpin,
/// #     mut sink: impl futures::Sink<&'static str, Error = std::io::Error> + Unpin,
/// # ) -> std::io::Result<()> {
/// use futures::{SinkExt, StreamExt};
/// use redial::{Heartbeat, Liveness, Pulse};
/// use std::io::ErrorKind;
/// use tokio::time::{Instant, sleep};
///
/// let start = Instant::now();
/// let now = || start.elapsed();
/// let mut heartbeat = Heartbeat::new(Liveness::new(), now());
/// loop {
///     match heartbeat.poll(now()) {
///         Pulse::Ping => sink.send("PING").await?,
///         Pulse::Dead => return Err(ErrorKind::TimedOut.into()),
///         Pulse::Sleep(until) => tokio::select! {
///             // First, so that an answer that has arrived counts.
///             biased;
///             line = lines.next() => {
///                 let Some(line) = line else { return Ok(()) };
///                 heartbeat.heard(now());
///                 println!("{line}");
///             }
///             () = sleep(until.saturating_sub(now())) => {}
///         },
///     }
/// }
/// # }
/// ```
///
/// This loop has a flaw that yours may not afford: while `send` waits for a peer that
/// takes nothing, nobody asks the machine. A [`Session`](crate::Session) has no such
/// flaw; see `Session::keep_alive`.
///
/// # What it promises
///
/// - A ping follows from at most [`idle`](Liveness::idle) of silence, and the end from
///   [`grace`](Liveness::grace) more without an answer.
/// - At most one ping is out. Anything that is received answers it.
/// - A look that comes late, by a second or more, proves nothing: the program was
///   busy or stopped, and the answer may wait to be read. Then one more ping is sent,
///   with five seconds for its answer, once in a silence.
/// - A connection that is [doubted](Self::doubt) is pinged at once, with five seconds
///   for the answer. It is never cut without a ping.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    liveness: Liveness,
    rng: Rng,
    /// The latest time that this clock has shown.
    latest: u64,
    heard: u64,
    /// When something was sent.
    spoke: u64,
    /// The silence that was drawn; 0 until it is.
    silence: u64,
    /// No ping was sent on this connection yet.
    is_young: bool,
    /// The end of the time for an answer, if a ping is out.
    answer_by: Option<u64>,
    /// When the last ping was asked for, or the connection came up.
    asked: u64,
    /// A late look has had its second ping in this silence.
    is_second: bool,
    /// When a doubted connection is pinged.
    doubt: u64,
    /// When the next doubt may ping.
    calm: u64,
}

/// No instant.
const NEVER: u64 = u64::MAX;
/// A look that comes so much after its instant is late.
const LATE: u64 = nanos(Duration::from_secs(1));
/// The time for the answer of a connection that is doubted, unless `grace` is shorter
/// (phoenixframework/phoenix 5984 asks for so much). Also the least time between two
/// pings for doubts: platforms report changes of the network in bursts.
const DOUBT: u64 = nanos(Duration::from_secs(5));

impl Heartbeat {
    /// The machine of a connection that has come up now. Its silences are drawn with
    /// fresh entropy.
    #[cfg(feature = "std")]
    pub fn new(liveness: Liveness, now: Duration) -> Self {
        Self::from_seed(liveness, crate::entropy::fresh(), now)
    }

    /// As [`new`](Self::new), with the same silences for the same seed. The seed must
    /// differ from client to client.
    pub fn from_seed(liveness: Liveness, seed: u64, now: Duration) -> Self {
        let now = nanos(now);
        Self {
            liveness,
            rng: Rng::from_seed(seed),
            latest: now,
            heard: now,
            spoke: now,
            silence: 0,
            is_young: true,
            answer_by: None,
            asked: now,
            is_second: false,
            doubt: NEVER,
            calm: 0,
        }
    }

    /// Something was received: an item, or some bytes of one. It answers the ping
    /// that is out.
    ///
    /// If you choose what counts, leave out what does not: a proxy, for instance, may
    /// answer pings for a server that is gone. A write that was blocked and then
    /// moves counts, too, because only an acknowledgement frees a full buffer. A write
    /// that was never blocked does not.
    pub fn heard(&mut self, now: Duration) {
        self.heard = self.clock(now);
        self.silence = 0;
        self.answer_by = None;
        self.is_second = false;
    }

    /// As [`heard`](Self::heard), but nobody knows when: at the earliest when the last
    /// ping was asked for.
    #[cfg(feature = "tokio")]
    pub(crate) fn heard_since_ping(&mut self, now: Duration) {
        let heard = self.heard;
        self.heard(now);
        if self.liveness.pings {
            self.heard = heard.max(self.asked);
        }
    }

    /// Something was sent. Only [`speak_every`](Liveness::speak_every) needs to know.
    /// A ping that the machine asks for counts by itself.
    pub fn sent(&mut self, now: Duration) {
        self.spoke = self.clock(now);
    }

    /// There is a reason to doubt that the connection lives: the device slept, or its
    /// network has changed. The next [`poll`](Self::poll) pings.
    ///
    /// If a ping is out, its answer now has five seconds. Doubts within five seconds
    /// of such a ping lead to one more after them. Without pings
    /// ([`listen_only`](Liveness::listen_only)) it does nothing.
    pub fn doubt(&mut self, now: Duration) {
        let now = self.clock(now);
        if !self.liveness.pings {
            return;
        }
        let short = now.saturating_add(self.short());
        match &mut self.answer_by {
            Some(by) if *by > now => *by = short.min(*by),
            // It came while nobody looked, perhaps because the device slept.
            Some(_) if !self.is_second => {
                self.is_second = true;
                self.answer_by = None;
                self.doubt = now;
            }
            Some(_) => {}
            None => self.doubt = now.max(self.calm).min(self.doubt),
        }
    }

    /// What to do now. Look for what was received first, and tell it by
    /// [`heard`](Self::heard).
    pub fn poll(&mut self, now: Duration) -> Pulse {
        let now = self.clock(now);
        let silent_at = self.heard.saturating_add(self.silence());
        if let Some(by) = self.answer_by {
            return if now < by {
                sleep(by)
            } else if self.is_second || now - by < LATE {
                Pulse::Dead
            } else {
                self.is_second = true;
                self.look_again(now)
            };
        }
        if !self.liveness.pings {
            return if now < silent_at || silent_at == NEVER {
                sleep(silent_at)
            } else if now - silent_at < LATE {
                Pulse::Dead
            } else {
                self.is_second = true;
                self.look_again(now)
            };
        }
        let speak_at = self.spoke.saturating_add(self.liveness.speak);
        let due = silent_at.min(speak_at).min(self.doubt);
        if now < due || due == NEVER {
            return sleep(due);
        }
        if self.doubt <= now {
            self.calm = now.saturating_add(DOUBT);
            return self.look_again(now);
        }
        // A ping that is only there to speak gives no shorter notice of death.
        let from = if silent_at == NEVER {
            NEVER
        } else {
            silent_at.max(now)
        };
        self.ask(now, from.saturating_add(self.liveness.grace))
    }

    /// Puts off the end of the time for an answer: the ping could not be sent before.
    #[cfg(feature = "tokio")]
    pub(crate) fn put_off(&mut self, delay: Duration) {
        if let Some(by) = &mut self.answer_by {
            *by = by.saturating_add(nanos(delay));
        }
    }

    /// Whether it matters when something was sent.
    #[cfg(feature = "tokio")]
    pub(crate) fn must_speak(&self) -> bool {
        self.liveness.speak != NEVER
    }

    /// Whether a ping is out.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_asked(&self) -> bool {
        self.answer_by.is_some()
    }

    /// How long nothing has been heard.
    pub fn silent_for(&self, now: Duration) -> Duration {
        Duration::from_nanos(nanos(now).max(self.latest) - self.heard)
    }

    /// Gives the peer a short time to show that it lives.
    fn look_again(&mut self, now: u64) -> Pulse {
        let by = now.saturating_add(self.short());
        if self.liveness.pings {
            return self.ask(now, by);
        }
        self.answer_by = Some(by);
        sleep(by)
    }

    fn ask(&mut self, now: u64, answer_by: u64) -> Pulse {
        self.answer_by = Some(answer_by);
        self.asked = now;
        self.is_young = false;
        self.spoke = now;
        self.doubt = NEVER;
        Pulse::Ping
    }

    /// The time for an answer in doubt.
    fn short(&self) -> u64 {
        if self.liveness.pings {
            DOUBT.min(self.liveness.grace)
        } else {
            DOUBT.min(self.liveness.idle)
        }
    }

    /// How long the present silence may last.
    fn silence(&mut self) -> u64 {
        if self.silence == 0 {
            let idle = self.liveness.idle;
            self.silence = idle;
            if idle != NEVER && self.liveness.pings && self.liveness.jitter {
                let range = if self.is_young { idle / 2 } else { idle / 5 };
                self.silence -= scale(self.rng.next_u64(), range);
            }
        }
        self.silence
    }

    fn clock(&mut self, now: Duration) -> u64 {
        self.latest = nanos(now).max(self.latest);
        self.latest
    }
}

fn sleep(until: u64) -> Pulse {
    Pulse::Sleep(match until {
        NEVER => Duration::MAX,
        until => Duration::from_nanos(until),
    })
}
