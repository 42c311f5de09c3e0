//! Does any order of traffic, losses, renewals and announced ends keep the rules of renewal?

#[allow(dead_code)] // it serves other files, too
mod links;
mod paused;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use links::{LinkError, Peer, links};
use paused::paused_runtime;
use proptest::collection::vec;
use proptest::prelude::*;
use redial::{Exponential, Jitter, Redial, SessionEvent};
use tokio::time::{sleep, timeout};

#[derive(Clone, Debug)]
enum Step {
    /// The server says something on each connection.
    Say,
    Send,
    Pass(u16),
    RenewNow,
    /// The server announces its end in so many seconds.
    Leaves(u8),
    Hold,
    Release,
    /// The server ends the newest connection, or the one before it.
    HangUp(bool),
    Lost,
    Reconnect,
    Pause,
    Resume,
    Close,
}

/// Steps after which each connection lives until it is replaced.
fn harmless() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Say),
        2 => Just(Step::Send),
        4 => (0..20_000u16).prop_map(Step::Pass),
        2 => Just(Step::RenewNow),
        2 => (12..60u8).prop_map(Step::Leaves),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => harmless(),
        1 => (0..9u8).prop_map(Step::Leaves),
        1 => Just(Step::Hold),
        1 => Just(Step::Release),
        2 => any::<bool>().prop_map(Step::HangUp),
        1 => Just(Step::Lost),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
        1 => Just(Step::Close),
    ]
}

/// What came of the steps.
#[derive(Debug, Default)]
struct Seen {
    ups: usize,
    downs: usize,
    said: usize,
    items: Vec<String>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// `dials` are how long attempts take, in milliseconds, and whether they succeed.
async fn play(steps: Vec<Step>, dials: Vec<(u16, bool)>) -> Seen {
    let attempts = Arc::new(AtomicUsize::new(0));
    let (connect, mut made) = links();
    let connect = Arc::new(std::sync::Mutex::new(connect));
    let mut dials = dials.into_iter();
    let connector = {
        let attempts = attempts.clone();
        move || {
            assert_eq!(attempts.fetch_add(1, SeqCst), 0, "a second attempt");
            let open = Open(attempts.clone());
            let (time, succeeds) = dials.next().unwrap_or((0, true));
            let connect = connect.clone();
            async move {
                let _open = open;
                sleep(Duration::from_millis(time.into())).await;
                if !succeeds {
                    return Err(LinkError::refused());
                }
                let link = (connect.lock().unwrap())();
                link.await
            }
            .boxed()
        }
    };
    let policy = Exponential::new(Duration::from_secs(1), Duration::from_secs(8));
    let mut session = Redial::new(connector)
        .policy(policy.jitter(Jitter::None))
        .seed(1)
        .into_session()
        .fail_while_down();
    let handle = session.handle();
    let mut seen = Seen::default();
    let mut peers: Vec<Peer> = Vec::new();
    let mut hold = None;
    for step in steps {
        match step {
            Step::Say => {
                for peer in peers.iter().filter(|peer| !peer.is_dropped()) {
                    seen.said += 1;
                    peer.say(&seen.said.to_string());
                }
            }
            Step::Send => {
                let _ = timeout(Duration::from_millis(10), session.send("hello".into())).await;
            }
            Step::Pass(_) => {}
            Step::RenewNow => handle.renew_now(),
            Step::Leaves(lead) => session.renew_within(Duration::from_secs(lead.into())),
            Step::Hold => hold = Some(handle.hold_renewal()),
            Step::Release => hold = None,
            Step::HangUp(newest) => {
                let open: Vec<_> = peers.iter().filter(|peer| !peer.is_dropped()).collect();
                let index = open.len().saturating_sub(if newest { 1 } else { 2 });
                if let Some(peer) = open.get(index) {
                    peer.hang_up();
                }
            }
            Step::Lost => session.lost(),
            Step::Reconnect => handle.reconnect(),
            Step::Pause => handle.pause(),
            Step::Resume => handle.resume(),
            Step::Close => handle.close(),
        }
        let time = if let Step::Pass(millis) = step {
            millis
        } else {
            1
        };
        let _ = timeout(Duration::from_millis(time.into()), async {
            while let Some(event) = session.next().await {
                match event {
                    Ok(SessionEvent::Up) => seen.ups += 1,
                    Ok(SessionEvent::Item(item)) => seen.items.push(item),
                    Ok(SessionEvent::Down { .. }) => seen.downs += 1,
                    Err(error) => assert!(error.is_closed()),
                }
                while let Some(peer) = made.next().now_or_never() {
                    peers.push(peer);
                }
                let open = peers.iter().filter(|peer| !peer.is_dropped()).count();
                assert!(open <= 2, "{open} connections");
            }
            std::future::pending::<()>().await;
        })
        .await;
        while let Some(peer) = made.next().now_or_never() {
            peers.push(peer);
        }
        let open = peers.iter().filter(|peer| !peer.is_dropped()).count();
        assert!(open <= 2, "{open} connections");
        if let Step::Close = step {
            assert_eq!((open, attempts.load(SeqCst)), (0, 0));
        }
    }
    drop(hold);
    let distinct: HashSet<&String> = seen.items.iter().collect();
    assert_eq!(distinct.len(), seen.items.len(), "an item came twice");
    assert!(seen.downs <= seen.ups);
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn there_are_two_connections_and_one_attempt_at_most_and_no_item_comes_twice(
        steps in vec(any_step(), 1..40),
        dials in vec((0..9000u16, any::<bool>()), 0..20),
    ) {
        paused_runtime().block_on(play(steps, dials));
    }

    /// An attempt has a third of each lead, 4 s or more, and takes 2 s at most.
    #[test]
    fn there_is_no_instant_without_a_connection_while_renewals_work(
        steps in vec(harmless(), 1..40),
        dials in vec(0..2000u16, 0..20),
    ) {
        let dials = dials.into_iter().map(|millis| (millis, true)).collect();
        let seen = paused_runtime().block_on(async move {
            let mut steps = steps;
            // What was said last still is to be read.
            steps.insert(0, Step::Pass(3000));
            steps.push(Step::Pass(1));
            play(steps, dials).await
        });
        prop_assert_eq!(seen.downs, 0);
        prop_assert_eq!(seen.items.len(), seen.said, "an item was lost");
    }
}
