//! ECR: its API for looking up images, its registry for pushing them.

mod distribution;
mod referrers;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageFailureCode, ImageIdentifier, TagStatus};

use super::aws::{explain, is_code};
use super::transport::{self, Transport};
use crate::catalog::Service;
use crate::decide::artifact::archive::open_image;
use crate::decide::artifact::image::Artifact;
use crate::decide::artifact::types::MANIFEST_TYPE;
use crate::decide::artifact::types::{Digest, Key};
use crate::decide::outputs::Outputs;
use crate::failure::Failure;
use crate::ports::Registry;
use crate::report::{BuildEvent, Report};
use distribution::Repository;

pub struct Ecr<'a> {
    client: Client,
    transport: transport::Client,
    report: &'a Report,
}

#[async_trait]
impl Registry for Ecr<'_> {
    async fn digest(
        &self,
        outputs: &Outputs,
        service: Service,
        key: &Key,
    ) -> Result<Option<Digest>> {
        let tag = ImageIdentifier::builder().image_tag(&key.0).build();
        self.find(outputs, service, tag).await
    }

    async fn has(&self, outputs: &Outputs, service: Service, digest: &Digest) -> Result<bool> {
        let name = ImageIdentifier::builder().image_digest(digest.as_str());
        let found = self.find(outputs, service, name.build()).await?;
        Ok(found.as_ref() == Some(digest))
    }

    async fn describe_images(&self, outputs: &Outputs, service: Service) -> Result<Vec<Digest>> {
        let repository = &outputs.service(service).repository;
        let tagged = DescribeImagesFilter::builder().tag_status(TagStatus::Tagged);
        let mut pages = self
            .client
            .describe_images()
            .repository_name(repository)
            .filter(tagged.build())
            .into_paginator()
            .items()
            .send();
        let mut digests = Vec::new();
        while let Some(image) = pages.next().await {
            let image = image.map_err(explain);
            let image = image.with_context(|| format!("describe images of {repository}"))?;
            let is_ours = image
                .image_tags()
                .iter()
                .any(|tag| Key::parse(tag).is_some());
            let digest = image.image_digest().filter(|_| is_ours);
            digests.extend(digest.and_then(Digest::parse));
        }
        Ok(digests)
    }

    async fn batch_delete_image(
        &self,
        outputs: &Outputs,
        service: Service,
        digests: &[Digest],
    ) -> Result<()> {
        let repository = &outputs.service(service).repository;
        let ids = digests.iter();
        let ids = ids.map(|it| ImageIdentifier::builder().image_digest(it.as_str()).build());
        let deleted = self
            .client
            .batch_delete_image()
            .repository_name(repository)
            .set_image_ids(Some(ids.collect()))
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("delete images of {repository}"))?;
        let failures = deleted.failures().iter();
        let failures =
            failures.filter(|it| it.failure_code() != Some(&ImageFailureCode::ImageNotFound));
        let reasons: Vec<&str> = failures.filter_map(|it| it.failure_reason()).collect();
        ensure!(
            reasons.is_empty(),
            "delete images of {repository}: {}",
            reasons.join(", ")
        );
        Ok(())
    }

    async fn push(&self, outputs: &Outputs, service: Service, artifact: &Artifact) -> Result<()> {
        let pushed = self.push_image(outputs, service, artifact).await;
        pushed.with_context(|| format!("push {service} {}", artifact.digest))
    }
}

impl<'a> Ecr<'a> {
    pub fn new(config: &aws_config::SdkConfig, transport: &Transport, report: &'a Report) -> Self {
        Self {
            client: Client::new(config),
            transport: transport.client(None),
            report,
        }
    }

