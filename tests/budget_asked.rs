//! What does a driver do while it asks a budget beyond its process?
#![cfg(feature = "tokio")]

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use redial::{
    AnyBudget, Budget, Event, Jitter, Redial, Reserved, Sequence, Source, Status, TokenBucket,
    WaitsFor,
};
use tokio::time::{Instant, Sleep, sleep, timeout};

const MILLI: Duration = Duration::from_millis(1);
/// The policy's wait.
const WAIT: Duration = Duration::from_millis(10);
/// The way to the budget and back.
const WAY: Duration = Duration::from_millis(100);
const PERIOD: Duration = Duration::from_secs(1);

/// A bucket of one token that is far away. What is given back stays near.
#[derive(Clone)]
struct Far(Arc<State>);

struct State {
    way: Option<Duration>,
    bucket: TokenBucket,
    asked: Mutex<usize>,
    near: Mutex<VecDeque<Reserved>>,
}

impl Far {
    fn new(way: impl Into<Option<Duration>>) -> Self {
        Self(Arc::new(State {
            way: way.into(),
            bucket: TokenBucket::new(1, PERIOD),
            asked: Mutex::new(0),
            near: Mutex::default(),
        }))
    }

    fn asked(&self) -> usize {
        *self.0.asked.lock().unwrap()
    }

    fn near(&self) -> usize {
        self.0.near.lock().unwrap().len()
    }
}

impl Budget for Far {
    type Reserve = Question;

    fn reserve(&self) -> Question {
        let far = self.clone();
        let near = far.0.near.lock().unwrap().pop_front();
        let answer = near.unwrap_or_else(|| {
            *far.0.asked.lock().unwrap() += 1;
            let wait = far.0.bucket.reserve().wait();
            Reserved::after(wait + far.0.way.unwrap_or_default(), Source::Shared)
        });
        let way = far.0.way.map(|way| Box::pin(sleep(way)));
        let answer = Some(answer);
        Question { far, way, answer }
    }

    fn give_back(&self, unused: Reserved) {
        self.0.near.lock().unwrap().push_back(unused);
    }
}

struct Question {
    far: Far,
    way: Option<Pin<Box<Sleep>>>,
    answer: Option<Reserved>,
}

impl Future for Question {
    type Output = Reserved;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reserved> {
        let arrived = self
            .way
            .as_mut()
            .is_some_and(|way| way.poll_unpin(cx).is_ready());
        if !arrived {
            return Poll::Pending;
        }
        Poll::Ready(self.answer.take().expect("polled after it was ready"))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(unread) = self.answer.take() {
            self.far.give_back(unread);
        }
    }
}

type Connector = fn() -> Ready<io::Result<()>>;

/// A client with a connection.
fn connected(budget: impl Into<AnyBudget>) -> Redial<Connector, Sequence> {
    let mut redial = Redial::new((|| ready(Ok(()))) as Connector)
        .policy(Sequence::new([WAIT]).jitter(Jitter::None))
        .budget(budget);
    redial.ready().now_or_never().unwrap().unwrap();
    redial
}

/// A client whose connection was lost.
fn lost(budget: impl Into<AnyBudget>) -> Redial<Connector, Sequence> {
    let mut redial = connected(budget);
    redial.lost();
    redial
}

fn far(budget: &Far) -> AnyBudget {
    AnyBudget::new(budget.clone())
}

