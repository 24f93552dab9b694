use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use kit_testing::authority::Authority;
use kit_testing::process::{ServiceProcess, run};
use kit_testing::settings_files;
use kit_testing::stub::{StubServer, answer, recording};

pub(crate) const ORBIT: &str = env!("CARGO_BIN_EXE_orbit");
pub(crate) const HEARTBEAT: &str = r#"{"message":"Axon heartbeat OK"}"#;
pub(crate) const ALLOWED: &str = r#"{"allowed":true}"#;

/// The status of a dispatch, and its body.
fn dispatch(address: SocketAddr) -> (u16, Value) {
    let (status, _, body) = whole_dispatch(address);
    (status, body)
}

/// The status of a dispatch, its head and its body.
pub(crate) fn whole_dispatch(address: SocketAddr) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "POST /dispatch HTTP/1.1\r\nHost: orbit\r\nContent-Length: 0\r\n\
                   X-Correlation-ID: the-id\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect(&text);
    (
        head[9..12].parse().expect(head),
        head.to_lowercase(),
        serde_json::from_str(body).expect(body),
    )
}

/// Settings for a governance function behind `endpoint`.
pub(crate) fn with_function<'a>(
    endpoint: &'a str,
    axon_url: &'a str,
) -> Vec<(&'static str, &'a str)> {
    vec![
        ("PORT", "0"),
        ("DRAIN_MS", "0"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("GOVERNANCE_FUNCTION_NAME", "demo-governance:live"),
        ("AXON_SERVICE_URL", axon_url),
    ]
}

pub(crate) fn end(orbit: ServiceProcess) -> Vec<Value> {
    orbit.terminate();
    let (code, log) = orbit.end();
    assert_eq!(code, Some(0), "{log:?}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_is_asked_at_its_alias() {
    let lambda = StubServer::answering(200, ALLOWED).await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let mut orbit =
        ServiceProcess::start(ORBIT, &with_function(&lambda.url(""), &axon.url("/reason")));
    let (status, body) = dispatch(orbit.address());
    assert_eq!(
        (status, &body["message"]),
        (200, &"Axon heartbeat OK".into())
    );
    let log = end(orbit);
    let access = log
        .iter()
        .find(|line| line["message"] == "request")
        .unwrap();
    assert_eq!(access["correlation_id"], "the-id");

    let calls = lambda.calls();
    assert_eq!(calls.len(), 1);
    let line = "POST /2015-03-31/functions/demo-governance/invocations?Qualifier=live";
    assert_eq!(calls[0].line, line);
    let authorization = calls[0].headers["authorization"].to_str().unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=test/"));
    let scope = "/eu-central-1/lambda/aws4_request, SignedHeaders=content-type;host;";
    assert!(authorization.contains(scope), "{authorization}");
    let question: Value = serde_json::from_slice(&calls[0].body).unwrap();
    assert_eq!(
        question,
        serde_json::json!({
            "service": "orbit", "intent": "call_reasoning", "correlation_id": "the-id"
        })
    );
    assert_eq!(axon.calls()[0].headers["x-correlation-id"], "the-id");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_verifies_is_signed_as_the_role_of_the_task() {
    let ecs = StubServer::answering(
        200,
        r#"{"AccessKeyId": "ASIA7", "SecretAccessKey": "the key", "Token": "the token",
            "Expiration": "2999-01-02T03:04:05Z"}"#,
    )
    .await;
    let lambda = StubServer::answering(200, ALLOWED).await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let (endpoint, axon_url, credentials) = (lambda.url(""), axon.url("/reason"), ecs.url("/role"));
    let mut variables = with_function(&endpoint, &axon_url);
    variables
        .retain(|(name, _)| !name.starts_with("AWS_ACCESS") && !name.starts_with("AWS_SECRET"));
    variables.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", &credentials));
    // There is no secret.
    variables.extend([
        ("AXON_SIGNED_FOR", "execute-api"),
        ("SIGNATURES", "required"),
    ]);
    let mut orbit = ServiceProcess::start(ORBIT, &variables);
    let address = orbit.address();
    assert_eq!([dispatch(address).0, dispatch(address).0], [200, 200]);
    end(orbit);
    assert_eq!(
        ecs.calls().len(),
        2,
        "for each target they are kept while they last"
    );
    let of_lambda = lambda.calls().into_iter().map(|call| (call, "/lambda/"));
    let of_axon = axon.calls().into_iter().map(|call| (call, "/execute-api/"));
    for (call, scope) in of_lambda.chain(of_axon) {
        let authorization = call.headers["authorization"].to_str().unwrap();
        assert!(
            authorization.contains("Credential=ASIA7/") && authorization.contains(scope),
            "{authorization}"
        );
        assert!(
            authorization.contains(";x-amz-security-token;"),
            "{authorization}"
        );
        assert_eq!(call.headers["x-amz-security-token"], "the token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_is_reached_over_tls_by_a_known_authority_only() {
    let (authority, other) = (Authority::generate(), Authority::generate());
    let (router, calls) = recording(|_| Some(answer(200, ALLOWED)));
    let endpoint = format!("https://{}", authority.serve("127.0.0.1", router).await);
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let axon_url = axon.url("/reason");
    for (authority, status) in [(Some(&authority), 200), (Some(&other), 503), (None, 503)] {
        let file = authority.map(|authority| PemFile::of(authority, "function"));
        let mut variables = with_function(&endpoint, &axon_url);
        variables.extend(file.iter().map(|file| ("SSL_CERT_FILE", file.path())));
        let mut orbit = ServiceProcess::start(ORBIT, &variables);
        assert_eq!(dispatch(orbit.address()).0, status);
        end(orbit);
    }
    assert_eq!((calls.lock().unwrap().len(), axon.calls().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_a_dispatch_that_is_in_flight() {
    let (reached, mut governance_reached) = tokio::sync::mpsc::unbounded_channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Arc::new(std::sync::Mutex::new(released));
    let governance = StubServer::start(move |_| {
        reached.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Some(answer(200, ALLOWED))
    })
    .await;
    let axon = StubServer::answering(200, HEARTBEAT).await;
    let variables = [
        ("PORT", "0"),
        ("DRAIN_MS", "0"),
        ("GOVERNANCE_FUNCTION_URL", &*governance.url("/")),
        ("AXON_SERVICE_URL", &*axon.url("/reason")),
    ];
    let mut orbit = ServiceProcess::start(ORBIT, &variables);
    let address = orbit.address();
    let in_flight = tokio::task::spawn_blocking(move || dispatch(address));
    governance_reached.recv().await.unwrap();
    orbit.terminate();
    assert_eq!(
        orbit.wait_for("finishing what is in flight")["connections"],
        1
    );
    assert!(TcpStream::connect(address).is_err());
    release.send(()).unwrap();
    assert_eq!(in_flight.await.unwrap().0, 200);
    let (code, log) = orbit.end();
    assert_eq!(
        (code, &log.last().unwrap()["message"]),
        (Some(0), &"stopped".into())
    );
}

#[test]
fn files_have_the_settings_that_the_program_prints() {
    settings_files::check_program(ORBIT, "orbit");
}

#[test]
fn all_faults_of_the_settings_are_logged_at_once() {
    let wrong = [
        ("PORT", "x"),
        ("GOVERNANCE_FUNCTION_NAME", "bare"),
        ("SSL_CERT_FILE", "/none"),
    ];
    let output = run(ORBIT, &[], &wrong);
    assert_eq!(output.status.code(), Some(78));
    let mut faulty: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["setting"]
                .as_str()
                .unwrap()
                .into()
        })
        .collect();
    faulty.sort_unstable();
    let expected = [
        "AWS_REGION",
        "AXON_SERVICE_URL",
        "GOVERNANCE_FUNCTION_NAME",
        "PORT",
        "SSL_CERT_FILE",
    ];
    assert_eq!(faulty, expected);
}

/// A file below the build directory, removed on drop.
struct PemFile(String);

impl PemFile {
    #[expect(clippy::disallowed_methods, reason = "the program reads a file")]
    fn of(authority: &Authority, name: &str) -> Self {
        let directory = env!("CARGO_TARGET_TMPDIR");
        let path = format!("{directory}/{name}-{}.pem", std::process::id());
        std::fs::write(&path, authority.pem()).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for PemFile {
    #[expect(clippy::disallowed_methods, reason = "the program has read the file")]
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}
