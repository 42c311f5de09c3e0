//! The rule of `Stratified`, word for word and in floating point: what the
//! fixed-point policy is held against, and what its variations are made of.

// Each test file uses its own part of this module.
#![allow(dead_code, unreachable_pub)]

use redial::{Cause, Failed, Policy, Rng};
use std::time::Duration;

/// Widths in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Literal {
    pub base: f64,
    pub growth: f64,
    /// The longest step of the walk, as a fraction of a stratum.
    pub walk: f64,
    pub cap: f64,
    pub busy_cap: f64,
    pub stalled_cap: f64,
    /// A stratum is flat where the next one cannot be `growth` times as wide,
    /// and not only where it stands at the cap itself.
    pub flat_before_the_cap: bool,
    /// What a step beyond the ends of 0..1 becomes.
    pub bound: fn(f64) -> f64,
}

impl Default for Literal {
    fn default() -> Self {
        Self {
            base: 1e9,
            growth: 1.6,
            walk: 0.25,
            cap: 30e9,
            busy_cap: 600e9,
            stalled_cap: 600e9,
            flat_before_the_cap: true,
            bound: reflect,
        }
    }
}

/// Back from an end as far as the step went beyond it.
pub fn reflect(u: f64) -> f64 {
    if u < 0.0 {
        -u
    } else if u >= 1.0 {
        2.0 - u
    } else {
        u
    }
}

/// A window of time since the loss.
#[derive(Clone, Copy, Debug)]
pub struct Stratum {
    pub start: f64,
    pub width: f64,
    pub flat: bool,
}

impl Literal {
    pub fn first(&self) -> Stratum {
        self.stratum(0.0, self.base)
    }

    pub fn after(&self, stratum: Stratum, cause: Cause) -> Stratum {
        let Stratum { start, width, .. } = stratum;
        let next = if width < self.cap {
            (width * self.growth).min(self.cap)
        } else {
            // Never narrower than before.
            let widest = match cause {
                Cause::Busy => self.busy_cap,
                Cause::Stalled => self.stalled_cap,
                _ => self.cap,
            };
            width.max((1.25 * width).min(widest))
        };
        self.stratum(start + width, next)
    }

    /// The strata of an outage in which every attempt fails for one cause.
    pub fn strata(&self, cause: Cause) -> impl Iterator<Item = Stratum> {
        std::iter::successors(Some(self.first()), move |&s| Some(self.after(s, cause)))
    }

    fn stratum(&self, start: f64, width: f64) -> Stratum {
        let flat = if self.flat_before_the_cap {
            width * self.growth > self.cap
        } else {
            width >= self.cap
        };
        Stratum { start, width, flat }
    }

    /// The instant of the attempt at `u`.
    pub fn at(&self, u: f64, stratum: Stratum) -> f64 {
        let g = self.growth;
        let position = if stratum.flat || g <= 1.0 {
            u
        } else {
            (g.powf(u) - 1.0) / (g - 1.0)
        };
        stratum.start + position * stratum.width
    }

    /// The inverse of [`at`](Self::at).
    pub fn u(&self, at: f64, stratum: Stratum) -> f64 {
        let g = self.growth;
        let position = (at - stratum.start) / stratum.width;
        if stratum.flat || g <= 1.0 {
            position
        } else {
            (position * (g - 1.0)).ln_1p() / g.ln()
        }
    }

    /// The fleet's share of attempts before `t`, which lies in the stratum.
    pub fn share_before(&self, t: f64, stratum: Stratum) -> f64 {
        self.u(t, stratum).clamp(0.0, 1.0)
    }
}

impl Literal {
    /// One outage under the rule, with a generator of its own.
    pub fn outage(self, rng: Rng) -> Outage {
        Outage {
            rule: self,
            rng,
            latest: None,
            nearest: f64::INFINITY,
        }
    }
}

impl Policy for Literal {
    type State = Outage;

    fn begin(&self, rng: &mut Rng) -> Outage {
        self.outage(rng.clone())
    }

    fn next_delay(&self, outage: &mut Outage, _: &mut Rng, failed: &Failed) -> Option<Duration> {
        let elapsed = failed.elapsed.as_nanos() as f64;
        let (_, _, at) = outage.next_attempt(elapsed, failed.cause);
        // At least 1 ns, as instants are whole nanoseconds.
        Some(Duration::from_nanos((at - elapsed).ceil() as u64))
    }
}

/// One outage under the literal rule.
#[derive(Debug)]
pub struct Outage {
    rule: Literal,
    rng: Rng,
    latest: Option<(f64, Stratum)>,
    nearest: f64,
}

impl Outage {
    /// U[0, 1), from the numbers that `Stratified` draws.
    fn random(&mut self) -> f64 {
        self.rng.next_u64() as f64 / 2_f64.powi(64)
    }

    /// The next attempt's `u`, stratum and instant.
    pub fn next_attempt(&mut self, elapsed: f64, cause: Cause) -> (f64, Stratum, f64) {
        let (u, mut stratum) = match self.latest {
            None => (self.random(), self.rule.first()),
            Some((u, stratum)) => {
                let step = (2.0 * self.random() - 1.0) * self.rule.walk;
                ((self.rule.bound)(u + step), self.rule.after(stratum, cause))
            }
        };
        loop {
            let at = self.rule.at(u, stratum);
            self.nearest = self.nearest.min((at - elapsed).abs());
            if at > elapsed {
                self.latest = Some((u, stratum));
                return (u, stratum, at);
            }
            stratum = self.rule.after(stratum, cause);
        }
    }

    /// How near any instant was to the time at which it was asked whether that had
    /// passed. Within the error of rounding, the policy may answer otherwise.
    pub fn nearest(&self) -> f64 {
        self.nearest
    }
}
