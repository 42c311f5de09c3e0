//! An observer that keeps what it sees.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::waits::Waits;
use crate::clock::Instant;
use crate::driver::Event;
use crate::outage::Reason;
use crate::verdict::Verdict;

/// Records what a driver does, for a test to look at afterwards.
///
/// Clones share the record. If two drivers are observed by one recorder, their events
/// are in one list.
///
/// ```
/// use redial::test::{Recorder, Script, What, paused};
/// use redial::{Exponential, Jitter, Redial};
/// use std::time::Duration;
///
/// let [one, two] = [1, 2].map(Duration::from_secs);
/// paused(async {
///     let (connector, _server) = Script::new().refuse().times(2).connect().bytes();
///     let recorder = Recorder::new();
///     let mut redial = Redial::new(connector)
///         .policy(Exponential::new(one, two).jitter(Jitter::None))
///         .observe(recorder.observer());
///     redial.ready().await.unwrap();
///     recorder.waits().assert_within([one..=one, two..=two]);
///     let last = recorder.records().pop().unwrap();
///     assert!(matches!(last.what, What::Connected { attempt: 3, .. }));
/// });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Vec<Record>>>);

/// What happened, and when.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Record {
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// An [`Event`] without its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// An attempt begins.
    Connecting {
        /// The number of the attempt, counted from 1 in each outage.
        attempt: u32,
    },
    /// In the attempt, one of several servers is tried.
    Trying {
        /// The place of the server in the list.
        server: usize,
    },
    /// In the attempt, one of several servers has failed.
    ServerFailed {
        /// The place of the server in the list.
        server: usize,
        /// What the failure means for this server.
        verdict: Verdict,
    },
    /// In the attempt, one of several servers has taken the client.
    ServerConnected {
        /// The place of the server in the list.
        server: usize,
    },
    /// The transport of the attempt is established.
    Established {
        /// The number of the attempt.
        attempt: u32,
    },
    /// The attempt succeeded.
    Connected {
        /// The number of the attempt.
        attempt: u32,
        /// How long the outage has lasted.
        elapsed: Duration,
    },
    /// The attempt failed.
    Failed {
        /// The number of the attempt.
        attempt: u32,
        /// Whether there was an error. A timeout has none.
        has_error: bool,
        /// What the failure means.
        verdict: Verdict,
    },
    /// The connection is gone.
    Lost {
        /// What the loss means.
        verdict: Verdict,
    },
    /// A renewal is due.
    RenewalDue {
        /// The number of the attempt.
        attempt: u32,
    },
    /// A renewal succeeded.
    Renewed {
        /// The number of the attempt.
        attempt: u32,
    },
    /// The attempt of a renewal failed.
    RenewalFailed {
        /// The number of the attempt.
        attempt: u32,
        /// Whether there was an error. A timeout has none.
        has_error: bool,
        /// What the failure means.
        verdict: Verdict,
    },
    /// The server asked for a longer wait than is allowed.
    HintCut {
        /// What the server asked for.
        asked: Duration,
    },
    /// A handle has suspended the driver.
    Suspended,
    /// A wait begins.
    Waiting {
        /// The number of the attempt that follows.
        attempt: u32,
        /// The length of the wait.
        wait: Duration,
    },
    /// No attempt follows.
    GaveUp {
        /// Why.
        reason: Reason,
    },
    /// The driver is closed.
    Closed,
    /// An event that a recorder leaves out.
    Other,
}

impl<E> From<&Event<'_, E>> for What {
    fn from(event: &Event<'_, E>) -> Self {
        match *event {
            Event::Connecting { attempt, .. } => Self::Connecting { attempt },
            Event::Trying { server, .. } => Self::Trying { server },
            Event::ServerFailed {
                server, verdict, ..
            } => Self::ServerFailed { server, verdict },
            Event::ServerConnected { server, .. } => Self::ServerConnected { server },
            Event::Established { attempt, .. } => Self::Established { attempt },
            Event::Connected {
                attempt, elapsed, ..
            } => Self::Connected { attempt, elapsed },
            Event::Failed {
                attempt,
                error,
                verdict,
                ..
            } => Self::Failed {
                attempt,
                has_error: error.is_some(),
                verdict,
            },
            Event::Lost { verdict, .. } => Self::Lost { verdict },
            Event::RenewalDue { attempt, .. } => Self::RenewalDue { attempt },
            Event::Renewed { attempt, .. } => Self::Renewed { attempt },
            Event::RenewalFailed {
                attempt,
                error,
                verdict,
                ..
            } => Self::RenewalFailed {
                attempt,
                has_error: error.is_some(),
                verdict,
            },
            Event::HintCut { asked, .. } => Self::HintCut { asked },
            Event::Suspended => Self::Suspended,
            Event::Waiting { attempt, wait, .. } => Self::Waiting { attempt, wait },
            Event::GaveUp { reason, .. } => Self::GaveUp { reason },
            Event::Closed => Self::Closed,
            #[allow(unreachable_patterns)] // until there is an event that it leaves out
            _ => Self::Other,
        }
    }
}

impl Recorder {
    /// A recorder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A closure for [`Redial::observe`](crate::Redial::observe).
    pub fn observer<E: 'static>(&self) -> impl FnMut(&Event<'_, E>) + Send + 'static {
        let this = self.clone();
        move |event| {
            let record = Record {
                at: Instant::now(),
                what: event.into(),
            };
            this.lock().push(record);
        }
    }

    /// All that was recorded, in its order.
    pub fn records(&self) -> Vec<Record> {
        self.lock().clone()
    }

    /// The waits, in their order. A wait for a budget is one of them.
    pub fn waits(&self) -> Waits {
        Waits::new(self.find(|what| match what {
            What::Waiting { wait, .. } => Some(wait),
            _ => None,
        }))
    }

    /// How many attempts began.
    pub fn attempts(&self) -> usize {
        let begun = self.find(|what| matches!(what, What::Connecting { .. }).then_some(()));
        begun.len()
    }

    /// The verdicts on failures and losses, in their order.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.find(|what| match what {
            What::Failed { verdict, .. } | What::Lost { verdict } => Some(verdict),
            _ => None,
        })
    }

    /// Forgets what was recorded.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn find<T>(&self, found: impl Fn(What) -> Option<T>) -> Vec<T> {
        let records = self.lock();
        records.iter().filter_map(|it| found(it.what)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
