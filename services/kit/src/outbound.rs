//! The outbound stack. In this order a call passes the deadline, retries within a budget, the
//! choice of an endpoint, its breaker and the timeout of one attempt (all in `Guard`); then each
//! attempt gets its headers and signature, and is sent. The response is read to its end.

pub(crate) mod aws;
mod breaker;
pub(crate) mod connect;
mod endpoints;
mod guard;
mod http_client;
mod resolver;
mod retry;
pub(crate) mod roots;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use tokio::time::Instant;

use crate::request::{correlation, time_limit};
use crate::sigv4::Signer;
use crate::telemetry::otlp::SpanSender;
use crate::telemetry::otlp::client_span::ClientSpan;
use crate::{Dependencies, RequestContext, Traces};
use connect::ConnectTo;
use endpoints::{Endpoint, Endpoints, TargetName};
use resolver::ShuffledResolver;
use roots::TrustRoots;

pub use guard::CallError;
use guard::Guard;
pub(crate) use http_client::HttpClient;
pub use http_client::HttpError;
pub use resolver::{ResolvedAddresses, Resolver, SystemResolver};
pub use retry::{AttemptOutcome, Repeat};

/// One service or function that is called.
#[derive(Clone)]
pub struct CallTarget {
    /// As in metrics and logs.
    pub name: &'static str,
    /// The URL of every request.
    pub url: Uri,
    pub connect_to: Option<ConnectTo>,
    /// Calls are spread over all addresses of the host that it resolves. `None` calls the host by
    /// its name: that is for APIs whose addresses change from answer to answer.
    pub resolver: Option<Arc<dyn Resolver>>,
    /// The time limit of one attempt.
    pub attempt_timeout: Duration,
    pub repeat: Repeat,
    /// Classifies a response by its head: [`AttemptOutcome::of_response`] unless the target
    /// differs from it.
    pub outcome: fn(StatusCode, &HeaderMap) -> AttemptOutcome,
    pub signer: Option<Signer>,
}

/// A client for one target. Clones share its connections, its breaker and its budget.
#[derive(Clone)]
pub struct Outbound(Arc<OutboundInner>);

struct OutboundInner {
    guard: Guard,
    repeat: Repeat,
    outcome: fn(StatusCode, &HeaderMap) -> AttemptOutcome,
    attempt: Attempt,
}

/// Makes one attempt of a call.
struct Attempt {
    target: &'static str,
    traces: Traces,
    url: Uri,
    signer: Option<Signer>,
}

impl Outbound {
    pub fn new(target: CallTarget, roots: &TrustRoots, dependencies: &Dependencies) -> Self {
        let metrics = &dependencies.metrics;
        let name = target_name(&target);
        let resolver = target.resolver.map(ShuffledResolver).unwrap_or_default();
        let client = HttpClient::resolving(&target.url, target.connect_to, roots, resolver);
        let endpoints = Endpoints::new(target.name, client, name, metrics);
        Self(Arc::new(OutboundInner {
            guard: Guard::new(target.name, target.attempt_timeout, endpoints, metrics),
            repeat: target.repeat,
            outcome: target.outcome,
            attempt: Attempt {
                target: target.name,
                traces: dependencies.traces.clone(),
                url: target.url,
                signer: target.signer,
            },
        }))
    }

    /// Sends the request to the target's URL, within the deadline of the request that it is made
    /// for.
    pub async fn call(
        &self,
        context: &RequestContext,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, CallError<HttpError>> {
        let OutboundInner {
            guard,
            repeat,
            outcome,
            attempt,
        } = &*self.0;
        let is_repeatable = repeat.allows(request.method());
        let attempt = |endpoint, until| attempt.send(context, endpoint, request.clone(), until);
        let outcome = |result: &Result<Response<Bytes>, HttpError>| match result {
            Ok(response) => outcome(response.status(), response.headers()),
            Err(error) => error.outcome(),
        };
        guard
            .call(context.deadline(), is_repeatable, attempt, outcome)
            .await
    }
}

impl Attempt {
    async fn send(
        &self,
        context: &RequestContext,
        endpoint: Arc<Endpoint>,
        mut request: Request<Bytes>,
        until: Instant,
    ) -> Result<Response<Bytes>, HttpError> {
        let mut span = self.traces.call(context, self.target, request.method());
        let trace = span.as_ref().map_or(context.trace(), ClientSpan::trace);
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(correlation::HEADER, context.correlation_id().header_value());
        trace.pass_on(headers);
        headers.insert(time_limit::HEADER, time_limit::header_value(until));
        if let Some(signer) = &self.signer {
            let signed = signer.sign(&mut request).await;
            signed.map_err(HttpError::Signing)?;
        }
        let answer = endpoint.client.send(request).await;
        if let (Some(span), Ok(answer)) = (&mut span, &answer) {
            span.answered(answer.status());
        }
        answer
    }
}

/// What is resolved for this target: nothing where an address is given instead of a name.
fn target_name(target: &CallTarget) -> Option<TargetName> {
    let resolver = Arc::clone(target.resolver.as_ref()?);
    let authority = match &target.connect_to {
        Some(to) => to.authority(),
        None => target.url.authority()?,
    };
    let is_secure = target.url.scheme() == Some(&Scheme::HTTPS);
    let port = authority
        .port_u16()
        .unwrap_or(if is_secure { 443 } else { 80 });
    let host = authority.host();
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    (!is_address).then(|| TargetName {
        resolver,
        host: host.to_owned(),
        port,
    })
}

/// Sends spans to the collector at this base URL.
pub fn span_sender(endpoint: &Uri, roots: &TrustRoots) -> SpanSender {
    let url = format!("{}/v1/traces", endpoint.to_string().trim_end_matches('/'));
    let client = HttpClient::new(endpoint, None, roots);
    SpanSender {
        url: url.parse().expect("a URL with a longer path is one"),
        send: Box::new(move |request| {
            let client = client.clone();
            Box::pin(async move { Ok(client.send(request).await?.status()) })
        }),
    }
}
