//! The structure of `RegisterTaskDefinition` by ECS's own API model: keys, types, required members,
//! enumerations, ranges. `model/derive.py` derives the table. The SDK drops unknown keys silently,
//! so they are checked here.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;
use strsim::levenshtein;

use super::node::Node;

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

/// Members that the API model calls optional, and without which ECS refuses the definition.
const REQUIRED: [(&str, &[&str]); 7] = [
    ("ContainerDefinition", &["name", "image"]),
    ("KeyValuePair", &["name"]),
    ("MountPoint", &["sourceVolume", "containerPath"]),
    ("SystemControl", &["namespace", "value"]),
    ("Tag", &["key"]),
    ("Volume", &["name"]),
    ("VolumeFrom", &["sourceContainer"]),
];

/// Longer keys are no misspelling of a known one.
const KEY_LENGTH_MAX: usize = 64;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let file: ModelFile = serde_json::from_str(include_str!("model/register-task-definition.json"))
        .expect("a test parses the table");
    Model::of(file)
});

impl Model {
    fn of(file: ModelFile) -> Self {
        let names = file.shapes.keys().cloned();
        let indexes: BTreeMap<String, usize> = names.zip(0..).collect();
        let mut shapes: Vec<Shape> = file.shapes.into_values().collect();
        for shape in &mut shapes {
            let members = shape.members.iter();
            let members =
                members.filter_map(|(key, name)| Some((key.clone(), *indexes.get(name)?)));
            shape.member_indexes = members.collect();
            let item = shape.item.as_ref();
            shape.item_index = item.and_then(|name| indexes.get(name).copied());
        }
        for (name, keys) in REQUIRED {
            if let Some(index) = indexes.get(name) {
                let keys = keys.iter().map(|key| (*key).to_owned());
                shapes[*index].required.extend(keys);
            }
        }
        Self {
            root: indexes[&file.root],
            shapes,
            indexes,
        }
    }

    fn shape(&self, name: &str) -> Option<&Shape> {
        Some(&self.shapes[*self.indexes.get(name)?])
    }
}

#[derive(Debug)]
struct Model {
    root: usize,
    shapes: Vec<Shape>,
    indexes: BTreeMap<String, usize>,
}

