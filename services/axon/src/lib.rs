//! Axon, the reasoning service: its routes inside the kit's inbound stack.

mod routes;
mod service;
mod settings;

use axum::Router;
use axum::routing::get;
use service_kit::{App, Dependencies, health, sigv4};

pub use service::SERVICE;
pub use settings::Settings;

/// `/health` needs no signature, `/reason` does where `SIGNATURES` is `required`.
pub fn app(
    settings: &Settings,
    dependencies: &Dependencies,
) -> Result<App, sigv4::SignatureSetupError> {
    let reason = Router::new().route("/reason", get(routes::reason::reason));
    let routes = Router::new()
        .route("/health", health(dependencies))
        .merge(sigv4::required(reason, &settings.base, dependencies)?)
        .with_state(dependencies.clock.clone());
    Ok(App::new(routes, &settings.base, dependencies))
}
