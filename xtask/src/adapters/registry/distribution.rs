//! Pushing by the distribution protocol, which every image registry speaks.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{sleep, timeout};

use crate::adapters::tls;
use crate::decide::image::Digest;

/// For one request, of which the longest sends some megabytes over a slow line.
const LIMIT: Duration = Duration::from_mins(3);
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    scheme: &'static str,
}

impl Transport {
    /// A registry on this machine speaks HTTP, every other one HTTPS with an authority that this
    /// machine trusts.
    pub(super) fn new(registry: &str) -> Result<Self> {
        let host = registry.split(':').next().unwrap_or_default();
        let scheme = match host {
            "localhost" | "127.0.0.1" => "http",
            _ => "https",
        };
        let connector = tls::connector(scheme == "https")?;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            scheme,
        })
    }
}

/// One repository of a registry, and the right to push there.
#[derive(Clone, Copy)]
pub(super) struct Repository<'a> {
    pub(super) transport: &'a Transport,
    /// Host and port.
    pub(super) registry: &'a str,
    pub(super) name: &'a str,
    pub(super) authorization: &'a str,
}

impl Repository<'_> {
    /// Uploads a blob, unless it is there.
    pub(super) async fn put_blob(self, digest: Digest, bytes: Bytes) -> Result<()> {
        let name = self.name;
        self.patiently(|| self.try_put_blob(&digest, bytes.clone()))
            .await
            .with_context(|| format!("upload {digest} to {name}"))
    }

    /// Uploads a manifest under a tag or its own digest.
    pub(super) async fn put_manifest(self, name: &str, kind: &str, bytes: Bytes) -> Result<()> {
        let url = self.url(&format!("manifests/{name}"));
        let put = || async {
            let sent = self.send(Method::PUT, &url, Some(kind), bytes.clone());
            expect(sent.await?, StatusCode::CREATED).map(drop)
        };
        self.patiently(put)
            .await
            .with_context(|| format!("upload the manifest {name} to {}", self.name))
    }

    /// As Docker does it: open an upload, send all bytes, close it with the digest.
    async fn try_put_blob(self, digest: &Digest, bytes: Bytes) -> Result<()> {
        const BYTES: Option<&str> = Some("application/octet-stream");
        let there = self.url(&format!("blobs/{digest}"));
        let found = self.send(Method::HEAD, &there, None, Bytes::new()).await?;
        if found.status() == StatusCode::OK {
            return Ok(());
        }
        let uploads = self.url("blobs/uploads/");
        let opened = self
            .send(Method::POST, &uploads, None, Bytes::new())
            .await?;
        let upload = self.location(&expect(opened, StatusCode::ACCEPTED)?)?;
        let sent = self.send(Method::PATCH, &upload, BYTES, bytes).await?;
        let upload = self.location(&expect(sent, StatusCode::ACCEPTED)?)?;
        let separator = if upload.contains('?') { '&' } else { '?' };
        let close = format!("{upload}{separator}digest={digest}");
        let closed = self.send(Method::PUT, &close, BYTES, Bytes::new()).await?;
        expect(closed, StatusCode::CREATED).map(drop)
    }

    pub(super) async fn send(
        self,
        method: Method,
        url: &str,
        kind: Option<&str>,
        bytes: Bytes,
    ) -> Result<Response<Bytes>> {
        let shown = format!("{method} {url}");
        let mut request = Request::builder().method(method).uri(url);
        // An upload may be sent on to another host, which must not learn the password.
        if url.starts_with(&format!("{}/", self.origin())) {
            request = request.header(AUTHORIZATION, self.authorization);
        }
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request.body(Full::new(bytes)).context("make a request")?;
        let exchange = async {
            let answer = self.transport.client.request(request).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow!(error))?.to_bytes();
            Ok::<_, anyhow::Error>(Response::from_parts(head, body))
        };
        match timeout(LIMIT, exchange).await {
            Ok(answer) => answer.with_context(|| format!("{shown}: no answer")),
            Err(_) => bail!("{shown}: no answer within {} s", LIMIT.as_secs()),
        }
    }

    /// Where an upload goes on: a whole URL, or a path on the same host.
    fn location(self, headers: &http::HeaderMap) -> Result<String> {
        let location = headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .context("the registry does not say where to upload")?;
        Ok(if location.starts_with('/') {
            format!("{}{location}", self.origin())
        } else {
            location.to_owned()
        })
    }

    /// Tries again where that may help: no answer, or the registry's own trouble.
    async fn patiently<Work>(self, work: impl Fn() -> Work) -> Result<()>
    where
        Work: Future<Output = Result<()>>,
    {
        for _ in 1..ATTEMPTS {
            match work().await {
                Err(error) if !error.is::<Refused>() => {
                    tracing::debug!(error = format!("{error:#}"), "upload again");
                    sleep(PAUSE).await;
                }
                ended => return ended,
            }
        }
        work().await
    }

    fn origin(self) -> String {
        format!("{}://{}", self.transport.scheme, self.registry)
    }

    pub(super) fn url(self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.origin(), self.name)
    }
}

