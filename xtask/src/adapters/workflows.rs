//! Checks the workflows of `.github/`: one checker validates GitHub's schema, the other finds
//! unsafe workflows.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;

use super::python_tools::PythonTools;
use crate::ports::Workflows;

/// Below the root.
const FOLDER: &str = ".github/workflows";

pub struct Checkers<'a> {
    pub tools: &'a PythonTools<'a>,
    pub root: &'a Path,
}

#[async_trait]
impl Workflows for Checkers<'_> {
    async fn check(&self) -> Result<()> {
        let mut schema = vec![
            "--builtin-schema".to_owned(),
            "vendor.github-workflows".to_owned(),
        ];
        schema.extend(
            files(self.root)?
                .iter()
                .map(|file| file.display().to_string()),
        );
        // The strictest persona without uncertain findings.
        let audit = "--offline --no-progress --quiet --persona pedantic .github";
        let audit = audit.split(' ').map(str::to_owned).collect();
        let mut faults = Vec::new();
        for (tool, arguments) in [("check-jsonschema", schema), ("zizmor", audit)] {
            let finished = self.tools.run(tool, arguments, self.root).await?;
            if !finished.succeeded() {
                faults.push(format!("{tool}:\n{}", finished.output.trim()));
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        bail!(faults.join("\n"));
    }
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join(FOLDER);
    let entries = std::fs::read_dir(&folder);
    let entries = entries.with_context(|| format!("read {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}
