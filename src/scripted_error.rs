//! The error of a scripted attempt, or of a connection that is lost on purpose.
//!
//! This file is not in the folder `test`, because the verdicts know this error, and
//! they are below `test`.

use core::error::Error;
use core::fmt;
use std::io::{self, ErrorKind};

use crate::policy::Cause;
use crate::verdict::Verdict;

/// An error that carries its own verdict, inside of an [`io::Error`].
///
/// [`Verdict::of`], `Verdict::from(&io::Error)` and a driver without a classifier
/// give the verdict that it carries. The kind of the `io::Error` is one that a real
/// failure of this verdict would have, for classifiers that look at the kind:
///
/// | verdict | kind |
/// |---|---|
/// | `Retry(Down)` | `ConnectionRefused`, or `ConnectionReset` of a connection that was up |
/// | `Retry(Stalled)` | `TimedOut` |
/// | `Stop` | `PermissionDenied` |
/// | all others | `ResourceBusy` |
///
/// ```
/// use redial::Verdict;
/// use redial::test::ScriptedError;
/// use std::io::{self, ErrorKind};
/// use std::time::Duration;
///
/// let hint = Verdict::RetryAfter(Duration::from_secs(30));
/// let error: io::Error = ScriptedError::new(hint).into();
/// assert_eq!(Verdict::from(&error), hint);
/// assert_eq!(error.kind(), ErrorKind::ResourceBusy);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptedError {
    verdict: Verdict,
    was_up: bool,
}

impl ScriptedError {
    /// The error of an attempt.
    pub const fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            was_up: false,
        }
    }

    /// The error of a connection that was up.
    pub const fn lost(verdict: Verdict) -> Self {
        Self {
            verdict,
            was_up: true,
        }
    }

    /// The verdict that it carries.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The error inside of an `io::Error`.
    pub(crate) fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<ScriptedError> for io::Error {
    fn from(error: ScriptedError) -> Self {
        let kind = match error.verdict {
            Verdict::Retry(Cause::Down) if error.was_up => ErrorKind::ConnectionReset,
            Verdict::Retry(Cause::Down) => ErrorKind::ConnectionRefused,
            Verdict::Retry(Cause::Stalled) => ErrorKind::TimedOut,
            Verdict::Stop => ErrorKind::PermissionDenied,
            _ => ErrorKind::ResourceBusy,
        };
        Self::new(kind, error)
    }
}

impl fmt::Display for ScriptedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.was_up {
            "scripted loss"
        } else {
            "scripted failure"
        };
        write!(f, "{what}: {:?}", self.verdict)
    }
}

impl Error for ScriptedError {}
