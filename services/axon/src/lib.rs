//! Axon, the reasoning service: its routes inside the kit's inbound stack.

mod routes;
mod settings;

use axum::Router;
use axum::routing::get;
use service_kit::{Parts, Service, health, inbound};

pub use settings::Settings;

pub const SERVICE: Service = Service {
    name: "axon",
    version: env!("CARGO_PKG_VERSION"),
};

pub fn app(settings: &Settings, parts: &Parts) -> Router {
    let routes = Router::new()
        .route("/health", health(parts))
        .route("/reason", get(routes::reason::reason))
        .with_state(parts.clock.clone());
    inbound::inbound(routes, &settings.base, parts)
}
