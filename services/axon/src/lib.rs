//! Axon, the reasoning service: its routes inside the kit's inbound stack.

mod routes;
mod settings;

use axum::Router;
use axum::routing::get;
use service_kit::{App, Dependencies, Service, health, sigv4};

pub use settings::Settings;

pub const SERVICE: Service = Service {
    name: "axon",
    version: env!("CARGO_PKG_VERSION"),
};

/// Health is for everybody, reasoning for those who sign.
pub fn app(settings: &Settings, dependencies: &Dependencies) -> Result<App, sigv4::NotReady> {
    let reason = Router::new().route("/reason", get(routes::reason::reason));
    let routes = Router::new()
        .route("/health", health(dependencies))
        .merge(sigv4::required(reason, &settings.base, dependencies)?)
        .with_state(dependencies.clock.clone());
    Ok(App::new(routes, &settings.base, dependencies))
}
