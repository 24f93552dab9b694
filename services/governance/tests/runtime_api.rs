//! The real binary against a stub of Lambda's runtime API.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Far above the duration of any step, so that a test cannot hang.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_permitted_question_is_answered_and_logged() {
    let mut function = RunningFunction::start(Server::Persistent);
    let reply = function
        .ask(r#"{"service":"orbit","intent":"call_reasoning","correlation_id":"c-1","new":1}"#);
    assert_eq!(
        reply.path,
        "/2018-06-01/runtime/invocation/invocation-1/response"
    );
    assert_eq!(
        reply.body,
        json!({
            "allowed": true,
            "reason": "permitted by policy orbit-may-call-reasoning (orbit dispatches reasoning)",
        })
    );
    let line = function.log_line();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["service"], "governance");
    assert_eq!(line["correlation_id"], "c-1");
    assert_eq!(line["invocation"], "invocation-1");
    assert_eq!(line["decision"], "permitted");
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
}

#[test]
fn a_forbid_and_the_lack_of_a_permit_are_different_answers() {
    let mut function = RunningFunction::start(Server::Persistent);
    let forbidden = function.ask(r#"{"service":"orbit","intent":"shutdown"}"#);
    assert_eq!(forbidden.body["allowed"], false);
    assert_eq!(
        forbidden.body["reason"],
        "forbidden by policy operators-only (only operators stop or restart what runs)"
    );
    let unknown = function.ask(r#"{"service":"axon","intent":"call_reasoning"}"#);
    assert_eq!(unknown.body["allowed"], false);
    assert_eq!(
        unknown.body["reason"],
        r#"no policy permits service "axon" to dispatch "call_reasoning""#
    );
    assert_eq!(function.log_line()["policies"], json!(["operators-only"]));
    assert_eq!(function.log_line()["decision"], "nothing_permits");
}

#[test]
fn a_broken_request_is_a_function_error_and_the_next_one_is_answered() {
    let mut function = RunningFunction::start(Server::Persistent);
    let reply = function.ask(r#"{"service":7}"#);
    assert_eq!(
        reply.path,
        "/2018-06-01/runtime/invocation/invocation-1/error"
    );
    assert_eq!(
        reply.body,
        json!({
            "errorType": "InvalidRequest",
            "errorMessage":
                "invalid request: service must be a string, not a number; intent is missing",
        })
    );
    assert_eq!(function.log_line()["level"], "WARN");
    for payload in ["[]", "null", "\"orbit\""] {
        assert_eq!(
            function.ask(payload).body["errorType"],
            "InvalidRequest",
            "{payload}"
        );
    }
    let reply = function.ask(r#"{"service":"orbit","intent":"call_reasoning"}"#);
    assert_eq!(reply.body["allowed"], true);
}

/// An intent comes from the caller's caller, so an invalid one is no failure of the function.
#[test]
fn an_intent_that_is_none_is_a_no_of_a_few_words() {
    let mut function = RunningFunction::start(Server::Persistent);
    for intent in ["", "\u{7f}", "é", "x", "a b\n"] {
        let intent = intent.repeat(60_000);
        let question = json!({"service": "orbit", "intent": intent});
        let reply = function.ask(&question.to_string());
        assert!(reply.path.ends_with("/response"), "{}", reply.path);
        assert_eq!(
            reply.body,
            json!({
                "allowed": false,
                "reason": "intent is not 1 to 128 characters of [A-Za-z0-9._-]",
            })
        );
        let line = function.log_line();
        assert_eq!(
            (&line["level"], &line["decision"]),
            (&json!("INFO"), &json!("invalid"))
        );
        assert!(line.to_string().len() < 2000, "{line}");
    }
}

/// Lambda accepts only JSON; an emulator may not.
#[test]
fn what_is_not_json_is_a_function_error() {
    let mut function = RunningFunction::start(Server::Persistent);
    for payload in ["", "{", "orbit"] {
        let reply = function.ask(payload);
        assert!(reply.path.ends_with("/error"), "{payload}: {}", reply.path);
        assert!(
            reply.body["errorMessage"].is_string(),
            "{payload}: {}",
            reply.body
        );
    }
}

/// The local AWS serves the runtime API as HTTP/1.0, one connection a request and no length.
#[test]
fn one_invocation_is_handled_over_connections_that_close_and_the_next_is_waited_for() {
    let mut function = RunningFunction::start(Server::ClosesEachConnection);
    let reply = function.ask(r#"{"service":"orbit","intent":"call_reasoning"}"#);
    assert_eq!(reply.body["allowed"], true);
    function
        .polls
        .recv_timeout(PATIENCE)
        .expect("it asks for the next invocation");
    assert!(
        function.child.try_wait().unwrap().is_none(),
        "it waits rather than ends"
    );
}

#[test]
fn a_runtime_api_that_hangs_up_is_logged_and_ends_the_program() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || listener.incoming().for_each(drop));
    let output = command(&address).output().unwrap();
    assert!(!output.status.success());
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], "runtime ended");
}

#[derive(Clone, Copy)]
enum Server {
    Persistent,
    ClosesEachConnection,
}

struct Reply {
    path: String,
    body: Value,
}

/// The running binary, and the test's side of the runtime API.
struct RunningFunction {
    child: Child,
    log: BufReader<ChildStdout>,
    payloads: Sender<String>,
    polls: Receiver<()>,
    replies: Receiver<Reply>,
}

impl RunningFunction {
    fn start(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (payloads, queue) = channel();
        let (asked, polls) = channel();
        let (answered, replies) = channel();
        let api = Arc::new(RuntimeApi {
            server,
            queue: Mutex::new((0, queue)),
            asked,
            answered,
        });
        thread::spawn(move || {
            for stream in listener.incoming() {
                let api = Arc::clone(&api);
                thread::spawn(move || api.serve(&stream.unwrap()));
            }
        });
        let mut child = command(&address).spawn().unwrap();
        let log = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            log,
            payloads,
            polls,
            replies,
        }
    }

    fn ask(&mut self, payload: &str) -> Reply {
        self.polls
            .recv_timeout(PATIENCE)
            .expect("it asks for an invocation");
        self.payloads.send(payload.to_owned()).unwrap();
        self.replies.recv_timeout(PATIENCE).expect("it answers")
    }

    fn log_line(&mut self) -> Value {
        let mut line = String::new();
        self.log.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for RunningFunction {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "the test's subject is a program")]
fn command(runtime_api: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_governance"));
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", "demo-governance")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/demo-governance")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .stdout(Stdio::piped());
    // For coverage, the program writes a profile as well.
    if let Ok(file) = std::env::var("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", file);
    }
    command
}

