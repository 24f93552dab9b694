//! How an image is run alone, as its definition says and as no emulator does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Definition;

/// What a secret of the definition is, where there is no ECS to fill it in.
const DUMMY_SECRET: &str = "not-a-secret";
/// A task's memory is in MiB.
const MEBIBYTE: i64 = 1024 * 1024;

/// How to run an image: what its definition says of the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// An image's id, or any other name that the engine knows.
    pub image: String,
    /// In place of the image's own arguments.
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub user: Option<String>,
    pub read_only: bool,
    pub capabilities_dropped: Vec<String>,
    pub system_controls: BTreeMap<String, String>,
    pub memory_bytes_max: Option<i64>,
    /// The container's port; it is reached under another one of 127.0.0.1.
    pub port: Option<u16>,
    /// Path in the container, and the file of this machine that is seen there.
    pub files: BTreeMap<String, PathBuf>,
}

/// The definition's container, with dummies for its secrets. `None`: it has no container.
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
        memory_bytes_max: memory.map(|mebibytes| mebibytes * MEBIBYTE),
        port: container.port(),
        files: BTreeMap::new(),
    })
}

/// The command of the definition's health check, as a container executes it; empty: there is none.
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
    use crate::catalog::Service;

    #[test]
    fn a_container_runs_as_its_definition_says() {
        let options = run_options(&definition(Service::Orbit), "sha256:1").unwrap();
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
    fn the_health_check_is_a_command_of_the_container() {
        let mut definition = definition(Service::Axon);
        assert_eq!(health_check(&definition), ["/axon", "healthcheck"]);
        let command = "/containerDefinitions/0/healthCheck/command";
        let mut set = |value| *definition.0.pointer_mut(command).unwrap() = value;
        set(serde_json::json!(["CMD-SHELL", "curl -f x"]));
        assert_eq!(health_check(&definition), ["/bin/sh", "-c", "curl -f x"]);
    }
}
