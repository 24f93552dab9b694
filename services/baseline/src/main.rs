//! The baseline of `cargo xtask bench`, and the stub that the measured services call: a bare
//! hyper handler that answers `GET /reason` with as many bytes as a service, and stubs Lambda and
//! Secrets Manager.
//! Its argument is the port; the variable `SECRET` is the text of its one secret.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;

#[derive(Serialize)]
struct BaselineResponse {
    message: &'static str,
    service: &'static str,
    timestamp: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).unwrap_or_default().parse()?;
    let secret: Arc<str> = secret().into();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let secret = Arc::clone(&secret);
        let answer = service_fn(move |request| answer(request, Arc::clone(&secret)));
        // A client that disconnects ends only its own connection.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn answer(
    request: Request<Incoming>,
    secret: Arc<str>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = if request.method() == Method::GET {
        reason()
    } else if request.headers().contains_key("x-amz-target") {
        let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:bench";
        json!({"ARN": arn, "VersionId": "1", "SecretString": &*secret}).to_string()
    } else {
        json!({"allowed": true}).to_string()
    };
    // An unread body would prevent the next request on the connection.
    drop(request.into_body().collect().await);
    let mut response = Response::new(Full::from(body));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the baseline has no kit and so no clock of it"
)]
fn reason() -> String {
    let answer = BaselineResponse {
        message: "Bare heartbeat OK",
        service: "bare",
        timestamp: format!("{:.3}", Timestamp::now()),
    };
    serde_json::to_string(&answer).expect("three strings are JSON")
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the program starts; a secret must not be an argument"
)]
fn secret() -> String {
    std::env::var("SECRET").unwrap_or_default()
}
