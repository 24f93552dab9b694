//! What every service is built from: settings, logs, the inbound and the outbound stack, health,
//! and the life of the process from its first log line to its exit code. Nothing here knows what a
//! service is for.
//!
//! The README has a map of the modules.

mod clock;
mod dependencies;
mod hex;
pub mod outbound;
pub mod program;
mod request;
mod secrets;
pub mod server;
mod service;
pub mod settings;
pub mod sigv4;
mod telemetry;

pub use clock::Clock;
pub use dependencies::Dependencies;
pub use outbound::aws::AwsSdk;
pub use outbound::connect::ConnectTo;
pub use outbound::roots::TrustRoots;
pub use request::RequestContext;
pub use request::correlation::CorrelationId;
pub use request::sampler::Sampler;
pub use request::trace::TraceContext;
pub use secrets::Secrets;
pub use server::health::health;
pub use server::inbound::App;
pub use server::lifecycle::Lifecycle;
pub use server::problem::Problem;
pub use server::routes::Routes;
pub use service::ServiceIdentity;
pub use sigv4::keys::{KeyPair, KeyPairs, KeyRing};
pub use telemetry::emf::Emf;
pub use telemetry::error_chain::with_causes;
pub use telemetry::logs::LogLayer;
pub use telemetry::logs::levels::LogLevels;
pub use telemetry::metrics::{Counter, Dimensions, Gauge, Level, Metrics, Peak, Unit};
pub use telemetry::otlp::{Exporter, Traces};
