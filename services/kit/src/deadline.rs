//! The deadline of a request: ours, or the caller's where that is sooner. Whoever is called is
//! told what is left of it, so that nobody works for an answer that nobody waits for.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

/// How long the caller waits for the answer, in milliseconds.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// How long a request with these headers may take. A header that is not one number is passed over.
pub(crate) fn time_for(headers: &HeaderMap, longest: Duration) -> Duration {
    let mut values = headers.get_all(HEADER).iter();
    let callers = match (values.next(), values.next()) {
        (Some(value), None) => milliseconds(value),
        _ => None,
    };
    callers.map_or(longest, |callers| callers.min(longest))
}

/// What is left, rounded down, but at least 1: who is asked at all has some time.
pub(crate) fn header_value(until: Instant) -> HeaderValue {
    let left = until.saturating_duration_since(Instant::now()).as_millis();
    HeaderValue::from(u64::try_from(left).unwrap_or(u64::MAX).max(1))
}

fn milliseconds(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    // A number's own parser would take a sign.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let milliseconds = is_plain.then(|| text.parse().ok())??;
    Some(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(10);

    fn time_of(values: &[&str]) -> u128 {
        let value = |text: &&str| (HEADER, HeaderValue::from_str(text).unwrap());
        time_for(&values.iter().map(value).collect(), LONGEST).as_millis()
    }

    #[test]
    fn the_sooner_deadline_counts() {
        assert_eq!(time_of(&[]), 10_000);
        assert_eq!(time_of(&["2500"]), 2500);
        assert_eq!(time_of(&["0"]), 0);
        assert_eq!(time_of(&["60000"]), 10_000);
        assert_eq!(time_of(&["18446744073709551615"]), 10_000);
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
            assert_eq!(time_of(&[text]), 10_000, "{text:?}");
        }
        assert_eq!(time_of(&["5", "6"]), 10_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_left_is_passed_on() {
        let until = Instant::now() + Duration::from_micros(2_900_999);
        assert_eq!(header_value(until), "2900");
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(header_value(until), "2000");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(header_value(until), "1");
    }
}
