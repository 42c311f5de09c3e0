//! A seed for each outage.

/// The seeds of one client: those of its outages, and random numbers apart from
/// the policy's.
#[derive(Clone, Debug)]
pub(super) struct Seeds {
    seed: u64,
    /// How many outages have begun; [`FRESH`] before the seed is drawn.
    outages: u32,
    /// How many random numbers were drawn.
    randoms: u32,
}

/// The seed is drawn when the first outage needs it: a healthy client draws none.
const FRESH: u32 = u32::MAX;

impl Seeds {
    /// From entropy.
    #[cfg(feature = "std")]
    pub(super) fn fresh() -> Self {
        Self {
            outages: FRESH,
            ..Self::given(0)
        }
    }

    /// From the caller's seed.
    pub(super) fn given(seed: u64) -> Self {
        Self {
            seed,
            outages: 0,
            randoms: 0,
        }
    }

    /// The seed of the next outage: the seed itself for the first one, and then
    /// hashes of it and a counter.
    pub(super) fn next(&mut self) -> u64 {
        self.draw();
        let n = self.outages;
        self.outages = (n + 1) % FRESH;
        if n == 0 {
            self.seed
        } else {
            split_mix(self.seed, n as u64)
        }
    }

    /// A uniform random number, from the other end of the same hashes.
    pub(super) fn random(&mut self) -> u64 {
        self.draw();
        self.randoms = self.randoms.wrapping_add(1);
        split_mix(self.seed, (self.randoms as u64).wrapping_neg())
    }

    #[cfg_attr(not(feature = "std"), allow(clippy::unused_self))]
    fn draw(&mut self) {
        #[cfg(feature = "std")]
        if self.outages == FRESH {
            *self = Self::given(crate::entropy::fresh());
        }
    }
}

/// The n-th output of `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).
///
/// The seed is scrambled first. Otherwise neighbouring seeds would give the same
/// sequence, one step apart.
fn split_mix(seed: u64, n: u64) -> u64 {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let scramble = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    scramble(scramble(seed.wrapping_add(GAMMA)).wrapping_add(n.wrapping_mul(GAMMA)))
}
