//! Task definitions of this checkout: rendered, and looked through by lint.

use anyhow::{Context as _, Result};

use crate::catalog::{Service, ServiceEntry};
use crate::decide::artifact::archive;
use crate::decide::definition::Definition;
use crate::decide::definition::lint::suppressions::{self, Suppressions};
use crate::decide::definition::lint::{self, Facts, Finding};
use crate::decide::definition::render::{self, RenderError};
use crate::decide::definition::settings::ProgramSettings;
use crate::decide::outputs::Outputs;
use crate::failure::{Failure, Kind};
use crate::ports::{Context, Source};
use crate::release;

/// A service's template with every placeholder filled from the outputs.
pub async fn rendered(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
    image: &str,
) -> Result<Definition> {
    let entry = context.catalog.service(service);
    let entry = entry.with_context(|| format!("{service} is not in the catalog"))?;
    rendered_with(context.source, outputs, entry, image).await
}

/// Without a deployed environment.
pub async fn rendered_with(
    source: &dyn Source,
    outputs: &Outputs,
    entry: &ServiceEntry,
    image: &str,
) -> Result<Definition> {
    let file = entry.service.template();
    let template = source.read(&file).await?;
    let values = render::values(entry, outputs, image);
    let extra_environment = &outputs.service(entry.service).environment;
    Ok(render::render(&file, &template, &values, extra_environment)
        .map_err(|error| refused(&error))?)
}

/// A template that cannot be rendered is what lint would find.
fn refused(error: &RenderError) -> Failure {
    Failure::new(Kind::Findings, error.to_string())
}

/// The suppressions of a file and its text; none where there is no such file.
pub async fn suppressions(
    source: &dyn Source,
    path: &str,
) -> Result<(String, Suppressions), Failure> {
    let Ok(text) = source.read(path).await else {
        return Ok((String::new(), Suppressions::default()));
    };
    match Suppressions::parse(path, &text) {
        Ok(suppressions) => Ok((text, suppressions)),
        Err(fault) => Err(Failure::new(Kind::Findings, fault)),
    }
}

/// What a service's program reads; `None` where its folder does not say it.
pub async fn settings(source: &dyn Source, entry: &ServiceEntry) -> Option<ProgramSettings> {
    let path = ProgramSettings::path(&entry.common.folder);
    let text = source.read(&path).await.ok()?;
    Some(ProgramSettings::parse(&text))
}

/// All of lint that nobody has accepted, with what the outputs, our images and the limit of a rollout say.
pub async fn findings(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
    definition: &Definition,
) -> Result<Vec<Finding>> {
    let source = context.source;
    let program = match context.catalog.service(service) {
        Some(entry) => settings(source, entry).await,
        None => None,
    };
    let facts = Facts {
        image: Some(archive::facts(service, outputs.architecture)),
        settings: program,
        rollout_seconds_max: Some(release::ROLLOUT_LIMIT.as_secs().cast_signed()),
        ..Facts::of(outputs, service)
    };
    let found = lint::lint(service.name(), definition, &facts);
    let path = suppressions::path_beside(&service.template());
    let (_, mut accepted) = suppressions(source, &path).await?;
    Ok(accepted.apply(found))
}
