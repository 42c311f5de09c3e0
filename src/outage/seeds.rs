//! A seed for each outage.

/// Where the seeds of one client come from.
#[derive(Clone, Debug)]
pub(super) enum Seeds {
    /// To be drawn when the first is needed: a healthy client draws none.
    #[cfg(feature = "std")]
    Fresh,
    Sequence {
        seed: u64,
        outages: u32,
        randoms: u32,
    },
}

impl Seeds {
    pub(super) fn given(seed: u64) -> Self {
        Self::Sequence {
            seed,
            outages: 0,
            randoms: 0,
        }
    }

    /// The seed of the next outage: the seed itself, and then hashes of it and
    /// a counter.
    pub(super) fn next(&mut self) -> u64 {
        let (seed, outages, _) = self.sequence();
        let n = *outages;
        *outages = outages.wrapping_add(1);
        if n == 0 {
            seed
        } else {
            split_mix(seed, n as u64)
        }
    }

    /// A uniform random number, from the other end of the same hashes.
    pub(super) fn random(&mut self) -> u64 {
        let (seed, _, randoms) = self.sequence();
        *randoms = randoms.wrapping_add(1);
        split_mix(seed, (*randoms as u64).wrapping_neg())
    }

    fn sequence(&mut self) -> (u64, &mut u32, &mut u32) {
        #[cfg(feature = "std")]
        if let Self::Fresh = self {
            *self = Self::given(crate::entropy::fresh());
        }
        match self {
            #[cfg(feature = "std")]
            Self::Fresh => unreachable!("drawn above"),
            Self::Sequence {
                seed,
                outages,
                randoms,
            } => (*seed, outages, randoms),
        }
    }
}

/// The n-th output of `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014) from a
/// seed that is itself scrambled first, so that neighbouring seeds do not give
/// each other's sequences one step apart.
fn split_mix(seed: u64, n: u64) -> u64 {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let scramble = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    scramble(scramble(seed.wrapping_add(GAMMA)).wrapping_add(n.wrapping_mul(GAMMA)))
}
