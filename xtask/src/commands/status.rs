//! `status`: what runs, by which release.

use anyhow::Result;
use serde_json::json;

use super::plan::newest_where;
use crate::catalog::{Component, SERVICES};
use crate::decide::release::record::{Record, Running};
use crate::release;
use crate::world::World;

pub async fn status(world: &World<'_>) -> Result<()> {
    let (snapshot, newest) = tokio::try_join!(release::observe(world), world.ledger.newest())?;
    let running = snapshot.running();
    let mut services = serde_json::Map::new();
    let mut lines = vec![format!("{:<11} {}", "base url", world.outputs.base_url)];
    for component in SERVICES {
        let service = &snapshot.services[&component];
        let known = running.get(&component).and_then(Option::as_ref);
        let release = release_of(world, component, known).await?;
        let image = known.and_then(|running| running.image.clone());
        services.insert(
            component.name().to_owned(),
            json!({
                "desired": service.state.desired,
                "running": service.state.running,
                "settled": service.state.settled(),
                "image": image,
                "revision": known.map(|running| running.revision.clone()),
                "release": release,
            }),
        );
        let moving = if service.state.settled() {
            ""
        } else {
            ", moving"
        };
        lines.push(format!(
            "{:<11} {}/{} running{moving}, {}, release {}",
            component.name(),
            service.state.running,
            service.state.desired,
            known.map_or("nothing released", |running| running.revision.as_str()),
            release.map_or("none".to_owned(), |number| number.to_string()),
        ));
        if let Some(image) = image {
            lines.push(format!("{:<11}   {image}", ""));
        }
    }
    let known = running.get(&Component::Governance).and_then(Option::as_ref);
    let release = release_of(world, Component::Governance, known).await?;
    lines.push(format!(
        "{:<11} {} -> version {}, release {}",
        Component::Governance.name(),
        world.outputs.function_name(),
        snapshot.function.version,
        release.map_or("none".to_owned(), |number| number.to_string()),
    ));
    lines.extend(newest.iter().flat_map(newest_release));
    let document = json!({
        "environment": world.environment.name,
        "base_url": world.outputs.base_url,
        "services": services,
        "function": {
            "name": world.outputs.function.name,
            "alias": world.outputs.function.alias,
            "version": snapshot.function.version,
            "release": release,
        },
        "newest_release": newest,
    });
    world.report.data(&document, &lines.join("\n"));
    Ok(())
}

fn newest_release(record: &Record) -> Vec<String> {
    let about = format!("{}: {}", record.about(), record.state.text());
    let mut lines = vec![format!("{:<11} {about}", "newest")];
    for component in &record.without_alarms {
        let text = format!("the alarms of {component} are off until the next deploy or rollback");
        lines.push(format!("{:<11} {text}", ""));
    }
    lines
}

/// The newest release after which this ran.
async fn release_of(
    world: &World<'_>,
    component: Component,
    running: Option<&Running>,
) -> Result<Option<u64>> {
    let Some(running) = running else {
        return Ok(None);
    };
    let record = newest_where(world, |record| {
        let entry = record.components.get(&component);
        entry.is_some_and(|entry| {
            entry.outcome.is_some()
                && entry
                    .after
                    .as_ref()
                    .is_some_and(|after| after.revision == running.revision)
        })
    });
    Ok(record.await?.map(|record| record.number))
}
