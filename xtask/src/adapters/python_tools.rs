//! Checkers from `PyPI`, pinned, and installed below `target/` when they are first used.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use async_trait::async_trait;

use super::process::{Command, Finished, find_program};
use super::virtual_environment::{VirtualEnvironment, version_of};
use crate::ports::{ProcessEnv, Suites};
use crate::report::Report;

const REQUIREMENTS: &str = include_str!("../../tools/requirements.txt");
const SCHEMATHESIS: &str = include_str!("../../tools/schemathesis.txt");
const H2LOAD: &str = "h2load";

pub struct PythonTools<'a> {
    process_env: &'a ProcessEnv,
    report: &'a Report,
    environment: VirtualEnvironment,
}

impl<'a> PythonTools<'a> {
    pub fn new(process_env: &'a ProcessEnv, report: &'a Report) -> Self {
        let environment = VirtualEnvironment {
            subject: "tools",
            purpose: "the checkers of PyPI",
            requirements: REQUIREMENTS,
            version: version_of(&[REQUIREMENTS]),
            folder: process_env.state_folder().join("tools"),
        };
        Self {
            process_env,
            report,
            environment,
        }
    }

    /// Runs a tool in a folder, whatever its exit code.
    ///
    /// # Errors
    /// If the tools cannot be installed, or this is none of them.
    pub async fn run(
        &self,
        tool: &str,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        folder: &Path,
    ) -> Result<Finished> {
        if !self.environment.is_complete() {
            self.environment
                .install(self.process_env, self.report)
                .await?;
        }
        let program = self.environment.program(tool);
        if !program.is_file() {
            // The list may exclude a tool for an interpreter that is too old.
            bail!("{tool} is not available for this version of Python");
        }
        Command::new(self.process_env, program)
            .arguments(arguments)
            .folder(folder)
            .run()
            .await
    }
}

/// The suites by others that the services' tests run.
pub struct ForeignSuites<'a> {
    pub process_env: &'a ProcessEnv,
    pub report: &'a Report,
}

#[async_trait]
impl Suites for ForeignSuites<'_> {
    async fn schemathesis(&self) -> Result<PathBuf> {
        let environment = VirtualEnvironment {
            subject: "schemathesis",
            purpose: "a suite of PyPI",
            requirements: SCHEMATHESIS,
            version: version_of(&[SCHEMATHESIS]),
            folder: self.process_env.state_folder().join("schemathesis"),
        };
        if !environment.is_complete() {
            environment.install(self.process_env, self.report).await?;
        }
        Ok(environment.program("schemathesis"))
    }

    fn h2load(&self) -> Option<PathBuf> {
        find_program(self.process_env, H2LOAD)
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
            &["check-jsonschema==", "checkov==", "zizmor=="],
        );
        assert_pinned(SCHEMATHESIS, &["schemathesis==", "hypothesis=="]);
    }
}
