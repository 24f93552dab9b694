//! `secrets init` gives a value to every secret of the environment that has none; `secrets rotate`
//! replaces the signing pair. No value is ever printed.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::catalog::{self, Catalog, Service, ServiceEntry};
use crate::decide::machine::byte_order_mark::without_mark;
use crate::decide::outputs::Outputs;
use crate::decide::release::rotation::SigningPair;
use crate::decide::release::snapshot::Snapshot;
use crate::failure::Failure;
use crate::planning::about::about;
use crate::ports::Context;
use crate::random;
use crate::release::{self, confirm};
use crate::report::SecretsEvent;

pub async fn init(context: &Context<'_>, outputs: &Outputs, yes: bool) -> Result<()> {
    let found = survey(context, outputs).await?;
    for service in &found.present {
        let component = (*service).into();
        let report = context.report;
        report.emit(SecretsEvent::SecretPresent { component });
    }
    if found.empty.is_empty() {
        return Ok(());
    }
    let values = if context.environment.emulated {
        made_up(&found.empty)?
    } else {
        read_values(context, &found.empty).await?
    };
    let confirmed = confirm(context, yes, "give these secrets their values").await?;
    let documents = documents(&values, found.pair)?;
    release::give_values(context, outputs, &documents, confirmed).await
}

/// Random values for the secrets of the local AWS that have none.
pub async fn make_up(context: &Context<'_>, outputs: &Outputs, snapshot: &Snapshot) -> Result<()> {
    if not_running(context, outputs, snapshot).is_empty() {
        return Ok(());
    }
    let found = survey(context, outputs).await?;
    let confirmed = confirm(context, false, "give the secrets their values").await?;
    let documents = documents(&made_up(&found.empty)?, found.pair)?;
    release::give_values(context, outputs, &documents, confirmed).await
}

/// `secrets rotate`: a new signing pair for all services, without a call that fails.
pub async fn rotate(context: &Context<'_>, outputs: &Outputs, yes: bool) -> Result<()> {
    refuse_unknown(context, outputs)?;
    let fresh = random_pair()?;
    release::announce_rotation(context, outputs, &fresh).await?;
    let confirmed = confirm(context, yes, "rotate the signing key").await?;
    let about = about(context, "secrets rotate").await?;
    let record = release::rotate(context, outputs, about, fresh, confirmed).await?;
    let done = json!({ "outcome": "rotated", "release": record.number });
    context.report.data(&done, "");
    context.report.emit(SecretsEvent::RotationDone);
    Ok(())
}

/// What a service calls that the catalog does not name is not known, so its calls would fail.
fn refuse_unknown(context: &Context<'_>, outputs: &Outputs) -> Result<()> {
    let services = outputs.services.keys();
    let unknown = services.filter(|it| context.catalog.service(**it).is_none());
    let unknown: Vec<_> = unknown.map(|it| it.name()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let message = format!(
        "what {} calls is not known: the environment has it, {} does not",
        unknown.join(", "),
        catalog::FILE
    );
    let hint = "rotate from a checkout whose catalog names it";
    Err(Failure::refused(message).hint(hint).into())
}

/// The entries of the services that Terraform has made.
fn entries<'a>(catalog: &'a Catalog, outputs: &Outputs) -> Vec<&'a ServiceEntry> {
    let services = outputs.services(catalog).into_iter();
    services.filter_map(|it| catalog.service(it)).collect()
}

/// Which secrets have no value, and the signing pair of those that have one.
struct Survey<'a> {
    empty: Vec<&'a ServiceEntry>,
    present: Vec<Service>,
    pair: Option<SigningPair>,
}

async fn survey<'a>(context: &Context<'a>, outputs: &Outputs) -> Result<Survey<'a>> {
    let entries = entries(context.catalog, outputs);
    let read = entries.iter().map(async |entry| -> Result<_> {
        let arn = &outputs.service(entry.service).secret_arn;
        let versioned = context.secrets.has_value(arn).await?;
        if !versioned {
            return Ok((versioned, None));
        }
        let version = context.secrets.get_secret_value(arn).await?;
        let pair = version.and_then(|version| SigningPair::current(&version.document));
        Ok((versioned, pair))
    });
    let read = try_join_all(read).await?;
    let (mut empty, mut present) = (Vec::new(), Vec::new());
    let mut pair = None;
    for (entry, (versioned, found)) in entries.into_iter().zip(read) {
        // On the local AWS an empty secret has a version too, so the value has to be read.
        if !versioned || (context.environment.emulated && found.is_none()) {
            empty.push(entry);
        } else {
            present.push(entry.service);
        }
        pair = pair.or(found);
    }
    Ok(Survey {
        empty,
        present,
        pair,
    })
}

/// All services have the same pair: the one that one of them has, or a new one.
fn documents(
    values: &BTreeMap<Service, Fields>,
    pair: Option<SigningPair>,
) -> Result<BTreeMap<Service, Value>> {
    let pair = pair.map_or_else(random_pair, Ok)?;
    let values = values.iter();
    Ok(values
        .map(|(service, fields)| (*service, document(fields, &pair)))
        .collect())
}

fn made_up(entries: &[&ServiceEntry]) -> Result<BTreeMap<Service, Fields>> {
    let mut values = BTreeMap::new();
    for entry in entries {
        let service = entry.service;
        let mut fields = Fields::new();
        for field in &entry.secrets {
            let value = if field.ends_with("_url") {
                format!("postgres://{service}@localhost/{service}")
            } else {
                random::hex(16)?
            };
            fields.insert(field.clone(), value);
        }
        values.insert(service, fields);
    }
    Ok(values)
}

