//! Does each code of a protocol get an answer, and does an unknown one never stop a
//! client?

use std::time::Duration;

use proptest::prelude::*;
use redial::codes::{
    Advice, StopOnRepeat, amqp, grpc, http, http2, imap, irc, mqtt, mysql, nats, postgres, redis,
    services, smtp, sse, tls, websocket, xmpp,
};
use redial::{Next, Outage, Stratified, Verdict};

/// All answers of the tables whose codes are texts.
fn of_text(text: &str) -> Vec<Option<Advice>> {
    vec![
        Some(postgres::fatal(text, text)),
        postgres::error(text),
        redis::error(text),
        redis::error(&format!("ERR {text}")),
        nats::error(text),
        Some(irc::error(text)),
        Some(imap::login_no(text)),
        Some(xmpp::stream_error(text)),
        Some(xmpp::sasl_failure(text)),
        xmpp::bind_error(text),
        Some(services::slack_disconnect(text)),
        Some(services::slack_open(text)),
        Some(services::socket_io_disconnect(text)),
        services::kraken(text),
        services::twitch_irc_notice(text),
        mysql::error(1, text),
        mysql::mariadb(1, text),
        amqp::connection_close(599, text),
    ]
}

/// All answers of the tables whose codes are numbers.
fn of_number(code: u32, text: &str) -> Vec<Option<Advice>> {
    let [low, ..] = code.to_le_bytes();
    let short = code as u16;
    vec![
        http::status(short),
        http::upgrade(short),
        http::status_and_wait(short, Some(Duration::from_secs(u64::from(code)))),
        http::response(short, |_| None),
        sse::response(short, Some(text)),
        Some(websocket::close(short)),
        Some(websocket::registered(short)),
        Some(tls::alert(low)),
        tls::openssl(code as i32).map(Advice::from),
        Some(grpc::status(code as i32)),
        Some(grpc::local(code as i32)),
        grpc::http_status(short),
        Some(http2::error(code)),
        Some(http2::http3_error(u64::from(code))),
        mysql::error(short, text),
        mysql::mariadb(short, text),
        mqtt::connack3(low),
        mqtt::connack5(low, Some(text)),
        Some(mqtt::disconnect5(low, Some(text))),
        amqp::connection_close(short, text),
        smtp::greeting(short),
        smtp::login(short),
        smtp::mail(short),
        irc::numeric(short, text),
        Some(services::discord(short)),
        Some(services::discord_voice(short)),
        Some(services::twitch(short)),
        Some(services::graphql_ws(short)),
        Some(services::engine_io(short)),
        Some(services::centrifugo(short)),
        Some(services::pusher(short)),
    ]
}

fn is_stop(advice: Option<Advice>) -> bool {
    advice.is_some_and(|advice| advice.verdict() == Verdict::Stop)
}

