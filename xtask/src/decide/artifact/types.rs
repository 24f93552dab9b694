//! The types that the files of this room and lint share.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::decide::environment::Environment;
use crate::decide::outputs::Architecture;

/// The media type of an image's manifest, by the image specification of OCI.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The content key: the hash of everything that determines the bytes of an artifact, as 64
/// hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(pub String);

/// An OCI digest: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(String);

impl Digest {
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        let lower_hex = |character: char| matches!(character, '0'..='9' | 'a'..='f');
        (hex.len() == 64 && hex.chars().all(lower_hex)).then(|| Self(text.to_owned()))
    }

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 digits alone.
    pub fn hex(&self) -> &str {
        self.0.trim_start_matches("sha256:")
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

/// The last commit that changed the inputs. Uncommitted changes leave an artifact without labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    pub revision: String,
    /// RFC 3339.
    pub created: String,
}

/// The Cargo profile, defined in the `Cargo.toml` of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// For a quick build: no optimization across crates.
    Local,
    /// For production: optimized across crates, which takes minutes for each change.
    Release,
}

impl Profile {
    pub fn of(environment: &Environment) -> Self {
        if environment.emulated {
            Self::Local
        } else {
            Self::Release
        }
    }

    /// The name of the profile, and of its folder below `target/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Release => "release",
        }
    }
}

/// What the sources are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    pub architecture: Architecture,
    pub profile: Profile,
}

/// Where the compiler ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BuilderKind {
    Host,
    Docker,
}

impl BuilderKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Docker => "docker",
        }
    }
}

/// What lint has to know about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Empty where the image has no `USER`.
    pub user: String,
    pub architecture: Architecture,
    /// Paths of its files, relative to the root.
    pub files: Vec<String>,
    /// Those of them that nobody may run.
    pub not_executable: Vec<String>,
    pub entrypoint: Vec<String>,
    /// `CMD`, which the definition's `command` replaces.
    pub command: Vec<String>,
    /// Files that run as their owner, whoever starts them.
    pub setuid: Vec<String>,
    /// Secrets in its files and variables: where, and what kind.
    pub leaks: Vec<String>,
    /// The size of its files, of all layers.
    pub bytes: u64,
    /// How many layers could not be read, so that the list of files has gaps.
    pub layers_unread: usize,
}
