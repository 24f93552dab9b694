//! Spans as a collector receives them.

use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use service_kit::outbound::{CallTarget, Outbound, span_sender};
use service_kit::settings::{Base, Reader, SettingsSource};
use service_kit::{
    App, Clock, Dependencies, Exporter, Metrics, RequestContext, Routes, Traces, TrustRoots,
};

use crate::SERVICE;
use crate::access::{ask, dependencies};
use crate::captured_logs::CapturedLogs;
use crate::outbound::{context, target, trusting};
use kit_testing::authority::Authority;
use kit_testing::stub::{StubServer, answer, recording};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID: &str = "b7ad6b7169203331";

fn exporting_to(url: &str) -> (Dependencies, Exporter) {
    exporting(url, &TrustRoots::default())
}

fn exporting(url: &str, roots: &TrustRoots) -> (Dependencies, Exporter) {
    let clock = Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap());
    let metrics = Metrics::default();
    let url = url.parse().unwrap();
    let (traces, exporter) = Traces::to(span_sender(&url, roots), SERVICE, clock, &metrics);
    (dependencies(metrics, traces), exporter)
}

fn dropped(dependencies: &Dependencies) -> u64 {
    dependencies
        .metrics
        .counter("trace_spans_dropped", &[])
        .take()
}

async fn ask_traced(dependencies: &Dependencies, path: &str, flags: &str) {
    let traceparent = format!("00-{TRACE_ID}-{PARENT_ID}-{flags}");
    let request = Request::get(path)
        .header("traceparent", traceparent)
        .header("tracestate", "vendor=1")
        .header("X-Correlation-ID", "the-id");
    ask(dependencies, request).await;
}

#[tokio::test]
async fn a_collector_over_tls_gets_spans_where_its_authority_is_known() {
    let authority = Authority::generate();
    let (router, calls) = recording(|_| Some(answer(200, "{}")));
    let url = format!("https://{}", authority.serve("127.0.0.1", router).await);
    for (roots, lost) in [(trusting(&authority), 0), (TrustRoots::default(), 1)] {
        let (dependencies, mut exporter) = exporting(&url, &roots);
        ask_traced(&dependencies, "/fine", "01").await;
        exporter.export_until(ready(())).await;
        assert_eq!(dropped(&dependencies), lost);
    }
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_collector_gets_a_span_for_each_sampled_request() {
    let collector = StubServer::answering(200, "{}").await;
    let (dependencies, mut exporter) = exporting_to(&collector.url("/"));
    ask_traced(&dependencies, "/fine", "01").await;
    ask_traced(&dependencies, "/fine", "00").await;
    ask(&dependencies, Request::get("/broken")).await;
    exporter.export_until(ready(())).await;

    let calls = collector.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].line, "POST /v1/traces");
    assert_eq!(calls[0].headers["content-type"], "application/json");
    let document: Value = serde_json::from_slice(&calls[0].body).unwrap();
    let resource = &document["resourceSpans"][0];
    assert_eq!(
        resource["resource"]["attributes"],
        json!([
            { "key": "service.name", "value": { "stringValue": "tested" } },
            { "key": "service.version", "value": { "stringValue": "1.2.3" } },
        ])
    );
    let spans = spans_of(&calls[0].body);
    assert_eq!(spans.len(), 2, "{spans:?}");
    let span = &spans[0];
    assert_eq!(span["traceId"], TRACE_ID);
    assert_eq!(span["parentSpanId"], PARENT_ID);
    assert_eq!(span["traceState"], "vendor=1");
    assert_eq!(span["spanId"].as_str().unwrap().len(), 16);
    assert_ne!(span["spanId"], PARENT_ID);
    assert_eq!(
        (&span["name"], &span["kind"]),
        (&json!("GET /fine"), &json!(2))
    );
    assert_eq!(span["endTimeUnixNano"], "1767323045000000000");
    let began: u64 = span["startTimeUnixNano"].as_str().unwrap().parse().unwrap();
    assert!(began < 1_767_323_045_000_000_000 && began > 1_767_323_000_000_000_000);
    assert_eq!(span["status"], json!({}));
    assert_eq!(
        span["attributes"],
        json!([
            { "key": "http.request.method", "value": { "stringValue": "GET" } },
            { "key": "correlation_id", "value": { "stringValue": "the-id" } },
            { "key": "http.response.status_code", "value": { "intValue": "200" } },
            { "key": "http.route", "value": { "stringValue": "/fine" } },
        ])
    );
    assert_eq!(spans[1]["status"], json!({ "code": 2 }));
    assert_eq!(spans[1]["parentSpanId"], "");
    assert_eq!(dropped(&dependencies), 0);
}

