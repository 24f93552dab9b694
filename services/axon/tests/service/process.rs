use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::process::Signal;
use serde_json::Value;

use kit_testing::process::{ServiceProcess, run};
use kit_testing::settings_files;
use kit_testing::stub::{StubServer, answer};

pub(crate) const AXON: &str = env!("CARGO_BIN_EXE_axon");

pub(crate) fn connect(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

pub(crate) fn ask(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: axon\r\nConnection: close\r\n\r\n");
    rest(connect(address, &request))
}

pub(crate) fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn files_have_the_settings_that_the_program_prints() {
    settings_files::check_program(AXON, "axon");
}

#[test]
fn sigterm_drains_finishes_what_is_in_flight_and_exits_0() {
    let mut axon = ServiceProcess::start(AXON, &[("PORT", "0"), ("DRAIN_MS", "3000")]);
    let address = axon.address();
    let mut in_flight = connect(address, "GET /reason HTTP/1.1\r\nHost: axon\r\n");
    assert!(ask(address, "/health").starts_with("HTTP/1.1 200 "));

    axon.terminate();
    axon.wait_for("draining");
    let health = ask(address, "/health");
    assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
    assert!(health.contains("\r\nconnection: close\r\n"), "{health}");
    in_flight.write_all(b"\r\n").unwrap();
    let reason = rest(in_flight);
    assert!(reason.starts_with("HTTP/1.1 200 "), "{reason}");
    assert!(reason.contains("\r\nconnection: close\r\n"), "{reason}");
    assert!(reason.contains("Axon heartbeat OK"), "{reason}");

    let (code, log) = axon.end();
    assert_eq!(code, Some(0), "{log:?}");
    assert_eq!(log.last().unwrap()["message"], "stopped");
    assert!(TcpStream::connect(address).is_err());
}

/// A line of the level `debug` is written where a connection breaks.
#[test]
fn sigusr1_raises_the_levels_of_the_log_for_a_time_and_a_storm_of_it_is_one() {
    let variables = [
        ("PORT", "0"),
        ("DRAIN_MS", "1"),
        ("RUST_LOG", "info"),
        ("LOG_RAISED_MS", "3000"),
    ];
    let mut axon = ServiceProcess::start(AXON, &variables);
    let address = axon.address();
    let break_connection = || drop(rest(connect(address, "no HTTP\r\n\r\n")));
    for _ in 0..20_000 {
        axon.signal(Signal::USR1);
    }
    let told = axon.wait_for("SIGUSR1: the levels of the log are raised");
    assert_eq!(told["seconds"], 3.0);
    assert!(ask(address, "/health").starts_with("HTTP/1.1 200 "));
    break_connection();
    axon.wait_for("a connection broke");
    axon.wait_for("the levels of the log are as before");
    break_connection();
    assert!(ask(address, "/health").starts_with("HTTP/1.1 200 "));
    axon.terminate();
    let (code, log) = axon.end();
    assert_eq!(code, Some(0), "{log:?}");
    let count = |message: &str| log.iter().filter(|line| line["message"] == message).count();
    assert_eq!(count("SIGUSR1: the levels of the log are raised"), 1);
    assert_eq!(count("a connection broke"), 1);
}

#[test]
fn a_sampler_that_is_not_known_is_warned_of_and_the_service_runs() {
    let sampler = ("OTEL_TRACES_SAMPLER", "xray");
    let mut axon = ServiceProcess::start(AXON, &[("PORT", "0"), ("DRAIN_MS", "1"), sampler]);
    assert!(ask(axon.address(), "/health").starts_with("HTTP/1.1 200 "));
    axon.terminate();
    let (code, log) = axon.end();
    assert_eq!((code, &log[0]["level"]), (Some(0), &"WARN".into()));
    assert_eq!(log[0]["setting"], "OTEL_TRACES_SAMPLER");
}

#[test]
fn healthcheck_succeeds_where_health_answers_200() {
    let mut axon = ServiceProcess::start(AXON, &[("PORT", "0"), ("DRAIN_MS", "60000")]);
    let port = axon.address().port().to_string();
    let check = || {
        run(AXON, &["healthcheck"], &[("PORT", &port)])
            .status
            .code()
    };
    assert_eq!(check(), Some(0));
    axon.terminate();
    axon.wait_for("draining");
    assert_eq!(check(), Some(1));
    drop(axon);
    assert_eq!(check(), Some(1));
    assert_eq!(
        run(AXON, &["healthcheck"], &[("PORT", "none")])
            .status
            .code(),
        Some(1)
    );
}

#[test]
fn the_version_and_wrong_arguments() {
    let version = run(AXON, &["--version"], &[]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        version.stdout,
        format!("axon {}\n", env!("CARGO_PKG_VERSION")).into_bytes()
    );
    for arguments in [&["serve"][..], &["healthcheck", "now"], &[""]] {
        let wrong = run(AXON, arguments, &[]);
        assert_eq!(wrong.status.code(), Some(2), "{arguments:?}");
        assert_eq!(
            wrong.stderr,
            b"usage: axon [healthcheck | --settings [--format human|json] | --version]\n"
        );
    }
}

fn lines(output: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(output).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn all_faults_of_the_settings_are_logged_at_once() {
    let wrong = [
        ("PORT", "x"),
        ("SIGNATURES", "required"),
        ("DRAIN_MS", "x"),
        ("API_KEY", "hidden"),
    ];
    let output = run(AXON, &[], &wrong);
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stderr.is_empty());
    let lines = lines(&output.stdout);
    let mut faulty: Vec<_> = lines
        .iter()
        .map(|line| line["setting"].as_str().unwrap())
        .collect();
    faulty.sort_unstable();
    assert_eq!(faulty, ["DRAIN_MS", "PORT", "SIGNATURES"]);
    assert!(
        lines
            .iter()
            .all(|line| line["level"] == "ERROR" && line["service"] == "axon")
    );
}

#[test]
fn a_port_that_is_taken_is_one_line_of_the_log() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = run(AXON, &[], &[("PORT", &port)]);
    assert_eq!(output.status.code(), Some(1));
    let lines = lines(&output.stdout);
    assert_eq!(lines.len(), 1);
    let error = lines[0]["error"].as_str().unwrap();
    assert!(
        error.starts_with(&format!("port {port} cannot be bound: ")),
        "{error}"
    );
}

