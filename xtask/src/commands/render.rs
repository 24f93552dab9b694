//! `render`: a service's definition, as `deploy` would register it now.

use anyhow::Result;

use crate::catalog::Thing;
use crate::decide::definition::Definition;
use crate::decide::render::{self, RenderError};
use crate::decide::site::Site;
use crate::failure::{Failure, Kind};
use crate::world::{Source, World};

/// Prints the definition. Its image is that of the sources as they are, which have to have been
/// built: rendering builds nothing.
pub async fn render(world: &World<'_>, thing: Thing) -> Result<()> {
    if !thing.is_service() {
        let hint = "cargo xtask render axon\ncargo xtask render orbit";
        return Err(Failure::usage(format!("{thing} has no task definition"))
            .hint(hint)
            .into());
    }
    let image = image(world, thing).await?;
    let definition = definition(world.source, world.site, thing, &image).await?;
    let human = serde_json::to_string_pretty(&definition.0)?;
    world.report.data(&definition.0, &human);
    Ok(())
}

/// A service's template with every placeholder filled from the site.
pub async fn definition(
    source: &dyn Source,
    site: &Site,
    thing: Thing,
    image: &str,
) -> Result<Definition> {
    let file = thing.template();
    let template = source.read(&file).await?;
    let values = render::values(thing, site, image);
    let extra_environment = &site.service(thing).environment;
    Ok(render::render(&file, &template, &values, extra_environment)
        .map_err(|error| refused(&error))?)
}

/// A template that cannot be rendered is what lint would find.
fn refused(error: &RenderError) -> Failure {
    Failure::new(Kind::Findings, error.to_string())
}

/// The image by its digest: from the registry, or as it was built on this machine.
async fn image(world: &World<'_>, thing: Thing) -> Result<String> {
    let keys = world.builder.keys(world.site.architecture).await?;
    let mut digest = None;
    if let Some(key) = keys.get(&thing) {
        digest = world.registry.digest(thing, key).await?;
        if digest.is_none() {
            digest = world
                .builder
                .at_hand(thing, key)
                .await?
                .map(|artefact| artefact.digest);
        }
    }
    let Some(digest) = digest else {
        let failure = Failure::not_ready(format!("{thing} has not been built from these sources"));
        return Err(failure.hint(format!("cargo xtask build {thing}")).into());
    };
    Ok(format!("{}@{digest}", world.site.image_name(thing)))
}
