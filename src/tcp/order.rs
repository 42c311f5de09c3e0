//! In which order the addresses are tried.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Each address once, the two families in turn (RFC 8305, section 4).
///
/// `preferred` comes first if it is among them, otherwise the resolver's first.
pub(super) fn arrange(
    found: impl IntoIterator<Item = SocketAddr>,
    preferred: Option<SocketAddr>,
) -> VecDeque<SocketAddr> {
    let mut once = Vec::new();
    for address in found {
        if !once.contains(&address) {
            once.push(address);
        }
    }
    if let Some(place) = once.iter().position(|address| Some(*address) == preferred) {
        once[..=place].rotate_right(1);
    }
    let Some(first) = once.first() else {
        return VecDeque::new();
    };
    let is_v4 = first.is_ipv4();
    let (ours, others): (Vec<_>, Vec<_>) = once
        .into_iter()
        .partition(|address| address.is_ipv4() == is_v4);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut order = VecDeque::with_capacity(ours.len() + others.len());
    while ours.len() + others.len() > 0 {
        order.extend(ours.next());
        order.extend(others.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    /// `6a` is an address of IPv6, and so on.
    fn address(name: &str) -> SocketAddr {
        let text = match name.split_at(1) {
            ("6", name) => format!("[2001:db8::{name}]:80"),
            (_, name) => format!("192.0.2.{}:80", u32::from_str_radix(name, 16).unwrap()),
        };
        text.parse().unwrap()
    }

    fn arranged(names: &str, preferred: Option<&str>) -> Vec<SocketAddr> {
        arrange(names.split(' ').map(address), preferred.map(address)).into()
    }

    fn addresses(names: &str) -> Vec<SocketAddr> {
        names.split(' ').map(address).collect()
    }

    #[test]
    fn the_families_take_turns_and_the_first_address_stays_first() {
        assert_eq!(arranged("6a 6b 4a 4b", None), addresses("6a 4a 6b 4b"));
        assert_eq!(arranged("4a 4b 4c 6a", None), addresses("4a 6a 4b 4c"));
        assert_eq!(arranged("4a 4b", None), addresses("4a 4b"));
        assert!(arrange([], None).is_empty());
    }

    #[test]
    fn an_address_that_comes_twice_is_tried_once() {
        assert_eq!(arranged("4a 6a 4a 6a 4b", None), addresses("4a 6a 4b"));
    }

    #[test]
    fn the_preferred_address_comes_first_if_it_is_there() {
        assert_eq!(
            arranged("6a 6b 4a 4b", Some("4b")),
            addresses("4b 6a 4a 6b")
        );
        assert_eq!(
            arranged("6a 6b 4a 4b", Some("6b")),
            addresses("6b 4a 6a 4b")
        );
        assert_eq!(arranged("6a 4a", Some("4c")), addresses("6a 4a"));
    }
}
