//! TLS: alerts of the server, and failures that this side finds.
//!
//! A TLS failure cost the server a handshake, so it is never less than `Busy`, unless
//! the answer was no TLS at all.
//!
//! In TLS 1.3 a client believes that the handshake is done before the server has looked
//! at the client's certificate. Alerts 42 to 46, 48 and 116 then come with the first
//! read. A connector with a client certificate must read one message before it says
//! that it is connected.
//!
//! If the connection ends in the middle of a handshake, the transport was up: a server
//! at its limit, or a balancer without a backend. Make that `Busy`, if you know that it
//! was in the handshake.

use super::{Advice, BUSY, DOWN, STOP, STOP_THERE, TWICE, TWICE_EITHER, TWICE_THERE};

/// An alert that the server sent. With rustls it is `AlertReceived(alert)`, and the
/// number is `u8::from(alert)`.
///
/// Source: RFC 8446 section 6; 86 is of RFC 7507, 112 of RFC 6066 section 3, and 120 of
/// RFC 7301 section 3.2.
pub const fn alert(code: u8) -> Advice {
    match code {
        // close_notify, user_canceled: an orderly end.
        0 | 90 => DOWN,
        // handshake_failure: nothing in common, a client certificate that is missing,
        // or an old node in the middle of an upgrade.
        40 => TWICE_EITHER,
        // bad_certificate, unsupported_certificate, certificate_revoked: ours.
        42..=44 => STOP,
        // certificate_unknown: ours, for no reason in particular. Java's servers say it
        // for all that fails in a check, also if their OCSP responder is away.
        46 => TWICE_EITHER,
        // certificate_expired: ours, or the server's clock is wrong.
        45 => TWICE_EITHER,
        // unknown_ca: the server does not know our issuer. It may change its list.
        48 => TWICE_THERE,
        // access_denied.
        49 => STOP_THERE,
        // illegal_parameter, decrypt_error, missing_extension, unsupported_extension:
        // two implementations disagree, and an upgrade of the server heals that.
        47 | 51 | 109 | 110 => TWICE_EITHER,
        // protocol_version, insufficient_security, inappropriate_fallback,
        // no_application_protocol: nothing in common.
        70 | 71 | 86 | 120 => STOP,
        // unrecognized_name: or its certificate is not loaded yet.
        112 => TWICE_THERE,
        // unknown_psk_identity, certificate_required.
        115 | 116 => STOP,
        // unexpected_message, bad_record_mac, record_overflow, decode_error: damage on
        // the way. internal_error: overload, start-up. A stale staple; old ECH keys.
        _ => BUSY,
    }
}

