//! What does a `Session` carry over to the connection that replaces the present one?

#[allow(dead_code)] // it serves other files, too
mod links;

use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use links::{Link, LinkError, Links, Peer, links};
use redial::{Exponential, Jitter, Liveness, Redial, Session, SessionEvent};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn doubling() -> Exponential {
    Exponential::new(secs(1), secs(64)).jitter(Jitter::None)
}

/// A connector that takes as long as the next of `times`, and fails after a time with
/// false. After the last one it connects at once.
fn slow(
    times: impl IntoIterator<Item = (Duration, bool)>,
) -> (
    impl FnMut() -> futures::future::BoxFuture<'static, Result<Link, LinkError>>,
    Links,
) {
    let (mut connect, links) = links();
    let times: Vec<_> = times.into_iter().collect();
    let mut times = times.into_iter();
    let connector = move || {
        let (time, connects) = times.next().unwrap_or((Duration::ZERO, true));
        let link = connects.then(&mut connect);
        async move {
            sleep(time).await;
            match link {
                Some(link) => link.await,
                None => Err(LinkError::refused()),
            }
        }
        .boxed()
    };
    (connector, links)
}

type News = Option<Result<SessionEvent<String, LinkError>, redial::Error<LinkError>>>;

/// An event in a word or two.
fn shown(event: News) -> String {
    match event {
        Some(Ok(SessionEvent::Up)) => "up".into(),
        Some(Ok(SessionEvent::Item(line))) => line,
        Some(Ok(SessionEvent::Down { verdict, .. })) => format!("down, {verdict:?}"),
        Some(Err(error)) => format!("error: {error}"),
        None => "end".into(),
    }
}

/// What comes in the next `time`.
async fn heard_for<C, K>(
    session: &mut Session<C, redial::Stratified, K>,
    time: Duration,
) -> Vec<String>
where
    C: redial::Connect<Connection = Link, Error = LinkError>,
{
    let mut heard = Vec::new();
    let _ = timeout(time, async {
        loop {
            let event = shown(session.next().await);
            let late = if session.is_late() { "late " } else { "" };
            heard.push(format!("{late}{event}"));
        }
    })
    .await;
    heard
}

fn lines(peer: &Peer) -> Vec<String> {
    peer.received().into_iter().map(|(_, line)| line).collect()
}

#[tokio::test(start_paused = true)]
async fn what_the_old_connection_received_comes_before_up_and_what_comes_later_is_late() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector).into_session();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    old.say("1");
    old.say("2");
    session.renew_now();
    // The reader has read nothing yet when the new connection is there.
    session.send("to the old one".into()).await.unwrap();
    assert_eq!(heard_for(&mut session, millis(10)).await, ["1", "2", "up"]);
    let new = links.next().await;
    session.send("to the new one".into()).await.unwrap();
    new.say("b");
    old.say("3");
    let mut heard = heard_for(&mut session, secs(10)).await;
    heard.sort();
    assert_eq!(heard, ["b", "late 3"]);
    assert_eq!(lines(&old), ["to the old one"]);
    assert_eq!(lines(&new), ["to the new one"]);
}

