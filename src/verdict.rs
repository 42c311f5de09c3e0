//! What an error means for the next attempt.

#[cfg(feature = "std")]
use core::error::Error;
use core::time::Duration;

use crate::policy::Cause;

/// What an error means for the next attempt.
///
/// # `std::io::Error`
///
/// `Verdict::from(&error)` judges an I/O error by its kind. So does the driver if
/// it has no [classifier](crate::Redial::classify):
///
/// | kind | verdict | because |
/// |---|---|---|
/// | any kind, from a dial of `redial::tcp` | `Retry(Down)` | no connection was made, so the server has done no work |
/// | the same, if the target makes no sense | `Stop` | it will make no sense again |
/// | `WouldBlock`, `ResourceBusy`, `QuotaExceeded` | `Retry(Busy)` | the other side, or this host, has no room now |
/// | all others from the OS | `Retry(Down)` | no server was there, or it left. `PermissionDenied` is a firewall, or a VPN that is being set up; `InvalidInput` a route that drops packets; `Unsupported` an address family that is switched off. All of these pass |
/// | `InvalidInput` without an OS error, if a look-up found no address | `Retry(Down)` | the name may be there later |
/// | other `InvalidInput`, `Unsupported`, `PermissionDenied` without an OS error | `Stop` | the request itself is wrong, and will be wrong again |
/// | `TimedOut` from std's `TcpStream::connect_timeout` | `Retry(Down)` | a packet without an answer cost the server nothing |
/// | other `TimedOut` without an OS error | `Retry(Stalled)` | a timer of ours ended a handshake that the server worked on |
/// | `InvalidData` without an OS error | `Retry(Busy)` | the peer speaks another protocol, or TLS failed: somebody answered |
/// | `UnexpectedEof` from tokio-rustls's handshake | `Retry(Busy)` | a server at its limit, or a balancer without a backend: somebody accepted |
/// | all others | `Retry(Down)` | waiting costs less than a client that stopped by mistake |
///
/// `InvalidData` is no `Stop` on purpose: a captive portal answers with the wrong
/// protocol until its user has logged in. An expired or wrong certificate should be
/// a `Stop`. Only the TLS library's own error type tells, so that is the
/// classifier's work.
///
/// [`Verdict::of`] finds the `io::Error` inside of any other error. The codes of
/// protocols, such as a status of HTTP, have tables in [`codes`](crate::codes).
///
/// Later versions may add verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Try again when the policy says so. The cause is what the attempt cost the
    /// server.
    Retry(Cause),
    /// Try again, but not before this time has passed.
    ///
    /// The time is a floor, such as HTTP's `Retry-After` (RFC 9110, section 10.2.3).
    /// If the policy's own wait is at least as long, that is the wait. Otherwise the
    /// wait is the floor plus a random time, or all clients that got the same answer
    /// would come back together. That random time is at most the floor, or 1 s if the
    /// floor is shorter. It counts as [`Cause::Busy`].
    ///
    /// A floor of more than [`hint_cap`](crate::Config::hint_cap), an hour by
    /// default, is cut to that.
    RetryAfter(Duration),
    /// Try again at exactly this time from now, because the server gave this client
    /// its own instant, for example by
    /// [`TokenBucket::reserve`](crate::TokenBucket::reserve).
    ///
    /// Use it only for hints that differ from client to client. If all clients get
    /// the same hint, it is a [`RetryAfter`](Verdict::RetryAfter). So is a slot
    /// beyond [`hint_cap`](crate::Config::hint_cap).
    Slot(Duration),
    /// Do not try again, because it cannot help: a wrong password, a ban, an expired
    /// certificate.
    Stop,
}

impl Default for Verdict {
    /// `Retry(Down)`, for an unknown error.
    fn default() -> Self {
        Self::Retry(Cause::Down)
    }
}

