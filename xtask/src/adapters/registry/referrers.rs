//! Attaches documents to an image as referrers, if the registry supports them.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::distribution::{Repository, succeeded};
use crate::decide::artifact::image::Artifact;
use crate::decide::artifact::referrer::{
    IMAGE_DOCUMENTS, ImageDocument, Referrer, ReferrerSubject, referrer,
};
use crate::decide::artifact::types::Digest;
use crate::decide::artifact::types::MANIFEST_TYPE;

/// Reads the documents about an artifact.
pub(super) async fn read(artifact: &Artifact) -> Result<Vec<(ImageDocument, Vec<u8>)>> {
    let mut documents = Vec::new();
    for document in IMAGE_DOCUMENTS {
        let file = artifact.document(document);
        let content = tokio::fs::read(&file).await;
        let content = content.with_context(|| format!("read {}", file.display()))?;
        documents.push((document, content));
    }
    Ok(documents)
}

impl Repository<'_> {
    /// Attaches documents to an image whose blobs are uploaded. Does nothing if the registry does
    /// not support referrers.
    pub(super) async fn attach_documents(
        self,
        documents: Vec<(ImageDocument, Vec<u8>)>,
        image: &Digest,
        manifest: &[u8],
    ) -> Result<()> {
        if !self.supports_referrers(image).await? {
            tracing::debug!(registry = self.registry, "no support for referrers");
            return Ok(());
        }
        // Some registries reject a referrer whose subject does not exist.
        let bytes = Bytes::copy_from_slice(manifest);
        self.put_manifest(image.as_str(), MANIFEST_TYPE, bytes)
            .await?;
        let subject = ReferrerSubject {
            digest: image,
            bytes: manifest.len(),
        };
        for (document, content) in documents {
            self.attach(referrer(subject, document, content))
                .await
                .with_context(|| format!("attach {}", document.media_type()))?;
        }
        Ok(())
    }

    /// By the specification, 404 means that the registry does not support referrers. Any other
    /// error status means nothing.
    async fn supports_referrers(self, image: &Digest) -> Result<bool> {
        let url = self.url(&format!("referrers/{image}"));
        let ask = || async {
            let answer = self.send(Method::GET, &url, None, Bytes::new()).await?;
            if answer.status() == StatusCode::NOT_FOUND {
                return Ok(false);
            }
            let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            succeeded(answer).map(|_| body["manifests"].is_array())
        };
        let asked = self.with_retries(ask).await;
        asked.context("check whether the registry supports referrers")
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

    use super::*;
    use crate::adapters::transport::Transport;

    /// A registry that has every blob and records manifests.
    #[derive(Clone)]
    struct ReferrersStub {
        /// The status for requests of referrers.
        asked: StatusCode,
        /// The status for a referrer that is pushed.
        given: StatusCode,
        questions: Arc<Mutex<u32>>,
        manifests: Arc<Mutex<Vec<(String, Value)>>>,
    }

    async fn answer(
        State(fake): State<ReferrersStub>,
        request: Request,
    ) -> axum::response::Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        match method {
            Method::GET => {
                *fake.questions.lock().unwrap() += 1;
                let none = r#"{"schemaVersion":2,"manifests":[]}"#;
                (fake.asked, none).into_response()
            }
            Method::PUT => {
                let name = path.rsplit('/').next().unwrap().to_owned();
                let manifest: Value = serde_json::from_slice(&body).unwrap();
                if manifest.get("subject").is_some() && !fake.given.is_success() {
                    return (fake.given, "not that").into_response();
                }
                fake.manifests.lock().unwrap().push((name, manifest));
                (StatusCode::CREATED, [(LOCATION, path)]).into_response()
            }
            _ => StatusCode::OK.into_response(),
        }
    }

    /// The number of requests for referrers, the manifests that were pushed, and the result.
    async fn attached(
        asked: StatusCode,
        given: StatusCode,
    ) -> (u32, Vec<(String, Value)>, Result<()>) {
        let fake = ReferrersStub {
            asked,
            given,
            questions: Arc::default(),
            manifests: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = listener.local_addr().unwrap().to_string();
        let app = Router::new().fallback(answer).with_state(fake.clone());
        let serving = tokio::spawn(async { axum::serve(listener, app).await });
        let repository = Repository {
            client: &Transport::local().client(None),
            registry: &registry,
            name: "demo/axon",
            authorization: "Basic c2VjcmV0",
        };
        let image = Digest::of(b"{}");
        let documents = IMAGE_DOCUMENTS.map(|it| (it, format!("{it:?}").into_bytes()));
        let ended = repository.attach_documents(documents.into(), &image, b"{}");
        let ended = ended.await;
        serving.abort();
        let questions = *fake.questions.lock().unwrap();
        let manifests = fake.manifests.lock().unwrap().clone();
        (questions, manifests, ended)
    }

    #[tokio::test]
    async fn the_image_is_pushed_before_its_documents() {
        let (_, manifests, ended) = attached(StatusCode::OK, StatusCode::CREATED).await;
        ended.unwrap();
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
    async fn a_registry_without_referrers_gets_none() {
        let (_, manifests, ended) = attached(StatusCode::NOT_FOUND, StatusCode::CREATED).await;
        ended.unwrap();
        assert_eq!(manifests, []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_status_is_no_answer() {
        for (status, times) in [
            (StatusCode::UNAUTHORIZED, 1),
            (StatusCode::FORBIDDEN, 1),
            (StatusCode::METHOD_NOT_ALLOWED, 1),
            (StatusCode::TOO_MANY_REQUESTS, 3),
            (StatusCode::INTERNAL_SERVER_ERROR, 3),
        ] {
            let (questions, manifests, ended) = attached(status, StatusCode::CREATED).await;
            let error = format!("{:#}", ended.unwrap_err());
            assert!(error.contains(status.as_str()), "{error}");
            assert_eq!((questions, manifests), (times, vec![]));
        }
    }

    #[tokio::test]
    async fn a_rejected_document_is_an_error_with_the_response() {
        let refused = attached(StatusCode::OK, StatusCode::METHOD_NOT_ALLOWED).await;
        let error = format!("{:#}", refused.2.unwrap_err());
        assert!(
            error.contains("attach application/vnd.cyclonedx+json"),
            "{error}"
        );
        assert!(
            error.contains("405 Method Not Allowed: not that"),
            "{error}"
        );
    }
}
