//! `render`: a service's definition, as `deploy` would register it now.

use anyhow::Result;

use crate::catalog::Service;
use crate::decide::outputs::Outputs;
use crate::failure::Failure;
use crate::planning::definitions;
use crate::ports::Context;

/// Prints the definition. Its image is that of the current sources, which has to exist already:
/// nothing is built here.
pub async fn render(context: &Context<'_>, outputs: &Outputs, service: Service) -> Result<()> {
    let image = image(context, outputs, service).await?;
    let definition = definitions::rendered(context, outputs, service, &image).await?;
    let human = serde_json::to_string_pretty(&definition.0)?;
    context.report.data(&definition.0, &human);
    Ok(())
}

/// The image with its digest, from the registry or from this machine's cache.
async fn image(context: &Context<'_>, outputs: &Outputs, service: Service) -> Result<String> {
    let keys = context.builder.keys(outputs.architecture).await?;
    let mut digest = None;
    if let Some(key) = keys.get(&service.into()) {
        digest = context.registry.digest(outputs, service, key).await?;
        if digest.is_none() {
            let cached = context.builder.cached(service.into(), key).await?;
            digest = cached.map(|artifact| artifact.digest);
        }
    }
    let Some(digest) = digest else {
        let failure =
            Failure::not_ready(format!("{service} has not been built from these sources"));
        return Err(failure.hint(format!("cargo xtask build {service}")).into());
    };
    Ok(format!("{}@{digest}", outputs.image_name(service)))
}
