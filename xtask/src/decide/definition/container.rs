//! Typed access to a container definition.

use std::collections::BTreeMap;

use super::node::Node;

/// The sysctl for the first port that an unprivileged process may listen on.
const UNPRIVILEGED_PORT_START: &str = "net.ipv4.ip_unprivileged_port_start";
/// The default of the kernel.
const UNPRIVILEGED_PORT_START_DEFAULT: i64 = 1024;

#[derive(Debug, Clone)]
pub struct ContainerDefinition<'a>(pub Node<'a>);

impl<'a> ContainerDefinition<'a> {
    pub fn name(&self) -> Option<&'a str> {
        self.0.text("name")
    }

    pub fn image(&self) -> Option<&'a str> {
        self.0.text("image")
    }

    /// The port of the first mapping.
    pub fn port(&self) -> Option<u16> {
        let mapping = self.0.items("portMappings").into_iter().next()?;
        u16::try_from(mapping.number("containerPort")?).ok()
    }

    /// `uid`, `uid:gid`, or the names of both.
    pub fn user(&self) -> Option<&'a str> {
        self.0.text("user")
    }

    pub fn read_only(&self) -> bool {
        self.0.flag("readonlyRootFilesystem").unwrap_or(false)
    }

    /// Whether ECS stops the task when this container exits; `true` by default.
    pub fn essential(&self) -> bool {
        self.0.flag("essential").unwrap_or(true)
    }

    pub fn capabilities_dropped(&self) -> Vec<&'a str> {
        let capabilities = self.0.at(["linuxParameters", "capabilities"]);
        capabilities
            .map(|node| node.texts("drop"))
            .unwrap_or_default()
    }

    pub fn system_controls(&self) -> BTreeMap<&'a str, &'a str> {
        self.pairs("systemControls", "namespace", "value")
    }

    pub fn unprivileged_port_start(&self) -> i64 {
        let controls = self.system_controls();
        let start = controls
            .get(UNPRIVILEGED_PORT_START)
            .and_then(|value| value.parse().ok());
        start.unwrap_or(UNPRIVILEGED_PORT_START_DEFAULT)
    }

    pub fn environment(&self) -> BTreeMap<&'a str, &'a str> {
        self.pairs("environment", "name", "value")
    }

    /// Variable name to the ARN or name of the secret.
    pub fn secrets(&self) -> BTreeMap<&'a str, &'a str> {
        self.pairs("secrets", "name", "valueFrom")
    }

    pub fn stop_timeout_seconds(&self) -> Option<i64> {
        self.0.number("stopTimeout")
    }

    /// The command of the health check, starting with `CMD` or `CMD-SHELL`; empty without one.
    pub fn health_check_command(&self) -> Vec<&'a str> {
        self.0
            .get("healthCheck")
            .map(|check| check.texts("command"))
            .unwrap_or_default()
    }

    /// Replaces the `CMD` of the image.
    pub fn command(&self) -> Vec<&'a str> {
        self.0.texts("command")
    }

    fn pairs(&self, list: &'a str, name: &str, value: &str) -> BTreeMap<&'a str, &'a str> {
        let items = self.0.items(list);
        items
            .iter()
            .filter_map(|item| Some((item.text(name)?, item.text(value)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {

    use crate::catalog::testing::AXON;
    use crate::decide::definition::testing::definition;

    #[test]
    fn every_setting_is_read() {
        let definition = definition(AXON);
        let container = definition.container().unwrap();
        assert_eq!(container.name(), Some("axon"));
        assert_eq!(container.port(), Some(80));
        assert_eq!(container.user(), Some("65532:65532"));
        assert!(container.read_only() && container.essential());
        assert_eq!(container.capabilities_dropped(), ["ALL"]);
        assert_eq!(container.unprivileged_port_start(), 0);
        assert_eq!(container.environment()["AWS_REGION"], "us-east-1");
        assert!(container.secrets()["API_KEY"].ends_with("-AbCdEf:api_key::"));
        assert_eq!(
            container.health_check_command(),
            ["CMD", "/axon", "healthcheck"]
        );
        assert_eq!(container.stop_timeout_seconds(), Some(25));
        assert_eq!(container.command(), Vec::<&str>::new());
    }
}
