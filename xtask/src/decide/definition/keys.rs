//! The one table of the keys that ECS's `RegisterTaskDefinition` takes, and of their types.
//! Whoever sends a key that is not here loses it without a word.

mod table;

use serde_json::Value;

use super::node::Node;
use Shape::{Flag, ListOfNumber, ListOfText, Many, Number, One, Text, Texts};
use table::DEFINITION;

/// What `DescribeTaskDefinition` adds to what was registered. Nobody can register these.
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

/// A key that ECS does not take, or takes with another type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFault {
    pub place: String,
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

/// Every key of a definition that the table does not have, and every value of another type.
/// Read-only keys are known here: they are no misspelling.
pub fn faults(definition: &Node<'_>) -> Vec<KeyFault> {
    let mut faults = Vec::new();
    check(definition, &One(DEFINITION), &mut faults);
    faults
}

/// Whether this key exists for a whole definition, outside of its containers.
pub fn is_of_the_definition(key: &str) -> bool {
    DEFINITION.iter().any(|(known, _)| *known == key)
}

type Members = &'static [(&'static str, Shape)];

enum Shape {
    Text,
    Number,
    Flag,
    ListOfText,
    ListOfNumber,
    /// Names of the user's choice, with a text each.
    Texts,
    One(Members),
    Many(Members),
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
            place: node.place.clone(),
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

fn check_members(node: &Node<'_>, known: Members, faults: &mut Vec<KeyFault>) {
    let is_root = node.place.is_empty();
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
                    place: member.place,
                    kind,
                });
            }
        }
    }
}

/// The known key that differs from this one in at most a third of its letters.
fn nearest(key: &str, known: Members) -> Option<&'static str> {
    let lower = key.to_ascii_lowercase();
    let ranked = known
        .iter()
        .map(|(name, _)| (distance(&lower, &name.to_ascii_lowercase()), *name));
    let (distance, name) = ranked.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= name.len()).then_some(name)
}

/// How many letters must be put in, taken out or replaced to make one word of the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, left) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, right) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults_of(value: &Value) -> Vec<(String, KeyFaultKind)> {
        faults(&Node::root(value))
            .into_iter()
            .map(|fault| (fault.place, fault.kind))
            .collect()
    }

    #[test]
    fn an_unknown_key_is_found_at_any_depth_with_what_was_meant() {
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
    fn a_value_of_another_type_is_found() {
        let value = json!({ "cpu": 256, "family": null, "containerDefinitions": [{ "essential": "true" }] });
        let mut places: Vec<String> = faults_of(&value)
            .into_iter()
            .map(|(place, _)| place)
            .collect();
        places.sort();
        assert_eq!(places, ["containerDefinitions[0].essential", "cpu"]);
    }

    #[test]
    fn the_distance_counts_letters() {
        let table = [
            ("", "", 0),
            ("a", "", 1),
            ("portmapping", "portmappings", 1),
            ("stop", "spot", 2),
        ];
        for (from, to, expected) in table {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }
}
