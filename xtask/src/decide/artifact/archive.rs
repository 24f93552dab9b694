//! Packs a static binary as an image or as the zip of a function. The same input gives the same
//! bytes, so the digest is known before the push.
//!
//! The archive of an image is an OCI layout with a `manifest.json` for `docker load`. It has no
//! tag, so loading it changes no tag of the user.

mod documents;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use flate2::{Compression, GzBuilder};

use crate::catalog::Service;
use crate::decide::artifact::types::{Digest, ImageFacts, Key, Labels, MANIFEST_TYPE};
use crate::decide::outputs::Architecture;
use documents::{
    Config, Descriptor, DockerEntry, Empty, Index, Manifest, Ports, RootFs, RunConfig,
};

/// An unprivileged user without an account on any host.
const USER: &str = "65532:65532";

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The file that Lambda starts on `provided.al2023`.
const FUNCTION_ENTRY: &str = "bootstrap";

/// A binary that was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedArtifact {
    pub bytes: Vec<u8>,
    /// The digest of the manifest of an image, or of the zip of a function.
    pub digest: Digest,
    /// Compressed size: what the registry stores and a task downloads.
    pub packed_bytes: u64,
}

/// The facts for lint about an image of `pack_image`.
pub fn facts(service: Service, architecture: Architecture) -> ImageFacts {
    let binary = format!("/{service}");
    ImageFacts {
        user: USER.to_owned(),
        architecture,
        files: vec![binary.clone()],
        not_executable: Vec::new(),
        entrypoint: vec![binary],
        command: Vec::new(),
        setuid: Vec::new(),
        leaks: Vec::new(),
        bytes: 0,
        layers_unread: 0,
    }
}

/// Packs an image with one layer, which holds the single file `/<name>`.
pub fn pack_image(
    name: &str,
    architecture: Architecture,
    binary: &[u8],
    labels: Option<&Labels>,
) -> io::Result<PackedArtifact> {
    let layer = layer(name, binary)?;
    let compressed = gzip(&layer)?;
    let config = config(name, architecture, &Digest::of(&layer), labels)?;
    let (config_part, layer_part) = (
        Descriptor::of(CONFIG_TYPE, &config),
        Descriptor::of(LAYER_TYPE, &compressed),
    );
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        config: config_part.clone(),
        layers: vec![layer_part.clone()],
    })?;
    let manifest_part = Descriptor::of(MANIFEST_TYPE, &manifest);
    let digest = manifest_part.digest.clone();
    let index = serde_json::to_vec(&Index {
        schema_version: 2,
        media_type: INDEX_TYPE.to_owned(),
        manifests: vec![manifest_part],
    })?;
    let for_docker = serde_json::to_vec(&[DockerEntry {
        config: blob_path(&config_part.digest),
        repo_tags: None,
        layers: vec![blob_path(&layer_part.digest)],
    }])?;
    let packed_bytes = (manifest.len() + config.len() + compressed.len()) as u64;
    let files = [
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        ("index.json".to_owned(), index),
        ("manifest.json".to_owned(), for_docker),
        (blob_path(&digest), manifest),
        (blob_path(&config_part.digest), config),
        (blob_path(&layer_part.digest), compressed),
    ];
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        append(&mut archive, &path, 0o444, &bytes)?;
    }
    Ok(PackedArtifact {
        bytes: archive.into_inner()?,
        digest,
        packed_bytes,
    })
}

/// Packs a zip with the program as its single entry and the key as its comment. Lambda publishes no
/// second version of the same bytes, and each key needs its own version.
pub fn pack_function(binary: &[u8], key: &Key) -> io::Result<PackedArtifact> {
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default()) // 1980-01-01, the earliest time of the format
        .unix_permissions(0o755);
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    writer.start_file(FUNCTION_ENTRY, options)?;
    writer.write_all(binary)?;
    writer.set_comment(key.to_string())?;
    let bytes = writer.finish()?.into_inner();
    Ok(PackedArtifact {
        digest: Digest::of(&bytes),
        packed_bytes: bytes.len() as u64,
        bytes,
    })
}

/// The parts of an image that are pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciImage {
    pub digest: Digest,
    pub manifest: Vec<u8>,
    /// Configuration and layers, which have to be pushed before the manifest.
    pub blobs: Vec<(Digest, Vec<u8>)>,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot read the archive: {0}")]
    Tar(#[from] io::Error),
    #[error("invalid JSON in the archive: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the archive has no {0}")]
    Missing(String),
    #[error("the content of {0} in the archive does not match its digest")]
    Content(Digest),
}

/// Reads an archive of `pack_image` and verifies the digest of every blob.
pub fn open_image(archive: &[u8]) -> Result<OciImage, ArchiveError> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(path, bytes);
    }
    let index: Index = serde_json::from_slice(&take(&mut files, "index.json")?)?;
    let part = index
        .manifests
        .into_iter()
        .next()
        .ok_or_else(|| ArchiveError::Missing("manifest".to_owned()))?;
    let manifest = take_blob(&mut files, &part.digest)?;
    let parts: Manifest = serde_json::from_slice(&manifest)?;
    let blobs = std::iter::once(parts.config)
        .chain(parts.layers)
        .map(|part| Ok((part.digest.clone(), take_blob(&mut files, &part.digest)?)))
        .collect::<Result<_, ArchiveError>>()?;
    Ok(OciImage {
        digest: part.digest,
        manifest,
        blobs,
    })
}

fn take(files: &mut BTreeMap<String, Vec<u8>>, path: &str) -> Result<Vec<u8>, ArchiveError> {
    files
        .remove(path)
        .ok_or_else(|| ArchiveError::Missing(path.to_owned()))
}

