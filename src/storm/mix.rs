//! A fleet whose clients have different policies.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::invalid::{InvalidConfig, expect};
use crate::policy::{AnyPolicy, AnyState, Failed, Policy};
use crate::rng::Rng;

/// A policy for each part of a fleet. For example, most clients run the new release
/// and some still run the old one.
///
/// Each outage draws its policy at random, by the shares of the parts. If a tenth of
/// ten thousand clients has the old policy, the storm has a thousand such clients,
/// plus or minus thirty.
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
    parts: Vec<(f64, AnyPolicy)>,
    whole: f64,
}

/// The state of a [`Mix`]: the part that the outage drew, and the state of its
/// policy.
#[derive(Debug)]
pub struct MixState {
    part: usize,
    state: AnyState,
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
    pub fn new<P>(share: f64, policy: P) -> Self
    where
        P: Policy<State: Send + Sync + 'static> + fmt::Debug + Send + Sync + 'static,
    {
        expect(Self::try_new(share, policy))
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// If `share` is not a positive, finite number.
    pub fn try_new<P>(share: f64, policy: P) -> Result<Self, InvalidConfig>
    where
        P: Policy<State: Send + Sync + 'static> + fmt::Debug + Send + Sync + 'static,
    {
        let empty = Self {
            parts: vec![],
            whole: 0.0,
        };
        empty.try_and(share, policy)
    }

    /// Adds a part to the fleet.
    ///
    /// # Panics
    ///
    /// If `share` is not a positive, finite number;
    /// [`try_and`](Self::try_and) does not.
    #[track_caller]
    pub fn and<P>(self, share: f64, policy: P) -> Self
    where
        P: Policy<State: Send + Sync + 'static> + fmt::Debug + Send + Sync + 'static,
    {
        expect(self.try_and(share, policy))
    }

    /// As [`and`](Self::and).
    ///
    /// # Errors
    ///
    /// If `share` is not a positive, finite number.
    pub fn try_and<P>(mut self, share: f64, policy: P) -> Result<Self, InvalidConfig>
    where
        P: Policy<State: Send + Sync + 'static> + fmt::Debug + Send + Sync + 'static,
    {
        let whole = self.whole + share;
        if !(share > 0.0 && whole.is_finite()) {
            return Err(InvalidConfig::new(
                "share",
                share,
                "a part of the fleet needs a positive share, such as 0.1",
            ));
        }
        self.parts.push((share, AnyPolicy::new(policy)));
        self.whole = whole;
        Ok(self)
    }
}

impl Policy for Mix {
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
        MixState {
            part,
            state: self.parts[part].1.begin(rng),
        }
    }

    fn next_delay(&self, drawn: &mut MixState, rng: &mut Rng, failed: &Failed) -> Option<Duration> {
        let (_, policy) = self.parts.get(drawn.part)?;
        policy.next_delay(&mut drawn.state, rng, failed)
    }
}

impl fmt::Debug for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mix")?;
        let shares = self.parts.iter().map(|(share, _)| share / self.whole);
        f.debug_list().entries(shares).finish()
    }
}
