//! What identifies a service.

/// The path of every service's health check (axon's and orbit's, the load balancer's and ECS's).
pub(crate) const HEALTH_PATH: &str = "/health";

/// Name and version of a service, as its answers, its logs and the name of its secret have them.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub name: &'static str,
    pub version: &'static str,
}
