//! `GET /health`: whether this process takes requests. It never asks another service: ECS replaces
//! a task that fails it, so one sick dependency would take every task down.

use axum::Json;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::{HeaderName, StatusCode};
use serde::Serialize;

use super::lifecycle::Phase;
use super::problem::Problem;
use crate::Dependencies;

/// Tells a new task from one that is still draining.
const TASK_REVISION: HeaderName = HeaderName::from_static("x-task-revision");

#[derive(Serialize)]
struct Healthy {
    status: &'static str,
    service: &'static str,
    timestamp: String,
}

pub fn health<S: Clone + Send + Sync + 'static>(dependencies: &Dependencies) -> MethodRouter<S> {
    let dependencies = dependencies.clone();
    get(async move || answer(&dependencies))
}

fn answer(dependencies: &Dependencies) -> Response {
    let unavailable =
        |detail| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    let mut response = match dependencies.lifecycle.phase() {
        Phase::Starting => unavailable("the service is starting"),
        Phase::Draining => unavailable("the service is draining"),
        Phase::Ready => Json(Healthy {
            status: "healthy",
            service: dependencies.service.name,
            timestamp: dependencies.clock.now_text(),
        })
        .into_response(),
    };
    if let Some(revision) = dependencies.lifecycle.task_revision() {
        response
            .headers_mut()
            .insert(TASK_REVISION, revision.clone());
    }
    response
}
