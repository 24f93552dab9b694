//! Orbit, the dispatcher: asks governance, and calls axon where it may.

mod clients;
mod intent;
mod json;
mod routes;
mod settings;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use service_kit::{App, Dependencies, Service, health};

use clients::axon::Axon;
use clients::governance::Governance;
use routes::dispatch::{Dispatcher, dispatch};
pub use settings::{FunctionName, GovernanceAt, Settings};

pub const SERVICE: Service = Service {
    name: "orbit",
    version: env!("CARGO_PKG_VERSION"),
};

pub async fn app(settings: &Settings, dependencies: &Dependencies) -> anyhow::Result<App> {
    let dispatcher = Dispatcher {
        governance: Governance::new(settings, dependencies).await?,
        axon: Axon::new(settings, dependencies)?,
        clock: dependencies.clock.clone(),
    };
    let routes = Router::new()
        .route("/health", health(dependencies))
        .route("/dispatch", post(dispatch))
        .with_state(Arc::new(dispatcher));
    Ok(App::new(routes, &settings.base, dependencies))
}
