//! The differences of two definitions, as a plan shows them. Defaults that ECS fills in are no
//! difference, and values that look like credentials are not shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::decide::definition::Definition;
use crate::decide::definition::credential::is_credential;
use crate::decide::definition::model::{READ_ONLY, is_definition_key};

/// One value that differs. `None`: absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DefinitionChange {
    /// `environment LOG_LEVEL`, `healthCheck.interval`
    pub path: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl fmt::Display for DefinitionChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        write!(
            formatter,
            "{}: {} -> {}",
            self.path,
            side(&self.before),
            side(&self.after)
        )
    }
}

/// The changes from one definition to the other, sorted by path. Both rendered definitions and
/// those of `DescribeTaskDefinition` are accepted.
pub fn diff(before: Option<&Definition>, after: &Definition) -> Vec<DefinitionChange> {
    let before = before.map(leaves).unwrap_or_default();
    let after = leaves(after);
    let paths: BTreeSet<&KeyPath> = before.keys().chain(after.keys()).collect();
    let containers: BTreeSet<&str> = paths.iter().filter_map(|path| container(path)).collect();
    let change = |path: &KeyPath| {
        let (before, after) = (before.get(path), after.get(path));
        (before != after).then(|| DefinitionChange {
            path: describe(path, containers.len() == 1),
            before: before.map(|value| show(path, value, after)),
            after: after.map(|value| show(path, value, before)),
        })
    };
    paths.into_iter().filter_map(change).collect()
}

/// The path of a value: keys, and the names of list items.
type KeyPath = Vec<Segment>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Key(String),
    Named(String),
}

impl Segment {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Named(_) => None,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Key(name) | Self::Named(name) => name,
        }
    }
}

const CONTAINERS: &str = "containerDefinitions";

/// Lists of references to secrets, which may be shown.
const REFERENCES: [&str; 2] = ["secrets", "secretOptions"];

/// Lists whose order has no meaning, and the key that identifies an item.
const NAMED: [(&str, &str); 14] = [
    ("containerDefinitions", "name"),
    ("dependsOn", "containerName"),
    ("environment", "name"),
    ("environmentFiles", "value"),
    ("extraHosts", "hostname"),
    ("mountPoints", "containerKeyPath"),
    ("portMappings", "containerPort"),
    ("resourceRequirements", "type"),
    ("secretOptions", "name"),
    ("secrets", "name"),
    ("systemControls", "namespace"),
    ("tags", "key"),
    ("ulimits", "name"),
    ("volumes", "name"),
];

/// The only key besides the name in the items of some lists.
const ONLY_VALUES: [&str; 2] = ["value", "valueFrom"];

/// Defaults that ECS fills in, by the end of their path.
const DEFAULTS: [(&str, &str); 6] = [
    ("containerDefinitions.cpu", "0"),
    ("containerDefinitions.essential", "true"),
    ("healthCheck.interval", "30"),
    ("healthCheck.timeout", "5"),
    ("healthCheck.retries", "3"),
    ("portMappings.protocol", "\"tcp\""),
];

/// Every value that is not a default, by its path.
fn leaves(definition: &Definition) -> BTreeMap<KeyPath, Value> {
    let mut leaves = BTreeMap::new();
    let members = definition.0.as_object().into_iter().flatten();
    for (key, value) in members {
        // `DescribeTaskDefinition` returns the tags outside of the definition.
        if !READ_ONLY.contains(&key.as_str()) && key != "tags" {
            collect(&mut vec![Segment::Key(key.clone())], value, &mut leaves);
        }
    }
    leaves
}

fn collect(path: &mut KeyPath, value: &Value, leaves: &mut BTreeMap<KeyPath, Value>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                if !is_default_host_port(key, member, members) {
                    path.push(Segment::Key(key.clone()));
                    collect(path, member, leaves);
                    path.pop();
                }
            }
        }
        Value::Array(items) => collect_items(path, items, leaves),
        scalar => {
            if !is_default(path, scalar) {
                leaves.insert(path.clone(), scalar.clone());
            }
        }
    }
}

