//! Error codes of HTTP/2 and HTTP/3, in a GOAWAY or a reset of a stream.
//!
//! The h2 crate sends `ENHANCE_YOUR_CALM` by itself as a defence. Look at
//! `Error::is_remote` before you blame the server.

use super::{Advice, BUSY, DOWN, STOP};

/// An error code of HTTP/2. With h2 it is `u32::from(reason)`.
///
/// After a GOAWAY, connect anew: a connection that is used further fails forever.
/// `ENHANCE_YOUR_CALM` with the debug data `too_many_pings` also means to ping half as
/// often. `REFUSED_STREAM` was not processed, so the request can be repeated on the
/// same connection.
///
/// Source: RFC 9113 section 7.
pub const fn error(code: u32) -> Advice {
    match code {
        // NO_ERROR: a planned end. CANCEL. CONNECT_ERROR: the tunnel broke.
        0x0 | 0x8 | 0xa => DOWN,
        // INADEQUATE_SECURITY, HTTP_1_1_REQUIRED.
        0xc | 0xd => STOP,
        // A bug of one side or of a proxy, INTERNAL_ERROR, REFUSED_STREAM,
        // ENHANCE_YOUR_CALM.
        _ => BUSY,
    }
}

/// An error code of HTTP/3.
///
/// Source: RFC 9114 section 8.1. `H3_VERSION_FALLBACK` is as HTTP/2's
/// `HTTP_1_1_REQUIRED`.
pub const fn http3_error(code: u64) -> Advice {
    match code {
        // H3_NO_ERROR, H3_REQUEST_CANCELLED, H3_CONNECT_ERROR.
        0x100 | 0x10c | 0x10f => DOWN,
        // H3_VERSION_FALLBACK.
        0x110 => STOP,
        // H3_EXCESSIVE_LOAD, H3_REQUEST_REJECTED, and all others.
        _ => BUSY,
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::{check, nothing_else_stops};
    use super::*;

    const HTTP_2: &[(&[u32], &str)] = &[
        (&[0, 8, 10], "Down"),
        (&[1, 2, 3, 4, 5, 6, 7, 9, 11], "Busy"),
        (&[12, 13], "Stop"),
        (&[14, 0x100, u32::MAX], "Busy"),
    ];

    const HTTP_3: &[(&[u64], &str)] = &[
        (&[0x100, 0x10c, 0x10f], "Down"),
        (&[0x101, 0x102, 0x107, 0x10b], "Busy"),
        (&[0x110], "Stop"),
        (&[0, 8, 0x10d, 0x111, u64::MAX], "Busy"),
    ];

    #[test]
    fn each_error_is_judged_as_its_row_says() {
        check(|code| Some(error(code)), HTTP_2);
        nothing_else_stops(|code| Some(error(code)), 0..70_000, HTTP_2);
        check(|code| Some(http3_error(code)), HTTP_3);
        nothing_else_stops(|code| Some(http3_error(code)), 0..70_000, HTTP_3);
    }
}
