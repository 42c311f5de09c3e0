//! What an error means for the next attempt, and what that rests on.

mod repeat;

use core::fmt;
use core::time::Duration;

use crate::policy::Cause;
use crate::verdict::Verdict;

pub use repeat::StopOnRepeat;

/// How often an unattended program comes back, if only the server's operator can act.
const UNATTENDED: Duration = Duration::from_secs(300);

/// What a code means for the next attempt: a [`Verdict`] and what it rests on.
///
/// Tables of your own can build one, so that [`StopOnRepeat`]
/// judges them as it judges these:
///
/// ```
/// use redial::Cause;
/// use redial::codes::{Actor, Advice, websocket};
/// use std::time::Duration;
///
/// /// The close codes of a server of ours.
/// fn close(code: u16) -> Advice {
///     match code {
///         4001 => Advice::stop(Actor::Here).if_repeated(2, Duration::from_secs(30)),
///         4002 => Advice::retry(Cause::Busy).elsewhere(),
///         4003 => Advice::after(Duration::from_secs(60)),
///         _ => websocket::close(code),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Advice {
    verdict: Verdict,
    actor: Option<Actor>,
    proof: Proof,
    is_elsewhere: bool,
    is_one_at_a_time: bool,
}

/// Who must act before another attempt can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Actor {
    /// This side: the program's user, its settings or its code. A wrong password is an
    /// example.
    Here,
    /// The server's operator. A ban and an expired server certificate are examples.
    There,
    /// The code does not tell. A certificate of an unknown issuer is an example: a root
    /// may be missing here, or an intermediate there.
    Either,
}

impl fmt::Display for Actor {
    /// The side in words, for a sentence such as "the server's operator must act".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => "this side",
            Self::There => "the server's operator",
            Self::Either => "this side or the server's operator",
        })
    }
}

/// How often a stop must come before it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Proof {
    /// Once is enough.
    Once,
    /// So many times, with at least this time from the first to the last.
    Repeated {
        times: u8,
        over: Duration,
        /// No attempt before `over` has passed.
        is_spaced: bool,
    },
    /// Twice within this time, even if there was a connection in between.
    AgainWithin(Duration),
}

impl Advice {
    /// Try again. The cause is what the attempt cost the server.
    pub const fn retry(cause: Cause) -> Self {
        Self::new(Verdict::Retry(cause), None)
    }

    /// Try again, but not before this time has passed. A zero is no floor, so it is a
    /// retry of [`Cause::Busy`].
    pub const fn after(floor: Duration) -> Self {
        if floor.is_zero() {
            return Self::retry(Cause::Busy);
        }
        Self::new(Verdict::RetryAfter(floor), None)
    }

    /// Do not try again before this side has acted.
    pub const fn stop(actor: Actor) -> Self {
        Self::new(Verdict::Stop, Some(actor))
    }

    const fn new(verdict: Verdict, actor: Option<Actor>) -> Self {
        Self {
            verdict,
            actor,
            proof: Proof::Once,
            is_elsewhere: false,
            is_one_at_a_time: false,
        }
    }

    /// Believe the stop only if it comes `times` times, with at least `over` between
    /// the first and the last.
    pub const fn if_repeated(self, times: u8, over: Duration) -> Self {
        Self {
            proof: Proof::Repeated {
                times,
                over,
                is_spaced: false,
            },
            ..self
        }
    }

    /// Make no attempt before `over` of [`if_repeated`](Self::if_repeated) has passed,
    /// because each attempt may count against an account.
    pub const fn spaced(self) -> Self {
        match self.proof {
            Proof::Repeated { times, over, .. } => Self {
                proof: Proof::Repeated {
                    times,
                    over,
                    is_spaced: true,
                },
                ..self
            },
            Proof::Once | Proof::AgainWithin(_) => self,
        }
    }

    /// Believe the stop only if it comes again within this time, even if there was a
    /// connection in between: two clients that take a place from each other do so
    /// forever.
    pub const fn if_again_within(self, time: Duration) -> Self {
        Self {
            proof: Proof::AgainWithin(time),
            ..self
        }
    }

