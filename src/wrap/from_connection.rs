//! What the error type of a connector must be able to hold.

/// An error type of a connector that can also hold an error `E` of its
/// connections: any type that implements `From<E>`.
///
/// A [`Session`](crate::Session) and a [`RedialIo`](crate::RedialIo) report the
/// errors of a connection as the connector's error type, so that one
/// [classifier](crate::Redial::classify) judges all errors. This trait is there
/// for the compiler's message. To get it, implement `From<E>`:
///
/// ```
/// use redial::{Connect, Redial, tcp};
/// use std::io;
/// use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
///
/// #[derive(Debug)]
/// enum ChatError {
///     Connecting(io::Error),
///     Line(LinesCodecError),
/// }
///
/// impl From<io::Error> for ChatError {
///     fn from(error: io::Error) -> Self {
///         Self::Connecting(error)
///     }
/// }
///
/// // `into_session` needs this: an error of the codec ends the connection.
/// impl From<LinesCodecError> for ChatError {
///     fn from(error: LinesCodecError) -> Self {
///         Self::Line(error)
///     }
/// }
///
/// let dial = tcp::connect("chat.example:6667");
/// let chat = Redial::new(dial.then(async |stream| {
///     Ok::<_, ChatError>(Framed::new(stream, LinesCodec::new()))
/// }))
/// .into_session();
/// ```
#[diagnostic::on_unimplemented(
    message = "the connector's error type `{Self}` cannot hold the error of its connection, `{E}`",
    label = "its connections fail with `{E}`",
    note = "implement `From<{E}>` for `{Self}`, or return another error type from the connector"
)]
pub trait FromConnection<E>: From<E> {}

// Without this attribute the compiler would miss `From`, and not say why.
#[diagnostic::do_not_recommend]
impl<T: From<E>, E> FromConnection<E> for T {}
