//! The emulator's Python packages, and what its Python runs at its start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::processes;
use crate::adapters::virtual_environment::{VirtualEnvironment, version_of, write};
use crate::ports::ProcessEnv;
use crate::report::Report;

const REQUIREMENTS: &str = include_str!("../../../emulator/requirements.txt");
const STARTUP: &str = include_str!("../../../emulator/sitecustomize.py");

/// A killed process ends at once, but for one that waits for a disk.
const ORPHANS_LIMIT: Duration = Duration::from_secs(5);

/// Names what is installed, short enough for a line.
pub(super) fn version() -> String {
    version_of(&[REQUIREMENTS, STARTUP])
}

/// The interpreter of the virtual environment.
pub(super) fn python(local: &Path) -> PathBuf {
    environment(local).program("python")
}

/// What Python runs at its start lies here.
pub(super) fn startup_folder(local: &Path) -> PathBuf {
    local.join("startup")
}

/// Whether what is installed is the right version for the interpreter that is there.
pub(super) fn is_complete(local: &Path) -> bool {
    environment(local).is_complete()
}

/// Installs what is not installed yet.
pub(super) async fn ensure(process_env: &ProcessEnv, report: &Report, local: &Path) -> Result<()> {
    if is_complete(local) {
        return Ok(());
    }
    let orphans = || processes::of_installation(local);
    processes::kill(&orphans());
    processes::ended(orphans, ORPHANS_LIMIT).await;
    write(&startup_folder(local).join("sitecustomize.py"), STARTUP).await?;
    environment(local).install(process_env, report).await
}

fn environment(local: &Path) -> VirtualEnvironment {
    VirtualEnvironment {
        subject: "local",
        purpose: "the local AWS",
        requirements: REQUIREMENTS,
        version: version(),
        folder: local.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::virtual_environment::assert_pinned;

    #[test]
    fn every_requirement_is_pinned_and_has_its_hashes() {
        assert_pinned(
            REQUIREMENTS,
            &["ministack==1.5.33", "hypercorn==", "docker=="],
        );
    }
}
