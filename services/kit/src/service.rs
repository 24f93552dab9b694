//! What identifies a service.

/// The path of every service's health check, which ECS and the load balancer request.
pub(crate) const HEALTH_PATH: &str = "/health";

/// Name and version of a service, as its answers, its logs and the name of its secret have them.
#[derive(Clone, Copy, Debug)]
pub struct ServiceIdentity {
    pub name: &'static str,
    pub version: &'static str,
}
