//! Time is paused, and there is no jitter.

use std::cell::Cell;

use http::Uri;

use super::*;
use crate::TrustRoots;
use crate::outbound::HttpClient;

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const WELL: Result<(), AttemptOutcome> = Ok(());
const LOST: Result<(), AttemptOutcome> = Err(AttemptOutcome::ConnectionLost);
const REFUSED: Result<(), AttemptOutcome> = Err(AttemptOutcome::NotConnected);

fn throttled(seconds: u64) -> Result<(), AttemptOutcome> {
    let retry_after = Some(Duration::from_secs(seconds));
    Err(AttemptOutcome::Throttled { retry_after })
}

/// A guard without jitter, and when its calls were attempted.
struct GuardTest {
    guard: Guard,
    metrics: Metrics,
    began: Instant,
    attempts: Cell<Vec<u128>>,
}

impl GuardTest {
    fn new() -> Self {
        let metrics = Metrics::default();
        let url = Uri::from_static("http://tested/");
        let client = HttpClient::new(&url, None, &TrustRoots::default());
        let endpoints = Endpoints::new("tested", client, None, &metrics);
        Self {
            guard: Guard {
                jitter: |pause| pause,
                ..Guard::new("tested", ATTEMPT_TIMEOUT, endpoints, &metrics)
            },
            metrics,
            began: Instant::now(),
            attempts: Cell::default(),
        }
    }

    /// One call whose nth attempt returns the nth result (after the last one, the last) after its
    /// time.
    async fn call(
        &self,
        deadline_ms: u64,
        is_repeatable: bool,
        attempt_ms: u64,
        results: &[Result<(), AttemptOutcome>],
    ) -> Result<(), CallError<AttemptOutcome>> {
        let deadline = Instant::now() + Duration::from_millis(deadline_ms);
        let made = Cell::new(0);
        let attempt = |_, _| async {
            let mut attempts = self.attempts.take();
            attempts.push(self.began.elapsed().as_millis());
            self.attempts.set(attempts);
            let nth = made.replace(made.get() + 1);
            sleep(Duration::from_millis(attempt_ms)).await;
            results[nth.min(results.len() - 1)]
        };
        let outcome =
            |result: &Result<(), AttemptOutcome>| result.err().unwrap_or(AttemptOutcome::Answered);
        self.guard
            .call(deadline, is_repeatable, attempt, outcome)
            .await
    }

    /// The times of the attempts since the last call of this, in milliseconds since the start.
    fn attempts(&self) -> Vec<u128> {
        self.attempts.take()
    }

    fn count(&self, name: &'static str) -> u64 {
        self.metrics.counter(name, &[("target", "tested")]).take()
    }
}

