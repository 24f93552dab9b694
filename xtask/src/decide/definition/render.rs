//! Renders a template into a definition. Every placeholder needs a value, and every value has to be
//! used. Values are inserted into parsed JSON, so they cannot change its structure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::catalog::{Component, ServiceEntry};
use crate::decide::definition::Definition;
use crate::decide::definition::strict::{self, JsonError};
use crate::decide::outputs::Outputs;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("{file}: {}", list(.faults))]
    Faults {
        file: String,
        faults: Vec<RenderFault>,
    },
}

/// One service that template and values disagree on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderFault {
    #[error("no value for placeholder `${{{name}}}` ({})", .paths.join(", "))]
    Unfilled { name: String, paths: Vec<String> },
    #[error("unused value `{name}`")]
    Unused { name: String },
    #[error(
        "invalid placeholder `{text}` ({path}): a name has A-Z, 0-9 and _ only; write `$${{` for a literal `${{`"
    )]
    Malformed { text: String, path: String },
    #[error("`{name}` is set by the environment and is a secret of the template ({path})")]
    Secret { name: String, path: String },
    #[error("no container to add the settings of the environment to")]
    NoContainer,
}

fn list(faults: &[RenderFault]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Renders the template, which is the text of `file`. `extra_environment` is added to the variables
/// of the first container, or replaces them.
pub fn render(
    file: &str,
    template: &str,
    values: &BTreeMap<String, String>,
    extra_environment: &BTreeMap<String, String>,
) -> Result<Definition, RenderError> {
    let mut value = strict::parse_object(file, template)?;
    let mut expansion = Expansion {
        values,
        used: BTreeSet::new(),
        unfilled: BTreeMap::new(),
        faults: Vec::new(),
    };
    expansion.fill(&mut value, "");
    let mut faults = expansion.into_faults();
    faults.extend(set_environment(&mut value, extra_environment));
    if faults.is_empty() {
        Ok(Definition(value))
    } else {
        Err(RenderError::Faults {
            file: file.to_owned(),
            faults,
        })
    }
}

/// The value of each placeholder that a service's template has. Which there are follows from what
/// its entry says that it calls.
pub fn values(entry: &ServiceEntry, outputs: &Outputs, image: &str) -> BTreeMap<String, String> {
    let facts = outputs.service(entry.service);
    let own = Component::from(entry.service).prefix();
    let mut values: BTreeMap<String, String> = [
        ("PROJECT_NAME", outputs.name_prefix.as_str()),
        ("AWS_REGION", &outputs.region),
        ("ECS_EXECUTION_ROLE_ARN", &outputs.execution_role_arn),
        ("LOG_GROUP", &facts.log_group),
        ("CPU_ARCHITECTURE", outputs.architecture.ecs()),
        (&format!("{own}_ROLE_ARN"), &facts.task_role_arn),
        (&format!("{own}_SECRET_ARN"), &facts.secret_arn),
        (&format!("{own}_IMAGE"), image),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for call in &entry.calls {
        match call.target {
            Component::Service(_) => {
                values.insert("NAMESPACE".to_owned(), outputs.namespace.clone());
            }
            Component::Function(function) => {
                let name = format!("{}_FUNCTION_NAME", call.target.prefix());
                values.insert(name, outputs.function(function).qualified_name());
            }
        }
    }
    values
}

/// The state of rendering: the values that were used, and the placeholders without one.
struct Expansion<'a> {
    values: &'a BTreeMap<String, String>,
    used: BTreeSet<String>,
    /// Sorted, since the order of JSON keys depends on the features of `serde_json`.
    unfilled: BTreeMap<String, BTreeSet<String>>,
    faults: Vec<RenderFault>,
}

impl Expansion<'_> {
    fn fill(&mut self, value: &mut Value, path: &str) {
        match value {
            Value::String(text) => *text = self.expand(text, path),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.fill(item, &format!("{path}[{index}]"));
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    self.fill(member, &path);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Replaces `${NAME}` by its value and `$${` by a literal `${`; every other `$` stays.
    fn expand(&mut self, text: &str, path: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = after;
                continue;
            }
            filled.push_str(before);
            let (name, tail) = after.split_once('}').unwrap_or((after, ""));
            if after.contains('}') && is_name(name) {
                filled.push_str(self.value_of(name, path));
            } else {
                let text = format!("${{{}", &after[..after.len() - tail.len()]);
                self.faults.push(RenderFault::Malformed {
                    text,
                    path: path.to_owned(),
                });
            }
            rest = tail;
        }
        filled.push_str(rest);
        filled
    }

    fn value_of(&mut self, name: &str, path: &str) -> &str {
        if let Some(value) = self.values.get(name) {
            self.used.insert(name.to_owned());
            return value;
        }
        self.unfilled
            .entry(name.to_owned())
            .or_default()
            .insert(path.to_owned());
        ""
    }

    fn into_faults(self) -> Vec<RenderFault> {
        let unfilled = self
            .unfilled
            .into_iter()
            .map(|(name, paths)| RenderFault::Unfilled {
                name,
                paths: paths.into_iter().collect(),
            });
        let unused = self.values.keys().filter(|name| !self.used.contains(*name));
        let unused = unused.map(|name| RenderFault::Unused { name: name.clone() });
        unfilled.chain(unused).chain(self.faults).collect()
    }
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text.bytes().all(inner)
}

