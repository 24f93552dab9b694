//! Rules about the structure: what the API model of ECS says, and what only its documentation says
//! about names, numbers and tags.

use super::{Input, LintFault, fault};
use super::{placeholders, task};
use crate::decide::definition::document::Edit;
use crate::decide::definition::model::{ModelFaultKind, READ_ONLY};
use crate::decide::definition::node::Node;

const NAME_LENGTH_MAX: usize = 255;
const CONTAINERS_MAX: usize = 10;
const PORT_NAME_LENGTH_MAX: usize = 64;
const EXIT_CODES_MAX: usize = 50;
const PLACEMENT_CONSTRAINTS_MAX: usize = 10;
const PORT_MAX: i64 = 65_535;
/// The least that Docker takes, in MiB.
const MEMORY_MIN: i64 = 6;

/// T50
pub(super) fn read_only_keys(input: &Input<'_>) -> Vec<LintFault> {
    if input.facts.is_described {
        return Vec::new();
    }
    let root = input.definition.root();
    let present = READ_ONLY.iter().filter(|key| root.get(key).is_some());
    present
        .map(|key| fault(*key, "a read-only key", "remove it").edit(Edit::Remove))
        .collect()
}

/// T51
pub(super) fn keys_and_types(input: &Input<'_>) -> Vec<LintFault> {
    let faults = input.model_faults.iter();
    faults
        .filter_map(|found| match &found.kind {
            ModelFaultKind::Unknown { key, nearest } => {
                let remedy = nearest.map_or("remove it".to_owned(), |name| {
                    format!("did you mean `{name}`?")
                });
                let what = format!("unknown key `{key}`");
                let told = fault(&found.json_path, what, remedy);
                Some(match nearest {
                    Some(name) if name.eq_ignore_ascii_case(key) => told.edit(Edit::Rename(name)),
                    _ => told,
                })
            }
            // A placeholder of a number is a string until it is filled.
            ModelFaultKind::Type { expected } if !input.unresolved.contains(&found.json_path) => {
                let what = "the value has the wrong type";
                Some(fault(&found.json_path, what, format!("set {expected}")))
            }
            _ => None,
        })
        .collect()
}

/// T61
pub(super) fn required(input: &Input<'_>) -> Vec<LintFault> {
    let missing = input.model_faults.iter();
    missing
        .filter(|found| found.kind == ModelFaultKind::Missing)
        .map(|found| fault(&found.json_path, "missing", "set it"))
        .collect()
}

/// T62
pub(super) fn choices(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    let is_of_ecspresso = placeholders::is_of(input, placeholders::ECSPRESSO);
    for found in &input.model_faults {
        let ModelFaultKind::Choice {
            value,
            choices,
            nearest,
        } = &found.kind
        else {
            continue;
        };
        // `ecspresso init` writes empty ones, which it leaves out of its call.
        let is_left_out = value.is_empty() && is_of_ecspresso;
        // Undocumented, but ECS takes it, and its agent runs it:
        // https://github.com/aws/aws-cdk/issues/35795
        let is_none = value == "none" && found.json_path.ends_with(".logDriver");
        if is_left_out || is_none || is_protocol(&found.json_path) {
            continue;
        }
        let remedy = match nearest {
            _ if value.is_empty() => "remove it, or set one of the values".to_owned(),
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("set one of {}", choices.join(", ")),
        };
        let what = format!("`{value}` is not one of the values that the API has");
        let told = fault(&found.json_path, what, remedy);
        faults.push(match nearest {
            Some(name) if name.eq_ignore_ascii_case(value) => {
                told.edit(Edit::Replace((*name).to_owned()))
            }
            _ => told,
        });
    }
    faults
}

/// T69. The documentation of the API: "Amazon ECS treats any other specified value as tcp."
pub(super) fn protocol(input: &Input<'_>) -> Vec<LintFault> {
    let found = input.model_faults.iter();
    found
        .filter_map(|found| match &found.kind {
            ModelFaultKind::Choice { value, .. } if is_protocol(&found.json_path) => {
                let what = format!("`{value}` is neither tcp nor udp");
                let told = fault(&found.json_path, what, "set tcp or udp");
                let lower = value.to_ascii_lowercase();
                let is_meant = matches!(lower.as_str(), "tcp" | "udp");
                Some(if is_meant {
                    told.edit(Edit::Replace(lower))
                } else {
                    told
                })
            }
            _ => None,
        })
        .collect()
}

fn is_protocol(json_path: &str) -> bool {
    json_path.contains(".portMappings[") && json_path.ends_with("].protocol")
}

