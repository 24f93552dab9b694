//! Observes each request: puts its ids on the lines that are logged meanwhile, writes its access
//! line, and records its metrics and its span.

use std::pin::Pin;

use axum::response::Response;
use http::{Method, StatusCode};

use super::logs;
use super::otlp::{Traces, name_of};
use crate::request::fault::RequestFault;
use crate::{Metrics, RequestContext};

/// The client closed the connection before the answer. The code is nginx's; it is never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Shared by all connections.
pub(crate) struct Observer {
    metrics: Metrics,
    traces: Traces,
}

impl Observer {
    pub(crate) fn new(metrics: Metrics, traces: Traces) -> Self {
        Self { metrics, traces }
    }

    pub(crate) async fn observe(
        &self,
        context: &RequestContext,
        method: &Method,
        answer: Pin<&mut impl Future<Output = Response>>,
    ) -> Response {
        let observed = async {
            let mut access = AccessRecord {
                observer: self,
                context,
                method: name_of(method),
                status: None,
            };
            let response = answer.await;
            access.status = Some(response.status());
            response
        };
        logs::with_request_ids(context, observed).await
    }
}

/// Records the request when it is dropped: then the answer has a status, or the connection was
/// closed.
struct AccessRecord<'a> {
    observer: &'a Observer,
    context: &'a RequestContext,
    method: &'static str,
    status: Option<StatusCode>,
}

impl AccessRecord<'_> {
    fn log(&self, route: &str, status: StatusCode, duration_ms: f64) {
        macro_rules! line {
            ($level:ident) => {
                // As a field it is a plain string; after the fields it would be a format string.
                tracing::$level!(
                    message = "request",
                    method = self.method,
                    route,
                    status = status.as_u16(),
                    duration_ms
                )
            };
        }
        logs::with_fields(self.context.take_notes(), || {
            if status.is_server_error() {
                line!(error);
            } else {
                line!(info);
            }
        });
    }
}

impl Drop for AccessRecord<'_> {
    fn drop(&mut self) {
        let status = self.status.unwrap_or_else(|| {
            self.context.note("outcome", "cancelled");
            StatusCode::from_u16(CLIENT_CLOSED_REQUEST).expect("three digits are a status")
        });
        let took = self.context.began().elapsed();
        let route = self.context.route().unwrap_or("unmatched");
        let fault = RequestFault::of(status, self.context.is_targets_fault());
        let requests = self.observer.metrics.requests();
        requests.record(route, status, fault, took);
        self.observer
            .traces
            .record(self.context, self.method, status, took);
        self.log(route, status, (took.as_secs_f64() * 1e6).round() / 1e3);
    }
}
