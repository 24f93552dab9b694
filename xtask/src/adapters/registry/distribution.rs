//! Pushes images by the OCI distribution protocol. A blob is uploaded by one POST and one PUT,
//! since ECR answers a PATCH with a status that clients such as `oci-client` reject.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{Method, Request, Response, StatusCode};
use tokio::time::{sleep, timeout};

use crate::adapters::transport::Client;
use crate::decide::artifact::types::Digest;

/// The limit of one request, which may send some megabytes over a slow connection.
const LIMIT: Duration = Duration::from_mins(3);
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A repository of a registry, and the credentials to push to it.
#[derive(Clone, Copy)]
pub(super) struct Repository<'a> {
    pub(super) client: &'a Client,
    /// Host and port.
    pub(super) registry: &'a str,
    pub(super) name: &'a str,
    pub(super) authorization: &'a str,
}

impl Repository<'_> {
    /// Uses HTTP for a registry on this machine, HTTPS for every other one.
    fn scheme(self) -> &'static str {
        match self.registry.split(':').next() {
            Some("localhost" | "127.0.0.1") => "http",
            _ => "https",
        }
    }

    /// Uploads a blob, unless it exists.
    pub(super) async fn put_blob(self, digest: Digest, bytes: Bytes) -> Result<()> {
        let name = self.name;
        self.with_retries(|| self.try_put_blob(&digest, bytes.clone()))
            .await
            .with_context(|| format!("upload {digest} to {name}"))
    }

    /// Uploads a manifest under a tag or its digest.
    pub(super) async fn put_manifest(self, name: &str, kind: &str, bytes: Bytes) -> Result<()> {
        let url = self.url(&format!("manifests/{name}"));
        let put = || async {
            let sent = self.send(Method::PUT, &url, Some(kind), bytes.clone());
            succeeded(sent.await?).map(drop)
        };
        self.with_retries(put)
            .await
            .with_context(|| format!("upload the manifest {name} to {}", self.name))
    }

    /// Opens an upload and sends all bytes at once. Any success status is accepted, since ECR
    /// deviates from the specification for some requests.
    async fn try_put_blob(self, digest: &Digest, bytes: Bytes) -> Result<()> {
        const BYTES: Option<&str> = Some("application/octet-stream");
        let blob = self.url(&format!("blobs/{digest}"));
        let found = self.send(Method::HEAD, &blob, None, Bytes::new()).await?;
        if found.status().is_success() {
            return Ok(());
        }
        let uploads = self.url("blobs/uploads/");
        let opened = self
            .send(Method::POST, &uploads, None, Bytes::new())
            .await?;
        let opened = succeeded(opened)?;
        if opened.status == StatusCode::CREATED {
            return Ok(()); // the registry has the blob already
        }
        let upload = self.location(&uploads, &opened.headers)?;
        let separator = if upload.contains('?') { '&' } else { '?' };
        let whole = format!("{upload}{separator}digest={digest}");
        let closed = self.send(Method::PUT, &whole, BYTES, bytes).await?;
        succeeded(closed).map(drop)
    }

    pub(super) async fn send(
        self,
        method: Method,
        url: &str,
        kind: Option<&str>,
        bytes: Bytes,
    ) -> Result<Response<Bytes>> {
        let shown = format!("{method} {url}");
        let changes = method == Method::POST || method == Method::PUT;
        let mut request = Request::builder().method(method).uri(url);
        // An upload may be redirected to another host, which must not get the password.
        if url.starts_with(&format!("{}/", self.origin())) {
            request = request.header(AUTHORIZATION, self.authorization);
        }
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        // hyper sends no length for an empty body, and some registries then answer 411.
        if bytes.is_empty() && changes {
            request = request.header(CONTENT_LENGTH, 0);
        }
        let request = request.body(bytes).context("make a request")?;
        let exchange = self.client.exchange(request, ANSWER_BYTES_MAX);
        match timeout(LIMIT, exchange).await {
            Ok(answer) => answer.with_context(|| format!("{shown}: no response")),
            Err(_) => bail!("{shown}: no response within {} s", LIMIT.as_secs()),
        }
    }

    /// The URL of the next request of an upload, which may be relative to the requested URL.
    fn location(self, asked: &str, headers: &http::HeaderMap) -> Result<String> {
        let location = headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .context("no upload location in the response of the registry")?;
        Ok(if location.contains("://") {
            location.to_owned()
        } else if location.starts_with("//") {
            format!("{}:{location}", self.scheme())
        } else if location.starts_with('/') {
            format!("{}{location}", self.origin())
        } else {
            let folder = asked.rfind('/').map_or(asked.len(), |slash| slash + 1);
            format!("{}{location}", &asked[..folder])
        })
    }

    /// Retries after a missing response or a server error.
    pub(super) async fn with_retries<T, Work>(self, work: impl Fn() -> Work) -> Result<T>
    where
        Work: Future<Output = Result<T>>,
    {
        for _ in 1..ATTEMPTS {
            match work().await {
                Err(error) if !error.is::<RejectedError>() => {
                    tracing::debug!(error = format!("{error:#}"), "retry");
                    sleep(PAUSE).await;
                }
                ended => return ended,
            }
        }
        work().await
    }

    fn origin(self) -> String {
        format!("{}://{}", self.scheme(), self.registry)
    }

    pub(super) fn url(self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.origin(), self.name)
    }
}

