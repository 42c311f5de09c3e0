//! Which of several servers does a driver try, and when?
//!
//! What a client remembers of its servers has its own tests, in `src/roster/model.rs`.
#![cfg(feature = "tokio")]

mod paused;
mod servers;

use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use redial::{
    AttemptInfo, AttemptKind, AttemptPhase, BoxConnect, Connect, Endpoints, Event, Jitter, Redial,
    Sequence, SessionEvent, Status, Verdict, with_info,
};
use tokio::time::{Instant, advance, sleep, timeout};

use servers::{BUSY, Connection, DOWN, Does, Fault, Net, millis, redial, secs};

fn five(does: Does) -> (Net, Endpoints<usize>) {
    (Net::new([does; 5]), Endpoints::new(0..5))
}

/// The order in which this client tries its servers. They serve afterwards.
async fn order<C>(net: &Net, redial: &mut Redial<C, Sequence>) -> Vec<usize>
where
    C: Connect<Connection = Connection, Error = Fault>,
{
    net.set_all(Does::Refuses);
    let _ = timeout(millis(1), redial.ready()).await;
    let order = net.dialled();
    net.set_all(Does::Serves(0));
    order
}

// ---- a round

#[tokio::test(start_paused = true)]
async fn after_down_each_server_is_tried_once_without_a_wait_and_then_comes_the_policys() {
    let (net, endpoints) = five(Does::Refuses);
    let mut redial = redial(&net, &endpoints).max_attempts(3);
    let error = redial.ready().await.unwrap_err();
    // Limits count rounds.
    assert_eq!(error.attempts(), 3);
    let dials = net.dials();
    let order: Vec<_> = dials[..5].iter().map(|&(_, server)| server).collect();
    for (round, dials) in dials.chunks(5).enumerate() {
        let expected: Vec<_> = order
            .iter()
            .map(|&server| (1_000 * round as u64, server))
            .collect();
        assert_eq!(dials, expected);
    }
    assert_eq!(dials.len(), 15);
}

#[tokio::test(start_paused = true)]
async fn one_dead_server_costs_no_wait() {
    for dead in 0..5 {
        let (net, endpoints) = five(Does::Serves(10));
        net.set(dead, Does::Refuses);
        let mut redial = redial(&net, &endpoints);
        let start = Instant::now();
        assert_ne!(redial.ready().await.unwrap().server, dead);
        assert_eq!(start.elapsed(), millis(10));
    }
}

