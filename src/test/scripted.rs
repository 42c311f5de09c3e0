//! The connector that follows a script.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use pin_project_lite::pin_project;

use super::faults::Faults;
use super::script::{Outcome, Step, Times};
use crate::clock::{Instant, Sleep, Stopwatch, after};
use crate::driver::Connect;

/// The connector of a [`Script`](super::Script).
///
/// # Panics
///
/// An attempt panics if the script has no step for it.
pub struct Scripted<T, E = io::Error> {
    steps: VecDeque<Step<E>>,
    /// How many attempts have begun.
    begun: u64,
    attempted: Box<dyn FnMut() + Send>,
    make: Box<dyn FnMut(Faults) -> T + Send>,
}

impl<T, E> Scripted<T, E> {
    pub(super) fn new(
        steps: VecDeque<Step<E>>,
        attempted: impl FnMut() + Send + 'static,
        make: impl FnMut(Faults) -> T + Send + 'static,
    ) -> Self {
        Self {
            steps,
            begun: 0,
            attempted: Box::new(attempted),
            make: Box::new(make),
        }
    }
}

pin_project! {
    /// An attempt of [`Scripted`].
    pub struct ScriptedAttempt<E> {
        // `None` if it stalls, and once it has ended.
        outcome: Option<Result<Faults, E>>,
        due: Option<Instant>,
        #[pin]
        sleep: Sleep,
    }
}

impl<T, E> Connect for Scripted<T, E> {
    type Connection = T;
    type Error = E;
    type Attempt = ScriptedAttempt<E>;

    fn connect(&mut self) -> Self::Attempt {
        (self.attempted)();
        self.begun += 1;
        while let Some(Times::Left(0)) = self.steps.front().map(|step| step.times) {
            self.steps.pop_front();
        }
        let Some(step) = self.steps.front_mut() else {
            panic!(
                "the script has no step for attempt {}; add one, or `forever()` to the last",
                self.begun
            );
        };
        let outcome = match &mut step.outcome {
            Outcome::Fail(error) => Some(Err(error())),
            Outcome::Stall => None,
            Outcome::Connect(faults) => Some(Ok(faults.fork(self.begun))),
        };
        let due = (!step.after.is_zero()).then(|| Stopwatch::start().instant(after(0, step.after)));
        if let Times::Left(left) = &mut step.times {
            *left -= 1;
        }
        ScriptedAttempt {
            outcome,
            due,
            sleep: Sleep::unset(),
        }
    }

    fn poll_attempt(
        &mut self,
        attempt: Pin<&mut Self::Attempt>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>> {
        let attempt = attempt.project();
        if attempt.outcome.is_none() {
            return Poll::Pending;
        }
        if let Some(due) = attempt.due {
            ready!(attempt.sleep.poll_until(*due, cx));
        }
        match attempt.outcome.take() {
            Some(outcome) => Poll::Ready(outcome.map(&mut self.make)),
            None => Poll::Pending,
        }
    }
}

impl<T, E> fmt::Debug for Scripted<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted")
            .field("begun", &self.begun)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for ScriptedAttempt<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedAttempt")
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}
