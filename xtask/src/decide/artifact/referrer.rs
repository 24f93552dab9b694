//! Documents about an image, as a registry keeps them beside it: manifests of OCI 1.1 that name
//! the image as their `subject`.

use serde_json::json;

use crate::decide::artifact::archive::MANIFEST_TYPE;
use crate::decide::artifact::image::Digest;

/// A document that belongs to an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// What it consists of.
    Bill,
    /// Where it comes from.
    Provenance,
}

pub const DOCUMENTS: [Document; 2] = [Document::Bill, Document::Provenance];

impl Document {
    /// What the name of its file ends with, beside the artifact's own file.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Bill => "cdx.json",
            Self::Provenance => "intoto.json",
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Bill => "application/vnd.cyclonedx+json",
            Self::Provenance => "application/vnd.in-toto+json",
        }
    }
}

/// What a registry has to be given for one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    pub digest: Digest,
    pub manifest: Vec<u8>,
    /// All that has to be there before the manifest is.
    pub blobs: Vec<(Digest, Vec<u8>)>,
}

/// The image that a document is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub digest: &'a Digest,
    /// Of its manifest.
    pub bytes: usize,
}

pub fn referrer(subject: Subject<'_>, document: Document, content: Vec<u8>) -> Referrer {
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
    fn a_document_names_its_image_and_its_own_content() {
        let image = Digest::of(b"an image");
        let subject = Subject {
            digest: &image,
            bytes: 8,
        };
        let referrer = referrer(subject, Document::Bill, b"a bill".to_vec());
        let manifest: Value = serde_json::from_slice(&referrer.manifest).unwrap();
        assert_eq!(manifest["subject"]["digest"], image.as_str());
        assert_eq!(manifest["subject"]["size"], 8);
        assert_eq!(manifest["artifactType"], "application/vnd.cyclonedx+json");
        assert_eq!(
            manifest["layers"][0]["digest"],
            Digest::of(b"a bill").as_str()
        );
        assert_eq!(referrer.digest, Digest::of(&referrer.manifest));
        // As the specification of OCI's image format has it.
        let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(manifest["config"]["digest"], empty);
        for (digest, bytes) in &referrer.blobs {
            assert_eq!(*digest, Digest::of(bytes));
        }
    }
}
