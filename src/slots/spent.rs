//! The tickets that were used.

use alloc::collections::BTreeSet;

use super::ticket::{BYTES, Claim, TAG};

/// The tickets that were used and have not expired.
///
/// They are ordered by their instants, so those that expire first come first.
#[derive(Debug, Default)]
pub(super) struct Spent {
    /// The instant of a ticket, in ms since 1970, and the first half of its MAC.
    tickets: BTreeSet<(u64, u64)>,
}

impl Spent {
    /// Spends a ticket, if it was not used. Tickets for an instant before `expired` are
    /// forgotten. If there are more than `most`, so are the first of the others.
    pub(super) fn spend(&mut self, ticket: &[u8; BYTES], expired: u64, most: usize) -> bool {
        let mut half = [0; 8];
        half.copy_from_slice(&ticket[TAG..TAG + 8]);
        let due = Claim::read(ticket).due;
        let is_new = self.tickets.insert((due, u64::from_be_bytes(half)));
        while self.tickets.len() > most
            || self.tickets.first().is_some_and(|(due, _)| *due < expired)
        {
            self.tickets.pop_first();
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(due: u64, tag: u64) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        Claim { due, wait: 0 }.write(&mut bytes);
        bytes[TAG..TAG + 8].copy_from_slice(&tag.to_be_bytes());
        bytes
    }

    #[test]
    fn a_ticket_is_spent_once() {
        let mut spent = Spent::default();
        assert!(spent.spend(&ticket(7, 1), 0, 10));
        assert!(spent.spend(&ticket(7, 2), 0, 10));
        assert!(!spent.spend(&ticket(7, 1), 0, 10));
    }

    #[test]
    fn those_that_have_expired_are_forgotten() {
        let mut spent = Spent::default();
        for due in 0..1000 {
            assert!(spent.spend(&ticket(due, due), due.saturating_sub(10), 100));
            assert!(spent.tickets.len() <= 11);
        }
    }

    #[test]
    fn of_too_many_the_first_to_expire_are_forgotten() {
        let mut spent = Spent::default();
        for due in (0..1000).rev() {
            spent.spend(&ticket(due, due), 0, 100);
        }
        assert_eq!(spent.tickets.len(), 100);
        assert!(!spent.spend(&ticket(999, 999), 0, 100));
    }
}
