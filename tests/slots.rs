//! Does a server with slots admit no more than its rate, each client in its turn, and
//! nobody by a ticket that is not theirs?
#![cfg(feature = "slots")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use proptest::prelude::*;
use redial::{Admission, Slots, Ticket};

const KEY: &str = "the key of a test";
const OTHER: &str = "the other key of a test";
/// In 2027, at eight in the morning.
const NOW: Duration = Duration::from_secs(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// One slot a second, and none saved.
fn one_a_second() -> Slots {
    Slots::new(1, KEY).slot_rate(1).burst(1)
}

#[track_caller]
fn later(admission: Admission) -> (Duration, Ticket) {
    match admission {
        Admission::Later { wait, ticket } => (wait, ticket),
        Admission::Now => panic!("admitted"),
    }
}

/// A client's ticket for a slot after `seconds`, while nobody else waits.
fn ticket(slots: &Slots, client: &str, seconds: u32) -> Ticket {
    let mut last = None;
    for other in 0..=seconds {
        let is_last = other == seconds;
        let name = if is_last { client } else { "somebody" };
        let admission = slots.admit_at(NOW, name, None);
        if is_last {
            last = Some(later(admission));
        }
    }
    let (wait, ticket) = last.expect("the loop runs");
    assert_eq!(wait, seconds * SECOND);
    ticket
}

/// Whether the client gets in at that time, with a ticket that was not shown before.
fn gets_in(slots: &Slots, now: Duration, client: &str, ticket: &str) -> bool {
    slots.admit_at(now, client, Some(ticket)) == Admission::Now
}

#[test]
fn each_client_that_must_wait_gets_a_slot_of_its_own() {
    let slots = one_a_second();
    assert_eq!(slots.admit_at(NOW, "first", None), Admission::Now);
    for place in 1..100 {
        let name = format!("client {place}");
        let (wait, ticket) = later(slots.admit_at(NOW, &name, None));
        assert_eq!(wait, place * SECOND);
        assert!(gets_in(&slots, NOW + wait, &name, ticket.as_str()));
    }
}

#[test]
fn a_ticket_is_36_characters_that_need_no_escape_anywhere() {
    let slots = one_a_second();
    for seconds in 1..40 {
        let ticket = ticket(&one_a_second(), "ann", seconds).to_string();
        assert_eq!(ticket.len(), 36);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(ticket.chars().all(is_plain), "{ticket}");
    }
    assert_eq!(size_of::<Ticket>(), 36);
    let (_, ticket) = later(slots.refuse_at(NOW, "ann", None));
    assert_eq!(format!("{ticket}"), ticket.as_str());
    assert_eq!(format!("{ticket:?}"), format!("Ticket(\"{ticket}\")"));
}

/// An attempt: when, by whom, and with which ticket.
type Attempt = (Duration, usize, Option<Ticket>);

/// When each client is admitted, of clients that come at these times and then at their
/// slots; and how many attempts they make.
fn honest(
    arrivals: &[Duration],
    mut admit: impl FnMut(Attempt) -> Admission,
) -> (Vec<Duration>, usize) {
    let mut attempts: BinaryHeap<_> = (arrivals.iter().enumerate())
        .map(|(client, at)| Reverse((*at, client)))
        .collect();
    let mut tickets = vec![None; arrivals.len()];
    let (mut admitted, mut made) = (Vec::new(), 0);
    while let Some(Reverse((now, client))) = attempts.pop() {
        made += 1;
        match admit((now, client, tickets[client])) {
            Admission::Now => admitted.push(now),
            Admission::Later { wait, ticket } => {
                tickets[client] = Some(ticket);
                attempts.push(Reverse((now + wait, client)));
            }
        }
    }
    (admitted, made)
}

/// How many more there are, in the worst of all spans of time, than a burst and those
/// that the span earns.
fn excess(admitted: &[Duration], burst: u32, period: Duration) -> i64 {
    let mut worst = i64::MIN;
    for (first, begin) in admitted.iter().enumerate() {
        for (last, end) in admitted.iter().enumerate().skip(first) {
            // Slots are rounded up to whole ms, so a span may hold those of one ms more.
            let span = *end - *begin + MILLISECOND;
            let earned = (span.as_nanos() / period.as_nanos()) as i64;
            worst = worst.max((last - first + 1) as i64 - i64::from(burst) - earned);
        }
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_no_span_are_more_admitted_than_the_burst_and_what_the_span_earns(
        arrivals in prop::collection::vec(0..3_000_000u64, 1..300),
        per_second in 5..500u32,
        burst in 1..20u32,
    ) {
        let slots = Slots::new(per_second, KEY).burst(burst);
        let arrivals: Vec<_> = arrivals.into_iter().map(|at| NOW + Duration::from_micros(at)).collect();
        let (admitted, made) = honest(&arrivals, |(now, client, ticket)| {
            slots.admit_at(now, client.to_string(), ticket.as_ref().map(Ticket::as_str))
        });
        prop_assert_eq!(admitted.len(), arrivals.len());
        prop_assert!(made <= 2 * arrivals.len(), "two attempts suffice");
        let period = Duration::from_nanos((1e9 / (1.25 * f64::from(per_second))).ceil() as u64);
        prop_assert!(excess(&admitted, burst, period) <= 0);
    }

    /// Whatever the clients do, a ticket that counts was reserved. So of all that are
    /// admitted there are never more than slots were earned.
    #[test]
    fn no_conduct_gets_more_clients_in_than_there_are_slots(
        steps in prop::collection::vec((0..5u32, 0..8usize, 0..4usize, any::<bool>()), 1..400),
    ) {
        let slots = one_a_second();
        let mut now = NOW;
        let mut tickets: Vec<Vec<Ticket>> = vec![Vec::new(); 8];
        let (mut admitted, mut refused) = (0, 0);
        for (pause, client, back, is_full) in steps {
            now += pause * SECOND / 2;
            let old = tickets[client].iter().rev().nth(back).copied();
            let ticket = old.as_ref().map(Ticket::as_str);
            let name = client.to_string();
            let admission = if is_full {
                slots.refuse_at(now, name, ticket)
            } else {
                slots.admit_at(now, name, ticket)
            };
            match admission {
                Admission::Now => admitted += 1,
                Admission::Later { ticket, .. } => {
                    refused += usize::from(old != Some(ticket));
                    tickets[client].push(ticket);
                }
            }
        }
        // The last slot whose ticket may have been honoured by now.
        let latest = now + 2 * SECOND + now.saturating_sub(NOW) / 50;
        let earned = (latest - NOW).as_secs() + 1;
        prop_assert!(admitted <= earned, "{} of {}, {} tickets", admitted, earned, refused);
    }

    #[test]
    fn no_text_gets_anybody_in(text in any::<String>()) {
        let slots = one_a_second();
        let _ = slots.admit_at(NOW, "somebody", None);
        prop_assert!(!gets_in(&slots, NOW, "ann", &text));
    }

    #[test]
    fn no_text_of_the_form_gets_anybody_in(text in "[A-Za-z0-9_-]{36}", first in "A[gw]") {
        let slots = one_a_second();
        let _ = slots.admit_at(NOW, "somebody", None);
        prop_assert!(!gets_in(&slots, NOW, "ann", &text));
        // With the right version.
        prop_assert!(!gets_in(&slots, NOW, "ann", &(first + &text[2..])));
    }

    #[test]
    fn any_name_will_do(client in prop::collection::vec(any::<u8>(), 0..200), other in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assume!(client != other);
        let slots = one_a_second();
        let _ = slots.admit_at(NOW, "somebody", None);
        let (wait, ticket) = later(slots.admit_at(NOW, &client, None));
        let of_another = slots.admit_at(NOW + wait, &other, Some(ticket.as_str()));
        prop_assert_ne!(of_another, Admission::Now);
        prop_assert_eq!(slots.admit_at(NOW + wait, &client, Some(ticket.as_str())), Admission::Now);
    }

    #[test]
    fn no_time_makes_it_panic(times in prop::collection::vec(any::<(u64, u32)>(), 1..20)) {
        let slots = one_a_second();
        let mut shown: Option<Ticket> = None;
        for (seconds, nanos) in times {
            let now = Duration::new(seconds, nanos % 1_000_000_000);
            for full in [true, false] {
                let ticket = shown.as_ref().map(Ticket::as_str);
                let admission = if full {
                    slots.refuse_at(now, "ann", ticket)
                } else {
                    slots.admit_at(now, "ann", ticket)
                };
                if let Admission::Later { ticket, .. } = admission {
                    shown = Some(ticket);
                }
            }
        }
    }
}

#[test]
fn an_impatient_client_keeps_its_ticket_and_makes_nobody_wait_longer() {
    let slots = one_a_second();
    let ticket = ticket(&slots, "hasty", 100);
    for second in 0..96 {
        let now = NOW + second * SECOND;
        let (wait, same) = later(slots.admit_at(now, "hasty", Some(ticket.as_str())));
        assert_eq!((wait, same), ((100 - second) * SECOND, ticket));
        // Nor does one that comes early while the server is full.
        let (wait, same) = later(slots.refuse_at(now, "hasty", Some(ticket.as_str())));
        assert_eq!((wait, same), ((100 - second) * SECOND, ticket));
    }
    let (wait, _) = later(slots.admit_at(NOW + 96 * SECOND, "next", None));
    assert_eq!(wait, 5 * SECOND);
}

#[test]
fn a_ticket_is_honoured_a_second_and_2_percent_of_its_wait_early_until_60_seconds_late() {
    let soon = NOW + 97 * SECOND; // 100 s - 1 s - 2 s
    let expired = NOW + 160 * SECOND;
    for (now, is_honoured) in [
        (soon - MILLISECOND, false),
        (soon, true),
        (NOW + 100 * SECOND, true),
        (expired - MILLISECOND, true),
    ] {
        let slots = one_a_second();
        let ticket = ticket(&slots, "ann", 100);
        assert_eq!(gets_in(&slots, now, "ann", ticket.as_str()), is_honoured);
    }
    // As one without a ticket, who finds the slot of this second free.
    let slots = one_a_second();
    let ticket = ticket(&slots, "ann", 100);
    let _ = slots.admit_at(expired, "somebody", None);
    let (wait, new) = later(slots.admit_at(expired, "ann", Some(ticket.as_str())));
    assert!(wait == SECOND && new != ticket);
}

#[test]
fn a_ticket_counts_once() {
    let slots = one_a_second();
    let ticket = ticket(&slots, "ann", 10);
    let due = NOW + 10 * SECOND;
    assert!(gets_in(&slots, due, "ann", ticket.as_str()));
    for second in 0..70 {
        let now = due + second * SECOND;
        // Whoever comes first in this second has its slot.
        let _ = slots.admit_at(now, "somebody", None);
        assert!(!gets_in(&slots, now, "ann", ticket.as_str()), "{second}");
    }
}

#[test]
fn a_ticket_of_another_client_or_another_server_counts_as_none() {
    let slots = one_a_second();
    let ticket = ticket(&slots, "ann", 10);
    let due = NOW + 10 * SECOND;
    let _ = slots.admit_at(due, "somebody", None);
    for name in ["", "a", "an", "ann ", "Ann", "nna", "bob"] {
        assert!(!gets_in(&slots, due, name, ticket.as_str()), "{name:?}");
    }
    let server = Slots::new(1, OTHER).burst(1);
    let _ = server.admit_at(due, "somebody", None);
    assert!(!gets_in(&server, due, "ann", ticket.as_str()));
    // Nobody has spent it.
    assert!(gets_in(&slots, due, "ann", ticket.as_str()));
}

#[test]
fn a_ticket_that_is_altered_anywhere_counts_as_none() {
    const CHARACTERS: &str =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= é";
    let slots = one_a_second();
    let ticket = ticket(&slots, "ann", 10);
    let ticket = ticket.as_str();
    let due = NOW + 10 * SECOND;
    let _ = slots.admit_at(due, "somebody", None);
    for place in 0..ticket.len() {
        let (before, after) = (&ticket[..place], &ticket[place + 1..]);
        for character in CHARACTERS.chars() {
            let altered = format!("{before}{character}{after}");
            assert!(altered == ticket || !gets_in(&slots, due, "ann", &altered));
        }
        assert!(!gets_in(&slots, due, "ann", before));
        assert!(!gets_in(&slots, due, "ann", after));
        assert!(!gets_in(&slots, due, "ann", &format!("{before}{after}")));
    }
    for added in ["A", "=", "\n", " ", "\0"] {
        assert!(!gets_in(&slots, due, "ann", &format!("{ticket}{added}")));
        assert!(!gets_in(&slots, due, "ann", &format!("{added}{ticket}")));
    }
    assert!(gets_in(&slots, due, "ann", ticket), "it was not spent");
}

#[test]
fn tickets_are_honoured_across_midnight() {
    let midnight = Duration::from_secs(1_800_000_000 / 86_400 * 86_400 + 86_400);
    let slots = one_a_second();
    let eve = midnight - 5 * SECOND;
    let _ = slots.admit_at(eve, "somebody", None);
    let tickets: Vec<_> = (1..=10)
        .map(|place| later(slots.admit_at(eve, format!("client {place}"), None)))
        .collect();
    for (place, (wait, ticket)) in (1..=10).zip(tickets) {
        // Before, at and after midnight; some are shown a minute late, on the next day.
        let late = if place % 2 == 0 {
            59 * SECOND
        } else {
            Duration::ZERO
        };
        let name = format!("client {place}");
        assert!(gets_in(&slots, eve + wait + late, &name, ticket.as_str()));
    }
}

#[test]
fn a_key_is_replaced_without_the_loss_of_a_ticket() {
    let signs_old = || Slots::new(1, KEY).slot_rate(1).burst(1).accept(OTHER);
    let signs_new = || Slots::new(1, OTHER).slot_rate(1).burst(1).accept(KEY);
    let due = NOW + 10 * SECOND;
    for given in [signs_old(), signs_new()] {
        let ticket = ticket(&given, "ann", 10);
        for shown in [signs_old(), signs_new()] {
            let _ = shown.admit_at(due, "somebody", None);
            assert!(gets_in(&shown, due, "ann", ticket.as_str()));
        }
    }
    // A client that comes early keeps its ticket, whichever key signed it.
    let old = ticket(&one_a_second(), "ann", 10);
    assert_eq!(
        later(signs_new().admit_at(NOW, "ann", Some(old.as_str()))),
        (10 * SECOND, old)
    );
    // Once the old key is gone, so are its tickets.
    let new = Slots::new(1, OTHER).burst(1);
    let _ = new.admit_at(due, "somebody", None);
    assert!(!gets_in(&new, due, "ann", old.as_str()));
}

#[test]
fn a_restarted_server_honours_the_tickets_of_the_one_before() {
    let ticket = ticket(&one_a_second(), "ann", 100);
    let restarted = one_a_second();
    assert_eq!(
        later(restarted.admit_at(NOW + 50 * SECOND, "ann", Some(ticket.as_str()))),
        (50 * SECOND, ticket)
    );
    assert!(gets_in(
        &restarted,
        NOW + 100 * SECOND,
        "ann",
        ticket.as_str()
    ));
}

#[test]
fn a_restarted_server_takes_no_ticket_that_may_have_been_used() {
    let slots = one_a_second();
    let ticket = ticket(&slots, "ann", 10);
    let due = NOW + 10 * SECOND;
    assert!(gets_in(&slots, due, "ann", ticket.as_str()));
    let restarted = one_a_second();
    let now = due + 2 * SECOND;
    let _ = restarted.admit_at(now, "somebody", None);
    assert!(!gets_in(&restarted, now, "ann", ticket.as_str()));
}

#[test]
fn a_server_that_is_full_replaces_a_ticket_whose_slot_has_come() {
    let slots = one_a_second();
    let ticket = ticket(&slots, "ann", 10);
    let due = NOW + 10 * SECOND;
    let (wait, new) = later(slots.refuse_at(due, "ann", Some(ticket.as_str())));
    assert_eq!(wait, SECOND);
    assert!(!gets_in(&slots, due, "ann", ticket.as_str()), "it is spent");
    assert!(gets_in(&slots, due + wait, "ann", new.as_str()));
}

#[test]
fn a_server_that_is_full_sends_nobody_back_at_once() {
    let slots = Slots::new(100, KEY);
    for lead in [0, 1, 200, 5_000] {
        let slots = Slots::new(100, KEY).lead(Duration::from_millis(lead));
        let (wait, _) = later(slots.refuse_at(NOW, "ann", None));
        assert_eq!(wait, Duration::from_millis(lead.max(1)));
    }
    let (wait, _) = later(slots.refuse_at(NOW, "ann", None));
    assert_eq!(wait, Duration::from_millis(500));
}

#[test]
fn clients_that_are_refused_together_do_not_come_back_together() {
    // One slot each 10 ms, and 50 are saved.
    let slots = Slots::new(100, KEY).slot_rate(1).burst(50);
    for place in 0..200 {
        let (wait, _) = later(slots.refuse_at(NOW, place.to_string(), None));
        let apart = wait - Duration::from_millis(500);
        assert_eq!(apart, place * 10 * MILLISECOND);
    }
}

#[test]
fn by_its_own_clock_a_server_keeps_to_its_rate_too() {
    // A slot each 50 s, so that it does not matter how slow this machine is.
    let slots = Slots::new(0.02, KEY).slot_rate(1);
    assert_eq!(slots.admit("somebody", None), Admission::Now);
    let (wait, ticket) = later(slots.admit("ann", None));
    assert!((Duration::from_secs(40)..=Duration::from_secs(50)).contains(&wait));
    let (left, same) = later(slots.admit("ann", Some(ticket.as_str())));
    assert!(same == ticket && left <= wait);
    let (next, _) = later(slots.refuse("bob", None));
    assert!(next > wait + Duration::from_secs(40));
    // Now, on this wall clock, is what the other pair takes.
    let elsewhere = Slots::new(0.02, KEY).slot_rate(1);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let (left, same) = later(elsewhere.admit_at(now, "ann", Some(ticket.as_str())));
    assert!(same == ticket && left <= wait);
}

#[test]
fn a_ticket_keeps_its_slot_if_the_wall_clock_is_set() {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::SystemTime;

    static CLOCK: AtomicU64 = AtomicU64::new(1_800_000_000);
    let slots = Slots::new(0.02, KEY)
        .slot_rate(1)
        .wall_clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(CLOCK.load(Relaxed)));
    let _ = slots.admit("somebody", None);
    let (_, ticket) = later(slots.admit("ann", None));
    for time in [1_800_003_600, 1_799_990_000, 0] {
        CLOCK.store(time, Relaxed);
        let (left, same) = later(slots.admit("ann", Some(ticket.as_str())));
        assert!(same == ticket && left <= 50 * SECOND, "{left:?}");
        CLOCK.store(1_800_000_000, Relaxed);
        let _ = slots.admit("ann", Some(ticket.as_str()));
    }
}

#[test]
fn in_normal_life_small_groups_get_in_at_once() {
    let slots = Slots::new(100, KEY);
    let group = |now| {
        (0..20)
            .filter(|n| slots.admit_at(now, n.to_string(), None) == Admission::Now)
            .count()
    };
    assert_eq!(group(NOW), 12, "the slots of a tenth of a second");
    assert_eq!(group(NOW + 10 * SECOND), 12);
    assert_eq!(
        Slots::new(1, KEY).admit_at(NOW, "ann", None),
        Admission::Now
    );
}

#[test]
fn nonsense_is_refused_by_its_value() {
    for (per_second, value) in [
        (0.0, "0"),
        (-1.0, "-1"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
        (1e-9, "0.000000001"),
        (1e9, "1000000000"),
    ] {
        let error = Slots::try_new(per_second, KEY).unwrap_err();
        assert_eq!((error.setting(), error.value()), ("per_second", value));
    }
    for times in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        let error = Slots::new(100, KEY).try_slot_rate(times).unwrap_err();
        assert_eq!(
            (error.setting(), error.value()),
            ("times", &*times.to_string())
        );
    }
    let error = Slots::new(100, KEY).try_burst(0).unwrap_err();
    assert_eq!((error.setting(), error.value()), ("burst", "0"));
    for secret in ["", "short", "15 bytes, no mo"] {
        for error in [
            Slots::try_new(100, secret).unwrap_err(),
            Slots::new(100, KEY).try_accept(secret).unwrap_err(),
        ] {
            assert_eq!(error.setting(), "key");
            assert_eq!(error.value(), format!("{} bytes long", secret.len()));
            assert!(secret.is_empty() || !error.to_string().contains(secret));
        }
    }
    // The slowest and the fastest.
    let _ = (Slots::new(0.00001, KEY), Slots::new(800_000, KEY));
}

#[test]
fn the_settings_fit_together_in_any_order() {
    for slots in [
        Slots::new(10, KEY).burst(3).slot_rate(2),
        Slots::new(10, KEY).slot_rate(2).burst(3),
    ] {
        for _ in 0..3 {
            assert_eq!(slots.admit_at(NOW, "ann", None), Admission::Now);
        }
        assert_eq!(later(slots.admit_at(NOW, "ann", None)).0, 50 * MILLISECOND);
    }
}

#[test]
fn debug_shows_no_key() {
    let slots = Slots::new(400, KEY).accept(OTHER);
    let text = format!("{slots:?}");
    assert!(
        text.contains("400") && text.contains("1.25") && text.contains("2 secret"),
        "{text}"
    );
    assert!(!text.contains(KEY) && !text.contains(OTHER));
    assert!(!text.contains(&format!("{:?}", KEY.as_bytes())));
}

/// A server that does one handshake after the other, and has a queue of a second.
struct Server {
    handshake: Duration,
    free: Duration,
}

impl Server {
    const QUEUE: Duration = SECOND;

    /// When the client is served that is admitted now.
    fn serve(&mut self, now: Duration) -> Duration {
        self.free = self.free.max(now) + self.handshake;
        self.free
    }

    fn is_full(&self, now: Duration) -> bool {
        self.free > now + Self::QUEUE
    }
}

/// How long it takes until all of a fleet are back, over the least possible time, and how many
/// attempts a client makes. Each client comes to one of the front ends by chance, within
/// the first second, and so on.
fn storm(front_ends: &[Slots], clients: u32, per_second: u32) -> (f64, f64) {
    let mut server = Server {
        handshake: SECOND / per_second,
        free: NOW,
    };
    // A permutation serves as well as chance.
    let arrivals: Vec<_> = (0..clients)
        .map(|n| NOW + SECOND * (n * 7_919 % clients) / clients)
        .collect();
    let mut turn = 0;
    let mut last = NOW;
    let (_, made) = honest(&arrivals, |(now, client, ticket)| {
        turn = (turn + 3) % front_ends.len();
        let slots = &front_ends[turn];
        let (name, ticket) = (client.to_string(), ticket.as_ref().map(Ticket::as_str));
        if server.is_full(now) {
            return slots.refuse_at(now, name, ticket);
        }
        let admission = slots.admit_at(now, name, ticket);
        if admission == Admission::Now {
            last = last.max(server.serve(now));
        }
        admission
    });
    let limit = f64::from(clients) / f64::from(per_second);
    (
        (last - NOW).as_secs_f64() / limit,
        made as f64 / f64::from(clients),
    )
}

#[test]
fn one_counter_brings_a_fleet_back_at_the_limit_in_two_attempts() {
    for clients in [2_000, 8_000] {
        let (time, attempts) = storm(&[Slots::new(400, KEY)], clients, 400);
        println!("{clients} clients: {time:.3} times the limit, {attempts:.2} attempts");
        assert!(time <= 1.05 && attempts <= 2.3);
    }
}

#[test]
fn front_ends_that_each_count_their_share_are_as_good_as_one() {
    let front_ends: Vec<_> = (0..8).map(|_| Slots::new(50, KEY)).collect();
    let (time, attempts) = storm(&front_ends, 2_000, 400);
    println!("{time:.3} times the limit, {attempts:.2} attempts");
    assert!(time <= 1.05 && attempts <= 2.3);
}

#[test]
fn front_ends_that_each_count_the_whole_capacity_send_clients_away_again_and_again() {
    let front_ends: Vec<_> = (0..8).map(|_| Slots::new(400, KEY)).collect();
    let (time, attempts) = storm(&front_ends, 2_000, 400);
    println!("{time:.3} times the limit, {attempts:.2} attempts");
    assert!(attempts > 3.0);
}
