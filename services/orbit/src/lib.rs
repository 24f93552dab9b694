//! Orbit, the dispatcher: asks governance, and calls axon where governance allows it.

mod clients;
mod intent;
mod json;
mod routes;
mod service;
mod settings;

use std::sync::Arc;

use axum::routing::post;
use service_kit::{App, Dependencies, Routes, health};

use clients::axon::Axon;
use clients::governance::Governance;
use routes::dispatch::{Dispatcher, dispatch};
pub use service::SERVICE;
pub use settings::{FunctionName, GovernanceEndpoint, Settings};

/// The routes inside the kit's inbound stack. Fails where Lambda's endpoint is unknown, or there
/// are no keys for signatures that are required.
pub async fn app(settings: &Settings, dependencies: &Dependencies) -> anyhow::Result<App> {
    let dispatcher = Dispatcher {
        governance: Governance::new(settings, dependencies).await?,
        axon: Axon::new(settings, dependencies)?,
        clock: dependencies.clock.clone(),
    };
    let routes = Routes::new()
        .open("/health", health(dependencies))
        .open("/dispatch", post(dispatch))
        .with_state(Arc::new(dispatcher));
    Ok(App::new(routes, &settings.base, dependencies)?)
}
