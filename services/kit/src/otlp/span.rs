//! One span: a request that was answered, or an attempt of a call that was made for it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Waiting, attribute};
use crate::{RequestContext, TraceContext};

/// `SPAN_KIND_SERVER`, `SPAN_KIND_CLIENT` and `STATUS_CODE_ERROR` of the protocol.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const ERROR: u8 = 2;

pub(super) struct Span {
    pub(super) trace: TraceContext,
    /// Of the request; a call is made for one.
    pub(super) context: RequestContext,
    pub(super) of: Of,
    pub(super) method: &'static str,
    /// None where no answer came.
    pub(super) status: Option<StatusCode>,
    pub(super) ended: Timestamp,
    pub(super) took: Duration,
}

pub(super) enum Of {
    Request,
    Call { target: &'static str },
}

/// An attempt that is under way. It is recorded when this is dropped: then there is an answer, or
/// nobody waits for one any more.
pub(crate) struct Call {
    waiting: Arc<Waiting>,
    trace: TraceContext,
    context: RequestContext,
    target: &'static str,
    method: &'static str,
    began: Instant,
    status: Option<StatusCode>,
}

impl Call {
    pub(super) fn begin(
        waiting: Arc<Waiting>,
        context: &RequestContext,
        target: &'static str,
        method: &'static str,
    ) -> Self {
        Self {
            waiting,
            trace: context.trace().child(),
            context: context.clone(),
            target,
            method,
            began: Instant::now(),
            status: None,
        }
    }

    pub(crate) fn trace(&self) -> &TraceContext {
        &self.trace
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.waiting.push(Span {
            trace: self.trace.clone(),
            context: self.context.clone(),
            of: Of::Call {
                target: self.target,
            },
            method: self.method,
            status: self.status,
            ended: self.waiting.clock.now(),
            took: self.began.elapsed(),
        });
    }
}

impl Span {
    pub(super) fn document(&self) -> Value {
        let Self { trace, method, .. } = self;
        let ended = self.ended.as_nanosecond();
        let began = ended - i128::try_from(self.took.as_nanos()).unwrap_or(ended);
        let mut attributes = vec![
            attribute("http.request.method", method),
            attribute("correlation_id", self.context.correlation_id().as_str()),
        ];
        // 64-bit numbers are strings in the JSON of this protocol.
        attributes.extend(self.status.map(|status| {
            let value = json!({ "intValue": status.as_str() });
            json!({ "key": "http.response.status_code", "value": value })
        }));
        let (kind, subject) = match self.of {
            Of::Request => {
                let route = self.context.route();
                attributes.extend(route.map(|route| attribute("http.route", route)));
                (SERVER, route)
            }
            Of::Call { target } => {
                attributes.push(attribute("peer.service", target));
                (CLIENT, Some(target))
            }
        };
        let name = subject.map_or_else(|| method.to_string(), |it| format!("{method} {it}"));
        json!({
            "traceId": format!("{:032x}", trace.trace_id()),
            "spanId": format!("{:016x}", trace.span_id()),
            "parentSpanId": trace.parent_id().map_or_else(String::new, |id| format!("{id:016x}")),
            "traceState": trace.state(),
            "name": name,
            "kind": kind,
            "startTimeUnixNano": began.to_string(),
            "endTimeUnixNano": ended.to_string(),
            "attributes": attributes,
            "status": if self.is_error() { json!({ "code": ERROR }) } else { json!({}) },
        })
    }

    /// As OpenTelemetry's conventions have it: a caller's mistake is its own error, and not that
    /// of who tells it.
    fn is_error(&self) -> bool {
        match (&self.of, self.status) {
            (Of::Request, Some(status)) => status.is_server_error(),
            (Of::Call { .. }, Some(status)) => status.is_client_error() || status.is_server_error(),
            (_, None) => true,
        }
    }
}