#[cfg(feature = "std")]
impl From<&std::io::Error> for Verdict {
    fn from(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;

        #[cfg(feature = "test-util")]
        if let Some(scripted) = crate::scripted_error::ScriptedError::within(error) {
            return scripted.verdict();
        }
        #[cfg(all(feature = "tokio", not(any(target_family = "wasm", loom))))]
        if let Some(dial) = crate::dial_error::DialError::of(error) {
            return if dial.is_nonsense() {
                Self::Stop
            } else {
                Self::Retry(Cause::Down)
            };
        }
        let is_from_the_os = error.raw_os_error().is_some();
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::ResourceBusy | ErrorKind::QuotaExceeded => {
                Self::Retry(Cause::Busy)
            }
            _ if is_from_the_os => Self::Retry(Cause::Down),
            ErrorKind::InvalidInput if is_without_address(error) => Self::Retry(Cause::Down),
            ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied => {
                Self::Stop
            }
            ErrorKind::TimedOut if is_of_connect_timeout(error) => Self::Retry(Cause::Down),
            ErrorKind::TimedOut => Self::Retry(Cause::Stalled),
            ErrorKind::InvalidData => Self::Retry(Cause::Busy),
            ErrorKind::UnexpectedEof if is_in_tls_handshake(error) => Self::Retry(Cause::Busy),
            _ => Self::Retry(Cause::Down),
        }
    }
}

/// Whether a look-up has found no address. The standard library and tokio say so
/// only in the text.
#[cfg(feature = "std")]
#[cold]
fn is_without_address(error: &std::io::Error) -> bool {
    use alloc::string::ToString;

    let text = error.to_string();
    text.starts_with("could not resolve to any address")
}

/// Whether std's `connect_timeout` made the error. It has no OS error, and no
/// error inside. Only the text tells it from a timeout that a program made.
#[cfg(feature = "std")]
#[cold]
fn is_of_connect_timeout(error: &std::io::Error) -> bool {
    use alloc::string::ToString;

    error.get_ref().is_none() && error.to_string() == "connection timed out"
}

/// Whether tokio-rustls met the end of the stream in a handshake. It says so only in
/// the text.
#[cfg(feature = "std")]
#[cold]
fn is_in_tls_handshake(error: &std::io::Error) -> bool {
    use alloc::string::ToString;

    error
        .get_ref()
        .is_some_and(|inner| inner.to_string() == "tls handshake eof")
}

/// An error that [`Verdict::of`] can judge: every type that implements
/// [`Error`](core::error::Error) and is `'static`, and `dyn Error` itself.
///
/// There is nothing to implement.
#[cfg(feature = "std")]
pub trait AsError {
    /// The error, without its type.
    fn as_error(&self) -> &(dyn Error + 'static);
}

#[cfg(feature = "std")]
impl<E: Error + 'static> AsError for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

macro_rules! without_its_type {
    ($($error:ty),+) => {$(
        #[cfg(feature = "std")]
        impl AsError for $error {
            fn as_error(&self) -> &(dyn Error + 'static) {
                self
            }
        }
    )+};
}

without_its_type!(dyn Error, dyn Error + Send, dyn Error + Send + Sync);

#[cfg(feature = "std")]
impl Verdict {
    /// The verdict on any error: on the first `io::Error` among the error and its
    /// [sources](Error::source), as in the table above. Without one it is
    /// `Retry(Down)`.
    ///
    /// An `io::Error` of the kind `Other` is a mere shell, so what it holds is
    /// judged. With the feature `codec`, `LinesCodecError::Io` and
    /// `AnyDelimiterCodecError::Io` of tokio-util are seen through; they name no
    /// source.
    ///
    /// The driver judges `io::Error` and boxed errors so by default. For every other
    /// type, this is a classifier:
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// use redial::{Redial, Verdict};
    /// use std::{error, fmt, io};
    ///
    /// #[derive(Debug)]
    /// struct LoginError(io::Error);
    ///
    /// impl fmt::Display for LoginError {
    ///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    ///         f.write_str("cannot log in")
    ///     }
    /// }
    ///
    /// impl error::Error for LoginError {
    ///     fn source(&self) -> Option<&(dyn error::Error + 'static)> {
    ///         Some(&self.0)
    ///     }
    /// }
    ///
    /// async fn log_in() -> Result<(), LoginError> {
    ///     // …
    /// #   Ok(())
    /// }
    ///
    /// let redial = Redial::new(log_in).classify(Verdict::of);
    /// # }
    /// ```
    pub fn of<E: AsError + ?Sized>(error: &E) -> Self {
        io_error(error.as_error()).map_or_else(Self::default, Self::from)
    }