/// Adds the settings to the first container and sorts its variables, so that their order does not
/// change the hash of the definition.
fn set_environment(definition: &mut Value, extra: &BTreeMap<String, String>) -> Vec<RenderFault> {
    let Some(Value::Object(container)) = definition.pointer_mut("/containerDefinitions/0") else {
        return if extra.is_empty() {
            Vec::new()
        } else {
            vec![RenderFault::NoContainer]
        };
    };
    let name_of = |item: &Value| {
        item.get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let secrets = container
        .get("secrets")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let clashes = secrets
        .map(name_of)
        .enumerate()
        .filter(|(_, name)| extra.contains_key(name));
    let path = |index: usize| format!("containerDefinitions[0].secrets[{index}].name");
    let faults = clashes
        .map(|(index, name)| RenderFault::Secret {
            name,
            path: path(index),
        })
        .collect();

    // A duplicate name of the template is kept for lint to report.
    let mut settings: Vec<Value> = match container.get("environment").and_then(Value::as_array) {
        Some(items) => items
            .iter()
            .filter(|item| !extra.contains_key(&name_of(item)))
            .cloned()
            .collect(),
        None => Vec::new(),
    };
    settings.extend(
        extra
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value })),
    );
    settings.sort_by_key(name_of);
    if !settings.is_empty() {
        container.insert("environment".to_owned(), Value::Array(settings));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::{AXON, ORBIT, catalog};
    use crate::decide::definition::testing::{AXON_TEMPLATE, ORBIT_TEMPLATE, definition, image};
    use crate::decide::outputs::{self, testing::LOCAL};

    fn filled(text: &str) -> String {
        let template = json!({ "family": text }).to_string();
        let values = if text.contains("${A}") {
            [("A".to_owned(), "va\"l".to_owned())].into()
        } else {
            BTreeMap::new()
        };
        let definition = render("t.json", &template, &values, &BTreeMap::new()).unwrap();
        definition.family().to_owned()
    }

    fn error_of(template: &Value, values: &[&'static str], extra: &[&str]) -> String {
        let values = values
            .iter()
            .map(|name| ((*name).to_owned(), "v".to_owned()))
            .collect();
        let extra = extra
            .iter()
            .map(|name| ((*name).to_owned(), "v".to_owned()))
            .collect();
        render("t.json", &template.to_string(), &values, &extra)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn placeholders_are_filled_and_other_dollars_stay() {
        let table = [
            ("x-${A}-${A}", "x-va\"l-va\"l"),
            ("$${A}${A}", "${A}va\"l"),
            ("$schema $5 $$ $", "$schema $5 $$ $"),
            ("$${HOME} {A} $A", "${HOME} {A} $A"),
        ];
        for (text, expected) in table {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        let template = json!({ "family": "${A}" }).to_string();
        let values = [("A".to_owned(), "${B}".to_owned())].into();
        let definition = render("t.json", &template, &values, &BTreeMap::new()).unwrap();
        assert_eq!(definition.family(), "${B}");
    }

    #[test]
    fn every_missing_and_every_unused_value_is_named() {
        let template = json!({
            "family": "${PROJECT}-axon",
            "containerDefinitions": [{ "image": "${IMAGE}", "command": ["${PROJECT}", "${OK}", "${aws:x}", "${"] }],
        });
        assert_eq!(
            error_of(&template, &["OK", "SPARE", "SPARE_TOO"], &[]),
            "t.json: no value for placeholder `${IMAGE}` (containerDefinitions[0].image); \
             no value for placeholder `${PROJECT}` (containerDefinitions[0].command[0], family); \
             unused value `SPARE`; unused value `SPARE_TOO`; \
             invalid placeholder `${aws:x}` (containerDefinitions[0].command[2]): a name has A-Z, 0-9 and _ only; \
             write `$${` for a literal `${`; \
             invalid placeholder `${` (containerDefinitions[0].command[3]): a name has A-Z, 0-9 and _ only; \
             write `$${` for a literal `${`"
        );
    }

    #[test]
    fn every_template_needs_exactly_its_values() {
        let (outputs, _) = outputs::parse(LOCAL).unwrap();
        let catalog = catalog();
        for (service, template) in [(AXON, AXON_TEMPLATE), (ORBIT, ORBIT_TEMPLATE)] {
            let entry = catalog.service(service).unwrap();
            let values = values(entry, &outputs, &image(service));
            for name in values.keys() {
                let mut fewer = values.clone();
                fewer.remove(name);
                let error = render("t.json", template, &fewer, &BTreeMap::new())
                    .unwrap_err()
                    .to_string();
                assert!(
                    error.starts_with(&format!("t.json: no value for placeholder `${{{name}}}` (")),
                    "{error}"
                );
                let added = format!("{name}_MORE");
                let mut more = values.clone();
                more.insert(added.clone(), String::new());
                let error = render("t.json", template, &more, &BTreeMap::new())
                    .unwrap_err()
                    .to_string();
                assert_eq!(error, format!("t.json: unused value `{added}`"));
            }
        }
    }

    #[test]
    fn invalid_json_is_an_error_with_its_position() {
        let error = render(
            "axon.json",
            "{\n  \"family\": \"a\"\n  \"cpu\"",
            &BTreeMap::new(),
            &BTreeMap::new(),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "axon.json:3:3: expected `,` or `}`"
        );
    }

    #[test]
    fn settings_of_the_environment_replace_and_are_sorted() {
        let definition = definition(ORBIT);
        let container = definition.container().unwrap();
        assert_eq!(container.environment()["DRAIN_MS"], "1000");
        assert_eq!(
            container.environment()["AXON_CONNECT_TO"],
            "host.docker.internal:4577"
        );
        assert_eq!(
            container.environment()["GOVERNANCE_FUNCTION_NAME"],
            "demo-governance:live"
        );
        assert_eq!(
            container.environment()["AXON_SERVICE_URL"],
            "http://axon.demo.local/reason"
        );
        let items = container.0.items("environment");
        let names: Vec<_> = items.iter().filter_map(|item| item.text("name")).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(names.len(), container.environment().len());
    }

    #[test]
    fn settings_cannot_replace_a_secret() {
        let template = json!({ "containerDefinitions": [{ "secrets": [{ "name": "API_KEY" }] }] });
        assert_eq!(
            error_of(&template, &[], &["API_KEY", "OTHER"]),
            "t.json: `API_KEY` is set by the environment and is a secret of the template \
             (containerDefinitions[0].secrets[0].name)"
        );
        assert_eq!(
            error_of(&json!({}), &[], &["A"]),
            "t.json: no container to add the settings of the environment to"
        );
    }
}
