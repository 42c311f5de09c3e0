//! The keys of a server, and the MACs that it makes with them.

use alloc::boxed::Box;
use core::fmt;
use core::hint::black_box;

use hmac_sha256::HMAC;

use super::ticket::{BYTES, Claim, TAG, Ticket};
use crate::invalid::InvalidConfig;

/// The version of the form of tickets. The lowest bit of its byte tells keys apart.
const VERSION: u8 = 1 << 1;
/// A day in ms: a key of a day signs the tickets for slots on that day.
const DAY: u64 = 24 * 60 * 60 * 1000;
/// 128 bits: a shorter key could be guessed.
const SHORTEST: usize = 16;

/// The key that signs, and another that is accepted, too.
pub(super) struct Keys {
    first: Key,
    second: Option<Key>,
}

struct Key {
    secret: Box<[u8]>,
    /// The first byte of a ticket of this key.
    head: u8,
}

impl Keys {
    pub(super) fn new(secret: &[u8]) -> Result<Self, InvalidConfig> {
        Ok(Self {
            first: Key::new(secret)?,
            second: None,
        })
    }

    pub(super) fn accept(&mut self, secret: &[u8]) -> Result<(), InvalidConfig> {
        self.second = Some(Key::new(secret)?);
        Ok(())
    }

    pub(super) fn sign(&self, claim: Claim, client: &[u8]) -> Ticket {
        let mut bytes = [0; BYTES];
        bytes[0] = self.first.head;
        claim.write(&mut bytes);
        let tag = self.first.tag(&bytes, client);
        bytes[TAG..].copy_from_slice(&tag);
        Ticket::from_bytes(&bytes)
    }

    /// Whether these are the bytes of a ticket of this client.
    pub(super) fn signed(&self, ticket: &[u8; BYTES], client: &[u8]) -> bool {
        // Two keys may have the same head.
        [Some(&self.first), self.second.as_ref()]
            .into_iter()
            .flatten()
            .any(|key| key.head == ticket[0] && same(&key.tag(ticket, client), &ticket[TAG..]))
    }
}

impl Key {
    fn new(secret: &[u8]) -> Result<Self, InvalidConfig> {
        if secret.len() < SHORTEST {
            // The error does not show what may be a part of a secret.
            return Err(InvalidConfig::new(
                "key",
                format_args!("{} bytes long", secret.len()),
                "whoever guesses it can make tickets; give at least 16 random bytes, the same \
                 at each front end",
            ));
        }
        Ok(Self {
            head: VERSION | HMAC::mac(b"redial slots key", secret)[0] & 1,
            secret: secret.into(),
        })
    }

    /// The MAC of a ticket.
    fn tag(&self, ticket: &[u8; BYTES], client: &[u8]) -> [u8; BYTES - TAG] {
        let mut day = *b"redial slots........";
        day[12..].copy_from_slice(&(Claim::read(ticket).due / DAY).to_be_bytes());
        let mut mac = HMAC::new(HMAC::mac(day, &self.secret));
        mac.update(&ticket[..TAG]);
        mac.update((client.len() as u64).to_be_bytes());
        mac.update(client);
        let mut tag = [0; BYTES - TAG];
        tag.copy_from_slice(&mac.finalize()[..BYTES - TAG]);
        tag
    }
}

