//! `secrets init`: every secret of the environment that has no value gets one. No value is ever
//! printed.

mod rotate;

use std::collections::BTreeMap;
use std::io::IsTerminal;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::confirm::confirm;
use crate::catalog::{SERVICES, Thing};
use crate::decide::byte_order_mark::without_mark;
use crate::decide::definition::hex;
use crate::decide::rotation::SigningPair;
use crate::decide::site::Site;
use crate::failure::Failure;
use crate::world::{Desk, World};

pub use rotate::rotate;

/// What a user must know; the signing pair is random.
const FIELDS: [&str; 2] = ["database_url", "api_key"];

pub async fn init(desk: &Desk<'_>, site: &Site, yes: bool) -> Result<()> {
    let found = look(desk, site).await?;
    for thing in SERVICES.iter().filter(|it| !found.empty.contains(it)) {
        desk.report.line(thing.name(), "has its secret already");
    }
    if found.empty.is_empty() {
        return Ok(());
    }
    if desk.environment.emulated {
        return fill(desk, site, &made_up(&found.empty)?, found.pair).await;
    }
    let values = read_values(desk, &found.empty).await?;
    confirm(desk, yes, "give these secrets their values").await?;
    fill(desk, site, &values, found.pair).await
}

/// Values for the secrets of the local AWS that have none: nobody needs to know them.
pub async fn make_up(desk: &Desk<'_>, site: &Site) -> Result<()> {
    let found = look(desk, site).await?;
    fill(desk, site, &made_up(&found.empty)?, found.pair).await
}

/// Which secrets have no value, and the signing pair of those that have one.
struct Found {
    empty: Vec<Thing>,
    pair: Option<SigningPair>,
}

async fn look(desk: &Desk<'_>, site: &Site) -> Result<Found> {
    let mut empty = Vec::new();
    let mut pair = None;
    for thing in SERVICES {
        let arn = &site.service(thing).secret_arn;
        let versioned = desk.secrets.has_value(arn).await?;
        let found = if versioned {
            let version = desk.secrets.read(arn).await?;
            version.and_then(|version| SigningPair::current(&version.document))
        } else {
            None
        };
        // The local AWS gives an empty secret a version too: there the value itself tells.
        if !versioned || (desk.environment.emulated && found.is_none()) {
            empty.push(thing);
        }
        pair = pair.or(found);
    }
    Ok(Found { empty, pair })
}

/// Both services sign and verify with one pair: the one that is there, or a new one.
async fn fill(
    desk: &Desk<'_>,
    site: &Site,
    values: &BTreeMap<Thing, Fields>,
    pair: Option<SigningPair>,
) -> Result<()> {
    let pair = pair.map_or_else(random_pair, Ok)?;
    for (thing, fields) in values {
        let arn = &site.service(*thing).secret_arn;
        desk.secrets.put(arn, &document(fields, &pair)).await?;
        desk.report.line(thing.name(), "secret has a value now");
    }
    Ok(())
}

fn made_up(things: &[Thing]) -> Result<BTreeMap<Thing, Fields>> {
    let fields = |thing: &Thing| -> Result<_> {
        let url = format!("postgres://{thing}@localhost/{thing}");
        let fields = [("database_url", url), ("api_key", random_hex(16)?)];
        Ok((
            *thing,
            fields.map(|(name, value)| (name.to_owned(), value)).into(),
        ))
    };
    things.iter().map(fields).collect()
}

/// Every secret has a value, or the command that gives it one is named.
pub async fn require(world: &World<'_>) -> Result<()> {
    let ask = SERVICES.map(async |thing| -> Result<_> {
        let there = world
            .secrets
            .has_value(&world.site.service(thing).secret_arn)
            .await?;
        Ok((!there).then_some(thing.name()))
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
async fn read_values(desk: &Desk<'_>, things: &[Thing]) -> Result<BTreeMap<Thing, Fields>> {
    if std::io::stdin().is_terminal() {
        return ask_values(desk, things).await;
    }
    // Aside, so that Ctrl-C ends it: whoever writes may never come to an end.
    let read = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    let text = read.await?.context("read the values from stdin")?;
    let values = parse_values(without_mark(&text), things)?;
    desk.report.line("secrets", "values read from stdin");
    Ok(values)
}

type Fields = BTreeMap<String, String>;

async fn ask_values(desk: &Desk<'_>, things: &[Thing]) -> Result<BTreeMap<Thing, Fields>> {
    if !desk.report.can_ask() {
        let message = "nobody is asked but at a terminal, in human format";
        let hint = format!("{} on stdin", expected(things));
        return Err(Failure::usage(message).hint(hint).into());
    }
    let mut values = BTreeMap::new();
    for thing in things {
        let mut fields = Fields::new();
        for field in FIELDS {
            let question = format!("{field} of {thing} (not shown): ");
            let value = desk.report.ask_secret(&question).await?;
            if value.is_empty() {
                return Err(Failure::usage(format!("{field} of {thing} is empty")).into());
            }
            fields.insert(field.to_owned(), value);
        }
        values.insert(*thing, fields);
    }
    Ok(values)
}

/// Faults name fields and never what is in them.
fn parse_values(text: &str, things: &[Thing]) -> Result<BTreeMap<Thing, Fields>> {
    let parsed: Value = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Failure::usage(format!("stdin is not a JSON object ({place})")).hint(expected(things))
    })?;
    let mut faults = Vec::new();
    let mut values = BTreeMap::new();
    for thing in things {
        let mut fields = Fields::new();
        for field in FIELDS {
            match parsed
                .pointer(&format!("/{thing}/{field}"))
                .and_then(Value::as_str)
            {
                Some(value) if !value.is_empty() => {
                    fields.insert(field.to_owned(), value.to_owned());
                }
                _ => faults.push(format!("{thing}.{field}")),
            }
        }
        values.insert(*thing, fields);
    }
    if faults.is_empty() {
        return Ok(values);
    }
    let message = format!("stdin lacks {}, each a string", faults.join(", "));
    Err(Failure::usage(message).hint(expected(things)).into())
}

fn expected(things: &[Thing]) -> String {
    let fields: Vec<_> = FIELDS
        .iter()
        .map(|field| format!("\"{field}\": \"...\""))
        .collect();
    let object: Vec<_> = things
        .iter()
        .map(|thing| format!("\"{thing}\": {{{}}}", fields.join(", ")))
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
