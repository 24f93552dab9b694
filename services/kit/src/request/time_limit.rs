//! The time limit of a request: ours, or the caller's where that is shorter. Calls that are made
//! for the request pass on what is left of it, so that no service works on an answer that its
//! caller no longer waits for.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

/// How long the caller waits for the answer, in milliseconds.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// A request with less time is refused before any work: it would mostly end in calls that are cut
/// off, and each of these costs a connection.
pub(crate) const TIME_LIMIT_MIN_MS: u64 = 100;

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    pub(crate) span: Duration,
    /// Set by the caller, and shorter than ours.
    pub(crate) is_callers: bool,
}

impl TimeLimit {
    pub(crate) fn ours(span: Duration) -> Self {
        let is_callers = false;
        Self { span, is_callers }
    }

    /// Of a request with these headers. A header that is not one whole number is ignored.
    pub(crate) fn of(headers: &HeaderMap, max: Duration) -> Self {
        let mut values = headers.get_all(HEADER).iter();
        let callers = match (values.next(), values.next()) {
            (Some(value), None) => milliseconds(value),
            _ => None,
        };
        match callers {
            Some(span) if span < max => Self {
                span,
                is_callers: true,
            },
            _ => Self::ours(max),
        }
    }

    pub(crate) fn is_too_little(self) -> bool {
        self.is_callers && self.span < Duration::from_millis(TIME_LIMIT_MIN_MS)
    }
}

/// The time until then in milliseconds, rounded up and at least `TIME_LIMIT_MIN_MS`, so that a
/// callee does not refuse a call that we still wait for.
pub(crate) fn header_value(until: Instant) -> HeaderValue {
    let left = until.saturating_duration_since(Instant::now());
    let left_ms = u64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    HeaderValue::from(left_ms.max(TIME_LIMIT_MIN_MS))
}

fn milliseconds(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    // `parse` would accept a sign.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let milliseconds = is_plain.then(|| text.parse().ok())??;
    Some(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(10);

    /// In milliseconds, and whether the caller set it.
    fn time_of(values: &[&str]) -> (u128, bool) {
        let value = |text: &&str| (HEADER, HeaderValue::from_str(text).unwrap());
        let time = TimeLimit::of(&values.iter().map(value).collect(), LONGEST);
        (time.span.as_millis(), time.is_callers)
    }

    const OURS: (u128, bool) = (10_000, false);

    #[test]
    fn the_sooner_deadline_counts() {
        assert_eq!(time_of(&[]), OURS);
        assert_eq!(time_of(&["2500"]), (2500, true));
        assert_eq!(time_of(&["0"]), (0, true));
        assert_eq!(time_of(&["9999"]), (9999, true));
        assert_eq!(time_of(&["10000"]), OURS);
        assert_eq!(time_of(&["60000"]), OURS);
        assert_eq!(time_of(&["18446744073709551615"]), OURS);
    }

    #[test]
    fn only_a_caller_gives_too_little() {
        let time = |milliseconds, is_callers| TimeLimit {
            span: Duration::from_millis(milliseconds),
            is_callers,
        };
        assert!(time(0, true).is_too_little());
        assert!(time(TIME_LIMIT_MIN_MS - 1, true).is_too_little());
        assert!(!time(TIME_LIMIT_MIN_MS, true).is_too_little());
        assert!(!time(1, false).is_too_little());
    }

    #[test]
    fn what_is_malformed_is_passed_over() {
        for text in [
            "",
            "+5",
            "-5",
            "1.5",
            "5ms",
            " 5 5",
            "0x5",
            "99999999999999999999",
        ] {
            assert_eq!(time_of(&[text]), OURS, "{text:?}");
        }
        assert_eq!(time_of(&["5", "6"]), OURS);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_left_is_passed_on() {
        let until = Instant::now() + Duration::from_micros(2_900_999);
        assert_eq!(header_value(until), "2901");
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(header_value(until), "2001");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(header_value(until), "100");
    }
}