proptest! {
    #[test]
    fn each_number_gets_an_answer(code: u32, text: String) {
        for advice in of_number(code, &text).into_iter().flatten() {
            // A stop says who must act, and nothing else does.
            prop_assert_eq!(advice.actor().is_some(), is_stop(Some(advice)));
            prop_assert!(!advice.needs_repeat() || is_stop(Some(advice)));
        }
    }

    /// No table knows a word with a mark that no protocol writes.
    #[test]
    fn an_unknown_text_never_stops_a_client(text: String) {
        for advice in of_text(&format!("\u{1}{text}").replace(' ', "_")) {
            prop_assert!(!is_stop(advice), "{:?}", advice);
        }
    }

    #[test]
    fn each_text_gets_an_answer(text: String) {
        of_text(&text);
    }

    /// Larger than all codes that the tables know.
    #[test]
    fn an_unknown_number_never_stops_a_client(code in 20_000_u32..) {
        prop_assert!(!is_stop(Some(http2::error(code))));
        prop_assert!(!is_stop(Some(grpc::status(code as i32))));
        let short = (code as u16).max(20_000);
        for advice in [
            http::status(short),
            Some(websocket::close(short)),
            mysql::error(short, ""),
            amqp::connection_close(short, ""),
            smtp::login(short),
            irc::numeric(short, ""),
            Some(services::centrifugo(short)),
            Some(services::pusher(short)),
        ] {
            prop_assert!(!is_stop(advice), "{short}");
        }
    }

    /// Whatever a server writes, a client waits no longer than its own settings allow.
    #[test]
    fn a_wait_of_a_server_never_goes_beyond_the_cap(
        value in prop_oneof![any::<String>(), "[0-9]{1,40}(\\.[0-9]{0,20})?", "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{0,9} GMT"],
        date in prop_oneof![any::<String>(), Just("Sun, 06 Nov 1994 08:49:37 GMT".to_owned())],
        age in "[0-9]{0,25}",
    ) {
        let fields = |name: &str| match name {
            "date" => Some(date.as_str()),
            "age" => Some(age.as_str()),
            _ => Some(value.as_str()),
        };
        for wait in [
            http::wait(429, fields),
            http::retry_after(&value, Some(&date)),
            http::rate_limit_reset(&value, Some(&date)),
            http::rate_limit(&value),
            http::retry_after_at(&value, Duration::from_secs(784_111_777)),
        ].into_iter().flatten() {
            prop_assert!(!wait.is_zero());
            let mut outage = Outage::from_seed(Stratified::default(), 1);
            let _ = outage.lost(Duration::ZERO);
            let next = outage.failed(Duration::ZERO, Advice::after(wait).verdict());
            let Next::Wait(wait) = next else { panic!("{next:?}") };
            prop_assert!(wait <= 2 * Duration::from_secs(3600), "{wait:?}");
        }
        http::duration(&value);
        sse::retry(&value);
        grpc::pushback(&value);
    }

    /// A stop is never given before its time has passed, and always after.
    #[test]
    fn a_repeated_stop_is_believed_in_time(
        gaps in prop::collection::vec(0_u64..40_000, 1..30),
        times in 1_u8..5,
        over in 0_u64..200_000,
    ) {
        let advice = Advice::stop(redial::codes::Actor::Here)
            .if_repeated(times, Duration::from_millis(over));
        let mut stops = StopOnRepeat::restored();
        let mut now = 0;
        for (index, gap) in gaps.iter().enumerate() {
            let verdict = stops.judge(advice, Duration::from_millis(now));
            let is_due = index + 1 >= usize::from(times) && now >= over;
            prop_assert_eq!(verdict == Verdict::Stop, is_due, "{} at {}", index, now);
            now += gap;
        }
    }
}

#[cfg(feature = "tokio")]
mod with_a_driver {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use redial::codes::{StopOnRepeat, http};
    use redial::{Event, Redial, Verdict};
    use tokio::time::Instant;

    /// What the tests' server does: it accepts the first attempts, and then answers with
    /// this status.
    struct Server {
        accepts: u32,
        then: u16,
    }

    /// How many attempts were refused before the client stopped, and how long it took.
    async fn refused(server: Server) -> (u32, Duration) {
        let begun = Instant::now();
        let stops = Arc::new(Mutex::new(StopOnRepeat::new()));
        let refused = Rc::new(Cell::new(0));
        let count = Rc::clone(&refused);
        let attempts = Cell::new(0);
        let mut redial = Redial::new(move || {
            attempts.set(attempts.get() + 1);
            let is_refused = attempts.get() > server.accepts;
            count.set(count.get() + u32::from(is_refused));
            let answer = if is_refused { Err(server.then) } else { Ok(()) };
            async move { answer }
        })
        .observe({
            let stops = Arc::clone(&stops);
            move |event| {
                if let Event::Connected { .. } = event {
                    stops.lock().unwrap().connected(begun.elapsed());
                }
            }
        })
        .classify(move |status| match http::upgrade(*status) {
            Some(advice) => stops.lock().unwrap().judge(advice, begun.elapsed()),
            None => Verdict::default(),
        });
        let mut since = begun;
        while redial.ready().await.is_ok() {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            redial.lost();
            since = Instant::now();
        }
        (refused.get(), since.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_was_right_before_is_tried_once_more_after_half_a_minute() {
        let (attempts, took) = refused(Server {
            accepts: 2,
            then: 401,
        })
        .await;
        assert_eq!(attempts, 2);
        assert!(took >= Duration::from_secs(30), "{took:?}");
        assert!(took <= Duration::from_secs(62), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_that_a_deploy_forgot_is_given_two_minutes() {
        let (attempts, took) = refused(Server {
            accepts: 1,
            then: 404,
        })
        .await;
        assert!(attempts >= 3);
        assert!(took >= Duration::from_secs(120), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_connect_that_is_refused_stops_at_once() {
        let (attempts, took) = refused(Server {
            accepts: 0,
            then: 401,
        })
        .await;
        assert_eq!((attempts, took), (1, Duration::ZERO));
    }
}
