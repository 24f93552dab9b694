//! Task definitions as JSON values, from the template to what is registered. `node` and `container`
//! read them, `model` has what ECS accepts.

pub mod container;
pub mod credential;
pub mod diff;
pub mod document;
pub mod lint;
pub mod model;
pub mod node;
pub mod render;
pub mod run_options;
pub mod settings;
pub mod strict;

use serde_json::Value;
use sha2::{Digest, Sha256};

use container::ContainerDefinition;
use node::Node;
use strict::JsonError;

/// A template with every placeholder filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition(pub Value);

impl Definition {
    /// Parses a rendered definition. `file` is only named in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, JsonError> {
        strict::parse_object(file, text).map(Self)
    }

    pub fn family(&self) -> &str {
        self.root().text("family").unwrap_or_default()
    }

    /// The image of the first container; definitions of this repository have one container.
    pub fn image(&self) -> Option<&str> {
        self.container()?.image()
    }

    pub fn root(&self) -> Node<'_> {
        Node::root(&self.0)
    }

    pub fn containers(&self) -> Vec<ContainerDefinition<'_>> {
        self.root()
            .items("containerDefinitions")
            .into_iter()
            .filter(|item| item.value.is_object())
            .map(ContainerDefinition)
            .collect()
    }

    /// The first container; definitions of this repository have one container.
    pub fn container(&self) -> Option<ContainerDefinition<'_>> {
        self.containers().into_iter().next()
    }

    /// The definition without the keys that only `DescribeTaskDefinition` returns.
    #[must_use]
    pub fn registrable(mut self) -> Self {
        if let Some(members) = self.0.as_object_mut() {
            members.retain(|key, _| !model::READ_ONLY.contains(&key.as_str()));
        }
        self
    }

    /// SHA-256 of the definition as 64 hexadecimal digits. Object keys are sorted first, so their
    /// order does not matter.
    pub fn sha256(&self) -> String {
        let mut text = String::new();
        write_canonical(&self.0, &mut text);
        hex::encode(Sha256::digest(text))
    }
}

/// JSON without whitespace and with sorted keys. They are sorted here because the maps of
/// `serde_json` keep the order of the text if any crate of the build enables `preserve_order`.
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

#[cfg(test)]
pub mod testing {
    //! A definition that no lint rule finds fault with.

    use super::*;
    use crate::catalog::Service;
    use crate::catalog::testing::{AXON, catalog};
    use crate::decide::definition::render;
    use crate::decide::outputs;

    /// The template of axon.
    pub const AXON_TEMPLATE: &str = include_str!("../../../task-definitions/axon.json");
    /// The template of orbit.
    pub const ORBIT_TEMPLATE: &str = include_str!("../../../task-definitions/orbit.json");

    /// An image name as the local outputs have it.
    pub fn image(service: Service) -> String {
        format!(
            "localhost:4577/demo/{service}@sha256:{}",
            "0123456789abcdef".repeat(4)
        )
    }

    /// A service's definition, rendered for the local outputs.
    pub fn definition(service: Service) -> Definition {
        let (outputs, _) = outputs::parse(outputs::testing::LOCAL).unwrap();
        let template = if service == AXON {
            AXON_TEMPLATE
        } else {
            ORBIT_TEMPLATE
        };
        let catalog = catalog();
        let entry = catalog.service(service).unwrap();
        let values = render::values(entry, &outputs, &image(service));
        let extra = &outputs.service(service).environment;
        render::render(&service.template(), template, &values, extra).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hash_ignores_the_order_of_keys() {
        let text = r#"{ "family": "a", "cpu": "256", "containerDefinitions": [{"b": "\"", "a": [1, null]}] }"#;
        let definition = Definition::parse("x.json", text).unwrap();
        let sorted =
            r#"{"containerDefinitions":[{"a":[1,null],"b":"\""}],"cpu":"256","family":"a"}"#;
        assert_eq!(definition.sha256(), hex::encode(Sha256::digest(sorted)));
    }

    #[test]
    fn another_value_has_another_hash() {
        let one = Definition(json!({ "family": "a" }));
        assert_ne!(one.sha256(), Definition(json!({ "family": "b" })).sha256());
    }
}
