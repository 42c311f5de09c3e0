//! Does the testing kit do what its words say?

use std::future::ready;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use redial::test::{
    Channel, Faults, Pipe, Recorder, Script, ScriptedError, Waits, What, When, most_within, paused,
};
use redial::{
    Cause, Connect, Endpoints, Exponential, Jitter, Liveness, Redial, Sequence, SessionEvent,
    Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn each_second() -> Exponential {
    Exponential::new(secs(1), secs(1)).jitter(Jitter::None)
}

/// Anything that takes longer hangs.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(secs(1000), future).await.expect("it hangs")
}

// ---- scripts

#[tokio::test(start_paused = true)]
async fn each_attempt_takes_one_step_in_its_order() {
    let hint = Verdict::RetryAfter(secs(60));
    let (connector, server) = Script::new()
        .refuse()
        .times(3)
        .fail(Verdict::Stop)
        .times(0)
        .stall()
        .fail(Verdict::Retry(Cause::Busy))
        .after(secs(2))
        .fail(hint)
        .connect()
        .after(secs(3))
        .bytes();
    let recorder = Recorder::new();
    let mut redial = Redial::new(connector)
        .policy(each_second())
        .attempt_timeout(secs(20))
        .observe(recorder.observer());
    let start = Instant::now();
    soon(redial.ready()).await.unwrap();
    let retry = Verdict::Retry;
    let (down, busy, stalled) = (Cause::Down, Cause::Busy, Cause::Stalled);
    assert_eq!(
        recorder.verdicts(),
        [
            retry(down),
            retry(down),
            retry(down),
            retry(stalled),
            retry(busy),
            hint
        ]
    );
    let second = secs(1)..=secs(1);
    let hinted = secs(60)..=secs(120);
    let waits = recorder.waits();
    waits.assert_within([&second, &second, &second, &second, &second, &hinted].map(Clone::clone));
    assert_eq!((server.attempts(), server.connections()), (7, 1));
    assert_eq!(recorder.attempts(), 7);
    let at: Vec<_> = server.attempted_at();
    assert!(at.windows(2).all(|pair| pair[0] < pair[1]));
    // Each wait may end a millisecond late.
    let took = start
        .elapsed()
        .checked_sub(waits.total() + secs(20 + 2 + 3));
    assert!(took.unwrap() < Duration::from_millis(20), "{took:?}");
}

#[test]
fn scripted_errors_are_judged_in_every_wrapping() {
    for verdict in [
        Verdict::Retry(Cause::Down),
        Verdict::Retry(Cause::Busy),
        Verdict::Retry(Cause::Stalled),
        Verdict::RetryAfter(secs(7)),
        Verdict::Slot(secs(7)),
        Verdict::Stop,
    ] {
        for error in [ScriptedError::new(verdict), ScriptedError::lost(verdict)] {
            assert_eq!(Verdict::from(&io::Error::from(error)), verdict);
            let boxed: Box<dyn std::error::Error> = io::Error::from(error).into();
            assert_eq!(Verdict::of(boxed.as_ref()), verdict);
            let shell = io::Error::other(io::Error::from(error));
            assert_eq!(Verdict::of(&shell), verdict);
        }
    }
}

