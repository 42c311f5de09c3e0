//! Do tower's services, retries and budgets work with redial?
#![cfg(feature = "tower")]

use std::future::{Ready, poll_fn, ready};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use redial::tower::{ServiceError, Waits, make};
use redial::{Connect, Exponential, Jitter, Policy, Redial, Sequence, TokenBucket, policy};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tower::buffer::Buffer;
use tower::retry::backoff::{Backoff, MakeBackoff};
use tower::retry::budget::Budget;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Waits of 2 s.
fn waits() -> Sequence {
    Sequence::new([secs(2)]).jitter(Jitter::None)
}

/// A server, which can be away.
#[derive(Clone, Default)]
struct Server(Arc<State>);

#[derive(Default)]
struct State {
    is_away: AtomicBool,
    attempts: AtomicU32,
    /// The connection that is alive.
    generation: AtomicU32,
}

/// A connection: answers with the request and its own number.
#[derive(Clone)]
struct Client {
    server: Server,
    number: u32,
}

impl Server {
    fn connect(&self) -> io::Result<Client> {
        self.0.attempts.fetch_add(1, SeqCst);
        if self.0.is_away.load(SeqCst) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let (server, number) = (self.clone(), self.0.generation.fetch_add(1, SeqCst) + 1);
        Ok(Client { server, number })
    }

    fn connector(&self) -> impl FnMut() -> Ready<io::Result<Client>> + use<> {
        let server = self.clone();
        move || ready(server.connect())
    }

    /// Ends all connections.
    fn restart(&self) {
        self.0.generation.fetch_add(1, SeqCst);
    }

    fn set_away(&self, is_away: bool) {
        self.0.is_away.store(is_away, SeqCst);
        self.restart();
    }

    fn attempts(&self) -> u32 {
        self.0.attempts.load(SeqCst)
    }
}

impl Service<&'static str> for Client {
    type Response = (&'static str, u32);
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_alive = self.server.0.generation.load(SeqCst) == self.number;
        let gone = || Err(ErrorKind::ConnectionReset.into());
        Poll::Ready(if is_alive { Ok(()) } else { gone() })
    }

    fn call(&mut self, request: &'static str) -> Self::Future {
        ready(match request {
            "fail" => Err(ErrorKind::InvalidData.into()),
            _ => Ok((request, self.number)),
        })
    }
}

// ---- the service

