//! How two definitions differ, as a plan tells it. What ECS adds to a registered definition by
//! itself is no difference, and values that look secret are not shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::decide::definition::Definition;
use crate::decide::definition::credential::is_credential;
use crate::decide::definition::keys::{READ_ONLY, is_of_the_definition};

/// One place that differs. `None` is "not there".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `environment LOG_LEVEL`, `healthCheck.interval`
    pub place: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        write!(
            formatter,
            "{}: {} -> {}",
            self.place,
            side(&self.before),
            side(&self.after)
        )
    }
}

/// What changes from one definition to the other, sorted by place. Either may be one that
/// `DescribeTaskDefinition` answered.
pub fn diff(before: Option<&Definition>, after: &Definition) -> Vec<Change> {
    let before = before.map(leaves).unwrap_or_default();
    let after = leaves(after);
    let places: BTreeSet<&Place> = before.keys().chain(after.keys()).collect();
    let containers: BTreeSet<&str> = places.iter().filter_map(|place| container(place)).collect();
    let change = |place: &Place| {
        let (before, after) = (before.get(place), after.get(place));
        (before != after).then(|| Change {
            place: describe(place, containers.len() == 1),
            before: before.map(|value| show(place, value, after)),
            after: after.map(|value| show(place, value, before)),
        })
    };
    places.into_iter().filter_map(change).collect()
}

/// The way to a value: keys, and the names of what is in lists.
type Place = Vec<Step>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Named(String),
}

impl Step {
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

/// Lists of names of secrets: what they refer to may be shown.
const REFERENCES: [&str; 2] = ["secrets", "secretOptions"];

/// Lists whose order means nothing, and what their items are known by.
const NAMED: [(&str, &str); 14] = [
    ("containerDefinitions", "name"),
    ("dependsOn", "containerName"),
    ("environment", "name"),
    ("environmentFiles", "value"),
    ("extraHosts", "hostname"),
    ("mountPoints", "containerPath"),
    ("portMappings", "containerPort"),
    ("resourceRequirements", "type"),
    ("secretOptions", "name"),
    ("secrets", "name"),
    ("systemControls", "namespace"),
    ("tags", "key"),
    ("ulimits", "name"),
    ("volumes", "name"),
];

/// Items of these lists have nothing but a name and this.
const ONLY_VALUES: [&str; 2] = ["value", "valueFrom"];

/// What ECS answers where nothing was said, by the end of its place.
const DEFAULTS: [(&str, &str); 6] = [
    ("containerDefinitions.cpu", "0"),
    ("containerDefinitions.essential", "true"),
    ("healthCheck.interval", "30"),
    ("healthCheck.timeout", "5"),
    ("healthCheck.retries", "3"),
    ("portMappings.protocol", "\"tcp\""),
];

/// Every value that says something, by its place.
fn leaves(definition: &Definition) -> BTreeMap<Place, Value> {
    let mut leaves = BTreeMap::new();
    let members = definition.0.as_object().into_iter().flatten();
    for (key, value) in members {
        // The tags of a revision are not in its definition when ECS answers it.
        if !READ_ONLY.contains(&key.as_str()) && key != "tags" {
            collect(&mut vec![Step::Key(key.clone())], value, &mut leaves);
        }
    }
    leaves
}

fn collect(place: &mut Place, value: &Value, leaves: &mut BTreeMap<Place, Value>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                if !is_host_port_like_its_own(key, member, members) {
                    place.push(Step::Key(key.clone()));
                    collect(place, member, leaves);
                    place.pop();
                }
            }
        }
        Value::Array(items) => collect_items(place, items, leaves),
        scalar => {
            if !is_default(place, scalar) {
                leaves.insert(place.clone(), scalar.clone());
            }
        }
    }
}

fn collect_items(place: &mut Place, items: &[Value], leaves: &mut BTreeMap<Place, Value>) {
    let list = place.last().and_then(Step::key).unwrap_or_default();
    let identity = NAMED
        .iter()
        .find(|(known, _)| *known == list)
        .map(|(_, identity)| *identity);
    if let Some(identity) = identity {
        for item in items {
            let name = item.get(identity).unwrap_or(&Value::Null);
            place.push(Step::Named(
                name.as_str()
                    .map_or_else(|| name.to_string(), str::to_owned),
            ));
            collect_item(place, identity, item, leaves);
            place.pop();
        }
    } else if !items.is_empty() {
        leaves.insert(place.clone(), Value::Array(items.to_vec()));
    }
}

/// An item of a named list; its name is in the place already. An item of which nothing is said
/// but its name is still there.
fn collect_item(
    place: &mut Place,
    identity: &str,
    item: &Value,
    leaves: &mut BTreeMap<Place, Value>,
) {
    let Some(members) = item.as_object() else {
        return;
    };
    let mut others = members.clone();
    others.remove(identity);
    let only = ONLY_VALUES.iter().find_map(|key| others.get(*key));
    if let (Some(value), 1) = (only, others.len()) {
        leaves.insert(place.clone(), value.clone());
        return;
    }
    leaves.insert(place.clone(), Value::from("there"));
    others.retain(|key, member| !is_host_port_like_its_own(key, member, members));
    collect(place, &Value::Object(others), leaves);
}

/// Under awsvpc the host's port is the container's, said or not.
fn is_host_port_like_its_own(
    key: &str,
    value: &Value,
    members: &serde_json::Map<String, Value>,
) -> bool {
    key == "hostPort" && members.get("containerPort") == Some(value)
}

/// Whether ECS would answer this value where nothing was said.
fn is_default(place: &Place, value: &Value) -> bool {
    let keys: Vec<&str> = place.iter().filter_map(Step::key).collect();
    match value {
        Value::Null => true,
        Value::String(text) if text.is_empty() => true,
        // Of all flags only this one is true where nothing is said.
        Value::Bool(false) => keys.last() != Some(&"essential"),
        _ => {
            let (keys, text) = (keys.join("."), value.to_string());
            DEFAULTS
                .iter()
                .any(|(end, default)| keys.ends_with(end) && text == *default)
        }
    }
}

/// The container that a place is in.
fn container(place: &Place) -> Option<&str> {
    match place.as_slice() {
        [Step::Key(list), Step::Named(name), ..] if list == CONTAINERS => Some(name),
        _ => None,
    }
}

/// Keys are joined by dots, names by spaces. The only container is left out where the key says
/// enough: `memory` is the task's and `container axon memory` the container's.
fn describe(place: &Place, one_container: bool) -> String {
    let mut words = String::new();
    let mut rest = place.as_slice();
    if let Some(name) = container(place) {
        rest = &place[2..];
        let key = rest.first().and_then(Step::key);
        if !one_container || key.is_none_or(is_of_the_definition) {
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

/// One side as people read it; what looks secret is told to differ, and not shown.
fn show(place: &Place, value: &Value, other: Option<&Value>) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    let keys: Vec<&str> = place.iter().filter_map(Step::key).collect();
    let name = place.last().map_or("", Step::name);
    let is_reference = keys.iter().any(|key| REFERENCES.contains(key));
    if !is_reference && is_credential(name, &text) {
        return "(not shown)".to_owned();
    }
    if keys == [CONTAINERS, "image"] {
        return short_image(&text, other.and_then(Value::as_str));
    }
    text
}

/// The first digits of a digest are enough for people, and where the repository stays the same
/// it is left out.
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