#[tokio::test(start_paused = true)]
async fn it_tries_three_times_with_pauses_that_double() {
    let scene = GuardTest::new();
    let error = scene.call(10_000, true, 10, &[LOST]).await.unwrap_err();
    assert!(
        matches!(error, CallError::Failed(AttemptOutcome::ConnectionLost)),
        "{error:?}"
    );
    assert_eq!(scene.attempts(), [0, 60, 170]);
    assert_eq!(scene.count("retries"), 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_that_is_well_ends_it() {
    let scene = GuardTest::new();
    assert!(scene.call(10_000, true, 0, &[LOST, WELL]).await.is_ok());
    assert_eq!(scene.attempts().len(), 2);
    assert!(scene.call(10_000, true, 0, &[WELL]).await.is_ok());
    assert_eq!(scene.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_repeatable_is_retried_only_without_a_connection() {
    let scene = GuardTest::new();
    assert!(scene.call(10_000, false, 0, &[LOST, WELL]).await.is_err());
    assert_eq!(scene.attempts().len(), 1);
    assert!(scene.call(10_000, false, 0, &[REFUSED, WELL]).await.is_ok());
    assert_eq!(scene.attempts().len(), 2);
    let hangs = scene.call(10_000, false, 60_000, &[WELL]).await;
    assert!(matches!(hangs, Err(CallError::Timeout(ATTEMPT_TIMEOUT))));
    assert_eq!(scene.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_target_says_how_long_the_pause_is() {
    let scene = GuardTest::new();
    let results = [throttled(2), throttled(0), WELL];
    assert!(scene.call(10_000, true, 0, &results).await.is_ok());
    assert_eq!(scene.attempts(), [0, 2000, 2100]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_does_not_fit_is_not_begun() {
    let scene = GuardTest::new();
    let error = scene
        .call(2000, true, 0, &[throttled(2)])
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Failed(_)), "{error:?}");
    assert_eq!(
        scene.began.elapsed(),
        Duration::ZERO,
        "it does not wait in vain"
    );
    assert_eq!((scene.attempts().len(), scene.count("retries")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_time_and_all_of_them_the_deadline() {
    let scene = GuardTest::new();
    let error = scene.call(7000, true, 60_000, &[WELL]).await.unwrap_err();
    assert!(matches!(error, CallError::Deadline), "{error:?}");
    assert_eq!(scene.attempts(), [0, 3050, 6150]);
    assert_eq!(scene.began.elapsed().as_millis(), 7000);
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_nothing_is_begun() {
    let scene = GuardTest::new();
    let error = scene.call(0, true, 0, &[WELL]).await.unwrap_err();
    assert!(matches!(error, CallError::Deadline), "{error:?}");
    assert!(scene.attempts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_gets_the_time_at_which_it_is_cut_off() {
    let scene = GuardTest::new();
    for (deadline_ms, left_ms) in [(10_000, 3000), (2000, 2000)] {
        let deadline = Instant::now() + Duration::from_millis(deadline_ms);
        let attempt = async |_, until: Instant| Ok::<_, AttemptOutcome>(until - Instant::now());
        let left = scene
            .guard
            .call(deadline, true, attempt, |_| AttemptOutcome::Answered)
            .await;
        assert_eq!(left.unwrap().as_millis(), left_ms);
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_answers_at_once_and_is_not_tried_again() {
    let scene = GuardTest::new();
    let mut calls = 0;
    let open_for = loop {
        match scene.call(10_000, true, 0, &[LOST]).await.unwrap_err() {
            CallError::Failed(_) => calls += 1,
            CallError::BreakerOpen { retry_after } => break retry_after,
            error => panic!("{error:?}"),
        }
    };
    assert_eq!(open_for, Duration::from_secs(1));
    assert_eq!(
        scene.attempts().len(),
        10,
        "of the last call no retry is made"
    );
    assert_eq!((calls, scene.count("retries")), (4, 6));
    sleep(open_for).await;
    assert!(scene.call(10_000, true, 0, &[WELL]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_does_not_speak_against_the_target() {
    let scene = GuardTest::new();
    for _ in 0..20 {
        let error = scene.call(100, true, 60_000, &[WELL]).await.unwrap_err();
        assert!(matches!(error, CallError::Deadline), "{error:?}");
        let dropped = scene.call(10_000, true, 60_000, &[WELL]);
        assert!(
            tokio::time::timeout(Duration::from_millis(1), dropped)
                .await
                .is_err()
        );
    }
    assert!(scene.call(10_000, true, 0, &[WELL]).await.is_ok());
}

/// A target that knows the time limit may answer 408 by itself.
#[tokio::test(start_paused = true)]
async fn a_target_that_had_too_little_time_may_say_so() {
    let scene = GuardTest::new();
    let too_late = [Err(AttemptOutcome::TimedOut)];
    for _ in 0..20 {
        let error = scene.call(2999, true, 0, &too_late).await.unwrap_err();
        assert!(matches!(error, CallError::Deadline), "{error:?}");
    }
    assert_eq!((scene.attempts().len(), scene.count("retries")), (20, 0));
    // Within the time limit of an attempt it has to answer.
    let error = scene.call(10_000, true, 0, &too_late).await.unwrap_err();
    assert!(
        matches!(error, CallError::Timeout(ATTEMPT_TIMEOUT)),
        "{error:?}"
    );
    assert_eq!((scene.attempts().len(), scene.count("retries")), (3, 2));
}

/// A breaker that has been open for long enough.
async fn half_open() -> GuardTest {
    let scene = GuardTest::new();
    while !scene.guard.endpoints.is_open() {
        assert!(scene.call(10_000, true, 0, &[LOST]).await.is_err());
    }
    sleep(Duration::from_secs(1)).await;
    scene
}

#[tokio::test(start_paused = true)]
async fn short_deadlines_do_not_hold_a_breaker_open() {
    let scene = half_open().await;
    let strangers = async {
        for _ in 0..40 {
            let error = scene.call(5, true, 20, &[WELL]).await.unwrap_err();
            assert!(matches!(error, CallError::Deadline), "{error:?}");
        }
    };
    let honest = async {
        sleep(Duration::from_millis(2)).await;
        scene.call(10_000, true, 20, &[WELL]).await
    };
    assert!(tokio::join!(strangers, honest).1.is_ok());
    assert!(scene.call(10_000, true, 0, &[WELL]).await.is_ok());
}

/// As in a chain of services, each with a little less time than the one before.
#[tokio::test(start_paused = true)]
async fn where_all_deadlines_are_short_a_target_that_is_well_is_called_again() {
    let scene = half_open().await;
    assert!(scene.call(2999, true, 20, &[WELL]).await.is_ok());
    assert!(scene.call(10_000, true, 0, &[WELL]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn calls_that_ask_nothing_add_nothing_to_the_budget() {
    let scene = GuardTest::new();
    for _ in 0..1000 {
        assert!(scene.call(0, true, 0, &[WELL]).await.is_err());
    }
    for _ in 0..200 {
        assert!(scene.call(100, true, 0, &[throttled(0)]).await.is_err());
    }
    let allowed = u64::from(BUDGET_MIN_PER_SECOND) * BUDGET_WINDOW.as_secs() + 200 / 5;
    let retries = scene.count("retries");
    assert!((allowed - 5..=allowed).contains(&retries), "{retries}");
}

#[tokio::test(start_paused = true)]
async fn all_calls_share_one_budget() {
    let scene = GuardTest::new();
    // Throttled calls are retried, and do not open the breaker.
    for _ in 0..200 {
        let throttled = throttled(0);
        assert!(
            scene
                .call(100, true, 0, &[throttled, throttled, WELL])
                .await
                .is_err()
        );
    }
    let allowed = u64::from(BUDGET_MIN_PER_SECOND) * BUDGET_WINDOW.as_secs() + 200 / 5;
    let retries = scene.count("retries");
    assert!((allowed - 5..=allowed).contains(&retries), "{retries}");
    assert_eq!(scene.count("retry_budget_exhausted"), 200 - retries);
}
