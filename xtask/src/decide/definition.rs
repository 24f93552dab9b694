//! A task definition as a JSON value, all the way from its template to ECS.
//! What it is made of is read through nodes and containers; one table of keys checks its names.

pub mod alone;
pub mod container;
pub mod credential;
pub mod diff;
pub mod keys;
pub mod lint;
pub mod node;
pub mod place;
pub mod render;
pub mod strict;

use serde_json::Value;
use sha2::{Digest, Sha256};

use container::Container;
use node::Node;
use strict::NotJson;

/// A template with every placeholder filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition(pub Value);

impl Definition {
    /// Reads an already rendered definition; `file` is for the error alone.
    pub fn parse(file: &str, text: &str) -> Result<Self, NotJson> {
        strict::parse_object(file, text).map(Self)
    }

    pub fn family(&self) -> &str {
        self.root().text("family").unwrap_or_default()
    }

    /// The image of the first container: a definition of ours has one.
    pub fn image(&self) -> Option<&str> {
        self.container()?.image()
    }

    pub fn root(&self) -> Node<'_> {
        Node::root(&self.0)
    }

    pub fn containers(&self) -> Vec<Container<'_>> {
        self.root()
            .items("containerDefinitions")
            .into_iter()
            .map(Container)
            .collect()
    }

    /// The first container: a definition of ours has one.
    pub fn container(&self) -> Option<Container<'_>> {
        self.containers().into_iter().next()
    }

    /// A definition that `DescribeTaskDefinition` answered, as it can be registered anew.
    #[must_use]
    pub fn registrable(mut self) -> Self {
        if let Some(members) = self.0.as_object_mut() {
            members.retain(|key, _| !keys::READ_ONLY.contains(&key.as_str()));
        }
        self
    }

    /// SHA-256 (hex) of the definition: objects are written with their keys in order, so two
    /// definitions with the same meaning have the same hash.
    pub fn sha256(&self) -> String {
        let mut text = String::new();
        write_canonical(&self.0, &mut text);
        hex(&Sha256::digest(text))
    }
}

/// JSON without space and with the keys of every object sorted. Sorted here and not by
/// `serde_json`, whose maps keep the order of the text as soon as any crate of the build says so.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_canonical(member, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            text
        })
}

#[cfg(test)]
pub mod testing {
    //! A definition of which every rule approves.

    use super::*;
    use crate::catalog::Service;
    use crate::decide::definition::render;
    use crate::decide::outputs;

    /// Axon's template of this repository.
    pub const AXON: &str = include_str!("../../../task-definitions/axon.json");
    /// Orbit's template of this repository.
    pub const ORBIT: &str = include_str!("../../../task-definitions/orbit.json");

    /// An image's name as the local outputs has it.
    pub fn image(service: Service) -> String {
        format!(
            "localhost:4577/demo/{service}@sha256:{}",
            "0123456789abcdef".repeat(4)
        )
    }

    /// A service's definition, rendered for the local outputs.
    pub fn definition(service: Service) -> Definition {
        let (outputs, _) = outputs::parse(outputs::testing::LOCAL).unwrap();
        let template = if service == Service::Axon {
            AXON
        } else {
            ORBIT
        };
        let values = render::values(service, &outputs, &image(service));
        let extra = &outputs.service(service).environment;
        render::render(&service.template(), template, &values, extra).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_sorted_text() {
        let text = r#"{ "family": "a", "cpu": "256", "containerDefinitions": [{"b": "\"", "a": [1, null]}] }"#;
        let definition = Definition::parse("x.json", text).unwrap();
        let sorted =
            r#"{"containerDefinitions":[{"a":[1,null],"b":"\""}],"cpu":"256","family":"a"}"#;
        assert_eq!(definition.sha256(), hex(&Sha256::digest(sorted)));
    }

    #[test]
    fn another_value_has_another_hash() {
        let one = Definition(json!({ "family": "a" }));
        assert_ne!(one.sha256(), Definition(json!({ "family": "b" })).sha256());
    }
}
