//! An outage that is carried over a restart of the program.

use core::time::Duration;

use crate::policy::Cause;

/// An outage that is carried over a restart of the program; made by
/// [`Outage::save`](crate::Outage::save) and [`Redial::save`](crate::Redial::save).
///
/// With the feature `serde` it can be written down. Later versions read what
/// this one wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub struct SavedOutage {
    pub(super) elapsed: Duration,
    pub(super) attempts: u32,
    pub(super) stalled: u8,
    pub(super) eager: bool,
    /// What is left of the present wait, if there is one.
    pub(super) wait: Option<Duration>,
    /// The failure that cost the server most: 0 is [`Cause::Down`].
    pub(super) cost: u8,
}

impl SavedOutage {
    pub(super) fn worst(&self) -> Cause {
        match self.cost {
            0 => Cause::Down,
            1 => Cause::Busy,
            _ => Cause::Stalled,
        }
    }
}

#[cfg(feature = "tokio")]
impl SavedOutage {
    /// The same outage, `away` later.
    pub(crate) fn later(&self, away: Duration) -> Self {
        Self {
            elapsed: self.elapsed.saturating_add(away),
            wait: self.wait.map(|wait| wait.saturating_sub(away)),
            ..*self
        }
    }

    /// The same with another wait.
    pub(crate) fn with_wait(self, wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..self
        }
    }
}