/// What this side found wrong in a handshake, in no library's words.
///
/// | `rustls::Error` | fault |
/// |---|---|
/// | `InvalidCertificate(Expired …)` | [`Expired`](Self::Expired) |
/// | `InvalidCertificate(NotValidYet …)` | [`NotValidYet`](Self::NotValidYet) |
/// | `InvalidCertificate(UnknownIssuer)` | [`UnknownIssuer`](Self::UnknownIssuer) |
/// | `InvalidCertificate(NotValidForName …)` | [`WrongName`](Self::WrongName) |
/// | `InvalidCertificate(Revoked)` | [`Revoked`](Self::Revoked) |
/// | `InvalidCertificate(UnknownRevocationStatus \| ExpiredRevocationList … \| InvalidOcspResponse)` | [`StaleRevocation`](Self::StaleRevocation) |
/// | `InvalidCertificate(BadEncoding \| UnhandledCriticalExtension \| UnsupportedSignatureAlgorithm … \| BadSignature)` | [`BadCertificate`](Self::BadCertificate) |
/// | `InvalidCertificate(InvalidPurpose …)` | [`WrongPurpose`](Self::WrongPurpose) |
/// | `InvalidCertificate(ApplicationVerificationFailure \| Other(_))` | [`Verifier`](Self::Verifier) |
/// | `InvalidMessage(InvalidContentType)` | [`NoTls`](Self::NoTls) |
/// | `PeerIncompatible(ServerRejectedEncryptedClientHello(_))` | [`Damaged`](Self::Damaged) |
/// | other `PeerIncompatible` | [`Incompatible`](Self::Incompatible) |
/// | `NoApplicationProtocol`, `NoCertificatesPresented`, `InvalidCertRevocationList`, `InconsistentKeys`, `UnsupportedNameType`, `BadMaxFragmentSize`, `InvalidEncryptedClientHello` | [`OurSettings`](Self::OurSettings) |
/// | all others | [`Damaged`](Self::Damaged) |
///
/// tokio-rustls wraps the error in an `io::Error` of the kind `InvalidData`; find it
/// with `get_ref` and `downcast_ref`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The server's certificate has expired, or this clock is ahead; see
    /// [`is_clock_wrong`].
    Expired,
    /// The certificate is not valid yet. Certificates are issued with an earlier
    /// start, so nearly always this clock is behind. A clock is set without a person,
    /// so this never stops a client.
    NotValidYet,
    /// A root is missing here, an intermediate is missing there, or somebody in the
    /// middle answers: a captive portal, a company's proxy.
    UnknownIssuer,
    /// The certificate is for another name: a portal's, or a balancer has not loaded
    /// the new one.
    WrongName,
    /// The certificate was revoked.
    Revoked,
    /// A revocation list or an OCSP staple is missing or old.
    StaleRevocation,
    /// The certificate is broken, or newer than this library.
    BadCertificate,
    /// The certificate is not one for a server.
    WrongPurpose,
    /// A verifier of the program's own refused, for example a pin.
    Verifier,
    /// The answer was no TLS: plain text on this port, or a portal.
    NoTls,
    /// Damage on the way, a bug of the other side, or a host that is still starting.
    Damaged,
    /// The two sides have no version or suite in common.
    Incompatible,
    /// The settings of this side make no sense.
    OurSettings,
}

impl Fault {
    /// What the fault means for the next attempt.
    ///
    /// Never weaken a check to connect. These rules decide only about coming back.
    pub const fn advice(self) -> Advice {
        match self {
            Self::Expired | Self::BadCertificate => TWICE_THERE,
            Self::UnknownIssuer | Self::WrongName | Self::Incompatible => TWICE_EITHER,
            Self::Verifier => TWICE,
            Self::Revoked | Self::WrongPurpose => STOP_THERE,
            Self::NoTls => DOWN,
            Self::NotValidYet | Self::StaleRevocation | Self::Damaged => BUSY,
            Self::OurSettings => STOP,
        }
    }
}

impl From<Fault> for Advice {
    /// As [`Fault::advice`].
    fn from(fault: Fault) -> Self {
        fault.advice()
    }
}

/// The fault that a result of OpenSSL's certificate check means, the number of
/// `X509VerifyResult::as_raw`. `None` for 0, which is success.
///
/// Source: `include/openssl/x509_vfy.h`.
pub const fn openssl(code: i32) -> Option<Fault> {
    Some(match code {
        0 => return None,
        // UNABLE_TO_GET_ISSUER_CERT and …_LOCALLY, two kinds of SELF_SIGNED,
        // UNABLE_TO_VERIFY_LEAF_SIGNATURE.
        2 | 18..=21 => Fault::UnknownIssuer,
        // UNABLE_TO_GET_CRL, CRL_NOT_YET_VALID, CRL_HAS_EXPIRED.
        3 | 11 | 12 => Fault::StaleRevocation,
        // The signature cannot be decrypted, or read, or does not match.
        4 | 6 | 7 => Fault::BadCertificate,
        9 => Fault::NotValidYet,
        10 => Fault::Expired,
        // NOT_BEFORE and NOT_AFTER are no times.
        13 | 14 => Fault::BadCertificate,
        23 => Fault::Revoked,
        26 => Fault::WrongPurpose,
        // HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH.
        62 | 64 => Fault::WrongName,
        _ => Fault::Damaged,
    })
}

