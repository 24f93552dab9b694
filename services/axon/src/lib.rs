//! Axon, the reasoning service: its routes inside the kit's inbound stack.

mod routes;
mod settings;

use axum::Router;
use axum::routing::get;
use service_kit::{App, Parts, Service, health, signature};

pub use settings::Settings;

pub const SERVICE: Service = Service {
    name: "axon",
    version: env!("CARGO_PKG_VERSION"),
};

/// Health is for everybody, reasoning for those who sign.
pub fn app(settings: &Settings, parts: &Parts) -> Result<App, signature::NotReady> {
    let reason = Router::new().route("/reason", get(routes::reason::reason));
    let routes = Router::new()
        .route("/health", health(parts))
        .merge(signature::required(reason, &settings.base, parts)?)
        .with_state(parts.clock.clone());
    Ok(App::new(routes, &settings.base, parts))
}
