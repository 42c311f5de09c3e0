//! Why a dial failed.
//!
//! This file is not in the folder `tcp`, because the verdicts know this error,
//! and they are below `tcp`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::net::SocketAddr;
use std::io::{self, ErrorKind};

/// Why a dial of [`tcp::connect`](crate::tcp::connect) failed.
///
/// A dial returns an [`io::Error`] that holds a `DialError`:
///
/// ```
/// # async fn doc() {
/// use redial::tcp::{self, DialError};
///
/// let error = tcp::connect("127.0.0.1:1").await.unwrap_err();
/// let dial = DialError::of(&error).expect("each error of a dial has one");
/// assert_eq!(dial.target(), "127.0.0.1:1");
/// for (address, error) in dial.attempts() {
///     eprintln!("{address}: {error}");
/// }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(doc());
/// ```
///
/// # Kind and source
///
/// The [kind](io::Error::kind) of the `io::Error` and its
/// [source](core::error::Error::source) are those of the attempt that got
/// farthest. A refusal is the server's own answer. After a timeout, the packets
/// at least left this host. Any other error came from this host or from a router.
/// If two attempts got equally far, the one that failed first counts.
///
/// | what failed | kind |
/// |---|---|
/// | the target makes no sense | `InvalidInput` |
/// | the name has no address | `NotFound` |
/// | the look-up failed | that of the look-up; `TimedOut` if no answer came |
/// | all attempts | that of the attempt that got farthest |
///
/// # Verdict
///
/// A target that makes no sense is a [`Stop`](crate::Verdict::Stop). All others
/// are `Retry(Down)`, timeouts too: a look-up or a dial without an answer has
/// cost the server nothing.
#[derive(Debug)]
pub struct DialError {
    target: String,
    failure: Failure,
}

#[derive(Debug)]
pub(crate) enum Failure {
    /// The target makes no sense. The remedy completes "cannot connect to …: ".
    Nonsense(&'static str),
    /// The look-up has answered, and there is no address. Some resolvers say so by
    /// an error.
    NoAddress(Option<Arc<io::Error>>),
    /// The look-up has failed.
    LookUp(Arc<io::Error>),
    /// All attempts have failed, in this order.
    Attempts(Vec<(SocketAddr, io::Error)>),
}

impl DialError {
    /// Finds the `DialError` inside of an `io::Error`. `None` if the error did not
    /// come from a dial.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The target, as the program wrote it: `chat.example:6667`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether the look-up answered that the name has no address.
    ///
    /// The system's resolver says "no such host" in the text of an error. The
    /// texts of Linux, macOS, the BSDs and Windows are known. On other systems
    /// such an error counts as a failed [look-up](Self::is_lookup).
    pub fn is_no_address(&self) -> bool {
        matches!(self.failure, Failure::NoAddress(_))
    }

    /// Whether the look-up of the name failed or timed out.
    pub fn is_lookup(&self) -> bool {
        matches!(self.failure, Failure::LookUp(_))
    }

    /// Each address that was tried, with its failure, in the order in which they
    /// failed. Empty if no attempt began.
    pub fn attempts(&self) -> &[(SocketAddr, io::Error)] {
        match &self.failure {
            Failure::Attempts(attempts) => attempts,
            _ => &[],
        }
    }

    pub(crate) fn is_nonsense(&self) -> bool {
        matches!(self.failure, Failure::Nonsense(_))
    }

    /// The error that a dial returns.
    #[cold]
    pub(crate) fn into_io(target: String, failure: Failure) -> io::Error {
        let error = Self { target, failure };
        let kind = match &error.failure {
            Failure::Nonsense(_) => ErrorKind::InvalidInput,
            Failure::NoAddress(_) => ErrorKind::NotFound,
            Failure::LookUp(error) => error.kind(),
            Failure::Attempts(attempts) => {
                farthest(attempts).map_or(ErrorKind::Other, io::Error::kind)
            }
        };
        io::Error::new(kind, error)
    }
}

/// The error of the attempt that got farthest, the first of them.
fn farthest(attempts: &[(SocketAddr, io::Error)]) -> Option<&io::Error> {
    let how_far = |error: &io::Error| match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted => 2,
        ErrorKind::TimedOut => 1,
        _ => 0,
    };
    // The last maximum counts, so the order is reversed.
    let errors = attempts.iter().rev().map(|(_, error)| error);
    errors.max_by_key(|error| how_far(error))
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match &self.failure {
            Failure::Nonsense(remedy) => write!(f, "cannot connect to \"{target}\": {remedy}"),
            Failure::NoAddress(_) => write!(f, "cannot connect to {target}: no address found"),
            Failure::LookUp(error) => {
                write!(f, "cannot connect to {target}: look-up failed: {error}")
            }
            Failure::Attempts(attempts) => {
                write!(f, "cannot connect to {target}")?;
                for (number, (address, error)) in attempts.iter().enumerate() {
                    let separator = if number == 0 { ": " } else { "; " };
                    // A target that is one address has been named.
                    if attempts.len() == 1 && alloc::format!("{address}") == *target {
                        write!(f, "{separator}{error}")?;
                    } else {
                        write!(f, "{separator}{address}: {error}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl Error for DialError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let error = match &self.failure {
            Failure::Nonsense(_) => None,
            Failure::NoAddress(error) => error.as_deref(),
            Failure::LookUp(error) => Some(&**error),
            Failure::Attempts(attempts) => farthest(attempts),
        };
        error.map(|error| error as _)
    }
}
