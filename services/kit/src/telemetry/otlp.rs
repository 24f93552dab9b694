//! Spans for a collector: OTLP over HTTP, in JSON (<https://opentelemetry.io/docs/specs/otlp/>).
//! It is not the `opentelemetry` crates because these cost 3.8 µs a request, more than the rest
//! of the kit, and 43 MB of memory. No request waits for the collector.

pub(crate) mod client_span;
mod queue;
mod span;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode, Uri};
use serde_json::{Value, json};
use tower::BoxError;

use super::error_chain::with_causes;
use crate::{Clock, Metrics, RequestContext, ServiceIdentity};
use client_span::ClientSpan;
use queue::SpanQueue;
use span::{Span, SpanSubject, attribute};

const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Records the spans of sampled requests, of those that fail or are slow where a chance of ours left
/// them out, and of the calls that are made for them. The default records none.
#[derive(Clone, Default)]
pub struct Traces {
    queue: Option<Arc<SpanQueue>>,
    /// From this duration on a request is slow.
    slow: Duration,
}

/// Where and how batches of spans are sent. The HTTP client is not named here because it records
/// spans itself.
pub struct SpanSender {
    /// The collector's `/v1/traces`.
    pub(crate) url: Uri,
    pub(crate) send: SendRequest,
}

/// Answers with the status of the response.
pub(crate) type SendRequest =
    Box<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<StatusCode, BoxError>> + Send + Sync>;

/// Sends the spans that its `Traces` recorded.
pub struct Exporter {
    queue: Arc<SpanQueue>,
    /// Kept until it is sent, or cannot be.
    batch: Vec<Span>,
    service: ServiceIdentity,
    sender: SpanSender,
    is_failing: bool,
}

impl Traces {
    /// Traces whose spans go to `sender`, and what sends them.
    pub fn to(
        sender: SpanSender,
        service: ServiceIdentity,
        clock: Clock,
        metrics: &Metrics,
    ) -> (Self, Exporter) {
        let dropped = metrics.counter("trace_spans_dropped", &[]);
        let queue = Arc::new(SpanQueue::new(clock, dropped));
        let exporter = Exporter {
            queue: Arc::clone(&queue),
            batch: Vec::new(),
            service,
            sender,
            is_failing: false,
        };
        let traces = Self {
            queue: Some(queue),
            slow: Duration::MAX,
        };
        (traces, exporter)
    }

    /// The same, with requests that take at least so long as slow ones.
    #[must_use]
    pub fn keeping_slow(mut self, slow: Duration) -> Self {
        self.slow = slow;
        self
    }

    /// Records a request that was answered.
    pub(crate) fn record(
        &self,
        context: &RequestContext,
        method: &'static str,
        status: StatusCode,
        took: Duration,
    ) {
        let Some(queue) = &self.queue else {
            return;
        };
        let trace = context.trace();
        if trace.is_unlikely() {
            let is_kept = status.is_server_error() || took >= self.slow;
            queue.decide(context, is_kept);
            if !is_kept {
                return;
            }
        } else if !trace.is_sampled() {
            return;
        }
        queue.push(Span {
            trace: trace.clone(),
            context: context.clone(),
            subject: SpanSubject::Request,
            method,
            status: Some(status),
            ended: queue.now(),
            took,
        });
    }

    /// Begins the span of one attempt of a call. `None` where it is not exported: the callee's
    /// spans would have a parent that does not exist.
    pub(crate) fn call(
        &self,
        context: &RequestContext,
        target: &'static str,
        method: &Method,
    ) -> Option<ClientSpan> {
        let trace = context.trace();
        let queue = self.queue.as_ref();
        let queue = queue.filter(|_| trace.is_sampled() || trace.is_unlikely())?;
        let method = name_of(method);
        Some(ClientSpan::begin(
            Arc::clone(queue),
            context,
            target,
            method,
        ))
    }
}

impl Exporter {
    /// Sends spans until `stop` completes, and then the rest. A request that is under way then is
    /// awaited: sent again, its spans would be duplicates.
    pub async fn export_until(&mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut is_stopped = false;
        while !is_stopped {
            tokio::select! {
                () = self.queue.has_batch() => {}
                () = tokio::time::sleep(INTERVAL) => {}
                () = &mut stop => is_stopped = true,
            }
            self.export_rest().await;
        }
    }

    async fn export_rest(&mut self) {
        loop {
            self.queue.take(&mut self.batch);
            if self.batch.is_empty() {
                return;
            }
            self.send_batch().await;
            if self.is_failing {
                return;
            }
        }
    }

    /// A batch that cannot be sent is dropped, which bounds the memory.
    async fn send_batch(&mut self) {
        let sent = tokio::time::timeout(TIMEOUT, self.post(self.document().to_string())).await;
        let outcome = sent.unwrap_or_else(|_| Err("no answer in time".into()));
        let spans = self.batch.len();
        self.batch.clear();
        if let Err(error) = &outcome {
            self.queue.count_dropped(spans);
            if !self.is_failing {
                let error = with_causes(error.as_ref());
                tracing::warn!(error, "the collector takes no spans");
            }
        } else if self.is_failing {
            tracing::info!("the collector takes spans again");
        }
        self.is_failing = outcome.is_err();
    }

    async fn post(&self, document: String) -> Result<(), BoxError> {
        let request = Request::post(self.sender.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(document))?;
        let status = (self.sender.send)(request).await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("the collector answers {status}").into())
        }
    }

    fn document(&self) -> Value {
        let spans: Vec<Value> = self.batch.iter().map(Span::document).collect();
        json!({ "resourceSpans": [{
            "resource": { "attributes": [
                attribute("service.name", self.service.name),
                attribute("service.version", self.service.version),
            ] },
            "scopeSpans": [{ "scope": { "name": "service-kit" }, "spans": spans }],
        }] })
    }
}

/// Bounded, because a client may send any method.
pub(crate) fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        // The value of OpenTelemetry's semantic conventions.
        _ => "_OTHER",
    }
}
