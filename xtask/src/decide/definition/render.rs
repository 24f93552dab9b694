//! A template becomes a definition: every placeholder is filled, and every value is used.
//! Values are put into parsed JSON, so no value can change the structure of the text around it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::catalog::{Function, Service};
use crate::decide::definition::Definition;
use crate::decide::definition::strict::{self, NotJson};
use crate::decide::outputs::Outputs;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error(transparent)]
    NotJson(#[from] NotJson),
    #[error("{file}: {}", list(.faults))]
    Faults { file: String, faults: Vec<Fault> },
}

/// One service that template and values disagree on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("nothing fills ${{{name}}} ({})", .places.join(", "))]
    Unfilled { name: String, places: Vec<String> },
    #[error("nothing uses the value of {name}")]
    Unused { name: String },
    #[error(
        "`{text}` is no placeholder, whose name is of A-Z, 0-9 and _ ({place}); `$${{` stands for a plain `${{`"
    )]
    Malformed { text: String, place: String },
    #[error("the outputs set {name}, which is a secret of the template ({place})")]
    Secret { name: String, place: String },
    #[error("there is no container that the outputs' settings could go to")]
    NoContainer,
}

fn list(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Fills the template that is the text of `file`. `extra_environment` are settings of the first
/// container that the template does not have, or has with another value.
pub fn render(
    file: &str,
    template: &str,
    values: &BTreeMap<&str, String>,
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

/// The value of each placeholder that a service's template has.
pub fn values(service: Service, outputs: &Outputs, image: &str) -> BTreeMap<&'static str, String> {
    let [role, secret, its_image] = match service {
        Service::Axon => ["AXON_ROLE_ARN", "AXON_SECRET_ARN", "AXON_IMAGE"],
        Service::Orbit => ["ORBIT_ROLE_ARN", "ORBIT_SECRET_ARN", "ORBIT_IMAGE"],
    };
    let facts = outputs.service(service);
    let mut values = BTreeMap::from([
        ("PROJECT_NAME", outputs.project.clone()),
        ("AWS_REGION", outputs.region.clone()),
        ("ECS_EXECUTION_ROLE_ARN", outputs.execution_role_arn.clone()),
        ("LOG_GROUP", facts.log_group.clone()),
        ("CPU_ARCHITECTURE", outputs.architecture.ecs().to_owned()),
        (role, facts.task_role_arn.clone()),
        (secret, facts.secret_arn.clone()),
        (its_image, image.to_owned()),
    ]);
    if service == Service::Orbit {
        values.insert("NAMESPACE", outputs.namespace.clone());
        values.insert(
            "GOVERNANCE_FUNCTION_NAME",
            outputs.function(Function::Governance).qualified_name(),
        );
    }
    values
}

/// The way through a template: what was used, and what was missing where.
struct Expansion<'a> {
    values: &'a BTreeMap<&'a str, String>,
    used: BTreeSet<String>,
    /// Places are sorted: the order of JSON's keys is not the same in every build.
    unfilled: BTreeMap<String, BTreeSet<String>>,
    faults: Vec<Fault>,
}

impl Expansion<'_> {
    fn fill(&mut self, value: &mut Value, place: &str) {
        match value {
            Value::String(text) => *text = self.expand(text, place),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.fill(item, &format!("{place}[{index}]"));
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    let place = if place.is_empty() {
                        key.clone()
                    } else {
                        format!("{place}.{key}")
                    };
                    self.fill(member, &place);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `${NAME}` becomes its value and `$${` a plain `${`; every other `$` stays what it is.
    fn expand(&mut self, text: &str, place: &str) -> String {
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
            let (name, behind) = after.split_once('}').unwrap_or((after, ""));
            if after.contains('}') && is_name(name) {
                filled.push_str(self.value_of(name, place));
            } else {
                let text = format!("${{{}", &after[..after.len() - behind.len()]);
                self.faults.push(Fault::Malformed {
                    text,
                    place: place.to_owned(),
                });
            }
            rest = behind;
        }
        filled.push_str(rest);
        filled
    }

    fn value_of(&mut self, name: &str, place: &str) -> &str {
        if let Some(value) = self.values.get(name) {
            self.used.insert(name.to_owned());
            return value;
        }
        self.unfilled
            .entry(name.to_owned())
            .or_default()
            .insert(place.to_owned());
        ""
    }

    fn into_faults(self) -> Vec<Fault> {
        let unfilled = self
            .unfilled
            .into_iter()
            .map(|(name, places)| Fault::Unfilled {
                name,
                places: places.into_iter().collect(),
            });
        let unused = self
            .values
            .keys()
            .filter(|name| !self.used.contains(**name));
        let unused = unused.map(|name| Fault::Unused {
            name: (*name).to_owned(),
        });
        unfilled.chain(unused).chain(self.faults).collect()
    }
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text.bytes().all(inner)
}

