//! What the codes of well-known protocols mean for the next attempt.
//!
//! One module a protocol. Each function takes a code as the protocol's crates give
//! it, and answers with an [`Advice`]:
//!
//! ```
//! use redial::codes::{Actor, http, postgres};
//! use redial::{Cause, Verdict};
//!
//! let busy = http::status(503).unwrap();
//! assert_eq!(busy.verdict(), Verdict::Retry(Cause::Busy));
//!
//! let banned = http::status(403).unwrap();
//! assert_eq!(banned.verdict(), Verdict::Stop);
//! assert_eq!(banned.actor(), Some(Actor::There));
//! assert!(banned.needs_repeat());
//!
//! // A failed statement says nothing about the connection.
//! assert_eq!(postgres::error("40001"), None);
//! ```
//!
//! `None` means that the code concerns a request, not the connection. A code that a
//! table does not know never stops a client: the answer is a retry.
//!
//! The functions are plain tables: no clock, no registry, no allocation. Your program
//! links only the tables that it calls. [How to use them with a
//! driver](crate::_codes) has a page of its own, with the traps of each protocol.
//!
//! # The tables
//!
//! | protocol | codes |
//! |---|---|
//! | HTTP | [`http::response`], [`http::upgrade_response`], [`http::status`], [`http::retry_after`] … |
//! | event streams | [`sse::response`], [`sse::retry`] |
//! | WebSocket | [`websocket::close`], and [`services`] with close codes of their own |
//! | TLS | [`tls::alert`], [`tls::Fault`], [`tls::openssl`] |
//! | gRPC | [`grpc::status`], [`grpc::local`], [`grpc::pushback`] |
//! | HTTP/2, HTTP/3 | [`http2::error`], [`http2::http3_error`] |
//! | databases | [`postgres::fatal`], [`postgres::error`], [`mysql::error`], [`mysql::mariadb`], [`redis::error`] |
//! | brokers | [`mqtt::connack3`], [`mqtt::connack5`], [`mqtt::disconnect5`], [`nats::error`], [`amqp::connection_close`] |
//! | mail | [`smtp::greeting`], [`smtp::login`], [`smtp::mail`], [`imap::login_no`] |
//! | chat | [`irc::numeric`], [`irc::error`], [`xmpp::stream_error`], [`xmpp::sasl_failure`], [`xmpp::bind_error`] |
//!
//! Errors of the operating system are [`Verdict::from(&io_error)`](crate::Verdict)'s.
//!
//! # A stop that is a mistake
//!
//! A wrong retry costs a few attempts. A wrong [`Stop`](crate::Verdict::Stop) costs a person
//! who starts the client again. If a client was connected with the same settings
//! before, a refused login is more often a deploy, a rotated secret or a wrong clock
//! than a wrong password. Therefore most stops of these tables need a second answer.
//! A driver with
//! [`advise`](crate::Redial::advise) waits for it, and so does [`StopOnRepeat`] in a loop of
//! your own.
//!
//! # Sources
//!
//! The documentation of each function names its source: an RFC, a registry, or the
//! source code of a server. Rules that people disagree on say so in a comment.

// An arm is a row with its reason, also if its neighbour has the same verdict.
#![allow(clippy::match_same_arms)]
// Products such as MySQL are no code.
#![allow(clippy::doc_markdown)]

mod date;
mod text;

pub mod amqp;
pub mod grpc;
pub mod http;
pub mod http2;
pub mod imap;
pub mod irc;
pub mod mqtt;
pub mod mysql;
pub mod nats;
pub mod postgres;
pub mod redis;
pub mod services;
pub mod smtp;
pub mod sse;
pub mod tls;
pub mod websocket;
pub mod xmpp;

pub use crate::advice::{Actor, Advice, StopOnRepeat};

use core::time::Duration;

use crate::policy::Cause;

// The words that the tables are written in.

/// Nothing was spent, or a connection that was up is gone.
const DOWN: Advice = Advice::retry(Cause::Down);
/// Somebody answered.
pub(crate) const BUSY: Advice = Advice::retry(Cause::Busy);
/// Our own timer ended a handshake.
const STALLED: Advice = Advice::retry(Cause::Stalled);
/// A setting or the code of the client is wrong.
pub(crate) const STOP: Advice = Advice::stop(Actor::Here);
/// The server's operator must act.
pub(crate) const STOP_THERE: Advice = Advice::stop(Actor::There);
/// The client's settings, at the second answer.
pub(crate) const TWICE: Advice = STOP.if_repeated(2, HALF_A_MINUTE);
/// The server's operator, at the second answer.
pub(crate) const TWICE_THERE: Advice = STOP_THERE.if_repeated(2, HALF_A_MINUTE);
/// One side or the other, at the second answer.
pub(crate) const TWICE_EITHER: Advice = Advice::stop(Actor::Either).if_repeated(2, HALF_A_MINUTE);
/// A refused login. Each attempt may count against the account, so there is only one
/// more: secrets rotate, replicas lag and clocks are wrong, but retries lock accounts.
pub(crate) const LOGIN: Advice = TWICE.spaced();
/// A place that the server does not know. A deploy registers it in a minute or two.
pub(crate) const MISSING: Advice = STOP_THERE.if_repeated(3, Duration::from_secs(120));
/// Another client took the place of this one. The first time it is often our own
/// next connection, after a change of network.
pub(crate) const TAKEN_OVER: Advice = STOP.if_again_within(Duration::from_secs(600));

const HALF_A_MINUTE: Duration = Duration::from_secs(30);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

#[cfg(test)]
mod notation;
