//! What does an exporter of metrics see of a driver?
#![cfg(feature = "metrics")]

use std::future::{pending, ready};
use std::io::{self, ErrorKind};
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use redial::{Cause, Event, Jitter, Redial, Sequence, Verdict, observe};
use tokio::time::{sleep, timeout};

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets(&[1.0, 4.0, 16.0])
        .unwrap()
        .build_recorder()
}

/// What Prometheus would read, without comments, sorted.
fn page(recorder: &PrometheusRecorder) -> Vec<String> {
    let handle = recorder.handle();
    handle.run_upkeep();
    let page = handle.render();
    let lines = page
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The value of a series, as text; 0 if there is none.
fn value(recorder: &PrometheusRecorder, series: &str) -> String {
    let lines = page(recorder);
    let found = lines
        .iter()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or("0").to_owned()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Waits of 2 s.
fn waits() -> Sequence {
    Sequence::new([secs(2)]).jitter(Jitter::None)
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_counted_and_measured() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut attempt = 0;
    let mut redial = Redial::new(move || {
        attempt += 1;
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        ready(if attempt == 2 { Err(refused) } else { Ok(()) })
    })
    .policy(waits())
    .observe(observe::Metrics::new().label("server", "eu").observer());
    redial.ready().await.unwrap();
    sleep(secs(100)).await;
    redial.lost();
    redial.ready().await.unwrap();
    assert_eq!(
        page(&recorder),
        [
            "redial_attempts_total{server=\"eu\",redial_outcome=\"connected\"} 2",
            "redial_attempts_total{server=\"eu\",redial_outcome=\"down\"} 1",
            "redial_connection_count{server=\"eu\"} 1",
            "redial_outage_duration_seconds_bucket{server=\"eu\",redial_outcome=\"connected\",le=\"+Inf\"} 1",
            "redial_outage_duration_seconds_bucket{server=\"eu\",redial_outcome=\"connected\",le=\"1\"} 0",
            "redial_outage_duration_seconds_bucket{server=\"eu\",redial_outcome=\"connected\",le=\"16\"} 1",
            "redial_outage_duration_seconds_bucket{server=\"eu\",redial_outcome=\"connected\",le=\"4\"} 1",
            "redial_outage_duration_seconds_count{server=\"eu\",redial_outcome=\"connected\"} 1",
            "redial_outage_duration_seconds_sum{server=\"eu\",redial_outcome=\"connected\"} 4",
            "redial_outage_time_to_first_attempt_seconds_bucket{server=\"eu\",le=\"+Inf\"} 1",
            "redial_outage_time_to_first_attempt_seconds_bucket{server=\"eu\",le=\"1\"} 0",
            "redial_outage_time_to_first_attempt_seconds_bucket{server=\"eu\",le=\"16\"} 1",
            "redial_outage_time_to_first_attempt_seconds_bucket{server=\"eu\",le=\"4\"} 1",
            "redial_outage_time_to_first_attempt_seconds_count{server=\"eu\"} 1",
            "redial_outage_time_to_first_attempt_seconds_sum{server=\"eu\"} 2",
            "redial_outages_total{server=\"eu\"} 1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_counters_are_zero_before_the_first_outage() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut redial =
        Redial::new(pending::<io::Result<()>>).observe(observe::Metrics::new().observer());
    assert!(timeout(secs(1), redial.ready()).await.is_err());
    assert_eq!(
        page(&recorder),
        ["redial_connection_count 0", "redial_outages_total 0"]
    );
}

#[tokio::test(start_paused = true)]
async fn every_verdict_has_a_label() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut verdicts = [
        Verdict::Retry(Cause::Down),
        Verdict::Retry(Cause::Busy),
        Verdict::Retry(Cause::Stalled),
        Verdict::RetryAfter(secs(3)),
        Verdict::Slot(secs(3)),
        Verdict::Stop,
    ]
    .into_iter();
    let mut redial = Redial::new(|| ready(Err::<(), _>(())))
        .policy(waits())
        .classify(move |()| verdicts.next().unwrap())
        .observe(observe::Metrics::new().observer());
    redial.ready().await.unwrap_err();
    for outcome in ["down", "busy", "stalled", "retry_after", "slot", "stop"] {
        let series = format!("redial_attempts_total{{redial_outcome=\"{outcome}\"}}");
        assert_eq!(value(&recorder, &series), "1", "{outcome}");
    }
    assert_eq!(
        value(
            &recorder,
            "redial_give_ups_total{redial_reason=\"stopped\"}"
        ),
        "1"
    );
    let ended = "redial_outage_duration_seconds_count{redial_outcome=\"gave_up\"}";
    assert_eq!(value(&recorder, ended), "1");
    assert_eq!(value(&recorder, "redial_outages_total"), "1");
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_goes_on_counts_once_and_all_of_its_time() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())))
        .policy(waits())
        .observe(observe::Metrics::new().observer());
    redial.ready().await.unwrap();
    sleep(secs(100)).await;
    for _ in 0..3 {
        redial.lost();
        redial.ready().await.unwrap();
        sleep(secs(3)).await; // too short to be stable
    }
    let duration =
        |part| format!("redial_outage_duration_seconds_{part}{{redial_outcome=\"connected\"}}");
    assert_eq!(value(&recorder, "redial_outages_total"), "1");
    assert_eq!(value(&recorder, &duration("count")), "3");
    assert_eq!(value(&recorder, &duration("sum")), "6");
    let first = "redial_outage_time_to_first_attempt_seconds_count";
    assert_eq!(value(&recorder, first), "1");

    sleep(secs(100)).await;
    redial.lost();
    redial.ready().await.unwrap();
    assert_eq!(value(&recorder, "redial_outages_total"), "2");
    assert_eq!(value(&recorder, first), "2");
}

