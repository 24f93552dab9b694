//! Documents about an image, attached to its digest where the registry keeps such things.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::distribution::Repository;
use crate::decide::archive::MANIFEST_TYPE;
use crate::decide::image::{Artefact, Digest};
use crate::decide::referrer::{DOCUMENTS, Referrer, Subject, referrer};

impl Repository<'_> {
    /// Attaches the documents about an image whose blobs are there. A registry that keeps none
    /// goes without: they lie beside the artefact's file.
    pub(super) async fn attach_documents(
        self,
        artefact: &Artefact,
        image: &Digest,
        manifest: &[u8],
    ) -> Result<()> {
        if !self.keeps_referrers(image).await? {
            tracing::debug!(registry = self.registry, "keeps no referrers");
            return Ok(());
        }
        // What a document refers to has to be there, or some registries refuse it.
        let bytes = Bytes::copy_from_slice(manifest);
        self.put_manifest(image.as_str(), MANIFEST_TYPE, bytes)
            .await?;
        let subject = Subject {
            digest: image,
            bytes: manifest.len(),
        };
        for document in DOCUMENTS {
            let file = artefact.document(document);
            let content = tokio::fs::read(&file)
                .await
                .with_context(|| format!("read {}", file.display()))?;
            self.attach(referrer(subject, document, content))
                .await
                .with_context(|| format!("attach {}", file.display()))?;
        }
        Ok(())
    }

    /// By the specification a registry that keeps no referrers answers 404.
    async fn keeps_referrers(self, image: &Digest) -> Result<bool> {
        let url = self.url(&format!("referrers/{image}"));
        let answer = self.send(Method::GET, &url, None, Bytes::new()).await?;
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        Ok(answer.status() == StatusCode::OK && body["manifests"].is_array())
    }

    async fn attach(self, referrer: Referrer) -> Result<()> {
        for (digest, bytes) in referrer.blobs {
            self.put_blob(digest, bytes.into()).await?;
        }
        let name = referrer.digest.as_str();
        self.put_manifest(name, MANIFEST_TYPE, referrer.manifest.into())
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::{Request, State};
    use axum::response::IntoResponse;
    use http::header::LOCATION;
    use http_body_util::BodyExt;

    use super::super::distribution::Transport;
    use super::*;
    use crate::catalog::Thing;
    use crate::decide::image::Key;

    /// A registry that has every blob, and writes down the manifests that it is given.
    #[derive(Clone, Default)]
    struct Fake {
        keeps_referrers: bool,
        manifests: Arc<Mutex<Vec<(String, Value)>>>,
    }

    async fn answer(State(fake): State<Fake>, request: Request) -> axum::response::Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        match method {
            Method::GET if !fake.keeps_referrers => StatusCode::NOT_FOUND.into_response(),
            Method::GET => r#"{"schemaVersion":2,"manifests":[]}"#.into_response(),
            Method::PUT => {
                let name = path.rsplit('/').next().unwrap().to_owned();
                let manifest = serde_json::from_slice(&body).unwrap();
                fake.manifests.lock().unwrap().push((name, manifest));
                (StatusCode::CREATED, [(LOCATION, path)]).into_response()
            }
            _ => StatusCode::OK.into_response(),
        }
    }

    /// The manifests that the registry was given, in order.
    async fn attached(keeps_referrers: bool) -> Vec<(String, Value)> {
        let fake = Fake {
            keeps_referrers,
            ..Fake::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = listener.local_addr().unwrap().to_string();
        let app = Router::new().fallback(answer).with_state(fake.clone());
        let serving = tokio::spawn(async { axum::serve(listener, app).await });
        let repository = Repository {
            transport: &Transport::new(&registry).unwrap(),
            registry: &registry,
            name: "demo/axon",
            authorization: "Basic c2VjcmV0",
        };
        let folder = std::env::temp_dir().join(format!(
            "referrers-{keeps_referrers}-{}",
            std::process::id()
        ));
        tokio::fs::create_dir_all(&folder).await.unwrap();
        let artefact = Artefact {
            thing: Thing::Axon,
            key: Key("5".repeat(64)),
            digest: Digest::of(b"{}"),
            file: folder.join("axon-5.tar"),
            packed_bytes: 1,
            unpacked_bytes: 1,
        };
        for document in DOCUMENTS {
            let text = format!("{document:?}");
            tokio::fs::write(artefact.document(document), text)
                .await
                .unwrap();
        }
        let ended = repository.attach_documents(&artefact, &artefact.digest, b"{}");
        ended.await.unwrap();
        serving.abort();
        tokio::fs::remove_dir_all(&folder).await.unwrap();
        fake.manifests.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn documents_refer_to_an_image_that_is_there_already() {
        let manifests = attached(true).await;
        let image = Digest::of(b"{}");
        assert_eq!(manifests[0].0, image.as_str());
        let of = |index: usize| -> (&Value, &Value) {
            let (name, manifest) = &manifests[index];
            assert!(Digest::parse(name).is_some(), "by digest: {name}");
            (&manifest["artifactType"], &manifest["subject"]["digest"])
        };
        let image = Value::from(image.as_str());
        assert_eq!(of(1), (&"application/vnd.cyclonedx+json".into(), &image));
        assert_eq!(of(2), (&"application/vnd.in-toto+json".into(), &image));
        assert_eq!(manifests.len(), 3);
    }

    #[tokio::test]
    async fn a_registry_that_keeps_no_referrers_is_given_none() {
        assert_eq!(attached(false).await, []);
    }
}
