//! The system clock.

use jiff::Timestamp;

use crate::ports::Clock;

pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock that is passed to everything else"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
