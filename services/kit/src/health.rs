//! `GET /health`: whether this process takes requests. It never asks another service: ECS replaces
//! a task that fails it, so one sick dependency would take every task down.

use axum::Json;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::{HeaderName, StatusCode};
use serde::Serialize;

use crate::lifecycle::Phase;
use crate::{Parts, Problem};

/// Where services have it.
pub(crate) const ROUTE: &str = "/health";
/// Tells a new task from one that is still draining.
const TASK_REVISION: HeaderName = HeaderName::from_static("x-task-revision");

#[derive(Serialize)]
struct Healthy {
    status: &'static str,
    service: &'static str,
    timestamp: String,
}

pub fn health<S: Clone + Send + Sync + 'static>(parts: &Parts) -> MethodRouter<S> {
    let parts = parts.clone();
    get(async move || answer(&parts))
}

fn answer(parts: &Parts) -> Response {
    let unavailable =
        |detail| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    let mut response = match parts.lifecycle.phase() {
        Phase::Starting => unavailable("the service is starting"),
        Phase::Draining => unavailable("the service is draining"),
        Phase::Ready => Json(Healthy {
            status: "healthy",
            service: parts.service.name,
            timestamp: parts.clock.now_text(),
        })
        .into_response(),
    };
    if let Some(revision) = parts.lifecycle.task_revision() {
        response
            .headers_mut()
            .insert(TASK_REVISION, revision.clone());
    }
    response
}
