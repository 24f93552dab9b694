//! What the limit of requests in flight does under load, in simulated time: a service gets more
//! requests than what it calls can do. `--nocapture` prints how many are answered in time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{Request, StatusCode};
use service_kit::settings::{Base, Reader, SettingsSource};
use service_kit::{App, Clock, Dependencies, Metrics, Unit};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::SERVICE;

/// The load, in requests a second, and for how long.
const RATE: u64 = 120;
const SECONDS: u64 = 30;
/// The caller leaves without an answer after this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many calls the target works on at once; the others wait there.
const TARGET_AT_ONCE: usize = 64;
/// As a service calls it with the default deadline.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);
const ATTEMPTS: usize = 3;

/// How long the target takes for one call, in milliseconds: at first, and from the middle on.
#[derive(Clone, Copy)]
struct TargetTime(u64, u64);

#[derive(Debug, Default)]
struct OverloadResult {
    in_time: usize,
    shed: usize,
    other: usize,
    limit_at_the_end: f64,
}

impl fmt::Display for TargetTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(first, second) = self;
        write!(formatter, "{first} ms, then {second} ms")
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

fn app(time: TargetTime, in_flight_min: &str, metrics: &Metrics) -> App {
    let source = SettingsSource {
        variable: &|name| (name == "IN_FLIGHT_MIN").then(|| in_flight_min.to_owned()),
        file: &|_| unreachable!(),
    };
    let mut reader = Reader::new(&source);
    let base = Base::read(&mut reader, SERVICE);
    let base = reader.finish(base).unwrap();
    let dependencies = Dependencies {
        metrics: metrics.clone(),
        ..Dependencies::new(
            SERVICE,
            Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap()),
        )
    };
    dependencies.lifecycle.ready(None);
    let (places, began) = (Arc::new(Semaphore::new(TARGET_AT_ONCE)), Instant::now());
    let work = async move || call_target(places, time, began).await;
    App::new(
        Router::new().route("/work", get(work)),
        &base,
        &dependencies,
    )
}

async fn overload(time: TargetTime, in_flight_min: &str) -> OverloadResult {
    let metrics = Metrics::default();
    let app = app(time, in_flight_min, &metrics);
    let began = Instant::now();
    let ask = async |number: u64| {
        sleep_until(began + Duration::from_micros(number * 1_000_000 / RATE)).await;
        let request = Request::get("/work").header("Host", "x");
        let answer = app.answer(request.body(Body::empty()).unwrap());
        let answer = timeout(PATIENCE, answer).await.ok();
        answer.map(|response| response.status())
    };
    let mut asked: FuturesUnordered<_> = (0..RATE * SECONDS).map(ask).collect();
    let mut result = OverloadResult::default();
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

#[tokio::test(start_paused = true)]
async fn the_limit_follows_the_time_of_what_is_called() {
    let asked = RATE * SECONDS;
    println!("{asked} requests, {RATE} a second; the target does {TARGET_AT_ONCE} at once");
    // The least gain over the fixed limit, in percent.
    for (time, gain) in [
        (TargetTime(10, 10), 100),
        (TargetTime(100, 100), 100),
        (TargetTime(1000, 1000), 200),
        (TargetTime(10, 1000), 110),
        // What waits there is answered when it recovers, and what was turned away is not.
        (TargetTime(1000, 10), 90),
    ] {
        let fixed = overload(time, "512").await;
        let adaptive = overload(time, "16").await;
        assert!((fixed.limit_at_the_end - 512.0).abs() < f64::EPSILON);
        println!("{time}:\n    fixed {fixed:?}\n    adaptive {adaptive:?}");
        assert!(adaptive.in_time * 100 >= fixed.in_time * gain, "{time}");
    }
}

/// Their requests end early because they say so, which says nothing about the target.
#[tokio::test(start_paused = true)]
async fn callers_who_give_little_time_do_not_lower_the_limit() {
    let metrics = Metrics::default();
    let app = app(TargetTime(1000, 1000), "16", &metrics);
    for _ in 0..10 {
        let asked: FuturesUnordered<_> = (0..32)
            .map(|_| {
                let request = Request::get("/work")
                    .header("Host", "x")
                    .header("X-Request-Timeout-Ms", "400");
                app.answer(request.body(Body::empty()).unwrap())
            })
            .collect();
        let answers: Vec<_> = asked.collect().await;
        assert!(
            answers
                .iter()
                .all(|it| it.status() == StatusCode::REQUEST_TIMEOUT)
        );
    }
    let limit = metrics.gauge("in_flight_limit", Unit::Count, &[]);
    assert!((limit.get() - 512.0).abs() < f64::EPSILON);
}
