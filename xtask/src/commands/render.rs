//! `render`: a service's definition, as `deploy` would register it now.

use anyhow::Result;

use crate::catalog::Component;
use crate::decide::definition::Definition;
use crate::decide::definition::render::{self, RenderError};
use crate::decide::outputs::Outputs;
use crate::failure::{Failure, Kind};
use crate::world::{Source, World};

/// Prints the definition. Its image is that of the sources as they are, which have to have been
/// built: rendering builds nothing.
pub async fn render(world: &World<'_>, component: Component) -> Result<()> {
    if !component.is_service() {
        let hint = "cargo xtask render axon\ncargo xtask render orbit";
        return Err(
            Failure::usage(format!("{component} has no task definition"))
                .hint(hint)
                .into(),
        );
    }
    let image = image(world, component).await?;
    let definition = definition(world.source, world.outputs, component, &image).await?;
    let human = serde_json::to_string_pretty(&definition.0)?;
    world.report.data(&definition.0, &human);
    Ok(())
}

/// A service's template with every placeholder filled from the outputs.
pub async fn definition(
    source: &dyn Source,
    outputs: &Outputs,
    component: Component,
    image: &str,
) -> Result<Definition> {
    let file = component.template();
    let template = source.read(&file).await?;
    let values = render::values(component, outputs, image);
    let extra_environment = &outputs.service(component).environment;
    Ok(render::render(&file, &template, &values, extra_environment)
        .map_err(|error| refused(&error))?)
}

/// A template that cannot be rendered is what lint would find.
fn refused(error: &RenderError) -> Failure {
    Failure::new(Kind::Findings, error.to_string())
}

/// The image by its digest: from the registry, or as it was built on this machine.
async fn image(world: &World<'_>, component: Component) -> Result<String> {
    let keys = world.builder.keys(world.outputs.architecture).await?;
    let mut digest = None;
    if let Some(key) = keys.get(&component) {
        digest = world.registry.digest(component, key).await?;
        if digest.is_none() {
            digest = world
                .builder
                .cached(component, key)
                .await?
                .map(|artifact| artifact.digest);
        }
    }
    let Some(digest) = digest else {
        let failure =
            Failure::not_ready(format!("{component} has not been built from these sources"));
        return Err(failure
            .hint(format!("cargo xtask build {component}"))
            .into());
    };
    Ok(format!("{}@{digest}", world.outputs.image_name(component)))
}
