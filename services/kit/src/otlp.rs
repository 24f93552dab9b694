//! Spans for a collector beside the service: OTLP over HTTP, in JSON
//! (<https://opentelemetry.io/docs/specs/otlp/>). Of ours, because the crates for it cost a request
//! more than all the rest of the kit does, and tens of megabytes. Nothing waits for the collector.

mod span;

use std::error::Error;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::outbound::HttpClient;
use crate::{Clock, Counter, Metrics, RequestContext, Service, TrustRoots};
pub(crate) use span::Call;
use span::{Of, Span};

/// So many are sent at once.
const BATCH: usize = 512;
/// Where the collector is slower than the requests, spans beyond this are dropped and counted.
const WAITING_MAX: usize = 4 * BATCH;
const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Takes the spans of requests that are sampled, and of the calls that are made for them; the
/// default takes none.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Waiting>>);

struct Waiting {
    clock: Clock,
    spans: Mutex<Vec<Span>>,
    enough: Notify,
    dropped: Counter,
}

/// Sends what its `Traces` took.
pub struct Exporter {
    waiting: Arc<Waiting>,
    /// Kept until it is sent, or cannot be.
    batch: Vec<Span>,
    service: Service,
    url: Uri,
    client: HttpClient,
    is_failing: bool,
}

impl Traces {
    /// `endpoint` is the collector's base URL.
    pub fn to(
        endpoint: &Uri,
        service: Service,
        clock: Clock,
        (metrics, roots): (&Metrics, &TrustRoots),
    ) -> (Self, Exporter) {
        let url = format!("{}/v1/traces", endpoint.to_string().trim_end_matches('/'));
        let waiting = Arc::new(Waiting {
            clock,
            spans: Mutex::default(),
            enough: Notify::new(),
            dropped: metrics.counter("trace_spans_dropped", &[]),
        });
        let exporter = Exporter {
            waiting: Arc::clone(&waiting),
            batch: Vec::new(),
            service,
            url: url.parse().expect("a URL with a longer path is one"),
            client: HttpClient::new(endpoint, None, roots),
            is_failing: false,
        };
        (Self(Some(waiting)), exporter)
    }

    /// Records a request that was answered.
    pub(crate) fn record(
        &self,
        context: &RequestContext,
        method: &'static str,
        status: StatusCode,
        took: Duration,
    ) {
        if let Some(waiting) = self.taken(context) {
            waiting.push(Span {
                trace: context.trace().clone(),
                context: context.clone(),
                of: Of::Request,
                method,
                status: Some(status),
                ended: waiting.clock.now(),
                took,
            });
        }
    }

    /// Begins the span of one attempt of a call. None where nobody takes it: whoever is called
    /// would have a parent then that is nowhere, and the trace be torn apart.
    pub(crate) fn call(
        &self,
        context: &RequestContext,
        target: &'static str,
        method: &Method,
    ) -> Option<Call> {
        let waiting = Arc::clone(self.taken(context)?);
        Some(Call::begin(waiting, context, target, name_of(method)))
    }

    fn taken(&self, context: &RequestContext) -> Option<&Arc<Waiting>> {
        self.0.as_ref().filter(|_| context.trace().is_sampled())
    }
}

impl Waiting {
    fn push(&self, span: Span) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() == WAITING_MAX {
            self.dropped.add(1);
            return;
        }
        spans.push(span);
        if spans.len() == BATCH {
            self.enough.notify_one();
        }
    }

    /// Moves the oldest spans into an empty `batch`.
    fn take(&self, batch: &mut Vec<Span>) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let count = spans.len().min(BATCH);
        batch.extend(spans.drain(..count));
    }
}

impl Exporter {
    /// Sends what comes until `stop`, and then what is left. A batch that is on its way is waited
    /// for: sent again, its spans would be there twice.
    pub async fn export_until(&mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut is_stopped = false;
        while !is_stopped {
            tokio::select! {
                () = self.waiting.enough.notified() => {}
                () = tokio::time::sleep(INTERVAL) => {}
                () = &mut stop => is_stopped = true,
            }
            self.export_rest().await;
        }
    }

    async fn export_rest(&mut self) {
        loop {
            self.waiting.take(&mut self.batch);
            if self.batch.is_empty() {
                return;
            }
            self.send_batch().await;
            if self.is_failing {
                return;
            }
        }
    }

    /// A batch that cannot be sent is dropped: spans are worth less than memory.
    async fn send_batch(&mut self) {
        let sent = tokio::time::timeout(TIMEOUT, self.post(self.document().to_string())).await;
        let outcome = sent.unwrap_or_else(|_| Err("no answer in time".into()));
        let spans = self.batch.len();
        self.batch.clear();
        if let Err(error) = &outcome {
            self.waiting
                .dropped
                .add(u64::try_from(spans).unwrap_or(u64::MAX));
            if !self.is_failing {
                let error = crate::outbound::with_causes(error.as_ref());
                tracing::warn!(error, "the collector takes no spans");
            }
        } else if self.is_failing {
            tracing::info!("the collector takes spans again");
        }
        self.is_failing = outcome.is_err();
    }

    async fn post(&self, document: String) -> Result<(), Box<dyn Error + Send + Sync>> {
        let request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(document))?;
        let status = self.client.send(request).await?.status();
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

/// A client can make methods up, as long as it likes.
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
        // As OpenTelemetry's conventions have it.
        _ => "_OTHER",
    }
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}
