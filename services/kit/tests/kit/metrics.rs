//! Metrics as CloudWatch reads them.

use std::sync::Mutex;
use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use service_kit::{Clock, Emf, Lifecycle, Metrics, Traces, Unit};

use crate::SERVICE;
use crate::access::{ask, dependencies};

/// A copy of the schema of the specification.
const SCHEMA: &str = include_str!("../data/emf.schema.json");
/// Checks the rules that are only in the specification's text: values, dimensions, arrays.
const VALUES_MAX: usize = 100;

fn emf(metrics: &Metrics) -> Emf {
    Emf {
        service: SERVICE,
        clock: Clock::fixed("2026-01-02T03:04:05.678Z".parse().unwrap()),
        metrics: metrics.clone(),
        namespace: "demo".to_owned(),
        lifecycle: Lifecycle::default(),
        by_revision: false,
    }
}

fn parsed(line: &[u8]) -> Value {
    let text = str::from_utf8(line).unwrap();
    assert_eq!(text.find('\n'), Some(text.len() - 1), "one line: {text}");
    let line = serde_json::from_str(text).unwrap();
    assert_is_emf(&line);
    line
}

fn assert_is_emf(line: &Value) {
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let faults: Vec<String> = schema
        .iter_errors(line)
        .map(|fault| format!("{fault} at {}", fault.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{faults:?} in {line}");
    for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        for dimension in directive["Dimensions"].as_array().unwrap() {
            for name in dimension.as_array().unwrap() {
                let value = line[name.as_str().unwrap()].as_str();
                assert!(
                    value.is_some_and(|value| !value.is_empty()),
                    "{name} of {line}"
                );
            }
        }
        for metric in directive["Metrics"].as_array().unwrap() {
            assert_is_value(&line[metric["Name"].as_str().unwrap()]);
        }
    }
}

/// A number, or an array of values and one of as many counts.
fn assert_is_value(value: &Value) {
    if value.is_number() {
        return;
    }
    let numbers = |name: &str| {
        let numbers = value[name].as_array().unwrap();
        assert!(numbers.iter().all(Value::is_number), "{value}");
        numbers.len()
    };
    assert!((1..=VALUES_MAX).contains(&numbers("Values")), "{value}");
    assert_eq!(numbers("Values"), numbers("Counts"), "{value}");
}

fn report(metrics: &Metrics) -> Vec<Value> {
    report_by(&emf(metrics))
}

fn report_by(emf: &Emf) -> Vec<Value> {
    let lines = Mutex::new(Vec::new());
    emf.report(|line| lines.lock().unwrap().push(parsed(line)));
    lines.into_inner().unwrap()
}

fn with<'a>(lines: &'a [Value], metric: &str) -> Vec<&'a Value> {
    lines
        .iter()
        .filter(|line| line.get(metric).is_some())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn requests_are_reported_by_route_and_status_and_in_total() {
    let metrics = Metrics::default();
    let dependencies = dependencies(metrics.clone(), Traces::default());
    for path in ["/fine", "/fine", "/broken", "/nowhere", "/slow"] {
        ask(&dependencies, Request::get(path)).await;
    }
    let lines = report(&metrics);
    let requests = with(&lines, "requests");
    let reported: Vec<_> = requests
        .iter()
        .map(|line| {
            json!([
                line["route"],
                line["status"],
                line["requests"],
                line["server_errors"]
            ])
        })
        .collect();
    let expected = [
        json!(["/fine", "200", 2, 0]),
        json!(["/broken", "502", 1, 1]),
        json!(["unmatched", "404", 1, 0]),
        json!(["/slow", "504", 1, 1]),
    ];
    assert_eq!(reported, expected);
    for line in &requests {
        assert_eq!(line["service"], "tested");
        assert_eq!(line["_aws"]["Timestamp"], 1_767_323_045_678_u64);
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "demo");
        assert_eq!(
            directive["Dimensions"],
            json!([["service"], ["service", "route", "status"]])
        );
    }
    // The deadline, 10 s, within an eighth.
    assert_eq!(
        requests[3]["request_duration"],
        json!({ "Values": [9437.184], "Counts": [1] })
    );
    assert_eq!(
        with(&report(&metrics), "requests").len(),
        0,
        "reported once"
    );
}

#[tokio::test]
async fn health_is_no_part_of_what_a_service_is_judged_by() {
    let metrics = Metrics::default();
    ask(
        &dependencies(metrics.clone(), Traces::default()),
        Request::get("/health"),
    )
    .await;
    let lines = report(&metrics);
    let health = with(&lines, "requests")[0];
    assert_eq!(health["server_errors"], 1);
    assert_eq!(
        health["_aws"]["CloudWatchMetrics"][0]["Dimensions"],
        json!([["service", "route", "status"]])
    );
}

