//! What may cross threads, and what may move? A table that the compiler checks.
#![allow(dead_code)] // Rust 1.85 does not see that the table uses these types

use std::cell::Cell;
use std::future::Ready;
use std::io;
use std::marker::PhantomPinned;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use redial::budget::{BudgetEvent, StoreError};
use redial::future::{
    AnyReserve, Connecting, Ready as RedialReady, Renewed, Round, SharedReady, SharedReserve,
    ThenAttempt, Watching,
};
use redial::policy::BucketPolicy;
use redial::{
    AnyBudget, AttemptInfo, BoxAttempt, BoxConnect, BoxError, BoxRedial, Cause, Connect,
    Decorrelated, Delays, Endpoints, EndpointsConnector, Error, Event, Exponential, Failed, Handle,
    Heartbeat, InvalidConfig, Jitter, Lent, Liveness, MarkEstablished, Monitor, Monitored, Next,
    Outage, PingRequests, Pulse, Reason, Redial, RedialIo, RenewalHold, Reserved, SavedOutage,
    SendError, Sequence, Session, SessionEvent, Shared, SharedBudget, Silent, Status, Stratified,
    Then, TokenBucket, Verdict, Watch, WithInfo, tcp,
};
use tokio::io::DuplexStream;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

/// Has or has not a trait: `Not` is ambiguous for a type that has it.
macro_rules! facts {
    ($($type:ty: $send:tt Send, $sync:tt Sync, $unpin:tt Unpin;)+) => {
        $(
            const _: fn() = || {
                facts!(@ $send $type: Send);
                facts!(@ $sync $type: Sync);
                facts!(@ $unpin $type: Unpin);
            };
        )+
    };
    (@ + $type:ty: $trait:ident) => {{
        fn has<T: ?Sized + $trait>() {}
        let _ = has::<$type>;
    }};
    (@ - $type:ty: $trait:ident) => {{
        trait Not<A> {
            fn holds() {}
        }
        struct Known;
        impl<T: ?Sized> Not<()> for T {}
        impl<T: ?Sized + $trait> Not<Known> for T {}
        let _ = <$type as Not<_>>::holds;
    }};
}

/// A connector all of whose parts may cross threads.
type Dial = fn() -> Ready<io::Result<Vec<u8>>>;
/// One that makes what may be cloned into many tasks.
type Bytes = fn() -> Ready<io::Result<DuplexStream>>;
/// What follows a dial.
type Login = fn(Vec<u8>) -> Ready<io::Result<Vec<u8>>>;
type Lines = fn() -> Ready<Result<Framed<DuplexStream, LinesCodec>, LinesCodecError>>;
/// One whose attempt must not move once it was polled.
struct Immovable;
impl Connect for Immovable {
    type Connection = ();
    type Error = io::Error;
    type Attempt = PhantomPinned;
    fn connect(&mut self) -> PhantomPinned {
        unreachable!("only its type counts")
    }
    fn poll_attempt(
        &mut self,
        _: Pin<&mut PhantomPinned>,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        unreachable!("only its type counts")
    }
}
/// One whose connections stay on their thread.
type Local = fn() -> Ready<io::Result<Rc<()>>>;
/// One whose connections may be sent and not shared.
type Unshared = fn() -> Ready<io::Result<Cell<u8>>>;

