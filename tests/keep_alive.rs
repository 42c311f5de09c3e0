//! Does a `Session` notice that its connection is dead, and only then?
//!
//! Tests are named for the rules of liveness that others broke; see
//! `src/liveness/rules.rs`. Silences vary, so a ping is due after 12.5 s to 25 s at
//! first, and after 20 s to 25 s later.

mod links;

use std::future::{Ready, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::{FutureExt, Sink, SinkExt, StreamExt, TryStream};
use redial::{
    Connect, Event, FromConnection, Liveness, Monitor, Redial, Session, SessionEvent, Status,
    Verdict,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::codec::{Framed, LinesCodec};

use links::{Link, LinkError, Links, links};

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(15);
/// A timer of tokio's is up to a millisecond late.
const TICK: Duration = Duration::from_millis(3);

type Attempt = Ready<Result<Link, LinkError>>;
type Lines = Framed<Box<dyn Wire>, LinesCodec>;
type Item = SessionEvent<String, LinkError>;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A session on links, and the server's ends of them.
fn session() -> (Session<impl FnMut() -> Attempt + Send>, Links) {
    let (connector, links) = links();
    (pinging(Redial::new(connector), Liveness::new()), links)
}

/// A session that pings by an item.
fn pinging<C>(redial: Redial<C>, liveness: Liveness) -> Session<C>
where
    C: Connect<Error = LinkError>,
    C::Connection: TryStream + Sink<String> + Unpin,
    LinkError: FromConnection<<C::Connection as TryStream>::Error>,
    LinkError: FromConnection<<C::Connection as Sink<String>>::Error>,
{
    let session = redial.into_session();
    session.keep_alive(liveness, || "PING".to_string())
}

/// The next event, and what time it comes.
async fn next<S>(session: &mut S) -> Item
where
    S: futures::Stream<Item = Result<Item, redial::Error<LinkError>>> + Unpin,
{
    session.next().await.unwrap().unwrap()
}

#[track_caller]
fn is_within(time: Duration, range: Range<f64>) {
    let wide = seconds(range.start)..seconds(range.end) + TICK;
    assert!(wide.contains(&time), "{time:?} is not within {range:?} s");
}

fn silence(event: &Item) -> Duration {
    match event {
        SessionEvent::Down {
            silent: Some(silent),
            error: None,
            verdict,
            ..
        } => {
            assert_eq!(*verdict, Verdict::default());
            silent.duration()
        }
        event => panic!("{event:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_a_loss_that_says_how_long_it_was_silent() {
    let seen = Arc::new(Mutex::new(None));
    let (connector, mut links) = links();
    let mut session = pinging(
        Redial::new(connector).observe({
            let seen = seen.clone();
            move |event| {
                if let Event::Lost {
                    silent, verdict, ..
                } = event
                {
                    *seen.lock().unwrap() = Some((*silent, *verdict));
                }
            }
        }),
        Liveness::new(),
    );
    let handle = session.handle();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let start = Instant::now();
    let down = next(&mut session).await;
    let silent = silence(&down);
    assert_eq!(silent.as_millis(), start.elapsed().as_millis());
    is_within(silent, 27.5..40.0);
    let link = links.next().await;
    let pings = link.received();
    assert_eq!(pings.len(), 1);
    is_within(silent - (pings[0].0 - start), 15.0..15.0);
    let (lost, verdict) = seen.lock().unwrap().take().unwrap();
    let text = lost.unwrap().to_string();
    assert!(text.starts_with("silent for "), "{text}");
    assert_eq!(verdict, Verdict::default());
    match handle.status() {
        Status::Waiting { why, .. } => assert_eq!(why.error(), Some(&*text)),
        status => panic!("{status:?}"),
    }
    assert_eq!(next(&mut session).await, SessionEvent::Up);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_is_never_down() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.answers_after(seconds(0.1));
    let end = Instant::now() + 3600 * SECOND;
    let mut pongs = 0;
    while let Ok(event) = tokio::time::timeout_at(end, next(&mut session)).await {
        assert_eq!(event, SessionEvent::Item("PONG".into()));
        pongs += 1;
    }
    assert!((143..=180).contains(&pongs), "{pongs}");
    // The last one may be on its way.
    assert!((pongs..=pongs + 1).contains(&link.received().len()));
}

#[tokio::test(start_paused = true)]
async fn l1_a_send_that_waits_does_not_hide_a_dead_peer() {
    let (mut session, mut links) = session();
    session.feed("first".into()).await.unwrap();
    let start = Instant::now();
    let link = links.next().await;
    link.block();
    // The only task that polls is the one inside of this send.
    let error = session.send("second".into()).await.unwrap_err();
    is_within(start.elapsed(), 27.5..40.0);
    assert_eq!(error.lost(), 1, "{error}");
    assert_eq!(link.received().len(), 1, "the ping could not be written");
}

#[tokio::test(start_paused = true)]
async fn l1_both_halves_hear_of_it_at_once() {
    let (session, mut links) = session();
    let (mut sink, mut stream) = session.split();
    assert_eq!(next(&mut stream).await, SessionEvent::Up);
    links.next().await.holds_flushes();
    let writer = tokio::spawn(async move {
        sink.send("first".to_string()).await.unwrap_err();
        Instant::now()
    });
    let reader = tokio::spawn(async move {
        silence(&next(&mut stream).await);
        Instant::now()
    });
    assert_eq!(writer.await.unwrap(), reader.await.unwrap());
}

/// Redial's own finding: a send in an arm of a `select!` hid the heartbeat of the other.
#[tokio::test(start_paused = true)]
async fn l1_a_send_in_a_select_does_not_hide_a_dead_peer() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    links.next().await.block();
    let start = Instant::now();
    let (mut sink, mut stream) = session.split();
    let mut tick = tokio::time::interval(SECOND);
    let mut sending = Box::pin(sink.send("stuck".to_string()));
    loop {
        tokio::select! {
            // The item was not accepted, so it goes out on the next connection.
            sent = &mut sending => break sent.unwrap(),
            _ = tick.tick() => {}
        }
    }
    is_within(start.elapsed(), 27.5..41.0); // and a second for the wait
    silence(&next(&mut stream).await);
    let second = links.next().await;
    assert_eq!(second.received()[0].1, "stuck");
}

#[tokio::test(start_paused = true)]
async fn l2_an_answer_in_the_buffer_counts_if_the_reader_was_busy() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.answers_after(seconds(0.1));
    // It is polled until the ping, and not for the answer.
    link.pinged().await_while(&mut session).await;
    sleep(70 * SECOND).await;
    assert_eq!(next(&mut session).await, SessionEvent::Item("PONG".into()));
    assert!(timeout(19 * SECOND, next(&mut session)).await.is_err());
    assert_eq!(link.received().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn l2_a_session_that_only_sends_reads_before_it_judges_and_keeps_the_items() {
    let (mut session, mut links) = session();
    session.send("hello".into()).await.unwrap();
    let link = links.next().await;
    link.answers_after(seconds(0.1));
    // Only the writer polls, for ten minutes.
    for i in 0..600 {
        session.send(format!("{i}")).await.unwrap();
        sleep(SECOND).await;
    }
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    assert_eq!(next(&mut session).await, SessionEvent::Item("PONG".into()));
    assert_eq!(links.made(), 1);
}

#[tokio::test(start_paused = true)]
async fn l3_and_trap_6_writes_that_are_accepted_are_no_sign_of_life() {
    let (mut session, mut links) = session();
    session.send("hello".into()).await.unwrap();
    let start = Instant::now();
    let _link = links.next().await;
    while links.made() == 1 && start.elapsed() < 100 * SECOND {
        // The session that is only written to looks by itself.
        let _ = session.send("more".into()).await;
        sleep(SECOND / 10).await;
    }
    is_within(start.elapsed(), 27.5..42.0); // and a second for the wait
}

#[tokio::test(start_paused = true)]
async fn l4_one_item_before_the_end_is_enough() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    for _ in 0..20 {
        let asked = link.pinged().await_while(&mut session).await;
        assert!(
            timeout(GRACE - SECOND / 10, next(&mut session))
                .await
                .is_err()
        );
        link.say("news");
        assert_eq!(next(&mut session).await, SessionEvent::Item("news".into()));
        assert_eq!(link.received().len(), asked);
    }
}

/// A connector of lines over a pipe, whose bytes a monitor watches.
fn bytes(
    monitor: Option<Monitor>,
) -> (
    impl FnMut() -> Ready<Result<Lines, LinkError>>,
    mpsc::UnboundedReceiver<DuplexStream>,
) {
    let (accept, accepted) = mpsc::unbounded_channel();
    let connector = move || {
        let (ours, theirs) = duplex(64);
        let _ = accept.send(theirs);
        let wire: Box<dyn Wire> = match &monitor {
            Some(monitor) => Box::new(monitor.watch(ours)),
            None => Box::new(ours),
        };
        std::future::ready(Ok(Framed::new(wire, LinesCodec::new())))
    };
    (connector, accepted)
}

trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Wire for T {}

/// One line of which a byte comes each second, for this many seconds.
async fn trickle(server: &mut DuplexStream, seconds: u64) {
    for _ in 0..seconds {
        server.write_all(b"x").await.unwrap();
        sleep(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn l5_and_scenario_4_the_bytes_of_a_long_item_count_if_a_monitor_watches_them() {
    let monitor = Monitor::new();
    let (connector, mut accepted) = bytes(Some(monitor.clone()));
    let mut session = pinging(Redial::new(connector), Liveness::new()).monitor(&monitor);
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let mut server = accepted.recv().await.unwrap();
    let server = tokio::spawn(async move {
        trickle(&mut server, 120).await;
        // A pause, in which a ping is sent. Its pong is behind the item.
        sleep(seconds(25.5)).await;
        trickle(&mut server, 60).await;
        server.write_all(b"\n").await.unwrap();
        let mut ping = [0; 5];
        server.read_exact(&mut ping).await.unwrap();
        server.write_all(b"PONG\n").await.unwrap();
        // It stops for good within an item.
        trickle(&mut server, 10).await;
        (server, Instant::now())
    });
    assert_eq!(
        next(&mut session).await,
        SessionEvent::Item("x".repeat(180))
    );
    assert_eq!(next(&mut session).await, SessionEvent::Item("PONG".into()));
    let down = next(&mut session).await;
    let (_server, stopped) = server.await.unwrap();
    // The last byte came a second before.
    is_within(silence(&down), 35.0..40.0);
    is_within(stopped.elapsed(), 34.0..39.0);
}

#[tokio::test(start_paused = true)]
async fn l5_and_scenario_4_without_a_monitor_a_long_item_is_silence() {
    let (connector, mut accepted) = bytes(None);
    let mut session = pinging(Redial::new(connector), Liveness::new());
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let mut server = accepted.recv().await.unwrap();
    tokio::spawn(async move { trickle(&mut server, 120).await });
    is_within(silence(&next(&mut session).await), 27.5..40.0);
}

#[tokio::test(start_paused = true)]
async fn l6_and_scenario_2_a_listener_speaks_as_often_as_it_must() {
    let (connector, mut links) = links();
    let mut session = pinging(
        Redial::new(connector),
        Liveness::new().speak_every(60 * SECOND),
    );
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let start = Instant::now();
    let link = links.next().await;
    tokio::spawn({
        let link = link.clone();
        async move {
            loop {
                link.say("news");
                sleep(SECOND / 10).await;
            }
        }
    });
    while start.elapsed() < 3599 * SECOND {
        assert_eq!(next(&mut session).await, SessionEvent::Item("news".into()));
    }
    let pings = link.received();
    assert_eq!(pings.len(), 59);
    for (i, (at, _)) in pings.iter().enumerate() {
        let due = 60.0 * (i + 1) as f64;
        is_within(*at - start, due - 0.001..due + 0.2);
    }
}

#[tokio::test(start_paused = true)]
async fn l6_what_the_program_sends_moves_the_time_to_speak() {
    let (connector, mut links) = links();
    let mut session = pinging(
        Redial::new(connector),
        Liveness::new().speak_every(10 * SECOND),
    );
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.answers_after(SECOND / 10);
    for _ in 0..100 {
        session.send("hello".into()).await.unwrap();
        link.say("news");
        assert_eq!(next(&mut session).await, SessionEvent::Item("news".into()));
        assert!(timeout(8 * SECOND, next(&mut session)).await.is_err());
    }
    assert!(link.received().iter().all(|(_, item)| item == "hello"));
}

/// A session whose wall clock is this much ahead.
fn sleeper() -> (
    Session<impl FnMut() -> Attempt + Send>,
    Links,
    Arc<AtomicU64>,
) {
    let ahead = Arc::new(AtomicU64::new(0));
    let (connector, links) = links();
    let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + 1_000_000 * SECOND);
    let session = pinging(
        Redial::new(connector).wall_clock({
            let ahead = ahead.clone();
            move || wall + start.elapsed() + Duration::from_secs(ahead.load(SeqCst))
        }),
        Liveness::new(),
    );
    (session, links, ahead)
}

#[tokio::test(start_paused = true)]
async fn l7_and_scenario_3_after_a_sleep_the_next_timer_pings_and_gives_five_seconds() {
    let (mut session, mut links, ahead) = sleeper();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    let start = Instant::now();
    assert!(timeout(SECOND, next(&mut session)).await.is_err());
    ahead.store(8 * 3600, SeqCst);
    silence(&next(&mut session).await);
    let asked = link.received()[0].0;
    is_within(asked - start, 12.5..25.0);
    is_within(asked.elapsed(), 5.0..5.0);
}

#[tokio::test(start_paused = true)]
async fn l7_and_scenario_3_a_clock_that_is_set_costs_one_ping() {
    for ahead_by in [4, 8 * 3600] {
        let (mut session, mut links, ahead) = sleeper();
        assert_eq!(next(&mut session).await, SessionEvent::Up);
        let link = links.next().await;
        link.answers_after(seconds(0.2));
        ahead.store(ahead_by, SeqCst);
        let end = Instant::now() + 600 * SECOND;
        while let Ok(event) = tokio::time::timeout_at(end, next(&mut session)).await {
            assert_eq!(event, SessionEvent::Item("PONG".into()));
        }
        ahead.store(0, SeqCst); // set back
        let end = Instant::now() + 600 * SECOND;
        while let Ok(event) = tokio::time::timeout_at(end, next(&mut session)).await {
            assert_eq!(event, SessionEvent::Item("PONG".into()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l7_c3_and_scenario_3_a_change_of_the_network_pings_at_once() {
    for answers in [true, false] {
        let (mut session, mut links) = session();
        let handle = session.handle();
        assert_eq!(next(&mut session).await, SessionEvent::Up);
        let link = links.next().await;
        if answers {
            link.answers_after(seconds(0.2));
        }
        assert!(timeout(5 * SECOND, next(&mut session)).await.is_err());
        let start = Instant::now();
        tokio::spawn(async move { handle.network_changed() });
        let event = next(&mut session).await;
        assert_eq!(link.received()[0].0, start);
        if answers {
            assert_eq!(event, SessionEvent::Item("PONG".into()));
            assert!(timeout(19 * SECOND, next(&mut session)).await.is_err());
        } else {
            is_within(silence(&event), 10.0..10.0);
            is_within(start.elapsed(), 5.0..5.0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_3_b_a_reset_after_a_sleep_is_a_loss_and_leads_to_one_early_attempt() {
    let (mut session, mut links, ahead) = sleeper();
    let handle = session.handle();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    assert!(timeout(5 * SECOND, next(&mut session)).await.is_err());
    ahead.store(8 * 3600, SeqCst);
    // It wakes, and hears of its network a second later. The peer's reset follows.
    sleep(SECOND).await;
    handle.network_changed();
    let start = Instant::now();
    link.pinged().await_while(&mut session).await;
    assert_eq!(link.received()[0].0, start);
    sleep(seconds(0.1)).await;
    link.hang_up();
    let down = next(&mut session).await;
    is_within(start.elapsed(), 0.1..0.1);
    // It ended by itself, and nothing is said about a silence.
    match down {
        SessionEvent::Down { silent: None, .. } => {}
        event => panic!("{event:?}"),
    }
    assert_eq!(links.made(), 1);
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    // Within the first window of the policy, and the doubts of the old one are gone.
    is_within(start.elapsed(), 0.1..1.1);
    assert_eq!(links.made(), 2);
    let second = links.next().await;
    assert!(timeout(12 * SECOND, next(&mut session)).await.is_err());
    assert!(second.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn c3_a_burst_of_changes_leads_to_two_pings() {
    let (mut session, mut links) = session();
    let handle = session.handle();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.answers_after(seconds(0.01));
    tokio::spawn(async move {
        for _ in 0..100 {
            handle.network_changed();
            sleep(SECOND / 25).await;
        }
    });
    let end = Instant::now() + 10 * SECOND;
    while tokio::time::timeout_at(end, next(&mut session))
        .await
        .is_ok()
    {}
    assert_eq!(link.received().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn c3_without_liveness_a_change_of_the_network_does_nothing_to_a_connection() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector).into_session();
    let handle = session.handle();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    handle.network_changed();
    assert!(timeout(3600 * SECOND, next(&mut session)).await.is_err());
    assert_eq!((links.next().await.received().len(), links.made()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn c4_only_a_long_pause_is_a_reason_to_doubt() {
    for (pause, pings) in [(19, 0), (20, 1)] {
        let (connector, mut links) = links();
        let mut session = pinging(Redial::new(connector), Liveness::new().idle(1000 * SECOND));
        let handle = session.handle();
        assert_eq!(next(&mut session).await, SessionEvent::Up);
        let link = links.next().await;
        link.answers_after(seconds(0.2));
        handle.pause();
        assert!(timeout(pause * SECOND, next(&mut session)).await.is_err());
        handle.resume();
        assert_eq!(
            timeout(SECOND, next(&mut session)).await.is_ok(),
            pings == 1
        );
        assert_eq!(link.received().len(), pings);
    }
}

#[tokio::test(start_paused = true)]
async fn l8_a_session_that_is_polled_late_asks_before_it_judges() {
    for late in [60, 300] {
        let (mut session, mut links) = session();
        assert_eq!(next(&mut session).await, SessionEvent::Up);
        let link = links.next().await;
        sleep(late * SECOND).await;
        let start = Instant::now();
        silence(&next(&mut session).await);
        assert_eq!(link.received()[0].0, start);
        is_within(start.elapsed(), 15.0..15.0);
    }
}

#[tokio::test(start_paused = true)]
async fn scenario_1_the_late_look() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    let start = Instant::now();
    link.pinged().await_while(&mut session).await;
    sleep_until(start + 70 * SECOND).await;
    // Nothing has come: one more ping, and five seconds.
    silence(&next(&mut session).await);
    assert_eq!(link.received().len(), 2);
    assert_eq!(link.received()[1].0, start + 70 * SECOND);
    is_within(start.elapsed(), 75.0..75.0);
    // Polled then, and only much later again.
    let (mut session, mut links) = self::session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.pinged().await_while(&mut session).await;
    sleep(50 * SECOND).await;
    assert_eq!(next(&mut session).now_or_never(), None);
    sleep(60 * SECOND).await;
    silence(&timeout(TICK, next(&mut session)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn l9_a_ping_of_the_connection_before_says_nothing_about_the_next() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let first = links.next().await;
    first.pinged().await_while(&mut session).await;
    first.hang_up();
    assert!(matches!(
        next(&mut session).await,
        SessionEvent::Down { silent: None, .. }
    ));
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let up = Instant::now();
    let second = links.next().await;
    silence(&next(&mut session).await);
    is_within(second.received()[0].0 - up, 12.5..25.0);
    assert_eq!(second.received().len(), 1);
    is_within(up.elapsed(), 27.5..40.0);
}

#[tokio::test(start_paused = true)]
async fn l11_a_connector_can_ping_less_after_a_complaint() {
    let monitor = Monitor::new();
    let (mut connector, mut links) = links();
    let mut liveness = None;
    let mut session = pinging(
        Redial::new({
            let monitor = monitor.clone();
            move || {
                // The second connection is the first after a complaint.
                let next = liveness.map_or(Liveness::new(), Liveness::calmer);
                monitor.set(next);
                liveness = Some(next);
                connector()
            }
        }),
        Liveness::new(),
    )
    .monitor(&monitor);
    for longest in [25.0, 50.0, 100.0] {
        assert_eq!(next(&mut session).await, SessionEvent::Up);
        let up = Instant::now();
        let link = links.next().await;
        link.pinged().await_while(&mut session).await;
        is_within(up.elapsed(), longest / 2.0..longest);
        link.hang_up(); // "too many pings"
        assert!(matches!(
            next(&mut session).await,
            SessionEvent::Down { .. }
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn l12_the_connector_sets_the_liveness_of_one_connection() {
    let monitor = Monitor::new();
    let (mut connector, mut links) = links();
    let mut announced = [true, false].into_iter();
    let mut session = pinging(
        Redial::new({
            let monitor = monitor.clone();
            move || {
                if announced.next() == Some(true) {
                    monitor.set(Liveness::new().idle(SECOND));
                }
                connector()
            }
        }),
        Liveness::new(),
    )
    .monitor(&monitor);
    for silence in [0.5..1.0, 12.5..25.0] {
        assert_eq!(next(&mut session).await, SessionEvent::Up);
        let up = Instant::now();
        let link = links.next().await;
        link.pinged().await_while(&mut session).await;
        is_within(up.elapsed(), silence);
        link.hang_up();
        assert!(matches!(
            next(&mut session).await,
            SessionEvent::Down { .. }
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn l14_a_dead_connection_is_dropped_and_not_closed() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    let handle = session.handle();
    silence(&next(&mut session).await);
    assert!(link.is_dropped());
    assert_eq!(link.closes(), 0);
    assert!(matches!(handle.status(), Status::Waiting { .. }));
}

#[tokio::test(start_paused = true)]
async fn l15_only_what_the_program_says_counts() {
    let (session, mut links) = session();
    let mut session = session.hears(|item| item != "PONG");
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let start = Instant::now();
    let link = links.next().await;
    tokio::spawn(async move {
        loop {
            sleep(5 * SECOND).await;
            link.say("PONG");
        }
    });
    let down = loop {
        match next(&mut session).await {
            SessionEvent::Item(item) => assert_eq!(item, "PONG"),
            other => break other,
        }
    };
    is_within(silence(&down), 27.5..40.0);
    is_within(start.elapsed(), 27.5..40.0);
}

#[tokio::test(start_paused = true)]
async fn l16_the_pongs_that_a_websocket_queues_are_flushed_while_only_the_reader_polls() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.queues_its_pongs();
    let server = tokio::spawn(async move {
        for ping in 1..=20 {
            link.say("ping of the server");
            sleep(20 * SECOND).await;
            let received = link.received();
            let pongs = received
                .iter()
                .filter(|(_, item)| item == "pong of the library");
            assert_eq!(pongs.count(), ping, "the server closes after misses");
        }
    });
    tokio::select! {
        end = server => end.unwrap(),
        () = async {
            loop {
                assert!(matches!(next(&mut session).await, SessionEvent::Item(_)));
            }
        } => {}
    }
}

#[tokio::test(start_paused = true)]
async fn l17_a_slow_link_that_takes_something_is_not_dead() {
    let (session, mut links) = session();
    let (mut sink, mut stream) = session.split();
    assert_eq!(next(&mut stream).await, SessionEvent::Up);
    let link = links.next().await;
    let writer = tokio::spawn(async move {
        while sink.send("10 kB".to_string()).await.is_ok() {
            sleep(SECOND / 1000).await;
        }
    });
    let slow = link.clone();
    let network = tokio::spawn(async move {
        let link = slow;
        for _ in 0..200 {
            link.block();
            sleep(10 * SECOND).await;
            link.unblock();
            sleep(SECOND / 1000).await;
        }
        link.block();
        Instant::now()
    });
    let down = next(&mut stream).await;
    is_within(silence(&down), 27.5..40.1);
    is_within(network.await.unwrap().elapsed(), 27.5..40.1);
    assert!(link.received().len() >= 200);
    writer.abort();
}

#[tokio::test(start_paused = true)]
async fn l18_the_handshake_is_no_silence_and_a_connection_that_never_speaks_is_noticed() {
    let (mut connector, mut links) = links();
    let mut session = pinging(
        Redial::new(move || {
            let link = connector();
            async move {
                sleep(50 * SECOND).await;
                link.await
            }
        })
        .attempt_timeout(100 * SECOND),
        Liveness::new(),
    );
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let up = Instant::now();
    let link = links.next().await;
    silence(&next(&mut session).await);
    is_within(link.received()[0].0 - up, 12.5..25.0);
    is_within(up.elapsed(), 27.5..40.0);
}

#[tokio::test(start_paused = true)]
async fn l20_the_longest_time_never_comes() {
    let (connector, _links) = links();
    let mut session = Redial::new(connector)
        .into_session()
        .idle_timeout(Duration::MAX);
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    // Fifty days, in which 2^31 milliseconds pass.
    assert!(
        timeout(50 * 24 * 3600 * SECOND, next(&mut session))
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_timeout_sends_nothing_and_is_exact() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector)
        .into_session()
        .idle_timeout(60 * SECOND);
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    for _ in 0..10 {
        assert!(timeout(59 * SECOND, next(&mut session)).await.is_err());
        link.say("news");
        assert_eq!(next(&mut session).await, SessionEvent::Item("news".into()));
    }
    is_within(silence(&next(&mut session).await), 60.0..60.0);
    assert_eq!(link.received().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn trap_1_a_ping_does_not_take_a_place_that_was_promised() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.answers_after(SECOND / 10);
    poll_fn(|cx| Pin::new(&mut session).poll_ready(cx))
        .await
        .unwrap();
    // A ping falls due, and the reader polls.
    assert!(timeout(26 * SECOND, next(&mut session)).await.is_err());
    assert_eq!(link.received().len(), 0);
    // The link panics if an item comes that it was not ready for.
    Pin::new(&mut session)
        .start_send("mine".to_string())
        .unwrap();
    poll_fn(|cx| Pin::new(&mut session).poll_flush(cx))
        .await
        .unwrap();
    let items: Vec<_> = link.received().into_iter().map(|(_, item)| item).collect();
    assert_eq!(items, ["mine", "PING"]);
}

#[tokio::test(start_paused = true)]
async fn trap_2_a_ping_is_not_among_the_lost_items() {
    let (session, mut links) = session();
    let mut session = session.keep_unsent::<String>();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.holds_flushes();
    session.feed("mine".to_string()).await.unwrap();
    silence(&next(&mut session).await);
    assert_eq!(link.received().len(), 2, "the item and a ping");
    assert_eq!(session.flush().await.unwrap_err().lost(), 1);
    assert_eq!(session.take_unsent(), ["mine"]);
}

#[tokio::test(start_paused = true)]
async fn trap_5_a_task_that_has_read_its_share_is_not_taken_for_a_silent_peer() {
    let (session, mut links) = session();
    let mut session = session.hears(|item| item == "PONG");
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.pinged().await_while(&mut session).await;
    let (full, mut other) = mpsc::unbounded_channel();
    for i in 0..1000 {
        full.send(i).unwrap();
    }
    assert!(
        timeout(GRACE - SECOND / 1000, next(&mut session))
            .await
            .is_err()
    );
    for _ in 0..1000 {
        link.say("news");
    }
    link.say("PONG");
    sleep(SECOND / 1000).await;
    // All that one poll of this task may read is spent on another channel.
    let mut event = Box::pin(next(&mut session));
    let first = poll_fn(|cx| {
        while other.poll_recv(cx).is_ready() {}
        event.as_mut().poll(cx)
    })
    .await;
    drop(event);
    assert_eq!(first, SessionEvent::Item("news".into()));
    for _ in 1..1000 {
        assert_eq!(next(&mut session).await, SessionEvent::Item("news".into()));
    }
    assert_eq!(next(&mut session).await, SessionEvent::Item("PONG".into()));
    assert!(timeout(19 * SECOND, next(&mut session)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn trap_6_a_reader_alone_and_a_writer_alone_each_find_a_dead_peer() {
    let (session, mut links) = session();
    let (mut sink, mut stream) = session.split();
    assert_eq!(next(&mut stream).await, SessionEvent::Up);
    let start = Instant::now();
    silence(&next(&mut stream).await);
    is_within(start.elapsed(), 27.5..40.0);
    assert_eq!(next(&mut stream).await, SessionEvent::Up);
    let _first = links.next().await;
    let link = links.next().await;
    drop(stream);
    let start = Instant::now();
    link.holds_flushes();
    sink.send("alone".to_string()).await.unwrap_err();
    is_within(start.elapsed(), 27.5..40.0);
}

#[tokio::test(start_paused = true)]
async fn lines_over_a_pipe_need_no_more_than_this() {
    let (connector, mut accepted) = bytes(None);
    let mut session = pinging(Redial::new(connector), Liveness::new());
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let server = accepted.recv().await.unwrap();
    let server = tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(server);
        let mut lines = BufReader::new(read).lines();
        for _ in 0..10 {
            assert_eq!(lines.next_line().await.unwrap().unwrap(), "PING");
            write.write_all(b"PONG\n").await.unwrap();
        }
        (lines, write)
    });
    for _ in 0..10 {
        assert_eq!(next(&mut session).await, SessionEvent::Item("PONG".into()));
    }
    let _half_open = server.await.unwrap();
    is_within(silence(&next(&mut session).await), 35.0..40.0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_there_before_is_watched_too() {
    let (connector, mut links) = links();
    let mut redial = Redial::new(connector);
    redial.ready().await.unwrap();
    sleep(100 * SECOND).await;
    let start = Instant::now();
    let mut session = pinging(redial, Liveness::new());
    let link = links.next().await;
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    silence(&next(&mut session).await);
    is_within(link.received()[0].0 - start, 12.5..25.0);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_waits_for_a_dead_peer_ends() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.holds_flushes();
    let start = Instant::now();
    let _ = session.close().await;
    is_within(start.elapsed(), 27.5..40.0);
}

/// A session without `keep_alive` has no ping to send.
#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_ping_takes_no_liveness_that_pings() {
    let monitor = Monitor::new();
    let (mut connector, _links) = links();
    let mut session = Redial::new({
        let monitor = monitor.clone();
        move || {
            monitor.set(Liveness::new());
            connector()
        }
    })
    .into_session()
    .monitor(&monitor);
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let event = timeout(3600 * SECOND, next(&mut session)).await;
    assert!(event.is_err(), "{event:?}");
}

/// The items go into a buffer, behind a flush that is blocked. No acknowledgement has
/// made room for them.
#[tokio::test(start_paused = true)]
async fn l17_items_behind_a_blocked_flush_are_no_sign_of_life() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let start = Instant::now();
    let link = links.next().await;
    link.holds_flushes();
    while !link.is_dropped() && start.elapsed() < 100 * SECOND {
        let _ = timeout(SECOND, session.send("more".into())).await;
    }
    is_within(start.elapsed(), 27.5..41.0);
}

/// A program waits until it can send, and then has nothing to send.
#[tokio::test(start_paused = true)]
async fn trap_1_a_ping_that_waits_for_a_promised_place_needs_no_answer_yet() {
    let (mut session, mut links) = session();
    assert_eq!(next(&mut session).await, SessionEvent::Up);
    let link = links.next().await;
    link.answers_after(SECOND / 10);
    poll_fn(|cx| Pin::new(&mut session).poll_ready(cx))
        .await
        .unwrap();
    let event = timeout(3600 * SECOND, next(&mut session)).await;
    assert!(event.is_err(), "{event:?}");
    // Once the place is taken, the ping goes out, and the peer can die.
    Pin::new(&mut session).start_send("mine".into()).unwrap();
    link.block();
    let start = Instant::now();
    while !link.is_dropped() && start.elapsed() < 100 * SECOND {
        let _ = timeout(SECOND, next(&mut session)).await;
    }
    assert!(start.elapsed() < 60 * SECOND, "{:?}", start.elapsed());
}

/// Nobody reads what the peer says, also the answers to the pings. The last one may have
/// come long before the session looks for it.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_only_written_to_notices_a_dead_peer_in_time() {
    for dies_at in (60..110).step_by(2) {
        let (connector, mut links) = links();
        let redial = Redial::new(connector).seed(dies_at.into());
        let mut session = pinging(redial, Liveness::new());
        session.send("hello".into()).await.unwrap();
        let link = links.next().await;
        link.answers_after(SECOND / 10);
        let start = Instant::now();
        let mut died = None;
        while !link.is_dropped() {
            // A send that notices the end waits for the next connection.
            let _ = session.send("more".into()).now_or_never();
            sleep(SECOND / 10).await;
            if died.is_none() && start.elapsed() >= dies_at * SECOND {
                link.answers_after(Duration::MAX);
                link.say("last words");
                died = Some(Instant::now());
            }
        }
        // A look comes with each send: one is late for the ping, one for its answer, and
        // this loop sees it one later.
        is_within(died.unwrap().elapsed(), 14.8..40.3);
    }
}