/// The spans of a batch.
fn spans_of(body: &[u8]) -> Vec<Value> {
    let document: Value = serde_json::from_slice(body).unwrap();
    let spans = &document["resourceSpans"][0]["scopeSpans"][0]["spans"];
    spans.as_array().unwrap().clone()
}

/// One call fails, one times out, one succeeds.
#[tokio::test]
async fn each_attempt_of_a_call_is_a_span_and_the_parent_of_what_is_called() {
    let collector = StubServer::answering(200, "{}").await;
    let (dependencies, mut exporter) = exporting_to(&collector.url(""));
    let attempts = Arc::new(AtomicUsize::new(0));
    let called = StubServer::start(move |_| match attempts.fetch_add(1, Ordering::SeqCst) {
        0 => Some(answer(503, "")),
        1 => None,
        _ => Some(answer(200, "")),
    })
    .await;
    let target = CallTarget {
        attempt_timeout: Duration::from_millis(500),
        ..target(&called.url("/"))
    };
    let outbound = Outbound::new(target, &TrustRoots::default(), &dependencies);
    let context = context();
    let request = Request::new(Bytes::new());
    outbound.call(&context, request).await.unwrap();
    exporter.export_until(ready(())).await;

    let spans = spans_of(&collector.calls()[0].body);
    let summaries = spans.iter().map(|span| {
        let status = span["attributes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|attribute| attribute["key"] == "http.response.status_code");
        let status = status.map(|it| it["value"]["intValue"].as_str().unwrap());
        (status, span["status"]["code"] == 2)
    });
    let expected = [(Some("503"), true), (None, true), (Some("200"), false)];
    assert_eq!(summaries.collect::<Vec<_>>(), expected);
    for (span, call) in spans.iter().zip(called.calls()) {
        assert_eq!(
            (&span["name"], &span["kind"]),
            (&json!("GET tested"), &json!(3))
        );
        let trace = context.trace();
        assert_eq!(span["parentSpanId"], format!("{:016x}", trace.span_id()));
        let parent = format!(
            "00-{:032x}-{}-01",
            trace.trace_id(),
            span["spanId"].as_str().unwrap()
        );
        assert_eq!(call.headers["traceparent"], parent);
    }
}

/// Otherwise the callee's spans would have a parent that does not exist.
#[tokio::test]
async fn without_a_collector_the_requests_own_span_is_the_parent() {
    let called = StubServer::answering(200, "").await;
    let dependencies = Dependencies::new(SERVICE, Clock::system());
    let outbound = Outbound::new(
        target(&called.url("/")),
        &TrustRoots::default(),
        &dependencies,
    );
    let context = context();
    let request = Request::new(Bytes::new());
    outbound.call(&context, request).await.unwrap();
    let (trace_id, span_id) = (context.trace().trace_id(), context.trace().span_id());
    let parent = format!("00-{trace_id:032x}-{span_id:016x}-01");
    assert_eq!(called.calls()[0].headers["traceparent"], parent);
}

#[tokio::test]
async fn a_full_batch_does_not_wait() {
    let collector = StubServer::answering(200, "{}").await;
    let (dependencies, mut exporter) = exporting_to(&collector.url(""));
    for _ in 0..512 {
        ask_traced(&dependencies, "/fine", "01").await;
    }
    // Far below the export interval.
    let time = Duration::from_secs(1);
    assert!(
        tokio::time::timeout(time, exporter.export_until(pending()))
            .await
            .is_err()
    );
    assert_eq!(collector.calls().len(), 1);
}

#[tokio::test]
async fn spans_that_cannot_be_sent_are_counted_and_logged_once() {
    let (logs, _guard) = CapturedLogs::start(SERVICE, "warn");
    let collector = StubServer::answering(503, "").await;
    let (dependencies, mut exporter) = exporting_to(&collector.url(""));
    for _ in 0..3 {
        ask_traced(&dependencies, "/fine", "01").await;
        exporter.export_until(ready(())).await;
    }
    assert_eq!(dropped(&dependencies), 3);
    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["message"], "the collector takes no spans");
    assert_eq!(lines[0]["level"], "WARN");
}

