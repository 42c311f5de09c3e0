//! Is every byte and every item delivered once, on its own connection, or
//! reported lost? The tests compare random interleavings with a model.
//!
//! The other side, the network, the program's two halves and its handle act at
//! random, on a paused clock. A half that was pending, and was not woken, must
//! still be pending at its next poll. So no lost wake-up stays unnoticed.

#![allow(clippy::too_many_lines)] // one match over all operations

mod paused;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Ready;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::Either;
use futures::{Sink, Stream};
use proptest::prelude::*;
use redial::{Exponential, Handle, Jitter, Redial, SendError, SessionEvent};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, advance, sleep};

use paused::paused_runtime;

// ---- the world outside

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// The other side sends no more. It still reads.
    End,
    /// Both directions fail.
    Error,
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
enum Attempt {
    Succeeds,
    Fails,
    SucceedsAfter(u64),
}

#[derive(Clone, Debug)]
enum Op {
    // The other side.
    Sends(u8),
    Cuts(Cut),
    // The network.
    /// The next polls of the connection, this many, are pending for no reason.
    Stutters(u8),
    /// The most that one call reads or writes.
    Chunk(u8),
    /// Whether the connection accepts nothing.
    Full(bool),
    Next(Attempt),
    // The program. It cancels a call by not polling it again.
    Read(u8),
    Write(u8),
    Flush,
    Lost,
    Shutdown,
    // The program's handle.
    RetryNow,
    Pause,
    Resume,
    Close,
    // The clock.
    Advance(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1..20_u8).prop_map(Op::Sends),
        2 => prop_oneof![Just(Cut::End), Just(Cut::Error)].prop_map(Op::Cuts),
        2 => (0..3_u8).prop_map(Op::Stutters),
        2 => (1..30_u8).prop_map(Op::Chunk),
        2 => any::<bool>().prop_map(Op::Full),
        2 => prop_oneof![
            Just(Attempt::Succeeds),
            Just(Attempt::Fails),
            (0..12_000_u64).prop_map(Attempt::SucceedsAfter),
        ]
        .prop_map(Op::Next),
        12 => (0..30_u8).prop_map(Op::Read),
        12 => (0..30_u8).prop_map(Op::Write),
        6 => Just(Op::Flush),
        1 => Just(Op::Lost),
        2 => Just(Op::RetryNow),
        1 => Just(Op::Pause),
        2 => Just(Op::Resume),
        8 => (0..3000_u64).prop_map(Op::Advance),
    ]
}

/// Random operations, among which the program may shut down or close once.
fn ops() -> impl Strategy<Value = Vec<Op>> {
    let last = prop_oneof![
        3 => Just(vec![]),
        1 => Just(vec![Op::Shutdown]),
        1 => Just(vec![Op::Close]),
    ];
    (
        prop::collection::vec(op(), 0..80),
        last,
        prop::collection::vec(op(), 0..20),
    )
        .prop_map(|(before, last, after)| [before, last, after].concat())
}

