//! What is retried, after which pause, and what counts as a failure of the target. All of it
//! depends only on the outcome of an attempt.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Method, StatusCode};

/// Attempts of one call, the first one included.
pub(super) const ATTEMPTS_MAX: u32 = 3;
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The most that is taken of a `Retry-After`. It is longer than any call of ours may take, and
/// bounds what we answer to our own callers.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// A response for the caller to interpret.
    Answered,
    /// The target failed on this request, and would again.
    Broken,
    /// The target is temporarily unavailable.
    Unavailable { retry_after: Option<Duration> },
    /// The target limits the rate of requests.
    Throttled { retry_after: Option<Duration> },
    /// There was no connection, so nothing was sent.
    NotConnected,
    /// The connection was lost. The target may have processed the request.
    ConnectionLost,
    /// No response within the time limit of one attempt, or a 408.
    TimedOut,
    /// Not the target's fault: the deadline passed, the breaker is open, or signing failed.
    Abandoned,
}

/// Which requests to a target may reach it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Those with an idempotent method (RFC 9110, section 9.2.2).
    ByMethod,
    /// All: they change nothing, whatever their method.
    Always,
}

impl AttemptOutcome {
    pub fn of_response(status: StatusCode, headers: &HeaderMap) -> Self {
        match status.as_u16() {
            // It got `X-Request-Timeout-Ms`, and gives up when that has passed.
            408 => Self::TimedOut,
            429 => Self::Throttled {
                retry_after: retry_after(headers),
            },
            502..=504 => Self::Unavailable {
                retry_after: retry_after(headers),
            },
            500.. => Self::Broken,
            _ => Self::Answered,
        }
    }

    /// Whether it is a failure of the target. One that throttles works correctly.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Broken
            | Self::Unavailable { .. }
            | Self::NotConnected
            | Self::ConnectionLost
            | Self::TimedOut => true,
            Self::Answered | Self::Throttled { .. } | Self::Abandoned => false,
        }
    }

    /// Whether to retry a request that may, or may not, be repeated: elsewhere is at an endpoint
    /// that has not tried it yet.
    pub(super) fn is_retried(self, is_repeatable: bool, is_elsewhere: bool) -> bool {
        match self {
            Self::NotConnected => true,
            Self::Unavailable { .. }
            | Self::Throttled { .. }
            | Self::ConnectionLost
            | Self::TimedOut => is_repeatable,
            Self::Broken => is_repeatable && is_elsewhere,
            Self::Answered | Self::Abandoned => false,
        }
    }

    /// The `Retry-After` of the response.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after } | Self::Throttled { retry_after } => retry_after,
            _ => None,
        }
    }
}

impl Repeat {
    pub(super) fn allows(self, method: &Method) -> bool {
        self == Self::Always || method.is_idempotent()
    }
}

/// Randomizes pauses, so that calls that failed together are not retried together.
pub(super) type Jitter = fn(Duration) -> Duration;

/// A uniformly random part of the pause ("full jitter").
pub(super) fn full_jitter(pause: Duration) -> Duration {
    pause.mul_f64(fastrand::f64())
}

/// The pause before retry 0, 1, ...: at least the target's `Retry-After`. An endpoint that is
/// unavailable says nothing about the others.
pub(super) fn pause(
    retry: u32,
    outcome: AttemptOutcome,
    is_elsewhere: bool,
    jitter: Jitter,
) -> Duration {
    let longest = (PAUSE_FIRST * 2_u32.saturating_pow(retry)).min(PAUSE_MAX);
    let asked = match outcome {
        AttemptOutcome::Unavailable { .. } if is_elsewhere => None,
        _ => outcome.retry_after(),
    };
    jitter(longest).max(asked.unwrap_or_default())
}