fn collect_items(path: &mut KeyPath, items: &[Value], leaves: &mut BTreeMap<KeyPath, Value>) {
    let list = path.last().and_then(Segment::key).unwrap_or_default();
    let identity = NAMED
        .iter()
        .find(|(known, _)| *known == list)
        .map(|(_, identity)| *identity);
    if let Some(identity) = identity {
        for item in items {
            let name = item.get(identity).unwrap_or(&Value::Null);
            path.push(Segment::Named(
                name.as_str()
                    .map_or_else(|| name.to_string(), str::to_owned),
            ));
            collect_item(path, identity, item, leaves);
            path.pop();
        }
    } else if !items.is_empty() {
        leaves.insert(path.clone(), Value::Array(items.to_vec()));
    }
}

/// An item of a named list. The path already has its name, so an item with only a name still gets
/// an entry.
fn collect_item(
    path: &mut KeyPath,
    identity: &str,
    item: &Value,
    leaves: &mut BTreeMap<KeyPath, Value>,
) {
    let Some(members) = item.as_object() else {
        return;
    };
    let mut others = members.clone();
    others.remove(identity);
    let only = ONLY_VALUES.iter().find_map(|key| others.get(*key));
    if let (Some(value), 1) = (only, others.len()) {
        leaves.insert(path.clone(), value.clone());
        return;
    }
    leaves.insert(path.clone(), Value::from("present"));
    others.retain(|key, member| !is_default_host_port(key, member, members));
    collect(path, &Value::Object(others), leaves);
}

/// Under awsvpc, `hostPort` always equals `containerPort`.
fn is_default_host_port(
    key: &str,
    value: &Value,
    members: &serde_json::Map<String, Value>,
) -> bool {
    key == "hostPort" && members.get("containerPort") == Some(value)
}

/// Whether ECS fills in this value by itself.
fn is_default(path: &KeyPath, value: &Value) -> bool {
    let keys: Vec<&str> = path.iter().filter_map(Segment::key).collect();
    match value {
        Value::Null => true,
        Value::String(text) if text.is_empty() => true,
        // The only flag that is true by default.
        Value::Bool(false) => keys.last() != Some(&"essential"),
        _ => {
            let (keys, text) = (keys.join("."), value.to_string());
            DEFAULTS
                .iter()
                .any(|(end, default)| keys.ends_with(end) && text == *default)
        }
    }
}

/// The container that a path is in.
fn container(path: &KeyPath) -> Option<&str> {
    match path.as_slice() {
        [Segment::Key(list), Segment::Named(name), ..] if list == CONTAINERS => Some(name),
        _ => None,
    }
}

/// The path for people: keys joined by dots, names by spaces. A single container is omitted unless
/// its key also exists on the task: `memory` is of the task, `container NAME memory` of the
/// container.
fn describe(path: &KeyPath, one_container: bool) -> String {
    let mut words = String::new();
    let mut rest = path.as_slice();
    if let Some(name) = container(path) {
        rest = &path[2..];
        let key = rest.first().and_then(Segment::key);
        if !one_container || key.is_none_or(is_definition_key) {
            words = format!("container {name}");
        }
    }
    for (index, step) in rest.iter().enumerate() {
        let after_key = index > 0 && rest[index - 1].key().is_some();
        if !words.is_empty() {
            words.push(if after_key && step.key().is_some() {
                '.'
            } else {
                ' '
            });
        }
        words.push_str(step.name());
    }
    words
}

/// One side for people. A credential is replaced by `(not shown)`.
fn show(path: &KeyPath, value: &Value, other: Option<&Value>) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    let keys: Vec<&str> = path.iter().filter_map(Segment::key).collect();
    let name = path.last().map_or("", Segment::name);
    let is_reference = keys.iter().any(|key| REFERENCES.contains(key));
    if !is_reference && is_credential(name, &text) {
        return "(not shown)".to_owned();
    }
    if keys == [CONTAINERS, "image"] {
        return short_image(&text, other.and_then(Value::as_str));
    }
    text
}

/// Shortens the digest, and omits the repository where both sides have the same.
fn short_image(image: &str, other: Option<&str>) -> String {
    const DIGEST_SHOWN: usize = "sha256:".len() + 12;
    let Some((repository, digest)) = image.split_once('@') else {
        return image.to_owned();
    };
    let digest = digest.get(..DIGEST_SHOWN).unwrap_or(digest);
    match other.and_then(|other| other.split_once('@')) {
        Some((same, _)) if same == repository => digest.to_owned(),
        _ => format!("{repository}@{digest}"),
    }
}

#[cfg(test)]
mod tests;
