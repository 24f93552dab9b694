//! Checks of `infra/` for `cargo xtask test`, without AWS: format, validity, `terraform test` with
//! a mock provider, and checkov.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Terraform;
use super::failures::errors_of;
use crate::adapters::process::Command;
use crate::adapters::python_tools::PythonTools;
use crate::report::InfraEvent;

/// The environments that `infra/tests` runs for: those that are not emulated, whose first apply is
/// on AWS.
const TESTED: [&str; 2] = ["staging", "production"];

/// Shows only failures, and uses no network.
const CHECKOV: [&str; 7] = [
    "--directory=.",
    "--framework=terraform",
    "--compact",
    "--quiet",
    "--skip-download",
    "--output=cli",
    "--skip-results-upload",
];

impl Terraform<'_> {
    pub(super) async fn check_all(&self) -> Result<()> {
        let infra = self.process_env.root.join("infra");
        self.check_format(&infra).await?;
        // In its own folder, to keep the state of an apply.
        let check = Self {
            emulator: self.emulator.clone(),
            folder: self.process_env.state_folder().join("check"),
            ..*self
        };
        check.copy().await?;
        let root = check.folder.join("root");
        for (name, folder) in [
            ("infra", root.clone()),
            ("bootstrap", root.join("bootstrap")),
        ] {
            let module = Root { name, folder };
            check.check_valid(&module).await?;
            for environment in TESTED {
                check.run_tests(&module, &root, environment).await?;
            }
        }
        self.check_security(&infra).await
    }

    async fn check_format(&self, infra: &Path) -> Result<()> {
        let format =
            self.command()?
                .folder(infra)
                .arguments(["fmt", "-check", "-recursive", "-diff"]);
        let format = format.run().await?;
        if !format.succeeded() {
            bail!(
                "infra/ is not formatted (terraform fmt -recursive):\n{}",
                format.output.trim()
            );
        }
        Ok(())
    }

    async fn check_valid(&self, root: &Root) -> Result<()> {
        let init = self
            .in_root(root)?
            .arguments(["init", "-no-color", "-backend=false"]);
        let init = self.with_mirror(init).run().await?;
        if !init.succeeded() {
            bail!(
                "terraform init of {} failed:\n{}",
                root.name,
                errors_of(&init.output)
            );
        }
        let validate = self.in_root(root)?.arguments(["validate", "-no-color"]);
        let validate = validate.run().await?;
        if !validate.succeeded() {
            bail!(
                "{} is not valid:\n{}",
                root.name,
                errors_of(&validate.output)
            );
        }
        Ok(())
    }

    /// Runs the tests for all environments and those for this one.
    async fn run_tests(&self, root: &Root, infra: &Path, environment: &str) -> Result<()> {
        let variables = infra.join(format!("environments/{environment}.tfvars.json"));
        let mut test = self
            .in_root(root)?
            .arguments(["test", "-no-color", "-compact-warnings"])
            .arguments([format!("-var-file={}", variables.display())]);
        for foreign in TESTED.iter().filter(|it| **it != environment) {
            test = test.arguments(root.tests_without(foreign)?);
        }
        self.report.emit(InfraEvent::TerraformTests {
            root: root.name.to_owned(),
            environment: environment.to_owned(),
        });
        let test = test.run().await?;
        if !test.succeeded() {
            bail!(
                "the tests of {} failed for {environment}:\n{}",
                root.name,
                test.output.trim()
            );
        }
        Ok(())
    }

    async fn check_security(&self, infra: &Path) -> Result<()> {
        let tools = PythonTools::new(self.process_env, self.report);
        let checked = tools.run("checkov", CHECKOV, infra).await?;
        if !checked.succeeded() {
            bail!(
                "checkov reports faults in infra/:\n{}",
                checked.output.trim()
            );
        }
        let counts = checked
            .output
            .lines()
            .find(|line| line.starts_with("Passed checks"));
        let counts = counts.context("checkov checked nothing")?;
        self.report.emit(InfraEvent::CheckovPassed {
            counts: counts.to_lowercase(),
        });
        Ok(())
    }

    fn in_root(&self, root: &Root) -> Result<Command> {
        let data = self.folder.join(format!("data-{}", root.name));
        Ok(self
            .command()?
            .folder(&root.folder)
            .variable("TF_DATA_DIR", data.to_string_lossy()))
    }
}

/// A root module: `infra/` or `infra/bootstrap/`.
struct Root {
    name: &'static str,
    folder: PathBuf,
}

impl Root {
    /// The arguments that exclude the tests of another environment.
    fn tests_without(&self, foreign: &str) -> Result<Vec<String>> {
        let mut filters = Vec::new();
        for entry in std::fs::read_dir(self.folder.join("tests"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".tftest.hcl") && name != format!("{foreign}.tftest.hcl") {
                filters.push(format!("-filter=tests/{name}"));
            }
        }
        Ok(filters)
    }
}