#[tokio::test(start_paused = true)]
async fn the_gauge_counts_the_connections_of_all_drivers() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let up = || value(&recorder, "redial_connection_count");
    let driver = || {
        Redial::new(|| ready(Ok::<_, io::Error>(())))
            .policy(waits())
            .observe(observe::Metrics::new().observer())
    };
    let (mut one, mut two, mut three) = (driver(), driver(), driver());
    one.ready().await.unwrap();
    two.ready().await.unwrap();
    three.ready().await.unwrap();
    assert_eq!(up(), "3");
    one.lost();
    assert_eq!(up(), "2");
    one.ready().await.unwrap();
    assert_eq!(up(), "3");

    drop(one);
    assert_eq!(up(), "2", "a driver that is dropped has no connection");
    two.handle().close();
    two.ready().await.unwrap_err();
    assert_eq!(up(), "1", "nor has one that is closed");
    three.handle().suspend();
    assert!(timeout(secs(1), three.ready()).await.is_err());
    assert_eq!(up(), "0", "nor has one that is suspended");
    assert_eq!(
        value(&recorder, "redial_outages_total"),
        "1",
        "only `lost` is an outage"
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_which_the_driver_is_dropped_is_measured() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut redial = Redial::new(pending::<io::Result<()>>)
        .policy(waits())
        .attempt_timeout(secs(5))
        .max_attempts(9)
        .observe(observe::Metrics::new().observer());
    // The first attempt stalls, and the outage counts from its beginning.
    assert!(timeout(secs(6), redial.ready()).await.is_err());
    drop(redial);
    let series = "redial_outage_duration_seconds_sum{redial_outcome=\"closed\"}";
    assert_eq!(value(&recorder, series), "6");
    assert_eq!(
        value(
            &recorder,
            "redial_attempts_total{redial_outcome=\"stalled\"}"
        ),
        "1"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restored_outage_is_counted() {
    let refused = || ready(Err::<(), _>(io::Error::from(ErrorKind::ConnectionRefused)));
    let mut before = Redial::new(refused).policy(waits());
    assert!(timeout(secs(3), before.ready()).await.is_err());
    let saved = before.save().unwrap();

    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())))
        .policy(waits())
        .observe(observe::Metrics::new().observer())
        .restore(&saved, secs(0));
    redial.ready().await.unwrap();
    assert_eq!(value(&recorder, "redial_outages_total"), "1");
    // The rest of the wait: the part that this process has seen.
    let series = "redial_outage_duration_seconds_sum{redial_outcome=\"connected\"}";
    assert_eq!(value(&recorder, series), "1");

    // Restoring drops a connection.
    let mut redial = redial.restore(&saved, secs(0));
    redial.ready().await.unwrap();
    assert_eq!(value(&recorder, "redial_connection_count"), "1");
    assert_eq!(value(&recorder, "redial_outages_total"), "2");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_an_attempt_and_no_outage() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut attempt = 0;
    let mut redial = Redial::new(move || {
        attempt += 1;
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        ready(if attempt == 2 { Err(refused) } else { Ok(()) })
    })
    .policy(waits())
    .observe(observe::Metrics::new().observer());
    redial.ready().await.unwrap();
    redial.handle().renew_now();
    redial.renewed().await.unwrap();
    for (series, expected) in [
        ("redial_attempts_total{redial_outcome=\"down\"}", "1"),
        ("redial_attempts_total{redial_outcome=\"connected\"}", "2"),
        ("redial_outages_total", "0"),
        ("redial_connection_count", "1"),
    ] {
        assert_eq!(value(&recorder, series), expected, "{series}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_may_come_later_than_the_observer() {
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())))
        .policy(waits())
        .observe(observe::Metrics::new().observer());
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    redial.ready().await.unwrap();
    assert_eq!(value(&recorder, "redial_connection_count"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_loss_says_whether_an_outage_goes_on_and_closing_is_the_last_event() {
    use std::sync::{Arc, Mutex};

    let log = Arc::new(Mutex::new(Vec::new()));
    let to = log.clone();
    let mut redial = Redial::new(|| ready(Ok::<_, io::Error>(())))
        .policy(waits())
        .observe(move |event| {
            let entry = match event {
                Event::Lost { attempts, .. } => format!("lost {attempts}"),
                Event::Closed => "closed".to_owned(),
                _ => return,
            };
            to.lock().unwrap().push(entry);
        });
    redial.ready().await.unwrap();
    for up in [0, 0, 9, 10, 0] {
        redial.lost();
        redial.ready().await.unwrap();
        sleep(secs(up)).await;
    }
    redial.healed();
    redial.lost();
    redial.handle().close();
    redial.ready().await.unwrap_err();
    redial.ready().await.unwrap_err();
    let log = log.lock().unwrap();
    assert_eq!(
        *log,
        [
            "lost 0", "lost 1", "lost 2", "lost 3", "lost 0", "lost 0", "closed"
        ]
    );
}
