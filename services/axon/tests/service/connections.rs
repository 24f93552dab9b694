use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{AXON, ask, connect, rest};
use kit_testing::process::ServiceProcess;

const MAX: &str = "500";
const FLOOD: usize = 100_000;
/// How often health is checked meanwhile.
const HEALTH_EVERY: usize = 5000;
/// How many connections the test opens: more than axon may have, and fewer than the usual limit of
/// open files.
const KEPT: usize = 800;
/// More than the default backlog of the standard library.
const BURST: usize = 500;
/// The memory that all connections together may take.
const KILOBYTES_MAX: usize = 32 * 1024;

#[test]
fn idle_connections_cost_little_and_are_evicted() {
    let variables = [("PORT", "0"), ("DRAIN_MS", "0"), ("CONNECTIONS_MAX", MAX)];
    let mut axon = ServiceProcess::start(AXON, &variables);
    let address = axon.address();
    assert!(ask(address, "/health").starts_with("HTTP/1.1 200 "));
    let before = resident_kilobytes(&axon);
    let mut kept = VecDeque::new();
    for index in 0..FLOOD {
        // Some send nothing, some were answered and stay open, some have sent half a head.
        let mut stream = TcpStream::connect(address).unwrap();
        let text = match index % 3 {
            0 => "",
            1 => "GET /reason HTTP/1.1\r\nHost: x\r\n\r\n",
            _ => "GET /reason HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        };
        // It may have been evicted already.
        drop(stream.write_all(text.as_bytes()));
        kept.push_back(stream);
        if kept.len() > KEPT {
            kept.pop_front();
        }
        if index % HEALTH_EVERY == 0 {
            let health = ask(address, "/health");
            assert!(
                health.starts_with("HTTP/1.1 200 "),
                "after {index}: {health}"
            );
        }
    }
    let cost = resident_kilobytes(&axon).saturating_sub(before);
    assert!(cost < KILOBYTES_MAX, "{cost} KB for {FLOOD} connections");
    assert!(ask(address, "/reason").starts_with("HTTP/1.1 200 "));
    drop(kept);
    axon.terminate();
    let (code, _) = axon.end();
    assert_eq!(code, Some(0));
}

/// As at a start, or after a long pause: for a while nothing is accepted. Without room in the
/// backlog these connections would be delayed by a second.
#[test]
fn a_burst_waits_until_it_is_accepted() {
    let mut axon = ServiceProcess::start(AXON, &[("PORT", "0"), ("DRAIN_MS", "0")]);
    let address = axon.address();
    axon.signal(Signal::STOP);
    let patience = Duration::from_millis(900);
    let burst = BURST.min(kernels_backlog());
    let made = (0..burst).map(|_| TcpStream::connect_timeout(&address, patience));
    let made: Result<Vec<_>, _> = made.collect();
    axon.signal(Signal::CONT);
    assert_eq!(made.unwrap().len(), burst);
    assert!(ask(address, "/health").starts_with("HTTP/1.1 200 "));
    axon.terminate();
    assert_eq!(axon.end().0, Some(0));
}

/// The client keeps its connections open, so that there are more than the limit.
#[test]
fn the_longest_idle_connection_makes_room_for_a_new_one() {
    let variables = [("PORT", "0"), ("DRAIN_MS", "0"), ("CONNECTIONS_MAX", "100")];
    let mut axon = ServiceProcess::start(AXON, &variables);
    let address = axon.address();
    let mut oldest = connect(address, "GET /reason HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut answer = [0; 12];
    oldest.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let kept: Vec<TcpStream> = (0..300).map(|_| connect(address, "")).collect();
    for _ in 0..10 {
        assert!(ask(address, "/health").starts_with("HTTP/1.1 200 "));
    }
    oldest
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert!(rest(oldest).ends_with('}'), "closed after its answer");
    drop(kept);
    axon.terminate();
    let (code, log) = axon.end();
    assert_eq!(code, Some(0));
    let warnings = log.iter().filter(|line| line["level"] == "WARN").count();
    assert_eq!(warnings, 1, "{log:?}");
}

/// Whatever a program asks for, no more connections than this wait to be accepted.
#[expect(clippy::disallowed_methods, reason = "only the kernel knows")]
fn kernels_backlog() -> usize {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    text.trim().parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "only the kernel knows")]
fn resident_kilobytes(process: &ServiceProcess) -> usize {
    let path = format!("/proc/{}/status", process.id().as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.unwrap().parse().unwrap()
}