/// T63
pub(super) fn ranges(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let mut faults = of_the_model(input);
    for (key, most) in [
        ("containerDefinitions", CONTAINERS_MAX),
        ("placementConstraints", PLACEMENT_CONSTRAINTS_MAX),
    ] {
        faults.extend(too_many(&root, key, most));
    }
    faults.extend(task_sizes(input, &root));
    for container in &input.containers {
        let node = &container.0;
        faults.extend(out_of_range(node, "memory", MEMORY_MIN, i64::MAX));
        faults.extend(out_of_range(
            node,
            "memoryReservation",
            MEMORY_MIN,
            i64::MAX,
        ));
        faults.extend(out_of_range(node, "cpu", 0, i64::MAX));
        for mapping in node.items("portMappings") {
            faults.extend(out_of_range(&mapping, "containerPort", 1, PORT_MAX));
            faults.extend(out_of_range(&mapping, "hostPort", 0, PORT_MAX));
            faults.extend(port_range(&mapping));
        }
        if let Some(linux) = node.get("linuxParameters") {
            faults.extend(out_of_range(&linux, "swappiness", 0, 100));
            faults.extend(out_of_range(&linux, "maxSwap", 0, i64::MAX));
            let mounts = linux.items("tmpfs");
            let sizes = mounts.iter();
            faults.extend(sizes.filter_map(|mount| out_of_range(mount, "size", 1, i64::MAX)));
        }
        if let Some(policy) = node.get("restartPolicy") {
            faults.extend(out_of_range(&policy, "restartAttemptPeriod", 60, 1800));
            faults.extend(too_many(&policy, "ignoredExitCodes", EXIT_CODES_MAX));
        }
        faults.extend(node.items("ulimits").iter().filter_map(soft_above_hard));
    }
    let tags = root.items("tags");
    faults.extend(tags.iter().filter_map(reserved_tag));
    faults
}

fn of_the_model(input: &Input<'_>) -> Vec<LintFault> {
    let found = input.model_faults.iter();
    found
        .filter_map(|found| match &found.kind {
            ModelFaultKind::Range {
                found: value,
                least,
                most,
            } => {
                let range = match (least, most) {
                    (Some(least), Some(most)) => format!("{least} to {most}"),
                    (Some(least), None) => format!("{least} at least"),
                    (_, most) => format!("{} at most", most.unwrap_or(i64::MAX)),
                };
                let what = format!("{value} is outside the range of the API");
                Some(fault(&found.json_path, what, format!("use {range}")))
            }
            ModelFaultKind::Characters { pattern } => {
                let what = "has a character that the API does not allow";
                Some(fault(
                    &found.json_path,
                    what,
                    format!("use the characters {pattern}"),
                ))
            }
            _ => None,
        })
        .collect()
}

/// The sizes of a task on instances; those of Fargate have a rule of their own.
fn task_sizes(input: &Input<'_>, root: &Node<'_>) -> Vec<LintFault> {
    // "Supported values are between 128 CPU units (0.125 vCPUs) and 196608 CPU units (192 vCPUs)."
    const CPU: std::ops::RangeInclusive<i64> = 128..=196_608;
    if input.platform.is_fargate {
        return Vec::new();
    }
    let mut faults = Vec::new();
    if let Some(text) = root.text("cpu")
        && !task::cpu(text).is_some_and(|cpu| CPU.contains(&cpu))
    {
        let what = format!("`{text}` is no number of CPU units that a task may have");
        faults.push(fault("cpu", what, "use 128 to 196608"));
    }
    if let Some(text) = root.text("memory")
        && task::memory(text).is_none_or(|memory| memory < MEMORY_MIN)
    {
        let what = format!("`{text}` is no amount of memory");
        faults.push(fault("memory", what, "use MiB such as 512, or 1 GB"));
    }
    faults
}

fn too_many(node: &Node<'_>, key: &str, most: usize) -> Option<LintFault> {
    let count = node.get(key)?.value.as_array()?.len();
    let what = format!("{count} are more than ECS takes");
    (count > most).then(|| fault(node.path_of(key), what, format!("set {most} at most")))
}

fn out_of_range(node: &Node<'_>, key: &str, least: i64, most: i64) -> Option<LintFault> {
    let value = node.number(key).filter(|it| !(least..=most).contains(it))?;
    let range = if most == i64::MAX {
        format!("{least} at least")
    } else {
        format!("{least} to {most}")
    };
    let (what, remedy) = (format!("is {value}"), format!("use {range}"));
    Some(fault(node.path_of(key), what, remedy))
}

