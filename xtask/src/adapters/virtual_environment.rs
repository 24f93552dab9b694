//! A Python virtual environment below `target/`: exactly the packages of a checked-in list, each
//! file checked against its hash, made anew when the list or the interpreter changes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::host;
use super::process::Command;
use crate::decide::definition::hex;
use crate::failure::Failure;
use crate::ports::ProcessEnv;
use crate::report::{MachineEvent, Report};

/// Written last: a virtual environment without it is half-made.
const STAMP: &str = "complete";

pub struct VirtualEnvironment {
    /// Of the report's lines.
    pub subject: &'static str,
    /// What it is for, as a sentence names it.
    pub purpose: &'static str,
    /// The list, as pip reads it.
    pub requirements: &'static str,
    /// What is installed, short enough for a line; `version_of` makes it.
    pub version: String,
    /// Where the list and the virtual environment (`venv`) lie.
    pub folder: PathBuf,
}

/// Names the texts that an installation is made of.
pub fn version_of(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text);
    }
    hex(&hash.finalize()[..6])
}

impl VirtualEnvironment {
    /// A program of an installed package; `python` is the interpreter.
    pub fn program(&self, name: &str) -> PathBuf {
        self.venv().join("bin").join(name)
    }

    /// Whether what is installed is the right version for the interpreter that is there.
    #[expect(clippy::disallowed_methods, reason = "a stamp of one line")]
    pub fn is_complete(&self) -> bool {
        let stamped = std::fs::read_to_string(self.stamp()).ok();
        stamped.is_some() && stamped == self.stamp_text()
    }

    /// Makes it anew. Nothing may run from it.
    pub async fn install(&self, process_env: &ProcessEnv, report: &Report) -> Result<()> {
        let subject = self.subject.to_owned();
        report.emit(MachineEvent::PackagesMissing {
            subject: subject.clone(),
            purpose: self.purpose.to_owned(),
        });
        let venv = self.venv();
        if venv.exists() {
            tokio::fs::remove_dir_all(&venv)
                .await
                .with_context(|| format!("remove {}", venv.display()))?;
        }
        let requirements = self.folder.join("requirements.txt");
        write(&requirements, self.requirements).await?;
        let interpreter = host::python(process_env).await.usable().ok_or_else(|| {
            Failure::not_ready(format!("no Python is fit to run {}", self.purpose))
                .hint("cargo xtask doctor")
        })?;
        report.emit(MachineEvent::MakingVirtualEnvironment {
            subject: subject.clone(),
        });
        Command::new(process_env, interpreter)
            .arguments(["-m".as_ref(), "venv".as_ref(), venv.as_os_str()])
            .succeed()
            .await?;
        report.emit(MachineEvent::InstallingPackages { subject });
        self.pip(process_env, &requirements)
            .succeed()
            .await
            .with_context(|| format!("install the packages of {}", self.purpose))?;
        let text = self
            .stamp_text()
            .context("find the interpreter of the virtual environment")?;
        write(&self.stamp(), &text).await
    }

    fn pip(&self, process_env: &ProcessEnv, requirements: &Path) -> Command {
        let mut pip = Command::new(process_env, self.program("python"))
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
        for (name, value) in &process_env.variables {
            if name.starts_with("PIP_") {
                pip = pip.variable(name, value);
            }
        }
        pip
    }

    fn venv(&self) -> PathBuf {
        self.folder.join("venv")
    }

    fn stamp(&self) -> PathBuf {
        self.venv().join(STAMP)
    }

    /// What must be unchanged for the virtual environment to be the right one.
    fn stamp_text(&self) -> Option<String> {
        let interpreter = self.program("python").canonicalize().ok()?;
        Some(format!("{} {}\n", self.version, interpreter.display()))
    }
}

/// Writes a file, and makes the folder that it is to lie in.
pub async fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(path, text)
        .await
        .with_context(|| format!("write {}", path.display()))
}

/// Fails where a line of a list is not pinned or lacks its hashes, or what is needed is not in it.
#[cfg(test)]
pub fn assert_pinned(requirements: &str, needed: &[&str]) {
    let joined = requirements.replace("\\\n", " ");
    let lines: Vec<&str> = { joined.lines() }
        .filter(|line| !line.starts_with('#'))
        .collect();
    // What they depend on is in the list too.
    assert!(lines.len() > 20, "{lines:?}");
    for line in &lines {
        assert!(
            line.contains("==") && line.contains("--hash=sha256:"),
            "{line}"
        );
    }
    for needed in needed {
        assert!(
            lines.iter().any(|line| line.starts_with(needed)),
            "{needed}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_half_made_environment_is_not_taken_for_a_whole_one() {
        let folder = std::env::temp_dir().join(format!("xtask-venv-{}", std::process::id()));
        let environment = VirtualEnvironment {
            subject: "tools",
            purpose: "a test",
            requirements: "",
            version: version_of(&["a list"]),
            folder: folder.clone(),
        };
        write(&environment.program("python"), "").await.unwrap();
        assert!(!environment.is_complete());
        let text = environment.stamp_text().unwrap();
        write(&environment.stamp(), &text).await.unwrap();
        assert!(environment.is_complete());
        write(&environment.stamp(), "another-version")
            .await
            .unwrap();
        assert!(!environment.is_complete());
        tokio::fs::remove_dir_all(&folder).await.unwrap();
    }
}
