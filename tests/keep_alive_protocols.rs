//! Is a session kept alive by the pings of real protocols, without work for its reader?
//!
//! The servers are the other side of a pipe, under the paused clock.

use std::io;
use std::time::Duration;

use futures::{SinkExt, Stream, StreamExt};
use redial::{Error, Liveness, Redial, SessionEvent};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};
use tokio_util::bytes::{Buf, BufMut, BytesMut};
use tokio_util::codec::{Decoder, Encoder, Framed};

const SECOND: Duration = Duration::from_secs(1);
/// The defaults of `Liveness`: silence, and time for the answer.
const LIMIT: Duration = Duration::from_secs(40);
/// A timer of tokio's is up to a millisecond late, and there are two.
const TICKS: Duration = Duration::from_millis(3);

/// Reads until `until`. Returns how many items came. Any other event is a failure.
async fn items<T, E>(
    session: &mut (impl Stream<Item = Result<SessionEvent<T, E>, Error<E>>> + Unpin),
    until: Instant,
) -> usize
where
    T: std::fmt::Debug,
    E: std::error::Error + 'static,
{
    let mut items = 0;
    while let Ok(event) = tokio::time::timeout_at(until, session.next()).await {
        match event.unwrap().unwrap() {
            SessionEvent::Item(_) => items += 1,
            other => panic!("{other:?}"),
        }
    }
    items
}

