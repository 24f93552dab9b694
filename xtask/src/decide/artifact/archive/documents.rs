//! The JSON documents of an image's archive.
//!
//! They are structs because fields of a struct keep their order. The order of `json!` depends on
//! whether a member of the workspace enables `preserve_order` of `serde_json`, and the digest on
//! the order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decide::artifact::types::Digest;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u8,
    pub(super) media_type: String,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u8,
    pub(super) media_type: String,
    pub(super) manifests: Vec<Descriptor>,
}

/// A content descriptor.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Descriptor {
    pub(super) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        }
    }
}

/// An entry of Docker's own `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerEntry {
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Config<'a> {
    pub(super) architecture: &'a str,
    pub(super) os: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<&'a str>,
    #[serde(rename = "config")]
    pub(super) run: RunConfig<'a>,
    pub(super) rootfs: RootFs<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RunConfig<'a> {
    pub(super) user: &'a str,
    pub(super) exposed_ports: Ports,
    pub(super) entrypoint: [String; 1],
    pub(super) labels: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
pub(super) struct Ports {
    #[serde(rename = "80/tcp")]
    pub(super) http: Empty,
}

#[derive(Serialize)]
pub(super) struct Empty {}

#[derive(Serialize)]
pub(super) struct RootFs<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) diff_ids: [&'a Digest; 1],
}
