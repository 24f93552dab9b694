//! A service in simulated time that gets more requests than what it calls can do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{Request, StatusCode};
use service_kit::{App, Metrics, Routes, Unit};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::test_app::test_app;

/// The load, in requests a second, and for how long.
const RATE: u64 = 120;
const SECONDS: u64 = 30;
pub(crate) const ASKED: u64 = RATE * SECONDS;
/// The caller leaves without an answer after this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many calls the target works on at once; the others wait there.
const TARGET_AT_ONCE: usize = 64;
/// As a service calls it with the default deadline.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);
const ATTEMPTS: usize = 3;

/// How long the target takes for one call, in milliseconds: at first, and from the middle on.
#[derive(Clone, Copy)]
pub(crate) struct TargetTime(pub(crate) u64, pub(crate) u64);

impl TargetTime {
    pub(crate) const ALL: [Self; 5] = [
        Self(10, 10),
        Self(100, 100),
        Self(1000, 1000),
        Self(10, 1000),
        Self(1000, 10),
    ];
}

/// The least that the limit may fall to.
#[derive(Clone, Copy)]
pub(crate) enum LimitFloor {
    /// The same as the most, so that the limit is fixed.
    Most,
    Default,
}

#[derive(Debug, Default)]
pub(crate) struct LoadResult {
    pub(crate) in_time: usize,
    pub(crate) shed: usize,
    pub(crate) other: usize,
    pub(crate) limit_at_the_end: f64,
}

impl fmt::Display for TargetTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(first, second) = self;
        if first != second {
            write!(formatter, "{first} then ")?;
        }
        write!(formatter, "{second} ms")
    }
}

/// A target with places: who waits for one may leave.
async fn call_target(places: Arc<Semaphore>, time: TargetTime, began: Instant) -> StatusCode {
    for _ in 0..ATTEMPTS {
        let attempt = async {
            let _place = places.acquire().await.unwrap();
            let is_second = began.elapsed() >= Duration::from_secs(SECONDS / 2);
            sleep(Duration::from_millis(if is_second {
                time.1
            } else {
                time.0
            }))
            .await;
        };
        if timeout(ATTEMPT_TIMEOUT, attempt).await.is_ok() {
            return StatusCode::OK;
        }
    }
    StatusCode::GATEWAY_TIMEOUT
}

/// The application, whose `/work` calls the target.
pub(crate) fn calling_app(time: TargetTime, floor: LimitFloor) -> (App, Metrics) {
    let (places, began) = (Arc::new(Semaphore::new(TARGET_AT_ONCE)), Instant::now());
    let work = async move || call_target(places, time, began).await;
    let floor = match floor {
        LimitFloor::Most => "512",
        LimitFloor::Default => "16",
    };
    test_app(&[("IN_FLIGHT_MIN", floor)], |_| {
        Routes::new().open("/work", get(work))
    })
}

/// Sends `ASKED` requests evenly. Time has to be paused.
pub(crate) async fn load(time: TargetTime, floor: LimitFloor) -> LoadResult {
    let (app, metrics) = calling_app(time, floor);
    let began = Instant::now();
    let ask = async |number: u64| {
        sleep_until(began + Duration::from_micros(number * 1_000_000 / RATE)).await;
        let request = Request::get("/work").header("Host", "x");
        let answer = app.answer(request.body(Body::empty()).unwrap());
        let answer = timeout(PATIENCE, answer).await.ok();
        answer.map(|response| response.status())
    };
    let mut asked: FuturesUnordered<_> = (0..ASKED).map(ask).collect();
    let mut result = LoadResult::default();
    while let Some(status) = asked.next().await {
        match status {
            Some(StatusCode::OK) => result.in_time += 1,
            Some(StatusCode::SERVICE_UNAVAILABLE) => result.shed += 1,
            _ => result.other += 1,
        }
    }
    let limit = metrics.gauge("in_flight_limit", Unit::Count, &[]);
    result.limit_at_the_end = limit.get();
    result
}