#[tokio::test(start_paused = true)]
async fn a_service_reconnects_when_its_connection_says_that_it_is_gone() {
    let server = Server::default();
    let mut service = Redial::new(server.connector())
        .policy(waits())
        .into_service();
    let answer = service.ready().await.unwrap().call("a").await.unwrap();
    assert_eq!(answer, ("a", 1));
    server.restart();
    let start = Instant::now();
    let answer = service.ready().await.unwrap().call("b").await.unwrap();
    assert_eq!(answer, ("b", 3));
    assert_eq!(start.elapsed(), secs(2), "after a wait of the policy");
    let answer = service.ready().await.unwrap().call("c").await.unwrap();
    assert_eq!(answer, ("c", 3));
    assert_eq!(server.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_wait_for_one_attempt() {
    let server = Server::default();
    let mut service = Redial::new(server.connector())
        .policy(waits())
        .into_service();
    service.ready().await.unwrap();
    server.set_away(true);
    let mut callers = JoinSet::new();
    for _ in 0..1000 {
        let service = service.clone();
        callers.spawn(service.oneshot("hello"));
    }
    let begun = server.attempts();
    assert!(timeout(secs(21), callers.join_next()).await.is_err());
    assert_eq!(
        server.attempts() - begun,
        10,
        "one each 2 s, for all of them"
    );
    server.set_away(false);
    while let Some(answer) = callers.join_next().await {
        assert_eq!(answer.unwrap().unwrap().0, "hello");
    }
    assert_eq!(server.attempts() - begun, 11);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_response_ends_no_connection() {
    let server = Server::default();
    let mut service = Redial::new(server.connector()).into_service();
    let error = service
        .ready()
        .await
        .unwrap()
        .call("fail")
        .await
        .unwrap_err();
    assert!(matches!(&error, ServiceError::Call(error) if error.kind() == ErrorKind::InvalidData));
    assert_eq!(
        error.to_string(),
        io::Error::from(ErrorKind::InvalidData).to_string()
    );
    let answer = service.ready().await.unwrap().call("a").await.unwrap();
    assert_eq!(answer, ("a", 1));
    assert_eq!(server.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_driver_gave_up_is_not_ready_and_may_be_asked_again() {
    let server = Server::default();
    server.set_away(true);
    let mut service = Redial::new(server.connector())
        .policy(waits())
        .max_attempts(3)
        .into_service();
    for total in [3, 6] {
        let error = service.ready().await.err().unwrap();
        assert!(matches!(&error, ServiceError::Connect(error) if error.is_exhausted()));
        assert_eq!(server.attempts(), total);
    }
    server.set_away(false);
    service.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_ready_before_a_reconnect_uses_the_new_connection() {
    let server = Server::default();
    let mut one = Redial::new(server.connector())
        .policy(waits())
        .into_service();
    let mut other = one.clone();
    one.ready().await.unwrap();
    server.restart();
    other.ready().await.unwrap();
    let answer = one.ready().await.unwrap().call("a").await.unwrap();
    assert_eq!(answer, ("a", 3));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "poll_ready is called before each call")]
async fn a_call_to_a_service_that_is_not_ready_panics() {
    let mut service = Redial::new(Server::default().connector()).into_service();
    drop(service.call("a"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_no_clone_goes_into_a_buffer() {
    struct Alone(Client);

    impl Service<&'static str> for Alone {
        type Response = (&'static str, u32);
        type Error = io::Error;
        type Future = Ready<io::Result<Self::Response>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.0.poll_ready(cx)
        }

        fn call(&mut self, request: &'static str) -> Self::Future {
            self.0.call(request)
        }
    }

    let server = Server::default();
    let connect = server.connector();
    let connect = connect.then(|client| ready(io::Result::Ok(Buffer::new(Alone(client), 8))));
    let mut service = Redial::new(connect).policy(waits()).into_service();
    let answer = service.ready().await.unwrap().call("a").await.unwrap();
    assert_eq!(answer, ("a", 1));
    server.restart();
    // The buffer notices with the next request, which fails.
    service.ready().await.unwrap().call("b").await.unwrap_err();
    let answer = service.ready().await.unwrap().call("c").await.unwrap();
    assert_eq!(answer, ("c", 3));
}

#[tokio::test(start_paused = true)]
async fn layers_and_buffers_of_tower_go_around_it() {
    let server = Server::default();
    let service = Redial::new(server.connector())
        .policy(waits())
        .into_service();
    let mut service = ServiceBuilder::new()
        .buffer(16)
        .map_request(|n: u32| if n == 0 { "zero" } else { "more" })
        .service(service);
    let answer = service.ready().await.unwrap().call(0).await.unwrap();
    assert_eq!(answer, ("zero", 1));
    server.restart();
    let answer = service.ready().await.unwrap().call(1).await.unwrap();
    assert_eq!(answer, ("more", 3));
}

// ---- MakeService as a connector

#[tokio::test(start_paused = true)]
async fn a_make_service_connects_with_a_clone_of_its_target_once_it_is_ready() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let mut attempt = 0;
    let service = service_fn(move |target: String| {
        attempt += 1;
        log.lock().unwrap().push(format!("{target} {attempt}"));
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        ready(if attempt == 1 {
            Err(refused)
        } else {
            Ok(attempt)
        })
    });
    // It takes one call at a time.
    let service = ServiceBuilder::new().concurrency_limit_of_one(service);
    let mut redial = Redial::new(make(service, "chat.example".to_owned())).policy(waits());
    assert_eq!(*redial.ready().await.unwrap(), 2);
    assert_eq!(*seen.lock().unwrap(), ["chat.example 1", "chat.example 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_make_service_becomes_a_service_that_reconnects() {
    let server = Server::default();
    let maker = server.clone();
    let maker = service_fn(move |()| ready(maker.connect()));
    let mut service = Redial::new(make(maker, ())).policy(waits()).into_service();
    for number in [1, 3, 5] {
        let answer = service.ready().await.unwrap().call("a").await.unwrap();
        assert_eq!(answer, ("a", number));
        server.restart();
    }
}

#[tokio::test(start_paused = true)]
async fn a_make_service_that_is_never_ready_is_an_attempt_that_stalls() {
    #[derive(Debug)]
    struct Never;

    impl Service<()> for Never {
        type Response = ();
        type Error = io::Error;
        type Future = Ready<io::Result<()>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("it is not ready")
        }
    }

    let mut redial = Redial::new(make(Never, ()))
        .attempt_timeout(secs(5))
        .max_attempts(1);
    let start = Instant::now();
    redial.ready().await.unwrap_err();
    assert_eq!(start.elapsed(), secs(5));
}

/// `concurrency_limit` without its feature.
trait OneAtATime {
    fn concurrency_limit_of_one<S>(self, service: S) -> OneCall<S>;
}

impl<L> OneAtATime for ServiceBuilder<L> {
    fn concurrency_limit_of_one<S>(self, service: S) -> OneCall<S> {
        OneCall {
            service,
            is_ready: false,
        }
    }
}

/// Panics if it is called before it was ready, as the contract of tower allows.
struct OneCall<S> {
    service: S,
    is_ready: bool,
}

impl<S: Service<R>, R> Service<R> for OneCall<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.is_ready = true;
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        assert!(std::mem::take(&mut self.is_ready), "not ready");
        self.service.call(request)
    }
}

// ---- retries

/// Retries errors, at most so often, with these waits and this budget.
#[derive(Clone)]
struct Retries<B> {
    left: u32,
    backoff: B,
    budget: Arc<TokenBucket>,
}

impl<B: Backoff> tower::retry::Policy<u32, u32, ()> for Retries<B> {
    type Future = B::Future;

    fn retry(&mut self, _: &mut u32, result: &mut Result<u32, ()>) -> Option<B::Future> {
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.budget.withdraw().then(|| self.backoff.next_backoff())
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_the_backoff_of_towers_retries() {
    let waits = Exponential::new(secs(1), secs(8)).jitter(Jitter::None);
    let policy = Retries {
        left: 5,
        backoff: Waits::new(waits).make_backoff(),
        budget: Arc::new(TokenBucket::new(10, secs(1000))),
    };
    let budget = policy.budget.clone();
    let start = Instant::now();
    let failing = service_fn(|_: u32| ready(Err::<u32, ()>(())));
    let service = ServiceBuilder::new().retry(policy).service(failing);
    service.clone().oneshot(7).await.unwrap_err();
    assert_eq!(start.elapsed(), secs(1 + 2 + 4 + 8 + 8));
    // The next request begins with the first wait, and finds fewer tokens.
    service.clone().oneshot(7).await.unwrap_err();
    assert_eq!(start.elapsed(), 2 * secs(23));
    service.oneshot(7).await.unwrap_err();
    assert_eq!(start.elapsed(), 2 * secs(23), "no token, no retry");
    assert!(!budget.withdraw());
}

/// The length of the next wait.
async fn next(backoff: &mut impl Backoff) -> Duration {
    let start = Instant::now();
    backoff.next_backoff().await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn two_requests_never_wait_in_lockstep() {
    let mut waits = Waits::new(Exponential::new(secs(1000), secs(8000)));
    let (mut one, mut other) = (waits.make_backoff(), waits.make_backoff());
    let mut clone = one.clone();
    // Each draw is one of a million milliseconds, so two agree once in a million.
    let (one, other, clone) = (
        [next(&mut one).await, next(&mut one).await],
        [next(&mut other).await, next(&mut other).await],
        [next(&mut clone).await, next(&mut clone).await],
    );
    assert!(one != other && one != clone && other != clone);
}

#[tokio::test(start_paused = true)]
async fn the_last_wait_of_a_policy_that_gives_up_repeats() {
    let mut backoff = Waits::new(policy::from_fn(|_| [secs(1), secs(3)])).make_backoff();
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(next(&mut backoff).await.as_secs());
    }
    assert_eq!(waits, [1, 3, 3, 3]);
}

#[tokio::test(start_paused = true)]
async fn towers_own_backoff_drives_redial() {
    use tower::retry::backoff::ExponentialBackoffMaker;
    use tower::util::rng::HasherRng;

    // Its waits are futures, so its lengths are measured first.
    let mut maker =
        ExponentialBackoffMaker::new(secs(1), secs(8), 0.0, HasherRng::default()).unwrap();
    let mut backoff = maker.make_backoff();
    let mut waits = Vec::new();
    for _ in 0..5 {
        waits.push(next(&mut backoff).await);
    }
    let policy = policy::from_fn(move |_| waits.clone());
    let expected: Vec<_> = policy.delays_from_seed(1).collect();
    let mut redial =
        Redial::new(|| ready(Err::<(), _>(io::Error::from(ErrorKind::NotFound)))).policy(policy);
    let start = Instant::now();
    redial.ready().await.unwrap_err();
    assert_eq!(start.elapsed(), expected.iter().sum::<Duration>());
}

#[tokio::test(start_paused = true)]
async fn a_service_may_be_shared_with_other_parts_of_the_program() {
    let server = Server::default();
    let shared = Redial::new(server.connector()).into_shared();
    let mut service = redial::tower::Reconnect::new(shared.clone());
    service.ready().await.unwrap();
    assert_eq!(shared.get().unwrap().number, 1);
    service.handle().close();
    let error = poll_fn(|cx| service.poll_ready(cx)).await.unwrap_err();
    assert!(matches!(&error, ServiceError::Connect(error) if error.is_closed()));
}
