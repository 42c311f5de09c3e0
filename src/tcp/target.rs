//! What to connect to.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// What a [`Dial`](super::Dial) connects to: a name and a port, or a list of
/// addresses.
///
/// | from | is |
/// |---|---|
/// | `"chat.example:6667"` | a name, which each dial looks up |
/// | `("chat.example", 6667)` | the same |
/// | `"192.0.2.1:6667"`, `"[2001:db8::1]:6667"`, `("2001:db8::1", 6667)` | an address, without a look-up |
/// | [`SocketAddr`], `(IpAddr, u16)` | an address |
/// | a slice, an array or a `Vec` of [`SocketAddr`] | these addresses, raced as those of a name |
///
/// A text that makes no sense, such as `"chat.example"` without a port, is still a
/// target, and so is port 0. Each dial to it fails at once; see
/// [`DialError`](super::DialError).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(pub(super) Arc<Place>);

#[derive(PartialEq, Eq, Hash)]
pub(super) enum Place {
    Name { host: String, port: u16 },
    Addresses(Vec<SocketAddr>),
    Nonsense { text: String, remedy: &'static str },
}

const NO_PORT: &str = "it has no port; write it as \"host:port\", such as \"chat.example:6667\"";
const BAD_PORT: &str = "its port is not a number from 1 to 65535; write it as \"host:port\"";
const NO_HOST: &str = "it has no host; write it as \"host:port\", such as \"chat.example:6667\"";
const BAD_HOST: &str = "its host is no name; write \"host:port\" alone, without a scheme, a path, \
                        a user or spaces";
const NO_BRACKETS: &str =
    "an IPv6 address needs brackets; write it as \"[address]:port\", such as \"[::1]:6667\"";
const NO_ADDRESSES: &str = "the list of addresses is empty; give it at least one";
pub(super) const PORT_ZERO: &str =
    "no server listens on port 0; write the port that yours listens on";

impl Place {
    fn text(text: &str) -> Self {
        if let Ok(address) = text.parse() {
            return Self::addresses([address].into());
        }
        let nonsense = |remedy| Self::Nonsense {
            text: text.to_owned(),
            remedy,
        };
        let Some((host, port)) = text.rsplit_once(':') else {
            return nonsense(if text.is_empty() { NO_HOST } else { NO_PORT });
        };
        // `parse` takes a sign, too.
        let Some(port) = Some(port)
            .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|port| port.parse().ok())
        else {
            return nonsense(BAD_PORT);
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && is_v6(host) {
            return nonsense(NO_BRACKETS);
        }
        Self::host(bare.unwrap_or(host), port, text)
    }

    fn host(host: &str, port: u16, text: &str) -> Self {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Self::addresses([(ip, port).into()].into());
        }
        let is_name =
            |byte: char| !byte.is_whitespace() && !byte.is_control() && !"/@:[]".contains(byte);
        // The resolver knows what a scope such as `%eth0` means.
        if host.chars().all(is_name) && !host.is_empty() || is_v6(host) {
            return Self::Name {
                host: host.to_owned(),
                port,
            };
        }
        Self::Nonsense {
            text: text.to_owned(),
            remedy: if host.is_empty() { NO_HOST } else { BAD_HOST },
        }
    }

    fn addresses(addresses: Vec<SocketAddr>) -> Self {
        let remedy = if addresses.is_empty() {
            NO_ADDRESSES
        } else if addresses.iter().all(|address| address.port() == 0) {
            PORT_ZERO
        } else {
            return Self::Addresses(addresses);
        };
        Self::Nonsense {
            text: Self::Addresses(addresses).to_string(),
            remedy,
        }
    }
}

/// Whether it is an IPv6 address, with a scope or without.
fn is_v6(host: &str) -> bool {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Addresses(addresses) => {
                for (number, address) in addresses.iter().enumerate() {
                    let separator = if number == 0 { "" } else { ", " };
                    write!(f, "{separator}{address}")?;
                }
                Ok(())
            }
            Self::Nonsense { text, .. } => f.write_str(text),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl From<Place> for Target {
    fn from(place: Place) -> Self {
        Self(Arc::new(place))
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        Place::text(text).into()
    }
}

impl From<(&str, u16)> for Target {
    fn from((host, port): (&str, u16)) -> Self {
        Place::host(host, port, &alloc::format!("{host}:{port}")).into()
    }
}

impl From<&[SocketAddr]> for Target {
    fn from(addresses: &[SocketAddr]) -> Self {
        addresses.to_vec().into()
    }
}

impl From<Vec<SocketAddr>> for Target {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Place::addresses(addresses).into()
    }
}