    /// The digest of an image in the repository.
    async fn find(
        &self,
        outputs: &Outputs,
        service: Service,
        image: ImageIdentifier,
    ) -> Result<Option<Digest>> {
        let repository = &outputs.service(service).repository;
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
                    "the registry has no repository {repository}"
                ))
                .hint("apply infra/ of this environment, which creates the repositories")
                .into());
            }
            Err(error) => {
                return Err(explain(error))
                    .with_context(|| format!("describe images of {repository}"));
            }
        };
        let digest = images.first().and_then(|image| image.image_digest());
        digest
            .map(|text| Digest::parse(text).with_context(|| format!("invalid digest {text}")))
            .transpose()
    }

    async fn push_image(
        &self,
        outputs: &Outputs,
        service: Service,
        artifact: &Artifact,
    ) -> Result<()> {
        let key = &artifact.key;
        if self.is_tagged(outputs, service, artifact).await? {
            return Ok(());
        }
        let archive = tokio::fs::read(&artifact.file)
            .await
            .with_context(|| format!("read {}", artifact.file.display()))?;
        let image = open_image(&archive).context(artifact.file.display().to_string())?;
        let repository = Repository {
            client: &self.transport,
            registry: &outputs.registry,
            name: &outputs.service(service).repository,
            authorization: &self.authorization().await?,
        };
        let blobs = image.blobs.into_iter();
        let uploads = blobs.map(|(digest, bytes)| repository.put_blob(digest, bytes.into()));
        futures_util::future::try_join_all(uploads).await?;
        // Before the tag, since a tagged image is not pushed again.
        let documents = referrers::read(artifact).await?;
        let attached = repository.attach_documents(documents, &image.digest, &image.manifest);
        if let Err(error) = attached.await {
            self.report.emit(BuildEvent::DocumentsNotAttached {
                component: service.into(),
                file: artifact.file.display().to_string(),
                error: format!("{error:#}"),
            });
        }
        let put = repository
            .put_manifest(&key.0, MANIFEST_TYPE, image.manifest.into())
            .await;
        // A concurrent push of this key pushes the same image; with immutable tags only one of them
        // succeeds.
        match (self.is_tagged(outputs, service, artifact).await, put) {
            (Ok(true), _) => Ok(()),
            (Err(error), _) | (Ok(false), Err(error)) => Err(error),
            (Ok(false), Ok(())) => bail!("the registry accepted the image, but does not have it"),
        }
    }

    /// Whether the key of the artifact is a tag of its image already.
    ///
    /// # Errors
    /// If it is the tag of another image, since a key determines the bytes.
    async fn is_tagged(
        &self,
        outputs: &Outputs,
        service: Service,
        artifact: &Artifact,
    ) -> Result<bool> {
        match self.digest(outputs, service, &artifact.key).await? {
            None => Ok(false),
            Some(digest) if digest == artifact.digest => Ok(true),
            Some(other) => bail!("the registry has {other} with the tag {}", artifact.key),
        }
    }

    /// The value of the header `Authorization`.
    async fn authorization(&self) -> Result<String> {
        let answer = self.client.get_authorization_token().send().await;
        let answer = answer
            .map_err(explain)
            .context("get the password of the registry")?;
        answer
            .authorization_data()
            .first()
            .and_then(|data| data.authorization_token())
            .map(|token| format!("Basic {token}"))
            .context("no password in the response of the registry")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use http::{Method, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::adapters::fake_aws;
    use crate::catalog::testing::AXON;
    use crate::decide::artifact::archive::pack_image;
    use crate::decide::artifact::referrer::IMAGE_DOCUMENTS;
    use crate::decide::outputs;
    use crate::decide::outputs::Architecture;
    use crate::report::{Format, testing::captured};

    /// A packed image and its documents in a folder.
    #[expect(clippy::disallowed_methods, reason = "a temporary folder")]
    fn packed(folder: &std::path::Path) -> Artifact {
        let packed = pack_image("axon", Architecture::X86, b"a program", None).unwrap();
        let artifact = Artifact {
            component: AXON.into(),
            key: Key("5".repeat(64)),
            digest: packed.digest,
            file: folder.join("axon.tar"),
            packed_bytes: packed.packed_bytes,
            unpacked_bytes: 9,
        };
        std::fs::write(&artifact.file, packed.bytes).unwrap();
        for document in IMAGE_DOCUMENTS {
            std::fs::write(artifact.document(document), "a document").unwrap();
        }
        artifact
    }

    /// A registry that accepts everything except requests for referrers.
    async fn registry() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let app = Router::new().fallback(async |method: Method| match method {
            Method::GET => StatusCode::FORBIDDEN,
            Method::HEAD => StatusCode::OK,
            _ => StatusCode::CREATED,
        });
        drop(tokio::spawn(async { axum::serve(listener, app).await }));
        address
    }

    #[tokio::test]
    async fn an_image_is_pushed_with_a_warning_if_its_documents_are_rejected() {
        let folder = tempfile::TempDir::new().unwrap();
        let artifact = packed(folder.path());
        let (looks, digest) = (Mutex::new(0), artifact.digest.clone());
        let config = fake_aws::config(move |operation, _| {
            if operation == "GetAuthorizationToken" {
                return Ok(json!({ "authorizationData": [{ "authorizationToken": "c2VjcmV0" }] }));
            }
            assert_eq!(operation, "DescribeImages");
            let mut looks = looks.lock().unwrap();
            *looks += 1;
            if *looks == 1 {
                return Err("ImageNotFoundException");
            }
            Ok(json!({ "imageDetails": [{ "imageDigest": digest.as_str() }] }))
        });
        let (mut outputs, _) = outputs::parse(outputs::testing::LOCAL).unwrap();
        outputs.registry = registry().await;
        let (report, _, messages) = captured(Format::Human);
        let config = config.await;
        let ecr = Ecr::new(&config, &Transport::local(), &report);
        ecr.push(&outputs, AXON, &artifact).await.unwrap();
        let messages = messages.text();
        assert!(
            messages.contains("warning: the registry rejects documents"),
            "{messages}"
        );
        assert!(messages.contains("403 Forbidden"), "{messages}");
    }
}
