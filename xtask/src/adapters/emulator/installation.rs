//! The Python packages of the emulator, and its startup code.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::processes;
use crate::adapters::virtual_environment::{VirtualEnvironment, version_of, write};
use crate::ports::ProcessEnv;
use crate::report::Report;

const REQUIREMENTS: &str = include_str!("../../../emulator/requirements.txt");
const STARTUP: &str = include_str!("../../../emulator/sitecustomize.py");

/// A killed process ends at once, unless it waits for a disk.
const ORPHANS_LIMIT: Duration = Duration::from_secs(5);

/// A short hash that identifies what is installed.
pub(super) fn version() -> String {
    version_of(&[REQUIREMENTS, STARTUP])
}

/// The interpreter of the virtual environment.
pub(super) fn python(local: &Path) -> PathBuf {
    environment(local).program("python")
}

/// The folder of `sitecustomize.py`, which Python runs at its start.
pub(super) fn startup_folder(local: &Path) -> PathBuf {
    local.join("startup")
}

/// Whether this version is completely installed, for the current interpreter.
pub(super) fn is_complete(local: &Path) -> bool {
    environment(local).is_complete()
}

/// Installs the emulator unless it is installed.
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
