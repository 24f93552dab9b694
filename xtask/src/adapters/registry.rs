//! ECR: its API tells what it holds, its registry takes what it lacks.

mod distribution;
mod referrers;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::ImageIdentifier;

use super::aws::{explain, is_code};
use crate::catalog::Thing;
use crate::decide::archive::{MANIFEST_TYPE, open_image};
use crate::decide::image::{Artefact, Digest, Key};
use crate::decide::site::Site;
use crate::failure::Failure;
use crate::world::Registry;
use distribution::{Repository, Transport};

pub struct Ecr<'a> {
    client: Client,
    site: &'a Site,
    transport: Transport,
}

#[async_trait]
impl Registry for Ecr<'_> {
    async fn digest(&self, thing: Thing, key: &Key) -> Result<Option<Digest>> {
        let tag = ImageIdentifier::builder().image_tag(&key.0).build();
        self.find(thing, tag).await
    }

    async fn has(&self, thing: Thing, digest: &Digest) -> Result<bool> {
        let name = ImageIdentifier::builder().image_digest(digest.as_str());
        let found = self.find(thing, name.build()).await?;
        Ok(found.as_ref() == Some(digest))
    }

    async fn push(&self, artefact: &Artefact) -> Result<()> {
        let pushed = self.push_image(artefact).await;
        pushed.with_context(|| format!("push {} {}", artefact.thing, artefact.digest))
    }
}

impl<'a> Ecr<'a> {
    pub fn new(config: &aws_config::SdkConfig, site: &'a Site) -> Result<Self> {
        Ok(Self {
            client: Client::new(config),
            site,
            transport: Transport::new(&site.registry)?,
        })
    }

    /// The digest of an image that the repository holds.
    async fn find(&self, thing: Thing, image: ImageIdentifier) -> Result<Option<Digest>> {
        let repository = &self.site.service(thing).repository;
        let answer = self
            .client
            .describe_images()
            .repository_name(repository)
            .image_ids(image)
            .send()
            .await;
        let images = match answer {
            Ok(answer) => answer.image_details.unwrap_or_default(),
            Err(error) if is_code(&error, "ImageNotFoundException") => return Ok(None),
            Err(error) if is_code(&error, "RepositoryNotFoundException") => {
                return Err(Failure::not_ready(format!(
                    "the registry has no repository {repository}, which the site names"
                ))
                .hint("apply infra/ of this environment, which makes the repositories")
                .into());
            }
            Err(error) => {
                return Err(explain(error)).with_context(|| format!("look into {repository}"));
            }
        };
        let digest = images.first().and_then(|image| image.image_digest());
        digest
            .map(|text| Digest::parse(text).with_context(|| format!("{text} is no digest")))
            .transpose()
    }

    async fn push_image(&self, artefact: &Artefact) -> Result<()> {
        let Artefact { thing, key, .. } = artefact;
        if self.is_tagged(artefact).await? {
            return Ok(());
        }
        let archive = tokio::fs::read(&artefact.file)
            .await
            .with_context(|| format!("read {}", artefact.file.display()))?;
        let image = open_image(&archive).context(artefact.file.display().to_string())?;
        let repository = Repository {
            transport: &self.transport,
            registry: &self.site.registry,
            name: &self.site.service(*thing).repository,
            authorization: &self.authorization().await?,
        };
        let blobs = image.blobs.into_iter();
        let uploads = blobs.map(|(digest, bytes)| repository.put_blob(digest, bytes.into()));
        futures_util::future::try_join_all(uploads).await?;
        // Before the tag: what is tagged is not pushed again, and so has its documents.
        repository
            .attach_documents(artefact, &image.digest, &image.manifest)
            .await?;
        let put = repository
            .put_manifest(&key.0, MANIFEST_TYPE, image.manifest.into())
            .await;
        // Whoever else pushes this key at this moment pushes the same image, and where tags are
        // immutable only one of us is let in.
        match (self.is_tagged(artefact).await, put) {
            (Ok(true), _) => Ok(()),
            (Err(error), _) | (Ok(false), Err(error)) => Err(error),
            (Ok(false), Ok(())) => bail!("the registry took the image and does not have it"),
        }
    }

    /// Whether the artefact's key names its image already. Another image of that name is an
    /// error: a key decides an image's bytes.
    async fn is_tagged(&self, artefact: &Artefact) -> Result<bool> {
        match self.digest(artefact.thing, &artefact.key).await? {
            None => Ok(false),
            Some(digest) if digest == artefact.digest => Ok(true),
            Some(other) => bail!("the registry has {other} under the key {}", artefact.key),
        }
    }

    /// The value of the header `Authorization`. The user is always `AWS`.
    async fn authorization(&self) -> Result<String> {
        let answer = self.client.get_authorization_token().send().await;
        let answer = answer
            .map_err(explain)
            .context("ask for the registry's password")?;
        answer
            .authorization_data()
            .first()
            .and_then(|data| data.authorization_token())
            .map(|token| format!("Basic {token}"))
            .context("the registry gave no password")
    }
}
