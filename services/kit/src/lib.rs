//! What every service is built from: settings, logs, the inbound and the outbound stack, health,
//! and the life of the process from its first line to exit 0. Nothing here knows what a service
//! is for.

mod access;
mod clock;
mod connect;
mod correlation;
mod health;
mod healthcheck;
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
mod server;
pub mod settings;
pub mod signature;
mod trace;

pub use clock::Clock;
pub use connect::ConnectTo;
pub use correlation::CorrelationId;
pub use health::health;
pub use keys::{KeyPair, KeyPairs, KeyRing};
pub use lifecycle::Lifecycle;
pub use logs::LogLayer;
pub use metrics::{Counter, Dimensions, Emf, Gauge, Metrics, Unit};
pub use otlp::{Exporter, Traces};
pub use problem::Problem;
pub use request::RequestContext;
pub use roots::TrustRoots;
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
    pub traces: Traces,
    /// Where the service has a secret with a signing pair.
    pub keys: Option<KeyRing>,
}
