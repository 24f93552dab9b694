//! Invalid and hostile requests to the real orbit, with the real governance function and the real
//! axon: dispatches of other clients are not affected.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use e2e::{FunctionProcess, request};
use kit_testing::process::ServiceProcess;
use serde_json::json;

/// The programs, made of the services' own `main.rs`.
const AXON: &str = env!("CARGO_BIN_EXE_axon-program");
const ORBIT: &str = env!("CARGO_BIN_EXE_orbit-program");
const GOVERNANCE: &str = env!("CARGO_BIN_EXE_governance-program");

/// Requests of each kind, and valid dispatches beside them: four times as many as open a breaker.
const TIMES: usize = 40;
const JSON: (&str, &str) = ("Content-Type", "application/json");

struct Stranger {
    name: &'static str,
    header: (&'static str, &'static str),
    body: String,
    /// The statuses that are allowed as an answer.
    statuses: &'static [u16],
}

fn strangers() -> Vec<Stranger> {
    let by_intent = |(name, intent, statuses)| Stranger {
        name,
        header: JSON,
        body: json!({ "intent": intent }).to_string(),
        statuses,
    };
    let by_body = |(name, body): (_, &str)| Stranger {
        name,
        header: JSON,
        body: body.to_owned(),
        statuses: &[400],
    };
    let by_time = |(name, milliseconds, statuses)| Stranger {
        name,
        header: ("X-Request-Timeout-Ms", milliseconds),
        body: String::new(),
        statuses,
    };
    let intents = [
        ("no intent", String::new(), &[400][..]),
        ("60,000 DEL characters", "\u{7f}".repeat(60_000), &[400]),
        ("another alphabet", "é".to_owned(), &[400]),
        ("a long intent", "x".repeat(129), &[400]),
        ("a line", "a\nb".to_owned(), &[400]),
        ("the longest intent", "x".repeat(128), &[403]),
        ("an unknown intent", "sing".to_owned(), &[403]),
        ("a forbidden intent", "shutdown".to_owned(), &[403]),
    ];
    let bodies = [
        ("null", r#"{"intent":null}"#),
        ("a number", r#"{"intent":7}"#),
        ("a list", r#"["call_reasoning"]"#),
        ("no JSON", "{"),
    ];
    // From less than a dispatch takes to much more.
    let times = [
        ("no time", "0", &[408][..]),
        ("little time", "5", &[408]),
        ("the least time", "100", &[408, 200]),
        (
            "more time than a number holds",
            "18446744073709551615",
            &[200],
        ),
    ];
    let by_intent = intents.into_iter().map(by_intent);
    let by_body = bodies.into_iter().map(by_body);
    by_intent
        .chain(by_body)
        .chain(times.into_iter().map(by_time))
        .collect()
}

/// Sends a dispatch, or the beginning of one, and disconnects.
fn hang_up(address: SocketAddr, length: usize) {
    let head = "POST /dispatch HTTP/1.1\r\nHost: orbit\r\nContent-Type: application/json\r\n";
    let body = r#"{"intent":"call_reasoning"}"#;
    let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .write_all(&text.as_bytes()[..text.len().min(length)])
        .expect("it is taken");
}

fn dispatch(url: &str, beside: &str) {
    let answer = request("POST", url, &[], "").expect("an answer");
    assert_eq!(answer.status, 200, "beside {beside}: {}", answer.body);
}

#[test]
fn requests_of_strangers_fail_no_other_dispatch() {
    let mut axon = ServiceProcess::start(AXON, &[("PORT", "0"), ("DRAIN_MS", "0")]);
    let axon_url = format!("http://{}/reason", axon.address());
    let governance = FunctionProcess::start(GOVERNANCE);
    let variables = [
        ("PORT", "0"),
        ("DRAIN_MS", "0"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", &governance.endpoint()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("GOVERNANCE_FUNCTION_NAME", "demo-governance:live"),
        ("AXON_SERVICE_URL", &axon_url),
    ];
    let mut orbit = ServiceProcess::start(ORBIT, &variables);
    let address = orbit.address();
    let url = format!("http://{address}/dispatch");
    dispatch(&url, "no other client");
    for Stranger {
        name,
        header,
        body,
        statuses,
    } in strangers()
    {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..TIMES {
                    let answer = request("POST", &url, &[header], &body).expect("an answer");
                    assert!(statuses.contains(&answer.status), "{name}: {}", answer.body);
                    assert!(answer.body.len() < 500, "{name}: {}", answer.body);
                }
            });
            (0..TIMES).for_each(|_| dispatch(&url, name));
        });
    }
    for length in [usize::MAX, 130, 60] {
        std::thread::scope(|scope| {
            scope.spawn(|| (0..TIMES).for_each(|_| hang_up(address, length)));
            (0..TIMES).for_each(|_| dispatch(&url, "clients that disconnect"));
        });
    }
    orbit.terminate();
    let (code, log) = orbit.end();
    assert_eq!(code, Some(0));
    for line in log {
        assert_ne!(line["level"], "ERROR", "{line}");
        assert_ne!(line["message"], "the breaker opened");
        assert!(line.to_string().len() < 1000, "{line}");
    }
    assert_eq!(governance.errors(), 0);
}
