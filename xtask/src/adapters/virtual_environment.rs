//! A Python virtual environment below `target/` with the packages of a checked-in list. Files are
//! checked against their hashes. It is created again when the list or the interpreter changes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::process::{Command, find_program};
use crate::decide::machine::readiness::facts::{PythonStatus, numbers};
use crate::failure::Failure;
use crate::ports::ProcessEnv;
use crate::report::{MachineEvent, Report};

/// `python3` first; the others are for machines where it is too old.
const PYTHONS: [&str; 6] = [
    "python3",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
];

/// The file that marks a complete virtual environment, written last.
const STAMP: &str = "complete";

pub struct VirtualEnvironment {
    /// The subject of lines in the report.
    pub subject: &'static str,
    /// Its purpose, as part of a sentence.
    pub purpose: &'static str,
    /// The list of packages, in the format of pip.
    pub requirements: &'static str,
    /// Identifies what is installed, see `version_of`.
    pub version: String,
    /// The folder of the list and the virtual environment (`venv`).
    pub folder: PathBuf,
}

/// A short hash of the texts that determine an installation.
pub fn version_of(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text);
    }
    hex::encode(&hash.finalize()[..6])
}

impl VirtualEnvironment {
    /// The file of a program of an installed package, or of the interpreter `python`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.venv().join("bin").join(name)
    }

    /// Whether this version is completely installed, for the current interpreter.
    #[expect(clippy::disallowed_methods, reason = "a stamp of one line")]
    pub fn is_complete(&self) -> bool {
        let stamped = std::fs::read_to_string(self.stamp()).ok();
        stamped.is_some() && stamped == self.stamp_text()
    }

    /// Creates it again. No program of it may be running.
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
        let interpreter = python(process_env).await.usable().ok_or_else(|| {
            Failure::not_ready(format!("no usable Python for {}", self.purpose))
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
        // A private index may be configured by these; no other variable of the shell is inherited.
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

    /// The version and the interpreter.
    fn stamp_text(&self) -> Option<String> {
        let interpreter = self.program("python").canonicalize().ok()?;
        Some(format!("{} {}\n", self.version, interpreter.display()))
    }
}

/// The first Python that can run the local AWS, else the first one of any version.
pub async fn python(process_env: &ProcessEnv) -> PythonStatus {
    const QUESTION: &str =
        "import sys; print('%d.%d' % sys.version_info[:2]); import ensurepip, venv; print('yes')";
    let mut first = PythonStatus::Missing;
    for program in PYTHONS {
        if find_program(process_env, program).is_none() {
            continue;
        }
        let asked = Command::new(process_env, program).arguments(["-c", QUESTION]);
        let Ok(answer) = asked.run().await else {
            continue;
        };
        let Some(version) = numbers(&answer.output) else {
            continue;
        };
        let found = PythonStatus::Found {
            program: program.to_owned(),
            version,
            makes_environments: answer.succeeded(),
        };
        if found.clone().usable().is_some() {
            return found;
        }
        if first == PythonStatus::Missing {
            first = found;
        }
    }
    first
}

/// Writes a file and creates its folder.
pub async fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(path, text)
        .await
        .with_context(|| format!("write {}", path.display()))
}

/// Asserts that every line of a list is pinned with hashes, and that the needed packages are in it.
#[cfg(test)]
pub fn assert_pinned(requirements: &str, needed: &[&str]) {
    let joined = requirements.replace("\\\n", " ");
    let lines: Vec<&str> = { joined.lines() }
        .filter(|line| !line.starts_with('#'))
        .collect();
    // The list includes transitive dependencies.
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
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn an_incomplete_environment_is_recognized() {
        let folder = TempDir::new().unwrap();
        let environment = VirtualEnvironment {
            subject: "tools",
            purpose: "a test",
            requirements: "",
            version: version_of(&["a list"]),
            folder: folder.path().to_owned(),
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
    }
}
