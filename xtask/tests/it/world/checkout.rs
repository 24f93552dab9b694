//! The checkout, its artifacts, and Terraform.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use async_trait::async_trait;
use serde_json::json;
use xtask::catalog::{Component, Service};
use xtask::decide::artifact::image::Artifact;
use xtask::decide::artifact::types::{Digest, Key};
use xtask::decide::outputs::Architecture;
use xtask::ports::{Builder, Commit, Infra, InfraPlan, Source};

use super::{Fake, FakeState};

impl FakeState {
    /// The key of a component's sources as they are now.
    pub(crate) fn key(&self, component: impl Into<Component>) -> Key {
        let component = component.into();
        let text = format!("{component} {}", self.sources[&component]);
        Key(Digest::of(text.as_bytes()).hex().to_owned())
    }

    /// The digest of the image that is made of a component's sources as they are now.
    pub(crate) fn digest(&self, component: impl Into<Component>) -> Digest {
        Digest::of(self.key(component).0.as_bytes())
    }

    fn artifact(&self, component: Component) -> Artifact {
        Artifact {
            component,
            key: self.key(component),
            digest: self.digest(component),
            file: PathBuf::from("packed"),
            packed_bytes: 2_500_000,
            unpacked_bytes: 6_000_000,
        }
    }

    /// Terraform creates the services on a placeholder, with a desired count of 0.
    pub(super) fn apply(&mut self, infra: &str) {
        let mut outputs = self.outputs.clone();
        outputs["infra_sha256"] = json!(infra);
        self.published = Some(outputs);
        for service in self.catalog.services() {
            if !self.ecs.has_service(service.name()) {
                let placeholder = format!("demo-{service}-placeholder:1");
                self.ecs.create_service(service.name(), &placeholder);
            }
        }
        self.changed("apply");
    }
}

#[async_trait]
impl Source for Fake {
    async fn read(&self, path: &str) -> Result<String> {
        let templates = &self.state().templates;
        templates
            .get(path)
            .cloned()
            .with_context(|| format!("read {path}: no such file"))
    }

    async fn services_sha256(&self) -> Result<String> {
        Ok(Digest::of(format!("{:?}", self.state().sources).as_bytes())
            .hex()
            .to_owned())
    }

    async fn commit(&self) -> Result<Option<Commit>> {
        Ok(Some(Commit {
            id: "c0ffee".repeat(6) + "c0ff",
            dirty: false,
        }))
    }
}

#[async_trait]
impl Builder for Fake {
    async fn keys(&self, _: Architecture) -> Result<BTreeMap<Component, Key>> {
        let state = self.state();
        let components = state.catalog.components().into_iter();
        Ok(components
            .map(|component| (component, state.key(component)))
            .collect())
    }

    async fn cached(&self, component: Component, key: &Key) -> Result<Option<Artifact>> {
        let state = self.state();
        Ok(state
            .cached
            .contains(key)
            .then(|| state.artifact(component)))
    }

    async fn build(
        &self,
        _: Architecture,
        keys: &BTreeMap<Component, Key>,
    ) -> Result<BTreeMap<Component, Artifact>> {
        let names = names_of(keys);
        self.call(&format!("build {names}"), |state| {
            state.builds += 1;
            state.cached.extend(keys.values().cloned());
            let components = keys.keys();
            Ok(components
                .map(|component| (*component, state.artifact(*component)))
                .collect())
        })
        .await
    }

    async fn bytes(&self, artifact: &Artifact) -> Result<Vec<u8>> {
        Ok(artifact.key.0.clone().into_bytes())
    }

    async fn bundle(&self, artifacts: &BTreeMap<Component, Artifact>, folder: &Path) -> Result<()> {
        let names = names_of(artifacts);
        self.call(&format!("bundle {names} in {}", folder.display()), |_| {
            Ok(())
        })
        .await
    }
}

fn names_of<T>(by_component: &BTreeMap<Component, T>) -> String {
    let names: Vec<&str> = by_component.keys().map(|it| it.name()).collect();
    names.join(" ")
}

/// `infra/` as it was when it was planned.
struct PlannedInfra<'a> {
    fake: &'a Fake,
    infra: String,
}

#[async_trait]
impl InfraPlan for PlannedInfra<'_> {
    fn summary(&self) -> &'static str {
        "terraform would change this"
    }

    fn destroyed(&self) -> Vec<String> {
        self.fake.state().destroyed_by_apply.clone()
    }

    async fn apply(self: Box<Self>) -> Result<()> {
        let work = |state: &mut FakeState| {
            state.apply(&self.infra);
            Ok(())
        };
        self.fake.call("apply", work).await
    }
}

#[async_trait]
impl Infra for Fake {
    async fn desired_sha256(&self, _: &[Service]) -> Result<String> {
        Ok(self.state().infra.clone())
    }

    async fn outputs(&self) -> Result<Option<String>> {
        self.call("read the outputs", |state| {
            Ok(state.published.as_ref().map(ToString::to_string))
        })
        .await
    }

    async fn plan(&self, _: &[Service]) -> Result<Box<dyn InfraPlan + '_>> {
        self.call("plan infra", |state| {
            let infra = state.infra.clone();
            Ok(Box::new(PlannedInfra { fake: self, infra }) as Box<dyn InfraPlan>)
        })
        .await
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}
