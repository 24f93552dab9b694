//! The keys that `RegisterTaskDefinition` accepts, and their types. The SDK drops unknown keys
//! silently, so they are checked here.

mod table;

use serde_json::Value;
use strsim::levenshtein;

use super::node::Node;
use Shape::{Flag, ListOfNumber, ListOfText, Many, Number, One, Text, Texts};
use table::DEFINITION;

/// Keys that `DescribeTaskDefinition` returns and `RegisterTaskDefinition` rejects.
pub const READ_ONLY: [&str; 9] = [
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
    "deleteRequestedAt",
];

/// A key that ECS does not know, or a value of the wrong type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFault {
    pub json_path: String,
    pub kind: KeyFaultKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFaultKind {
    Unknown {
        key: String,
        /// The known key that was probably meant.
        nearest: Option<&'static str>,
    },
    Type {
        expected: &'static str,
    },
}

/// Every unknown key, and every value of the wrong type. Read-only keys count as known: another
/// rule reports them.
pub fn faults(definition: &Node<'_>) -> Vec<KeyFault> {
    let mut faults = Vec::new();
    check(definition, &One(DEFINITION), &mut faults);
    faults
}

/// Whether this is a key of the definition itself, not of a container.
pub fn is_definition_key(key: &str) -> bool {
    DEFINITION.iter().any(|(known, _)| *known == key)
}

type KeyTable = &'static [(&'static str, Shape)];

enum Shape {
    Text,
    Number,
    Flag,
    ListOfText,
    ListOfNumber,
    /// An object with arbitrary keys and string values.
    Texts,
    One(KeyTable),
    Many(KeyTable),
}

impl Shape {
    fn name(&self) -> &'static str {
        match self {
            Text => "a string",
            Number => "a whole number",
            Flag => "true or false",
            ListOfText => "a list of strings",
            ListOfNumber => "a list of whole numbers",
            Texts => "an object of strings",
            One(_) => "an object",
            Many(_) => "a list of objects",
        }
    }
}

fn check(node: &Node<'_>, shape: &Shape, faults: &mut Vec<KeyFault>) {
    let every = |accepted: fn(&Value) -> bool| {
        node.value
            .as_array()
            .is_some_and(|items| items.iter().all(accepted))
    };
    let fits = match shape {
        Text => node.value.is_string(),
        Number => node.value.is_i64(),
        Flag => node.value.is_boolean(),
        ListOfText => every(Value::is_string),
        ListOfNumber => every(Value::is_i64),
        Texts => node
            .value
            .as_object()
            .is_some_and(|members| members.values().all(Value::is_string)),
        One(_) => node.value.is_object(),
        Many(_) => every(Value::is_object),
    };
    if !fits {
        let kind = KeyFaultKind::Type {
            expected: shape.name(),
        };
        faults.push(KeyFault {
            json_path: node.json_path.clone(),
            kind,
        });
        return;
    }
    match shape {
        One(members) => check_members(node, members, faults),
        Many(members) => {
            for item in node.elements() {
                check_members(&item, members, faults);
            }
        }
        _ => {}
    }
}

fn check_members(node: &Node<'_>, known: KeyTable, faults: &mut Vec<KeyFault>) {
    let is_root = node.json_path.is_empty();
    for (key, member) in node.members() {
        match known.iter().find(|(name, _)| *name == key) {
            Some(_) if member.value.is_null() => {}
            Some((_, shape)) => check(&member, shape, faults),
            None if is_root && READ_ONLY.contains(&key) => {}
            None => {
                let kind = KeyFaultKind::Unknown {
                    key: key.to_owned(),
                    nearest: nearest(key, known),
                };
                faults.push(KeyFault {
                    json_path: member.json_path,
                    kind,
                });
            }
        }
    }
}

/// The known key with the smallest edit distance, if that is at most a third of its length.
fn nearest(key: &str, known: KeyTable) -> Option<&'static str> {
    let lower = key.to_ascii_lowercase();
    let ranked = known
        .iter()
        .map(|(name, _)| (levenshtein(&lower, &name.to_ascii_lowercase()), *name));
    let (distance, name) = ranked.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= name.len()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults_of(value: &Value) -> Vec<(String, KeyFaultKind)> {
        faults(&Node::root(value))
            .into_iter()
            .map(|fault| (fault.json_path, fault.kind))
            .collect()
    }

    #[test]
    fn an_unknown_key_is_found_at_any_depth_with_a_suggestion() {
        let value = json!({
            "containerDefinitions": [{ "healthcheck": {}, "logConfiguration": { "option": {} } }],
            "colour": "blue",
            "status": "ACTIVE",
        });
        let unknown = |key: &str, nearest| KeyFaultKind::Unknown {
            key: key.to_owned(),
            nearest,
        };
        let mut found = faults_of(&value);
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let container = "containerDefinitions[0]";
        let expected = [
            ("colour".to_owned(), unknown("colour", None)),
            (
                format!("{container}.healthcheck"),
                unknown("healthcheck", Some("healthCheck")),
            ),
            (
                format!("{container}.logConfiguration.option"),
                unknown("option", Some("options")),
            ),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_found() {
        let value = json!({ "cpu": 256, "family": null, "containerDefinitions": [{ "essential": "true" }] });
        let mut places: Vec<String> = faults_of(&value)
            .into_iter()
            .map(|(json_path, _)| json_path)
            .collect();
        places.sort();
        assert_eq!(places, ["containerDefinitions[0].essential", "cpu"]);
    }
}