/// How long the driver takes, from now.
async fn back(mut redial: Redial<Connector, Sequence>) -> Duration {
    let began = Instant::now();
    redial.ready().await.unwrap();
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_attempt_is_made_when_the_answer_and_its_instant_have_come() {
    let budget = Far::new(WAY);
    // Its token is there when the answer is.
    assert_eq!(back(lost(far(&budget))).await, WAIT + WAY);
    // Its token is due a period after the first one.
    assert_eq!(back(lost(far(&budget))).await, PERIOD);
    assert_eq!(budget.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_instant_is_not_later_if_the_answer_is_read_late() {
    let budget = Far::new(WAY);
    let _now = budget.reserve();
    let mut redial = lost(far(&budget));
    let began = Instant::now();
    let question = timeout(WAIT + MILLI, redial.ready()).await;
    assert!(question.is_err() && budget.asked() == 2);
    sleep(PERIOD / 2).await;
    redial.ready().await.unwrap();
    assert_eq!(began.elapsed(), WAIT + PERIOD - WAIT + WAY);
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_does_not_answer_costs_200_ms() {
    let budget = Far::new(None);
    assert_eq!(back(lost(far(&budget))).await, WAIT + 200 * MILLI);
    assert_eq!(budget.near(), 1, "the token goes back");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_panics_costs_no_connection() {
    struct Broken;

    impl Future for Broken {
        type Output = Reserved;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Reserved> {
            panic!("broken");
        }
    }

    impl Budget for Broken {
        type Reserve = Self;
        fn reserve(&self) -> Self {
            Self
        }
        fn give_back(&self, _: Reserved) {}
    }

    let mut redial = lost(AnyBudget::new(Broken));
    let attempt = std::panic::AssertUnwindSafe(redial.ready()).catch_unwind();
    assert!(attempt.await.is_err());
    assert_eq!(back(redial).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_press_ends_neither_the_question_nor_the_wait() {
    let budget = Far::new(WAY);
    let redial = lost(far(&budget)).press_interval(Duration::ZERO);
    let handle = redial.handle();
    let client = tokio::spawn(back(redial));
    sleep(WAIT + MILLI).await;
    handle.retry_now();
    assert_eq!(client.await.unwrap(), WAIT + WAY);
    assert_eq!(budget.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_the_question_and_the_next_client_takes_its_token() {
    let budget = Far::new(WAY);
    let _now = budget.reserve();
    let redial = lost(far(&budget));
    let handle = redial.handle();
    let paused = tokio::spawn(back(redial));
    sleep(WAIT + MILLI).await;
    handle.pause();
    sleep(MILLI).await;
    assert_eq!((budget.asked(), budget.near()), (2, 1));
    // Its own instant: a period after the first token.
    let began = Instant::now();
    back(lost(far(&budget))).await;
    assert_eq!(began.elapsed(), PERIOD + WAY - WAIT - 2 * MILLI);
    assert_eq!(budget.asked(), 2);
    // A client that resumes asks anew.
    handle.resume();
    paused.await.unwrap();
    assert_eq!(budget.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_dropped_leaves_its_answer_to_the_next() {
    let budget = Far::new(WAY);
    let _now = budget.reserve();
    // In the middle of the question; and while it waits for its instant.
    for after in [WAIT + MILLI, WAIT + WAY + MILLI] {
        let mut redial = lost(far(&budget));
        assert!(timeout(after, redial.ready()).await.is_err());
        assert_eq!(budget.near(), 0);
        drop(redial);
        assert_eq!((budget.asked(), budget.near()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn another_budget_is_asked_at_once() {
    let (slow, bucket) = (Far::new(None), TokenBucket::new(1, PERIOD));
    let mut redial = lost(far(&slow));
    assert!(timeout(WAIT + MILLI, redial.ready()).await.is_err());
    assert_eq!(back(redial.budget(&bucket)).await, Duration::ZERO);
    assert!(bucket.try_take().is_err() && slow.near() == 1);
}

#[tokio::test(start_paused = true)]
async fn the_status_and_the_event_say_what_the_wait_is_for() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let budget = Far::new(WAY);
    let _now = budget.reserve();
    let events = seen.clone();
    let mut redial = lost(far(&budget)).observe(move |event| {
        if let Event::Waiting { wait, source, .. } = event {
            events.lock().unwrap().push((*wait, *source));
        }
    });
    let handle = redial.handle();
    assert!(timeout(WAIT + MILLI, redial.ready()).await.is_err());
    assert!(matches!(
        handle.status(),
        Status::Waiting { until, by: WaitsFor::Budget, .. } if until.remaining() == 199 * MILLI
    ));
    redial.ready().await.unwrap();
    let token = (PERIOD - WAIT, Some(Source::Shared));
    assert_eq!(*seen.lock().unwrap(), [token]);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_is_asked_and_answers_in_one_poll() {
    let bucket = TokenBucket::new(1, PERIOD);
    let any = AnyBudget::from(&bucket);
    let reserved = any.reserve().now_or_never().unwrap();
    assert_eq!(
        (reserved.wait(), reserved.source()),
        (Duration::ZERO, Source::Local)
    );
    assert!(reserved.due().is_none());
    let reserved = Budget::reserve(&bucket).now_or_never().unwrap();
    assert_eq!(reserved.due().unwrap().remaining(), PERIOD);
    any.give_back(reserved);
    assert_eq!(bucket.reserve().wait(), PERIOD);
    // And so does the driver.
    let mut redial = lost(TokenBucket::new(1, PERIOD));
    sleep(WAIT).await;
    assert!(redial.ready().now_or_never().is_some());
}

// ---- beside a connection

/// A client that replaces its connection.
fn renewing(budget: impl Into<AnyBudget>) -> Redial<Connector, Sequence> {
    let mut redial = connected(budget);
    redial.renew_now();
    redial
}

/// How long the renewal takes, from now.
async fn renewed(mut redial: Redial<Connector, Sequence>) -> Duration {
    let began = Instant::now();
    assert!(redial.renewed().await.is_some());
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_made_when_the_answer_and_its_instant_have_come() {
    let budget = Far::new(WAY);
    assert_eq!(renewed(renewing(far(&budget))).await, WAY);
    // Its token is due a period after the first one.
    assert_eq!(renewed(renewing(far(&budget))).await, PERIOD);
    assert_eq!((budget.asked(), budget.near()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_does_not_answer_costs_a_renewal_200_ms() {
    let budget = Far::new(None);
    let mut redial = renewing(far(&budget));
    let began = Instant::now();
    let in_time = timeout(PERIOD, redial.renewed()).await;
    in_time.expect("the budget does not answer").unwrap();
    assert_eq!(began.elapsed(), 200 * MILLI);
    assert_eq!(budget.near(), 1, "the token goes back");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_polled_late_gives_its_token_back_and_asks_anew() {
    for late in [PERIOD, PERIOD + MILLI] {
        let budget = Far::new(WAY);
        let _now = budget.reserve();
        let mut redial = renewing(far(&budget));
        // The answer has come, and the token is due a period after the first one.
        assert!(timeout(WAY, redial.renewed()).await.is_err());
        sleep(PERIOD + late).await;
        let is_late = late > PERIOD;
        let anew = if is_late { WAY } else { Duration::ZERO };
        assert_eq!(renewed(redial).await, anew);
        // What was given back is near, and nobody else has taken it.
        assert_eq!((budget.asked(), budget.near()), (2, 0));
    }
}