#[test]
fn every_line_of_a_request_is_json_with_its_id() {
    let mut axon = ServiceProcess::start(
        AXON,
        &[("PORT", "0"), ("DRAIN_MS", "0"), ("API_KEY", "hidden")],
    );
    let address = axon.address();
    let request = "GET /reason HTTP/1.1\r\nHost: axon\r\nX-Correlation-ID: the-id\r\n\
                   Authorization: hidden\r\nConnection: close\r\n\r\n";
    assert!(rest(connect(address, request)).contains("\r\nx-correlation-id: the-id\r\n"));
    axon.terminate();
    let (_, log) = axon.end();
    let access: Vec<_> = log
        .iter()
        .filter(|line| line["message"] == "request")
        .collect();
    assert_eq!(access.len(), 1, "{log:?}");
    assert_eq!(access[0]["correlation_id"], "the-id");
    assert_eq!(
        (&access[0]["route"], &access[0]["status"]),
        (&"/reason".into(), &200.into())
    );
    for line in &log {
        for field in ["timestamp", "level", "message", "target", "service"] {
            assert!(line[field].is_string(), "{line}");
        }
        assert!(!line.to_string().contains("hidden"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_has_the_revision_of_the_metadata_endpoint() {
    let task = r#"{"Cluster":"c","Family":"demo-axon","Revision":"42","KnownStatus":"NONE"}"#;
    let metadata = StubServer::answering(200, task).await;
    let url = metadata.url("/v4/abc");
    let variables = [
        ("PORT", "0"),
        ("DRAIN_MS", "0"),
        ("ECS_CONTAINER_METADATA_URI_V4", &*url),
    ];
    let mut axon = ServiceProcess::start(AXON, &variables);
    let health = ask(axon.address(), "/health");
    assert!(
        health.contains("\r\nx-task-revision: demo-axon:42\r\n"),
        "{health}"
    );
    axon.terminate();
    assert_eq!(axon.end().0, Some(0));
    let calls = metadata.calls();
    assert_eq!((calls.len(), &*calls[0].line), (1, "GET /v4/abc/task"));
    assert_eq!(calls[0].headers["host"], metadata.address.to_string());
    assert!(calls[0].body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_revision_it_runs_and_warns_once() {
    let hanging = StubServer::start(|_| None).await;
    let failing = StubServer::start(|_| Some(answer(500, ""))).await;
    let odd = StubServer::answering(200, r#"{"Family":"demo-axon"}"#).await;
    for metadata in [hanging, failing, odd] {
        let url = metadata.url("");
        let variables = [
            ("PORT", "0"),
            ("DRAIN_MS", "0"),
            ("ECS_CONTAINER_METADATA_URI_V4", &*url),
        ];
        let mut axon = ServiceProcess::start(AXON, &variables);
        let health = ask(axon.address(), "/health");
        assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
        assert!(!health.contains("x-task-revision"), "{health}");
        axon.terminate();
        let (_, log) = axon.end();
        assert_eq!(
            log.iter().filter(|line| line["level"] == "WARN").count(),
            1,
            "{log:?}"
        );
    }
}
