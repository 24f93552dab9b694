//! `GET /reason`: the heartbeat.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use service_kit::Clock;

use crate::service::SERVICE;

#[derive(Serialize)]
pub(crate) struct ReasonResponse {
    message: &'static str,
    service: &'static str,
    timestamp: String,
}

pub(crate) async fn reason(State(clock): State<Clock>) -> Json<ReasonResponse> {
    Json(ReasonResponse {
        message: "Axon heartbeat OK",
        service: SERVICE.name,
        timestamp: clock.now_text(),
    })
}