/// The fault that an error of Windows' SChannel means: an `HRESULT`, or the
/// `raw_os_error` of an `io::Error`. `None` if it says nothing about a certificate.
///
/// SChannel says "expired" of a certificate that is not valid yet, too.
///
/// Source: `winerror.h`, and Microsoft's table of SChannel's alerts.
pub const fn schannel(code: i32) -> Option<Fault> {
    Some(match code {
        // SEC_E_WRONG_PRINCIPAL, 0x80090322.
        -2_146_893_022 => Fault::WrongName,
        // SEC_E_UNTRUSTED_ROOT, 0x80090325.
        -2_146_893_019 => Fault::UnknownIssuer,
        // SEC_E_CERT_EXPIRED, 0x80090328.
        -2_146_893_016 => Fault::Expired,
        // CRYPT_E_REVOKED, 0x80092010.
        -2_146_885_616 => Fault::Revoked,
        _ => return None,
    })
}

/// The fault that an `OSStatus` of Apple's Secure Transport means. `None` if it says
/// nothing about a certificate.
///
/// Source: `SecureTransport.h`, as awslabs/aws-c-io and curl read it.
pub const fn secure_transport(code: i32) -> Option<Fault> {
    Some(match code {
        // errSSLUnknownRootCert, errSSLNoRootCert.
        -9812 | -9813 => Fault::UnknownIssuer,
        -9814 => Fault::Expired,
        -9815 => Fault::NotValidYet,
        -9843 => Fault::WrongName,
        _ => return None,
    })
}

/// Whether this host's clock is probably wrong, if a certificate seems to have expired
/// or not to be valid yet. Then it is worth a `Busy`, and a hint to the user.
///
/// `now` is this clock, `built` a time that it cannot be before, such as the date of
/// the program's build, and `not_before` the beginning of the certificate, if that is
/// known. All are seconds since 1970. A clock is wrong if it is before 2020 or before
/// `built`, or up to 90 days before `not_before`.
///
/// A clock that is ahead cannot be told from a certificate that has expired.
pub const fn is_clock_wrong(now: u64, built: u64, not_before: Option<u64>) -> bool {
    const YEAR_2020: u64 = 1_577_836_800;
    const NINETY_DAYS: u64 = 90 * 86_400;
    let is_early = match not_before {
        Some(start) => now < start && start - now < NINETY_DAYS,
        None => false,
    };
    now < YEAR_2020 || now < built || is_early
}