/// One connection, as the other side and the network know it.
#[derive(Default)]
struct Wire<T> {
    /// What the other side has sent, and how much of that the program has taken.
    sent: Vec<T>,
    taken: usize,
    /// What the other side has received, and how much of that was flushed.
    got: Vec<T>,
    flushed: usize,
    cut: Option<Cut>,
    dropped: bool,
    stutters: u8,
    full: bool,
    /// The connection is ready for one item.
    ready: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<T> Wire<T> {
    fn wake(&mut self) {
        let wakers = [self.reader.take(), self.writer.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn stutter(&mut self, cx: &Context<'_>) -> bool {
        let stutters = self.stutters > 0;
        if stutters {
            self.stutters -= 1;
            cx.waker().wake_by_ref();
        }
        stutters
    }

    /// Takes up to `most` of what was sent. Takes nothing at the end.
    fn poll_take(&mut self, most: usize, cx: &Context<'_>) -> Poll<io::Result<&[T]>> {
        if self.stutter(cx) {
            return Poll::Pending;
        }
        let left = self.sent.len() - self.taken;
        match self.cut {
            None if left == 0 => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(Cut::Error) if left == 0 => Poll::Ready(Err(ErrorKind::ConnectionAborted.into())),
            _ => {
                let from = self.taken;
                self.taken += most.min(left);
                Poll::Ready(Ok(&self.sent[from..self.taken]))
            }
        }
    }

    /// Waits until the connection accepts something, or can flush.
    fn poll_open(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.stutter(cx) {
            return Poll::Pending;
        }
        if self.cut == Some(Cut::Error) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if self.full {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

struct World<T> {
    wires: Vec<Wire<T>>,
    attempts: VecDeque<Attempt>,
    chunk: usize,
}

type Shared<T> = Rc<RefCell<World<T>>>;

/// The program's end of a connection.
struct Conn<T> {
    world: Shared<T>,
    number: usize,
}

impl<T> Conn<T> {
    fn wire<R>(&self, with: impl FnOnce(&mut Wire<T>) -> R) -> R {
        with(&mut self.world.borrow_mut().wires[self.number])
    }

    fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.wire(|wire| {
            let polled = wire.poll_open(cx);
            if matches!(polled, Poll::Ready(Ok(()))) {
                wire.flushed = wire.got.len();
            }
            polled
        })
    }
}

impl<T> Drop for Conn<T> {
    fn drop(&mut self) {
        self.wire(|wire| {
            wire.dropped = true;
            (wire.reader, wire.writer) = (None, None);
        });
    }
}

type Dialled<T> = Either<
    Ready<io::Result<Conn<T>>>,
    futures::future::Map<Pin<Box<Sleep>>, Box<dyn FnOnce(()) -> io::Result<Conn<T>>>>,
>;

/// A connector, and the world that it connects to.
fn world<T: Default + 'static>() -> (impl FnMut() -> Dialled<T>, Shared<T>) {
    let world = Rc::new(RefCell::new(World {
        wires: Vec::new(),
        attempts: VecDeque::new(),
        chunk: 1000,
    }));
    let outside = world.clone();
    let connector = move || {
        let inside = world.clone();
        let accept = move || {
            let world = &mut *inside.borrow_mut();
            assert!(
                world.wires.iter().all(|wire| wire.dropped),
                "two connections at once"
            );
            world.wires.push(Wire::default());
            Ok(Conn {
                world: inside.clone(),
                number: world.wires.len() - 1,
            })
        };
        let attempt = world.borrow_mut().attempts.pop_front();
        match attempt.unwrap_or(Attempt::Succeeds) {
            Attempt::Succeeds => Either::Left(std::future::ready(accept())),
            Attempt::Fails => {
                Either::Left(std::future::ready(Err(ErrorKind::ConnectionRefused.into())))
            }
            Attempt::SucceedsAfter(millis) => {
                let later = Box::pin(sleep(Duration::from_millis(millis)));
                let accept: Box<dyn FnOnce(()) -> _> = Box::new(move |()| accept());
                Either::Right(futures::FutureExt::map(later, accept))
            }
        }
    };
    (connector, outside)
}

/// The operations that both models have in common.
fn outside<T>(op: &Op, world: &Shared<T>, handle: &Handle, make: impl Fn(usize, usize) -> T) {
    match op {
        Op::RetryNow => return handle.retry_now(),
        Op::Pause => return handle.pause(),
        Op::Resume => return handle.resume(),
        _ => {}
    }
    let World {
        wires,
        attempts,
        chunk,
    } = &mut *world.borrow_mut();
    let number = wires.len().saturating_sub(1);
    let live = wires.last_mut().filter(|wire| !wire.dropped);
    match (op, live) {
        (Op::Sends(n), Some(wire)) if wire.cut.is_none() => {
            for _ in 0..*n {
                wire.sent.push(make(number, wire.sent.len()));
            }
            wire.wake();
        }
        (Op::Cuts(cut), Some(wire)) => {
            wire.cut = Some(*cut);
            wire.wake();
        }
        (Op::Stutters(n), Some(wire)) => wire.stutters = *n,
        (Op::Full(full), Some(wire)) => {
            wire.full = *full;
            wire.wake();
        }
        (Op::Chunk(n), _) => *chunk = usize::from(*n),
        (Op::Next(attempt), _) => attempts.push_back(*attempt),
        _ => {}
    }
}

/// Removes all obstacles: from now on each attempt succeeds.
fn heal<T>(world: &Shared<T>, handle: &Handle) {
    handle.resume();
    let mut world = world.borrow_mut();
    world.attempts.clear();
    world.chunk = 1000;
    if let Some(wire) = world.wires.last_mut() {
        (wire.stutters, wire.full) = (0, false);
        wire.wake();
    }
}

/// Whether a half was woken since it was pending.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// A half of the program. Each of its polls may come from another task.
#[derive(Default)]
struct Half {
    pending: Option<(&'static str, Arc<Woken>)>,
}

impl Half {
    /// Polls, and checks that no wake-up was lost: if the same call was pending
    /// before, and was not woken, it must still be pending.
    fn poll<T>(
        &mut self,
        call: &'static str,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let before = self.pending.take();
        let woken = Arc::new(Woken::default());
        let polled = poll(&mut Context::from_waker(&Waker::from(woken.clone())));
        match before {
            Some((pending, before)) if pending == call && polled.is_ready() => {
                assert!(before.0.load(SeqCst), "a {call} was not woken");
            }
            _ => {}
        }
        if polled.is_pending() {
            self.pending = Some((call, woken));
        }
        polled
    }
}

fn waits() -> Exponential {
    Exponential::new(Duration::from_millis(100), Duration::from_secs(1)).jitter(Jitter::None)
}

fn on_paused_clock<F: Future>(future: F) -> F::Output {
    paused_runtime().block_on(future)
}

// ---- bytes

impl AsyncRead for Conn<u8> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = self.world.borrow().chunk.min(buf.remaining());
        self.wire(|wire| {
            wire.poll_take(most, cx)
                .map_ok(|bytes| buf.put_slice(bytes))
        })
    }
}

impl AsyncWrite for Conn<u8> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = self.world.borrow().chunk.min(buf.len());
        self.wire(|wire| {
            wire.poll_open(cx).map_ok(|()| {
                wire.got.extend(&buf[..n]);
                n
            })
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Conn::poll_flush(&self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Conn::poll_flush(&self, cx)
    }
}

/// What the program knows of its bytes.
#[derive(Default)]
struct Bytes {
    /// The number of resets that each half has got, which is the number of the
    /// connection that it is at.
    read_from: usize,
    write_to: usize,
    /// How much was read from each connection, and what was written to it.
    read: Vec<usize>,
    written: Vec<Vec<u8>>,
    next: u8,
    shut: bool,
    closed: bool,
}

impl Bytes {
    /// Checks that the program had a reason to expect the error.
    fn failed(&mut self, error: &io::Error, write: bool, world: &World<u8>) {
        let at = if write {
            &mut self.write_to
        } else {
            &mut self.read_from
        };
        match error.kind() {
            ErrorKind::ConnectionReset => {
                assert!(
                    world.wires[*at].dropped,
                    "a reset of a connection that is up"
                );
                *at += 1;
            }
            ErrorKind::NotConnected => assert!(self.closed),
            ErrorKind::BrokenPipe => assert!(write && self.shut),
            kind => panic!("{kind}"),
        }
    }

    fn check_written(&self, world: &World<u8>) {
        for (number, wire) in world.wires.iter().enumerate() {
            let written = self.written.get(number).map_or(&[][..], Vec::as_slice);
            assert_eq!(wire.got, written, "connection {number}");
        }
    }

    /// Checks a successful flush: all that was written is flushed.
    fn check_flushed(&self, world: &World<u8>) {
        if let Some(wire) = world.wires.get(self.write_to) {
            assert_eq!(wire.flushed, wire.got.len());
            assert!(!wire.dropped || self.shut, "the loss was not reported");
        }
    }
}

fn at<T: Default>(list: &mut Vec<T>, index: usize) -> &mut T {
    list.resize_with(list.len().max(index + 1), T::default);
    &mut list[index]
}

async fn bytes(ops: Vec<Op>) {
    let (connector, world) = world::<u8>();
    let mut io = Redial::new(connector).policy(waits()).into_io();
    let handle = io.handle();
    let mut model = Bytes::default();
    let (mut reader, mut writer) = (Half::default(), Half::default());
    let make = |number, index| (number * 16 + index % 16) as u8;
    for op in ops {
        match op {
            Op::Read(size) => {
                let mut space = [0; 32];
                let mut buf = ReadBuf::new(&mut space[..usize::from(size)]);
                let call = if size == 0 { "empty read" } else { "read" };
                let polled = reader.poll(call, |cx| Pin::new(&mut io).poll_read(cx, &mut buf));
                let world = world.borrow();
                match polled {
                    Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                        let rest = world.wires.get(model.read_from);
                        let rest = rest.map_or(0, |wire| wire.sent.len() - wire.taken);
                        assert!(size == 0 || model.shut && rest == 0, "an end too soon");
                    }
                    Poll::Ready(Ok(())) => {
                        let read = at(&mut model.read, model.read_from);
                        let sent = &world.wires[model.read_from].sent[*read..];
                        assert_eq!(buf.filled(), &sent[..buf.filled().len()]);
                        *read += buf.filled().len();
                    }
                    Poll::Ready(Err(error)) => model.failed(&error, false, &world),
                    Poll::Pending => {}
                }
            }
            Op::Write(size) => {
                let data: Vec<_> = (0..size).map(|i| model.next.wrapping_add(i)).collect();
                let call = if size == 0 { "empty write" } else { "write" };
                let polled = writer.poll(call, |cx| Pin::new(&mut io).poll_write(cx, &data));
                let world = world.borrow();
                match polled {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        at(&mut model.written, model.write_to).extend(&data[..n]);
                        model.next = model.next.wrapping_add(n as u8);
                    }
                    Poll::Ready(Ok(_)) => assert_eq!(size, 0),
                    Poll::Ready(Err(error)) => model.failed(&error, true, &world),
                    Poll::Pending => {}
                }
            }
            Op::Flush => match writer.poll("flush", |cx| Pin::new(&mut io).poll_flush(cx)) {
                Poll::Ready(Ok(())) => model.check_flushed(&world.borrow()),
                Poll::Ready(Err(error)) => model.failed(&error, true, &world.borrow()),
                Poll::Pending => {}
            },
            Op::Shutdown => {
                model.shut = true;
                match writer.poll("shutdown", |cx| Pin::new(&mut io).poll_shutdown(cx)) {
                    Poll::Ready(Ok(())) => model.check_flushed(&world.borrow()),
                    Poll::Ready(Err(error)) => model.failed(&error, true, &world.borrow()),
                    Poll::Pending => {}
                }
            }
            Op::Lost => io.lost(),
            Op::Close => {
                model.closed = true;
                handle.close();
            }
            Op::Advance(millis) => advance(Duration::from_millis(millis)).await,
            op => outside(&op, &world, &handle, make),
        }
        model.check_written(&world.borrow());
        assert_eq!(io.generation(), world.borrow().wires.len() as u64);
        let taken: Vec<_> = world.borrow().wires.iter().map(|wire| wire.taken).collect();
        let read = model.read.iter().copied().chain(std::iter::repeat(0));
        assert!(read.zip(&taken).all(|(read, taken)| read == *taken));
    }
    if model.shut || model.closed {
        return;
    }

    // In the end both halves reach the same connection, and it works.
    heal(&world, &handle);
    let (mut sent, mut done) = (false, (false, false));
    for _ in 0..1000 {
        if done == (true, true) {
            return;
        }
        advance(Duration::from_millis(500)).await;
        let latest = world.borrow().wires.len().wrapping_sub(1);
        if !done.1 {
            match writer.poll("write", |cx| Pin::new(&mut io).poll_write(cx, b"!")) {
                Poll::Ready(Ok(1)) => done.1 = true,
                Poll::Ready(Err(error)) => model.failed(&error, true, &world.borrow()),
                _ => {}
            }
        }
        if done.1 && !sent && latest == model.write_to {
            outside(&Op::Sends(1), &world, &handle, |_, _| b'!');
            sent = true;
        }
        let mut space = [0; 32];
        let mut buf = ReadBuf::new(&mut space);
        match reader.poll("read", |cx| Pin::new(&mut io).poll_read(cx, &mut buf)) {
            Poll::Ready(Ok(())) => done.0 |= sent && buf.filled().ends_with(b"!"),
            Poll::Ready(Err(error)) => {
                model.failed(&error, false, &world.borrow());
                // This connection was cut before. Try the next one.
                (sent, done.1) = (false, false);
            }
            Poll::Pending => {}
        }
    }
    panic!("it did not come up again: {done:?}");
}

// ---- items

impl Stream for Conn<u32> {
    type Item = io::Result<u32>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<u32>>> {
        self.wire(|wire| match wire.poll_take(1, cx) {
            Poll::Ready(Ok(items)) => Poll::Ready(items.first().copied().map(Ok)),
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Pending => Poll::Pending,
        })
    }
}

impl Sink<u32> for Conn<u32> {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire(|wire| {
            let polled = wire.poll_open(cx);
            wire.ready = matches!(polled, Poll::Ready(Ok(())));
            polled
        })
    }

    fn start_send(self: Pin<&mut Self>, item: u32) -> io::Result<()> {
        self.wire(|wire| {
            assert!(std::mem::take(&mut wire.ready), "it was not asked before");
            if wire.cut == Some(Cut::Error) {
                return Err(ErrorKind::BrokenPipe.into());
            }
            wire.got.push(item);
            Ok(())
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Conn::poll_flush(&self, cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Conn::poll_flush(&self, cx)
    }
}

/// What the program knows of its items.
#[derive(Default)]
struct Items {
    /// The number of `Up`s, and whether no `Down` has followed the last one.
    ups: usize,
    up: bool,
    /// What was read from each connection.
    read: Vec<Vec<u32>>,
    /// Items that were accepted, and were not flushed or reported yet.
    unflushed: Vec<u32>,
    /// Items that were flushed, and those that were reported as lost.
    flushed: Vec<u32>,
    reported: Vec<u32>,
    /// What the session handed back.
    taken: Vec<u32>,
    /// How many items were not accepted.
    refused: usize,
    next: u32,
    shut: bool,
    closed: bool,
}

impl Items {
    fn heard(
        &mut self,
        event: Option<Result<SessionEvent<u32, io::Error>, redial::Error<io::Error>>>,
    ) {
        match event {
            Some(Ok(SessionEvent::Up)) => {
                assert!(!self.up);
                self.up = true;
                self.ups += 1;
            }
            Some(Ok(SessionEvent::Item(item))) => {
                assert!(self.up, "an item between connections");
                at(&mut self.read, self.ups - 1).push(item);
            }
            Some(Ok(SessionEvent::Down { .. })) => {
                assert!(self.up);
                self.up = false;
            }
            Some(Err(error)) => assert!(self.closed && error.is_closed()),
            None => assert!(self.shut || self.closed),
        }
    }

    /// Checks an error of the sink. `item` is the one that was to be sent.
    fn failed(&mut self, error: &SendError, item: Option<u32>) {
        if error.is_over() {
            assert!(self.shut || self.closed);
            // While it closes, items that were accepted before are still on their way.
            assert!(self.unflushed.is_empty() || self.shut, "not reported");
            return;
        }
        assert!(!error.is_down());
        if error.was_accepted() {
            self.unflushed.extend(item);
        } else {
            self.refused += item.is_some() as usize;
        }
        assert_eq!(error.lost(), self.unflushed.len(), "{:?}", self.unflushed);
        self.reported.append(&mut self.unflushed);
    }

    fn flushed(&mut self, world: &World<u32>) {
        let arrived = |item| {
            let mut flushed = world
                .wires
                .iter()
                .flat_map(|wire| &wire.got[..wire.flushed]);
            flushed.any(|flushed| flushed == item)
        };
        assert!(self.unflushed.iter().all(arrived), "said to be flushed");
        self.flushed.append(&mut self.unflushed);
    }

    fn check(&self, world: &World<u32>) {
        // No item arrives twice or out of order.
        let got: Vec<_> = world.wires.iter().flat_map(|wire| &wire.got).collect();
        assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
        for (number, read) in self.read.iter().enumerate() {
            assert!(world.wires[number].sent.starts_with(read));
        }
    }
}

async fn items(ops: Vec<Op>) {
    let (connector, world) = world::<u32>();
    let mut session = Redial::new(connector)
        .policy(waits())
        .into_session()
        .keep_unsent::<u32>();
    let handle = session.handle();
    let mut model = Items::default();
    let (mut reader, mut writer) = (Half::default(), Half::default());
    let make = |number, index| (number * 1000 + index) as u32;
    for op in ops {
        match op {
            Op::Read(_) => {
                if let Poll::Ready(event) =
                    reader.poll("next", |cx| Pin::new(&mut session).poll_next(cx))
                {
                    model.heard(event);
                }
            }
            Op::Write(size) => {
                let polled = writer.poll("ready", |cx| {
                    Sink::<u32>::poll_ready(Pin::new(&mut session), cx)
                });
                match polled {
                    // Sometimes something happens between poll_ready and start_send.
                    Poll::Ready(Ok(())) => {
                        if size % 8 == 7 {
                            session.lost();
                        }
                        if size % 16 == 15 {
                            for _ in 0..4 {
                                advance(Duration::from_secs(1)).await;
                                if let Poll::Ready(event) =
                                    reader.poll("next", |cx| Pin::new(&mut session).poll_next(cx))
                                {
                                    model.heard(event);
                                }
                            }
                        }
                        let item = model.next;
                        model.next += 1;
                        match Pin::new(&mut session).start_send(item) {
                            Ok(()) => model.unflushed.push(item),
                            Err(error) => model.failed(&error, Some(item)),
                        }
                    }
                    Poll::Ready(Err(error)) => model.failed(&error, None),
                    Poll::Pending => {}
                }
            }
            Op::Flush => {
                let polled = writer.poll("flush", |cx| {
                    Sink::<u32>::poll_flush(Pin::new(&mut session), cx)
                });
                match polled {
                    Poll::Ready(Ok(())) => model.flushed(&world.borrow()),
                    Poll::Ready(Err(error)) => model.failed(&error, None),
                    Poll::Pending => {}
                }
            }
            Op::Shutdown => {
                model.shut = true;
                let polled = writer.poll("close", |cx| {
                    Sink::<u32>::poll_close(Pin::new(&mut session), cx)
                });
                match polled {
                    Poll::Ready(Ok(())) => model.flushed(&world.borrow()),
                    Poll::Ready(Err(error)) => model.failed(&error, None),
                    Poll::Pending => {}
                }
            }
            Op::Lost => session.lost(),
            Op::Close => {
                model.closed = true;
                handle.close();
            }
            Op::Advance(millis) => advance(Duration::from_millis(millis)).await,
            op => outside(&op, &world, &handle, make),
        }
        model.check(&world.borrow());
        model.taken.append(&mut session.take_unsent());
    }

    // In the end every item has been reported or has arrived.
    heal(&world, &handle);
    let mut last = None;
    for _ in 0..1000 {
        advance(Duration::from_millis(500)).await;
        while let Poll::Ready(event) =
            reader.poll("next", |cx| Pin::new(&mut session).poll_next(cx))
        {
            let end = event.is_none();
            model.heard(event);
            if end {
                break;
            }
        }
        match writer.poll("ready", |cx| {
            Sink::<u32>::poll_ready(Pin::new(&mut session), cx)
        }) {
            Poll::Ready(Ok(())) if last.is_none() => {
                let item = model.next;
                model.next += 1;
                match Pin::new(&mut session).start_send(item) {
                    Ok(()) => {
                        model.unflushed.push(item);
                        last = Some(item);
                    }
                    Err(error) => model.failed(&error, Some(item)),
                }
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
            Poll::Ready(Err(error)) => {
                model.failed(&error, None);
                last = None;
            }
        }
        match writer.poll("flush", |cx| {
            Sink::<u32>::poll_flush(Pin::new(&mut session), cx)
        }) {
            Poll::Ready(Ok(())) => {
                model.flushed(&world.borrow());
                if last.is_some() || model.shut || model.closed {
                    break;
                }
            }
            Poll::Ready(Err(error)) => {
                model.failed(&error, None);
                last = None;
            }
            Poll::Pending => {}
        }
    }
    assert!(
        last.is_some() || model.shut || model.closed,
        "it did not come up again"
    );
    assert!(model.unflushed.is_empty());
    let world = world.borrow();
    model.check(&world);
    let accepted = model.flushed.len() + model.reported.len();
    assert_eq!(accepted + model.refused, model.next as usize);
    // What was reported as lost, and no more, was handed back in order.
    model.taken.append(&mut session.take_unsent());
    assert_eq!(model.taken, model.reported);
    // The program has read all that was taken from a connection.
    for (number, wire) in world.wires.iter().enumerate() {
        let read = model.read.get(number).map_or(&[][..], Vec::as_slice);
        assert_eq!(read, &wire.sent[..wire.taken], "connection {number}");
    }
}

proptest! {
    #[test]
    fn every_byte_is_delivered_once_on_its_connection_or_reported_lost(ops in ops()) {
        on_paused_clock(bytes(ops));
    }

    #[test]
    fn every_item_is_delivered_once_on_its_connection_or_reported_lost(ops in ops()) {
        on_paused_clock(items(ops));
    }
}
