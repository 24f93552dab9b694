//! `GET /health`: whether this process accepts requests. It never calls another service: ECS
//! replaces a task that fails its health check, so one failing dependency would stop every task.

use axum::Json;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::{HeaderName, StatusCode};
use serde::Serialize;

use super::lifecycle::LifecyclePhase;
use super::problem::Problem;
use crate::Dependencies;

/// Distinguishes a new task from one that is still draining.
const TASK_REVISION: HeaderName = HeaderName::from_static("x-task-revision");

#[derive(Serialize)]
struct HealthResponse {
    status: &'static str,
    service: &'static str,
    timestamp: String,
}

/// 200 while the service is ready; 503 while it starts and drains.
pub fn health<S: Clone + Send + Sync + 'static>(dependencies: &Dependencies) -> MethodRouter<S> {
    let dependencies = dependencies.clone();
    get(async move || answer(&dependencies))
}

fn answer(dependencies: &Dependencies) -> Response {
    let unavailable =
        |detail| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    let mut response = match dependencies.lifecycle.phase() {
        LifecyclePhase::Starting => unavailable("the service is starting"),
        LifecyclePhase::Draining => unavailable("the service is draining"),
        LifecyclePhase::Ready => Json(HealthResponse {
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
