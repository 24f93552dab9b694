//! The span of one attempt of a call.

use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;

use super::queue::SpanQueue;
use super::span::{Span, SpanSubject};
use crate::{RequestContext, TraceContext};

/// Records the span when it is dropped: then the attempt has an answer, or was cancelled.
pub(crate) struct ClientSpan {
    queue: Arc<SpanQueue>,
    trace: TraceContext,
    context: RequestContext,
    target: &'static str,
    method: &'static str,
    began: Instant,
    status: Option<StatusCode>,
}

impl ClientSpan {
    pub(super) fn begin(
        queue: Arc<SpanQueue>,
        context: &RequestContext,
        target: &'static str,
        method: &'static str,
    ) -> Self {
        Self {
            queue,
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

impl Drop for ClientSpan {
    fn drop(&mut self) {
        self.queue.push_attempt(Span {
            trace: self.trace.clone(),
            context: self.context.clone(),
            subject: SpanSubject::ClientCall {
                target: self.target,
            },
            method: self.method,
            status: self.status,
            ended: self.queue.now(),
            took: self.began.elapsed(),
        });
    }
}