#[test]
fn kinds_of_scripted_errors_are_judged_alike_but_for_hints() {
    for verdict in [
        Verdict::Retry(Cause::Down),
        Verdict::Retry(Cause::Busy),
        Verdict::Retry(Cause::Stalled),
        Verdict::Stop,
    ] {
        for error in [ScriptedError::new(verdict), ScriptedError::lost(verdict)] {
            let kind = io::Error::from(error).kind();
            assert_eq!(Verdict::from(&io::Error::from(kind)), verdict);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_lost_when_the_script_says_so() {
    let (connector, mut server) = Script::new()
        .connect()
        .lose_after(secs(5))
        .connect()
        .bytes();
    let mut redial = Redial::new(connector).policy(each_second());
    let start = Instant::now();
    let client = redial.ready().await.unwrap();
    let error = soon(client.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(start.elapsed().as_secs(), 5);
    redial.lost_with(error);
    let client = redial.ready().await.unwrap();
    let _lost = server.accept().await;
    let end = server.accept().await;
    end.say("hello");
    let mut buf = [0; 5];
    client.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"hello");
    assert!(timeout(secs(10_000), client.read(&mut buf)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_script_is_the_dial_of_a_connector_of_two_steps() {
    let (dial, mut server) = Script::new().stall().connect().forever().bytes();
    let connector = dial.then(async |mut stream| {
        // The server greets its second connection only.
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).await?;
        Ok::<_, LinesCodecError>(Framed::new(stream, LinesCodec::new()))
    });
    let recorder = Recorder::new();
    let mut redial = Redial::new(connector)
        .policy(each_second())
        .attempt_timeout(secs(20))
        .observe(recorder.observer());
    let greeting = async {
        let _silent = server.accept().await;
        let end = server.accept().await;
        end.say("hi");
        sleep(secs(1)).await;
        end
    };
    let (ready, _end) = soon(async { tokio::join!(redial.ready(), greeting) }).await;
    ready.unwrap();
    let causes = [Cause::Down, Cause::Stalled].map(Verdict::Retry);
    assert_eq!(recorder.verdicts(), causes);
}

#[test]
fn a_script_that_is_over_says_which_attempt_it_has_no_step_for() {
    let run = AssertUnwindSafe(|| {
        paused(async {
            let (connector, _server) = Script::new().refuse().times(2).bytes();
            let mut redial = Redial::new(connector);
            let _ = redial.ready().await;
        });
    });
    let panic = catch_unwind(run).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("no step for attempt 3"), "{text}");
}

#[test]
fn misused_steps_are_refused_by_name() {
    type Misuse = fn() -> Script;
    let misuses: [(&str, Misuse); 4] = [
        ("times", || Script::new().times(2)),
        ("forever", || Script::new().forever()),
        ("lose_after", || Script::new().refuse().lose_after(secs(1))),
        ("faults", || Script::new().stall().faults(Faults::new())),
    ];
    for (name, misuse) in misuses {
        let panic = catch_unwind(misuse).unwrap_err();
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap();
        assert!(text.starts_with(name), "{name}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_runs_on_scripted_items() {
    let (connector, mut server) = Script::new()
        .connect()
        .faults(Faults::new().lose(When::Read(2)))
        .connect()
        .items::<u32, String>();
    let mut session = Redial::new(connector).into_session();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        match soon(session.next()).await.unwrap().unwrap() {
            SessionEvent::Up => {
                seen.push("up".to_owned());
                let end = server.accept().await;
                (0..3).for_each(|n| end.say(n));
                // Both the first connection and the second one stay.
                tokio::spawn(async move {
                    sleep(secs(10_000)).await;
                    drop(end);
                });
            }
            SessionEvent::Item(n) => seen.push(n.to_string()),
            SessionEvent::Down { error, .. } => {
                let kind = error.map(|error| error.kind());
                assert_eq!(kind, Some(ErrorKind::ConnectionReset));
                seen.push("down".to_owned());
            }
        }
    }
    assert_eq!(seen, ["up", "0", "1", "down", "up"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_accepts_stays_open() {
    let (connector, server) = Script::new().connect().bytes();
    drop(server);
    let mut redial = Redial::new(connector);
    let client = redial.ready().await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert!(timeout(secs(100), client.read(&mut [0])).await.is_err());
}

// ---- faults

#[tokio::test(start_paused = true)]
async fn exactly_so_many_bytes_are_read_or_written_before_the_loss() {
    for n in [0, 1, 5, 4096, 5000] {
        let text = vec![b'x'; 10_000];
        let (client, server) = Pipe::pair();
        server.say(&text);
        let mut client = Faults::new().lose(When::Read(n)).on_bytes(client);
        let mut got = Vec::new();
        assert!(client.read_to_end(&mut got).await.is_err());
        assert_eq!(got.len() as u64, n);
        assert!(client.write(b"x").await.is_err(), "both directions");

        let (client, server) = Pipe::pair();
        let mut client = Faults::new().lose(When::Written(n)).on_bytes(client);
        assert!(client.write_all(&text).await.is_err());
        assert_eq!(server.heard().len() as u64, n);
        assert!(client.read(&mut got).await.is_err(), "both directions");
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_at_a_time_wakes_the_tasks_of_both_halves() {
    let (client, _server) = Pipe::with_room(1);
    let client = Faults::new().lose(When::After(secs(5))).on_bytes(client);
    let (mut reader, mut writer) = split(client);
    let start = Instant::now();
    let reading = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
    let writing = tokio::spawn(async move { writer.write_all(b"long").await });
    assert!(soon(reading).await.unwrap().is_err());
    assert!(soon(writing).await.unwrap().is_err());
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_a_write_brings_wakes_the_reader() {
    let (client, _server) = Pipe::pair();
    let client = Faults::new().lose(When::Written(2)).on_bytes(client);
    let (mut reader, mut writer) = split(client);
    let reading = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
    sleep(secs(1)).await;
    writer.write_all(b"ab").await.unwrap();
    assert!(soon(reading).await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_end_is_no_error_for_a_reader() {
    let (client, server) = Pipe::pair();
    server.say("hello");
    let mut client = Faults::new().end(When::Read(3)).on_bytes(client);
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"hel");
    let error = client.write(b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_takes_what_is_written_and_delivers_nothing() {
    let (client, server) = Pipe::pair();
    let faults = Faults::new().silence(When::After(secs(5)));
    let mut client = faults.on_bytes(client);
    client.write_all(b"before").await.unwrap();
    sleep(secs(5)).await;
    client.write_all(b"after").await.unwrap();
    server.say("hello");
    assert!(timeout(secs(100), client.read(&mut [0])).await.is_err());
    assert_eq!(server.heard(), "before");
}

#[tokio::test(start_paused = true)]
async fn a_blocked_connection_keeps_writers_waiting_until_it_is_lost() {
    let (client, _server) = Pipe::pair();
    let faults = Faults::new()
        .block(When::Written(3))
        .lose(When::After(secs(9)));
    let mut client = faults.on_bytes(client);
    let start = Instant::now();
    assert!(soon(client.write_all(b"hello")).await.is_err());
    assert_eq!(start.elapsed().as_secs(), 9);
}

#[tokio::test(start_paused = true)]
async fn delayed_items_keep_their_order_and_their_end() {
    let (client, server) = Channel::<u32, ()>::pair();
    let faults = Faults::new().delay(secs(1)..=secs(10)).seed(3);
    let mut client = faults.on_items(client);
    (0..20).for_each(|n| server.say(n));
    drop(server);
    let start = Instant::now();
    let mut got = Vec::new();
    while let Some(item) = soon(client.next()).await {
        got.push(item.unwrap());
        assert!(start.elapsed() >= secs(1));
    }
    assert!(got.into_iter().eq(0..20));
    assert!(start.elapsed() <= secs(11), "they travel together");
}

#[tokio::test(start_paused = true)]
async fn a_monitor_finds_a_connection_that_a_fault_has_silenced() {
    let (connector, _server) = Script::new()
        .connect()
        .faults(Faults::new().silence(When::After(secs(60))))
        .connect()
        .items::<String, String>();
    let mut session = Redial::new(connector)
        .into_session()
        .keep_alive(Liveness::new(), || "PING".to_owned());
    assert!(matches!(session.next().await, Some(Ok(SessionEvent::Up))));
    match soon(session.next()).await {
        Some(Ok(SessionEvent::Down { silent, .. })) => assert!(silent.is_some()),
        event => panic!("{event:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_connection_of_a_step_draws_its_own_fault() {
    let faults = Faults::new().seed(5).lose(When::ReadWithin(1_000_000));
    let read = |seed| async move {
        let faults = Faults::new().seed(seed).lose(When::ReadWithin(1_000_000));
        let (client, server) = Pipe::pair();
        server.say(vec![0; 1_000_000]);
        let mut got = Vec::new();
        let _ = faults.on_bytes(client).read_to_end(&mut got).await;
        got.len()
    };
    assert_eq!(read(1).await, read(1).await);
    assert_ne!(read(1).await, read(2).await);
    let (connector, mut server) = Script::new().connect().faults(faults).times(2).bytes();
    let mut redial = Redial::new(connector).policy(Sequence::new([secs(1)]));
    let mut lengths = Vec::new();
    for _ in 0..2 {
        let client = redial.ready().await.unwrap();
        let end = server.accept().await;
        end.say(vec![0; 1_000_000]);
        let mut got = Vec::new();
        let _ = client.read_to_end(&mut got).await;
        lengths.push(got.len());
        redial.lost();
    }
    assert_ne!(lengths[0], lengths[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Chopped and delayed in both directions, up to a loss or to the end.
    #[test]
    fn what_arrives_is_a_beginning_of_what_was_sent(
        seed: u64, length in 0..20_000_usize, lost in prop::option::of(0..20_000_u64), late: bool,
    ) {
        let text: Vec<_> = (0..length).map(|i| (i % 251) as u8).collect();
        paused(async {
            let (client, server) = Pipe::with_room(777);
            let mut faults = Faults::new().seed(seed).chop();
            if let Some(n) = lost {
                faults = faults.lose(When::Read(n));
            }
            if late {
                faults = faults.delay(Duration::ZERO..=secs(1));
            }
            let mut client = faults.on_bytes(client);
            let mut server = Faults::new().seed(!seed).chop().on_bytes(server);
            let sending = async {
                let _ = server.write_all(&text).await;
                drop(server);
            };
            let mut got = Vec::new();
            let reading = async {
                let read = client.read_to_end(&mut got).await;
                drop(client);
                read
            };
            let ((), read) = tokio::join!(sending, reading);
            let expected = lost.map_or(length, |n| length.min(n as usize));
            assert_eq!(got, text[..expected]);
            assert_eq!(read.is_err(), lost.is_some_and(|n| n <= length as u64));
        });
    }
}

// ---- waits

#[test]
fn waits_of_a_policy_are_those_that_its_driver_makes() {
    for seed in 0..20 {
        let recorder = Recorder::new();
        paused(async {
            let (connector, _server) = Script::new().connect().refuse().times(9).connect().bytes();
            let mut redial = Redial::new(connector)
                .seed(seed)
                .observe(recorder.observer());
            redial.ready().await.unwrap();
            redial.lost();
            redial.ready().await.unwrap();
        });
        let policy = redial::Stratified::default();
        let expected = Waits::of(&policy, Cause::Down, 10, seed);
        for (wait, expected) in recorder.waits().iter().zip(expected) {
            assert!(wait.abs_diff(expected) < Duration::from_millis(20));
        }
    }
}

#[test]
fn a_wait_outside_of_its_bounds_is_named() {
    let waits = Waits::new([secs(1), secs(3)]);
    waits.assert_at_most(secs(3));
    waits.assert_within([secs(0)..=secs(1), secs(2)..=secs(4)]);
    let panics = |assert: &dyn Fn()| {
        let panic = catch_unwind(AssertUnwindSafe(assert)).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    let text = panics(&|| waits.assert_at_most(secs(2)));
    assert_eq!(text, "wait 1 is not within 0ns..=2s: [1s, 3s]");
    let text = panics(&|| waits.assert_within([secs(2)..=secs(3), secs(3)..=secs(3)]));
    assert_eq!(text, "wait 0 is not within 2s..=3s: [1s, 3s]");
    let text = panics(&|| waits.assert_within([secs(1)..=secs(1)]));
    assert_eq!(text, "2 waits, and 1 bounds: [1s, 3s]");
}

#[test]
fn a_window_has_its_beginning_and_not_its_end() {
    assert_eq!(most_within([], secs(1)), 0);
    assert_eq!(most_within([1, 2, 3].map(secs), secs(1)), 1);
    assert_eq!(most_within([1, 2, 3].map(secs), secs(2)), 2);
    assert_eq!(most_within([5, 1, 5, 2, 5].map(secs), secs(1)), 3);
}

#[tokio::test(start_paused = true)]
async fn a_recorder_keeps_each_event_and_when_it_was() {
    let (connector, _server) = Script::new().connect().fail(Verdict::Stop).bytes();
    let recorder = Recorder::new();
    let mut redial = Redial::new(connector)
        .policy(each_second())
        .observe(recorder.observer());
    redial.ready().await.unwrap();
    redial.lost();
    redial.ready().await.unwrap_err();
    let (down, stop) = (Verdict::Retry(Cause::Down), Verdict::Stop);
    let whats: Vec<_> = recorder.records().iter().map(|it| it.what).collect();
    let expected = [
        What::Connecting { attempt: 1 },
        What::Connected {
            attempt: 1,
            elapsed: secs(0),
        },
        What::Lost { verdict: down },
        What::Waiting {
            attempt: 1,
            wait: secs(1),
        },
        What::Connecting { attempt: 1 },
        What::Failed {
            attempt: 1,
            has_error: true,
            verdict: stop,
        },
        What::GaveUp {
            reason: redial::Reason::Stopped,
        },
    ];
    assert_eq!(whats, expected);
    let records = recorder.records();
    assert!(records[3].at < records[4].at);
    recorder.clear();
    assert_eq!(recorder.attempts(), 0);
}

/// Each of the two servers comes first for some client.
#[test]
fn a_recorder_tells_the_servers_of_a_round() {
    let refused = Verdict::Retry(Cause::Down);
    let mut orders = Vec::new();
    for seed in 0..50 {
        let recorder = Recorder::new();
        paused(async {
            let connector = Endpoints::new([0, 1]).connect_with(|&server| {
                move || {
                    ready(match server {
                        0 => Err(io::Error::from(ScriptedError::new(refused))),
                        _ => Ok(()),
                    })
                }
            });
            let mut redial = Redial::new(connector)
                .seed(seed)
                .observe(recorder.observer());
            redial.ready().await.unwrap();
        });
        let records = recorder.records().into_iter().map(|it| it.what);
        let servers = records.filter(|what| {
            matches!(
                what,
                What::Trying { .. } | What::ServerFailed { .. } | What::ServerConnected { .. }
            )
        });
        orders.push(servers.collect::<Vec<_>>());
    }
    let found = [
        What::Trying { server: 1 },
        What::ServerConnected { server: 1 },
    ];
    let failed = [
        What::Trying { server: 0 },
        What::ServerFailed {
            server: 0,
            verdict: refused,
        },
    ];
    let both = [failed, found].concat();
    assert!(orders.iter().all(|order| *order == found || *order == both));
    assert!(orders.contains(&found.to_vec()) && orders.contains(&both));
}

#[tokio::test(start_paused = true)]
async fn a_sink_fails_when_its_other_end_is_gone() {
    let (mut client, server) = Channel::<(), u32>::pair();
    assert!(client.is_open() && server.is_open());
    client.send(1).await.unwrap();
    drop(server);
    assert!(!client.is_open());
    assert!(client.send(2).await.is_err());
    assert!(client.next().await.is_none());
}
