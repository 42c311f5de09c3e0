//! What does a subscriber of tracing see of a driver?
#![cfg(feature = "tracing")]

use std::future::ready;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redial::{Cause, Jitter, Redial, Sequence, Verdict, observe};
use tokio::time::{sleep, timeout};
use tracing::{Level, Span, info_span, subscriber::DefaultGuard};
use tracing_subscriber::fmt::format::FmtSpan;

/// What was printed.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines since the last call.
    fn lines(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

/// Prints what has at least this level, and when spans begin and end.
fn subscribe(level: Level, spans: FmtSpan) -> (Log, DefaultGuard) {
    let log = Log::default();
    let to = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .without_time()
        .with_ansi(false)
        .with_max_level(level)
        .with_span_events(spans)
        .with_writer(move || to.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A connector whose attempts have these outcomes; the last one repeats.
fn script(
    outcomes: impl IntoIterator<Item = Result<(), ErrorKind>>,
) -> impl FnMut() -> std::future::Ready<io::Result<()>> {
    let mut outcomes: Vec<_> = outcomes.into_iter().collect();
    outcomes.reverse();
    move || {
        let outcome = match outcomes.len() {
            1 => outcomes[0],
            _ => outcomes.pop().unwrap(),
        };
        ready(outcome.map_err(Into::into))
    }
}

/// Waits of 2 s.
fn waits() -> Sequence {
    Sequence::new([secs(2)]).jitter(Jitter::None)
}

const REFUSED: Result<(), ErrorKind> = Err(ErrorKind::ConnectionRefused);

#[tokio::test(start_paused = true)]
async fn an_outage_is_one_span_with_an_event_for_each_thing_that_happens() {
    let (log, _guard) = subscribe(Level::DEBUG, FmtSpan::NEW | FmtSpan::CLOSE);
    let mut redial = Redial::new(script([Ok(()), REFUSED, REFUSED, Ok(())]))
        .policy(waits())
        .observe(observe::Tracing::new().observer());
    redial.ready().await.unwrap();
    sleep(secs(100)).await;
    redial.lost_with(ErrorKind::ConnectionReset.into());
    redial.ready().await.unwrap();
    assert_eq!(
        log.lines(),
        [
            "DEBUG redial: connecting attempt=1",
            "INFO redial: connected attempt=1",
            "WARN outage{outage=1}: redial: new",
            "INFO outage{outage=1}: redial: connection lost cause=\"down\" error=\"connection reset\"",
            "DEBUG outage{outage=1}: redial: waiting attempt=1 wait=2s",
            "DEBUG outage{outage=1}: redial: connecting attempt=1",
            "DEBUG outage{outage=1}: redial: attempt failed attempt=1 cause=\"down\" \
             error=\"connection refused\"",
            "DEBUG outage{outage=1}: redial: waiting attempt=2 wait=2s",
            "DEBUG outage{outage=1}: redial: connecting attempt=2",
            "DEBUG outage{outage=1}: redial: attempt failed attempt=2 cause=\"down\" \
             error=\"connection refused\"",
            "DEBUG outage{outage=1}: redial: waiting attempt=3 wait=2s",
            "DEBUG outage{outage=1}: redial: connecting attempt=3",
            "INFO outage{outage=1}: redial: connected attempt=3 elapsed=6s",
            "WARN outage{outage=1}: redial: close",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn at_level_info_an_outage_is_two_lines() {
    let (log, _guard) = subscribe(Level::INFO, FmtSpan::NONE);
    let mut redial = Redial::new(script([REFUSED, REFUSED, Ok(())]))
        .policy(waits())
        .observe(observe::Tracing::new().observer());
    redial.ready().await.unwrap();
    assert_eq!(
        log.lines(),
        [
            "INFO outage{outage=1}: redial: attempt failed attempt=1 cause=\"down\" \
             error=\"connection refused\"",
            "INFO outage{outage=1}: redial: connected attempt=3 elapsed=4s",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_goes_on_after_a_short_connection_keeps_its_number() {
    let (log, _guard) = subscribe(Level::INFO, FmtSpan::CLOSE);
    let mut redial = Redial::new(script([Ok(())]))
        .policy(waits())
        .observe(observe::Tracing::new().observer());
    redial.ready().await.unwrap();
    sleep(secs(100)).await;
    for up in [3, 3, 100, 0] {
        redial.lost();
        redial.ready().await.unwrap();
        sleep(secs(up)).await;
    }
    let lines = log.lines();
    let closed: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("WARN ")?.split(": redial: close").next())
        .collect();
    assert_eq!(
        closed,
        [
            "outage{outage=1}",
            "outage{outage=1 attempts=1}",
            "outage{outage=1 attempts=2}",
            "outage{outage=2}",
        ]
    );
    let lost = lines.iter().filter(|line| line.contains("connection lost"));
    assert_eq!(lost.count(), 2, "later losses are for level DEBUG");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_gives_up_warns_in_the_span_of_its_outage() {
    let (log, _guard) = subscribe(Level::WARN, FmtSpan::NONE);
    let mut redial = Redial::new(script([REFUSED]))
        .policy(waits())
        .max_attempts(3)
        .observe(observe::Tracing::new().observer());
    redial.ready().await.unwrap_err();
    // Asking once more begins another outage.
    redial.ready().await.unwrap_err();
    assert_eq!(
        log.lines(),
        [
            "WARN outage{outage=1}: redial: gave up reason=no attempts are left",
            "WARN outage{outage=2}: redial: gave up reason=no attempts are left",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_parent_is_the_parent_of_outages_and_of_events_outside_of_them() {
    let (log, _guard) = subscribe(Level::INFO, FmtSpan::NONE);
    let span = info_span!("connection", server = "chat.example");
    let mut redial = Redial::new(script([Ok(())]))
        .policy(waits())
        .observe(observe::Tracing::new().parent(span).observer());
    redial.ready().await.unwrap();
    redial.lost();
    assert_eq!(
        log.lines(),
        [
            "INFO connection{server=\"chat.example\"}: redial: connected attempt=1",
            "INFO connection{server=\"chat.example\"}:outage{outage=1}: redial: connection lost \
             cause=\"down\"",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_parent_the_current_span_is_the_parent() {
    let (log, _guard) = subscribe(Level::INFO, FmtSpan::NONE);
    let mut redial = Redial::new(script([Ok(())]))
        .policy(waits())
        .observe(observe::Tracing::new().observer());
    let span = info_span!("task", id = 7);
    let entered = span.enter();
    redial.ready().await.unwrap();
    drop(entered);
    assert_eq!(Span::current().id(), None);
    assert_eq!(
        log.lines(),
        ["INFO task{id=7}: redial: connected attempt=1"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_server_asked_for_is_in_the_fields() {
    let (log, _guard) = subscribe(Level::DEBUG, FmtSpan::NONE);
    let mut verdicts = [
        Verdict::RetryAfter(secs(3)),
        Verdict::Slot(secs(7200)),
        Verdict::Retry(Cause::Busy),
        Verdict::Stop,
    ]
    .into_iter();
    let mut redial = Redial::new(script([REFUSED]))
        .policy(waits())
        .seed(1)
        .classify(move |_| verdicts.next().unwrap())
        .observe(observe::Tracing::new().observer());
    redial.ready().await.unwrap_err();
    let lines = log.lines();
    let has = |part: &str| lines.iter().any(|line| line.contains(part));
    assert!(
        has("attempt=1 cause=\"retry_after\" asked=3s"),
        "{lines:#?}"
    );
    assert!(has("attempt=2 cause=\"slot\" asked=7200s"), "{lines:#?}");
    assert!(has("hint cut asked=7200s cap=3600s"), "{lines:#?}");
    assert!(has("attempt=3 cause=\"busy\""), "{lines:#?}");
    assert!(has("attempt=4 cause=\"stop\""), "{lines:#?}");
    assert!(has("gave up reason=trying again cannot help"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_with_sources_is_printed_with_them_if_it_can() {
    let (log, _guard) = subscribe(Level::INFO, FmtSpan::NONE);
    let mut redial = Redial::new(|| {
        let error = anyhow::anyhow!("the certificate has expired").context("cannot log in");
        ready(Err::<(), _>(error))
    })
    .policy(waits())
    .observe(observe::Tracing::new().observer());
    assert!(timeout(secs(1), redial.ready()).await.is_err());
    let lines = log.lines();
    assert!(
        lines[0].ends_with("error=\"cannot log in: the certificate has expired\""),
        "{lines:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_without_display_is_printed_by_a_closure() {
    struct Code(u16);

    let (log, _guard) = subscribe(Level::INFO, FmtSpan::NONE);
    let describe = |code: &Code| format!("code {}", code.0);
    let mut redial = Redial::new(|| ready(Err::<(), _>(Code(503))))
        .policy(waits())
        .observe(observe::Tracing::new().observer_with(describe));
    assert!(timeout(secs(1), redial.ready()).await.is_err());
    assert!(log.lines()[0].ends_with("error=\"code 503\""));
}

#[tokio::test(start_paused = true)]
async fn a_level_that_is_off_prints_no_error() {
    let (_log, _guard) = subscribe(Level::WARN, FmtSpan::NONE);
    let describe = |_: &io::Error| -> String { panic!("nobody reads it") };
    let mut redial = Redial::new(script([REFUSED]))
        .policy(waits())
        .max_attempts(2)
        .observe(observe::Tracing::new().observer_with(describe));
    redial.ready().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn closing_and_suspending_are_events_and_closing_ends_the_span() {
    let (log, _guard) = subscribe(Level::DEBUG, FmtSpan::CLOSE);
    let mut redial = Redial::new(script([Ok(()), REFUSED]))
        .policy(waits())
        .observe(observe::Tracing::new().observer());
    let handle = redial.handle();
    redial.ready().await.unwrap();
    handle.suspend();
    assert!(timeout(secs(1), redial.ready()).await.is_err());
    handle.resume();
    assert!(timeout(secs(2), redial.ready()).await.is_err());
    handle.close();
    redial.ready().await.unwrap_err();
    redial.ready().await.unwrap_err();
    let lines = log.lines();
    assert!(
        lines.contains(&"DEBUG redial: suspended".to_owned()),
        "{lines:#?}"
    );
    let closed = lines.iter().filter(|line| line.ends_with("redial: closed"));
    assert_eq!(closed.count(), 1, "{lines:#?}");
    assert_eq!(
        lines.last().unwrap(),
        "WARN outage{outage=1}: redial: close"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_token_says_where_the_token_comes_from() {
    let (log, _guard) = subscribe(Level::DEBUG, FmtSpan::NONE);
    let bucket = redial::TokenBucket::new(1, secs(60));
    bucket.try_take().unwrap();
    let mut redial = Redial::new(script([REFUSED]))
        .policy(waits())
        .budget(&bucket)
        .observe(observe::Tracing::new().observer());
    assert!(timeout(secs(3), redial.ready()).await.is_err());
    let lines = log.lines();
    let has = |part: &str| lines.iter().any(|line| line.ends_with(part));
    assert!(has("waiting attempt=2 wait=2s"), "{lines:#?}");
    assert!(
        has("waiting attempt=2 wait=58s budget=\"local\""),
        "{lines:#?}"
    );
}
