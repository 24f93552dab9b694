//! What the kit hands to a service's `app`.

use std::sync::Arc;

use crate::outbound::aws::AwsSdk;
use crate::outbound::{Resolver, SystemResolver};
use crate::secrets::Secrets;
use crate::server::lifecycle::Lifecycle;
use crate::sigv4::keys::KeyRing;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::otlp::Traces;
use crate::{Clock, ServiceIdentity};

/// The program makes it from the settings, a test by hand.
#[derive(Clone)]
pub struct Dependencies {
    pub service: ServiceIdentity,
    pub clock: Clock,
    pub lifecycle: Lifecycle,
    pub metrics: Metrics,
    pub aws: AwsSdk,
    /// Resolves the names of services that are called.
    pub resolver: Arc<dyn Resolver>,
    pub secrets: Secrets,
    pub traces: Traces,
    /// `Some` where signatures by key pairs are required.
    pub keys: Option<KeyRing>,
}

impl Dependencies {
    /// Without secrets, keys, and anywhere to report to.
    pub fn new(service: ServiceIdentity, clock: Clock) -> Self {
        Self {
            service,
            clock,
            lifecycle: Lifecycle::default(),
            metrics: Metrics::default(),
            aws: AwsSdk::default(),
            resolver: Arc::new(SystemResolver),
            secrets: Secrets::default(),
            traces: Traces::default(),
            keys: None,
        }
    }
}
