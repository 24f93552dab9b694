//! Images and function zips for a release: those that AWS has are not made again.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;

use crate::catalog::{Component, Service};
use crate::decide::artifact::image::Artifact;
use crate::decide::artifact::types::{Digest, Key};
use crate::decide::outputs::Outputs;
use crate::decide::release::snapshot::Snapshot;
use crate::ports::Context;

/// Of each chosen component its key; of its bytes what the registry has, or what was packed here.
pub struct ReleaseArtifacts {
    pub keys: BTreeMap<Component, Key>,
    pub pushed: BTreeMap<Service, Digest>,
    /// What AWS does not have.
    pub packed: BTreeMap<Component, Artifact>,
}

impl ReleaseArtifacts {
    pub fn key(&self, component: Component) -> Result<&Key> {
        key_of(&self.keys, component)
    }

    pub fn digest(&self, service: Service) -> Result<&Digest> {
        let packed = self.packed.get(&service.into()).map(|it| &it.digest);
        let known = self.pushed.get(&service).or(packed);
        known.with_context(|| format!("{service} has no image"))
    }
}

/// The digests of the images that the registry has for these keys.
pub async fn pushed(
    context: &Context<'_>,
    outputs: &Outputs,
    services: impl Iterator<Item = Service>,
    keys: &BTreeMap<Component, Key>,
) -> Result<BTreeMap<Service, Digest>> {
    let found = services.map(async |service| -> Result<_> {
        let key = key_of(keys, service.into())?;
        let digest = context.registry.digest(outputs, service, key).await?;
        Ok(digest.map(|digest| (service, digest)))
    });
    Ok(try_join_all(found).await?.into_iter().flatten().collect())
}

/// Packs what AWS does not have yet: from the cache, else built.
pub async fn pack(
    context: &Context<'_>,
    components: impl Iterator<Item = Component>,
    keys: BTreeMap<Component, Key>,
    pushed: BTreeMap<Service, Digest>,
    snapshot: &Snapshot,
) -> Result<ReleaseArtifacts> {
    let mut packed = BTreeMap::new();
    let mut absent = BTreeMap::new();
    for component in components {
        let key = key_of(&keys, component)?;
        let is_there = match component {
            Component::Service(service) => pushed.contains_key(&service),
            Component::Function(function) => {
                let found = snapshot.functions.get(&function);
                found.is_some_and(|found| found.key.as_ref() == Some(key))
            }
        };
        if is_there {
            continue;
        }
        match context.builder.cached(component, key).await? {
            Some(artifact) => drop(packed.insert(component, artifact)),
            None => drop(absent.insert(component, key.clone())),
        }
    }
    if !absent.is_empty() {
        let architecture = context.architecture;
        packed.extend(context.builder.build(architecture, &absent).await?);
    }
    Ok(ReleaseArtifacts {
        keys,
        pushed,
        packed,
    })
}

pub fn key_of(keys: &BTreeMap<Component, Key>, component: Component) -> Result<&Key> {
    let key = keys.get(&component);
    key.with_context(|| format!("{component} has no key"))
}
