//! `secrets init`: every secret of the environment that has no value gets one. No value is ever
//! printed.

mod rotate;

use std::collections::BTreeMap;
use std::io::IsTerminal;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::confirm::confirm;
use crate::catalog::{Component, SERVICES};
use crate::decide::definition::hex;
use crate::decide::machine::byte_order_mark::without_mark;
use crate::decide::outputs::Outputs;
use crate::decide::release::rotation::SigningPair;
use crate::failure::Failure;
use crate::world::{Desk, World};

pub use rotate::rotate;

/// What a user must know; the signing pair is random.
const FIELDS: [&str; 2] = ["database_url", "api_key"];

pub async fn init(desk: &Desk<'_>, outputs: &Outputs, yes: bool) -> Result<()> {
    let found = survey(desk, outputs).await?;
    for component in SERVICES.iter().filter(|it| !found.empty.contains(it)) {
        desk.report.line(component.name(), "has its secret already");
    }
    if found.empty.is_empty() {
        return Ok(());
    }
    if desk.environment.emulated {
        return fill(desk, outputs, &made_up(&found.empty)?, found.pair).await;
    }
    let values = read_values(desk, &found.empty).await?;
    confirm(desk, yes, "give these secrets their values").await?;
    fill(desk, outputs, &values, found.pair).await
}

/// Values for the secrets of the local AWS that have none: nobody needs to know them.
pub async fn make_up(desk: &Desk<'_>, outputs: &Outputs) -> Result<()> {
    let found = survey(desk, outputs).await?;
    fill(desk, outputs, &made_up(&found.empty)?, found.pair).await
}

/// Which secrets have no value, and the signing pair of those that have one.
struct Found {
    empty: Vec<Component>,
    pair: Option<SigningPair>,
}

async fn survey(desk: &Desk<'_>, outputs: &Outputs) -> Result<Found> {
    let mut empty = Vec::new();
    let mut pair = None;
    for component in SERVICES {
        let arn = &outputs.service(component).secret_arn;
        let versioned = desk.secrets.has_value(arn).await?;
        let found = if versioned {
            let version = desk.secrets.get_secret_value(arn).await?;
            version.and_then(|version| SigningPair::current(&version.document))
        } else {
            None
        };
        // The local AWS gives an empty secret a version too: there the value itself tells.
        if !versioned || (desk.environment.emulated && found.is_none()) {
            empty.push(component);
        }
        pair = pair.or(found);
    }
    Ok(Found { empty, pair })
}

/// Both services sign and verify with one pair: the one that is there, or a new one.
async fn fill(
    desk: &Desk<'_>,
    outputs: &Outputs,
    values: &BTreeMap<Component, Fields>,
    pair: Option<SigningPair>,
) -> Result<()> {
    let pair = pair.map_or_else(random_pair, Ok)?;
    for (component, fields) in values {
        let arn = &outputs.service(*component).secret_arn;
        desk.secrets
            .put_secret_value(arn, &document(fields, &pair))
            .await?;
        desk.report.line(component.name(), "secret has a value now");
    }
    Ok(())
}

fn made_up(components: &[Component]) -> Result<BTreeMap<Component, Fields>> {
    let fields = |component: &Component| -> Result<_> {
        let url = format!("postgres://{component}@localhost/{component}");
        let fields = [("database_url", url), ("api_key", random_hex(16)?)];
        Ok((
            *component,
            fields.map(|(name, value)| (name.to_owned(), value)).into(),
        ))
    };
    components.iter().map(fields).collect()
}

/// Every secret has a value, or the command that gives it one is named.
pub async fn require(world: &World<'_>) -> Result<()> {
    let ask = SERVICES.map(async |component| -> Result<_> {
        let there = world
            .secrets
            .has_value(&world.outputs.service(component).secret_arn)
            .await?;
        Ok((!there).then_some(component.name()))
    });
    let empty: Vec<_> = futures_util::future::try_join_all(ask)
        .await?
        .into_iter()
        .flatten()
        .collect();
    if empty.is_empty() {
        return Ok(());
    }
    let environment = &world.environment.name;
    Err(Failure::not_ready(format!(
        "the secrets of {} have no value",
        empty.join(" and ")
    ))
    .hint(format!("cargo xtask secrets init --env {environment}"))
    .into())
}