/// Puts the settings into the first container, sorted by name: equal settings are one definition,
/// in whatever order they were written.
fn set_environment(definition: &mut Value, extra: &BTreeMap<String, String>) -> Vec<Fault> {
    let Some(Value::Object(container)) = definition.pointer_mut("/containerDefinitions/0") else {
        return if extra.is_empty() {
            Vec::new()
        } else {
            vec![Fault::NoContainer]
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
    let place = |index: usize| format!("containerDefinitions[0].secrets[{index}].name");
    let faults = clashes
        .map(|(index, name)| Fault::Secret {
            name,
            place: place(index),
        })
        .collect();

    // A name that the template has twice stays there twice, for lint to see.
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
    use crate::decide::definition::testing::{AXON, ORBIT, definition, image};
    use crate::decide::outputs::{self, testing::LOCAL};

    fn filled(text: &str) -> String {
        let template = json!({ "family": text }).to_string();
        let values = if text.contains("${A}") {
            [("A", "va\"l".to_owned())].into()
        } else {
            BTreeMap::new()
        };
        let definition = render("t.json", &template, &values, &BTreeMap::new()).unwrap();
        definition.family().to_owned()
    }

    fn refused(template: &Value, values: &[&'static str], extra: &[&str]) -> String {
        let values = values.iter().map(|name| (*name, "v".to_owned())).collect();
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
        let values = [("A", "${B}".to_owned())].into();
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
            refused(&template, &["OK", "SPARE", "SPARE_TOO"], &[]),
            "t.json: nothing fills ${IMAGE} (containerDefinitions[0].image); \
             nothing fills ${PROJECT} (containerDefinitions[0].command[0], family); \
             nothing uses the value of SPARE; nothing uses the value of SPARE_TOO; \
             `${aws:x}` is no placeholder, whose name is of A-Z, 0-9 and _ (containerDefinitions[0].command[2]); \
             `$${` stands for a plain `${`; \
             `${` is no placeholder, whose name is of A-Z, 0-9 and _ (containerDefinitions[0].command[3]); \
             `$${` stands for a plain `${`"
        );
    }

    #[test]
    fn leaving_out_any_value_or_adding_one_is_told_for_every_template() {
        let (outputs, _) = outputs::parse(LOCAL).unwrap();
        for (service, template) in [(Service::Axon, AXON), (Service::Orbit, ORBIT)] {
            let values = values(service, &outputs, &image(service));
            for name in values.keys() {
                let mut fewer = values.clone();
                fewer.remove(name);
                let error = render("t.json", template, &fewer, &BTreeMap::new())
                    .unwrap_err()
                    .to_string();
                assert!(
                    error.starts_with(&format!("t.json: nothing fills ${{{name}}} (")),
                    "{error}"
                );
                let added = format!("{name}_MORE");
                let mut more = values.clone();
                more.insert(&added, String::new());
                let error = render("t.json", template, &more, &BTreeMap::new())
                    .unwrap_err()
                    .to_string();
                assert_eq!(error, format!("t.json: nothing uses the value of {added}"));
            }
        }
    }

    #[test]
    fn a_template_that_is_not_json_is_an_error_with_its_place() {
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
    fn settings_of_the_outputs_replace_and_are_sorted() {
        let definition = definition(Service::Orbit);
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
    fn the_outputs_cannot_set_what_is_a_secret() {
        let template = json!({ "containerDefinitions": [{ "secrets": [{ "name": "API_KEY" }] }] });
        assert_eq!(
            refused(&template, &[], &["API_KEY", "OTHER"]),
            "t.json: the outputs set API_KEY, which is a secret of the template \
             (containerDefinitions[0].secrets[0].name)"
        );
        assert_eq!(
            refused(&json!({}), &[], &["A"]),
            "t.json: there is no container that the outputs' settings could go to"
        );
    }
}
