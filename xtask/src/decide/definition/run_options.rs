//! How to run an image in plain Docker with the settings of its definition, several of which the
//! local AWS ignores.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Definition;

/// The value of every secret, since there is no ECS that resolves the references.
const DUMMY_SECRET: &str = "not-a-secret";
/// The unit of `memory` in a definition.
const MEBIBYTE: i64 = 1024 * 1024;

/// The settings of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// An image id, or any other name that the engine resolves.
    pub image: String,
    /// Replaces the `CMD` of the image.
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub user: Option<String>,
    pub read_only: bool,
    pub capabilities_dropped: Vec<String>,
    pub system_controls: BTreeMap<String, String>,
    pub memory_bytes_max: Option<i64>,
    /// The port in the container. Docker publishes it on a free port of 127.0.0.1.
    pub port: Option<u16>,
    /// Path in the container, and the file of this machine that is mounted there.
    pub files: BTreeMap<String, PathBuf>,
}

/// The options of the first container, with dummy secrets. `None`: there is no container.
pub fn run_options(definition: &Definition, image: &str) -> Option<RunOptions> {
    let container = definition.container()?;
    let owned = |pairs: BTreeMap<&str, &str>| -> BTreeMap<String, String> {
        let pairs = pairs.into_iter();
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    };
    let texts = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
    let mut environment = owned(container.environment());
    for name in container.secrets().into_keys() {
        environment.insert(name.to_owned(), DUMMY_SECRET.to_owned());
    }
    let memory = definition.root().text("memory");
    let memory: Option<i64> = memory.and_then(|mebibytes| mebibytes.parse().ok());
    Some(RunOptions {
        image: image.to_owned(),
        command: texts(container.command()),
        environment,
        user: container.user().map(str::to_owned),
        read_only: container.read_only(),
        capabilities_dropped: texts(container.capabilities_dropped()),
        system_controls: owned(container.system_controls()),
        memory_bytes_max: memory.and_then(|mebibytes| mebibytes.checked_mul(MEBIBYTE)),
        port: container.port(),
        files: BTreeMap::new(),
    })
}

/// The command of the health check for `docker exec`; empty without a health check.
pub fn health_check(definition: &Definition) -> Vec<String> {
    let command = definition.container().map(|it| it.health_check_command());
    match command.unwrap_or_default().as_slice() {
        ["CMD", arguments @ ..] => arguments.iter().map(ToString::to_string).collect(),
        ["CMD-SHELL", line] => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::definition;
    use super::*;
    use crate::catalog::testing::{AXON, ORBIT};

    #[test]
    fn options_are_those_of_the_definition() {
        let options = run_options(&definition(ORBIT), "sha256:1").unwrap();
        assert_eq!(options.image, "sha256:1");
        assert_eq!(options.user.as_deref(), Some("65532:65532"));
        assert!(options.read_only);
        assert_eq!(options.capabilities_dropped, ["ALL"]);
        let start = &options.system_controls["net.ipv4.ip_unprivileged_port_start"];
        assert_eq!(start, "0");
        assert_eq!(options.memory_bytes_max, Some(512 * 1024 * 1024));
        assert_eq!(options.port, Some(80));
        assert_eq!(options.environment["API_KEY"], DUMMY_SECRET);
        assert_eq!(options.environment["PORT"], "80");
        assert_eq!(options.environment["DRAIN_MS"], "1000", "the outputs' own");
    }

    #[test]
    fn the_health_check_becomes_a_command() {
        let mut definition = definition(AXON);
        assert_eq!(health_check(&definition), ["/axon", "healthcheck"]);
        let command = "/containerDefinitions/0/healthCheck/command";
        let mut set = |value| *definition.0.pointer_mut(command).unwrap() = value;
        set(serde_json::json!(["CMD-SHELL", "curl -f x"]));
        assert_eq!(health_check(&definition), ["/bin/sh", "-c", "curl -f x"]);
    }
}
