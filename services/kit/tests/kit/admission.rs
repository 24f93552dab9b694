//! Load shedding and deadlines.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use http::{Request, Response};
use service_kit::{App, Metrics, Routes, health};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::SERVICE;
use crate::captured_logs::CapturedLogs;
use crate::test_app::test_app;

/// An application for two requests at once. `/work` ends when the test releases it.
struct AdmissionTest {
    app: App,
    metrics: Metrics,
    let_go: Arc<Semaphore>,
}

impl AdmissionTest {
    fn new() -> Self {
        let let_go = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&let_go);
        let work = async move || gate.acquire().await.unwrap().forget();
        let (app, metrics) = test_app(&[("IN_FLIGHT_MAX", "2")], |dependencies| {
            Routes::new()
                .open("/work", get(work.clone()))
                .open("/other", get(work))
                .open("/health", health(dependencies))
        });
        Self {
            app,
            metrics,
            let_go,
        }
    }

    /// Answers with a clone of the application, as the server does for each connection.
    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let request = headers.iter().fold(
            Request::get(path).header("Host", "x"),
            |request, (name, value)| request.header(*name, *value),
        );
        let app = self.app.clone();
        app.answer(request.body(Body::empty()).unwrap()).await
    }

    fn in_flight(&self) -> usize {
        self.metrics.level("in_flight").get()
    }

    fn shed(&self) -> u64 {
        self.metrics.counter("shed", &[]).take()
    }
}

#[tokio::test(start_paused = true)]
async fn above_the_limit_requests_are_turned_away_at_once() {
    let scene = AdmissionTest::new();
    let overload = async {
        let began = Instant::now();
        for path in ["/work", "/other", "/nowhere"] {
            let response = scene.ask(path, &[]).await;
            assert_eq!(response.status(), 503, "{path}");
            assert_eq!(response.headers()["retry-after"], "1");
            assert_eq!(
                response.headers()["content-type"],
                "application/problem+json"
            );
            assert!(response.headers().contains_key("x-correlation-id"));
        }
        assert_eq!(scene.ask("/health", &[]).await.status(), 200);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(scene.in_flight(), 2);
        scene.let_go.add_permits(2);
    };
    let (one, other, ()) =
        tokio::join!(scene.ask("/work", &[]), scene.ask("/other", &[]), overload);
    assert_eq!((one.status().as_u16(), other.status().as_u16()), (200, 200));
    assert_eq!(scene.in_flight(), 0);
    assert_eq!(scene.shed(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_request_is_no_longer_in_flight() {
    let scene = AdmissionTest::new();
    for _ in 0..5 {
        let gone = scene.ask("/work", &[]);
        let gone = tokio::time::timeout(Duration::from_millis(1), gone);
        assert!(gone.await.is_err());
    }
    assert_eq!(scene.in_flight(), 0);
    assert_eq!(scene.shed(), 0);
}

/// The milliseconds until the answer, where the deadline passes.
#[tokio::test(start_paused = true)]
async fn a_deadline_of_the_callers_is_the_callers_fault() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "info");
    let scene = AdmissionTest::new();
    for (timeout, status, milliseconds) in [
        ("1500", 408, 1500),
        ("100", 408, 100),
        ("99", 408, 0),
        ("5", 408, 0),
        ("0", 408, 0),
        ("10000", 504, 10_000),
        ("60000", 504, 10_000),
        ("soon", 504, 10_000),
        ("-1", 504, 10_000),
        ("", 504, 10_000),
    ] {
        let before = logs.lines().len();
        let began = Instant::now();
        let response = scene
            .ask("/work", &[("X-Request-Timeout-Ms", timeout)])
            .await;
        assert_eq!(response.status(), status, "{timeout}");
        assert_eq!(began.elapsed().as_millis(), milliseconds, "{timeout}");
        let lines = logs.lines();
        let quiet = lines[before..].iter().all(|line| line["level"] == "INFO");
        assert_eq!(quiet, status == 408, "{timeout}: {lines:?}");
    }
}

/// It does not count as in flight.
#[tokio::test(start_paused = true)]
async fn too_little_time_is_refused_before_any_work() {
    let scene = AdmissionTest::new();
    for path in ["/work", "/health", "/nowhere"] {
        let response = scene.ask(path, &[("X-Request-Timeout-Ms", "5")]).await;
        assert_eq!(response.status(), 408, "{path}");
    }
    let took = Arc::clone(&scene.let_go);
    let waits = scene.ask("/work", &[("X-Request-Timeout-Ms", "5000")]);
    took.add_permits(1);
    assert_eq!(waits.await.status(), 200);
}
