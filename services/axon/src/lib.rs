//! Axon, the reasoning service: its routes inside the kit's inbound stack.

mod routes;
mod service;
mod settings;

use axum::routing::get;
use service_kit::sigv4::SignatureSetupError;
use service_kit::{App, Dependencies, Routes, health};

pub use service::SERVICE;
pub use settings::Settings;

/// `/health` needs no signature, `/reason` does where `SIGNATURES` is `required`.
pub fn app(settings: &Settings, dependencies: &Dependencies) -> Result<App, SignatureSetupError> {
    let routes = Routes::new()
        .open("/health", health(dependencies))
        .signed("/reason", get(routes::reason::reason))
        .with_state(dependencies.clock.clone());
    App::new(routes, &settings.base, dependencies)
}
