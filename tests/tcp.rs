//! Does a dial connect through real sockets, and is it judged right?
//!
//! The race itself is tested on fakes, beside its code. The clock is paused: it
//! leaps only when no socket is ready.
#![cfg(all(feature = "tokio", not(target_family = "wasm")))]

use std::future::{pending, ready};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redial::tcp::{self, DialError};
use redial::{Cause, Connect, Event, Reason, Redial, Verdict};
use socket2::SockRef;
#[cfg(unix)]
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that refuses, as long as the socket is there: it does not listen.
///
/// Windows tries again for two seconds, and a paused clock leaps over them.
#[cfg(unix)]
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// An address that answers no more packets, and what std's `connect_timeout` said
/// about it. Linux drops the packets of new clients if a server does not accept
/// those that wait.
#[cfg(target_os = "linux")]
struct Hole {
    address: SocketAddr,
    said: io::Error,
    _sockets: (Socket, Vec<std::net::TcpStream>),
}

#[cfg(target_os = "linux")]
fn hole() -> Hole {
    let (socket, address) = refusing();
    socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    let said = loop {
        match std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
    };
    Hole {
        address,
        said,
        _sockets: (socket, waiting),
    }
}

/// The first failure of a driver, as its observer sees it, and when that was.
async fn first_failure(dial: tcp::Dial) -> (Verdict, String, Duration) {
    let seen = Arc::new(Mutex::new(None));
    let tell = seen.clone();
    let start = Instant::now();
    let mut redial = Redial::new(dial).max_attempts(1).observe(move |event| {
        if let Event::Failed { error, verdict, .. } = event {
            let text = error.map(ToString::to_string).unwrap_or_default();
            *tell.lock().unwrap() = Some((*verdict, text, start.elapsed()));
        }
    });
    redial.ready().await.unwrap_err();
    seen.lock().unwrap().take().expect("one attempt has failed")
}

// ---- connections

#[tokio::test(start_paused = true)]
async fn a_listener_is_reached_in_each_way_to_name_it() {
    let (_listener, address) = listener().await;
    let port = address.port();
    let text = address.to_string();
    for dial in [
        tcp::connect(&*text),
        tcp::connect(text.clone()),
        tcp::connect(("127.0.0.1", port)),
        tcp::connect((Ipv4Addr::LOCALHOST, port)),
        tcp::connect(address),
        tcp::connect([address]),
        tcp::connect(&[address][..]),
        tcp::connect(vec![address]),
        tcp::connect(format!("localhost:{port}")),
        tcp::connect(("localhost", port)),
        tcp::connect(("chat.example", port))
            .resolve_with(async |_, port| Ok([SocketAddr::from((Ipv4Addr::LOCALHOST, port))])),
    ] {
        let named = format!("{dial:?}");
        let stream = dial
            .await
            .unwrap_or_else(|error| panic!("{named}: {error}"));
        assert_eq!(stream.peer_addr().unwrap(), address, "{named}");
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn an_address_that_refuses_hands_over_to_the_next_at_once() {
    let (_refusing, refused) = refusing();
    let (_listener, address) = listener().await;
    let start = Instant::now();
    let stream = tcp::connect([refused, address]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    assert!(start.elapsed() < Duration::from_millis(250));
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn an_address_that_drops_packets_costs_one_delay_and_only_once() {
    let hole = hole();
    let (_listener, address) = listener().await;
    let dial = tcp::connect([hole.address, address]);
    for delay in [250, 0] {
        let start = Instant::now();
        let stream = dial.dial().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let late = start.elapsed() - Duration::from_millis(delay);
        assert!(late < Duration::from_millis(10), "{late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_is_a_connector() {
    let (listener, address) = listener().await;
    let mut redial = Redial::new(tcp::connect(address));
    assert_eq!(redial.ready().await.unwrap().peer_addr().unwrap(), address);
    redial.lost();
    redial.ready().await.unwrap();
    for _ in 0..2 {
        listener.accept().await.unwrap();
    }
}

async fn log_in(mut stream: TcpStream) -> io::Result<TcpStream> {
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).await?;
    Ok(stream)
}

#[tokio::test(start_paused = true)]
async fn a_closure_dials_and_logs_in() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"hello").await;
        }
    });
    let dial = tcp::connect(address).nodelay(true);
    let mut redial = Redial::new(move || {
        let tcp = dial.dial();
        async move { log_in(tcp.await?).await }
    });
    let task = tokio::spawn(async move { redial.ready().await.map(|stream| stream.nodelay()) });
    assert!(task.await.unwrap().unwrap().unwrap());
}

#[test]
fn an_address_needs_no_thread_of_the_blocking_pool() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (release, busy) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let _only_thread = tokio::task::spawn_blocking(move || busy.recv());
        let (_listener, address) = listener().await;
        tcp::connect(address.to_string()).await.unwrap();
        tcp::connect(("127.0.0.1", address.port())).await.unwrap();
        tcp::connect(address).await.unwrap();
    });
    drop(release);
}

// ---- options

#[tokio::test(start_paused = true)]
async fn no_option_is_set_unless_asked_for() {
    let (_listener, address) = listener().await;
    let plain = TcpStream::connect(address).await.unwrap();
    let dialled = tcp::connect(address).await.unwrap();
    assert_eq!(dialled.nodelay().unwrap(), plain.nodelay().unwrap());
    let (dialled, plain) = (SockRef::from(&dialled), SockRef::from(&plain));
    assert_eq!(dialled.keepalive().unwrap(), plain.keepalive().unwrap());
}

