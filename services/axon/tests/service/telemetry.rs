//! Logs, metrics and spans of the real program, to its end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

use serde_json::Value;

use crate::process::AXON;
use kit_testing::process::{ServiceProcess, command};
use kit_testing::stub::StubServer;

/// Sends so many requests, and reads so many answers.
fn ask_often(address: SocketAddr, requests: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for number in 1..=requests {
            let close = if number == requests {
                "Connection: close\r\n"
            } else {
                ""
            };
            let request = format!("GET /reason HTTP/1.1\r\nHost: axon\r\n{close}\r\n");
            writer.write_all(request.as_bytes()).unwrap();
        }
    });
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    sending.join().unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), requests);
}

fn count_of(log: &[Value], message: &str) -> usize {
    log.iter().filter(|line| line["message"] == message).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_at_the_end() {
    let collector = StubServer::answering(200, "{}").await;
    let url = collector.url("");
    let variables = [
        ("PORT", "0"),
        ("DRAIN_MS", "0"),
        ("METRICS", "emf"),
        ("METRICS_NAMESPACE", "demo"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
    ];
    let mut axon = ServiceProcess::start(AXON, &variables);
    ask_often(axon.address(), 600);
    axon.terminate();
    let (code, log) = axon.end();
    assert_eq!(code, Some(0));
    assert_eq!(count_of(&log, "request"), 600);

    let stopped = log
        .iter()
        .position(|line| line["message"] == "stopped")
        .unwrap();
    let reason = log[stopped..]
        .iter()
        .find(|line| line["route"] == "/reason")
        .unwrap();
    assert_eq!(
        (&reason["requests"], &reason["status"]),
        (&600.into(), &"200".into())
    );
    assert_eq!(reason["_aws"]["CloudWatchMetrics"][0]["Namespace"], "demo");

    let spans: usize = collector
        .calls()
        .iter()
        .map(|call| serde_json::from_slice::<Value>(&call.body).unwrap())
        .map(|batch| {
            batch["resourceSpans"][0]["scopeSpans"][0]["spans"]
                .as_array()
                .unwrap()
                .len()
        })
        .sum();
    assert_eq!(spans, 600);
}

#[test]
fn a_blocked_log_costs_lines_and_no_requests() {
    // More than the pipe and the buffer hold.
    let requests = 9000;
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut axon = command(AXON, &[("PORT", &port.to_string()), ("DRAIN_MS", "0")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while TcpStream::connect(address).is_err() {
        std::thread::yield_now();
    }
    ask_often(address, requests);

    let mut output = axon.stdout.take().unwrap();
    let mut log = String::new();
    let reader = std::thread::spawn(move || {
        output.read_to_string(&mut log).unwrap();
        log
    });
    let process = rustix::process::Pid::from_child(&axon);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    assert_eq!(axon.wait().unwrap().code(), Some(0));
    let log: Vec<Value> = reader
        .join()
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let lost: u64 = log.iter().filter_map(|line| line["count"].as_u64()).sum();
    assert!(lost > 0);
    // Other lines may be among the lost ones.
    let counted = count_of(&log, "request") + usize::try_from(lost).unwrap();
    assert!(counted >= requests, "{counted}");
}