    /// The verdict on an error of any type. Adds its text, if that is asked for and
    /// the type is known.
    #[cfg(feature = "tokio")]
    pub(crate) fn on<E: 'static>(error: &E, text: Option<&mut alloc::string::String>) -> Self {
        use alloc::string::String;
        use core::any::Any;
        use core::fmt::Write;

        let known = known_error(error);
        if let Some(text) = text {
            let any: &dyn Any = error;
            // Writing to a string does not fail.
            let _ = match (known, any.downcast_ref::<String>()) {
                (Some(error), _) => write!(text, "{error}"),
                (None, Some(string)) => text.write_str(string),
                (None, None) => text.write_str(any.downcast_ref::<&'static str>().unwrap_or(&"")),
            };
        }
        known.map_or_else(Self::default, Self::of)
    }
}

/// The first `io::Error` among an error and its sources that says something.
#[cfg(feature = "std")]
fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a std::io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        let Some(io) = error.downcast_ref().or_else(|| in_codec(error)) else {
            continue;
        };
        match std::io::Error::get_ref(io) {
            // A shell.
            Some(inner) if io.kind() == std::io::ErrorKind::Other => next = Some(inner),
            _ => return Some(io),
        }
    }
    None
}

/// An error of a type that is known without a bound.
#[cfg(feature = "tokio")]
fn known_error<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    use std::boxed::Box;

    let any: &dyn core::any::Any = error;
    if let Some(io) = any.downcast_ref::<std::io::Error>() {
        return Some(io);
    }
    if let Some(boxed) = any.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        return Some(boxed.as_ref());
    }
    if let Some(boxed) = any.downcast_ref::<Box<dyn Error>>() {
        return Some(boxed.as_ref());
    }
    codec_error(any)
}

/// The `io::Error` that is judged if the driver has no classifier.
#[cfg(feature = "tokio")]
pub(crate) fn judged<E: 'static>(error: &E) -> Option<&std::io::Error> {
    known_error(error).and_then(io_error)
}

/// The `io::Error` in an error of tokio-util's codecs.
#[cfg(feature = "codec")]
fn in_codec<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a std::io::Error> {
    use tokio_util::codec::{AnyDelimiterCodecError, LinesCodecError};

    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(LinesCodecError::Io(io)), _) | (_, Some(AnyDelimiterCodecError::Io(io))) => Some(io),
        _ => None,
    }
}

