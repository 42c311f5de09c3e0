//! Do drivers that share a budget come back as fast as it allows, and no faster?

use std::time::Duration;

use futures::future::join_all;
use redial::test::{Script, Scripted, paused};
use redial::{Jitter, Redial, Sequence, TokenBucket};
use tokio::time::{Instant, sleep, timeout};

const PERIOD: Duration = Duration::from_secs(5);

/// A client whose first attempt is refused. It waits for a millisecond, and then for
/// its token.
fn refused_once(bucket: &TokenBucket) -> Redial<Scripted<()>, Sequence> {
    let (connector, _) = Script::new().refuse().connect().connections(drop);
    Redial::new(connector)
        .policy(Sequence::new([Duration::from_millis(1)]).jitter(Jitter::None))
        .budget(bucket)
}

/// Each task polls its driver for half a second, and is then busy for three: its
/// token mostly comes due while nobody polls.
#[test]
fn a_client_that_is_polled_late_keeps_its_token_for_a_period() {
    const CLIENTS: usize = 10;
    let back = paused(async {
        let bucket = TokenBucket::new(1, PERIOD);
        let began = Instant::now();
        let clients = (0..CLIENTS).map(|client| {
            let mut redial = refused_once(&bucket);
            async move {
                sleep(Duration::from_millis(client as u64)).await;
                while timeout(Duration::from_millis(500), redial.ready())
                    .await
                    .is_err()
                {
                    sleep(Duration::from_secs(3)).await;
                }
                began.elapsed()
            }
        });
        let mut back = join_all(clients).await;
        back.sort_unstable();
        back
    });
    // One token is there at once, and nine more are earned; the last client may be
    // busy when its token comes due.
    let last = *back.last().unwrap();
    assert!(last >= 9 * PERIOD, "faster than the bucket: {back:?}");
    assert!(
        last <= 9 * PERIOD + Duration::from_millis(3_600),
        "{back:?}"
    );
}

/// The token comes due while nobody polls the driver, and the tokens of the next
/// five seconds are taken.
#[test]
fn an_attempt_keeps_its_token_for_a_second_if_the_period_is_shorter() {
    let millis = Duration::from_millis;
    let period = millis(100);
    for (late, keeps) in [(900, true), (1_100, false)] {
        let waited = paused(async {
            let bucket = TokenBucket::new(1, period);
            bucket.try_take().unwrap();
            let mut redial = refused_once(&bucket);
            let reserving = timeout(millis(50), redial.ready()).await;
            assert!(reserving.is_err(), "its token is due after a period");
            let others: Vec<_> = (0..50).map(|_| bucket.reserve()).collect();
            sleep(period - millis(50) + millis(late)).await;
            let polled = Instant::now();
            redial.ready().await.unwrap();
            drop(others);
            polled.elapsed()
        });
        assert_eq!(waited.is_zero(), keeps, "{late} ms late: {waited:?}");
    }
}
