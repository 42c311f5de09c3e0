#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

use std::fmt;
use std::future::Future;
use std::time::Duration;

use redial::budget::{Call, Store, StoreError, StoreErrorKind};
use redial::{AnyPolicy, BoxConnect, Error, Jitter, Lent, Redial, Sequence, Shared};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult};

/// How long a connection, and an answer, may take.
const TIMEOUT: Duration = Duration::from_millis(200);

/// A [`Store`] on a Redis or Valkey server.
///
/// Clones share a connection. It is made when a budget asks first, and again when a
/// budget asks after it was lost: by a [`Redial`], so there is one attempt at a time. The
/// budget says how often it asks.
///
/// The connection is dropped if it breaks, if an answer does not come in time, and if
/// the server says that it is a replica.
pub struct RedisStore<C: Clone = MultiplexedConnection> {
    connection: Shared<BoxConnect<C, RedisError>, AnyPolicy>,
}

impl RedisStore {
    /// A store on the server of `client`. It has not connected yet.
    ///
    /// A connection and an answer may take 200 ms each. The budget's own
    /// [bound](redial::SharedBudget::bound) holds for both together. If you make that
    /// longer, make the connections yourself, with [`connecting`](Self::connecting).
    ///
    /// ```
    /// use redial::SharedBudget;
    /// use redial_redis::RedisStore;
    /// use std::time::Duration;
    ///
    /// # fn doc() -> redis::RedisResult<()> {
    /// let client = redis::Client::open("redis://127.0.0.1:6379")?;
    /// let budget = SharedBudget::new(RedisStore::new(client), "chat", 50, Duration::from_millis(5))
    ///     .share(8);
    /// # Ok(()) }
    /// ```
    pub fn new(client: Client) -> Self {
        Self::connecting(move || {
            let client = client.clone();
            async move {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(TIMEOUT))
                    .set_response_timeout(Some(TIMEOUT));
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
            }
        })
    }
}

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// A store on connections of your own: of a cluster, for instance, or of the
    /// master that a sentinel names.
    ///
    /// `connect` must set both timeouts of its connections, and must not retry.
    pub fn connecting<F>(connect: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = RedisResult<C>> + Send + 'static,
    {
        // The budget asks ever less often while there is no connection. So each question
        // is one attempt, at once.
        let at_once = Sequence::new([Duration::ZERO]).jitter(Jitter::None);
        let redial = Redial::new(connect)
            .policy(at_once)
            .max_attempts(1)
            .stable_after(Duration::ZERO);
        Self {
            connection: redial.boxed().into_shared(),
        }
    }
}

impl<C> Store for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    async fn run(&self, call: &Call) -> Result<[i64; 3], StoreError> {
        let link = self.connection.ready().await;
        let mut asked = Asked {
            link: link.map_err(|error| no_connection(&error))?,
            is_well: false,
        };
        let outcome = evaluate(&mut *asked.link, call).await.map_err(store_error);
        asked.is_well = !matches!(outcome, Err((_, true)));
        outcome.map_err(|(error, _)| error)
    }
}

/// A connection that was asked.
///
/// A budget drops the question if the answer is late. Then the connection is lost, too. A
/// server that is cut off would never be noticed otherwise: its connection stays open for
/// minutes.
struct Asked<C: Clone> {
    link: Lent<BoxConnect<C, RedisError>, AnyPolicy>,
    is_well: bool,
}

impl<C: Clone> Drop for Asked<C> {
    fn drop(&mut self) {
        if !self.is_well {
            self.link.lost();
        }
    }
}

/// Runs the script, which the server may know already.
async fn evaluate(connection: &mut impl ConnectionLike, call: &Call) -> RedisResult<[i64; 3]> {
    match command("EVALSHA", Call::SHA1, call)
        .query_async(connection)
        .await
    {
        // The server has not run it yet, so it may be asked again. EVAL stores the script,
        // too, and needs no right to SCRIPT LOAD.
        Err(error) if error.code() == Some("NOSCRIPT") => {
            command("EVAL", Call::SCRIPT, call)
                .query_async(connection)
                .await
        }
        answer => answer,
    }
}

fn command(name: &str, script: &str, call: &Call) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(1).arg(call.key());
    for argument in call.arguments() {
        command.arg(argument);
    }
    command
}

/// The error of a question, and whether its connection is lost.
fn store_error(error: RedisError) -> (StoreError, bool) {
    if let Some(code) = error.code() {
        let text = match error.detail() {
            Some(detail) => format!("{code} {detail}"),
            None => code.to_owned(),
        };
        let answer = StoreError::reply(&text).because(error);
        // The library does not see a reason to reconnect in a master that became a
        // replica. Behind a name it would keep its connection to the old master.
        let lost = answer.kind() == StoreErrorKind::ReadOnly;
        return (answer, lost);
    }
    let (kind, lost) = if error.kind() == ErrorKind::AuthenticationFailed {
        (StoreErrorKind::Forbidden, true)
    } else if error.is_timeout() {
        (StoreErrorKind::Slow, true)
    } else if error.is_io_error() || error.is_unrecoverable_error() {
        (StoreErrorKind::Unreachable, true)
    } else {
        (StoreErrorKind::Other, false)
    };
    (
        StoreError::new(kind, error.to_string()).because(error),
        lost,
    )
}

/// The error of a connection that was not made.
fn no_connection(error: &Error<RedisError>) -> StoreError {
    match error.last() {
        // A login that failed, or a name that no sentinel knows.
        Some(last) if !last.is_io_error() => store_error(last.clone()).0,
        Some(last) => {
            StoreError::new(StoreErrorKind::Unreachable, last.to_string()).because(last.clone())
        }
        None => StoreError::new(StoreErrorKind::Unreachable, error.to_string()),
    }
}

impl<C: Clone> Clone for RedisStore<C> {
    fn clone(&self) -> Self {
        Self {
            connection: self.connection.clone(),
        }
    }
}

impl<C: Clone> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}