/// As it stands in the file: shapes name each other.
#[derive(Debug, Deserialize)]
struct ModelFile {
    root: String,
    shapes: BTreeMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
struct Shape {
    #[serde(rename = "type")]
    kind: ShapeKind,
    #[serde(default)]
    required: Vec<String>,
    /// The shape of each member, by its name.
    #[serde(default)]
    members: BTreeMap<String, String>,
    /// The shape of what a list or a map holds.
    item: Option<String>,
    /// The same by their places in the table.
    #[serde(skip)]
    member_indexes: BTreeMap<String, usize>,
    #[serde(skip)]
    item_index: Option<usize>,
    #[serde(default, rename = "enum")]
    choices: Vec<String>,
    min: Option<i64>,
    max: Option<i64>,
    pattern: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ShapeKind {
    Structure,
    List,
    Map,
    String,
    Integer,
    Boolean,
}

/// A place where a definition is not as the API model wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFault {
    pub json_path: String,
    pub kind: ModelFaultKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFaultKind {
    Unknown {
        key: String,
        /// The known key that was probably meant.
        nearest: Option<&'static str>,
    },
    Type {
        expected: &'static str,
    },
    Missing,
    /// Not one of the values that the model lists.
    Choice {
        value: String,
        choices: &'static [String],
        nearest: Option<&'static str>,
    },
    /// A number, or the length of a text or of a list, outside its range.
    Range {
        found: i64,
        least: Option<i64>,
        most: Option<i64>,
    },
    Characters {
        pattern: &'static str,
    },
}

/// Every place that differs from the model. Read-only keys count as known: another rule reports
/// them.
pub fn faults(definition: &Node<'_>) -> Vec<ModelFault> {
    let mut faults = Vec::new();
    check(definition, &MODEL.shapes[MODEL.root], &mut faults);
    faults
}

/// Whether this is a key of the definition itself, not of a container.
pub fn is_definition_key(key: &str) -> bool {
    MODEL.shapes[MODEL.root].members.contains_key(key)
}

/// The values that the model lists for a shape.
pub fn choices(shape: &str) -> &'static [String] {
    let shape = MODEL.shape(shape);
    shape
        .map(|shape| shape.choices.as_slice())
        .unwrap_or_default()
}

fn check(node: &Node<'_>, shape: &'static Shape, faults: &mut Vec<ModelFault>) {
    let mut tell = |kind| {
        let json_path = node.json_path();
        faults.push(ModelFault { json_path, kind });
    };
    match (shape.kind, node.value) {
        (ShapeKind::Structure, Value::Object(_)) => check_members(node, shape, faults),
        (ShapeKind::List, Value::Array(items)) => {
            if let Some(kind) = out_of_range(shape, length(items.len())) {
                tell(kind);
            }
            check_items(node.elements(), shape, faults);
        }
        (ShapeKind::Map, Value::Object(_)) => {
            let members = node.members().into_iter().map(|(_, member)| member);
            check_items(members.collect(), shape, faults);
        }
        (ShapeKind::String, Value::String(text)) => {
            if let Some(kind) = wrong_text(shape, text) {
                tell(kind);
            }
        }
        (ShapeKind::Integer, Value::Number(number)) if !number.is_f64() => {
            // Every integer of the API has 32 bits.
            let found = number.as_i64().unwrap_or(i64::MAX);
            let whole = i64::from(i32::MIN)..=i64::from(i32::MAX);
            let (least, most) = (Some(*whole.start()), Some(*whole.end()));
            let kind = out_of_range(shape, found).or_else(|| {
                (!whole.contains(&found)).then_some(ModelFaultKind::Range { found, least, most })
            });
            if let Some(kind) = kind {
                tell(kind);
            }
        }
        (ShapeKind::Boolean, Value::Bool(_)) => {}
        (kind, _) => {
            let expected = match kind {
                ShapeKind::Structure => "an object",
                ShapeKind::List => "a list",
                ShapeKind::Map => "an object of strings",
                ShapeKind::String => "a string",
                ShapeKind::Integer => "a whole number",
                ShapeKind::Boolean => "true or false",
            };
            tell(ModelFaultKind::Type { expected });
        }
    }
}

fn check_items(items: Vec<Node<'_>>, shape: &'static Shape, faults: &mut Vec<ModelFault>) {
    if let Some(index) = shape.item_index {
        for item in items {
            check(&item, &MODEL.shapes[index], faults);
        }
    }
}

fn check_members(node: &Node<'_>, shape: &'static Shape, faults: &mut Vec<ModelFault>) {
    let is_root = node.steps().is_empty();
    for (key, member) in node.members() {
        match shape.member_indexes.get(key) {
            Some(_) if member.value.is_null() => {}
            Some(index) => check(&member, &MODEL.shapes[*index], faults),
            None if is_root && READ_ONLY.contains(&key) => {}
            None => {
                let kind = ModelFaultKind::Unknown {
                    key: key.to_owned(),
                    nearest: nearest(key, shape.members.keys()),
                };
                faults.push(ModelFault {
                    json_path: member.json_path(),
                    kind,
                });
            }
        }
    }
    for key in &shape.required {
        if node.member(key).is_none() {
            faults.push(ModelFault {
                json_path: node.path_of(key),
                kind: ModelFaultKind::Missing,
            });
        }
    }
}

fn wrong_text(shape: &'static Shape, text: &str) -> Option<ModelFaultKind> {
    if !shape.choices.is_empty() && !shape.choices.iter().any(|choice| choice == text) {
        return Some(ModelFaultKind::Choice {
            value: text.to_owned(),
            choices: &shape.choices,
            nearest: nearest(text, shape.choices.iter()),
        });
    }
    if let Some(kind) = out_of_range(shape, length(text.chars().count())) {
        return Some(kind);
    }
    let pattern = shape.pattern.as_deref()?;
    let class = character_class(pattern)?;
    let fits = text.chars().all(|letter| in_class(class, letter));
    (!fits).then_some(ModelFaultKind::Characters { pattern: class })
}

/// The members of the only form of pattern that the model has: `([...]*)`.
fn character_class(pattern: &str) -> Option<&str> {
    pattern.strip_prefix("([")?.strip_suffix("]*)")
}

fn in_class(class: &str, letter: char) -> bool {
    let of_category = |category: &str, is: bool| is && class.contains(category);
    of_category("\\p{L}", letter.is_alphabetic())
        || of_category("\\p{N}", letter.is_numeric())
        || of_category("\\p{Z}", letter.is_whitespace() && !letter.is_control())
        || (letter.is_ascii_punctuation() && !"\\{}".contains(letter) && class.contains(letter))
}

fn out_of_range(shape: &Shape, found: i64) -> Option<ModelFaultKind> {
    let (least, most) = (shape.min, shape.max);
    let fits = least.is_none_or(|least| found >= least) && most.is_none_or(|most| found <= most);
    (!fits).then_some(ModelFaultKind::Range { found, least, most })
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The known word with the smallest edit distance, if that is at most a third of its length.
fn nearest(word: &str, known: impl Iterator<Item = &'static String>) -> Option<&'static str> {
    if word.len() > KEY_LENGTH_MAX {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let ranked = known.map(|name| (levenshtein(&lower, &name.to_ascii_lowercase()), name));
    let (distance, name) = ranked.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= name.len()).then_some(name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults_of(value: &Value) -> Vec<(String, ModelFaultKind)> {
        faults(&Node::root(value))
            .into_iter()
            .map(|fault| (fault.json_path, fault.kind))
            .filter(|(_, kind)| *kind != ModelFaultKind::Missing)
            .collect()
    }

    #[test]
    fn every_shape_and_every_pattern_of_the_table_is_understood() {
        assert!(MODEL.shapes.len() > 80);
        for (name, index) in &MODEL.indexes {
            let shape = &MODEL.shapes[*index];
            let children = shape.members.values().chain(&shape.item);
            for child in children {
                assert!(MODEL.shape(child).is_some(), "{name}: {child}");
            }
            if let Some(pattern) = &shape.pattern {
                assert!(character_class(pattern).is_some(), "{name}: {pattern}");
            }
        }
        let known = |name: &str| MODEL.shape(name).is_some();
        assert!(REQUIRED.iter().all(|(name, _)| known(name)));
        assert!(is_definition_key("family") && !is_definition_key("image"));
    }

    #[test]
    fn an_unknown_key_is_found_at_any_depth_with_a_suggestion() {
        let value = json!({
            "containerDefinitions": [{ "healthcheck": {}, "logConfiguration": { "option": {} } }],
            "colour": "blue",
            "status": "ACTIVE",
        });
        let unknown = |key: &str, nearest| ModelFaultKind::Unknown {
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

    #[test]
    fn values_have_the_choices_ranges_and_characters_of_the_model() {
        let kinds = |value: Value| -> Vec<ModelFaultKind> {
            faults_of(&value)
                .into_iter()
                .map(|(_, kind)| kind)
                .collect()
        };
        let range = |found, least, most| ModelFaultKind::Range { found, least, most };
        let tag = |key: &str| json!({ "tags": [{ "key": key, "value": "" }] });
        assert_eq!(kinds(tag("a b/c:é=1")), []);
        assert_eq!(kinds(tag("")), [range(0, Some(1), Some(128))]);
        assert!(matches!(
            kinds(tag("a#"))[..],
            [ModelFaultKind::Characters { .. }]
        ));
        let port = |port: i64| json!({ "ephemeralStorage": { "sizeInGiB": port } });
        assert_eq!(kinds(port(i64::from(i32::MAX))), []);
        assert_eq!(kinds(port(1 << 40)).len(), 1);
        let mode = json!({ "networkMode": "AWSVPC" });
        assert!(matches!(
            kinds(mode)[..],
            [ModelFaultKind::Choice {
                nearest: Some("awsvpc"),
                ..
            }]
        ));
    }
}
