//! The wall clock as a value, so that a test can set the time.

use std::cell::Cell;
use std::sync::Arc;

use jiff::Timestamp;

/// `2026-01-02T03:04:05.678Z`
const TEXT_BYTES: usize = 24;
/// The digits of the milliseconds.
const FRACTION: std::ops::Range<usize> = 20..23;

thread_local! {
    /// The second that was formatted last, and its text. The calendar is most of the cost of
    /// formatting, and a busy service formats many times of the same second.
    static LAST: Cell<(i64, [u8; TEXT_BYTES])> = const { Cell::new((i64::MIN, [0; TEXT_BYTES])) };
}

#[derive(Clone)]
pub struct Clock(ClockSource);

#[derive(Clone)]
enum ClockSource {
    /// Not an `Arc`: every request would write its reference count, and the cores would wait for each
    /// other.
    System,
    Of(Arc<dyn Fn() -> Timestamp + Send + Sync>),
}

impl Clock {
    pub fn system() -> Self {
        Self(ClockSource::System)
    }

    /// A clock that reads its time from `now`.
    pub fn of(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(ClockSource::Of(Arc::new(now)))
    }

    /// A clock that always returns `now`.
    pub fn fixed(now: Timestamp) -> Self {
        Self::of(move || now)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            ClockSource::System => Timestamp::now(),
            ClockSource::Of(now) => now(),
        }
    }

    /// Now as RFC 3339 in UTC, to the millisecond, as in answers and log lines.
    pub fn now_text(&self) -> String {
        let text = self.now_bytes();
        str::from_utf8(&text).unwrap_or_default().to_owned()
    }

    /// `now_text` as ASCII bytes, without an allocation.
    pub(crate) fn now_bytes(&self) -> [u8; TEXT_BYTES] {
        let now_ms = self.now().as_millisecond();
        let (second, mut millisecond) = (now_ms.div_euclid(1000), now_ms.rem_euclid(1000));
        let (known, mut text) = LAST.get();
        if known != second {
            let whole = Timestamp::from_second(second).unwrap_or_default();
            text.copy_from_slice(format!("{whole:.3}").as_bytes());
            LAST.set((second, text));
        }
        for digit in text[FRACTION].iter_mut().rev() {
            *digit = b'0' + u8::try_from(millisecond % 10).unwrap_or_default();
            millisecond /= 10;
        }
        text
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
    fn each_time_has_its_own_text() {
        for text in [
            "2026-01-02T03:04:05.678Z",
            "2026-01-02T03:04:05.001Z",
            "2026-01-02T03:04:06.999Z",
            "2026-01-02T03:04:05.678Z",
            "1969-12-31T23:59:59.998Z",
            "9999-12-30T22:00:00.100Z",
        ] {
            assert_eq!(Clock::fixed(text.parse().unwrap()).now_text(), text);
        }
        let finer = Clock::fixed("2026-01-02T03:04:05.6789Z".parse().unwrap());
        assert_eq!(finer.now_text(), "2026-01-02T03:04:05.678Z");
    }

    #[test]
    fn the_system_clock_goes_on() {
        let clock = Clock::system();
        assert!(clock.now() >= "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    }
}
