//! Do front ends that share a counter hand out slots as one server does, also if the
//! counter is away, or its clock jumps?
#![cfg(all(feature = "slots", feature = "tokio", not(loom)))]

mod mirror;
mod paused;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mirror::{Mirror, Mood, excess};
use paused::paused_runtime;
use redial::{Admission, SharedSlots, Slots, Ticket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const KEY: &str = "the key of a test";
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: i64 = 3_600_000_000;

/// One of eight front ends before a server that takes so many clients a second.
fn front_end(store: &Mirror, per_second: f64) -> SharedSlots {
    let begin = Instant::now();
    Slots::new(per_second, KEY)
        .slot_rate(1)
        .burst(1)
        .wall_clock(move || SystemTime::UNIX_EPOCH + 1_800_000_000 * SECOND + begin.elapsed())
        .shared(store.clone(), "logins", 8)
}

/// A store that a question reaches in a millisecond, there and back.
fn store() -> Mirror {
    let store = Mirror::new();
    store.way(MILLISECOND);
    store
}

#[track_caller]
fn later(admission: Admission) -> (Duration, Ticket) {
    match admission {
        Admission::Later { wait, ticket } => (wait, ticket),
        Admission::Now => panic!("admitted"),
    }
}

/// Give or take some questions of two milliseconds.
fn is_about(wait: Duration, seconds: u64) -> bool {
    wait.abs_diff(Duration::from_secs(seconds)) < 50 * MILLISECOND
}

#[test]
fn front_ends_hand_out_the_slots_of_one_queue() {
    paused_runtime().block_on(async {
        let store = store();
        let front_ends = [(); 8].map(|()| front_end(&store, 1.0));
        let began = Instant::now();
        for place in 1..=80 {
            let slots = &front_ends[place % 8];
            let name = format!("client {place}");
            let admission = if place % 3 == 0 {
                slots.refuse(name, None).await
            } else {
                slots.admit(name, None).await
            };
            // The bucket of a store that knows nothing is empty.
            let slot = began.elapsed() + later(admission).0;
            assert!(is_about(slot, place as u64), "{slot:?} at place {place}");
        }
    });
}

#[test]
fn a_ticket_is_honoured_at_each_front_end_in_its_time() {
    paused_runtime().block_on(async {
        let store = store();
        let front_ends = [(); 8].map(|()| front_end(&store, 0.1));
        let (wait, ticket) = later(front_ends[0].admit("ann", None).await);
        assert!(is_about(wait, 10));
        sleep(5 * SECOND).await;
        for slots in &front_ends {
            let (left, same) = later(slots.admit("ann", Some(ticket.as_str())).await);
            assert!(is_about(left, 5) && same == ticket, "{left:?}");
            let (left, same) = later(slots.refuse("ann", Some(ticket.as_str())).await);
            assert!(is_about(left, 5) && same == ticket, "{left:?}");
        }
        sleep(5 * SECOND).await;
        let (_, another) = later(front_ends[5].admit("bob", Some(ticket.as_str())).await);
        assert_ne!(another, ticket);
        assert_eq!(
            front_ends[5].admit("ann", Some(ticket.as_str())).await,
            Admission::Now
        );
        // Not again at the same one.
        later(front_ends[5].admit("ann", Some(ticket.as_str())).await);
    });
}

#[test]
fn a_ticket_that_counts_asks_the_store_for_nothing() {
    paused_runtime().block_on(async {
        let store = store();
        let slots = front_end(&store, 0.1);
        let (wait, ticket) = later(slots.admit("ann", None).await);
        for _ in 0..100 {
            later(slots.admit("ann", Some(ticket.as_str())).await);
        }
        assert_eq!(store.granted().len(), 1);
        sleep(wait).await;
        let began = Instant::now();
        assert_eq!(
            slots.admit("ann", Some(ticket.as_str())).await,
            Admission::Now
        );
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(store.granted().len(), 1);
    });
}

#[test]
fn a_new_front_end_learns_the_time_of_the_store_from_its_first_client() {
    paused_runtime().block_on(async {
        let store = store();
        // Far from the wall clocks.
        store.move_clock(-9 * HOUR);
        let (wait, ticket) = later(front_end(&store, 0.1).admit("ann", None).await);
        sleep(wait / 2).await;
        let new = front_end(&store, 0.1);
        let (left, same) = later(new.admit("ann", Some(ticket.as_str())).await);
        assert!(is_about(left, 5) && same == ticket, "{left:?}");
        // The slot that the question cost goes to the next.
        let granted = store.granted().len();
        later(new.admit("bob", None).await);
        assert_eq!(store.granted().len(), granted);
        sleep(wait / 2).await;
        assert_eq!(
            new.admit("ann", Some(ticket.as_str())).await,
            Admission::Now
        );
    });
}

#[test]
fn tickets_are_honoured_at_all_front_ends_if_the_clock_of_the_store_jumps() {
    for jump in [-HOUR, -90_000_000, -5_000_000, 5_000_000, 90_000_000, HOUR] {
        paused_runtime().block_on(async {
            let store = store();
            let front_ends = [(); 8].map(|()| front_end(&store, 1.0));
            let mut before = Vec::new();
            for place in 0..40 {
                let (wait, ticket) =
                    later(front_ends[place % 8].admit(place.to_string(), None).await);
                before.push((Instant::now() + wait, place, ticket));
            }
            sleep(5 * SECOND).await;
            store.move_clock(jump);
            // All front ends see it.
            let mut all = before.split_off(5);
            for place in 40..80 {
                let (wait, ticket) =
                    later(front_ends[place % 8].admit(place.to_string(), None).await);
                all.push((Instant::now() + wait, place, ticket));
            }
            all.sort_by_key(|(slot, ..)| *slot);
            for (slot, place, ticket) in all {
                sleep_until(slot).await;
                // At another front end than where it came from.
                let slots = &front_ends[(place + 3) % 8];
                let admission = slots.admit(place.to_string(), Some(ticket.as_str())).await;
                assert_eq!(admission, Admission::Now, "client {place}, by {jump} µs");
            }
        });
    }
}

#[test]
fn a_front_end_that_slept_through_a_jump_honours_the_tickets_given_since() {
    for jump in [-HOUR, HOUR] {
        paused_runtime().block_on(async {
            let store = store();
            let (awake, asleep) = (front_end(&store, 1.0), front_end(&store, 1.0));
            let _ = asleep.admit("somebody", None).await;
            // Nobody waits there any more, so it does not ask for the time.
            sleep(200 * SECOND).await;
            store.move_clock(jump);
            for place in 0..10 {
                let _ = awake.admit(place.to_string(), None).await;
            }
            let (wait, ticket) = later(awake.admit("ann", None).await);
            sleep(wait / 2).await;
            let (left, same) = later(asleep.admit("ann", Some(ticket.as_str())).await);
            assert!(
                same == ticket && left <= wait / 2 + 50 * MILLISECOND,
                "{left:?}"
            );
            sleep(left).await;
            let admission = asleep.admit("ann", Some(ticket.as_str())).await;
            assert_eq!(admission, Admission::Now);
        });
    }
}

#[test]
fn front_ends_without_their_store_hand_out_their_shares() {
    paused_runtime().block_on(async {
        let store = store();
        let front_ends = Arc::new([(); 8].map(|()| front_end(&store, 100.0)));
        for slots in front_ends.iter() {
            let _ = slots.admit("somebody", None).await;
        }
        sleep(SECOND).await;
        store.mood(Mood::Stopped);
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for client in 0..800 {
            let front_ends = front_ends.clone();
            tasks.spawn(async move {
                let slots = &front_ends[client % 8];
                let admission = slots.admit(client.to_string(), None).await;
                let decided = Instant::now();
                assert!(decided - began <= Duration::from_millis(210));
                match admission {
                    Admission::Now => decided,
                    Admission::Later { wait, ticket } => {
                        sleep(wait).await;
                        // At any of them.
                        let slots = &front_ends[(client + client / 8) % 8];
                        let admission =
                            slots.admit(client.to_string(), Some(ticket.as_str())).await;
                        assert_eq!(admission, Admission::Now);
                        Instant::now()
                    }
                }
            });
        }
        let mut admitted: Vec<_> = tasks.join_all().await;
        admitted.sort();
        let took = admitted[799] - began;
        // Eight of a burst of one, and 100 a second.
        let instants = admitted.iter().map(|at| (*at - began).as_micros() as i64);
        assert!(excess(instants, 8, 10_000) <= 8, "each rounds to whole ms");
        assert!(
            took >= Duration::from_millis(7_900) && took <= Duration::from_millis(8_300),
            "{took:?}"
        );
    });
}

#[test]
fn tickets_that_were_given_without_the_store_count_when_it_is_back() {
    paused_runtime().block_on(async {
        let store = store();
        // A front end that starts now goes by its wall clock.
        store.mood(Mood::Gone);
        store.move_clock(-9 * HOUR);
        let front_ends = [(); 2].map(|()| front_end(&store, 1.0));
        let mut tickets = Vec::new();
        for client in ["ann", "bob"] {
            let slots = &front_ends[0];
            let _ = slots.admit("somebody", None).await;
            let (wait, ticket) = later(slots.admit(client, None).await);
            tickets.push((client, Instant::now() + wait, ticket));
        }
        store.mood(Mood::Well);
        sleep(3 * SECOND).await;
        // It is asked, and tells the time.
        for client in 0..4 {
            let _ = front_ends[0].admit(client.to_string(), None).await;
            sleep(SECOND).await;
        }
        assert!(!store.calls().is_empty());
        for (client, slot, ticket) in tickets {
            sleep_until(slot).await;
            let admission = front_ends[0].admit(client, Some(ticket.as_str())).await;
            assert_eq!(admission, Admission::Now, "{client}");
        }
    });
}

#[test]
fn nonsense_is_refused_by_its_value() {
    let store = || paused_runtime().block_on(async { Mirror::new() });
    let error = Slots::new(1, KEY).try_shared(store(), "x", 0).unwrap_err();
    assert_eq!((error.setting(), error.value()), ("front_ends", "0"));
    let error = Slots::new(1, KEY).try_shared(store(), "", 1).unwrap_err();
    assert_eq!(error.setting(), "name");
    let slots = Slots::new(1, KEY).burst(10_000_000);
    assert_eq!(
        slots.try_shared(store(), "x", 1).unwrap_err().setting(),
        "burst"
    );
}

/// The server behind the front ends: it does one handshake after the other, and has a
/// queue of a second.
struct Server {
    handshake: Duration,
    free: Instant,
}

#[test]
fn eight_front_ends_with_one_counter_bring_a_fleet_back_at_the_limit() {
    const CLIENTS: usize = 2_000;
    const CAPACITY: u32 = 400;

    let (last, attempts) = paused_runtime().block_on(async {
        let store = store();
        let front_ends: Arc<Vec<_>> = Arc::new(
            (0..8)
                .map(|_| Slots::new(CAPACITY, KEY).shared(store.clone(), "logins", 8))
                .collect(),
        );
        let began = Instant::now();
        let server = Arc::new(Mutex::new(Server {
            handshake: SECOND / CAPACITY,
            free: began,
        }));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (front_ends, server) = (front_ends.clone(), server.clone());
            clients.spawn(async move {
                sleep(SECOND * (client * 7_919 % CLIENTS) as u32 / CLIENTS as u32).await;
                let mut ticket: Option<Ticket> = None;
                for attempt in 1.. {
                    let slots = &front_ends[(client + 3 * attempt) % 8];
                    let shown = ticket.as_ref().map(Ticket::as_str);
                    let is_full = server.lock().unwrap().free > Instant::now() + SECOND;
                    let admission = if is_full {
                        slots.refuse(client.to_string(), shown).await
                    } else {
                        slots.admit(client.to_string(), shown).await
                    };
                    match admission {
                        Admission::Now => {
                            let mut server = server.lock().unwrap();
                            server.free = server.free.max(Instant::now()) + server.handshake;
                            return (server.free, attempt);
                        }
                        Admission::Later { wait, ticket: new } => {
                            ticket = Some(new);
                            sleep(wait).await;
                        }
                    }
                }
                unreachable!("it does not give up")
            });
        }
        let clients = clients.join_all().await;
        let last = clients
            .iter()
            .map(|(back, _)| *back - began)
            .max()
            .unwrap_or_default();
        let attempts: usize = clients.iter().map(|(_, attempts)| attempts).sum();
        (last, attempts as f64 / CLIENTS as f64)
    });
    let limit = CLIENTS as f64 / f64::from(CAPACITY);
    let time = last.as_secs_f64() / limit;
    println!("{time:.3} times the limit, {attempts:.2} attempts");
    assert!(time <= 1.05 && attempts <= 2.2);
}
