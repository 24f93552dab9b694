//! The wall clock as a value, so that a test says what time it is.

use std::sync::Arc;

use jiff::Timestamp;

#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that somebody else winds.
    pub fn of(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// A clock that stands still.
    pub fn fixed(now: Timestamp) -> Self {
        Self(Arc::new(move || now))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// Now as RFC 3339 in UTC, to the millisecond: how answers and log lines write it.
    pub fn now_text(&self) -> String {
        format!("{:.3}", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_rfc_3339_in_utc_to_the_millisecond() {
        let clock = Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap());
        assert_eq!(clock.now_text(), "2026-01-02T03:04:05.000Z");
    }

    #[test]
    fn the_system_clock_goes_on() {
        let clock = Clock::system();
        assert!(clock.now() >= "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    }
}
