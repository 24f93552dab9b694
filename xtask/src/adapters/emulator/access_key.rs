//! The key without which the local AWS serves nobody. It is made with the state, and removed with
//! it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::random;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl AccessKey {
    /// What is sent where there is no local AWS yet, and what tests send.
    pub fn of_none() -> Self {
        Self {
            access_key_id: "none".to_owned(),
            secret_access_key: "none".to_owned(),
        }
    }

    fn random() -> Result<Self> {
        Ok(Self {
            access_key_id: format!("AKIA{}", random::hex(8)?.to_uppercase()),
            secret_access_key: random::hex(20)?,
        })
    }
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AccessKey")
    }
}

/// The key in a file, if it is there.
#[expect(clippy::disallowed_methods, reason = "the key's file is read here")]
pub(super) fn read(file: &Path) -> Option<AccessKey> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Makes a key unless the file has one. Nobody but the owner can read it.
pub(super) fn ensure(file: &Path) -> Result<()> {
    if read(file).is_some() {
        return Ok(());
    }
    let write = || -> Result<()> {
        let key = serde_json::to_vec(&AccessKey::random()?)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        Ok(options.open(file)?.write_all(&key)?)
    };
    write().with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("access-key.json");
        assert_eq!(read(&file), None);
        ensure(&file).unwrap();
        let key = read(&file).unwrap();
        assert_eq!(key.access_key_id.len(), 20);
        assert_eq!(key.secret_access_key.len(), 40);
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        ensure(&file).unwrap();
        assert_eq!(read(&file).unwrap(), key);
        assert!(!format!("{key:?}").contains(&key.secret_access_key));
    }
}