/// A client error, for which a retry is pointless.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {message}")]
struct RejectedError {
    status: StatusCode,
    message: String,
}

/// The head of a successful response. Any other status is an error with the body.
pub(super) fn succeeded(answer: Response<Bytes>) -> Result<http::response::Parts> {
    let (head, body) = answer.into_parts();
    let status = head.status;
    if status.is_success() {
        return Ok(head);
    }
    let message = text(&body);
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        return Err(RejectedError { status, message }.into());
    }
    bail!("{status}: {message}")
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
    use http_body_util::BodyExt;

    use super::*;
    use crate::adapters::transport::Transport;

    /// A registry that responds like ECR, records its requests, and fails a number of times.
    #[derive(Clone)]
    struct RegistryStub {
        asked: Arc<Mutex<Vec<String>>>,
        failures: Arc<Mutex<u32>>,
        has_blobs: bool,
        refuses: bool,
        /// The status and the location of responses to a POST.
        opens: (StatusCode, String),
    }

    impl Default for RegistryStub {
        fn default() -> Self {
            Self {
                asked: Arc::default(),
                failures: Arc::default(),
                has_blobs: false,
                refuses: false,
                opens: (StatusCode::ACCEPTED, "/up/1".to_owned()),
            }
        }
    }

    async fn answer(
        State(fake): State<RegistryStub>,
        request: Request,
    ) -> axum::response::Response {
        let asked = format!("{} {}", request.method(), request.uri());
        let method = request.method().clone();
        let headers = request.headers().clone();
        let header = |name| Some(headers.get(name)?.to_str().unwrap());
        // Counts as another host.
        let foreign = header("host").unwrap().starts_with("localhost");
        let password = (!foreign).then_some("Basic c2VjcmV0");
        assert_eq!(header("authorization"), password, "{asked}");
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        if method == Method::POST || method == Method::PUT {
            let length = bytes.len().to_string();
            assert_eq!(header("content-length"), Some(length.as_str()), "{asked}");
        }
        let asked = format!("{asked} {}", text(&bytes)).trim_end().to_owned();
        fake.asked.lock().unwrap().push(asked.clone());
        let mut failures = fake.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return (StatusCode::BAD_GATEWAY, "try later").into_response();
        }
        if fake.refuses && method != Method::HEAD {
            return (StatusCode::FORBIDDEN, "not you").into_response();
        }
        let location = |url: &str| [(LOCATION, url.to_owned())];
        match method {
            Method::HEAD if fake.has_blobs => StatusCode::OK.into_response(),
            Method::HEAD => StatusCode::NOT_FOUND.into_response(),
            Method::POST => (fake.opens.0, location(&fake.opens.1)).into_response(),
            // The specification demands 202.
            Method::PATCH => (StatusCode::CREATED, location("/up/2?a=b")).into_response(),
            _ => StatusCode::CREATED.into_response(),
        }
    }

    /// The requests and the result of an upload. `PORT` in a location is replaced by that of the
    /// registry.
    async fn put_blob(mut fake: RegistryStub) -> (Vec<String>, Result<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let registry = address.to_string();
        fake.opens.1 = fake.opens.1.replace("PORT", &address.port().to_string());
        let asked = Arc::clone(&fake.asked);
        let app = Router::new().fallback(answer).with_state(fake);
        let serving = tokio::spawn(async { axum::serve(listener, app).await });
        let repository = Repository {
            client: &Transport::local().client(None),
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
    async fn a_blob_is_uploaded_under_its_digest() {
        let (asked, ended) = put_blob(RegistryStub::default()).await;
        ended.unwrap();
        let digest = Digest::of(b"bytes");
        assert_eq!(
            asked,
            [
                format!("HEAD /v2/demo/axon/blobs/{digest}"),
                "POST /v2/demo/axon/blobs/uploads/".to_owned(),
                format!("PUT /up/1?digest={digest} bytes"),
            ]
        );
    }

    fn opening(status: StatusCode, location: &str) -> RegistryStub {
        RegistryStub {
            opens: (status, location.to_owned()),
            ..RegistryStub::default()
        }
    }

    #[tokio::test]
    async fn an_upload_follows_the_location() {
        for (location, expected) in [
            ("/up/2?a=b", "/up/2?a=b&digest="),
            ("http://127.0.0.1:PORT/up/3", "/up/3?digest="),
            ("//127.0.0.1:PORT/up/4", "/up/4?digest="),
            ("http://localhost:PORT/up/5", "/up/5?digest="),
            ("five?a=b", "/v2/demo/axon/blobs/uploads/five?a=b&digest="),
        ] {
            let (asked, ended) = put_blob(opening(StatusCode::OK, location)).await;
            ended.unwrap();
            let put = asked.last().unwrap();
            assert!(put.starts_with(&format!("PUT {expected}")), "{put}");
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_if_the_registry_has_the_blob_after_all() {
        let (asked, ended) = put_blob(opening(StatusCode::CREATED, "/v2/demo/axon/blobs/x")).await;
        ended.unwrap();
        assert_eq!(asked.len(), 2, "{asked:?}");
    }

    #[tokio::test]
    async fn an_existing_blob_is_not_uploaded() {
        let fake = RegistryStub {
            has_blobs: true,
            ..RegistryStub::default()
        };
        let (asked, ended) = put_blob(fake).await;
        ended.unwrap();
        assert_eq!(asked.len(), 1, "{asked:?}");
    }

    #[tokio::test]
    async fn server_errors_are_retried_a_few_times() {
        let failing = |count| RegistryStub {
            failures: Arc::new(Mutex::new(count)),
            ..RegistryStub::default()
        };
        // A failed HEAD is followed by a POST.
        let (_, ended) = put_blob(failing(2)).await;
        ended.unwrap();
        let (asked, ended) = put_blob(failing(100)).await;
        let error = format!("{:#}", ended.unwrap_err());
        assert!(error.contains("502 Bad Gateway: try later"), "{error}");
        assert_eq!(asked.len(), 2 * ATTEMPTS as usize, "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_without_response_times_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = listener.local_addr().unwrap().to_string();
        let repository = Repository {
            client: &Transport::local().client(None),
            registry: &registry,
            name: "demo/axon",
            authorization: "Basic c2VjcmV0",
        };
        let began = tokio::time::Instant::now();
        let put = repository.put_blob(Digest::of(b"bytes"), Bytes::from_static(b"bytes"));
        let error = format!("{:#}", put.await.unwrap_err());
        assert!(error.contains("no response within 180 s"), "{error}");
        assert!(began.elapsed() < 4 * LIMIT);
    }

    #[tokio::test]
    async fn a_client_error_is_shown_and_not_retried() {
        let fake = RegistryStub {
            refuses: true,
            ..RegistryStub::default()
        };
        let (asked, ended) = put_blob(fake).await;
        let error = format!("{:#}", ended.unwrap_err());
        assert!(error.contains("403 Forbidden: not you"), "{error}");
        assert_eq!(asked.len(), 2, "{asked:?}");
    }
}
