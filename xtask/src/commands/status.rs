//! `status`: what runs, by which release.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::catalog::{Component, Service};
use crate::decide::outputs::Outputs;
use crate::decide::release::record::{Entry, Record};
use crate::decide::release::snapshot::{ServiceSnapshot, Snapshot};
use crate::planning::ledger::newest_where;
use crate::ports::Context;
use crate::release::{self, Observed};

pub async fn status(context: &Context<'_>, outputs: &Outputs) -> Result<()> {
    let (found, hold) =
        tokio::try_join!(release::observe(context, outputs), context.ledger.hold())?;
    let Observed { snapshot, newest } = found;
    let releases = releases_of(context, &snapshot).await?;
    let mut lines = vec![format!("{:<11} {}", "base url", outputs.base_url)];
    lines.extend(hold.iter().map(|hold| {
        let about = hold.about();
        format!("{:<11} no release until it is lifted: {about}", "held")
    }));
    let mut services = Map::new();
    for (service, found) in &snapshot.services {
        let release = releases.get(&Component::from(*service)).copied();
        services.insert(service.name().to_owned(), service_json(found, release));
        lines.extend(service_lines(*service, found, release));
    }
    let mut functions = Map::new();
    for (function, found) in &snapshot.functions {
        let release = releases.get(&Component::from(*function)).copied();
        let facts = outputs.function(*function);
        let document = json!({
            "name": facts.name,
            "alias": facts.alias,
            "version": found.version,
            "release": release,
        });
        functions.insert(function.name().to_owned(), document);
        lines.push(format!(
            "{:<11} {} -> version {}, release {}",
            function.name(),
            facts.qualified_name(),
            found.version,
            number(release),
        ));
    }
    let (other, release) = match newest {
        Some(other) if !other.kind.changes_components() => {
            let is_release = |record: &Record| record.kind.changes_components();
            (Some(other), newest_where(context, is_release).await?)
        }
        newest => (None, newest),
    };
    lines.extend(other.iter().chain(&release).map(newest_line));
    lines.extend(other.iter().chain(&release).take(1).flat_map(alarm_lines));
    let document = json!({
        "environment": context.environment.name,
        "base_url": outputs.base_url,
        "services": services,
        "functions": functions,
        "newest_release": release,
        "newest_other": other,
        "hold": hold,
    });
    context.report.data(&document, &lines.join("\n"));
    Ok(())
}

fn service_json(found: &ServiceSnapshot, release: Option<u64>) -> Value {
    let running = found.running();
    json!({
        "desired": found.state.desired,
        "running": found.state.running,
        "settled": found.state.settled(),
        "image": running.as_ref().map(|it| &it.image),
        "revision": running.as_ref().map(|it| &it.revision),
        "release": release,
    })
}

fn service_lines(service: Service, found: &ServiceSnapshot, release: Option<u64>) -> Vec<String> {
    let running = found.running();
    let moving = if found.state.settled() {
        ""
    } else {
        ", moving"
    };
    let revision = running.as_ref().map(|it| it.revision.as_str());
    let mut lines = vec![format!(
        "{:<11} {}/{} running{moving}, {}, release {}",
        service.name(),
        found.state.running,
        found.state.desired,
        revision.unwrap_or("nothing released"),
        number(release),
    )];
    let image = running.and_then(|running| running.image);
    lines.extend(image.map(|image| format!("{:<11}   {image}", "")));
    lines
}

fn number(release: Option<u64>) -> String {
    release.map_or("none".to_owned(), |number| number.to_string())
}

fn newest_line(record: &Record) -> String {
    let state = record.state.text();
    format!("{:<11} {}: {state}", "newest", record.about())
}

fn alarm_lines(newest: &Record) -> impl Iterator<Item = String> {
    newest.without_alarms.iter().map(|service| {
        let text = format!("the alarms of {service} are off until the next deploy or rollback");
        format!("{:<11} {text}", "")
    })
}

/// By component, the newest release after which it ran as it does now. Each record is read once.
async fn releases_of(
    context: &Context<'_>,
    snapshot: &Snapshot,
) -> Result<BTreeMap<Component, u64>> {
    let services = snapshot.services.iter();
    let services = services.filter_map(|(it, found)| Some((*it, found.running()?.revision)));
    let services: Vec<_> = services.collect();
    let functions = snapshot.functions.iter();
    let functions = functions.filter_map(|(it, found)| Some((*it, found.running()?.version)));
    let functions: Vec<_> = functions.collect();
    let mut releases = BTreeMap::new();
    newest_where(context, |record| {
        let entries = &record.entries;
        for (service, revision) in &services {
            let brought = entries.services.get(service).and_then(Entry::brought);
            if brought.is_some_and(|brought| brought.revision == *revision) {
                let component = Component::from(*service);
                releases.entry(component).or_insert(record.number);
            }
        }
        for (function, version) in &functions {
            let brought = entries.functions.get(function).and_then(Entry::brought);
            if brought.is_some_and(|brought| brought.version == *version) {
                let component = Component::from(*function);
                releases.entry(component).or_insert(record.number);
            }
        }
        releases.len() == services.len() + functions.len()
    })
    .await?;
    Ok(releases)
}
