//! Cargo in the checkout: runs tests, and keeps the coverage figure that they came to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use async_trait::async_trait;

use super::process::Command;
use crate::decide::checks::figures::Coverage;
use crate::world::{CargoRun, Surroundings, Toolchain, Watch};

/// The distribution's LLVM 22 reads what Rust 1.95 writes; an older one does not.
const LLVM_FOLDER: &str = "/usr/lib/llvm-22/bin";
const LLVM_TOOLS: [(&str, &str); 2] =
    [("LLVM_COV", "llvm-cov"), ("LLVM_PROFDATA", "llvm-profdata")];

#[async_trait]
impl Toolchain for Surroundings {
    async fn cargo(
        &self,
        arguments: &[&str],
        variables: &BTreeMap<String, String>,
        watch: Watch<'_>,
    ) -> Result<CargoRun> {
        let mut command = Command::new(self, "cargo").arguments(arguments);
        for (name, value) in variables {
            command = command.variable(name, value);
        }
        let finished = command.folder(&self.root).run_watched(watch).await?;
        Ok(CargoRun {
            succeeded: finished.succeeded(),
            output: finished.output,
        })
    }

    fn llvm_tools(&self) -> BTreeMap<String, String> {
        let tools = LLVM_TOOLS.map(|(name, tool)| (name, Path::new(LLVM_FOLDER).join(tool)));
        let there = tools.into_iter().filter(|(_, file)| file.is_file());
        there
            .map(|(name, file)| (name.to_owned(), file.display().to_string()))
            .collect()
    }

    /// Where `cargo deny` looks for one unless told otherwise.
    fn has_advisories(&self) -> bool {
        let folder = cargo_home(self).join("advisory-dbs");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|it| it.is_dir())
    }

    async fn coverage(&self) -> Result<Option<Coverage>> {
        let file = Coverage::file(&self.state_folder());
        match tokio::fs::read(&file).await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
        }
    }
}

/// Where cargo keeps what it downloads and installs.
pub fn cargo_home(surroundings: &Surroundings) -> PathBuf {
    let named = |name| surroundings.variable(name).map(PathBuf::from);
    named("CARGO_HOME").unwrap_or_else(|| named("HOME").unwrap_or_default().join(".cargo"))
}
