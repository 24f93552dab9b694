//! The Python packages of the emulator, and its startup code.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::processes;
use crate::adapters::virtual_environment::{VirtualEnvironment, version_of, write};
use crate::ports::ProcessEnv;
use crate::report::Report;

macro_rules! overlay {
    ($name:literal) => {
        (
            concat!("overlay/", $name),
            include_str!(concat!("../../../emulator/overlay/", $name)),
        )
    };
}

const REQUIREMENTS: &str = include_str!("../../../emulator/requirements.txt");

/// Files below the folder that Python searches first.
const STARTUP: [(&str, &str); 16] = [
    (
        "sitecustomize.py",
        include_str!("../../../emulator/sitecustomize.py"),
    ),
    overlay!("__init__.py"),
    overlay!("answers.py"),
    overlay!("app.py"),
    overlay!("definitions.py"),
    overlay!("deployments.py"),
    overlay!("door.py"),
    overlay!("not_honored.json"),
    overlay!("pins.json"),
    overlay!("pins.py"),
    overlay!("registry.py"),
    overlay!("saving.py"),
    overlay!("scheduler.py"),
    overlay!("targets.py"),
    overlay!("tasks.py"),
    overlay!("unsure.py"),
];

/// A killed process ends at once, unless it waits for a disk.
const ORPHANS_LIMIT: Duration = Duration::from_secs(5);

/// A short hash that identifies what is installed.
pub(super) fn version() -> String {
    let mut parts = vec![REQUIREMENTS];
    parts.extend(STARTUP.map(|(_, content)| content));
    version_of(&parts)
}

/// The interpreter of the virtual environment.
pub(super) fn python(local: &Path) -> PathBuf {
    environment(local).program("python")
}

/// The folder of `sitecustomize.py`, which Python runs at its start, and of the overlay.
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
    for (name, content) in STARTUP {
        write(&startup_folder(local).join(name), content).await?;
    }
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
    fn every_file_of_the_overlay_is_installed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/emulator/overlay");
        for file in std::fs::read_dir(folder).unwrap() {
            let name = format!("overlay/{}", file.unwrap().file_name().display());
            let known = name.ends_with("__pycache__") || STARTUP.iter().any(|it| it.0 == name);
            assert!(known, "{name}");
        }
    }

    #[test]
    fn every_requirement_is_pinned_and_has_its_hashes() {
        assert_pinned(
            REQUIREMENTS,
            &["ministack==1.5.33", "hypercorn==", "docker=="],
        );
    }
}
