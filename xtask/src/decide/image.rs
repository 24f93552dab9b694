//! What decides an artefact's bytes, and the artefact itself: its key, its digest, its archive.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::catalog::Thing;

/// The hash of all that decides an artefact's bytes: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(pub String);

/// `sha256:` and 64 hexadecimal digits: the name of an image's content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(String);

impl Digest {
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        let lower_hex = |character: char| matches!(character, '0'..='9' | 'a'..='f');
        (hex.len() == 64 && hex.chars().all(lower_hex)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A packed image or function on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    pub thing: Thing,
    pub key: Key,
    /// Of an image's manifest; of a function's zip.
    pub digest: Digest,
    /// The packed file: an OCI layout as a tar archive, or a zip.
    pub file: PathBuf,
    /// What the registry stores and what a task downloads.
    pub packed_bytes: u64,
    /// What it takes unpacked.
    pub unpacked_bytes: u64,
}