facts! {
    // Values.
    Backoffs: + Send, + Sync, + Unpin;
    Cause: + Send, + Sync, + Unpin;
    Failed: + Send, + Sync, + Unpin;
    InvalidConfig: + Send, + Sync, + Unpin;
    Jitter: + Send, + Sync, + Unpin;
    Next: + Send, + Sync, + Unpin;
    Reason: + Send, + Sync, + Unpin;
    SavedOutage: + Send, + Sync, + Unpin;
    Status: + Send, + Sync, + Unpin;
    redial::Instant: + Send, + Sync, + Unpin;
    Verdict: + Send, + Sync, + Unpin;
    SendError: + Send, + Sync, + Unpin;
    Error<io::Error>: + Send, + Sync, + Unpin;
    BoxError: + Send, + Sync, + Unpin;
    BoxError<dyn std::error::Error>: - Send, - Sync, + Unpin;
    Error<Rc<()>>: - Send, - Sync, + Unpin;
    Error<Cell<u8>>: + Send, - Sync, + Unpin;
    Event<'static, io::Error>: + Send, + Sync, + Unpin;
    SessionEvent<String, io::Error>: + Send, + Sync, + Unpin;
    SessionEvent<Rc<()>, io::Error>: - Send, - Sync, + Unpin;
    Lent<Dial>: + Send, + Sync, + Unpin;
    Lent<Unshared>: + Send, - Sync, + Unpin;
    Lent<Immovable>: + Send, + Sync, + Unpin;
    Lent<Local>: - Send, - Sync, + Unpin;

    // Policies.
    Stratified: + Send, + Sync, + Unpin;
    Exponential: + Send, + Sync, + Unpin;
    Decorrelated: + Send, + Sync, + Unpin;
    Sequence: + Send, + Sync, + Unpin;
    TokenBucket: + Send, + Sync, + Unpin;
    AnyBudget: + Send, + Sync, + Unpin;
    AnyReserve: + Send, - Sync, + Unpin;
    SharedBudget: + Send, + Sync, + Unpin;
    SharedReserve: + Send, + Sync, + Unpin;
    StoreError: + Send, + Sync, + Unpin;
    BudgetEvent<'static>: + Send, + Sync, + Unpin;
    Reserved: + Send, + Sync, + Unpin;
    Outage<Stratified>: + Send, + Sync, + Unpin;

    // Liveness.
    Liveness: + Send, + Sync, + Unpin;
    Heartbeat: + Send, + Sync, + Unpin;
    Pulse: + Send, + Sync, + Unpin;
    Silent: + Send, + Sync, + Unpin;
    Monitor: + Send, + Sync, + Unpin;
    Monitored<DuplexStream>: + Send, + Sync, + Unpin;
    PingRequests: + Send, + Sync, + Unpin;

    // The driver. Observer, classifier and wall clock may be sent and not shared.
    Redial<Dial>: + Send, - Sync, + Unpin;
    Redial<Unshared>: + Send, - Sync, + Unpin;
    Redial<Local>: - Send, - Sync, + Unpin;
    Redial<Immovable>: + Send, - Sync, + Unpin;
    BoxConnect<Vec<u8>, io::Error>: + Send, - Sync, + Unpin;
    BoxConnect<Rc<()>, io::Error>: + Send, - Sync, + Unpin;
    BoxAttempt<Vec<u8>, io::Error>: + Send, - Sync, + Unpin;
    BoxRedial<Vec<u8>, io::Error>: + Send, - Sync, + Unpin;
    BoxRedial<Rc<()>, io::Error>: - Send, - Sync, + Unpin;
    RedialReady<'static, Dial, Stratified>: + Send, - Sync, + Unpin;
    RedialReady<'static, Local, Stratified>: - Send, - Sync, + Unpin;
    RedialReady<'static, Immovable, Stratified>: + Send, - Sync, + Unpin;
    // It holds a timer, which does not move.
    Connecting<'static, Dial, Stratified>: + Send, - Sync, - Unpin;
    Connecting<'static, Local, Stratified>: - Send, - Sync, - Unpin;
    Connecting<'static, Immovable, Stratified>: + Send, - Sync, - Unpin;
    Renewed<'static, Dial, Stratified>: + Send, - Sync, + Unpin;
    RenewalHold: + Send, + Sync, + Unpin;
    // A step is what its future is.
    Then<Dial, Login>: + Send, + Sync, + Unpin;
    Then<Local, Login>: + Send, + Sync, + Unpin;
    Then<Then<Dial, Login>, Login>: + Send, + Sync, + Unpin;
    ThenAttempt<Ready<()>, Ready<()>>: + Send, + Sync, + Unpin;
    ThenAttempt<PhantomPinned, Ready<()>>: + Send, + Sync, - Unpin;
    ThenAttempt<Ready<()>, PhantomPinned>: + Send, + Sync, - Unpin;
    ThenAttempt<Ready<Cell<u8>>, Ready<()>>: + Send, - Sync, + Unpin;
    ThenAttempt<Ready<()>, Ready<Rc<()>>>: - Send, - Sync, + Unpin;
    Redial<Then<Dial, Login>>: + Send, - Sync, + Unpin;
    WithInfo<Dial, io::Error>: + Send, + Sync, + Unpin;
    WithInfo<Dial, Rc<()>>: + Send, + Sync, + Unpin;
    AttemptInfo<'static, io::Error>: + Send, + Sync, + Unpin;
    MarkEstablished: + Send, + Sync, + Unpin;
    tcp::Dial: + Send, + Sync, + Unpin;
    tcp::Dialing: + Send, - Sync, + Unpin;
    tcp::Target: + Send, + Sync, + Unpin;
    tcp::DialError: + Send, + Sync, + Unpin;
    Redial<tcp::Dial>: + Send, - Sync, + Unpin;
    Endpoints<&'static str>: + Send, + Sync, + Unpin;
    Endpoints<Rc<str>>: - Send, - Sync, + Unpin;
    EndpointsConnector<&'static str, tcp::Dial, fn(&&'static str) -> tcp::Dial>: + Send, + Sync, + Unpin;
    Round<tcp::Dialing>: + Send, - Sync, - Unpin;
    Round<PhantomPinned>: + Send, + Sync, - Unpin;
    Handle: + Send, + Sync, + Unpin;
    Watch: + Send, + Sync, + Unpin;

    // The wrappers.
    Session<Lines>: + Send, - Sync, + Unpin;
    RedialIo<Bytes>: + Send, - Sync, + Unpin;
    Shared<Dial>: + Send, + Sync, + Unpin;
    Shared<Unshared>: + Send, + Sync, + Unpin;
    Shared<Local>: - Send, - Sync, + Unpin;
    Shared<Immovable>: + Send, + Sync, + Unpin;
    SharedReady<'static, Dial, Stratified>: + Send, + Sync, + Unpin;
    SharedReady<'static, Local, Stratified>: - Send, - Sync, + Unpin;
    Watching<Dial>: + Send, + Sync, + Unpin;
    Watching<Local>: - Send, - Sync, + Unpin;
}

