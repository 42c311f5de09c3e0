//! A calendar queue for the times of the clients' next attempts.

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::mem;

/// Clients by the time of their next attempt. Each client has at most one entry.
///
/// This is a calendar queue (Brown, CACM 1988) with days of fixed length. A day is
/// sorted when it begins, so an entry is moved two or three times, and memory is
/// read in long runs. An entry within a day is one word: the time since the day
/// began, then the client. No entry may be pushed with a time before the last popped
/// entry.
pub(super) struct Queue {
    /// The rest of the present day, in reverse order: the next entry is the last.
    today: Vec<u64>,
    /// How many entries of today [`upcoming`](Self::upcoming) has not returned yet.
    not_returned: usize,
    /// Entries that were pushed into the present day after it began.
    late: BinaryHeap<Reverse<u64>>,
    /// The number of the present day.
    day: u64,
    /// The days after the present one, by day modulo `YEAR`.
    days: Vec<Day>,
    pages: Pages,
    /// Entries more than a year away, as (time, client).
    far: Vec<(u64, u32)>,
    len: usize,
}

/// log2 of a day in nanoseconds: 16.8 ms. Most waits are longer, so pushes into the
/// present day are rare. A million clients over a minute are some hundreds a day, few
/// enough to sort them in the cache.
const DAY: u32 = 24;
/// The number of days in the ring. They cover 69 s, more than the most common caps.
const YEAR: u64 = 1 << 12;

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            today: Vec::new(),
            not_returned: 0,
            late: BinaryHeap::new(),
            day: 0,
            days: vec![Day::default(); YEAR as usize],
            pages: Pages::default(),
            far: Vec::new(),
            len: 0,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, time: u64, client: u32) {
        self.len += 1;
        let day = time >> DAY;
        if day >= self.day + YEAR {
            self.far.push((time, client));
        } else if day > self.day {
            let day = &mut self.days[(day % YEAR) as usize];
            self.pages.write(day, entry(time, client));
        } else {
            self.late.push(Reverse(entry(time, client)));
        }
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<(u64, u32)> {
        loop {
            let late = self.late.peek().map_or(u64::MAX, |late| late.0);
            let next = match self.today.last() {
                Some(&next) if next < late => self.today.pop(),
                _ => self.late.pop().map(|late| late.0),
            };
            if let Some(next) = next {
                self.len -= 1;
                return Some(((self.day << DAY) + (next >> 32), next as u32));
            }
            if self.len == 0 {
                return None;
            }
            self.turn();
        }
    }

    /// The clients whose attempts come next. Each client is returned once; most calls
    /// return none.
    ///
    /// The data of these clients is scattered over memory. A caller that reads the data
    /// of many clients together waits for memory once, not once for each client.
    #[inline]
    pub(super) fn upcoming<'a>(&mut self, room: &'a mut [u32; 64]) -> &'a [u32] {
        let len = self.today.len();
        if len > self.not_returned {
            return &[];
        }
        self.not_returned = len.saturating_sub(room.len());
        let next = &self.today[self.not_returned..];
        for (client, &entry) in room.iter_mut().zip(next) {
            *client = entry as u32;
        }
        &room[..next.len()]
    }

    /// Begins the next day. If only far entries are left, that is the day of the first
    /// far entry.
    #[cold]
    fn turn(&mut self) {
        self.day += 1;
        if self.len == self.far.len() {
            let first = self.far.iter().map(|&(time, _)| time >> DAY).min();
            self.day = first.unwrap_or(self.day);
            self.sift();
        } else if self.day % YEAR == 0 {
            self.sift();
        }
        let day = mem::take(&mut self.days[(self.day % YEAR) as usize]);
        self.pages.read(day, &mut self.today);
        self.today.sort_unstable_by_key(|&entry| Reverse(entry));
        self.not_returned = self.today.len();
    }

    /// Moves far entries into their days if these are less than a year away now.
    fn sift(&mut self) {
        let year_end = self.day + YEAR;
        self.far.retain(|&(time, client)| {
            let day = time >> DAY;
            if day < year_end {
                let day = &mut self.days[(day % YEAR) as usize];
                self.pages.write(day, entry(time, client));
            }
            day >= year_end
        });
    }
}

/// The entries of one day, in no order.
#[derive(Clone, Copy, Default)]
struct Day {
    len: usize,
    /// The page that is being written, if `len` is not 0.
    page: u32,
}

/// The entries of all days, in pages that are reused. The first days are the busiest
/// by far: if each day had a vector, the vectors of these days would keep their
/// memory, and vectors would move their entries when they grow.
#[derive(Default)]
struct Pages {
    /// The entries of a page, and the page before it.
    pages: Vec<([u64; PAGE], u32)>,
    blank: Vec<u32>,
}

const PAGE: usize = 63;

impl Pages {
    #[inline]
    fn write(&mut self, day: &mut Day, entry: u64) {
        if day.len % PAGE == 0 {
            self.add_page(day);
        }
        self.pages[day.page as usize].0[day.len % PAGE] = entry;
        day.len += 1;
    }

    /// A new page for a day.
    fn add_page(&mut self, day: &mut Day) {
        let page = self.blank.pop().unwrap_or_else(|| {
            self.pages.push(([0; PAGE], 0));
            self.pages.len() as u32 - 1
        });
        self.pages[page as usize].1 = day.page;
        day.page = page;
    }

    /// Moves a day's entries to `out`, and frees its pages.
    fn read(&mut self, mut day: Day, out: &mut Vec<u64>) {
        while day.len > 0 {
            let (entries, before) = &self.pages[day.page as usize];
            let here = (day.len - 1) % PAGE + 1;
            out.extend_from_slice(&entries[..here]);
            self.blank.push(day.page);
            day = Day {
                len: day.len - here,
                page: *before,
            };
        }
    }
}

#[inline]
fn entry(time: u64, client: u32) -> u64 {
    (time & ((1 << DAY) - 1)) << 32 | client as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::collections::BTreeSet;

    #[test]
    fn clients_are_popped_in_the_order_of_their_times() {
        let mut rng = Rng::from_seed(1);
        let mut queue = Queue::new();
        let mut model = BTreeSet::new();
        let mut now = 0;
        for client in 0..50_000_u32 {
            // Waits of all magnitudes, from 0 to half a day of real time.
            let wait = rng.next_u64() >> (18 + rng.next_u64() % 47).min(63);
            queue.push(now + wait, client);
            model.insert((now + wait, client));
            if rng.next_u64() % 4 == 0 {
                let next = model.pop_first();
                assert_eq!(queue.pop(), next);
                now = next.unwrap().0;
            }
        }
        while let Some(next) = model.pop_first() {
            assert_eq!(queue.pop(), Some(next));
        }
        assert_eq!(queue.pop(), None);
    }
}
