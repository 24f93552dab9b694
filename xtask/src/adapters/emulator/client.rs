//! Requests to the local AWS, which takes the key of a signature and does not check the rest.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::access_key::AccessKey;

/// The emulator has one thread, which is busy while it saves or loads its state.
const LIMIT: Duration = Duration::from_secs(5);

/// The identity of the emulator on this port. `None` if there is none.
pub(super) async fn identity(port: u16) -> Option<String> {
    let request = Request::get(format!("http://127.0.0.1:{port}/_ministack/health"));
    let (status, body) = send(request.body(Full::default()).ok()?).await?;
    let health: Value = serde_json::from_slice(&body).ok()?;
    (status == 200).then(|| health["edition"].as_str().map(str::to_owned))?
}

/// Calls an operation of a JSON protocol, such as
/// `AmazonEC2ContainerServiceV20141113.ListClusters`.
pub(super) async fn json(port: u16, key: &AccessKey, target: &str, input: &Value) -> Option<Value> {
    let request = Request::post(format!("http://127.0.0.1:{port}/"))
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", target)
        .header("authorization", authorization(key, "ecs"))
        .body(Full::from(input.to_string()))
        .ok()?;
    let (status, body) = send(request).await?;
    (status == 200).then(|| serde_json::from_slice(&body).ok())?
}

/// Calls an operation of the query protocol, whose response is XML.
pub(super) async fn query(
    port: u16,
    key: &AccessKey,
    service: &str,
    form: &'static str,
) -> Option<String> {
    let request = Request::post(format!("http://127.0.0.1:{port}/"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", authorization(key, service))
        .body(Full::from(form))
        .ok()?;
    let (status, body) = send(request).await?;
    (status == 200).then(|| String::from_utf8(body.into()).ok())?
}

/// The emulator takes the key and the service from the scope of the signature.
fn authorization(key: &AccessKey, service: &str) -> String {
    let id = &key.access_key_id;
    format!("AWS4-HMAC-SHA256 Credential={id}/20260101/us-east-1/{service}/aws4_request")
}

/// The status of a GET request.
pub(super) async fn status(port: u16, path: &str) -> Option<u16> {
    let request = Request::get(format!("http://127.0.0.1:{port}{path}"));
    Some(send(request.body(Full::default()).ok()?).await?.0)
}

async fn send(request: Request<Full<Bytes>>) -> Option<(u16, Bytes)> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = tokio::time::timeout(LIMIT, async {
        let response = client.request(request).await.ok()?;
        let status = response.status().as_u16();
        Some((
            status,
            response.into_body().collect().await.ok()?.to_bytes(),
        ))
    });
    answer.await.ok()?
}