/// From a terminal one by one, without echo; else from stdin, as one JSON object.
async fn read_values(
    desk: &Desk<'_>,
    components: &[Component],
) -> Result<BTreeMap<Component, Fields>> {
    if std::io::stdin().is_terminal() {
        return ask_values(desk, components).await;
    }
    // Aside, so that Ctrl-C ends it: whoever writes may never come to an end.
    let read = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    let text = read.await?.context("read the values from stdin")?;
    let values = parse_values(without_mark(&text), components)?;
    desk.report.line("secrets", "values read from stdin");
    Ok(values)
}

type Fields = BTreeMap<String, String>;

async fn ask_values(
    desk: &Desk<'_>,
    components: &[Component],
) -> Result<BTreeMap<Component, Fields>> {
    if !desk.report.can_ask() {
        let message = "nobody is asked but at a terminal, in human format";
        let hint = format!("{} on stdin", expected(components));
        return Err(Failure::usage(message).hint(hint).into());
    }
    let mut values = BTreeMap::new();
    for component in components {
        let mut fields = Fields::new();
        for field in FIELDS {
            let question = format!("{field} of {component} (not shown): ");
            let value = desk.report.ask_secret(&question).await?;
            if value.is_empty() {
                return Err(Failure::usage(format!("{field} of {component} is empty")).into());
            }
            fields.insert(field.to_owned(), value);
        }
        values.insert(*component, fields);
    }
    Ok(values)
}

/// Faults name fields and never what is in them.
fn parse_values(text: &str, components: &[Component]) -> Result<BTreeMap<Component, Fields>> {
    let parsed: Value = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Failure::usage(format!("stdin is not a JSON object ({place})")).hint(expected(components))
    })?;
    let mut faults = Vec::new();
    let mut values = BTreeMap::new();
    for component in components {
        let mut fields = Fields::new();
        for field in FIELDS {
            match parsed
                .pointer(&format!("/{component}/{field}"))
                .and_then(Value::as_str)
            {
                Some(value) if !value.is_empty() => {
                    fields.insert(field.to_owned(), value.to_owned());
                }
                _ => faults.push(format!("{component}.{field}")),
            }
        }
        values.insert(*component, fields);
    }
    if faults.is_empty() {
        return Ok(values);
    }
    let message = format!("stdin lacks {}, each a string", faults.join(", "));
    Err(Failure::usage(message).hint(expected(components)).into())
}

fn expected(components: &[Component]) -> String {
    let fields: Vec<_> = FIELDS
        .iter()
        .map(|field| format!("\"{field}\": \"...\""))
        .collect();
    let object: Vec<_> = components
        .iter()
        .map(|component| format!("\"{component}\": {{{}}}", fields.join(", ")))
        .collect();
    format!("give {{{}}}", object.join(", "))
}

fn document(fields: &Fields, pair: &SigningPair) -> Value {
    let mut document = json!(fields);
    pair.put_into(&mut document);
    document
}

/// As long as AWS's own: 20 and 40 characters, which some verifiers insist on.
fn random_pair() -> Result<SigningPair> {
    Ok(SigningPair {
        access_key_id: format!("AKXT{}", random_hex(8)?.to_uppercase()),
        secret_access_key: random_hex(20)?,
    })
}

fn random_hex(bytes: usize) -> Result<String> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(hex(&buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_missing_values_are_named_and_none_is_shown() {
        let text = r#"{"axon": {"database_url": "very-secret", "api_key": 7}}"#;
        let error = parse_values(text, &SERVICES).unwrap_err().to_string();
        assert_eq!(
            error,
            "stdin lacks axon.api_key, orbit.database_url, orbit.api_key, each a string"
        );
    }

    #[test]
    fn a_fault_in_the_json_is_placed_and_not_quoted() {
        let error = parse_values("{\"axon\": very-secret", &SERVICES).unwrap_err();
        assert_eq!(
            error.to_string(),
            "stdin is not a JSON object (line 1 column 10)"
        );
    }

    #[test]
    fn a_random_pair_has_the_lengths_of_aws() {
        let pair = random_pair().unwrap();
        assert_eq!(
            (pair.access_key_id.len(), pair.secret_access_key.len()),
            (20, 40)
        );
        assert_ne!(
            random_pair().unwrap().secret_access_key,
            pair.secret_access_key
        );
    }
}
