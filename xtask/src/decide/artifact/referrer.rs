//! Documents about an image as OCI 1.1 referrers: manifests whose `subject` is the image.

use serde_json::json;

use crate::decide::artifact::types::Digest;
use crate::decide::artifact::types::MANIFEST_TYPE;

/// A document about an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageDocument {
    /// The bill of materials.
    Sbom,
    /// The provenance statement.
    Provenance,
}

pub const IMAGE_DOCUMENTS: [ImageDocument; 2] = [ImageDocument::Sbom, ImageDocument::Provenance];

impl ImageDocument {
    /// The extension of its file, which is beside that of the artifact.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Sbom => "cdx.json",
            Self::Provenance => "intoto.json",
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Sbom => "application/vnd.cyclonedx+json",
            Self::Provenance => "application/vnd.in-toto+json",
        }
    }
}

/// What is pushed for one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    pub digest: Digest,
    pub manifest: Vec<u8>,
    /// Have to be pushed before the manifest.
    pub blobs: Vec<(Digest, Vec<u8>)>,
}

/// The image that a document is about.
#[derive(Debug, Clone, Copy)]
pub struct ReferrerSubject<'a> {
    pub digest: &'a Digest,
    /// The size of its manifest.
    pub bytes: usize,
}

pub fn referrer(
    subject: ReferrerSubject<'_>,
    document: ImageDocument,
    content: Vec<u8>,
) -> Referrer {
    const EMPTY: &[u8] = b"{}";
    const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
    let (empty, layer) = (Digest::of(EMPTY), Digest::of(&content));
    let part = |kind: &str, digest: &Digest, size: usize| json!({ "mediaType": kind, "digest": digest, "size": size });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": document.media_type(),
        "config": part(EMPTY_TYPE, &empty, EMPTY.len()),
        "layers": [part(document.media_type(), &layer, content.len())],
        "subject": part(MANIFEST_TYPE, subject.digest, subject.bytes),
    });
    let manifest = manifest.to_string().into_bytes();
    Referrer {
        digest: Digest::of(&manifest),
        manifest,
        blobs: vec![(empty, EMPTY.to_vec()), (layer, content)],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_referrer_has_its_subject_and_its_content() {
        let image = Digest::of(b"an image");
        let subject = ReferrerSubject {
            digest: &image,
            bytes: 8,
        };
        let referrer = referrer(subject, ImageDocument::Sbom, b"a sbom".to_vec());
        let manifest: Value = serde_json::from_slice(&referrer.manifest).unwrap();
        assert_eq!(manifest["subject"]["digest"], image.as_str());
        assert_eq!(manifest["subject"]["size"], 8);
        assert_eq!(manifest["artifactType"], "application/vnd.cyclonedx+json");
        assert_eq!(
            manifest["layers"][0]["digest"],
            Digest::of(b"a sbom").as_str()
        );
        assert_eq!(referrer.digest, Digest::of(&referrer.manifest));
        // The value in the OCI image specification.
        let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(manifest["config"]["digest"], empty);
        for (digest, bytes) in &referrer.blobs {
            assert_eq!(*digest, Digest::of(bytes));
        }
    }
}
