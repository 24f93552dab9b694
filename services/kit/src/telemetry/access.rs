//! What is told of each request: its ids on every line that is logged meanwhile, one access line, its
//! part of the metrics, and a span for the trace.

use std::pin::Pin;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::{Method, StatusCode};

use super::logs;
use super::otlp::{Traces, name_of};
use crate::{Metrics, RequestContext};

/// The client went away before it was answered. As nginx has it; it is sent to nobody.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Where it is told.
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
        asked: &Method,
        answer: Pin<&mut impl Future<Output = Response>>,
    ) -> Response {
        let observed = async {
            let mut access = Access {
                observer: self,
                context,
                method: name_of(asked),
                status: None,
            };
            let response = answer.await;
            access.status = Some(response.status());
            response
        };
        logs::of_request(context, observed).await
    }
}

/// The layer next to the router, where the route is known.
pub(crate) fn note_route(request: Request) -> Request {
    let extensions = request.extensions();
    if let (Some(context), Some(path)) = (
        extensions.get::<RequestContext>(),
        extensions.get::<MatchedPath>(),
    ) {
        context.set_route(path);
    }
    request
}

/// A request that is being answered. It is told of when this is dropped: then it has a status, or
/// the connection that waited for it is gone.
struct Access<'a> {
    observer: &'a Observer,
    context: &'a RequestContext,
    method: &'static str,
    status: Option<StatusCode>,
}

impl Access<'_> {
    fn log(&self, route: &str, status: StatusCode, duration_ms: f64) {
        macro_rules! line {
            ($level:ident) => {
                // As a field it is a text; behind the fields it would be something to format.
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

impl Drop for Access<'_> {
    fn drop(&mut self) {
        let status = self.status.unwrap_or_else(|| {
            self.context.note("outcome", "cancelled");
            StatusCode::from_u16(CLIENT_CLOSED_REQUEST).expect("three digits are a status")
        });
        let took = self.context.began().elapsed();
        let route = self.context.route().unwrap_or("unmatched");
        self.observer.metrics.requests().record(route, status, took);
        self.observer
            .traces
            .record(self.context, self.method, status, took);
        self.log(route, status, (took.as_secs_f64() * 1e6).round() / 1e3);
    }
}
