//! How large are the types that each client has one of?
//!
//! On 64-bit targets; what the peers' are is in the benches' tests.
#![cfg(all(feature = "tokio", target_pointer_width = "64"))]

use std::future::{Ready, ready};
use std::io;

use redial::policy::BucketPolicy;
use redial::{
    Connect, Decorrelated, Exponential, Outage, Policy, Redial, Rng, Sequence, Stratified,
};

/// What an outage remembers of its policy, and its generator of 32 bytes.
fn outage<P: Policy>() -> usize {
    size_of::<(P::State, Rng)>()
}

#[test]
fn an_outage_of_each_policy_is_a_generator_and_some_words() {
    assert_eq!(outage::<Stratified>(), 64);
    assert_eq!(outage::<Exponential>(), 48);
    assert_eq!(outage::<Decorrelated>(), 48);
    assert_eq!(outage::<Sequence>(), 32);
    assert_eq!(outage::<BucketPolicy>(), 40);
}

#[test]
fn the_future_of_a_connection_is_its_attempt_a_timer_and_a_reference() {
    fn size<T>(_: &T) -> usize {
        size_of::<T>()
    }
    let mut redial = Redial::new(|| -> Ready<io::Result<[u8; 1000]>> { ready(Ok([0; 1000])) });
    assert_eq!(size(&redial.ready()), 16);
    let attempt = size_of::<Option<Ready<io::Result<[u8; 1000]>>>>();
    let timer = size_of::<Option<tokio::time::Sleep>>();
    assert_eq!(
        size(&redial.connect()),
        attempt.next_multiple_of(8) + timer + 8
    );
}

#[test]
fn a_driver_is_less_than_half_a_kilobyte_beside_its_connection() {
    fn driver<C: Connect<Connection = ()>>(_: &Redial<C>) -> usize {
        size_of::<Redial<C>>()
    }
    let redial = Redial::new(|| ready(Ok::<(), io::Error>(())));
    // Beside the outage: four deadlines, the clock that they are on, the phase,
    // three boxes for what few drivers have, who judges, and the connection.
    let outage = size_of::<Outage<Stratified>>();
    assert!(outage <= 248, "{outage} B");
    assert!(driver(&redial) - outage <= 104, "{} B", driver(&redial));
}