#[tokio::test(start_paused = true)]
async fn busy_and_stalled_wait_and_then_the_next_server_is_tried() {
    for does in [Does::Answers(0, Fault::of(BUSY)), Does::Hangs] {
        let (net, endpoints) = five(Does::Serves(0));
        let mut redial = redial(&net, &endpoints).attempt_timeout(secs(20));
        let order = order(&net, &mut redial).await;
        net.set(order[0], does);
        redial.ready().await.unwrap();
        let wait = if does == Does::Hangs { 21_000 } else { 1_000 };
        assert_eq!(net.dials(), [(1_000, order[0]), (1_000 + wait, order[1])]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_one_server_stops_the_driver() {
    let (net, endpoints) = five(Does::Answers(0, Fault::of(Verdict::Stop)));
    let error = redial(&net, &endpoints)
        .ready()
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(error.is_stopped());
    assert_eq!(net.dials().len(), 1);
}

// ---- silence

#[tokio::test(start_paused = true)]
async fn four_silent_servers_of_five_cost_four_seconds_at_most_in_every_order() {
    for seed in 0..40 {
        for good in 0..5 {
            let (net, endpoints) = five(Does::IsSilent);
            net.set(good, Does::Serves(80));
            let mut redial = redial(&net, &endpoints).seed(seed);
            let start = Instant::now();
            assert_eq!(redial.ready().await.unwrap().server, good);
            assert!(start.elapsed() <= millis(4_080), "{:?}", start.elapsed());
            // The losers are gone in the poll that returned the winner.
            assert_eq!(net.state().attempts, 0);
            let dials = net.dials();
            for (nth, &(at, _)) in dials.iter().enumerate() {
                assert_eq!(at, 1_000 * nth as u64);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_beside_a_silent_one_that_refuses_is_followed_at_once() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints);
    let order = order(&net, &mut redial).await;
    net.set_all(Does::IsSilent);
    net.set(order[1], Does::Refuses);
    net.set(order[3], Does::Serves(500));
    redial.ready().await.unwrap();
    assert_eq!(
        net.dials(),
        [
            (1_000, order[0]),
            (2_000, order[1]),
            (2_000, order[2]),
            (3_000, order[3]),
        ]
    );
    assert_eq!(net.now(), 3_500);
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_wins_over_those_that_were_dialled_beside_it() {
    let (net, endpoints) = five(Does::IsSilent);
    let mut redial = redial(&net, &endpoints);
    let order = order(&net, &mut redial).await;
    net.set_all(Does::IsSilent);
    net.set(order[0], Does::Serves(2_500));
    assert_eq!(redial.ready().await.unwrap().server, order[0]);
    assert_eq!(net.dials().len(), 3);
    assert_eq!(net.state().attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn silent_servers_have_their_own_dial_timeout_and_the_round_is_down() {
    let (net, endpoints) = five(Does::IsSilent);
    let failures = Arc::new(Mutex::new(Vec::new()));
    let seen = failures.clone();
    let start = Instant::now();
    let mut redial = redial(&net, &endpoints)
        .max_attempts(1)
        .observe(move |event| {
            let at = start.elapsed().as_secs();
            match event {
                Event::ServerFailed { error, verdict, .. } => {
                    assert!(error.is_none());
                    seen.lock().unwrap().push((at, *verdict));
                }
                Event::Failed { verdict, .. } => seen.lock().unwrap().push((at, *verdict)),
                _ => {}
            }
        });
    let handle = redial.handle();
    assert!(redial.ready().await.is_err());
    let Status::GaveUp { why, .. } = handle.status() else {
        panic!("{:?}", handle.status())
    };
    assert_eq!(why.error(), Some("timed out after 5s"));
    // 5 s each, from its own beginning.
    let expected = [5, 6, 7, 8, 9, 9].map(|at| (at, DOWN));
    assert_eq!(*failures.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_dial_timeout_of_the_driver_is_that_of_each_server() {
    let (net, endpoints) = five(Does::IsSilent);
    let mut redial = redial(&net, &endpoints)
        .dial_timeout(secs(2))
        .max_attempts(1);
    redial.ready().await.unwrap_err();
    // Dialled at 0 s, 1 s, 2 s (when the first one's time is over), 3 s and 4 s.
    assert_eq!(net.now(), 6_000);
}

#[tokio::test(start_paused = true)]
async fn each_server_is_told_of_the_attempt_and_one_gets_the_hint() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let connector = Endpoints::new([0, 1]).connect_with(move |_| {
        let seen = seen.clone();
        with_info(move |info: AttemptInfo<'_, std::io::Error>| {
            let hint = info.hint().map(String::from);
            let serves = info.kind() == AttemptKind::First && info.number() == 2;
            seen.lock()
                .unwrap()
                .push((info.kind(), info.number(), hint));
            async move {
                if serves {
                    return Ok(());
                }
                Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
            }
        })
    });
    let mut redial = Redial::new(connector);
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.renew_with_hint(secs(30), "elsewhere");
    assert!(timeout(secs(21), redial.renewed()).await.is_err());
    let told = told.lock().unwrap();
    let first = |number| (AttemptKind::First, number, None);
    assert_eq!(told[..3], [first(1), first(1), first(2)]);
    let renewal = |hint: Option<&str>| (AttemptKind::Renewal, 1, hint.map(String::from));
    assert_eq!(told[3..5], [renewal(Some("elsewhere")), renewal(None)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_of_the_client_has_no_rival() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints).attempt_timeout(secs(60));
    let order = order(&net, &mut redial).await;
    net.set_all(Does::Hangs);
    let _ = timeout(secs(50), redial.ready()).await;
    assert_eq!(net.dials(), [(1_000, order[0])]);
}

#[tokio::test(start_paused = true)]
async fn each_server_has_the_whole_time_for_its_login() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints).attempt_timeout(secs(60));
    let order = order(&net, &mut redial).await;
    net.set(order[0], Does::Answers(59_000, Fault::of(DOWN)));
    net.set(order[1], Does::Answers(59_000, Fault::of(DOWN)));
    assert_eq!(redial.ready().await.unwrap().server, order[2]);
    assert_eq!(net.now(), 119_000);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_an_outage_spans_the_servers_of_its_first_attempt() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints).max_elapsed(secs(10));
    let handle = redial.handle();
    let answer = Does::Answers(6_000, Fault::of(DOWN));
    for (first, others) in [
        (answer, Does::Hangs),
        // The second one would take the client half a second after the limit.
        (answer, Does::Serves(4_500)),
        (Does::Refuses, Does::Hangs),
    ] {
        net.set_all(Does::Serves(0));
        let server = redial.ready().await.unwrap().server;
        sleep(secs(100)).await;
        handle.suspend();
        assert!(timeout(millis(1), redial.ready()).await.is_err());
        net.dials();
        net.set_all(others);
        net.set(server, first);
        handle.resume();
        redial.ready().await.unwrap_err();
        let dials = net.dials();
        assert!(dials.len() >= 2, "{first:?}");
        assert_eq!(net.now() - dials[0].0, 10_000, "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_of_unknown_phases_share_the_limit_of_their_outage() {
    let endpoints = Endpoints::new([0, 1]);
    let mut redial = Redial::new(endpoints.connect_with(|_| {
        async || {
            sleep(secs(6)).await;
            Err::<(), _>(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
        }
    }))
    .max_elapsed(secs(10));
    let start = Instant::now();
    redial.ready().await.unwrap_err();
    assert_eq!(start.elapsed(), secs(10));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_phase_is_unknown_has_no_rival_and_thirteen_seconds() {
    let (net, endpoints) = five(Does::IsSilent);
    let dials = Arc::new(Mutex::new(Vec::new()));
    let seen = dials.clone();
    let start = Instant::now();
    let mut redial = Redial::new(endpoints.connect_with(move |&server| {
        let seen = seen.clone();
        move || {
            seen.lock().unwrap().push((start.elapsed(), server));
            std::future::pending::<std::io::Result<()>>()
        }
    }))
    .policy(Sequence::new([secs(1)]).jitter(Jitter::None))
    .attempt_timeout(secs(13));
    let _ = timeout(secs(14), redial.ready()).await;
    let dials = dials.lock().unwrap();
    assert_eq!(dials.len(), 2);
    assert_eq!(dials[1].0, secs(14));
    assert_ne!(dials[0].1, dials[1].1);
    drop(net);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_established_when_that_at_one_server_is() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints);
    let handle = redial.handle();
    let order = order(&net, &mut redial).await;
    net.set_all(Does::IsSilent);
    net.set(order[2], Does::Hangs);
    let mut phases = Vec::new();
    for _ in 0..3 {
        let _ = timeout(secs(1), redial.ready()).await;
        if let Status::Connecting { attempt, phase, .. } = handle.status() {
            phases.push((attempt, phase));
        }
    }
    let dialing = (2, AttemptPhase::Dialing);
    assert_eq!(
        phases,
        [dialing, dialing, (2, AttemptPhase::Established)][..phases.len()]
    );
    assert_eq!(phases.last(), Some(&(2, AttemptPhase::Established)));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_server_is_forgotten_when_another_one_takes_the_client() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints).max_attempts(2);
    let order = order(&net, &mut redial).await;
    net.set(order[0], Does::Answers(0, Fault::elsewhere(BUSY)));
    redial.ready().await.unwrap();
    redial.lost();
    let error = redial.ready().await.unwrap_err();
    assert!(error.last().is_none(), "{error:?}");
}

// ---- hints

#[tokio::test(start_paused = true)]
async fn a_hint_binds_its_server_and_the_next_one_is_tried_after_the_policys_wait() {
    let (net, endpoints) = five(Does::Refuses);
    let mut redial = redial(&net, &endpoints);
    let order = order(&net, &mut redial).await;
    net.set_all(Does::Refuses);
    let hint = Fault::of(Verdict::Slot(secs(30)));
    net.set(order[0], Does::Answers(0, hint));
    let _ = timeout(millis(29_500), redial.ready()).await;
    let dials = net.dials();
    assert_eq!(dials[..2], [(1_000, order[0]), (2_000, order[1])]);
    assert!(dials[1..].iter().all(|&(_, server)| server != order[0]));
    net.set(order[0], Does::Serves(0));
    assert_eq!(redial.ready().await.unwrap().server, order[0]);
    assert_eq!(net.now(), 31_000);
}

/// Other servers are tried meanwhile, so only its own dials show it.
#[tokio::test(start_paused = true)]
async fn a_hint_binds_its_server_no_longer_than_the_cap() {
    for hint in [secs(100_000), secs(31)] {
        for verdict in [Verdict::RetryAfter(hint), Verdict::Slot(hint)] {
            let net = Net::new([Does::Refuses, Does::Answers(0, Fault::of(verdict))]);
            let endpoints = Endpoints::new(0..2);
            let cut = Arc::new(Mutex::new(0));
            let seen = cut.clone();
            let mut redial = redial(&net, &endpoints)
                .hint_cap(secs(30))
                .observe(move |event| {
                    if let Event::HintCut { asked, cap, .. } = event {
                        assert_eq!((*asked, *cap), (hint, secs(30)));
                        *seen.lock().unwrap() += 1;
                    }
                });
            let _ = timeout(secs(50), redial.ready()).await;
            let dials = net.dials();
            let bound: Vec<_> = dials.iter().filter(|&&(_, server)| server == 1).collect();
            assert_eq!(bound.len(), 2, "{verdict:?}: {bound:?}");
            let between = bound[1].0 - bound[0].0;
            assert!(
                (30_000..=31_000).contains(&between),
                "{verdict:?}: {between}"
            );
            assert_eq!(*cut.lock().unwrap(), 2, "{verdict:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_the_first_hint_if_all_servers_gave_one() {
    let net = Net::new([Does::Answers(0, Fault::of(Verdict::Slot(secs(40)))); 2]);
    let mut redial = redial(&net, &Endpoints::new(0..2));
    let _ = timeout(secs(60), redial.ready()).await;
    let times: Vec<_> = net.dials().into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [0, 1_000, 40_000, 41_000]);
}

// ---- elsewhere

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_serve_now_is_left_at_once_and_does_not_count() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints);
    let order = order(&net, &mut redial).await;
    net.set(order[0], Does::Answers(0, Fault::elsewhere(BUSY)));
    assert_eq!(redial.ready().await.unwrap().server, order[1]);
    assert_eq!(net.dials(), [(1_000, order[0]), (1_000, order[1])]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_to_a_demoted_server_leads_to_another_for_thirty_seconds() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints);
    let order = order(&net, &mut redial).await;
    assert_eq!(redial.ready().await.unwrap().server, order[0]);
    advance(secs(60)).await;
    redial.lost_with(Fault::elsewhere(DOWN));
    // The others are gone for a while.
    net.set_all(Does::Refuses);
    let _ = timeout(millis(20_500), redial.ready()).await;
    let dials = net.dialled();
    for round in dials[1..].chunks_exact(5) {
        assert_eq!(round[4], order[0], "{dials:?} {order:?}");
    }
    assert_eq!(dials.len(), 1 + 20 * 5);
}

#[tokio::test(start_paused = true)]
async fn elsewhere_is_a_plain_failure_of_the_only_server() {
    let net = Net::new([Does::Answers(0, Fault::elsewhere(BUSY))]);
    let mut redial = redial(&net, &Endpoints::new([0]));
    let _ = timeout(millis(2_500), redial.ready()).await;
    assert_eq!(net.dials(), [(0, 0), (1_000, 0), (2_000, 0)]);
}

// ---- after a connection

#[tokio::test(start_paused = true)]
async fn a_server_that_opens_and_drops_is_left_for_one_that_works() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints);
    let bad = redial.ready().await.unwrap().server;
    sleep(secs(2)).await;
    redial.lost();
    let good = redial.ready().await.unwrap().server;
    assert_ne!(good, bad);
    assert_eq!(net.dialled(), [bad, good]);
}

#[tokio::test(start_paused = true)]
async fn after_an_end_by_the_server_it_is_the_last() {
    for end in 0..4 {
        let (net, endpoints) = five(Does::Serves(0));
        let mut redial = redial(&net, &endpoints);
        let order = order(&net, &mut redial).await;
        assert_eq!(redial.ready().await.unwrap().server, order[0]);
        sleep(secs(60)).await;
        match end {
            0 => redial.lost(),
            1 => redial.ended(),
            2 => redial.lost_with(Fault::of(BUSY)),
            _ => drop(redial.take()),
        }
        net.dials();
        net.set_all(Does::Refuses);
        let _ = timeout(millis(1_500), redial.ready()).await;
        let mut expected = order.clone();
        expected.rotate_left(1);
        assert_eq!(net.dialled(), expected, "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_end_on_this_side_a_stable_server_is_the_first() {
    for stable in [false, true] {
        let (net, endpoints) = five(Does::Serves(0));
        let mut redial = redial(&net, &endpoints);
        let handle = redial.handle();
        let first = redial.ready().await.unwrap().server;
        sleep(secs(if stable { 60 } else { 5 })).await;
        handle.reconnect();
        let second = redial.ready().await.unwrap().server;
        assert_eq!(first == second, stable);
        sleep(secs(60)).await;
        handle.suspend();
        let _ = timeout(secs(1), redial.ready()).await;
        handle.resume();
        assert_eq!(redial.ready().await.unwrap().server, second);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_with_a_change_of_the_network_is_not_the_servers() {
    for changed in [None, Some("before"), Some("after"), Some("long after")] {
        let (net, endpoints) = five(Does::Serves(0));
        let mut redial = redial(&net, &endpoints);
        let handle = redial.handle();
        let first = redial.ready().await.unwrap().server;
        sleep(secs(60)).await;
        if changed == Some("before") {
            handle.network_changed();
        }
        redial.lost();
        if changed == Some("after") {
            handle.network_changed();
        }
        if changed == Some("long after") {
            net.set_all(Does::Refuses);
            let _ = timeout(millis(1_500), redial.ready()).await;
            net.set_all(Does::Serves(0));
            handle.network_changed();
        }
        let is_the_same = redial.ready().await.unwrap().server == first;
        assert_eq!(is_the_same, matches!(changed, Some("before" | "after")));
    }
}

/// A connector of one server that refuses, and notes the changes of the network.
struct Hears {
    server: usize,
    heard: Arc<Mutex<Vec<usize>>>,
}

impl Connect for Hears {
    type Connection = Connection;
    type Error = Fault;
    type Attempt = Ready<Result<Connection, Fault>>;

    fn connect(&mut self) -> Self::Attempt {
        ready(Err(Fault::of(DOWN)))
    }

    fn network_changed(&mut self) {
        self.heard.lock().unwrap().push(self.server);
    }

    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut Self::Attempt>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Connection, Fault>> {
        attempt.poll(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn the_connector_of_each_server_hears_that_the_network_has_changed() {
    let heard: Arc<Mutex<Vec<usize>>> = Arc::default();
    let notes = heard.clone();
    let endpoints = Endpoints::new(0..5);
    let mut redial = Redial::new(endpoints.connect_with(move |&server| Hears {
        server,
        heard: notes.clone(),
    }))
    .policy(Sequence::new([secs(1000)]).jitter(Jitter::None))
    .seed(1);
    let handle = redial.handle();
    let mut ready = pin!(redial.ready());
    assert!(timeout(secs(1), &mut ready).await.is_err());
    assert_eq!(*heard.lock().unwrap(), []);
    handle.network_changed();
    assert!(timeout(secs(2), &mut ready).await.is_err());
    let mut heard = std::mem::take(&mut *heard.lock().unwrap());
    heard.sort_unstable();
    assert_eq!(heard, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_loss_after_sleep_is_not_the_servers() {
    for slept in [0, 4, 6, 3_600] {
        let (net, endpoints) = five(Does::Serves(0));
        let wall = Arc::new(Mutex::new(secs(0)));
        let (clock, start) = (wall.clone(), Instant::now());
        let mut redial = redial(&net, &endpoints).wall_clock(move || {
            std::time::SystemTime::UNIX_EPOCH
                + secs(1_000_000)
                + start.elapsed()
                + *clock.lock().unwrap()
        });
        let first = redial.ready().await.unwrap().server;
        sleep(secs(60)).await;
        *wall.lock().unwrap() = secs(slept);
        redial.lost();
        assert_eq!(redial.ready().await.unwrap().server == first, slept >= 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_at_the_end_of_a_connection_does_not_hold_the_client_back() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints);
    let first = redial.ready().await.unwrap().server;
    sleep(secs(60)).await;
    redial.lost_with(Fault::of(Verdict::RetryAfter(secs(600))));
    assert_ne!(redial.ready().await.unwrap().server, first);
    assert_eq!(net.now(), 61_000);
}

// ---- each client's own order

#[tokio::test(start_paused = true)]
async fn the_order_is_drawn_from_the_seed_of_the_driver() {
    let mut orders = Vec::new();
    for seed in 0..20 {
        let (net, endpoints) = five(Does::Refuses);
        let mut one = redial(&net, &endpoints).seed(seed);
        let first = order(&net, &mut one).await;
        let mut other = redial(&net, &endpoints).seed(seed);
        assert_eq!(order(&net, &mut other).await, first);
        orders.push(first);
    }
    orders.sort();
    orders.dedup();
    // Of 120. The odds of five or fewer are below 1e-20.
    assert!(orders.len() > 5, "{orders:?}");
}

#[tokio::test(start_paused = true)]
async fn clients_of_a_lost_server_spread_evenly_over_the_others() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut others = [0; 5];
    let mut lost = 0;
    for seed in 0..5_000 {
        let mut redial = redial(&net, &endpoints).seed(seed);
        if redial.ready().await.unwrap().server != 2 {
            continue;
        }
        lost += 1;
        redial.lost();
        others[redial.ready().await.unwrap().server] += 1;
    }
    assert_eq!(others[2], 0);
    for (server, &came) in others.iter().enumerate().filter(|&(server, _)| server != 2) {
        // A quarter each; five deviations of a binomial.
        let (mean, deviation) = (f64::from(lost) / 4.0, (f64::from(lost) * 3.0 / 16.0).sqrt());
        let off = (f64::from(came) - mean).abs();
        assert!(off <= 5.0 * deviation, "{server}: {came} of {lost}");
    }
}

// ---- another list

#[test]
fn an_empty_list_and_a_server_twice_are_refused_and_change_nothing() {
    let refused = Endpoints::<u8>::try_new([]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "endpoints is an empty list: give it one server at least"
    );
    let refused = Endpoints::try_new(["a:1", "b:1", "a:1"]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "endpoints is a list with \"a:1\" twice: name each server once, or it gets two attempts \
         in a round"
    );
    let endpoints = Endpoints::new(["a:1", "b:1"]);
    assert!(endpoints.replace([]).is_err());
    assert!(endpoints.replace(["c:1", "c:1"]).is_err());
    assert_eq!(*endpoints.servers(), ["a:1", "b:1"]);
}

#[test]
#[should_panic(expected = "endpoints is an empty list")]
fn the_plain_form_panics_at_an_empty_list() {
    let _ = Endpoints::<u8>::new([]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_stays_whatever_the_list() {
    let net = Net::new([Does::Serves(0); 7]);
    let endpoints = Endpoints::new(0..5);
    let mut redial = redial(&net, &endpoints);
    let server = redial.ready().await.unwrap().server;
    endpoints.replace([5, 6]).unwrap();
    sleep(secs(60)).await;
    assert_eq!(redial.ready().await.unwrap().server, server);
    redial.lost();
    assert!(redial.ready().await.unwrap().server >= 5);
    assert_eq!(net.dials().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_at_a_removed_server_is_dropped_at_once_and_does_not_count() {
    for does in [Does::IsSilent, Does::Hangs] {
        let net = Net::new([does, Does::Serves(0)]);
        let endpoints = Endpoints::new([0]);
        let failures = Arc::new(Mutex::new(0));
        let seen = failures.clone();
        let mut redial = redial(&net, &endpoints).observe(move |event| {
            let failed = matches!(event, Event::Failed { .. } | Event::ServerFailed { .. });
            *seen.lock().unwrap() += u32::from(failed);
        });
        let replace = async {
            sleep(millis(300)).await;
            endpoints.replace([1]).unwrap();
        };
        let (server, ()) = tokio::join!(async { redial.ready().await.unwrap().server }, replace);
        assert_eq!(server, 1);
        assert_eq!(net.dials(), [(0, 0), (300, 1)]);
        assert_eq!(net.state().attempts, 0);
        assert_eq!(*failures.lock().unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_added_is_tried_in_the_round_that_goes_on() {
    let net = Net::new([Does::IsSilent, Does::Serves(0)]);
    let endpoints = Endpoints::new([0]);
    let mut redial = redial(&net, &endpoints);
    let _ = timeout(millis(1_500), redial.ready()).await;
    endpoints.replace([0, 1]).unwrap();
    assert_eq!(redial.ready().await.unwrap().server, 1);
    assert_eq!(net.now(), 1_500);
}

#[tokio::test(start_paused = true)]
async fn many_drivers_of_one_list_are_independent() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut clients: Vec<_> = (0..10)
        .map(|seed| redial(&net, &endpoints).seed(seed))
        .collect();
    for client in &mut clients {
        client.ready().await.unwrap();
    }
    endpoints.replace([3]).unwrap();
    for client in &mut clients {
        client.lost();
        assert_eq!(client.ready().await.unwrap().server, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_leaves_a_server_that_was_demoted_under_it() {
    // A server sends its number, and is demoted after three of them.
    let endpoints = Endpoints::new(0..3_u32);
    let start = Instant::now();
    let mut session = Redial::new(endpoints.connect_with(|&server| {
        move || {
            let numbers = (0..).map(move |nth| match nth {
                3 if server != 2 => Err(Fault::elsewhere(DOWN)),
                _ => Ok(server),
            });
            std::future::ready(Ok(futures::stream::iter(numbers)))
        }
    }))
    .policy(Sequence::new([secs(1)]).jitter(Jitter::None))
    .advise(|fault: &Fault| Some(fault.advice()))
    .into_session();
    let (mut heard, mut downs) = (Vec::new(), 0);
    while heard.len() < 20 {
        match session.next().await.unwrap().unwrap() {
            SessionEvent::Item(server) => heard.push(server),
            SessionEvent::Down { .. } => downs += 1,
            SessionEvent::Up => {}
        }
    }
    assert_eq!(heard.last(), Some(&2));
    // It never goes back to one of them.
    let left = heard.iter().filter(|&&server| server != 2).count();
    assert_eq!(left, 3 * downs);
    assert!(downs <= 2 && start.elapsed() == secs(downs as u64));
}

// ---- renewal

#[tokio::test(start_paused = true)]
async fn a_renewal_in_which_all_servers_are_silent_fails_with_its_last_dial() {
    let (net, endpoints) = five(Does::Serves(0));
    let failed: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (clock, times) = (net.clone(), failed.clone());
    let mut redial = redial(&net, &endpoints).observe(move |event| {
        if let Event::RenewalFailed { .. } = event {
            times.lock().unwrap().push(clock.now());
        }
    });
    redial.ready().await.unwrap();
    sleep(secs(60)).await;
    net.set_all(Does::IsSilent);
    redial.renew_now();
    // One dial a second, and each may take five.
    assert!(timeout(millis(9_500), redial.renewed()).await.is_err());
    assert_eq!(*failed.lock().unwrap(), [69_000]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_announces_its_end_is_the_last_that_its_successor_is_tried_at() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints);
    let order = order(&net, &mut redial).await;
    assert_eq!(redial.ready().await.unwrap().server, order[0]);
    sleep(secs(60)).await;
    net.dials();
    net.set(order[1], Does::Refuses);
    net.set(order[2], Does::IsSilent);
    redial.renew_within(secs(30));
    assert_eq!(redial.renewed().await.unwrap().server, order[0]);
    assert_eq!(redial.ready().await.unwrap().server, order[3]);
    assert_eq!(net.dialled(), order[1..4]);
    assert_eq!(net.state().most_connections, 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_is_the_last_also_if_the_others_came_to_the_list_since() {
    for seed in 0..20 {
        let net = Net::new([Does::Serves(0); 2]);
        let endpoints = Endpoints::new([0]);
        let mut redial = redial(&net, &endpoints).seed(seed);
        redial.ready().await.unwrap();
        sleep(secs(60)).await;
        endpoints.replace([0, 1]).unwrap();
        redial.renew_within(secs(30));
        redial.renewed().await.unwrap();
        assert_eq!(redial.ready().await.unwrap().server, 1, "{seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_old_is_replaced_at_its_own_server() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints).max_age(secs(600));
    let order = order(&net, &mut redial).await;
    for renewed in 0..4 {
        let server = redial.ready().await.unwrap().server;
        assert_eq!(server, order[usize::from(renewed == 3)]);
        if renewed == 2 {
            net.set(order[0], Does::Refuses);
        }
        redial.renewed().await.unwrap();
    }
    // An attempt of a renewal is a round, too, and the failure was that of a server.
    assert_eq!(net.dials().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_round_beside_a_connection_goes_on_if_that_is_lost() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints);
    let order = order(&net, &mut redial).await;
    redial.ready().await.unwrap();
    sleep(secs(60)).await;
    net.set_all(Does::IsSilent);
    net.set(order[3], Does::Serves(0));
    net.dials();
    redial.renew_now();
    let begun = net.now();
    let _ = timeout(millis(500), redial.renewed()).await;
    redial.lost();
    assert_eq!(redial.ready().await.unwrap().server, order[3]);
    // Neither a wait nor a second attempt at the server that was already dialled.
    assert_eq!(net.dialled().len() as u64, (net.now() - begun) / 1_000 + 1);
    assert_eq!(net.state().attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn clients_of_a_server_that_announces_its_end_move_to_the_other_within_two_thirds_of_it() {
    let net = Net::new([Does::Serves(10); 2]);
    let endpoints = Endpoints::new(0..2);
    let clients = (0..4_000).map(|seed| {
        let mut redial = redial(&net, &endpoints)
            .seed(seed)
            .observe(|event| assert!(!matches!(event, Event::Lost { .. })));
        async move {
            let server = redial.ready().await.unwrap().server;
            sleep(secs(60)).await;
            if server == 0 {
                redial.renew_within(secs(30));
                drop(redial.renewed().await);
                assert_eq!(redial.get_mut().unwrap().server, 1);
                sleep(secs(60)).await;
            }
        }
    });
    let settled = async {
        sleep(secs(59)).await;
        net.dials();
    };
    tokio::join!(futures::future::join_all(clients), settled);
    let dials = net.dials();
    let moved = dials.len() as f64;
    assert!(dials.iter().all(|&(_, server)| server == 1));
    let mut seconds = [0.0; 21];
    for (at, _) in dials {
        seconds[(at - 60_000) as usize / 1_000] += 1.0;
    }
    // A twentieth in each second; five deviations of a binomial. The last has what was
    // rounded up.
    let most = moved / 20.0 + 5.0 * (moved * 0.05 * 0.95).sqrt();
    assert!(seconds.iter().all(|&dials| dials <= most), "{seconds:?}");
    assert!(seconds[20] <= 20.0, "{seconds:?}");
    assert!(net.state().most_connections <= 4_000 + moved as usize);
}

// ---- the rest of the driver

#[tokio::test(start_paused = true)]
async fn events_name_each_server_and_the_error_is_of_the_one_that_got_farthest() {
    let (net, endpoints) = five(Does::Serves(0));
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let mut redial = redial(&net, &endpoints)
        .max_attempts(2)
        .observe(move |event| {
            let text = match event {
                Event::Connecting { attempt, .. } => format!("round {attempt}"),
                Event::Trying {
                    attempt, server, ..
                } => format!("{attempt}: try {server}"),
                Event::ServerFailed { server, error, .. } => {
                    format!("{server} {}", error.unwrap().is_elsewhere)
                }
                Event::Failed { error, verdict, .. } => {
                    format!("failed {} {verdict:?}", error.unwrap().is_elsewhere)
                }
                Event::ServerConnected { server, .. } => format!("up {server}"),
                _ => return,
            };
            seen.lock().unwrap().push(text);
        });
    let order = order(&net, &mut redial).await;
    redial.ready().await.unwrap();
    assert_eq!(
        *log.lock().unwrap().last().unwrap(),
        format!("up {}", order[0])
    );
    sleep(secs(60)).await;
    redial.ended();
    log.lock().unwrap().clear();
    net.set_all(Does::Refuses);
    net.set(order[1], Does::Answers(10, Fault::elsewhere(BUSY)));
    let error = redial.ready().await.unwrap_err();
    let mut expected = Vec::new();
    for round in 1..=2 {
        expected.push(format!("round {round}"));
        // The last of the first round is still the last, and so is that of the second.
        let places = if round == 1 {
            [1, 2, 3, 4, 0]
        } else {
            [2, 3, 4, 0, 1]
        };
        for server in places.map(|place| order[place]) {
            expected.push(format!("{round}: try {server}"));
            expected.push(format!("{server} {}", server == order[1]));
        }
        expected.push("failed true Retry(Down)".to_string());
    }
    assert_eq!(*log.lock().unwrap(), expected);
    assert!(error.into_inner().unwrap().is_elsewhere);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_follows_all_dials_goes_on_with_the_round() {
    let (net, endpoints) = five(Does::Serves(0));
    let dial = net.clone();
    let dials = endpoints.connect_with(move |&server| dial.connector(server));
    // The servers 0 to 3 reset a client after its login.
    let connector = dials.then(|connection: Connection| async move {
        sleep(millis(10)).await;
        if connection.server == 4 {
            Ok(connection)
        } else {
            Err(Fault::of(DOWN))
        }
    });
    let mut redial = Redial::new(connector)
        .policy(Sequence::new([secs(1)]).jitter(Jitter::None))
        .advise(|fault: &Fault| Some(fault.advice()));
    assert_eq!(redial.ready().await.unwrap().server, 4);
    let dials = net.dials();
    for (nth, &(at, _)) in dials.iter().enumerate() {
        assert_eq!(at, 10 * nth as u64);
    }
    let mut servers: Vec<_> = dials.into_iter().map(|(_, server)| server).collect();
    assert_eq!(servers.last(), Some(&4));
    servers.sort_unstable();
    servers.dedup();
    assert_eq!(servers.len() as u64, net.now() / 10);
}

/// A dial that does not tell its phase is one if a login follows it, also at each of
/// several servers. Otherwise nothing would end it.
#[tokio::test(start_paused = true)]
async fn a_silent_dial_of_a_closure_that_a_login_follows_is_limited() {
    for serves in [true, false] {
        let endpoints = Endpoints::new(0..3);
        let dials = endpoints.connect_with(move |&server| {
            move || async move {
                if serves && server == 0 {
                    return Ok(server);
                }
                std::future::pending::<Result<i32, Fault>>().await
            }
        });
        let login = async |server| Ok::<_, Fault>(server);
        let mut redial = Redial::new(BoxConnect::new(dials).then(login))
            .max_attempts(1)
            .seed(1);
        let start = Instant::now();
        let ready = timeout(secs(100), redial.ready()).await;
        let ready = ready.expect("it ends");
        if serves {
            assert_eq!(*ready.unwrap(), 0);
            assert!(start.elapsed() <= secs(2));
        } else {
            // The third dial begins after two seconds.
            assert_eq!(ready.unwrap_err().timed_out(), Some(secs(5)));
            assert_eq!(start.elapsed(), secs(7));
        }
    }
}

/// Servers whose connectors differ: the first one dials, and the one beside it does not
/// tell.
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_tell_its_phase_beside_one_that_dials_has_a_deadline() {
    let tells = Arc::new(Mutex::new(true));
    let endpoints = Endpoints::new(0..2);
    let connector = endpoints.connect_with(move |_| {
        let tells = tells.clone();
        with_info(move |info: AttemptInfo<'_, Fault>| {
            if std::mem::take(&mut *tells.lock().unwrap()) {
                info.mark();
            }
            std::future::pending::<Result<(), Fault>>()
        })
    });
    let mut redial = Redial::new(connector)
        .attempt_timeout(secs(20))
        .max_attempts(1);
    let handle = redial.handle();
    let start = Instant::now();
    let mut ready = Box::pin(redial.ready());
    let phase = || match handle.status() {
        Status::Connecting { phase, .. } => phase,
        other => panic!("{other:?}"),
    };
    assert!(timeout(millis(500), &mut ready).await.is_err());
    assert_eq!(phase(), AttemptPhase::Dialing);
    assert!(timeout(secs(1), &mut ready).await.is_err());
    assert_eq!(phase(), AttemptPhase::Unknown);
    let ended = timeout(secs(100), ready).await;
    ended.expect("it ends").map(drop).unwrap_err();
    assert_eq!(start.elapsed(), secs(1 + 20));
}

/// An attempt that is led by a server which leaves the list has the whole time at the next
/// one.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_tried_because_the_list_was_replaced_has_its_own_time() {
    for renews in [false, true] {
        let (net, endpoints) = five(Does::Serves(0));
        let failed = Arc::new(Mutex::new(0));
        let seen = failed.clone();
        let mut redial = redial(&net, &endpoints)
            .attempt_timeout(secs(60))
            .observe(move |event| {
                if let Event::Failed { .. } | Event::RenewalFailed { .. } = event {
                    *seen.lock().unwrap() += 1;
                }
            });
        if renews {
            redial.ready().await.unwrap();
            sleep(secs(60)).await;
            redial.renew_now();
        }
        let begun = net.now();
        net.set_all(Does::Hangs);
        if renews {
            assert!(timeout(secs(58), redial.renewed()).await.is_err());
        } else {
            assert!(timeout(secs(58), redial.ready()).await.is_err());
        }
        let hangs = *net.dialled().last().unwrap();
        net.set_all(Does::Serves(3_000));
        let others = (0..5).filter(|&server| server != hangs);
        endpoints.replace(others).unwrap();
        if renews {
            redial.renewed().await.unwrap();
        }
        assert_ne!(redial.ready().await.unwrap().server, hangs);
        assert_eq!(net.now() - begun, 61_000);
        assert_eq!(*failed.lock().unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_boxed_driver_goes_over_its_servers_too() {
    let (net, endpoints) = five(Does::Refuses);
    net.set(3, Does::Serves(0));
    let mut redial = redial(&net, &endpoints).boxed();
    assert_eq!(redial.ready().await.unwrap().server, 3);
    assert_eq!(net.now(), 0);
    redial.lost();
    net.set_all(Does::Serves(0));
    assert_ne!(redial.ready().await.unwrap().server, 3);
}

#[tokio::test(start_paused = true)]
async fn closing_in_an_observer_ends_the_round() {
    let (net, endpoints) = five(Does::Refuses);
    let redial = redial(&net, &endpoints);
    let handle = redial.handle();
    let mut redial = redial.observe(move |event| {
        if let Event::ServerFailed { .. } = event {
            handle.close();
        }
    });
    assert!(redial.ready().await.unwrap_err().is_closed());
    assert_eq!(net.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_press_in_a_round_goes_on_with_the_next_server() {
    let (net, endpoints) = five(Does::Serves(0));
    let mut redial = redial(&net, &endpoints);
    let handle = redial.handle();
    let order = order(&net, &mut redial).await;
    net.set_all(Does::Hangs);
    let _ = timeout(secs(30), redial.ready()).await;
    assert_eq!(net.dialled(), [order[0]]);
    net.set_all(Does::Serves(0));
    handle.retry_now();
    assert_eq!(redial.ready().await.unwrap().server, order[1]);
}

/// Of an attempt, of a loss and of a renewal.
#[tokio::test(start_paused = true)]
async fn a_hint_of_a_server_that_is_cut_is_told() {
    let years = Fault::of(Verdict::RetryAfter(secs(9_999_999_999)));
    for servers in [1, 3] {
        let net = Net::new(vec![Does::Answers(0, years); servers]);
        let cuts = Arc::new(Mutex::new(0));
        let seen = cuts.clone();
        let take = || std::mem::take(&mut *cuts.lock().unwrap());
        let mut redial = redial(&net, &Endpoints::new(0..servers)).observe(move |event| {
            if let Event::HintCut { asked, cap, .. } = event {
                assert_eq!((*asked, *cap), (secs(9_999_999_999), secs(3_600)));
                *seen.lock().unwrap() += 1;
            }
        });
        assert!(timeout(secs(100), redial.ready()).await.is_err());
        assert_eq!(take(), servers);
        net.set_all(Does::Serves(0));
        redial.ready().await.unwrap();
        redial.lost_with(years);
        assert_eq!(take(), 1);
        redial.ready().await.unwrap();
        net.set_all(Does::Answers(0, years));
        redial.renew_now();
        assert!(timeout(secs(100), redial.renewed()).await.is_err());
        // The server of the connection is bound by its hint.
        assert_eq!(take(), (servers - 1).max(1));
    }
}

// ---- any order of events

#[derive(Clone, Debug)]
enum Step {
    /// A server changes its behaviour.
    Set(usize, Does),
    /// The client wants a connection for so long.
    Wait(u64),
    /// The connection ends, if there is one.
    Lose(Option<Fault>),
    /// Some servers leave the list, and this one comes.
    Replace(usize),
    Renew,
}

fn verdicts() -> impl Strategy<Value = Fault> {
    let verdict = prop_oneof![
        3 => Just(DOWN),
        2 => Just(BUSY),
        1 => (0..20u64).prop_map(|hint| Verdict::RetryAfter(secs(hint))),
        1 => (1..20u64).prop_map(|slot| Verdict::Slot(secs(slot))),
    ];
    (verdict, any::<bool>()).prop_map(|(verdict, is_elsewhere)| Fault {
        verdict,
        is_elsewhere,
    })
}

fn behaviours() -> impl Strategy<Value = Does> {
    prop_oneof![
        3 => (0..3_000u64).prop_map(Does::Serves),
        3 => Just(Does::Refuses),
        3 => Just(Does::IsSilent),
        1 => Just(Does::Hangs),
        2 => (0..3_000u64, verdicts()).prop_map(|(after, fault)| Does::Answers(after, fault)),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..40usize, behaviours()).prop_map(|(server, does)| Step::Set(server, does)),
        4 => (0..20_000u64).prop_map(Step::Wait),
        2 => prop::option::of(verdicts()).prop_map(Step::Lose),
        1 => (0..40usize).prop_map(Step::Replace),
        1 => Just(Step::Renew),
    ]
}

/// Lives through the steps. What must hold is asserted on the way.
async fn live(seed: u64, does: Vec<Does>, steps: Vec<Step>) {
    let net = Net::new(does);
    let mut list: Vec<usize> = (0..4).collect();
    let endpoints = Endpoints::new(list.clone());
    let tried = Arc::new(Mutex::new(Vec::new()));
    let (log, servers) = (tried.clone(), endpoints.clone());
    let mut presses = Vec::new();
    let mut redial = redial(&net, &endpoints)
        .attempt_timeout(secs(8))
        .seed(seed)
        .observe(move |event| {
            let mut tried = log.lock().unwrap();
            match event {
                Event::Connecting { .. } | Event::RenewalDue { .. } => tried.clear(),
                Event::Trying { server, .. } => {
                    let name = servers.servers()[*server];
                    assert!(!tried.contains(&name), "{name} twice in a round");
                    tried.push(name);
                }
                _ => {}
            }
        });
    for step in steps {
        match step {
            Step::Set(server, does) => net.set(server, does),
            Step::Wait(millis) => {
                let until = Instant::now() + Duration::from_millis(millis);
                if let Ok(up) = tokio::time::timeout_at(until, redial.ready()).await {
                    up.unwrap();
                    // The losers are gone, unless a renewal is on its way.
                    let _ = tokio::time::timeout_at(until, redial.renewed()).await;
                }
            }
            Step::Lose(None) => redial.lost(),
            Step::Lose(Some(fault)) => redial.lost_with(fault),
            Step::Renew => {
                presses.push(net.now());
                redial.renew_now();
            }
            // A name that was on the list before is a server without a history.
            Step::Replace(server) if list.contains(&server) => {}
            Step::Replace(server) if net.state().seen.contains(&server) => {}
            Step::Replace(server) => {
                list.retain(|it| (it + server) % 3 > 0);
                list.push(server);
                endpoints.replace(list.clone()).unwrap();
            }
        }
        let state = net.state();
        // The second is the successor of a renewal, for an instant.
        assert!(state.connections <= 1 && state.most_connections <= 2);
    }
    drop(redial);
    let state = net.state();
    assert_eq!((state.attempts, state.connections), (0, 0));
    // The policy's wait is between any two attempts at a server, whatever happened. Only a
    // renewal that is asked for now begins at once, also if the connection is new.
    for server in 0..state.does.len() {
        let dials = state.dials.iter().filter(|dial| dial.1 == server);
        let times: Vec<_> = dials.map(|&(at, _)| at).collect();
        for pair in times.windows(2) {
            let is_asked_for = presses.iter().any(|at| (pair[0]..=pair[1]).contains(at));
            assert!(
                is_asked_for || pair[1] - pair[0] >= 1_000,
                "{server}: {times:?}, asked for at {presses:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_server_sees_two_attempts_in_one_wait_unless_a_renewal_is_asked_for_now(
        seed: u64,
        does in prop::collection::vec(behaviours(), 40),
        steps in prop::collection::vec(steps(), 1..40),
    ) {
        paused::paused_runtime().block_on(live(seed, does, steps));
    }
}
