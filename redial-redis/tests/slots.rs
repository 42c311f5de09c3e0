//! Do the front ends of a server, which share a counter on a real Redis server, bring a
//! fleet of real clients back at the limit?

mod server;
mod slots_fleet;

use std::time::Duration;

use redial::{Admission, SharedSlots, Slots, Ticket};
use redial_redis::RedisStore;
use server::Server;
use slots_fleet::{CAPACITY, come_back};

const KEY: &str = "the key of a test";

/// One of eight front ends, with a connection of its own.
fn front_end(server: &Server, per_second: f64) -> SharedSlots {
    Slots::new(per_second, KEY).shared(RedisStore::new(server.client()), "logins", 8)
}

#[track_caller]
fn later(admission: Admission) -> (Duration, Ticket) {
    match admission {
        Admission::Later { wait, ticket } => (wait, ticket),
        Admission::Now => panic!("admitted"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "real time on a quiet machine, and 4 100 file descriptors"]
async fn two_thousand_clients_come_back_at_the_limit_in_two_attempts() {
    let server = Server::start();
    let front_ends = (0..8)
        .map(|_| front_end(&server, CAPACITY.into()))
        .collect();
    let back = come_back(front_ends).await;
    println!(
        "{:.3} times the limit, {:.2} attempts",
        back.time, back.attempts
    );
    assert!(back.time <= 1.05 && back.attempts <= 2.2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_outlives_the_counter_and_its_front_end() {
    let mut server = Server::start();
    let slots = front_end(&server, 0.1);
    // The bucket of a server that knows nothing is empty.
    let (wait, ticket) = later(slots.admit("ann", None).await);
    assert!((7..=8).contains(&wait.as_secs()), "{wait:?}");
    server.kill();
    let (left, same) = later(slots.admit("ann", Some(ticket.as_str())).await);
    assert!(same == ticket && left <= wait);
    // Another front end learns the time from a counter that has lost its data.
    server.start_again();
    drop(slots);
    let another = front_end(&server, 0.1);
    let (left, same) = later(another.admit("ann", Some(ticket.as_str())).await);
    assert!(same == ticket && left <= wait);
    tokio::time::sleep(left).await;
    let admission = another.admit("ann", Some(ticket.as_str())).await;
    assert_eq!(admission, Admission::Now);
}