/// An answer that will be the same next time.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {said}")]
struct Refused {
    status: StatusCode,
    said: String,
}

/// The headers of an answer of this status; any other one is an error, with what it says.
fn expect(answer: Response<Bytes>, wanted: StatusCode) -> Result<http::HeaderMap> {
    let (head, body) = answer.into_parts();
    let status = head.status;
    if status == wanted {
        return Ok(head.headers);
    }
    let said = text(&body);
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        return Err(Refused { status, said }.into());
    }
    bail!("{status}: {said}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::{Request, State};
    use axum::response::IntoResponse;

    use super::*;

    /// A registry that writes down what it is asked, and fails as many times as it is told to.
    #[derive(Clone, Default)]
    struct Fake {
        asked: Arc<Mutex<Vec<String>>>,
        failures: Arc<Mutex<u32>>,
        has_blobs: bool,
        refuses: bool,
    }

    async fn answer(State(fake): State<Fake>, request: Request) -> axum::response::Response {
        let asked = format!("{} {}", request.method(), request.uri());
        let method = request.method().clone();
        assert_eq!(request.headers()["authorization"], "Basic c2VjcmV0");
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let asked = format!("{asked} {}", text(&bytes)).trim_end().to_owned();
        fake.asked.lock().unwrap().push(asked.clone());
        let mut failures = fake.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return (StatusCode::BAD_GATEWAY, "come back").into_response();
        }
        if fake.refuses && method != Method::HEAD {
            return (StatusCode::FORBIDDEN, "not you").into_response();
        }
        let location = |place: &str| [(LOCATION, place.to_owned())];
        match method {
            Method::HEAD if fake.has_blobs => StatusCode::OK.into_response(),
            Method::HEAD => StatusCode::NOT_FOUND.into_response(),
            Method::POST => (StatusCode::ACCEPTED, location("/up/1")).into_response(),
            Method::PATCH => (StatusCode::ACCEPTED, location("/up/2?a=b")).into_response(),
            _ => StatusCode::CREATED.into_response(),
        }
    }

    /// What was asked, and how it ended.
    async fn put_blob(fake: Fake) -> (Vec<String>, Result<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = listener.local_addr().unwrap().to_string();
        let asked = Arc::clone(&fake.asked);
        let app = Router::new().fallback(answer).with_state(fake);
        let serving = tokio::spawn(async { axum::serve(listener, app).await });
        let transport = Transport::new(&registry).unwrap();
        let repository = Repository {
            transport: &transport,
            registry: &registry,
            name: "demo/axon",
            authorization: "Basic c2VjcmV0",
        };
        let ended = repository
            .put_blob(Digest::of(b"bytes"), Bytes::from_static(b"bytes"))
            .await;
        serving.abort();
        let asked = asked.lock().unwrap().clone();
        (asked, ended)
    }

    #[tokio::test]
    async fn a_blob_is_uploaded_and_named_by_its_digest() {
        let (asked, ended) = put_blob(Fake::default()).await;
        ended.unwrap();
        let digest = Digest::of(b"bytes");
        assert_eq!(
            asked,
            [
                format!("HEAD /v2/demo/axon/blobs/{digest}"),
                "POST /v2/demo/axon/blobs/uploads/".to_owned(),
                "PATCH /up/1 bytes".to_owned(),
                format!("PUT /up/2?a=b&digest={digest}"),
            ]
        );
    }

    #[tokio::test]
    async fn a_blob_that_is_there_is_not_uploaded_again() {
        let fake = Fake {
            has_blobs: true,
            ..Fake::default()
        };
        let (asked, ended) = put_blob(fake).await;
        ended.unwrap();
        assert_eq!(asked.len(), 1, "{asked:?}");
    }

    #[tokio::test]
    async fn a_registry_in_trouble_is_asked_again_but_not_for_ever() {
        let failing = |count| Fake {
            failures: Arc::new(Mutex::new(count)),
            ..Fake::default()
        };
        // A HEAD that fails says nothing about the blob, so each failure costs a POST too.
        let (_, ended) = put_blob(failing(2)).await;
        ended.unwrap();
        let (asked, ended) = put_blob(failing(100)).await;
        let error = format!("{:#}", ended.unwrap_err());
        assert!(error.contains("502 Bad Gateway: come back"), "{error}");
        assert_eq!(asked.len(), 2 * ATTEMPTS as usize, "{asked:?}");
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_registrys_words_and_not_argued_with() {
        let fake = Fake {
            refuses: true,
            ..Fake::default()
        };
        let (asked, ended) = put_blob(fake).await;
        let error = format!("{:#}", ended.unwrap_err());
        assert!(error.contains("403 Forbidden: not you"), "{error}");
        assert_eq!(asked.len(), 2, "{asked:?}");
    }
}
