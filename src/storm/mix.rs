//! A fleet whose clients have different policies.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::Fleet;
use super::fleet::{Habits, Members};
use crate::invalid::{InvalidConfig, expect};
use crate::policy::Failed;
use crate::rng::Rng;

/// A policy for each part of a fleet. For example, most clients run the new release
/// and some still run the old one.
///
/// A part is a [`Policy`](crate::Policy), a [`Client`](super::Client) with limits of
/// its own, or another mix. Each client draws its part at random, by the shares. If a
/// tenth of ten thousand clients has the old policy, the storm has a thousand such
/// clients, plus or minus thirty.
///
/// ```
/// use redial::storm::{Mix, Storm};
/// use redial::{Stratified, policy};
/// use std::{iter, time::Duration};
///
/// let old = policy::from_fn(|_rng| iter::repeat(Duration::from_secs(2)));
/// let fleet = Mix::new(0.9, Stratified::default()).and(0.1, old);
/// let report = Storm::new(10_000).outage(Duration::from_secs(30)).run(&fleet);
/// // A tenth of the fleet in step is still a stampede.
/// assert!(report.peak_100ms > 10.0);
/// ```
#[derive(Clone)]
pub struct Mix {
    parts: Vec<(f64, Arc<dyn Part>)>,
    whole: f64,
}

/// A part of a fleet whose type is erased.
trait Part: Send + Sync {
    fn begin(self: Arc<Self>, rng: &mut Rng) -> Box<dyn Drawn>;
}

/// A client of a part.
trait Drawn {
    fn again(&mut self, rng: &mut Rng);
    fn next_delay(&mut self, rng: &mut Rng, failed: &Failed) -> Option<Duration>;
    fn habits(&self) -> Option<Habits>;
    fn timeout(&self) -> Option<u64>;
}

struct One<F: Members> {
    part: Arc<F>,
    state: F::State,
}

impl<F: Members<State: 'static> + Send + Sync + 'static> Part for F {
    fn begin(self: Arc<Self>, rng: &mut Rng) -> Box<dyn Drawn> {
        let state = Members::begin(&*self, rng);
        Box::new(One { part: self, state })
    }
}

impl<F: Members> Drawn for One<F> {
    fn again(&mut self, rng: &mut Rng) {
        self.part.again(&mut self.state, rng);
    }

    fn next_delay(&mut self, rng: &mut Rng, failed: &Failed) -> Option<Duration> {
        self.part.next_delay(&mut self.state, rng, failed)
    }

    fn habits(&self) -> Option<Habits> {
        self.part.habits(&self.state)
    }

    fn timeout(&self) -> Option<u64> {
        self.part.timeout(&self.state)
    }
}

impl Mix {
    /// A fleet of one part. Shares are relative to each other: 0.9 and 0.1 mean the
    /// same as 9 and 1.
    ///
    /// # Panics
    ///
    /// If `share` is not a positive, finite number;
    /// [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new<F>(share: f64, clients: F) -> Self
    where
        F: Fleet<State: 'static> + Send + Sync + 'static,
    {
        expect(Self::try_new(share, clients))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If `share` is not a positive, finite number.
    pub fn try_new<F>(share: f64, clients: F) -> Result<Self, InvalidConfig>
    where
        F: Fleet<State: 'static> + Send + Sync + 'static,
    {
        let empty = Self {
            parts: vec![],
            whole: 0.0,
        };
        empty.try_and(share, clients)
    }

    /// Adds a part to the fleet.
    ///
    /// # Panics
    ///
    /// If `share` is not a positive, finite number;
    /// [`try_and`](Self::try_and) does not.
    #[track_caller]
    pub fn and<F>(self, share: f64, clients: F) -> Self
    where
        F: Fleet<State: 'static> + Send + Sync + 'static,
    {
        expect(self.try_and(share, clients))
    }

    /// As [`and`](Self::and).
    ///
    /// # Errors
    ///
    /// If `share` is not a positive, finite number.
    pub fn try_and<F>(mut self, share: f64, clients: F) -> Result<Self, InvalidConfig>
    where
        F: Fleet<State: 'static> + Send + Sync + 'static,
    {
        let whole = self.whole + share;
        if !(share > 0.0 && whole.is_finite()) {
            return Err(InvalidConfig::new(
                "share",
                share,
                "a part of the fleet needs a positive share, such as 0.1",
            ));
        }
        self.parts.push((share, Arc::new(clients)));
        self.whole = whole;
        Ok(self)
    }
}

/// A client of a [`Mix`], with the part that it drew.
#[allow(missing_debug_implementations, unnameable_types)]
pub struct MixState(Box<dyn Drawn>);

impl Members for Mix {
    type State = MixState;

    fn begin(&self, rng: &mut Rng) -> MixState {
        // 53 random bits, uniform over 0..1.
        let mut place = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * self.whole;
        let drawn = self.parts.iter().position(|(share, _)| {
            place -= share;
            place < 0.0
        });
        // Only a rounding error leads past the end.
        let part = drawn.unwrap_or(self.parts.len() - 1);
        MixState(self.parts[part].1.clone().begin(rng))
    }

    fn again(&self, client: &mut MixState, rng: &mut Rng) {
        client.0.again(rng);
    }

    fn next_delay(
        &self,
        client: &mut MixState,
        rng: &mut Rng,
        failed: &Failed,
    ) -> Option<Duration> {
        client.0.next_delay(rng, failed)
    }

    fn habits(&self, client: &MixState) -> Option<Habits> {
        client.0.habits()
    }

    fn timeout(&self, client: &MixState) -> Option<u64> {
        client.0.timeout()
    }
}

impl fmt::Debug for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mix")?;
        let shares = self.parts.iter().map(|(share, _)| share / self.whole);
        f.debug_list().entries(shares).finish()
    }
}