/// Then it is silent, after what is on its way, and it comes back.
async fn falls_silent<T, E>(
    session: &mut (impl Stream<Item = Result<SessionEvent<T, E>, Error<E>>> + Unpin),
    limit: Duration,
) where
    T: std::fmt::Debug,
    E: std::error::Error + 'static,
{
    let mut start = Instant::now();
    loop {
        match session.next().await.unwrap().unwrap() {
            SessionEvent::Item(_) => start = Instant::now(),
            SessionEvent::Down {
                silent: Some(silent),
                error: None,
                ..
            } => {
                assert!(silent.duration() <= limit + TICKS, "{silent}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(start.elapsed() <= limit + TICKS, "{:?}", start.elapsed());
    let up = session.next().await;
    assert!(matches!(up, Some(Ok(SessionEvent::Up))), "{up:?}");
}

type Socket = WebSocketStream<DuplexStream>;

/// A driver of `WebSocket`s, and the server's ends of their pipes.
fn websockets() -> (
    Redial<impl redial::Connect<Connection = Socket, Error = tungstenite::Error>>,
    mpsc::UnboundedReceiver<Socket>,
) {
    let (accept, accepted) = mpsc::unbounded_channel();
    let redial = Redial::new(move || {
        let (ours, theirs) = duplex(1024);
        let accept = accept.clone();
        tokio::spawn(async move {
            let _ = accept.send(accept_async(theirs).await.unwrap());
        });
        async move { Ok(client_async("ws://localhost/", ours).await?.0) }
    });
    (redial, accepted)
}

#[tokio::test(start_paused = true)]
async fn a_websocket_is_pinged_and_its_pongs_need_no_treatment() {
    let (redial, mut accepted) = websockets();
    let mut session = redial
        .into_session()
        .keep_alive(Liveness::new(), || Message::Ping("redial".into()));
    let up = session.next().await;
    assert!(matches!(up, Some(Ok(SessionEvent::Up))), "{up:?}");
    let mut socket = accepted.recv().await.unwrap();
    // The library answers pings if somebody reads.
    let server = tokio::spawn(async move {
        let _ = timeout(3600 * SECOND, async {
            while let Some(message) = socket.next().await {
                assert!(matches!(message, Ok(Message::Ping(_))), "{message:?}");
            }
        })
        .await;
        socket
    });
    let pongs = items(&mut session, Instant::now() + 3599 * SECOND).await;
    assert!((143..=180).contains(&pongs), "{pongs}");
    // It stops, and its socket stays open.
    let half_open = tokio::join!(server, falls_silent(&mut session, LIMIT));
    drop(half_open);
}

/// A server that pings each 30 s, sends nothing else, and closes after three misses.
async fn pings_by_itself(mut socket: Socket, time: Duration) -> Socket {
    let mut pings = interval(30 * SECOND);
    let end = Instant::now() + time;
    let mut missed = 0;
    while Instant::now() < end {
        tokio::select! {
            message = socket.next() => match message.unwrap().unwrap() {
                Message::Pong(_) => missed = 0,
                other => panic!("{other:?}"),
            },
            _ = pings.tick() => {
                assert!(missed < 3, "the client does not answer");
                missed += 1;
                socket.send(Message::Ping("you?".into())).await.unwrap();
            }
        }
    }
    socket
}

#[tokio::test(start_paused = true)]
async fn l16_a_listener_of_a_websocket_answers_a_server_that_pings_by_itself() {
    let (redial, mut accepted) = websockets();
    let mut session = redial.into_session().idle_timeout(75 * SECOND);
    let up = session.next().await;
    assert!(matches!(up, Some(Ok(SessionEvent::Up))), "{up:?}");
    let socket = accepted.recv().await.unwrap();
    let server = tokio::spawn(pings_by_itself(socket, 600 * SECOND));
    let pings = items(&mut session, Instant::now() + 599 * SECOND).await;
    assert_eq!(pings, 20);
    let _half_open = server.await.unwrap();
    falls_silent(&mut session, 75 * SECOND).await;
}

/// Packets in the form of MQTT's: a type, a length of one byte, and the rest.
struct Packets;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packet {
    Publish(u8),
    PingRequest,
    PingResponse,
}

impl Encoder<Packet> for Packets {
    type Error = io::Error;

    fn encode(&mut self, packet: Packet, bytes: &mut BytesMut) -> io::Result<()> {
        match packet {
            Packet::Publish(payload) => bytes.put_slice(&[0x30, 4, 0, 1, b't', payload]),
            Packet::PingRequest => bytes.put_slice(&[0xC0, 0]),
            Packet::PingResponse => bytes.put_slice(&[0xD0, 0]),
        }
        Ok(())
    }
}

impl Decoder for Packets {
    type Item = Packet;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Packet>> {
        let [kind, length, rest @ ..] = &bytes[..] else {
            return Ok(None);
        };
        let length = usize::from(*length);
        if rest.len() < length {
            return Ok(None);
        }
        let packet = match (*kind, &rest[..length]) {
            (0x30, [0, 1, b't', payload]) => Packet::Publish(*payload),
            (0xC0, []) => Packet::PingRequest,
            (0xD0, []) => Packet::PingResponse,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        bytes.advance(2 + length);
        Ok(Some(packet))
    }
}

/// The keep-alive that the client told the broker.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

type Broker = Framed<DuplexStream, Packets>;

/// A broker that cuts a client which has sent nothing for one and a half times its
/// keep-alive. It publishes each second if there is `news`. Returns how many pings came.
async fn serves(mut broker: Broker, time: Duration, news: bool) -> (Broker, usize) {
    let mut publish = interval(SECOND);
    publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = Instant::now() + time;
    let (mut spoke, mut pings) = (Instant::now(), 0);
    while Instant::now() < end {
        tokio::select! {
            packet = broker.next() => {
                assert_eq!(packet.unwrap().unwrap(), Packet::PingRequest);
                (spoke, pings) = (Instant::now(), pings + 1);
                broker.send(Packet::PingResponse).await.unwrap();
            }
            _ = publish.tick() => {
                assert!(spoke.elapsed() < KEEP_ALIVE * 3 / 2, "cut for its silence");
                if news {
                    broker.send(Packet::Publish(7)).await.unwrap();
                }
            }
        }
    }
    (broker, pings)
}

#[tokio::test(start_paused = true)]
async fn mqtt_is_pinged_as_often_as_the_client_said_and_its_answers_need_no_treatment() {
    for news in [true, false] {
        let (accept, mut accepted) = mpsc::unbounded_channel();
        let mut session = Redial::new(move || {
            let (ours, theirs) = duplex(1024);
            let _ = accept.send(Framed::new(theirs, Packets));
            std::future::ready(Ok::<_, io::Error>(Framed::new(ours, Packets)))
        })
        .into_session()
        .keep_alive(Liveness::new().speak_every(KEEP_ALIVE), || {
            Packet::PingRequest
        });
        let up = session.next().await;
        assert!(matches!(up, Some(Ok(SessionEvent::Up))), "{up:?}");
        let broker = accepted.recv().await.unwrap();
        let mut serving = tokio::spawn(serves(broker, 3600 * SECOND, news));
        let received = items(&mut session, Instant::now() + 3598 * SECOND).await;
        if news {
            assert!((3655..=3660).contains(&received), "{received}");
        }
        // The broker stops, and its socket stays open.
        let (_half_open, pings) = loop {
            tokio::select! {
                _ = session.next() => {}
                outcome = &mut serving => break outcome.unwrap(),
            }
        };
        let expected = if news { 59..=60 } else { 143..=180 };
        assert!(expected.contains(&pings), "{pings}");
        falls_silent(&mut session, LIMIT).await;
    }
}
