//! One span: a request that was answered, or one attempt of a call that was made for it.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{RequestContext, TraceContext};

/// `SPAN_KIND_SERVER`, `SPAN_KIND_CLIENT` and `STATUS_CODE_ERROR` of the protocol.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const ERROR: u8 = 2;

pub(super) struct Span {
    pub(super) trace: TraceContext,
    /// Of the request, also where the span is of a call.
    pub(super) context: RequestContext,
    pub(super) subject: SpanSubject,
    pub(super) method: &'static str,
    /// `None` where there was no answer.
    pub(super) status: Option<StatusCode>,
    pub(super) ended: Timestamp,
    pub(super) took: Duration,
}

pub(super) enum SpanSubject {
    Request,
    ClientCall { target: &'static str },
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
        let (kind, object) = match self.subject {
            SpanSubject::Request => {
                let route = self.context.route();
                attributes.extend(route.map(|route| attribute("http.route", route)));
                (SERVER, route)
            }
            SpanSubject::ClientCall { target } => {
                attributes.push(attribute("peer.service", target));
                (CLIENT, Some(target))
            }
        };
        let name = object.map_or_else(|| method.to_string(), |it| format!("{method} {it}"));
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

    /// By OpenTelemetry's semantic conventions a 4xx is an error of the client's span and not of
    /// the server's.
    fn is_error(&self) -> bool {
        match (&self.subject, self.status) {
            (SpanSubject::Request, Some(status)) => status.is_server_error(),
            (SpanSubject::ClientCall { .. }, Some(status)) => {
                status.is_client_error() || status.is_server_error()
            }
            (_, None) => true,
        }
    }
}

pub(super) fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}
