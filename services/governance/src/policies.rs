//! The Cedar policies, parsed and validated once. One fault refuses the whole set: a part of the
//! rules would decide differently.

use std::str::FromStr;

use cedar_policy::{Entities, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use thiserror::Error;

/// A file of policies. Faults are reported with its name.
#[derive(Clone, Copy, Debug)]
pub struct PolicyFile {
    pub name: &'static str,
    pub text: &'static str,
}

/// The schema of requests.
pub const SCHEMA: &str = include_str!("../policies/governance.cedarschema");

/// Every policy file that is compiled in.
pub const POLICY_FILES: &[PolicyFile] = &[
    PolicyFile {
        name: "operators.cedar",
        text: include_str!("../policies/operators.cedar"),
    },
    PolicyFile {
        name: "orbit.cedar",
        text: include_str!("../policies/orbit.cedar"),
    },
];

/// Why a set of policies is refused.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("policies refused: {}", faults.join("; "))]
pub struct PolicyError {
    pub faults: Vec<String>,
}

/// A validated set of policies.
pub struct Policies {
    pub(crate) schema: Schema,
    pub(crate) set: PolicySet,
    /// The actions of the schema. Services and intents have no attributes.
    pub(crate) entities: Entities,
}

impl Policies {
    /// The policies that are compiled in.
    pub fn built_in() -> Result<Self, PolicyError> {
        Self::parse(SCHEMA, POLICY_FILES)
    }

    /// Returns all faults of all files at once. Cedar's warnings, such as for a policy that can
    /// never apply, are faults here.
    pub fn parse(schema: &str, files: &[PolicyFile]) -> Result<Self, PolicyError> {
        let (schema, entities) = parse_schema(schema).map_err(|fault| PolicyError {
            faults: vec![fault],
        })?;
        let mut set = PolicySet::new();
        let mut faults = Vec::new();
        for file in files {
            for policy in named_policies(*file, &mut faults) {
                let id = policy.id().clone();
                if set.add(policy).is_err() {
                    faults.push(format!("{}: the id {id} is taken", file.name));
                }
            }
        }
        faults.extend(validation_faults(&schema, &set));
        if faults.is_empty() {
            Ok(Self {
                schema,
                set,
                entities,
            })
        } else {
            Err(PolicyError { faults })
        }
    }
}

fn parse_schema(text: &str) -> Result<(Schema, Entities), String> {
    let schema = Schema::from_str(text).map_err(|error| format!("schema: {error}"))?;
    let actions = schema
        .action_entities()
        .map_err(|error| format!("schema: {error}"))?;
    Ok((schema, actions))
}

/// The policies of one file by their `@id` annotations: Cedar's own ids are positions.
fn named_policies(file: PolicyFile, faults: &mut Vec<String>) -> Vec<Policy> {
    let set = match PolicySet::from_str(file.text) {
        Ok(set) => set,
        Err(error) => {
            faults.push(format!("{}: {error}", file.name));
            return vec![];
        }
    };
    if set.templates().next().is_some() {
        faults.push(format!(
            "{}: a template decides nothing; write a policy",
            file.name
        ));
    }
    let mut named = Vec::new();
    for policy in set.policies() {
        match policy.annotation("id") {
            Some(id) if !id.is_empty() => named.push(policy.new_id(PolicyId::new(id))),
            _ => faults.push(format!("{}: a policy without an @id(\"...\")", file.name)),
        }
    }
    named
}

fn validation_faults(schema: &Schema, set: &PolicySet) -> Vec<String> {
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    let mut faults = sorted(result.validation_errors());
    faults.extend(sorted(result.validation_warnings()));
    faults
}

/// Cedar returns sets without an order; the same request must give the same text.
pub(crate) fn sorted<T: ToString>(items: impl Iterator<Item = T>) -> Vec<String> {
    let mut texts: Vec<String> = items.map(|item| item.to_string()).collect();
    texts.sort();
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &'static str) -> String {
        let file = PolicyFile {
            name: "test.cedar",
            text,
        };
        Policies::parse(SCHEMA, &[file])
            .err()
            .map(|faults| faults.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn the_compiled_in_policies_are_valid_and_name_themselves() {
        let policies = Policies::built_in().unwrap();
        for policy in policies.set.policies() {
            assert_eq!(
                policy.annotation("id"),
                Some(policy.id().to_string().as_str())
            );
            assert!(
                policy.annotation("reason").is_some(),
                "{} has no @reason",
                policy.id()
            );
        }
    }

    #[test]
    fn every_file_of_policies_is_in_force() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.strip_suffix(".cedar").is_some())
            .collect();
        found.sort();
        let listed: Vec<&str> = POLICY_FILES.iter().map(|file| file.name).collect();
        assert_eq!(found, listed);
    }

    #[test]
    fn faults_of_policies_are_named_all_at_once() {
        let files = [
            PolicyFile {
                name: "syntax.cedar",
                text: "permit (principal",
            },
            PolicyFile {
                name: "nameless.cedar",
                text: "permit (principal, action, resource);",
            },
            PolicyFile {
                name: "twice.cedar",
                text: r#"@id("x") permit (principal, action, resource);
                         @id("x") forbid (principal, action, resource);"#,
            },
        ];
        let faults = Policies::parse(SCHEMA, &files).err().unwrap().faults;
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].starts_with("syntax.cedar: "), "{faults:?}");
        assert_eq!(
            faults[1],
            "nameless.cedar: a policy without an @id(\"...\")"
        );
        assert_eq!(faults[2], "twice.cedar: the id x is taken");
    }

    #[test]
    fn what_the_schema_does_not_know_is_refused() {
        assert!(
            faults(r#"@id("x") permit (principal == Servise::"orbit", action, resource);"#)
                .contains("Servise")
        );
        assert!(
            faults(r#"@id("x") permit (principal, action == Action::"sing", resource);"#)
                .contains("sing")
        );
    }

    #[test]
    fn a_policy_that_can_never_apply_is_refused() {
        assert!(
            faults(r#"@id("never") permit (principal, action, resource) when { false };"#)
                .contains("never")
        );
    }

    #[test]
    fn a_template_is_refused() {
        assert!(
            faults(r#"@id("x") permit (principal == ?principal, action, resource);"#)
                .contains("template")
        );
    }

    #[test]
    fn a_broken_schema_is_refused() {
        let faults = Policies::parse("entity", &[]).err().unwrap().faults;
        assert!(faults[0].starts_with("schema: "), "{faults:?}");
    }
}