#[test]
fn counters_and_gauges_are_reported_with_their_dimensions() {
    let metrics = Metrics::default();
    metrics.counter("retries", &[("target", "axon")]).add(3);
    metrics
        .gauge("breaker_state", Unit::None, &[("target", "axon")])
        .set(1.0);
    metrics.gauge("secret_age", Unit::Seconds, &[]).set(1.5);
    metrics.gauge("unknown", Unit::Seconds, &[]).set(f64::NAN);
    let lines = report(&metrics);
    let target = with(&lines, "retries")[0];
    assert_eq!(
        (&target["retries"], &target["breaker_state"]),
        (&json!(3), &json!(1.0))
    );
    assert_eq!(target["target"], "axon");
    let directive = &target["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Dimensions"], json!([["service", "target"]]));
    assert_eq!(
        directive["Metrics"],
        json!([{ "Name": "retries", "Unit": "Count" }, { "Name": "breaker_state", "Unit": "None" }])
    );
    let whole = with(&lines, "secret_age")[0];
    assert_eq!(whole["secret_age"], 1.5);
    assert_eq!(with(&lines, "unknown").len(), 0);
    assert_eq!(
        with(&report(&metrics), "retries")[0]["retries"],
        0,
        "what came since"
    );
    assert_eq!(with(&lines, "build_info")[0]["version"], "1.2.3");
}

#[tokio::test(start_paused = true)]
async fn every_minute_has_its_report() {
    let metrics = Metrics::default();
    let retries = metrics.counter("retries", &[]);
    let emf = emf(&metrics);
    let reported = Mutex::new(Vec::new());
    let reports = emf.report_every_minute(|line| {
        let line = parsed(line);
        if let Some(count) = line.get("retries") {
            reported.lock().unwrap().push(count.clone());
            retries.add(1);
        }
    });
    let time = Duration::from_secs(3 * 60 + 59);
    assert!(tokio::time::timeout(time, reports).await.is_err());
    assert_eq!(reported.into_inner().unwrap(), [0, 1, 1]);
}

/// What CloudWatch makes of a metric: each set of dimensions.
fn sets_of(line: &Value, metric: &str) -> Vec<Vec<String>> {
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    let is_of = |directive: &&Value| {
        let metrics = directive["Metrics"].as_array().unwrap();
        metrics.iter().any(|it| it["Name"] == metric)
    };
    let sets = { directives.iter() }.filter(is_of);
    let sets = sets.map(|it| serde_json::from_value::<Vec<Vec<String>>>(it["Dimensions"].clone()));
    sets.flat_map(Result::unwrap).collect()
}

/// `/called` fails since what it calls does.
#[tokio::test]
async fn a_failure_is_the_callers_ours_or_the_targets() {
    let metrics = Metrics::default();
    let dependencies = dependencies(metrics.clone(), Traces::default());
    for path in [
        "/fine", "/broken", "/called", "/called", "/nowhere", "/health",
    ] {
        ask(&dependencies, Request::get(path)).await;
    }
    let lines = report(&metrics);
    let failures = with(&lines, "failures").into_iter().map(|line| {
        json!([
            line["route"],
            line["fault"],
            line["failures"],
            line["server_errors"]
        ])
    });
    let expected = [
        json!(["/broken", "us", 1, 1]),
        json!(["/called", "target", 2, 2]),
        json!(["unmatched", "caller", 1, 0]),
        json!(["/health", "us", 1, 1]),
    ];
    assert_eq!(failures.collect::<Vec<_>>(), expected);
    let called = with(&lines, "failures")[1];
    let expected = [vec!["service", "fault"], vec!["service", "route", "fault"]];
    assert_eq!(sets_of(called, "failures"), expected);
    let expected = [vec!["service"], vec!["service", "route", "status"]];
    assert_eq!(sets_of(called, "requests"), expected);
    let health = with(&lines, "failures")[3];
    assert_eq!(sets_of(health, "failures"), [["service", "route", "fault"]]);
    assert_eq!(with(&lines, "requests")[0].get("fault"), None);
}

/// Two revisions that run at once can be compared.
#[tokio::test]
async fn the_revision_is_a_property_and_where_it_is_asked_for_a_dimension() {
    let metrics = Metrics::default();
    metrics.counter("retries", &[("target", "axon")]).add(1);
    let dependencies = dependencies(metrics.clone(), Traces::default());
    let revised = |by_revision: bool, revision: Option<&'static str>| {
        let lifecycle = Lifecycle::default();
        lifecycle.ready(revision.map(http::HeaderValue::from_static));
        Emf {
            lifecycle,
            by_revision,
            ..emf(&metrics)
        }
    };
    for (by_revision, revision) in [
        (false, None),
        (true, None),
        (false, Some("demo-axon:42")),
        (true, Some("demo-axon:42")),
    ] {
        ask(&dependencies, Request::get("/broken")).await;
        let lines = report_by(&revised(by_revision, revision));
        assert!(
            lines
                .iter()
                .all(|it| it.get("task_revision").and_then(Value::as_str) == revision)
        );
        for metric in ["requests", "failures", "retries", "build_info"] {
            let line = with(&lines, metric)[0];
            let sets = sets_of(line, metric);
            let of_revision = { sets.iter() }
                .filter(|set| set.last().unwrap() == "task_revision")
                .count();
            let is_dimension = by_revision && revision.is_some();
            let expected = if is_dimension { sets.len() / 2 } else { 0 };
            assert_eq!(of_revision, expected, "{metric}: {sets:?}");
        }
    }
}
