//! What every request passes on its way out, in one ordered list. The answer is whole: its body
//! has been read within the same time limit.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _};

use crate::connect::{ConnectTo, Connector};
use crate::{RequestContext, TrustRoots, correlation};

/// Far above what our services answer.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Below the idle timeouts that servers and load balancers have by default (60 s on AWS).
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// One service or function that is called.
#[derive(Clone, Debug)]
pub struct Target {
    pub connect_to: Option<ConnectTo>,
    pub timeout_ms: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    #[error("no answer within {0} ms")]
    Timeout(u64),
    #[error("the answer is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the call failed")]
    Failed(#[source] BoxError),
}

/// A client for one target.
#[derive(Clone)]
pub struct Outbound {
    stack: BoxCloneSyncService<Request<Full<Bytes>>, Response<Bytes>, BoxError>,
    timeout_ms: u64,
}

impl Outbound {
    /// The list, outermost layer first. What signs belongs innermost: behind everything that may
    /// send a request a second time or change its headers.
    pub fn new(target: Target, roots: &TrustRoots) -> Self {
        let timeout_ms = target.timeout_ms;
        let client = client(target.connect_to, roots);
        let stack = ServiceBuilder::new()
            .boxed_clone_sync()
            .timeout(Duration::from_millis(timeout_ms))
            .map_request(carry_context)
            .service_fn(move |request| send(client.clone(), request));
        Self { stack, timeout_ms }
    }

    pub async fn call(
        &self,
        context: &RequestContext,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, OutboundError> {
        request.extensions_mut().insert(context.clone());
        self.stack
            .clone()
            .oneshot(request)
            .await
            .map_err(|error| self.judge(error))
    }

    fn judge(&self, error: BoxError) -> OutboundError {
        if error.is::<tower::timeout::error::Elapsed>() {
            OutboundError::Timeout(self.timeout_ms)
        } else if error.is::<LengthLimitError>() {
            OutboundError::TooLarge
        } else {
            OutboundError::Failed(error)
        }
    }
}

/// The error and all that caused it, on one line of the log.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Correlation id and trace go along.
fn carry_context(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    if let Some(context) = request.extensions().get::<RequestContext>().cloned() {
        let headers = request.headers_mut();
        headers.insert(correlation::HEADER, context.correlation_id().header_value());
        context.trace().pass_on(headers);
    }
    request
}

type HttpClient = Client<HttpsConnector<Connector>, Full<Bytes>>;

fn client(connect_to: Option<ConnectTo>, roots: &TrustRoots) -> HttpClient {
    let mut inner = HttpConnector::new();
    inner.enforce_http(false);
    inner.set_nodelay(true);
    inner.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(roots.client_config())
        .https_or_http()
        .enable_http1()
        .wrap_connector(Connector {
            inner,
            to: connect_to,
        });
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .build(connector)
}

async fn send(
    client: HttpClient,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, BoxError> {
    let (head, body) = client.request(request).await?.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX)
        .collect()
        .await?
        .to_bytes();
    Ok(Response::from_parts(head, body))
}