#[tokio::test]
async fn more_spans_than_memory_is_for_are_dropped_and_counted() {
    let (dependencies, _exporter) = exporting_to("http://127.0.0.1:9");
    for _ in 0..2050 {
        ask_traced(&dependencies, "/fine", "01").await;
    }
    assert_eq!(dropped(&dependencies), 2);
}

/// None is sampled but those of a caller that decided so. Each request makes one call.
#[tokio::test]
async fn failed_and_slow_requests_are_kept_with_their_attempts() {
    let collector = StubServer::answering(200, "{}").await;
    let called = StubServer::answering(200, "").await;
    let (dependencies, mut exporter) = exporting_to(&collector.url(""));
    let ask = async |slow: Duration, path: &'static str, flags: &str| {
        let dependencies = Dependencies {
            traces: dependencies.traces.clone().keeping_slow(slow),
            ..dependencies.clone()
        };
        let mut request = Request::get(path).header("Host", "x");
        if !flags.is_empty() {
            let parent = format!("00-{TRACE_ID}-{PARENT_ID}-{flags}");
            request = request.header("traceparent", parent);
        }
        let request = request.body(Body::empty()).unwrap();
        calling(&called, &dependencies).answer(request).await;
    };
    ask(Duration::MAX, "/fine", "").await;
    ask(Duration::MAX, "/broken", "").await;
    ask(Duration::ZERO, "/fine", "").await;
    ask(Duration::ZERO, "/broken", "00").await;
    ask(Duration::MAX, "/fine", "01").await;
    exporter.export_until(ready(())).await;
    let spans = spans_of(&collector.calls()[0].body);
    let names: Vec<_> = spans
        .iter()
        .map(|span| span["name"].as_str().unwrap())
        .collect();
    let kept = [
        "GET tested",
        "GET /broken",
        "GET tested",
        "GET /fine",
        "GET tested",
        "GET /fine",
    ];
    assert_eq!(names, kept);
    for pair in spans.chunks(2) {
        assert_eq!(pair[0]["parentSpanId"], pair[1]["spanId"]);
        assert_eq!(pair[0]["traceId"], pair[1]["traceId"]);
    }
    let flags = called.calls().into_iter().map(|call| {
        let parent = call.headers["traceparent"].to_str().unwrap().to_owned();
        parent[parent.len() - 2..].to_owned()
    });
    assert_eq!(flags.collect::<Vec<_>>(), ["00", "00", "00", "00", "01"]);
}

/// An application that samples no trace of its own.
fn calling(called: &StubServer, dependencies: &Dependencies) -> App {
    let outbound = Outbound::new(
        target(&called.url("/")),
        &TrustRoots::default(),
        dependencies,
    );
    let outbound = Arc::new(outbound);
    let route = |status: StatusCode| {
        let outbound = Arc::clone(&outbound);
        get(async move |Extension(context): Extension<RequestContext>| {
            let request = Request::new(Bytes::new());
            outbound.call(&context, request).await.unwrap();
            status
        })
    };
    let routes = Routes::new()
        .open("/fine", route(StatusCode::OK))
        .open("/broken", route(StatusCode::INTERNAL_SERVER_ERROR));
    let variable = |name: &str| match name {
        "OTEL_TRACES_SAMPLER" => Some("parentbased_traceidratio".to_owned()),
        "OTEL_TRACES_SAMPLER_ARG" => Some("0".to_owned()),
        _ => None,
    };
    let source = SettingsSource {
        variable: &variable,
        file: &|_| unreachable!(),
    };
    let base = Base::read(&mut Reader::new(&source), SERVICE);
    App::new(routes, &base, dependencies).unwrap()
}
