//! A ticket: 27 bytes that a client carries as 36 characters of text.

use core::fmt;
use core::str;

/// What a client that must wait takes along, and shows when it comes back.
///
/// It is 36 characters, all of them letters, digits, `-` or `_`. So it fits into a
/// header, a cookie, the reason of a WebSocket's close frame, and a line of IRC. It
/// means nothing to the client. It says for which instant it was given, and it carries a
/// MAC, so that a server knows its own tickets. It is worth nothing to any other client.
///
/// # Form
///
/// Base64 for URLs without padding (RFC 4648, section 5) of 27 bytes. Numbers are
/// unsigned, most significant byte first.
///
/// | bytes | what they are |
/// |---|---|
/// | 1 | the version, 1, times 2; plus a bit that tells apart the old and the new key |
/// | 6 | the instant from which on the client may come, in ms since 1970 |
/// | 4 | the wait that the client was told, in ms |
/// | 16 | the first half of the MAC |
///
/// All MACs are HMAC-SHA-256 (RFC 2104). The key of a day is the MAC of the text
/// `redial slots` and of the day of the instant, counted from 1970-01-01 as 8 bytes, under
/// the server's key. The ticket's MAC is made under the key of its day. It covers the
/// first 11 bytes, the length of the client's name as 8 bytes, and the name. The bit is
/// the lowest of the first byte of the MAC of `redial slots key` under the server's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket([u8; CHARACTERS]);

/// The length of a ticket in bytes …
pub(super) const BYTES: usize = 27;
/// … where its MAC begins, …
pub(super) const TAG: usize = 11;
/// … and of its text. There are no bits left over, so each ticket has one text.
const CHARACTERS: usize = BYTES / 3 * 4;

/// The characters for 0 to 63, in their order.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Ticket {
    /// The text that the client must hand back.
    pub fn as_str(&self) -> &str {
        // It is ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(super) fn from_bytes(bytes: &[u8; BYTES]) -> Self {
        let mut text = [0; CHARACTERS];
        for (three, four) in bytes.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
            let bits = three
                .iter()
                .fold(0, |bits, &byte| bits << 8 | byte as usize);
            for (place, character) in four.iter_mut().rev().enumerate() {
                *character = ALPHABET[bits >> (6 * place) & 63];
            }
        }
        Self(text)
    }

    /// The bytes of a text, if it has the form of a ticket.
    pub(super) fn bytes(text: &str) -> Option<[u8; BYTES]> {
        if text.len() != CHARACTERS {
            return None;
        }
        let mut bytes = [0; BYTES];
        for (four, three) in text
            .as_bytes()
            .chunks_exact(4)
            .zip(bytes.chunks_exact_mut(3))
        {
            let mut bits = 0;
            for &character in four {
                bits = bits << 6 | value(character)?;
            }
            three.copy_from_slice(&bits.to_be_bytes()[1..]);
        }
        Some(bytes)
    }
}

/// The place of a character in the [`ALPHABET`].
fn value(character: u8) -> Option<u32> {
    let (first, offset) = match character {
        b'A'..=b'Z' => (b'A', 0),
        b'a'..=b'z' => (b'a', 26),
        b'0'..=b'9' => (b'0', 52),
        b'-' => return Some(62),
        b'_' => return Some(63),
        _ => return None,
    };
    Some((character - first + offset).into())
}

impl AsRef<str> for Ticket {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.as_str()).finish()
    }
}

/// What a ticket says, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// When the client may come, since 1970.
    pub(super) due: u64,
    /// How long it was told to wait.
    pub(super) wait: u32,
}

impl Claim {
    /// The last instant that fits into six bytes. It is in the year 10889.
    pub(super) const LAST: u64 = (1 << 48) - 1;

    pub(super) fn write(self, bytes: &mut [u8; BYTES]) {
        bytes[1..7].copy_from_slice(&self.due.min(Self::LAST).to_be_bytes()[2..]);
        bytes[7..11].copy_from_slice(&self.wait.to_be_bytes());
    }

    pub(super) fn read(bytes: &[u8; BYTES]) -> Self {
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        };
        Self {
            due: number(&bytes[1..7]),
            wait: number(&bytes[7..11]) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    #[test]
    fn the_text_is_base64_for_urls() {
        // All values of six bits, one after the other.
        let all: Vec<u8> = (0..64u32)
            .step_by(4)
            .map(|n| n << 18 | (n + 1) << 12 | (n + 2) << 6 | (n + 3))
            .flat_map(|three| three.to_be_bytes().into_iter().skip(1))
            .collect();
        let first: [u8; BYTES] = all[..27].try_into().unwrap();
        let last: [u8; BYTES] = all[21..].try_into().unwrap();
        let text = |bytes: &[u8; BYTES]| String::from(Ticket::from_bytes(bytes).as_str());
        assert_eq!(text(&first), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij");
        assert_eq!(text(&last), "cdefghijklmnopqrstuvwxyz0123456789-_");
        for bytes in [first, last] {
            assert_eq!(Ticket::bytes(&text(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn a_claim_is_read_as_it_was_written() {
        for (due, wait) in [(0, 0), (1_800_000_000_123, 5_678), (Claim::LAST, u32::MAX)] {
            let claim = Claim { due, wait };
            let mut bytes = [0xA5; BYTES];
            claim.write(&mut bytes);
            assert_eq!(Claim::read(&bytes), claim);
            assert!(bytes[0] == 0xA5 && bytes[11..] == [0xA5; 16]);
        }
    }
}
