//! A fleet in which not all clients are alike.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

use crate::invalid::{InvalidConfig, expect};
use crate::policy::{Backoff, Policy};

/// A policy for each part of a fleet: most have the new release, some still
/// run the old one.
///
/// Each outage draws its policy by the parts' shares, so a fleet of ten
/// thousand with a tenth on the old policy has a thousand of those, give or
/// take thirty.
///
/// ```
/// use redial::storm::{Mix, Storm};
/// use redial::{Stratified, Xoshiro256PlusPlus};
/// use std::{iter, time::Duration};
///
/// let old = |_: Xoshiro256PlusPlus| iter::repeat(Duration::from_secs(2));
/// let fleet = Mix::new(0.9, Stratified::default()).and(0.1, old);
/// let report = Storm::new(10_000).outage(Duration::from_secs(30)).run(&fleet);
/// // The tenth that is in step is still a stampede.
/// assert!(report.peak_100ms > 10.0);
/// ```
#[derive(Clone)]
pub struct Mix {
    parts: Vec<(f64, Arc<dyn Start + Send + Sync>)>,
    whole: f64,
}

/// A policy with its backoff's type forgotten.
trait Start {
    fn start(&self, rng: Xoshiro256PlusPlus) -> Box<dyn Backoff>;
}

impl<P: Policy> Start for P
where
    P::Backoff: 'static,
{
    fn start(&self, rng: Xoshiro256PlusPlus) -> Box<dyn Backoff> {
        Box::new(Policy::start(self, rng))
    }
}

impl Mix {
    /// A fleet of one part. Shares are relative to each other: 0.9 and 0.1 are
    /// 9 and 1.
    ///
    /// # Panics
    ///
    /// If `share` is not a positive, finite number;
    /// [`try_new`](Self::try_new) does not.
    #[track_caller]
    pub fn new<P>(share: f64, policy: P) -> Self
    where
        P: Policy + Send + Sync + 'static,
        P::Backoff: 'static,
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
        P: Policy + Send + Sync + 'static,
        P::Backoff: 'static,
    {
        let empty = Self {
            parts: vec![],
            whole: 0.0,
        };
        empty.try_and(share, policy)
    }

    /// Another part of the fleet.
    ///
    /// # Panics
    ///
    /// If `share` is not a positive, finite number;
    /// [`try_and`](Self::try_and) does not.
    #[track_caller]
    pub fn and<P>(self, share: f64, policy: P) -> Self
    where
        P: Policy + Send + Sync + 'static,
        P::Backoff: 'static,
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
        P: Policy + Send + Sync + 'static,
        P::Backoff: 'static,
    {
        let whole = self.whole + share;
        if !(share > 0.0 && whole.is_finite()) {
            return Err(InvalidConfig::new(format!(
                "a part's share of the fleet is {share}, and must be a positive number, such as \
                 0.1"
            )));
        }
        self.parts.push((share, Arc::new(policy)));
        self.whole = whole;
        Ok(self)
    }
}

impl Policy for Mix {
    type Backoff = Box<dyn Backoff>;

    fn start(&self, mut rng: Xoshiro256PlusPlus) -> Box<dyn Backoff> {
        // 53 random bits, uniform over 0..1.
        let mut place = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * self.whole;
        let drawn = self.parts.iter().find(|(share, _)| {
            place -= share;
            place < 0.0
        });
        // Past the end by a rounding only.
        let last = self.parts.last().expect("new() gives it a part");
        drawn.unwrap_or(last).1.start(rng)
    }
}

impl fmt::Debug for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mix")?;
        let shares = self.parts.iter().map(|(share, _)| share / self.whole);
        f.debug_list().entries(shares).finish()
    }
}
