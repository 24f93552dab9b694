//! What the limit of requests in flight does under load. `cargo xtask bench` prints the figures.

use axum::body::Body;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{Request, StatusCode};
use service_kit::Unit;

use crate::simulated_load::{LimitFloor, TargetTime, calling_app, load};

#[tokio::test(start_paused = true)]
async fn the_limit_follows_the_time_of_what_is_called() {
    // The least gain over the fixed limit, in percent. What waits at a target that recovers is
    // answered then, and what was turned away is not.
    for (time, gain) in TargetTime::ALL.into_iter().zip([100, 100, 200, 110, 90]) {
        let fixed = load(time, LimitFloor::Most).await;
        let adaptive = load(time, LimitFloor::Default).await;
        assert!((fixed.limit_at_the_end - 512.0).abs() < f64::EPSILON);
        let is_gained = adaptive.in_time * 100 >= fixed.in_time * gain;
        assert!(is_gained, "{time}: {fixed:?}, {adaptive:?}");
    }
}

/// Their requests end early because they say so, which says nothing about the target.
#[tokio::test(start_paused = true)]
async fn callers_who_give_little_time_do_not_lower_the_limit() {
    let (app, metrics) = calling_app(TargetTime(1000, 1000), LimitFloor::Default);
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
