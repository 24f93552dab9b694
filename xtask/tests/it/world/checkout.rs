//! The checkout, what is built of it, and Terraform.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use async_trait::async_trait;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use xtask::catalog::{ALL, SERVICES, Thing};
use xtask::decide::definition::hex;
use xtask::decide::image::{Artefact, Digest, Key};
use xtask::decide::site::Architecture;
use xtask::world::{Builder, Commit, Infra, InfraPlan, Source};

use super::{Fake, State};

impl State {
    /// The key of a thing's sources as they are now.
    pub(crate) fn key(&self, thing: Thing) -> Key {
        let text = format!("{thing} {}", self.sources[&thing]);
        Key(hex(&Sha256::digest(text)))
    }

    /// The digest of the image that is made of a thing's sources as they are now.
    pub(crate) fn digest(&self, thing: Thing) -> Digest {
        Digest::of(self.key(thing).0.as_bytes())
    }

    fn artefact(&self, thing: Thing) -> Artefact {
        Artefact {
            thing,
            key: self.key(thing),
            digest: self.digest(thing),
            file: PathBuf::from("packed"),
            packed_bytes: 2_500_000,
            unpacked_bytes: 6_000_000,
        }
    }

    /// Terraform creates the services on a placeholder, with none desired.
    pub(super) fn apply(&mut self, infra: &str) {
        let mut site = self.site.clone();
        site["infra_sha256"] = json!(infra);
        self.published = Some(site);
        for thing in SERVICES {
            self.ecs.create(thing);
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
            .with_context(|| format!("no {path}"))
    }

    async fn services_sha256(&self) -> Result<String> {
        Ok(hex(&Sha256::digest(format!("{:?}", self.state().sources))))
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
    async fn keys(&self, _: Architecture) -> Result<BTreeMap<Thing, Key>> {
        let state = self.state();
        Ok(ALL.map(|thing| (thing, state.key(thing))).into())
    }

    async fn at_hand(&self, thing: Thing, key: &Key) -> Result<Option<Artefact>> {
        let state = self.state();
        Ok(state.at_hand.contains(key).then(|| state.artefact(thing)))
    }

    async fn build(
        &self,
        _: Architecture,
        keys: &BTreeMap<Thing, Key>,
    ) -> Result<BTreeMap<Thing, Artefact>> {
        self.call("build", |state| {
            state.builds += 1;
            state.at_hand.extend(keys.values().cloned());
            let things = keys.keys();
            Ok(things
                .map(|thing| (*thing, state.artefact(*thing)))
                .collect())
        })
        .await
    }

    async fn bytes(&self, artefact: &Artefact) -> Result<Vec<u8>> {
        Ok(artefact.key.0.clone().into_bytes())
    }

    async fn bundle(&self, _: &BTreeMap<Thing, Artefact>, _: &Path) -> Result<()> {
        Ok(())
    }
}

/// `infra/` as it was when it was planned.
struct Planned<'a> {
    fake: &'a Fake,
    infra: String,
}

#[async_trait]
impl InfraPlan for Planned<'_> {
    fn summary(&self) -> &'static str {
        "terraform would change this"
    }

    async fn apply(self: Box<Self>) -> Result<()> {
        let work = |state: &mut State| {
            state.apply(&self.infra);
            Ok(())
        };
        self.fake.call("apply", work).await
    }
}

#[async_trait]
impl Infra for Fake {
    async fn wanted_sha256(&self) -> Result<String> {
        Ok(self.state().infra.clone())
    }

    async fn site(&self) -> Result<Option<String>> {
        self.call("read the site", |state| {
            Ok(state.published.as_ref().map(ToString::to_string))
        })
        .await
    }

    async fn plan(&self) -> Result<Box<dyn InfraPlan + '_>> {
        self.call("plan infra", |state| {
            let infra = state.infra.clone();
            Ok(Box::new(Planned { fake: self, infra }) as Box<dyn InfraPlan>)
        })
        .await
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}
