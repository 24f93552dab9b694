//! The file of a saved plan. Values are in it, secret ones too: it is its owner's alone, and goes
//! away whatever happens.

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(super) struct PlanFile(PathBuf);

impl PlanFile {
    /// An empty file in a folder, which Terraform writes into. One that a killed run left is
    /// removed.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let file = folder.join("saved.tfplan");
        remove(&file);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options
            .open(&file)
            .with_context(|| format!("make {}", file.display()))?;
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

#[expect(
    clippy::disallowed_methods,
    reason = "a plan is removed where it is dropped"
)]
fn remove(file: &Path) {
    drop(std::fs::remove_file(file));
}
