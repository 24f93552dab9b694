//! The emulator's Python packages: exactly those of the checked-in list, each file checked against
//! its hash, in a virtual environment that is made anew when the list or the interpreter changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::processes;
use crate::adapters::host;
use crate::adapters::process::Command;
use crate::decide::definition::hex;
use crate::failure::Failure;
use crate::report::Report;
use crate::world::Surroundings;

const REQUIREMENTS: &str = include_str!("../../../emulator/requirements.txt");
const STARTUP: &str = include_str!("../../../emulator/sitecustomize.py");

/// Written last: a virtual environment without it is half-made.
const STAMP: &str = "complete";

/// A killed process ends at once, but for one that waits for a disk.
const ORPHANS_LIMIT: Duration = Duration::from_secs(5);

/// Names what is installed, short enough for a line.
pub(super) fn version() -> String {
    let hash = Sha256::new()
        .chain_update(REQUIREMENTS)
        .chain_update(STARTUP)
        .finalize();
    hex(&hash[..6])
}

/// The interpreter of the virtual environment.
pub(super) fn python(local: &Path) -> PathBuf {
    local.join("venv/bin/python")
}

/// What Python runs at its start lies here.
pub(super) fn startup_folder(local: &Path) -> PathBuf {
    local.join("startup")
}

/// Installs what is not installed yet.
pub(super) async fn ensure(
    surroundings: &Surroundings,
    report: &Report,
    local: &Path,
) -> Result<()> {
    if is_complete(local) {
        return Ok(());
    }
    report.line("local", "installing the local AWS; this happens once");
    install(surroundings, report, local).await?;
    let text = stamp_text(local).context("find the interpreter of the virtual environment")?;
    write(&stamp(local), &text).await
}

/// Whether what is installed is the right version for the interpreter that is there.
#[expect(clippy::disallowed_methods, reason = "a stamp of one line")]
pub(super) fn is_complete(local: &Path) -> bool {
    let stamped = std::fs::read_to_string(stamp(local)).ok();
    stamped.is_some() && stamped == stamp_text(local)
}

fn stamp(local: &Path) -> PathBuf {
    local.join("venv").join(STAMP)
}

async fn install(surroundings: &Surroundings, report: &Report, local: &Path) -> Result<()> {
    let venv = local.join("venv");
    let orphans = || processes::of_installation(local);
    processes::kill(&orphans());
    processes::ended(orphans, ORPHANS_LIMIT).await;
    if venv.exists() {
        tokio::fs::remove_dir_all(&venv)
            .await
            .with_context(|| format!("remove {}", venv.display()))?;
    }
    let requirements = local.join("requirements.txt");
    write(&requirements, REQUIREMENTS).await?;
    write(&startup_folder(local).join("sitecustomize.py"), STARTUP).await?;

    let interpreter = host::python(surroundings).await.usable().ok_or_else(|| {
        Failure::not_ready("no Python is fit to run the local AWS").hint("cargo xtask doctor")
    })?;
    report.live("local", "making a virtual environment");
    Command::new(surroundings, interpreter)
        .arguments(["-m".as_ref(), "venv".as_ref(), venv.as_os_str()])
        .succeed()
        .await?;

    let mut pip = Command::new(surroundings, python(local))
        .arguments(["-m", "pip", "install", "--require-hashes", "--no-deps"])
        .arguments([
            "--disable-pip-version-check",
            "--no-input",
            "--no-cache-dir",
        ])
        .arguments([
            "--progress-bar=off".as_ref(),
            "-r".as_ref(),
            requirements.as_os_str(),
        ]);
    // A private index is told to pip in this way; no other variable of the shell reaches it.
    for (name, value) in &surroundings.variables {
        if name.starts_with("PIP_") {
            pip = pip.variable(name, value);
        }
    }
    report.live("local", "installing packages");
    pip.succeed()
        .await
        .context("install the local AWS's packages")?;
    Ok(())
}

/// What must be unchanged for the virtual environment to be the right one.
fn stamp_text(local: &Path) -> Option<String> {
    let interpreter = python(local).canonicalize().ok()?;
    Some(format!("{} {}\n", version(), interpreter.display()))
}

async fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(path, text)
        .await
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_pinned_and_has_its_hashes() {
        let joined = REQUIREMENTS.replace("\\\n", " ");
        let requirements: Vec<&str> = joined
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert!(requirements.len() > 20);
        for requirement in requirements {
            assert!(requirement.contains("=="), "{requirement}");
            assert!(requirement.contains("--hash=sha256:"), "{requirement}");
        }
        for needed in ["ministack==1.5.33", "hypercorn==", "docker=="] {
            assert!(joined.contains(needed), "{needed}");
        }
    }

    #[tokio::test]
    async fn a_half_made_environment_is_not_taken_for_a_whole_one() {
        let local = std::env::temp_dir().join(format!("xtask-venv-{}", std::process::id()));
        let interpreter = python(&local);
        write(&interpreter, "").await.unwrap();
        assert!(!is_complete(&local));
        write(&stamp(&local), &stamp_text(&local).unwrap())
            .await
            .unwrap();
        assert!(is_complete(&local));
        write(&stamp(&local), "another-version").await.unwrap();
        assert!(!is_complete(&local));
        tokio::fs::remove_dir_all(&local).await.unwrap();
    }
}