struct RuntimeApi {
    server: Server,
    /// The number of requests that were handed out, and those that wait.
    queue: Mutex<(usize, Receiver<String>)>,
    asked: Sender<()>,
    answered: Sender<Reply>,
}

impl RuntimeApi {
    /// Ends when either side closes the connection, as at the end of each test.
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((method, path, body)) = read_request(&mut reader) {
            if method == "GET" {
                assert_eq!(path, "/2018-06-01/runtime/invocation/next");
                self.asked.send(()).ok();
                let mut queue = self.queue.lock().unwrap();
                let Ok(payload) = queue.1.recv() else { return };
                queue.0 += 1;
                let id = format!("Lambda-Runtime-Aws-Request-Id: invocation-{}\r\n", queue.0);
                let deadline = "Lambda-Runtime-Deadline-Ms: 4102444800000\r\n";
                self.respond(stream, "200 OK", &format!("{id}{deadline}"), &payload);
            } else {
                self.respond(stream, "202 Accepted", "", "");
                let body = serde_json::from_slice(&body).unwrap();
                self.answered.send(Reply { path, body }).ok();
            }
            if let Server::ClosesEachConnection = self.server {
                return;
            }
        }
    }

    fn respond(&self, mut stream: &TcpStream, status: &str, headers: &str, body: &str) {
        let (version, length) = match self.server {
            Server::Persistent => ("1.1", format!("Content-Length: {}\r\n", body.len())),
            Server::ClosesEachConnection => ("1.0", String::new()),
        };
        write!(
            stream,
            "HTTP/{version} {status}\r\n{headers}{length}\r\n{body}"
        )
        .ok();
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String, Vec<u8>)> {
    let start = read_line(reader)?;
    let mut words = start.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut body_bytes = 0;
    loop {
        let header = read_line(reader)?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(length) = header.strip_prefix("content-length:") {
            body_bytes = length.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; body_bytes];
    reader.read_exact(&mut body).ok()?;
    Some((method, path, body))
}

fn read_line(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let mut line = String::new();
    let bytes = reader.read_line(&mut line).ok()?;
    (bytes > 0).then(|| line.trim_end().to_owned())
}
