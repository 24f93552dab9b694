//! `status`: what runs, by which release.

use anyhow::Result;
use serde_json::json;

use super::plan::newest_where;
use crate::catalog::{SERVICES, Thing};
use crate::decide::release::{Record, Running};
use crate::drive;
use crate::world::World;

pub async fn status(world: &World<'_>) -> Result<()> {
    let (look, newest) = tokio::try_join!(drive::look(world), world.ledger.newest())?;
    let running = look.running();
    let mut services = serde_json::Map::new();
    let mut lines = vec![format!("{:<11} {}", "base url", world.site.base_url)];
    for thing in SERVICES {
        let service = &look.services[&thing];
        let known = running.get(&thing).and_then(Option::as_ref);
        let release = release_of(world, thing, known).await?;
        let image = known.and_then(|running| running.image.clone());
        services.insert(
            thing.name().to_owned(),
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
            thing.name(),
            service.state.running,
            service.state.desired,
            known.map_or("nothing released", |running| running.revision.as_str()),
            release.map_or("none".to_owned(), |number| number.to_string()),
        ));
        if let Some(image) = image {
            lines.push(format!("{:<11}   {image}", ""));
        }
    }
    let known = running.get(&Thing::Governance).and_then(Option::as_ref);
    let release = release_of(world, Thing::Governance, known).await?;
    lines.push(format!(
        "{:<11} {} -> version {}, release {}",
        Thing::Governance.name(),
        world.site.function_name(),
        look.function.version,
        release.map_or("none".to_owned(), |number| number.to_string()),
    ));
    lines.extend(newest.iter().flat_map(newest_release));
    let document = json!({
        "environment": world.environment.name,
        "base_url": world.site.base_url,
        "services": services,
        "function": {
            "name": world.site.function.name,
            "alias": world.site.function.alias,
            "version": look.function.version,
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
    for thing in &record.without_alarms {
        let text = format!("the alarms of {thing} are off until the next deploy or rollback");
        lines.push(format!("{:<11} {text}", ""));
    }
    lines
}

/// The newest release after which this ran.
async fn release_of(
    world: &World<'_>,
    thing: Thing,
    running: Option<&Running>,
) -> Result<Option<u64>> {
    let Some(running) = running else {
        return Ok(None);
    };
    let record = newest_where(world, |record| {
        let entry = record.things.get(&thing);
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
