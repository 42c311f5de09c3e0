//! Why a silent connection was dropped.

use core::error::Error;
use core::fmt;
use core::time::Duration;

/// A connection was dropped because its peer was silent: nothing was received for
/// this long, and a ping had no answer.
///
/// Its text is, for example, "silent for 40s".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Silent {
    duration: Duration,
}

impl Silent {
    /// A silence of this length, for the tests of a program that handles one.
    pub const fn new(duration: Duration) -> Self {
        Self { duration }
    }

    /// How long nothing was received.
    pub const fn duration(&self) -> Duration {
        self.duration
    }
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nobody reads the rest.
        let milliseconds = Duration::from_millis(self.duration.as_millis() as u64);
        write!(f, "silent for {milliseconds:?}")
    }
}

impl Error for Silent {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_text_has_whole_milliseconds() {
        let silent = Silent::new(Duration::from_nanos(40_000_999_999));
        assert_eq!(silent.to_string(), "silent for 40s");
        let silent = Silent::new(Duration::from_micros(40_001_500));
        assert_eq!(silent.to_string(), "silent for 40.001s");
    }
}
