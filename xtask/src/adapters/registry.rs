//! ECR: its API tells what it holds, its registry takes what it lacks.

mod distribution;
mod referrers;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::types::ImageIdentifier;

use super::aws::{explain, is_code};
use super::transport::{self, Transport};
use crate::catalog::Service;
use crate::decide::artifact::archive::{MANIFEST_TYPE, open_image};
use crate::decide::artifact::image::{Artifact, Digest, Key};
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

    /// The digest of an image that the repository holds.
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
                    "the registry has no repository {repository}, which the outputs name"
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
        // Before the tag: what is tagged is not pushed again, and so has its documents.
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
        // Whoever else pushes this key at this moment pushes the same image, and where tags are
        // immutable only one of us is let in.
        match (self.is_tagged(outputs, service, artifact).await, put) {
            (Ok(true), _) => Ok(()),
            (Err(error), _) | (Ok(false), Err(error)) => Err(error),
            (Ok(false), Ok(())) => bail!("the registry took the image and does not have it"),
        }
    }

    /// Whether the artifact's key names its image already. Another image of that name is an
    /// error: a key decides an image's bytes.
    async fn is_tagged(
        &self,
        outputs: &Outputs,
        service: Service,
        artifact: &Artifact,
    ) -> Result<bool> {
        match self.digest(outputs, service, &artifact.key).await? {
            None => Ok(false),
            Some(digest) if digest == artifact.digest => Ok(true),
            Some(other) => bail!("the registry has {other} under the key {}", artifact.key),
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use http::{Method, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::adapters::stand_in;
    use crate::decide::artifact::archive::pack_image;
    use crate::decide::artifact::referrer::DOCUMENTS;
    use crate::decide::outputs;
    use crate::decide::outputs::Architecture;
    use crate::report::{Format, OutputMode};

    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<u8>>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// An image of ours, packed into a folder, with the documents about it.
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    fn packed(folder: &std::path::Path) -> Artifact {
        std::fs::create_dir_all(folder).unwrap();
        let packed = pack_image("axon", Architecture::X86, b"a program", None).unwrap();
        let artifact = Artifact {
            component: Service::Axon.into(),
            key: Key("5".repeat(64)),
            digest: packed.digest,
            file: folder.join("axon.tar"),
            packed_bytes: packed.packed_bytes,
            unpacked_bytes: 9,
        };
        std::fs::write(&artifact.file, packed.bytes).unwrap();
        for document in DOCUMENTS {
            std::fs::write(artifact.document(document), "a document").unwrap();
        }
        artifact
    }

    /// A registry that lets everything in but the question for documents.
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
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    async fn an_image_whose_documents_are_refused_is_pushed_and_that_is_told() {
        let folder = std::env::temp_dir().join(format!("push-{}", std::process::id()));
        let artifact = packed(&folder);
        let (looks, digest) = (Mutex::new(0), artifact.digest.clone());
        let config = stand_in::aws(move |operation, _| {
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
        let told = Told::default();
        let mode = OutputMode {
            format: Format::Human,
            quiet: false,
            terminal: false,
        };
        let report = Report::new(mode, Box::new(std::io::sink()), Box::new(told.clone()));
        let config = config.await;
        let ecr = Ecr::new(&config, &Transport::local(), &report);
        ecr.push(&outputs, Service::Axon, &artifact).await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let told = String::from_utf8(told.0.lock().unwrap().clone()).unwrap();
        assert!(
            told.contains("warning: the registry takes no documents"),
            "{told}"
        );
        assert!(told.contains("403 Forbidden"), "{told}");
    }
}