/// Only the form in seconds: a date would be compared with the clock of another machine.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too large for `u64` is a long time as well.
    let seconds = is_number.then(|| seconds.parse().unwrap_or(u64::MAX))?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Option<Duration> = Some(Duration::from_secs(2));

    #[test]
    fn what_counts_as_failure_and_what_is_tried_again() {
        // outcome, is a failure, is retried: if it may be repeated, elsewhere, though it may not
        let unavailable = AttemptOutcome::Unavailable { retry_after: SOON };
        let throttled = AttemptOutcome::Throttled { retry_after: None };
        let table = [
            (AttemptOutcome::Answered, false, false, false, false),
            (AttemptOutcome::Broken, true, false, true, false),
            (unavailable, true, true, true, false),
            (throttled, false, true, true, false),
            (AttemptOutcome::NotConnected, true, true, true, true),
            (AttemptOutcome::ConnectionLost, true, true, true, false),
            (AttemptOutcome::TimedOut, true, true, true, false),
            (AttemptOutcome::Abandoned, false, false, false, false),
        ];
        for (outcome, is_failure, repeatable, elsewhere, always) in table {
            assert_eq!(outcome.is_failure(), is_failure, "{outcome:?}");
            assert_eq!(outcome.is_retried(true, false), repeatable, "{outcome:?}");
            assert_eq!(outcome.is_retried(true, true), elsewhere, "{outcome:?}");
            assert_eq!(outcome.is_retried(false, true), always, "{outcome:?}");
        }
    }

    #[test]
    fn answers_end_as_their_status_says() {
        let none = HeaderMap::new();
        let retry_after = None;
        for (status, outcome) in [
            (200, AttemptOutcome::Answered),
            (304, AttemptOutcome::Answered),
            (400, AttemptOutcome::Answered),
            (404, AttemptOutcome::Answered),
            (408, AttemptOutcome::TimedOut),
            (429, AttemptOutcome::Throttled { retry_after }),
            (499, AttemptOutcome::Answered),
            (500, AttemptOutcome::Broken),
            (501, AttemptOutcome::Broken),
            (502, AttemptOutcome::Unavailable { retry_after }),
            (503, AttemptOutcome::Unavailable { retry_after }),
            (504, AttemptOutcome::Unavailable { retry_after }),
            (505, AttemptOutcome::Broken),
            (599, AttemptOutcome::Broken),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                AttemptOutcome::of_response(status, &none),
                outcome,
                "{status}"
            );
        }
    }

    #[test]
    fn retry_after_is_taken_in_seconds() {
        for (text, expected) in [
            ("2", SOON),
            ("0", Some(Duration::ZERO)),
            ("60", Some(RETRY_AFTER_MAX)),
            ("61", Some(RETRY_AFTER_MAX)),
            ("9223372036854775807", Some(RETRY_AFTER_MAX)),
            ("18446744073709551615", Some(RETRY_AFTER_MAX)),
            ("99999999999999999999", Some(RETRY_AFTER_MAX)),
            ("", None),
            ("-1", None),
            ("+2", None),
            ("1.5", None),
            ("2 s", None),
            ("soon", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            for status in [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::SERVICE_UNAVAILABLE,
            ] {
                let outcome = AttemptOutcome::of_response(status, &headers);
                assert_eq!(outcome.retry_after(), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn methods_that_are_idempotent_may_be_repeated() {
        for (method, allowed) in [
            (Method::GET, true),
            (Method::HEAD, true),
            (Method::PUT, true),
            (Method::DELETE, true),
            (Method::POST, false),
            (Method::PATCH, false),
        ] {
            assert_eq!(Repeat::ByMethod.allows(&method), allowed, "{method}");
            assert!(Repeat::Always.allows(&method));
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let no_jitter: Jitter = |pause| pause;
        let milliseconds =
            |retry| pause(retry, AttemptOutcome::ConnectionLost, false, no_jitter).as_millis();
        assert_eq!([0, 1, 2, 3].map(milliseconds), [50, 100, 200, 400]);
        assert_eq!([5, 9, 40].map(milliseconds), [1000, 1000, 1000]);
        let asked = AttemptOutcome::Throttled { retry_after: SOON };
        assert_eq!(pause(0, asked, true, no_jitter), Duration::from_secs(2));
        let unavailable = AttemptOutcome::Unavailable { retry_after: SOON };
        assert_eq!(
            pause(0, unavailable, false, no_jitter),
            Duration::from_secs(2)
        );
        let first = Duration::from_millis(50);
        assert_eq!(
            pause(0, unavailable, true, no_jitter),
            first,
            "others are asked"
        );
    }

    #[test]
    fn jitter_only_shortens() {
        let pause = Duration::from_millis(50);
        assert!((0..1000).all(|_| full_jitter(pause) <= pause));
    }
}
