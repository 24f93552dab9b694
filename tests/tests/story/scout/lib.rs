//! The application of scout: `GET /scout` answers with what axon says.

mod routes;
mod service;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use service_kit::outbound::{AttemptOutcome, CallTarget, Outbound, Repeat};
use service_kit::sigv4::{self, Signer};
use service_kit::{App, Dependencies, Routes, health};

pub use service::SERVICE;
pub use settings::Settings;

pub fn app(
    settings: &Settings,
    dependencies: &Dependencies,
) -> Result<App, sigv4::SignatureSetupError> {
    let axon = CallTarget {
        name: "axon",
        url: settings.axon_url.clone(),
        connect_to: settings.axon_connect_to.clone(),
        resolver: Some(Arc::clone(&dependencies.resolver)),
        attempt_timeout: Duration::from_secs(2),
        repeat: Repeat::ByMethod,
        outcome: AttemptOutcome::of_response,
        signer: Signer::new(settings.axon_signed_for, &settings.base, dependencies)?,
    };
    let axon = Outbound::new(axon, &settings.base.roots, dependencies);
    let routes = Routes::new()
        .open("/health", health(dependencies))
        .open("/scout", get(routes::answer))
        .with_state(Arc::new(axon));
    App::new(routes, &settings.base, dependencies)
}
