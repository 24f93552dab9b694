//! Rules about what parts of a definition say of each other: names that must exist, and names that
//! must not exist twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::platform::Network;
use super::{Input, LintFault, fault};
use crate::decide::definition::container::ContainerDefinition;
use crate::decide::definition::node::Node;

/// T64
pub(super) fn unresolved(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let names = input.containers.iter();
    let containers: BTreeSet<&str> = names.filter_map(ContainerDefinition::name).collect();
    let listed = root.items("volumes");
    let volumes: BTreeSet<&str> = listed.iter().filter_map(|it| it.text("name")).collect();
    let mut faults = Vec::new();
    let mut resolve = |node: &Node<'_>, key: &str, kind: &str, known: &BTreeSet<&str>| {
        let name = node.text(key).filter(|name| !name.is_empty());
        if let Some(name) = name.filter(|name| !known.contains(name)) {
            let what = format!("no {kind} is named `{name}`");
            let remedy = format!("use the name of a {kind} of this definition");
            faults.push(fault(node.path_of(key), what, remedy));
        }
    };
    for container in &input.containers {
        for mount in container.0.items("mountPoints") {
            resolve(&mount, "sourceVolume", "volume", &volumes);
        }
        for source in container.0.items("volumesFrom") {
            resolve(&source, "sourceContainer", "container", &containers);
        }
    }
    if let Some(proxy) = root.get("proxyConfiguration") {
        resolve(&proxy, "containerName", "container", &containers);
    }
    for container in &input.containers {
        for link in container.0.items("links") {
            let name = link.string().unwrap_or_default().split(':').next();
            if let Some(name) = name.filter(|name| !containers.contains(name)) {
                let what = format!("no container is named `{name}`");
                let remedy = "use the name of a container of this definition";
                faults.push(fault(link.json_path(), what, remedy));
            }
        }
    }
    faults
}

/// T66
pub(super) fn duplicates(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let mut faults = Vec::new();
    let containers: Vec<Node<'_>> = input.containers.iter().map(|it| it.0).collect();
    twice(&containers, "name", "the container", &mut faults);
    twice(&root.items("volumes"), "name", "the volume", &mut faults);
    twice(&root.items("tags"), "key", "the tag", &mut faults);
    let mappings: Vec<Node<'_>> = containers
        .iter()
        .flat_map(|it| it.items("portMappings"))
        .collect();
    twice(&mappings, "name", "the port", &mut faults);
    for container in &containers {
        twice(
            &container.items("mountPoints"),
            "containerPath",
            "the path",
            &mut faults,
        );
        twice(
            &container.items("ulimits"),
            "name",
            "the limit",
            &mut faults,
        );
    }
    faults.extend(ports(input));
    faults
}

fn twice(nodes: &[Node<'_>], key: &str, kind: &str, faults: &mut Vec<LintFault>) {
    let mut places: HashMap<&str, &Node<'_>> = HashMap::new();
    for node in nodes {
        let Some(name) = node.text(key).filter(|name| !name.is_empty()) else {
            continue;
        };
        match places.get(name) {
            Some(first) => {
                let what = format!("{kind} {name} is also in {}", first.json_path());
                faults.push(fault(node.path_of(key), what, "define it once"));
            }
            None => drop(places.insert(name, node)),
        }
    }
}

/// Ports that two mappings want. Containers of a task share its network in the modes awsvpc and
/// host; in the mode bridge each has its own, and they share only the ports of the instance.
fn ports(input: &Input<'_>) -> Vec<LintFault> {
    let is_shared = matches!(input.platform.network, Network::Awsvpc | Network::Host);
    let mut faults = Vec::new();
    let mut of_task: BTreeMap<i64, Node<'_>> = BTreeMap::new();
    let mut of_host: BTreeMap<(i64, &str), Node<'_>> = BTreeMap::new();
    for container in &input.containers {
        let mut own: BTreeMap<i64, (&str, Node<'_>)> = BTreeMap::new();
        for mapping in container.0.items("portMappings") {
            let Some(port) = mapping.number("containerPort") else {
                continue;
            };
            let protocol = match mapping.text("protocol") {
                Some("udp") => "udp",
                _ => "tcp",
            };
            let found = if let Some((other, first)) = own.get(&port) {
                // "You can't expose the same container port for multiple protocols."
                (is_shared || *other != protocol).then_some(("containerPort", *first))
            } else if let Some(first) = of_task.get(&port).filter(|_| is_shared) {
                Some(("containerPort", *first))
            } else {
                let host = mapping
                    .number("hostPort")
                    .filter(|host| *host != 0 && !is_shared);
                let first = host.and_then(|host| of_host.get(&(host, protocol)));
                first.map(|first| ("hostPort", *first))
            };
            if let Some((key, first)) = found {
                let what = format!("the port is also in {}", first.json_path());
                faults.push(fault(mapping.path_of(key), what, "use each port once"));
            }
            if let Some(host) = mapping.number("hostPort") {
                of_host.entry((host, protocol)).or_insert(mapping);
            }
            of_task.entry(port).or_insert(mapping);
            own.entry(port).or_insert((protocol, mapping));
        }
    }
    faults
}
