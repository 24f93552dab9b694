//! The file of a saved plan. It contains secret values, so only its owner can read it, and it is
//! always removed.

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(super) struct PlanFile(PathBuf);

impl PlanFile {
    /// Creates an empty file for Terraform to write, after removing that of a killed run.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let file = folder.join("saved.tfplan");
        remove(&file);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options
            .open(&file)
            .with_context(|| format!("create {}", file.display()))?;
        Ok(Self(file))
    }
}

impl fmt::Display for PlanFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(formatter)
    }
}

impl Drop for PlanFile {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

#[expect(clippy::disallowed_methods, reason = "removes the plan on drop")]
fn remove(file: &Path) {
    drop(std::fs::remove_file(file));
}
