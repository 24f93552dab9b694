//! A fake AWS for tests, on loopback.

use std::io;
use std::sync::Arc;

use aws_config::SdkConfig;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::aws::emulated;
use super::emulator::AccessKey;
use super::transport::Transport;
use crate::decide::environment::Environment;
use crate::report::{Format, OutputMode, Report};

/// Maps a request to a response or an error code. The request is `GET /path?query`, or the
/// operation of a JSON protocol, with its input.
type Responder = dyn Fn(&str, Value) -> Result<Value, &'static str> + Send + Sync;

/// An SDK configuration for a fake AWS with this behavior.
pub(super) async fn config(
    answer: impl Fn(&str, Value) -> Result<Value, &'static str> + Send + Sync + 'static,
) -> SdkConfig {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer: Arc<Responder> = Arc::new(answer);
    let app = Router::new().fallback(serve).with_state(answer);
    drop(tokio::spawn(async { axum::serve(listener, app).await }));
    emulated(
        &environment(),
        &endpoint,
        &AccessKey::of_none(),
        &Transport::local(),
    )
}

/// A report without output.
pub(super) fn report() -> Report {
    let mode = OutputMode {
        format: Format::Human,
        quiet: true,
        terminal: false,
    };
    Report::new(mode, Box::new(io::sink()), Box::new(io::sink()))
}

pub(super) fn environment() -> Environment {
    let file = json!({
        "project": "demo",
        "environment": "local",
        "region": "us-east-1",
        "account_id": "000000000000",
    });
    Environment::parse("test", &file.to_string()).unwrap()
}

async fn serve(State(answer): State<Arc<Responder>>, request: Request) -> axum::response::Response {
    let (head, body) = request.into_parts();
    let target = head.headers.get("x-amz-target");
    let operation = target.and_then(|target| target.to_str().unwrap().split('.').nth(1));
    let asked = operation.map_or_else(|| format!("{} {}", head.method, head.uri), str::to_owned);
    let body = body.collect().await.unwrap().to_bytes();
    let input = serde_json::from_slice(&body).unwrap_or_default();
    match answer(&asked, input) {
        Ok(output) => output.to_string().into_response(),
        Err(code) => {
            let error = json!({
                "__type": code,
                "message": "refused by the fake",
                "CancellationReasons": [{ "Code": "ConditionalCheckFailed" }],
            });
            let headers = [("x-amzn-errortype", code)];
            (StatusCode::BAD_REQUEST, headers, error.to_string()).into_response()
        }
    }
}