/// Whether both are equal, in a time that does not depend on where they differ.
fn same(mine: &[u8; BYTES - TAG], shown: &[u8]) -> bool {
    let differing = mine
        .iter()
        .zip(shown)
        .fold(0, |differing, (a, b)| black_box(differing | (a ^ b)));
    shown.len() == mine.len() && differing == 0
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = 1 + usize::from(self.second.is_some());
        write!(f, "{number} secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;
    use alloc::vec::Vec;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
            .collect()
    }

    /// RFC 4231, section 4. Case 5 gives only the first 128 bits.
    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        let cases: [(Vec<u8>, Vec<u8>, &str); 7] = [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (b"Jefe".to_vec(), b"what do ya want for nothing?".to_vec(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (vec![0xaa; 20], vec![0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            ((1..=25).collect(), vec![0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            (vec![0x0c; 20], b"Test With Truncation".to_vec(), "a3b6167473100ee06e0c796c2955552b"),
            (vec![0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
            (vec![0xaa; 131], b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.".to_vec(), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
        ];
        for (key, data, expected) in cases {
            let expected = hex(expected);
            let whole = HMAC::mac(&data, &key);
            assert_eq!(whole[..expected.len()], expected);
            // As tickets use it: in parts.
            let mut parts = HMAC::new(&key);
            for part in data.chunks(7) {
                parts.update(part);
            }
            assert_eq!(parts.finalize(), whole);
        }
    }

    /// Computed by Python's hmac, hashlib and base64.
    #[test]
    fn the_form_of_tickets_is_kept() {
        let ten_seconds = Claim {
            due: 1_800_000_000_000,
            wait: 10_000,
        };
        for (secret, ticket) in [
            (
                "a key of the tests, 1",
                "AwGjGFxQAAAAJxDDjYHVNcsuiTDWlUXRgZMk",
            ),
            (
                "a key of the tests, 2",
                "AgGjGFxQAAAAJxBlHig0okj6m35qeW3XWmzZ",
            ),
        ] {
            let keys = Keys::new(secret.as_bytes()).unwrap();
            assert_eq!(keys.sign(ten_seconds, b"ann").as_str(), ticket);
        }
        let keys = Keys::new(b"a key of the tests, 1").unwrap();
        let midnight = 1_799_971_200_000;
        for (due, wait, client, ticket) in [
            (0, 0, "", "AwAAAAAAAAAAAAD4201RbZMIii-Sa21oCJLM"),
            (
                midnight - 1,
                1,
                "ünïcode",
                "AwGjFqTb_wAAAAGqAbtF1ZhuKi1tGd_FtS7X",
            ),
            (
                midnight,
                1,
                "ünïcode",
                "AwGjFqTcAAAAAAGALHnnsluec4B5lBX9RMIK",
            ),
            (
                Claim::LAST,
                u32::MAX,
                &"x".repeat(100),
                "A_____________9GW36U2xR1ZP8cRwuHQ_yh",
            ),
        ] {
            let made = keys.sign(Claim { due, wait }, client.as_bytes());
            assert_eq!(made.as_str(), ticket);
            let bytes = Ticket::bytes(ticket).unwrap();
            assert!(keys.signed(&bytes, client.as_bytes()));
        }
    }

    #[test]
    fn a_ticket_is_accepted_by_both_keys_in_either_order() {
        let secrets: Vec<_> = (1..=4)
            .map(|n| format!("a key of the tests, {n}"))
            .collect();
        let keys = |signs: &str, accepts: Option<&str>| {
            let mut keys = Keys::new(signs.as_bytes()).unwrap();
            if let Some(other) = accepts {
                keys.accept(other.as_bytes()).unwrap();
            }
            keys
        };
        let heads: Vec<_> = secrets.iter().map(|s| keys(s, None).first.head).collect();
        assert_eq!(heads, [3, 2, 3, 3], "pairs with one head, and with two");
        let claim = Claim { due: 1, wait: 1 };
        for (old, new) in secrets
            .iter()
            .flat_map(|a| secrets.iter().map(move |b| (a, b)))
        {
            let of =
                |secret| Ticket::bytes(keys(secret, None).sign(claim, b"ann").as_str()).unwrap();
            for both in [keys(old, Some(new)), keys(new, Some(old))] {
                assert!(both.signed(&of(old), b"ann") && both.signed(&of(new), b"ann"));
                assert!(!both.signed(&of(old), b"bob"));
            }
            assert_eq!(keys(new, None).signed(&of(old), b"ann"), old == new);
            assert_eq!(
                keys(old, Some(new)).sign(claim, b"ann").as_str(),
                keys(old, None).sign(claim, b"ann").as_str()
            );
        }
    }
}