fn take_blob(
    files: &mut BTreeMap<String, Vec<u8>>,
    digest: &Digest,
) -> Result<Vec<u8>, ArchiveError> {
    let bytes = take(files, &blob_path(digest))?;
    if Digest::of(&bytes) == *digest {
        Ok(bytes)
    } else {
        Err(ArchiveError::Content(digest.clone()))
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn layer(name: &str, binary: &[u8]) -> io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, name, 0o555, binary)?;
    layer.into_inner()
}

/// Appends a file that is owned by root and has the time 0.
fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    archive.append(&header, bytes)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    const UNKNOWN_SYSTEM: u8 = 255;
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(UNKNOWN_SYSTEM)
        .write(Vec::new(), Compression::new(6));
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn config(
    name: &str,
    architecture: Architecture,
    layer: &Digest,
    labels: Option<&Labels>,
) -> serde_json::Result<Vec<u8>> {
    let mut named = BTreeMap::from([("org.opencontainers.image.title", name)]);
    if let Some(labels) = labels {
        named.insert("org.opencontainers.image.revision", &labels.revision);
        named.insert("org.opencontainers.image.created", &labels.created);
    }
    serde_json::to_vec(&Config {
        architecture: architecture.oci(),
        os: "linux",
        created: labels.map(|labels| labels.created.as_str()),
        run: RunConfig {
            user: USER,
            exposed_ports: Ports { http: Empty {} },
            entrypoint: [format!("/{name}")],
            labels: named,
        },
        rootfs: RootFs {
            kind: "layers",
            diff_ids: [layer],
        },
    })
}

#[cfg(test)]
mod tests {
    use flate2::read::GzDecoder;
    use serde_json::{Value, json};

    use super::*;

    fn labels() -> Labels {
        Labels {
            revision: "c".repeat(40),
            created: "2026-01-02T03:04:05+02:00".to_owned(),
        }
    }

    fn key() -> Key {
        Key("5".repeat(64))
    }

    fn image(labels: Option<&Labels>) -> PackedArtifact {
        pack_image("axon", Architecture::X86, b"a program", labels).unwrap()
    }

    fn json_of(image: &OciImage, index: usize) -> Value {
        serde_json::from_slice(&image.blobs[index].1).unwrap()
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(image(Some(&labels())), image(Some(&labels())));
        assert_ne!(image(None).digest, image(Some(&labels())).digest);
        let other = pack_image("orbit", Architecture::X86, b"a program", None).unwrap();
        assert_ne!(image(None).digest, other.digest);
        assert_eq!(
            pack_function(b"a program", &key()).unwrap(),
            pack_function(b"a program", &key()).unwrap()
        );
    }

    #[test]
    fn an_image_runs_one_program_without_privileges() {
        let image = open_image(&image(Some(&labels())).bytes).unwrap();
        let config = json_of(&image, 0);
        assert_eq!(
            config["config"],
            json!({
                "User": "65532:65532",
                "ExposedPorts": { "80/tcp": {} },
                "Entrypoint": ["/axon"],
                "Labels": {
                    "org.opencontainers.image.title": "axon",
                    "org.opencontainers.image.revision": labels().revision,
                    "org.opencontainers.image.created": labels().created,
                },
            })
        );
        assert_eq!(config["created"], labels().created);
        assert_eq!(config["architecture"], "amd64");

        let mut layer = Vec::new();
        GzDecoder::new(&image.blobs[1].1[..])
            .read_to_end(&mut layer)
            .unwrap();
        assert_eq!(
            config["rootfs"]["diff_ids"],
            json!([Digest::of(&layer).as_str()])
        );
        let mut archive = tar::Archive::new(&layer[..]);
        let mut entries = archive.entries().unwrap();
        let entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_string_lossy(), "axon");
        assert_eq!(entry.header().mode().unwrap(), 0o555);
        assert_eq!(entry.header().uid().unwrap(), 0);
        assert_eq!(entry.header().mtime().unwrap(), 0);
        assert!(entries.next().is_none());
    }

    #[test]
    fn without_a_commit_an_image_has_no_commit_labels() {
        let image = open_image(&image(None).bytes).unwrap();
        let config = json_of(&image, 0);
        assert_eq!(
            config["config"]["Labels"],
            json!({ "org.opencontainers.image.title": "axon" })
        );
        assert_eq!(config.get("created"), None);
    }

    #[test]
    fn a_damaged_archive_is_an_error() {
        let whole = image(None);
        assert_eq!(open_image(&whole.bytes).unwrap().digest, whole.digest);
        assert!(open_image(&whole.bytes[..whole.bytes.len() / 2]).is_err());
        let mut changed = whole.bytes.clone();
        let layer = changed
            .windows(2)
            .rposition(|window| window == [0x1f, 0x8b])
            .unwrap();
        changed[layer + 12] ^= 1;
        assert!(matches!(
            open_image(&changed),
            Err(ArchiveError::Content(_))
        ));
    }

    #[test]
    fn a_zip_has_one_executable_entry() {
        let packed = pack_function(b"a program", &key()).unwrap();
        let other = pack_function(b"a program", &Key("6".repeat(64))).unwrap();
        assert_ne!(
            packed.digest, other.digest,
            "the same program under another key"
        );
        let mut archive = zip::ZipArchive::new(io::Cursor::new(packed.bytes)).unwrap();
        assert_eq!(archive.len(), 1);
        let mut entry = archive.by_name("bootstrap").unwrap();
        assert_eq!(entry.unix_mode().unwrap() & 0o777, 0o755);
        assert_eq!(entry.last_modified(), Some(zip::DateTime::default()));
        let mut program = Vec::new();
        entry.read_to_end(&mut program).unwrap();
        assert_eq!(program, b"a program");
    }
}
