//! The system clock.

use jiff::Timestamp;

use crate::ports::WallClock;

pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock that is passed to everything else"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