#[tokio::test(start_paused = true)]
async fn the_old_connection_is_read_and_written_while_the_new_one_is_made() {
    let (connector, mut links) = slow([(secs(0), true), (secs(5), true)]);
    let mut session = Redial::new(connector).into_session();
    let handle = session.handle();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    handle.renew_now();
    for second in 0..5 {
        old.say(&second.to_string());
        session.send(second.to_string()).await.unwrap();
        let heard = heard_for(&mut session, millis(999)).await;
        assert_eq!(heard, [second.to_string()]);
    }
    assert_eq!(heard_for(&mut session, secs(1)).await, ["up"]);
    assert_eq!(lines(&old), ["0", "1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn the_old_connection_is_closed_in_good_order_after_thirty_seconds() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector).into_session();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    session.send("hello".into()).await.unwrap();
    session.renew_now();
    assert_eq!(heard_for(&mut session, secs(29)).await, ["up"]);
    assert_eq!((old.closes(), old.is_dropped()), (0, false));
    old.say("late");
    assert_eq!(heard_for(&mut session, secs(2)).await, ["late late"]);
    assert!(old.closes() > 0 && old.is_dropped());
    assert_eq!(links.made(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_close_handshake_without_an_answer_takes_a_second() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector).into_session();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    session.send("hello".into()).await.unwrap();
    old.holds_flushes(); // and so its close hangs, too
    session.renew_now();
    assert_eq!(heard_for(&mut session, millis(30_900)).await, ["up"]);
    assert!(old.closes() > 0 && !old.is_dropped());
    assert!(heard_for(&mut session, millis(200)).await.is_empty());
    assert!(old.is_dropped());
    // What was flushed before is not lost.
    session.send("to the new one".into()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_old_does_not_wait_for_late_items() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector).into_session();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    session.renew_now();
    assert_eq!(heard_for(&mut session, secs(1)).await, ["up"]);
    session.close_old();
    assert!(heard_for(&mut session, millis(10)).await.is_empty());
    assert!(old.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_the_old_connection_when_the_new_one_is_there_causes_no_loss_and_no_dial()
 {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector).into_session();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    session.renew_within(secs(30));
    let mut heard = heard_for(&mut session, secs(20)).await;
    old.hang_up();
    heard.extend(heard_for(&mut session, secs(100)).await);
    assert_eq!((heard, links.made()), (vec!["up".into()], 2));
    assert!(old.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn items_that_were_not_flushed_at_the_switch_are_flushed_on_the_old_connection() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector)
        .into_session()
        .keep_unsent::<String>();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    session.feed("1".into()).await.unwrap();
    old.block();
    session.feed("2".into()).now_or_never();
    session.renew_now();
    assert_eq!(shown(session.next().await), "up");
    let new = links.next().await;
    // A flush waits for both.
    session.feed("3".into()).await.unwrap();
    assert!(timeout(secs(1), session.flush()).await.is_err());
    assert_eq!(
        (lines(&old), lines(&new)),
        (vec!["1".into()], vec!["3".into()])
    );
    assert!(session.take_unsent().is_empty());
    old.unblock();
    session.flush().await.unwrap();
    assert!(session.take_unsent().is_empty());
    session.lost();
    assert!(session.take_unsent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn items_that_the_old_connection_never_flushed_are_reported_once() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector)
        .into_session()
        .keep_unsent::<String>();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    session.feed("1".into()).await.unwrap();
    session.feed("2".into()).await.unwrap();
    old.block();
    session.renew_now();
    assert_eq!(shown(session.next().await), "up");
    let new = links.next().await;
    session.feed("3".into()).await.unwrap();
    new.block();
    // Thirty seconds, and one for the close.
    assert!(heard_for(&mut session, secs(32)).await.is_empty());
    let error = session.flush().await.unwrap_err();
    assert_eq!((error.lost(), error.was_accepted()), (2, true));
    assert_eq!(session.take_unsent(), ["1", "2"]);
    new.unblock();
    session.flush().await.unwrap();
    assert!(session.take_unsent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn copies_of_a_lost_successor_wait_for_those_of_the_old_connection() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector)
        .policy(doubling())
        .into_session()
        .keep_unsent::<String>();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    session.feed("1".into()).await.unwrap();
    old.block();
    session.renew_now();
    assert_eq!(shown(session.next().await), "up");
    session.feed("2".into()).await.unwrap();
    session.lost();
    assert_eq!(session.flush().await.unwrap_err().lost(), 1);
    assert!(session.take_unsent().is_empty());
    old.unblock();
    session.flush().await.unwrap();
    assert_eq!(session.take_unsent(), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_was_promised_before_the_switch_is_on_the_old_connection() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector)
        .into_session()
        .keep_unsent::<String>();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    std::future::poll_fn(|cx| session.poll_ready_unpin(cx))
        .await
        .unwrap();
    session.renew_now();
    assert_eq!(shown(session.next().await), "up");
    let new = links.next().await;
    session.start_send_unpin("promised".into()).unwrap();
    session.flush().await.unwrap();
    assert_eq!(
        (lines(&old), lines(&new)),
        (vec!["promised".into()], vec![])
    );
    assert!(session.start_send_unpin("not promised".into()).is_err());
    assert!(session.take_unsent().is_empty());
}

/// The scenario "renewal while all goes wrong".
#[tokio::test(start_paused = true)]
async fn a_reset_during_the_second_attempt_leads_to_an_outage_of_two_seconds_and_no_third_attempt()
{
    let (connector, mut links) = slow([(secs(0), true), (millis(100), false), (secs(3), true)]);
    let constant = Exponential::new(millis(2900), secs(64))
        .factor(1.0)
        .jitter(Jitter::None);
    let mut session = Redial::new(connector).policy(constant).into_session();
    let handle = session.handle();
    let mut next = async || shown(session.next().await);
    assert_eq!(next().await, "up");
    let old = links.next().await;
    sleep(secs(60)).await;
    let began = tokio::time::Instant::now();
    handle.renew_now();
    tokio::spawn(async move {
        sleep(secs(4)).await;
        old.hang_up();
    });
    assert_eq!(next().await, "down, Retry(Busy)");
    assert_eq!(began.elapsed(), secs(4));
    assert_eq!(next().await, "up");
    assert!(began.elapsed() - secs(6) < millis(10));
    assert_eq!(links.made(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_found_dead_after_its_successor_is_up_brings_no_down() {
    let (connector, mut links) = slow([(secs(0), true), (millis(4900), true)]);
    let alive = Liveness::new().idle(secs(4)).grace(secs(3));
    let mut session = Redial::new(connector)
        .into_session()
        .keep_alive(alive, || "PING".to_string());
    let handle = session.handle();
    assert_eq!(shown(session.next().await), "up");
    let _silent = links.next().await;
    handle.renew_now();
    assert_eq!(shown(session.next().await), "up");
    // The old one is silent and would be dead by now. The new one has its own time.
    let new = links.next().await;
    new.answers_after(millis(100));
    let heard = heard_for(&mut session, secs(100)).await;
    assert!(heard.iter().all(|event| event == "PONG"), "{heard:?}");
    let first = new.received()[0].0;
    assert!(first.elapsed() > secs(90));
}

#[tokio::test(start_paused = true)]
async fn a_third_connection_ends_the_oldest() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector)
        .stable_after(Duration::ZERO)
        .into_session();
    let mut peers = Vec::new();
    for _ in 0..5 {
        assert_eq!(heard_for(&mut session, secs(3)).await, ["up"]);
        session.send("hello".into()).await.unwrap();
        peers.push(links.next().await);
        let open = peers.iter().filter(|peer| !peer.is_dropped()).count();
        assert!(open <= 2);
        session.renew_now();
    }
    assert!(peers[..3].iter().all(Peer::is_dropped));
}

#[tokio::test(start_paused = true)]
async fn the_attempt_for_a_third_connection_waits_until_the_oldest_is_closed() {
    let (connector, mut links) = slow([(secs(0), true), (secs(0), true), (secs(10), true)]);
    let mut session = Redial::new(connector)
        .stable_after(Duration::ZERO)
        .into_session();
    assert_eq!(shown(session.next().await), "up");
    let oldest = links.next().await;
    session.send("hello".into()).await.unwrap();
    oldest.holds_flushes(); // and so its close takes the whole second
    session.renew_now();
    assert_eq!(heard_for(&mut session, secs(1)).await, ["up"]);
    session.renew_now();
    assert!(heard_for(&mut session, millis(900)).await.is_empty());
    assert_eq!((oldest.is_dropped(), links.made()), (false, 2));
    assert!(oldest.closes() > 0);
    assert!(heard_for(&mut session, millis(200)).await.is_empty());
    assert_eq!((oldest.is_dropped(), links.made()), (true, 3));
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_closes_the_connection_before_it_makes_the_next_one() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector).one_at_a_time().into_session();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    session.send("hello".into()).await.unwrap();
    old.holds_flushes();
    session.renew_now();
    assert_eq!(shown(session.next().await), "down, Retry(Busy)");
    assert!(timeout(millis(900), session.next()).await.is_err());
    assert_eq!((old.is_dropped(), links.made()), (false, 1));
    assert!(old.closes() > 0);
    assert_eq!(heard_for(&mut session, millis(200)).await, ["up"]);
    assert_eq!((old.is_dropped(), links.made()), (true, 2));
}

#[tokio::test(start_paused = true)]
async fn closing_the_session_closes_both_connections() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector).into_session();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    session.send("hello".into()).await.unwrap();
    session.renew_now();
    assert_eq!(shown(session.next().await), "up");
    let new = links.next().await;
    session.close().await.unwrap();
    assert!(old.closes() > 0 && new.closes() > 0 && old.is_dropped());
    new.hang_up();
    assert!(shown(session.next().await).starts_with("down"));
    assert_eq!(shown(session.next().await), "end");
    assert_eq!(links.made(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_closes_drops_both_connections_and_the_attempt() {
    let (connector, mut links) = slow([(secs(0), true), (secs(0), true), (secs(9), true)]);
    let mut session = Redial::new(connector)
        .stable_after(Duration::ZERO)
        .into_session();
    let handle = session.handle();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    handle.renew_now();
    assert_eq!(heard_for(&mut session, secs(1)).await, ["up"]);
    let new = links.next().await;
    handle.renew_now();
    assert!(heard_for(&mut session, secs(1)).await.is_empty());
    handle.close();
    assert!(shown(session.next().await).starts_with("error"));
    assert!(old.is_dropped() && new.is_dropped());
    assert_eq!(shown(session.next().await), "end");
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_the_new_connection_is_a_loss_and_the_old_one_still_is_read() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector).policy(doubling()).into_session();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    session.renew_now();
    assert_eq!(shown(session.next().await), "up");
    let new = links.next().await;
    new.hang_up();
    assert_eq!(shown(session.next().await), "down, Retry(Busy)");
    old.say("3");
    assert_eq!(shown(session.next().await), "3");
    assert!(session.is_late());
    assert_eq!(shown(session.next().await), "up");
    assert!(!session.is_late());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_only_written_to_is_renewed() {
    let (connector, mut links) = slow([(secs(0), true), (secs(2), true)]);
    let mut session = Redial::new(connector).into_session();
    session.send("0".into()).await.unwrap();
    session.renew_now();
    for _ in 0..40 {
        session.send("1".into()).await.unwrap();
        sleep(secs(1)).await;
    }
    let old = links.next().await;
    let new = links.next().await;
    assert_eq!(old.received().len() + new.received().len(), 41);
    assert!(
        (3..5).contains(&old.received().len()),
        "{}",
        old.received().len()
    );
    assert!(old.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn both_halves_are_renewed_in_two_tasks() {
    let (connector, mut links) = slow([(secs(0), true), (secs(2), true)]);
    let session = Redial::new(connector).into_session();
    let handle = session.handle();
    let (mut sink, mut stream) = session.split();
    let reader = tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Ok(event) = timeout(secs(20), stream.next()).await {
            heard.push(shown(event));
        }
        heard
    });
    let writer = tokio::spawn(async move {
        for second in 0..10 {
            sink.send(second.to_string()).await.unwrap();
            sleep(secs(1)).await;
        }
    });
    let old = links.next().await;
    sleep(millis(2500)).await;
    handle.renew_now();
    sleep(millis(2500)).await;
    let new = links.next().await;
    old.say("late");
    new.say("item");
    writer.await.unwrap();
    let mut heard = reader.await.unwrap();
    heard[2..].sort();
    assert_eq!(heard, ["up", "up", "item", "late"]);
    assert_eq!(lines(&old), ["0", "1", "2", "3", "4"]);
    assert_eq!(lines(&new), ["5", "6", "7", "8", "9"]);
}

#[tokio::test(start_paused = true)]
async fn each_connection_of_a_session_is_renewed_at_its_age() {
    let (connector, links) = links();
    let mut session = Redial::new(connector).max_age(secs(1000)).into_session();
    let heard = heard_for(&mut session, secs(10_000)).await;
    assert!((10..=12).contains(&links.made()), "{}", links.made());
    assert!(heard.iter().all(|event| event == "up"));
}

/// On the real clock, whose timers are never quite on time.
#[tokio::test]
async fn a_session_on_real_sockets_moves_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut session = Redial::new(|| async move {
        let stream = TcpStream::connect(address).await?;
        Ok::<_, LinesCodecError>(Framed::new(stream, LinesCodec::new()))
    })
    .into_session();
    for _ in 0..2 {
        let up = timeout(secs(10), session.next()).await.unwrap();
        assert!(matches!(up, Some(Ok(SessionEvent::Up))));
        session.renew_now();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_waits_is_renewed_too() {
    let (connector, mut links) = links();
    let mut session = Redial::new(connector).into_session();
    assert_eq!(shown(session.next().await), "up");
    let old = links.next().await;
    for line in 0..1000 {
        old.say(&line.to_string());
    }
    session.renew_now();
    // The connection never looks empty, except if tokio lets the task read no more.
    for line in 0..1000 {
        assert_eq!(shown(session.next().await), line.to_string());
    }
    assert_eq!(shown(session.next().await), "up");
}