#[cfg(feature = "slots")]
facts! {
    redial::Slots: + Send, + Sync, + Unpin;
    redial::SharedSlots: + Send, + Sync, + Unpin;
    redial::Ticket: + Send, + Sync, + Unpin;
    redial::Admission: + Send, + Sync, + Unpin;
}

type Backoffs = (
    Delays<Stratified>,
    Delays<Exponential>,
    Delays<Decorrelated>,
    Delays<Sequence>,
    Delays<BucketPolicy>,
);

fn is_send<T: Send>(value: T) -> T {
    value
}

#[cfg(feature = "slots")]
fn a_front_end_may_ask_in_a_task(slots: &redial::SharedSlots) -> [impl Send; 2] {
    let admit = is_send(async { slots.admit("ann", None).await });
    let refuse = is_send(async { slots.refuse(String::from("ann"), None).await });
    let both: [std::pin::Pin<Box<dyn Future<Output = redial::Admission> + Send>>; 2] =
        [Box::pin(admit), Box::pin(refuse)];
    both
}

#[test]
fn a_run_is_send_if_its_session_is() {
    let mut greeting = String::from("hello");
    let mut redial = Redial::new(|| std::future::ready(Ok::<_, io::Error>(vec![1_u8])));
    let run = is_send(redial.run(async move |connection| {
        tokio::task::yield_now().await;
        greeting.push('!');
        Ok(ControlFlow::Break(connection.len()))
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert_eq!(runtime.block_on(run).unwrap(), 1);
}

#[test]
fn the_futures_of_a_task_are_send() {
    use futures::{SinkExt, StreamExt};
    use tokio::io::AsyncReadExt;

    drop(is_send(async {
        let mut redial = Redial::new(|| std::future::ready(Ok::<_, io::Error>(7_u8)));
        let _ = redial.ready().await;
        let _ = redial.connect().await;
        let shared = redial.into_shared();
        let _ = shared.ready().await;
        let mut watch = shared.handle().watch();
        watch.next().await
    }));
    // Errors that are borrowed for ever, which a bound on `Connect` would break.
    drop(is_send(async {
        let mut redial = Redial::new(|| std::future::ready(Err::<u8, _>("refused")));
        let _ = redial.ready().await;
        let _ = redial.connect().await;
        let _ = redial.run(async move |_| Ok(ControlFlow::Break(()))).await;
        let mut boxed = redial.observe(|_| {}).boxed();
        let _ = boxed.ready().await;
        let _ = boxed.connect().await;
        boxed.into_shared().ready().await.map(drop).is_ok()
    }));
    drop(is_send(async {
        let mut session =
            Redial::new((|| unreachable!("only its type counts")) as Lines).into_session();
        let _ = session.send(String::new()).await;
        session.next().await.is_some()
    }));
    drop(is_send(async {
        let mut io = Redial::new((|| unreachable!("only its type counts")) as Bytes).into_io();
        io.read_u8().await
    }));
}