/// The advice on an expired certificate, if the clock may be wrong.
///
/// The arguments are those of [`is_clock_wrong`].
pub const fn expired(now: u64, built: u64) -> Advice {
    if is_clock_wrong(now, built, None) {
        BUSY
    } else {
        Fault::Expired.advice()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Actor;
    use super::super::notation::{check, nothing_else_stops, short};
    use super::*;

    const ALERTS: &[(&[u8], &str)] = &[
        (&[0, 90], "Down"),
        (&[10, 20, 22, 50], "Busy"),
        (&[40], "Stop(2) either"),
        (&[42, 43, 44], "Stop"),
        (&[46], "Stop(2) either"),
        (&[45], "Stop(2) either"),
        (&[48], "Stop(2) there"),
        (&[49], "Stop there"),
        (&[47, 109, 110], "Stop(2) either"),
        (&[51], "Stop(2) either"),
        (&[70, 71, 86], "Stop"),
        (&[80], "Busy"),
        (&[112], "Stop(2) there"),
        (&[113], "Busy"),
        (&[115, 116, 120], "Stop"),
        (&[121], "Busy"),
        (&[1, 21, 30, 41, 60, 100, 111, 114, u8::MAX], "Busy"),
    ];

    #[test]
    fn each_alert_is_judged_as_its_row_says() {
        check(|code| Some(alert(code)), ALERTS);
        nothing_else_stops(|code| Some(alert(code)), 0..=u8::MAX, ALERTS);
    }

    #[test]
    fn each_fault_is_judged_as_its_row_says() {
        for (fault, expected) in [
            (Fault::Expired, "Stop(2) there"),
            (Fault::NotValidYet, "Busy"),
            (Fault::UnknownIssuer, "Stop(2) either"),
            (Fault::WrongName, "Stop(2) either"),
            (Fault::Revoked, "Stop there"),
            (Fault::StaleRevocation, "Busy"),
            (Fault::BadCertificate, "Stop(2) there"),
            (Fault::WrongPurpose, "Stop there"),
            (Fault::Verifier, "Stop(2)"),
            (Fault::NoTls, "Down"),
            (Fault::Damaged, "Busy"),
            (Fault::Incompatible, "Stop(2) either"),
            (Fault::OurSettings, "Stop"),
        ] {
            assert_eq!(short(Some(fault.into())), expected, "{fault:?}");
        }
    }

    #[test]
    fn results_of_openssl_are_known_by_their_number() {
        for (code, fault) in [
            (0, None),
            (2, Some(Fault::UnknownIssuer)),
            (3, Some(Fault::StaleRevocation)),
            (7, Some(Fault::BadCertificate)),
            (9, Some(Fault::NotValidYet)),
            (10, Some(Fault::Expired)),
            (12, Some(Fault::StaleRevocation)),
            (18, Some(Fault::UnknownIssuer)),
            (19, Some(Fault::UnknownIssuer)),
            (20, Some(Fault::UnknownIssuer)),
            (21, Some(Fault::UnknownIssuer)),
            (23, Some(Fault::Revoked)),
            (26, Some(Fault::WrongPurpose)),
            (62, Some(Fault::WrongName)),
            (64, Some(Fault::WrongName)),
            (1, Some(Fault::Damaged)),
            (-1, Some(Fault::Damaged)),
            (i32::MAX, Some(Fault::Damaged)),
        ] {
            assert_eq!(openssl(code), fault, "{code}");
        }
    }

    #[test]
    fn errors_of_windows_and_macos_are_known_by_their_number() {
        for (code, fault) in [
            (0x8009_0322_u32, Some(Fault::WrongName)),
            (0x8009_0325, Some(Fault::UnknownIssuer)),
            (0x8009_0328, Some(Fault::Expired)),
            (0x8009_2010, Some(Fault::Revoked)),
            // An illegal message, and no error.
            (0x8009_0326, None),
            (0, None),
        ] {
            let signed = i32::from_ne_bytes(code.to_ne_bytes());
            assert_eq!(schannel(signed), fault, "{code:x}");
        }
        for (code, fault) in [
            (-9812, Some(Fault::UnknownIssuer)),
            (-9813, Some(Fault::UnknownIssuer)),
            (-9814, Some(Fault::Expired)),
            (-9815, Some(Fault::NotValidYet)),
            (-9843, Some(Fault::WrongName)),
            // Closed without a notice, a bad MAC, and no error.
            (-9816, None),
            (-9846, None),
            (0, None),
        ] {
            assert_eq!(secure_transport(code), fault, "{code}");
        }
    }

    #[test]
    fn a_clock_that_was_never_set_is_wrong() {
        const DAY: u64 = 86_400;
        const IN_2026: u64 = 1_790_000_000;
        assert!(is_clock_wrong(0, 0, None));
        assert!(is_clock_wrong(IN_2026, IN_2026 + 1, None));
        assert!(is_clock_wrong(IN_2026, 0, Some(IN_2026 + DAY)));
        assert!(!is_clock_wrong(IN_2026, 0, Some(IN_2026 + 90 * DAY)));
        assert!(!is_clock_wrong(IN_2026, 0, Some(IN_2026 - DAY)));
        assert!(!is_clock_wrong(IN_2026, IN_2026, Some(0)));
        assert!(!is_clock_wrong(u64::MAX, u64::MAX, Some(u64::MAX)));
        assert_eq!(short(Some(expired(0, 0))), "Busy");
        assert_eq!(short(Some(expired(IN_2026, 0))), "Stop(2) there");
    }

    #[test]
    fn an_unattended_program_stops_only_for_what_this_side_can_mend() {
        for (fault, expected) in [
            (Fault::Expired, "After 300"),
            (Fault::UnknownIssuer, "After 300"),
            (Fault::WrongName, "After 300"),
            (Fault::Revoked, "After 300"),
            (Fault::OurSettings, "Stop"),
        ] {
            assert_eq!(short(Some(fault.advice().unattended())), expected);
        }
        assert_eq!(Fault::UnknownIssuer.advice().actor(), Some(Actor::Either));
    }
}
