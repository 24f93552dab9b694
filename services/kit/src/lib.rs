//! What every service is built from: settings, logs, the inbound and the outbound stack, health,
//! and the life of the process from its first line to exit 0. Nothing here knows what a service
//! is for.

mod access;
mod admission;
mod arrival;
mod aws;
mod clock;
mod connect;
mod correlation;
mod deadline;
mod health;
mod healthcheck;
mod hexadecimal;
mod host;
pub mod inbound;
mod keys;
mod lifecycle;
mod logs;
mod metrics;
mod otlp;
pub mod outbound;
mod problem;
pub mod program;
mod reporting;
mod request;
mod revision;
mod roots;
mod secrets;
pub mod server;
pub mod settings;
pub mod signature;
mod trace;

pub use aws::Aws;
pub use clock::Clock;
pub use connect::ConnectTo;
pub use correlation::CorrelationId;
pub use health::health;
pub use inbound::App;
pub use keys::{KeyPair, KeyPairs, KeyRing};
pub use lifecycle::Lifecycle;
pub use logs::LogLayer;
pub use metrics::{Counter, Dimensions, Emf, Gauge, Metrics, Unit};
pub use otlp::{Exporter, Traces};
pub use problem::Problem;
pub use request::RequestContext;
pub use roots::TrustRoots;
pub use secrets::Secrets;
pub use trace::TraceContext;

/// What a service is called, in its answers, its logs and the name of its secret.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub name: &'static str,
    pub version: &'static str,
}

/// What a service's `app` gets from the kit, and a test makes by hand.
#[derive(Clone)]
pub struct Parts {
    pub service: Service,
    pub clock: Clock,
    pub lifecycle: Lifecycle,
    pub metrics: Metrics,
    pub aws: Aws,
    pub secrets: Secrets,
    pub traces: Traces,
    /// Where signatures are required.
    pub keys: Option<KeyRing>,
}

impl Parts {
    /// With nothing to ask and nowhere to report to.
    pub fn new(service: Service, clock: Clock) -> Self {
        Self {
            service,
            clock,
            lifecycle: Lifecycle::default(),
            metrics: Metrics::default(),
            aws: Aws::default(),
            secrets: Secrets::default(),
            traces: Traces::default(),
            keys: None,
        }
    }
}

#[cfg(test)]
#[path = "../tests/world/secrets_manager.rs"]
#[expect(dead_code, reason = "the services' own tests use all of it")]
mod secrets_manager;
#[cfg(test)]
#[path = "../tests/world/stand_in.rs"]
#[expect(dead_code, reason = "the services' own tests use all of it")]
mod stand_in;