    /// Another server can serve the client now.
    pub const fn elsewhere(self) -> Self {
        Self {
            is_elsewhere: true,
            ..self
        }
    }

    /// The server allows a client one connection at a time, and refused another. A
    /// [renewal](crate::Redial::max_age) then closes the connection before it makes the
    /// next one; see `Redial::one_at_a_time`.
    pub const fn one_at_a_time(self) -> Self {
        Self {
            is_one_at_a_time: true,
            ..self
        }
    }

    /// The verdict, if a single answer is believed.
    pub const fn verdict(self) -> Verdict {
        self.verdict
    }

    /// Who must act, if the verdict is [`Stop`](Verdict::Stop).
    pub const fn actor(self) -> Option<Actor> {
        self.actor
    }

    /// Whether another server can serve the client now: the one that the answer names,
    /// or the next on the client's list. The verdict is for the server that answered.
    pub const fn is_elsewhere(self) -> bool {
        self.is_elsewhere
    }

    /// Whether the server allows a client one connection at a time.
    pub const fn is_one_at_a_time(self) -> bool {
        self.is_one_at_a_time
    }

    /// Whether a single answer is too little to stop for; see
    /// [`StopOnRepeat`].
    pub const fn needs_repeat(self) -> bool {
        matches!(self.verdict, Verdict::Stop) && !matches!(self.proof, Proof::Once)
    }

    /// The advice for a program that nobody watches: a stop becomes a retry after five
    /// minutes, unless only this side can act.
    ///
    /// A server's operator mends an expired certificate at night. Ten thousand clients
    /// that stopped must then be started by hand.
    pub const fn unattended(self) -> Self {
        match self.actor {
            Some(Actor::There | Actor::Either) => Self {
                is_elsewhere: self.is_elsewhere,
                is_one_at_a_time: self.is_one_at_a_time,
                ..Self::after(UNATTENDED)
            },
            Some(Actor::Here) | None => self,
        }
    }

    pub(crate) const fn proof(self) -> Proof {
        self.proof
    }
}

impl From<Advice> for Verdict {
    /// As [`Advice::verdict`].
    fn from(advice: Advice) -> Self {
        advice.verdict()
    }
}

impl From<Verdict> for Advice {
    /// The advice that rests on nothing else: a stop counts at once, and names nobody.
    fn from(verdict: Verdict) -> Self {
        Self::new(verdict, None)
    }
}

#[cfg(feature = "std")]
impl From<&std::io::Error> for Advice {
    /// As [`Verdict::from`].
    fn from(error: &std::io::Error) -> Self {
        Verdict::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::{BUSY, STOP, STOP_THERE, TWICE, TWICE_EITHER, TWICE_THERE};

    #[test]
    fn only_a_stop_names_who_must_act() {
        assert_eq!(BUSY.actor(), None);
        assert_eq!(STOP.actor(), Some(Actor::Here));
        assert_eq!(STOP_THERE.actor(), Some(Actor::There));
    }

    #[test]
    fn unattended_programs_come_back_unless_this_side_must_act() {
        let later = Advice::after(Duration::from_secs(300));
        assert_eq!(STOP_THERE.unattended(), later);
        assert_eq!(TWICE_THERE.unattended(), later);
        assert_eq!(TWICE_EITHER.unattended(), later);
        assert_eq!(STOP_THERE.elsewhere().unattended(), later.elsewhere());
        assert_eq!(STOP.unattended(), STOP);
        assert_eq!(TWICE.unattended(), TWICE);
        assert_eq!(BUSY.unattended(), BUSY);
    }

    #[test]
    fn a_floor_of_zero_is_no_floor() {
        assert_eq!(Advice::after(Duration::ZERO), BUSY);
        assert_eq!(
            Verdict::from(Advice::after(Duration::MAX)),
            Verdict::RetryAfter(Duration::MAX)
        );
    }

    #[test]
    fn only_a_stop_needs_a_repeat() {
        assert!(TWICE.needs_repeat());
        assert!(!STOP.needs_repeat());
        assert!(!BUSY.if_repeated(2, Duration::ZERO).needs_repeat());
    }
}
