//! Rules about ports: what a container listens on, and what the load balancer expects.

use super::platform::Network;
use super::{Input, LintFault, fault};
use crate::decide::definition::container::ContainerDefinition;

/// T03
pub(super) fn host_port(input: &Input<'_>) -> Vec<LintFault> {
    let mode = match input.platform.network {
        Network::Awsvpc => "awsvpc",
        Network::Host => "host",
        Network::Bridge => return Vec::new(),
        Network::None => return ports_of_no_network(input),
    };
    let mappings = input
        .containers
        .iter()
        .flat_map(|container| container.0.items("portMappings"));
    mappings
        .filter_map(|mapping| {
            let (host, own) = (
                mapping.number("hostPort")?,
                mapping.number("containerPort")?,
            );
            let what = format!("{host} differs from the containerPort {own}, in the mode {mode}");
            let remedy = format!("use {own}, or remove it");
            (host != own).then(|| fault(mapping.path_of("hostPort"), what, remedy))
        })
        .collect()
}

fn ports_of_no_network(input: &Input<'_>) -> Vec<LintFault> {
    let containers = input.containers.iter();
    let mapped = containers.filter(|it| !it.0.items("portMappings").is_empty());
    mapped
        .map(|container| {
            let what = "a task of the network mode none has no ports";
            fault(container.0.path_of("portMappings"), what, "remove it")
        })
        .collect()
}

/// T23. The containers of a task share one network, in which a sysctl of one is that of all.
pub(super) fn privileged_port(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    if !input.platform.is_fargate || input.platform.is_windows {
        return faults;
    }
    let starts = input
        .containers
        .iter()
        .map(ContainerDefinition::unprivileged_port_start);
    let start = starts.min().unwrap_or_default();
    for (index, container) in input.containers.iter().enumerate() {
        let user = user(input, index, container);
        if user.is_none_or(is_root) {
            continue;
        }
        for mapping in container.0.items("portMappings") {
            let Some(port) = mapping.number("containerPort").filter(|port| *port < start) else {
                continue;
            };
            let what = format!(
                "the user {} may not listen on {port}",
                user.unwrap_or_default()
            );
            let remedy = "use a port from 1024, or set systemControls \
                          net.ipv4.ip_unprivileged_port_start to 0";
            faults.push(fault(mapping.path_of("containerPort"), what, remedy));
        }
    }
    faults
}

/// T41
pub(super) fn load_balancer(input: &Input<'_>) -> Vec<LintFault> {
    let Some(service) = &input.facts.service else {
        return Vec::new();
    };
    let name = service.container_name.as_str();
    let Some(container) = input
        .containers
        .iter()
        .find(|container| container.name() == Some(name))
    else {
        let what = format!("the load balancer sends to container {name}, which does not exist");
        return vec![fault(
            "containerDefinitions",
            what,
            format!("name a container {name}"),
        )];
    };
    let port = i64::from(service.container_port);
    let mappings = container.0.items("portMappings");
    if mappings
        .iter()
        .any(|mapping| mapping.number("containerPort") == Some(port))
    {
        return Vec::new();
    }
    let what = format!("the load balancer sends to port {port}, which is not mapped");
    let remedy = format!("set {{ \"containerPort\": {port} }}");
    vec![fault(container.0.path_of("portMappings"), what, remedy)]
}

/// The user of the container: that of the definition, else that of the image. `None`: unknown.
pub(super) fn user<'a>(
    input: &Input<'a>,
    index: usize,
    container: &ContainerDefinition<'a>,
) -> Option<&'a str> {
    let of_the_image = input.image(index).map(|image| image.user.as_str());
    container.user().or(of_the_image)
}

pub(super) fn is_root(user: &str) -> bool {
    matches!(user.split(':').next(), None | Some("" | "0" | "root"))
}