#[cfg(any(target_vendor = "apple", target_os = "linux"))]
#[tokio::test(start_paused = true)]
async fn options_are_set_if_asked_for() {
    let (_listener, address) = listener().await;
    let dial = tcp::connect(address)
        .nodelay(true)
        .keepalive(secs(30), secs(10), 3);
    let stream = dial.await.unwrap();
    assert!(stream.nodelay().unwrap());
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), secs(30));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), secs(10));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
}

#[cfg(any(target_vendor = "apple", target_os = "linux"))]
#[test]
fn a_setting_that_cannot_work_is_refused_by_name() {
    let dial = || tcp::connect("chat.example:6667");
    let short = dial().try_dial_timeout(Duration::from_millis(199));
    assert_eq!(
        short.unwrap_err().to_string(),
        "dial_timeout is 199ms: a second address could not answer in it; give it at least 200 ms, \
         or some seconds"
    );
    for (idle, interval, probes, setting) in [
        (0, 10, 3, "idle"),
        (40_000, 10, 3, "idle"),
        (30, 0, 3, "interval"),
        (30, 10, 0, "probes"),
        (30, 10, 128, "probes"),
    ] {
        let refused = dial().try_keepalive(secs(idle), secs(interval), probes);
        assert_eq!(refused.unwrap_err().setting(), setting);
    }
    assert!(dial().try_dial_timeout(Duration::MAX).is_ok());
    assert!(dial().try_keepalive(secs(32_767), secs(1), 127).is_ok());
}

// ---- errors and verdicts

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_refusal_is_down_and_names_its_address() {
    let (_first, first) = refusing();
    let (_second, second) = refusing();
    let error = tcp::connect([first, second]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(Verdict::from(&error), Verdict::Retry(Cause::Down));
    let dial = DialError::of(&error).unwrap();
    assert_eq!(dial.target(), format!("{first}, {second}"));
    let tried = dial.attempts().iter().map(|(address, _)| *address);
    assert_eq!(tried.collect::<Vec<_>>(), [first, second]);

    let (verdict, text, _) = first_failure(tcp::connect(first)).await;
    assert_eq!(verdict, Verdict::Retry(Cause::Down));
    let refused = &dial.attempts()[0].1;
    assert_eq!(text, format!("cannot connect to {first}: {refused}"));
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_dropped_packet_is_down_before_the_driver_takes_it_for_stalled() {
    let hole = hole();
    let (verdict, text, after) = first_failure(tcp::connect(hole.address)).await;
    assert_eq!(verdict, Verdict::Retry(Cause::Down), "{text}");
    let late = after - secs(5);
    assert!(late < Duration::from_millis(10), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_down_before_the_driver_takes_it_for_stalled() {
    let hanging = tcp::connect("chat.example:6667")
        .resolve_with(|_, _| pending::<io::Result<Vec<SocketAddr>>>());
    let (verdict, text, after) = first_failure(hanging).await;
    assert_eq!(verdict, Verdict::Retry(Cause::Down), "{text}");
    assert!(after - secs(5) < Duration::from_millis(10), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_makes_no_sense_stops_a_client_with_the_remedy() {
    for (target, text) in [
        (
            "foo",
            "cannot connect to \"foo\": it has no port; write it as \"host:port\", such as \
             \"chat.example:6667\"",
        ),
        (
            "host:99999",
            "cannot connect to \"host:99999\": its port is not a number from 1 to 65535; write it \
             as \"host:port\"",
        ),
        (
            "",
            "cannot connect to \"\": it has no host; write it as \"host:port\", such as \
             \"chat.example:6667\"",
        ),
        (
            "127.0.0.1:0",
            "cannot connect to \"127.0.0.1:0\": no server listens on port 0; write the port that \
             yours listens on",
        ),
        // Without a look-up.
        (
            "redial.invalid:0",
            "cannot connect to \"redial.invalid:0\": no server listens on port 0; write the port \
             that yours listens on",
        ),
    ] {
        let error = tcp::connect(target).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), text);
        assert_eq!(Verdict::from(&error), Verdict::Stop);

        let mut redial = Redial::new(tcp::connect(target));
        let gave_up = redial.ready().await.unwrap_err();
        assert_eq!(gave_up.reason(), Some(Reason::Stopped), "{gave_up}");
    }
    let empty = tcp::connect(Vec::new()).await.unwrap_err();
    assert_eq!(Verdict::from(&empty), Verdict::Stop);
}

#[tokio::test]
async fn a_resolver_may_know_the_port_of_a_name_without_one() {
    let (_listener, address) = listener().await;
    let dial = tcp::connect("chat.example:0").resolve_with(move |_, _| ready(Ok([address])));
    assert_eq!(dial.await.unwrap().peer_addr().unwrap(), address);
    // One that cannot be connected to is tried beside the others.
    let list = [([127, 0, 0, 1], 0).into(), address];
    let stream = tcp::connect(list).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
}

/// `.invalid` never exists (RFC 6761). Without a network, the look-up fails.
#[tokio::test(start_paused = true)]
async fn a_name_that_does_not_exist_does_not_stop_a_client() {
    let error = tcp::connect("redial.invalid:80").await.unwrap_err();
    assert_eq!(
        Verdict::from(&error),
        Verdict::Retry(Cause::Down),
        "{error}"
    );
    let dial = DialError::of(&error).unwrap();
    assert!(dial.is_no_address() || dial.is_lookup(), "{error}");
    assert!(dial.attempts().is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn the_timeout_of_std_is_down_because_only_a_packet_was_dropped() {
    let said = hole().said;
    assert_eq!(said.kind(), ErrorKind::TimedOut);
    assert!(said.raw_os_error().is_none() && said.get_ref().is_none());
    assert_eq!(Verdict::from(&said), Verdict::Retry(Cause::Down), "{said}");
}

#[test]
fn a_driver_does_not_cut_a_dial_short() {
    assert!(tcp::connect("a.example:1").limits_its_dial());
}
