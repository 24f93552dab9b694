//! Rules about ports: what a container listens on, and who expects it there.

use super::{Fault, Input, fault};
use crate::decide::definition::container::Container;

/// T03
pub(super) fn host_port(input: &Input<'_>) -> Vec<Fault> {
    if input.definition.root().text("networkMode") != Some("awsvpc") {
        return Vec::new();
    }
    let containers = input.definition.containers();
    let mappings = containers
        .iter()
        .flat_map(|container| container.0.items("portMappings"));
    mappings
        .filter_map(|mapping| {
            let (host, own) = (
                mapping.number("hostPort")?,
                mapping.number("containerPort")?,
            );
            let what = format!("{host} is not the containerPort {own}");
            let remedy = format!("write {own}, or leave it out");
            (host != own).then(|| fault(mapping.place_of("hostPort"), what, remedy))
        })
        .collect()
}

/// T23
pub(super) fn privileged_port(input: &Input<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, container) in input.definition.containers().iter().enumerate() {
        let user = user(input, index, container);
        let start = container.unprivileged_port_start();
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
            let remedy = "write a port from 1024, or the systemControls \
                          net.ipv4.ip_unprivileged_port_start with the value 0";
            faults.push(fault(mapping.place_of("containerPort"), what, remedy));
        }
    }
    faults
}

/// T41
pub(super) fn load_balancer(input: &Input<'_>) -> Vec<Fault> {
    let Some(service) = &input.facts.service else {
        return Vec::new();
    };
    let containers = input.definition.containers();
    let name = service.container_name.as_str();
    let Some(container) = containers
        .iter()
        .find(|container| container.name() == Some(name))
    else {
        let what = format!("the load balancer sends to {name}, which is not there");
        return vec![fault(
            "containerDefinitions",
            what,
            format!("write a container named {name}"),
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
    let what = format!("the load balancer sends to port {port}, which is not there");
    let remedy = format!("write {{ \"containerPort\": {port} }}");
    vec![fault(container.0.place_of("portMappings"), what, remedy)]
}

/// Who the container runs as: what the definition says, else the image; `None` if nobody knows.
pub(super) fn user<'a>(
    input: &Input<'a>,
    index: usize,
    container: &Container<'a>,
) -> Option<&'a str> {
    let of_the_image = input
        .facts
        .image
        .as_ref()
        .filter(|_| index == 0)
        .map(|image| image.user.as_str());
    container.user().or(of_the_image)
}

pub(super) fn is_root(user: &str) -> bool {
    matches!(user.split(':').next(), None | Some("" | "0" | "root"))
}