impl<const N: usize> From<[SocketAddr; N]> for Target {
    fn from(addresses: [SocketAddr; N]) -> Self {
        addresses.to_vec().into()
    }
}

impl<const N: usize> From<&[SocketAddr; N]> for Target {
    fn from(addresses: &[SocketAddr; N]) -> Self {
        addresses.to_vec().into()
    }
}

impl From<&Vec<SocketAddr>> for Target {
    fn from(addresses: &Vec<SocketAddr>) -> Self {
        addresses.clone().into()
    }
}

/// The other forms, each by one of those above.
macro_rules! from {
    ($($form:ty as |$value:ident| $simpler:expr;)+) => {$(
        impl From<$form> for Target {
            fn from($value: $form) -> Self {
                $simpler.into()
            }
        }
    )+};
}

from! {
    String as |text| text.as_str();
    &String as |text| text.as_str();
    (String, u16) as |pair| (pair.0.as_str(), pair.1);
    (&String, u16) as |pair| (pair.0.as_str(), pair.1);
    SocketAddr as |address| [address];
    &SocketAddr as |address| [*address];
    SocketAddrV4 as |address| SocketAddr::V4(address);
    SocketAddrV6 as |address| SocketAddr::V6(address);
    (IpAddr, u16) as |pair| SocketAddr::from(pair);
    (Ipv4Addr, u16) as |pair| SocketAddr::from(pair);
    (Ipv6Addr, u16) as |pair| SocketAddr::from(pair);
}

impl From<&Self> for Target {
    fn from(target: &Self) -> Self {
        target.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(target: impl Into<Target>) -> Vec<String> {
        match &*target.into().0 {
            Place::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect(),
            Place::Name { .. } => panic!("a name"),
            Place::Nonsense { text, remedy } => panic!("{text}: {remedy}"),
        }
    }

    #[test]
    fn a_literal_is_an_address_without_a_look_up() {
        assert_eq!(addresses("192.0.2.1:80"), ["192.0.2.1:80"]);
        assert_eq!(addresses("[2001:db8::1]:80"), ["[2001:db8::1]:80"]);
        assert_eq!(addresses(("192.0.2.1", 80)), ["192.0.2.1:80"]);
        assert_eq!(addresses(("2001:db8::1", 80)), ["[2001:db8::1]:80"]);
        assert_eq!(addresses((Ipv4Addr::LOCALHOST, 80)), ["127.0.0.1:80"]);
        let list: [SocketAddr; 2] = [([192, 0, 2, 1], 80).into(), ([192, 0, 2, 2], 80).into()];
        let both = ["192.0.2.1:80", "192.0.2.2:80"];
        assert_eq!(addresses(list), both);
        assert_eq!(addresses(&list[..]), both);
        assert_eq!(addresses(list.to_vec()), both);
    }

    #[test]
    fn a_name_keeps_its_text() {
        for target in [
            Target::from("chat.example:6667"),
            ("chat.example", 6667).into(),
            (String::from("chat.example"), 6667).into(),
        ] {
            assert!(matches!(&*target.0, Place::Name { port: 6667, .. }));
            assert_eq!(target.to_string(), "chat.example:6667");
        }
        // The scope of a link-local address is the resolver's to read.
        for target in [Target::from("[fe80::1%lo]:80"), ("fe80::1%lo", 80).into()] {
            assert!(matches!(&*target.0, Place::Name { port: 80, .. }));
            assert_eq!(target.to_string(), "[fe80::1%lo]:80");
        }
    }

    #[test]
    fn nonsense_is_named_with_its_remedy() {
        for (text, expected) in [
            ("", NO_HOST),
            (":80", NO_HOST),
            ("foo", NO_PORT),
            ("host:", BAD_PORT),
            ("host:99999", BAD_PORT),
            ("host:+80", BAD_PORT),
            ("host:http", BAD_PORT),
            ("::1:80", NO_BRACKETS),
            ("http://host:80", BAD_HOST),
            ("a host:80", BAD_HOST),
            ("a:b:80", BAD_HOST),
            ("127.0.0.1:0", PORT_ZERO),
            ("[::1]:0", PORT_ZERO),
        ] {
            match &*Target::from(text).0 {
                Place::Nonsense { remedy, .. } => assert_eq!(*remedy, expected, "{text}"),
                _ => panic!("{text} was taken"),
            }
        }
    }
}
