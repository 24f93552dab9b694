//! A stub of Lambda: it serves the runtime API to a function's program, and Invoke to callers.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex as Queue, oneshot};

/// Runs until it is dropped.
pub struct FunctionProcess {
    port: u16,
    lambda: Arc<LambdaStub>,
    program: Child,
    _runtime: Runtime,
}

/// The function's answer, or its error.
type InvocationOutcome = Result<Bytes, Bytes>;

struct Invocation {
    payload: Bytes,
    outcome: oneshot::Sender<InvocationOutcome>,
}

struct LambdaStub {
    asked: UnboundedSender<Invocation>,
    waiting: Queue<UnboundedReceiver<Invocation>>,
    /// Receives the outcome of the invocation that the program works on.
    under_way: Mutex<Option<oneshot::Sender<InvocationOutcome>>>,
    errors: AtomicUsize,
}

impl FunctionProcess {
    pub fn start(program: &str) -> Self {
        let (asked, waiting) = unbounded_channel();
        let lambda = Arc::new(LambdaStub {
            asked,
            waiting: Queue::new(waiting),
            under_way: Mutex::default(),
            errors: AtomicUsize::new(0),
        });
        let runtime_api = "/2018-06-01/runtime/invocation";
        let router = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .route(&format!("{runtime_api}/next"), get(next))
            .route(&format!("{runtime_api}/{{id}}/response"), post(response))
            .route(&format!("{runtime_api}/{{id}}/error"), post(error))
            .with_state(Arc::clone(&lambda));
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        runtime.spawn(async move { axum::serve(listener, router).await });
        let program = Command::new(program)
            .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{port}"))
            .env("AWS_LAMBDA_FUNCTION_NAME", "demo-governance")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/demo-governance")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .stdout(Stdio::null())
            .spawn()
            .expect("start the function");
        Self {
            port,
            lambda,
            program,
            _runtime: runtime,
        }
    }

    /// The URL of Lambda's API.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many invocations ended with an error.
    pub fn errors(&self) -> usize {
        self.lambda.errors.load(Ordering::Relaxed)
    }
}

impl Drop for FunctionProcess {
    fn drop(&mut self) {
        drop(self.program.kill());
        drop(self.program.wait());
    }
}

async fn invoke(State(lambda): State<Arc<LambdaStub>>, payload: Bytes) -> Response {
    let (outcome, answered) = oneshot::channel();
    let invocation = Invocation { payload, outcome };
    drop(lambda.asked.send(invocation));
    match answered.await {
        Ok(Ok(answer)) => answer.into_response(),
        Ok(Err(error)) => ([("X-Amz-Function-Error", "Unhandled")], error).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn next(State(lambda): State<Arc<LambdaStub>>) -> Response {
    let next = lambda.waiting.lock().await.recv().await;
    let Invocation { payload, outcome } = next.expect("Lambda itself keeps a sender");
    *lambda.under_way.lock().expect("no panic") = Some(outcome);
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", "the-invocation"),
        ("Lambda-Runtime-Deadline-Ms", "4102444800000"),
    ];
    (headers, payload).into_response()
}

async fn response(State(lambda): State<Arc<LambdaStub>>, answer: Bytes) -> StatusCode {
    lambda.end(Ok(answer))
}

async fn error(State(lambda): State<Arc<LambdaStub>>, error: Bytes) -> StatusCode {
    lambda.errors.fetch_add(1, Ordering::Relaxed);
    lambda.end(Err(error))
}

impl LambdaStub {
    fn end(&self, outcome: InvocationOutcome) -> StatusCode {
        let under_way = self.under_way.lock().expect("no panic").take();
        // The caller may have disconnected.
        drop(under_way.map(|under_way| under_way.send(outcome)));
        StatusCode::ACCEPTED
    }
}