/// The services of which no task has read its secret yet: a secret that was read has a value.
fn not_running(context: &Context<'_>, outputs: &Outputs, snapshot: &Snapshot) -> Vec<Service> {
    let mut services = outputs.services(context.catalog);
    services.retain(|service| !snapshot.runs((*service).into()));
    services
}

/// Fails where a secret of a service that does not run has no value, with a hint to `secrets init`.
pub async fn require(context: &Context<'_>, outputs: &Outputs, snapshot: &Snapshot) -> Result<()> {
    let services = not_running(context, outputs, snapshot).into_iter();
    let ask = services.map(async |service| -> Result<_> {
        let there = context
            .secrets
            .has_value(&outputs.service(service).secret_arn)
            .await?;
        Ok((!there).then_some(service.name()))
    });
    let empty: Vec<_> = try_join_all(ask).await?.into_iter().flatten().collect();
    if empty.is_empty() {
        return Ok(());
    }
    let environment = &context.environment.name;
    Err(Failure::not_ready(format!(
        "the secrets of {} have no value",
        empty.join(" and ")
    ))
    .hint(format!("cargo xtask secrets init --env {environment}"))
    .into())
}

/// Asks for each value at a terminal, without echo; otherwise reads one JSON object from stdin.
async fn read_values(
    context: &Context<'_>,
    entries: &[&ServiceEntry],
) -> Result<BTreeMap<Service, Fields>> {
    if std::io::stdin().is_terminal() {
        return ask_values(context, entries).await;
    }
    // On another thread, so that Ctrl-C ends the command while stdin stays open.
    let read = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    let text = read.await?.context("read the values from stdin")?;
    let values = parse_values(without_mark(&text), entries)?;
    context.report.emit(SecretsEvent::SecretValuesRead);
    Ok(values)
}

type Fields = BTreeMap<String, String>;

async fn ask_values(
    context: &Context<'_>,
    entries: &[&ServiceEntry],
) -> Result<BTreeMap<Service, Fields>> {
    if !context.report.can_ask() {
        let message = "values are asked for only at a terminal, in human format";
        let hint = format!("{} on stdin", expected(entries));
        return Err(Failure::usage(message).hint(hint).into());
    }
    let mut values = BTreeMap::new();
    for entry in entries {
        let service = entry.service;
        let mut fields = Fields::new();
        for field in &entry.secrets {
            let question = format!("{field} of {service} (not shown): ");
            let value = context.report.ask_secret(&question).await?;
            if value.is_empty() {
                return Err(Failure::usage(format!("{field} of {service} is empty")).into());
            }
            fields.insert(field.clone(), value);
        }
        values.insert(service, fields);
    }
    Ok(values)
}

/// Errors name fields, never their values.
fn parse_values(text: &str, entries: &[&ServiceEntry]) -> Result<BTreeMap<Service, Fields>> {
    let parsed: Value = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Failure::usage(format!("stdin is not a JSON object ({place})")).hint(expected(entries))
    })?;
    let mut faults = Vec::new();
    let mut values = BTreeMap::new();
    for entry in entries {
        let service = entry.service;
        let mut fields = Fields::new();
        for field in &entry.secrets {
            match parsed
                .pointer(&format!("/{service}/{field}"))
                .and_then(Value::as_str)
            {
                Some(value) if !value.is_empty() => {
                    fields.insert(field.clone(), value.to_owned());
                }
                _ => faults.push(format!("{service}.{field}")),
            }
        }
        values.insert(service, fields);
    }
    if faults.is_empty() {
        return Ok(values);
    }
    let message = format!("stdin lacks {}, each a string", faults.join(", "));
    Err(Failure::usage(message).hint(expected(entries)).into())
}

fn expected(entries: &[&ServiceEntry]) -> String {
    let object = entries.iter().map(|entry| {
        let fields = entry.secrets.iter();
        let fields: Vec<_> = fields
            .map(|field| format!("\"{field}\": \"...\""))
            .collect();
        format!("\"{}\": {{{}}}", entry.service, fields.join(", "))
    });
    let object: Vec<_> = object.collect();
    format!("give {{{}}}", object.join(", "))
}

fn document(fields: &Fields, pair: &SigningPair) -> Value {
    let mut document = json!(fields);
    pair.put_into(&mut document);
    document
}

/// 20 and 40 characters, the lengths of AWS's own keys: some verifiers accept no others.
fn random_pair() -> Result<SigningPair> {
    Ok(SigningPair {
        access_key_id: format!("AKXT{}", random::hex(8)?.to_uppercase()),
        secret_access_key: random::hex(20)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogEntry;
    use crate::catalog::testing::catalog;

    fn services(catalog: &Catalog) -> Vec<&ServiceEntry> {
        let entries = catalog.entries().iter();
        entries.filter_map(CatalogEntry::as_service).collect()
    }

    #[test]
    fn all_missing_values_are_named_and_none_is_shown() {
        let text = r#"{"axon": {"database_url": "very-secret", "api_key": 7}}"#;
        let error = parse_values(text, &services(&catalog()))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "stdin lacks axon.api_key, orbit.database_url, orbit.api_key, each a string"
        );
    }

    #[test]
    fn a_fault_in_the_json_is_placed_and_not_quoted() {
        let error = parse_values("{\"axon\": very-secret", &services(&catalog())).unwrap_err();
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