#[cfg(all(feature = "std", not(feature = "codec")))]
fn in_codec<'a>(_: &'a (dyn Error + 'static)) -> Option<&'a std::io::Error> {
    None
}

/// An error of tokio-util's codecs.
#[cfg(feature = "codec")]
fn codec_error(error: &dyn core::any::Any) -> Option<&(dyn Error + 'static)> {
    use tokio_util::codec::{AnyDelimiterCodecError, LinesCodecError};

    if let Some(error) = error.downcast_ref::<LinesCodecError>() {
        return Some(error);
    }
    Some(error.downcast_ref::<AnyDelimiterCodecError>()?)
}

#[cfg(all(feature = "tokio", not(feature = "codec")))]
fn codec_error(_: &dyn core::any::Any) -> Option<&(dyn Error + 'static)> {
    None
}

#[cfg(all(test, feature = "tokio"))]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::error::Error;
    use std::io::{self, ErrorKind};

    #[test]
    fn io_errors_are_judged_as_the_table_says() {
        for (kind, verdict) in [
            (ErrorKind::ConnectionRefused, Verdict::Retry(Cause::Down)),
            (ErrorKind::InvalidData, Verdict::Retry(Cause::Busy)),
            (ErrorKind::Other, Verdict::Retry(Cause::Down)),
            (ErrorKind::ResourceBusy, Verdict::Retry(Cause::Busy)),
            (ErrorKind::TimedOut, Verdict::Retry(Cause::Stalled)),
            (ErrorKind::PermissionDenied, Verdict::Stop),
            (ErrorKind::Unsupported, Verdict::Stop),
        ] {
            assert_eq!(Verdict::from(&io::Error::from(kind)), verdict, "{kind:?}");
        }
    }

    #[cfg(any(
        windows,
        target_vendor = "apple",
        target_os = "linux",
        target_os = "android"
    ))]
    #[test]
    fn no_error_of_the_system_stops_a_client() {
        // A socket without room now; and errors of files.
        let busy: &[i32] = if cfg!(windows) {
            // WSAEWOULDBLOCK; WSAEDQUOT, ERROR_BUSY, ERROR_DISK_QUOTA_EXCEEDED.
            &[10_035, 10_069, 170, 1295]
        } else if cfg!(target_vendor = "apple") {
            // EAGAIN; EBUSY, EDQUOT.
            &[35, 16, 69]
        } else {
            // The same. A Unix socket whose backlog is full gives EAGAIN.
            &[11, 16, 122]
        };
        // Those of sockets and look-ups begin at 10 000 on Windows.
        for code in (1..2000).chain(10_000..11_100) {
            let error = io::Error::from_raw_os_error(code);
            let cause = if busy.contains(&code) {
                Cause::Busy
            } else {
                Cause::Down
            };
            assert_eq!(Verdict::from(&error), Verdict::Retry(cause), "{error}");
        }
    }

    #[test]
    fn a_name_without_an_address_does_not_stop_a_client() {
        for text in [
            "could not resolve to any address",
            "could not resolve to any addresses",
        ] {
            let error = io::Error::new(ErrorKind::InvalidInput, text);
            assert_eq!(Verdict::from(&error), Verdict::Retry(Cause::Down));
        }
        let other = io::Error::new(ErrorKind::InvalidInput, "invalid port value");
        assert_eq!(Verdict::from(&other), Verdict::Stop);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_timeout_of_the_kernel_cost_the_server_nothing() {
        let etimedout = io::Error::from_raw_os_error(110);
        assert_eq!(etimedout.kind(), ErrorKind::TimedOut);
        assert_eq!(Verdict::from(&etimedout), Verdict::Retry(Cause::Down));
    }

    /// The errors of a connect, a read, a write or a look-up, by their numbers on Linux.
    #[cfg(target_os = "linux")]
    #[test]
    fn each_error_of_linux_is_judged_as_its_row_says() {
        const DOWN: Cause = Cause::Down;
        for (codes, cause) in [
            // Refused, timed out, reset, aborted, broken pipe, not connected.
            (&[111, 110, 104, 103, 32, 107][..], DOWN),
            // No route to the network; it is down; it was reset. The same of a host.
            (&[101, 100, 102, 113, 112], DOWN),
            // EACCES, EPERM: a firewall, a route that prohibits.
            (&[13, 1], DOWN),
            // No address or port left; in use.
            (&[99, 98], DOWN),
            // EINVAL: a route into a black hole, a link-local address without a scope.
            (&[22], DOWN),
            // IPv6 is switched off; EOPNOTSUPP, ENOSYS, EPROTONOSUPPORT.
            (&[97, 95, 38, 93], DOWN),
            // EMFILE, ENFILE, ENOBUFS, ENOMEM: what it cost the server counts.
            (&[24, 23, 105, 12], DOWN),
            // EAGAIN: the backlog of a Unix socket is full.
            (&[11], Cause::Busy),
            // EINTR; EALREADY, EINPROGRESS, EISCONN; ECANCELED.
            (&[4, 114, 115, 106, 125], DOWN),
            // ENOENT: no such Unix socket yet.
            (&[2], DOWN),
            // EPROTO, ENOPROTOOPT, EPROTOTYPE; EIO, ENONET, ENODEV, ENXIO; EKEYREJECTED.
            (&[71, 92, 91, 5, 64, 19, 6, 129], DOWN),
            // A number that nobody knows.
            (&[4000, i32::MAX, -1], DOWN),
        ] {
            for code in codes {
                let error = io::Error::from_raw_os_error(*code);
                assert_eq!(Verdict::from(&error), Verdict::Retry(cause), "{error}");
            }
        }
    }

    #[test]
    fn the_end_of_the_stream_in_a_tls_handshake_is_an_answer() {
        let eof = |text: &str| io::Error::new(ErrorKind::UnexpectedEof, text);
        assert_eq!(
            Verdict::from(&eof("tls handshake eof")),
            Verdict::Retry(Cause::Busy)
        );
        assert_eq!(
            Verdict::from(&eof("early eof")),
            Verdict::Retry(Cause::Down)
        );
        let plain = io::Error::from(ErrorKind::UnexpectedEof);
        assert_eq!(Verdict::from(&plain), Verdict::Retry(Cause::Down));
    }

    /// std's look-up loses the number of getaddrinfo, and has a text of the C library.
    #[test]
    fn a_look_up_that_fails_does_not_stop_a_client() {
        for text in [
            "failed to lookup address information: Name or service not known",
            "failed to lookup address information: Temporary failure in name resolution",
        ] {
            assert_eq!(
                Verdict::from(&io::Error::other(text)),
                Verdict::Retry(Cause::Down)
            );
        }
    }

    #[test]
    fn an_io_error_inside_a_box_is_found() {
        let timeout = || io::Error::from(ErrorKind::TimedOut);
        let plain: Box<dyn Error + Send + Sync> = Box::new(timeout());
        assert_eq!(Verdict::on(&plain, None), Verdict::Retry(Cause::Stalled));
        let local: Box<dyn Error> = Box::new(timeout());
        assert_eq!(Verdict::on(&local, None), Verdict::Retry(Cause::Stalled));
        assert_eq!(
            Verdict::on(&timeout(), None),
            Verdict::Retry(Cause::Stalled)
        );
        assert_eq!(Verdict::on(&"a message", None), Verdict::Retry(Cause::Down));
    }

    #[derive(Debug)]
    struct Outer(Box<dyn Error + Send + Sync>);

    impl core::fmt::Display for Outer {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("outer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self.0.as_ref())
        }
    }

    #[test]
    fn an_io_error_is_found_wherever_it_hides() {
        let stop = || io::Error::from(ErrorKind::PermissionDenied);
        let outer = |inner: io::Error| Outer(Box::new(inner));
        assert_eq!(Verdict::of(&stop()), Verdict::Stop);
        assert_eq!(Verdict::of(&outer(stop())), Verdict::Stop);
        assert_eq!(Verdict::of(&Outer(Box::new(outer(stop())))), Verdict::Stop);
        // In a shell, twice.
        let shell = io::Error::other(io::Error::other(outer(stop())));
        assert_eq!(Verdict::of(&shell), Verdict::Stop);
        let boxed: Box<dyn Error + Send + Sync> = Box::new(outer(shell));
        assert_eq!(Verdict::of(boxed.as_ref()), Verdict::Stop);
        assert_eq!(Verdict::on(&boxed, None), Verdict::Stop);
        let local: Box<dyn Error> = boxed;
        assert_eq!(Verdict::of(local.as_ref()), Verdict::Stop);
        // The outermost one counts, if it says something itself.
        let timeout = io::Error::new(ErrorKind::TimedOut, outer(stop()));
        assert_eq!(Verdict::of(&timeout), Verdict::Retry(Cause::Stalled));
        assert_eq!(Verdict::of(&core::fmt::Error), Verdict::Retry(Cause::Down));
    }

    #[cfg(feature = "codec")]
    #[test]
    fn an_io_error_in_a_codec_error_is_found() {
        use tokio_util::codec::{AnyDelimiterCodecError, LinesCodecError};

        let stop = || io::Error::from(ErrorKind::PermissionDenied);
        let lines = LinesCodecError::Io(stop());
        assert_eq!(Verdict::of(&lines), Verdict::Stop);
        assert_eq!(Verdict::on(&lines, None), Verdict::Stop);
        let delimited = AnyDelimiterCodecError::Io(stop());
        assert_eq!(Verdict::on(&delimited, None), Verdict::Stop);
        assert_eq!(Verdict::of(&Outer(Box::new(delimited))), Verdict::Stop);
        let too_long = LinesCodecError::MaxLineLengthExceeded;
        assert_eq!(Verdict::on(&too_long, None), Verdict::Retry(Cause::Down));
    }
}
