//! The connection to the Docker engine, and the address of this machine for its containers.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use bollard::Docker;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::ports::ProcessEnv;

const SOCKET: &str = "unix:///var/run/docker.sock";

/// Shorter than the limit of other requests, so that a hanging engine is noticed soon.
pub(in crate::adapters) const ENGINE_LIMIT: Duration = Duration::from_secs(5);

/// Connects to the engine of `DOCKER_HOST`, or to the default socket.
pub fn docker(process_env: &ProcessEnv) -> Result<Docker> {
    let host = process_env.variable("DOCKER_HOST").unwrap_or(SOCKET);
    Docker::connect_with_host(host).map_err(|error| no_engine(host, &error.to_string()).into())
}

/// The address of this machine for containers on the default bridge.
pub async fn bridge_gateway(docker: &Docker) -> Result<Ipv4Addr> {
    let network = timeout(ENGINE_LIMIT, docker.inspect_network("bridge", None))
        .await
        .map_err(|_| no_engine("its socket", "no answer in time"))?
        .map_err(|error| no_engine("its socket", &error.to_string()))?;
    network
        .ipam
        .and_then(|ipam| ipam.config)
        .into_iter()
        .flatten()
        .find_map(|config| gateway(config.gateway.as_deref(), config.subnet.as_deref()))
        .context("Docker's network `bridge` has no IPv4 gateway")
}

/// The gateway of the bridge. An engine that created the bridge itself reports it only after a
/// restart; until then it is the first address of the subnet.
fn gateway(reported: Option<&str>, subnet: Option<&str>) -> Option<Ipv4Addr> {
    if let Some(address) = reported.and_then(|address| address.parse().ok()) {
        return Some(address);
    }
    let (network, _) = subnet?.split_once('/')?;
    let network: Ipv4Addr = network.parse().ok()?;
    Some(Ipv4Addr::from_bits(network.to_bits() + 1))
}

fn no_engine(host: &str, reason: &str) -> Failure {
    Failure::not_ready(format!(
        "the Docker engine does not answer at {host}: {reason}"
    ))
    .hint("cargo xtask doctor --fix")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_reported_or_the_first_address() {
        let address = Some(Ipv4Addr::new(172, 17, 0, 1));
        assert_eq!(gateway(Some("172.17.0.1"), Some("172.17.0.0/16")), address);
        assert_eq!(gateway(None, Some("172.17.0.0/16")), address);
        assert_eq!(gateway(None, Some("fd00::/64")), None);
    }
}