/// `FIRST-LAST` of ports, the first of which is less.
fn port_range(mapping: &Node<'_>) -> Option<LintFault> {
    let Some(range) = mapping.text("containerPortRange") else {
        let is_mapping = mapping.value.is_object();
        let has_port = mapping.get("containerPort").is_some();
        let remedy = "set containerPort or containerPortRange";
        return (is_mapping && !has_port)
            .then(|| fault(mapping.path_of("containerPort"), "not set", remedy));
    };
    let ends = range.split_once('-').and_then(|(first, last)| {
        let first: i64 = first.parse().ok()?;
        Some((first, last.parse().ok()?))
    });
    let fits = ends.is_some_and(|(first, last)| 1 <= first && first < last && last <= PORT_MAX);
    (!fits).then(|| {
        let what = format!("`{range}` is no range of ports");
        fault(
            mapping.path_of("containerPortRange"),
            what,
            "set it such as 8000-8010",
        )
    })
}

fn soft_above_hard(limit: &Node<'_>) -> Option<LintFault> {
    // -1 is no limit.
    let number = |key| {
        limit
            .number(key)
            .map(|it| if it == -1 { i64::MAX } else { it })
    };
    let (soft, hard) = (number("softLimit")?, number("hardLimit")?);
    let what = format!("more than the hardLimit of {hard}");
    (soft > hard).then(|| {
        fault(
            limit.path_of("softLimit"),
            what,
            format!("use {hard} at most"),
        )
    })
}

fn reserved_tag(tag: &Node<'_>) -> Option<LintFault> {
    let key = tag.text("key")?;
    let is_reserved = key
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
    is_reserved.then(|| {
        let what = "keys that begin with aws: are reserved for AWS";
        fault(tag.path_of("key"), what, "use another key")
    })
}

/// T59
pub(super) fn names(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let mut named = vec![(root, "family")];
    named.extend(
        root.items("volumes")
            .into_iter()
            .map(|volume| (volume, "name")),
    );
    named.extend(input.containers.iter().map(|it| (it.0, "name")));
    let mut faults = Vec::new();
    for (node, key) in named {
        // One that is missing is told by the rule about required members.
        let Some(name) = node.text(key) else {
            continue;
        };
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.bytes().all(valid) {
            let what = format!("`{name}` is not a valid name");
            let remedy = format!("use 1 to {NAME_LENGTH_MAX} of A-Z, a-z, 0-9, _ and -");
            faults.push(fault(node.path_of(key), what, remedy));
        }
    }
    for container in &input.containers {
        for mapping in container.0.items("portMappings") {
            let name = mapping.text("name").filter(|name| !is_port_name(name));
            if let Some(name) = name {
                let what = format!("`{name}` is not a valid name");
                let remedy = format!(
                    "use 1 to {PORT_NAME_LENGTH_MAX} of a-z, 0-9, _ and -, and no - as the first"
                );
                faults.push(fault(mapping.path_of("name"), what, remedy));
            }
        }
        if let Some((what, remedy)) = container.image().and_then(wrong_image) {
            faults.push(fault(container.0.path_of("image"), what, remedy));
        }
    }
    faults
}

fn is_port_name(name: &str) -> bool {
    let valid = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    let length = name.len();
    (1..=PORT_NAME_LENGTH_MAX).contains(&length)
        && name.bytes().all(valid)
        && !name.starts_with('-')
}

/// What is wrong with the name of an image, by the grammar of Docker's references.
fn wrong_image(image: &str) -> Option<(String, &'static str)> {
    const TAG_LENGTH_MAX: usize = 128;
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
        let what = format!("{digest} is not a digest");
        return Some((what, "use sha256: followed by 64 of 0-9 and a-f"));
    }
    let path_start = name.find('/').filter(|end| is_host(&name[..*end]));
    let path = path_start.map_or(name, |end| &name[end + 1..]);
    let (repository, tag) = match path.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    let is_tag_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let fits_tag = |tag: &str| {
        let length = tag.len();
        let begins = tag.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
        begins && length <= TAG_LENGTH_MAX && tag.bytes().all(is_tag_byte)
    };
    let is_component = |part: &str| {
        let inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        let ends = |byte: Option<&u8>| {
            byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let bytes = part.as_bytes();
        part.bytes().all(inner) && ends(bytes.first()) && ends(bytes.last())
    };
    if repository.split('/').all(is_component) && tag.is_none_or(fits_tag) {
        return None;
    }
    let what = format!("`{image}` is not the name of an image");
    Some((
        what,
        "use lower case, and REGISTRY/REPOSITORY@sha256:DIGEST",
    ))
}

/// Whether the first part of an image's name is a registry.
fn is_host(part: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    (part.contains(['.', ':']) || part == "localhost") && part.bytes().all(valid)
}

fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:");
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
