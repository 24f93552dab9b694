//! `build`: from the checkout's sources to images that are named by their digest.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::catalog::{Component, Service};
use crate::decide::artifact::image::Artifact;
use crate::decide::artifact::types::{Digest, Key};
use crate::decide::outputs::{Architecture, Outputs};
use crate::ports::{Builder, Registry};
use crate::release::push;
use crate::report::{BuildEvent, Report};

pub struct Request<'a> {
    pub components: &'a [Component],
    pub architecture: Architecture,
    /// Repositories are called `<project>/<name>`.
    pub project: &'a str,
    /// Where to push; without it no call of AWS is made.
    pub push: Option<Target<'a>>,
    /// Where to keep a copy of what was built, for `--artifacts`.
    pub out: Option<&'a Path>,
}

/// A registry, and the outputs that name its repositories.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub outputs: &'a Outputs,
    pub registry: &'a dyn Registry,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Built {
    name: Component,
    key: Key,
    digest: Digest,
    /// `repository@sha256:...`; a function has none.
    image: Option<String>,
}

pub async fn build(builder: &dyn Builder, report: &Report, request: &Request<'_>) -> Result<()> {
    let keys = builder.keys(request.architecture).await?;
    let mut digests = pushed_before(request, &keys).await?;
    let wanted: Vec<Component> = missing(request, &digests);
    let artifacts = cached_or_built(builder, report, request, &keys, &wanted).await?;
    if let Some(folder) = request.out {
        builder.bundle(&artifacts, folder).await?;
        report.emit(BuildEvent::Bundled {
            components: request.components.to_vec(),
            folder: folder.display().to_string(),
        });
    }
    for component in wanted {
        let artifact = &artifacts[&component];
        let is_pushed = digests.contains_key(&component);
        if let Some(target) = request.push.filter(|_| !is_pushed) {
            push(target.registry, target.outputs, report, artifact).await?;
        }
        digests.insert(component, artifact.digest.clone());
    }
    print(report, request, &keys, &digests);
    Ok(())
}

/// An image that the registry has under the same key was built of the same inputs, so it is left
/// out.
async fn pushed_before(
    request: &Request<'_>,
    keys: &BTreeMap<Component, Key>,
) -> Result<BTreeMap<Component, Digest>> {
    let mut digests = BTreeMap::new();
    let Some(target) = request.push else {
        return Ok(digests);
    };
    for service in request.components.iter().filter_map(|it| it.service()) {
        let key = &keys[&service.into()];
        if let Some(digest) = target.registry.digest(target.outputs, service, key).await? {
            digests.insert(service.into(), digest);
        }
    }
    Ok(digests)
}

fn missing(request: &Request<'_>, digests: &BTreeMap<Component, Digest>) -> Vec<Component> {
    let components = request.components.iter().copied();
    components
        .filter(|component| request.out.is_some() || !digests.contains_key(component))
        .collect()
}

async fn cached_or_built(
    builder: &dyn Builder,
    report: &Report,
    request: &Request<'_>,
    keys: &BTreeMap<Component, Key>,
    wanted: &[Component],
) -> Result<BTreeMap<Component, Artifact>> {
    let keys = wanted
        .iter()
        .map(|component| (*component, keys[component].clone()));
    let keys: BTreeMap<Component, Key> = keys.collect();
    let Some(artifacts) = builder.all_cached(&keys).await? else {
        return builder.build(request.architecture, &keys).await;
    };
    report.emit(BuildEvent::BuildUpToDate);
    Ok(artifacts)
}

fn print(
    report: &Report,
    request: &Request<'_>,
    keys: &BTreeMap<Component, Key>,
    digests: &BTreeMap<Component, Digest>,
) {
    let built: Vec<Built> = request
        .components
        .iter()
        .map(|component| {
            let digest = digests[component].clone();
            Built {
                name: *component,
                key: keys[component].clone(),
                image: component.service().map(|service| {
                    let repository = repository(request, service);
                    format!("{repository}@{digest}")
                }),
                digest,
            }
        })
        .collect();
    let lines: Vec<String> = built
        .iter()
        .map(|built| {
            let content = built.image.as_deref().unwrap_or(built.digest.as_str());
            format!("{} {content}", built.name)
        })
        .collect();
    report.data(&built, &lines.join("\n"));
}

fn repository(request: &Request<'_>, service: Service) -> String {
    request.push.map_or_else(
        || format!("{}/{service}", request.project),
        |target| target.outputs.image_name(service),
    )
}
