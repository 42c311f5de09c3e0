//! Looking a name up.
//!
//! The system's look-up (`getaddrinfo`) occupies a thread and cannot be
//! cancelled. If each attempt began one of its own, a silent resolver would fill
//! the threads of the runtime. So a look-up belongs to its name and not to an
//! attempt: the next attempt joins the one that is running.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;

use tokio::sync::watch;

use super::no_answer;
use crate::clock::{Instant, Sleep, Stopwatch};
use crate::nanos::nanos;
use crate::sync::{Mutex, lock};

/// How long a dial waits for a look-up. It is also the time after which the
/// resolvers of glibc and musl ask a second time.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// How long an answer is good for that came after its dial had ended. Without it, a
/// resolver that takes 6 s would never help anybody. A minute is a common time to
/// live of a name that may move.
const LATE: Duration = Duration::from_secs(60);

pub(super) type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// A custom resolver.
type Ask = dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>
    + Send
    + Sync;

/// The look-ups that go on, of the whole process.
static SYSTEM: LookUps = LookUps::new();

#[derive(Clone)]
pub(super) enum Resolver {
    System,
    Custom {
        ask: Arc<Ask>,
        lookups: Arc<LookUps>,
    },
}

impl Resolver {
    pub(super) fn custom(
        ask: impl Fn(String, u16) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self::Custom {
            ask: Arc::new(ask),
            lookups: Arc::new(LookUps::new()),
        }
    }

    /// The addresses of a name.
    ///
    /// If the future is dropped, the look-up goes on. The next call joins it.
    pub(super) async fn find(&self, host: &str, port: u16, limit: Duration) -> Found {
        match self {
            Self::System => {
                let name = host.to_owned();
                // The port does not matter to the look-up. Without it, one thread
                // serves all ports of a name.
                let begin = || blocking(move || Ok((&*name, 0).to_socket_addrs()?.collect()));
                let mut found = SYSTEM.find(host, limit, begin).await?;
                for address in &mut found {
                    address.set_port(port);
                }
                Ok(found)
            }
            Self::Custom { ask, lookups } => {
                let (ask, name) = (ask.clone(), host.to_owned());
                let begin = || {
                    let (tell, told) = watch::channel(None);
                    // The resolver is first called in the task, so it may panic or
                    // dial itself.
                    tokio::spawn(async move {
                        let found = ask(name, port).await;
                        tell.send_replace(Some(Answer::now(found)));
                    });
                    told
                };
                lookups.find(host, limit, begin).await
            }
        }
    }

    /// Forgets what belongs to another network.
    pub(super) fn forget(&self, host: &str) {
        match self {
            // The thread cannot be stopped, so nobody may begin a second one.
            Self::System => SYSTEM.forget_answer(host),
            Self::Custom { lookups, .. } => lookups.forget_all(),
        }
    }
}

/// Begins a look-up that blocks a thread.
pub(super) fn blocking(
    look_up: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> watch::Receiver<Option<Answer>> {
    let (tell, told) = watch::channel(None);
    // The thread itself tells the answer. So the dials on other runtimes do not
    // depend on the present one.
    tokio::task::spawn_blocking(move || {
        let found = look_up();
        tell.send_replace(Some(Answer::now(found)));
    });
    told
}

#[derive(Clone)]
pub(super) struct Answer {
    found: Found,
    at: Instant,
}

impl Answer {
    fn now(found: io::Result<Vec<SocketAddr>>) -> Self {
        Self {
            found: found.map_err(Arc::new),
            at: Instant::now(),
        }
    }

    /// Whether it may help a dial that begins later. A failure may not: the
    /// network may be back.
    fn is_useful_later(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| !found.is_empty()) && self.at.elapsed() <= LATE
    }
}

/// The look-ups that go on, and answers that nobody has taken yet, by name.
pub(super) struct LookUps(Mutex<BTreeMap<String, watch::Receiver<Option<Answer>>>>);

impl LookUps {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub(super) async fn find(
        &self,
        host: &str,
        limit: Duration,
        begin: impl FnOnce() -> watch::Receiver<Option<Answer>>,
    ) -> Found {
        let mut told = self.join(host, begin);
        let answer = async {
            let answer = told.wait_for(Option::is_some).await.ok()?;
            Some(answer.as_ref()?.found.clone())
        };
        let Some(found) = within(limit, answer).await else {
            return Err(Arc::new(no_answer(limit)));
        };
        // Each look-up serves the dials that waited for it, and no later one.
        let mut running = lock(&self.0);
        if running
            .get(host)
            .is_some_and(|other| other.same_channel(&told))
        {
            running.remove(host);
        }
        found.unwrap_or_else(|| {
            let text = "the look-up broke off: its resolver panicked, or its runtime ended";
            Err(Arc::new(io::Error::other(text)))
        })
    }

    /// The look-up of a name. It begins one if none goes on.
    fn join(
        &self,
        host: &str,
        begin: impl FnOnce() -> watch::Receiver<Option<Answer>>,
    ) -> watch::Receiver<Option<Answer>> {
        let mut running = lock(&self.0);
        running.retain(|_, told| match &*told.borrow() {
            Some(answer) => answer.is_useful_later(),
            // An error says that the sender is gone.
            None => told.has_changed().is_ok(),
        });
        if let Some(told) = running.get(host) {
            return told.clone();
        }
        let told = begin();
        running.insert(host.to_owned(), told.clone());
        told
    }

    /// Forgets an answer that nobody has taken. A look-up that is running stays.
    fn forget_answer(&self, host: &str) {
        let mut running = lock(&self.0);
        if running
            .get(host)
            .is_some_and(|told| told.borrow().is_some())
        {
            running.remove(host);
        }
    }

    fn forget_all(&self) {
        lock(&self.0).clear();
    }
}

/// What a future returns if it is ready within a time.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut sleep = pin!(Sleep::unset());
    let deadline = Stopwatch::start().instant(nanos(limit));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => sleep.as_mut().poll_until(deadline, cx).map(|()| None),
    })
    .await
}

/// Whether an error of the system's resolver says that the name has no address.
///
/// The standard library says so only in the text, or by the code of Windows.
pub(super) fn says_no_address(error: &io::Error) -> bool {
    use alloc::string::ToString;

    /// `EAI_NONAME` and `EAI_NODATA`, in the words of each C library.
    const TEXTS: [&str; 6] = [
        "Name or service not known",           // glibc
        "No address associated with hostname", // glibc, Android, the BSDs
        "Name does not resolve",               // musl
        "Name has no usable address",          // musl
        // After "nodename" on macOS, and "hostname" on Android, FreeBSD and NetBSD.
        "nor servname provided, or not known",
        "no address associated with name", // OpenBSD
    ];
    /// `WSAHOST_NOT_FOUND` and `WSANO_DATA`.
    const CODES: [i32; 2] = [11001, 11004];

    if let Some(code) = error.raw_os_error() {
        return cfg!(windows) && CODES.contains(&code);
    }
    // A custom resolver has a kind for it.
    if error.kind() == ErrorKind::NotFound {
        return true;
    }
    let text = error.to_string();
    TEXTS.iter().any(|words| text.contains(words))
}
