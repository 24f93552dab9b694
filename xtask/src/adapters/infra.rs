//! Terraform or OpenTofu. It runs in a copy of `infra/` below `target/`, so that it leaves no files
//! in the checkout and an emulated environment can have its own backend.

mod checks;
mod failures;
mod plan_file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::aws::{explain, is_code};
use super::emulator::AccessKey;
use super::process::{Command, find_program};
use crate::catalog::{self, Catalog, Service};
use crate::decide::environment::Environment;
use crate::decide::machine::byte_order_mark::BYTE_ORDER_MARK;
use crate::decide::outputs::Architecture;
use crate::failure::{Failure, Kind};
use crate::ports::{Infra, InfraPlan, Interrupt, ProcessEnv};
use crate::report::{InfraEvent, Report};
use failures::TerraformRun;
use plan_file::PlanFile;

/// The path of the provider in a folder that mirrors a registry. `infra/versions.tf` pins its
/// version.
const PROVIDER: &str = "hashicorp/aws";

pub struct Terraform<'a> {
    process_env: &'a ProcessEnv,
    catalog: &'a Catalog,
    environment: &'a Environment,
    report: &'a Report,
    config: &'a SdkConfig,
    interrupt: &'a dyn Interrupt,
    emulator: Option<EmulatedTarget>,
    /// The folder of the copy of `infra/`, of the plugin data, and of the state if emulated.
    folder: PathBuf,
}

enum Published {
    Document(String),
    NoDocument,
    NoTable,
}

/// What an emulated environment gets from this machine instead of the environment file.
#[derive(Debug, Clone)]
pub struct EmulatedTarget {
    pub endpoint: String,
    pub access_key: AccessKey,
    pub architecture: Architecture,
    /// The folder of the emulator, so that a reset also removes the state of Terraform.
    pub folder: PathBuf,
}

impl<'a> Terraform<'a> {
    pub fn new(
        process_env: &'a ProcessEnv,
        catalog: &'a Catalog,
        environment: &'a Environment,
        report: &'a Report,
        config: &'a SdkConfig,
        interrupt: &'a dyn Interrupt,
        emulator: Option<EmulatedTarget>,
    ) -> Self {
        let folder = emulator
            .as_ref()
            .map_or_else(|| process_env.state_folder(), |local| local.folder.clone());
        Self {
            process_env,
            catalog,
            environment,
            report,
            config,
            interrupt,
            emulator,
            folder: folder.join(&environment.name).join("terraform"),
        }
    }

    fn variables_file(&self) -> String {
        format!("environments/{}.tfvars.json", self.environment.name)
    }

    /// Whether a file of `infra/` affects this environment.
    fn affects(&self, path: &str) -> bool {
        let foreign = path.starts_with("environments/")
            && !path.starts_with(&format!("environments/{}.", self.environment.name));
        let apart = path.starts_with("bootstrap/") || path.starts_with("tests/");
        let text = Path::new(path).extension().is_some_and(|it| it == "md");
        !foreign && !apart && !text
    }

    /// The variables that are not in the environment file.
    fn extra_variables(&self, sha256: &str, released: &[Service]) -> Vec<String> {
        let mut variables = vec![
            format!("infra_sha256={sha256}"),
            format!("released_services={}", json!(released)),
        ];
        if let Some(local) = &self.emulator {
            variables.push(format!("endpoint={}", local.endpoint));
            variables.push(format!("architecture={}", local.architecture.ecs()));
        }
        variables
    }

    fn program(&self) -> Result<PathBuf> {
        ["terraform", "tofu"]
            .into_iter()
            .find_map(|name| find_program(self.process_env, name))
            .ok_or_else(|| {
                Failure::not_ready("neither terraform nor tofu is on the PATH")
                    .hint("cargo xtask doctor")
                    .into()
            })
    }

    /// A command in the copy, with the environment's credentials and no others.
    fn command(&self) -> Result<Command> {
        let mut command = Command::new(self.process_env, self.program()?)
            .folder(&self.folder.join("root"))
            .variable("TF_DATA_DIR", self.folder.join("data").to_string_lossy())
            .variable("TF_IN_AUTOMATION", "1")
            .variable("TF_INPUT", "0")
            .variable("CHECKPOINT_DISABLE", "1");
        if let Some(local) = &self.emulator {
            for (name, value) in [
                ("AWS_ENDPOINT_URL", local.endpoint.as_str()),
                ("AWS_ACCESS_KEY_ID", local.access_key.access_key_id.as_str()),
                ("AWS_SECRET_ACCESS_KEY", &local.access_key.secret_access_key),
                ("AWS_REGION", &self.environment.region),
            ] {
                command = command.variable(name, value);
            }
        } else {
            let aws = self
                .process_env
                .variables
                .iter()
                .filter(|(name, _)| name.starts_with("AWS_"));
            for (name, value) in aws {
                command = command.variable(name, value);
            }
            // Overrides or ignores the endpoints of a profile.
            command = match &self.environment.endpoint {
                Some(endpoint) => command.variable("AWS_ENDPOINT_URL", endpoint),
                None => command.variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
            };
        }
        if let Some(file) = self.cli_configuration() {
            command = command.variable("TF_CLI_CONFIG_FILE", file.to_string_lossy());
        }
        Ok(command)
    }

    /// The CLI configuration of the user if it exists, which may configure a mirror.
    fn cli_configuration(&self) -> Option<PathBuf> {
        let named = self.process_env.variable("TF_CLI_CONFIG_FILE")?;
        let file = self.process_env.here.join(named);
        file.is_file().then_some(file)
    }

    /// Creates a fresh copy of `infra/` and initializes it with the backend of the environment.
    async fn prepare(&self) -> Result<()> {
        self.copy().await?;
        let backend = if self.emulator.is_some() {
            let state = self.folder.join("terraform.tfstate");
            let backend = json!({ "terraform": { "backend": { "local": { "path": state } } } });
            let file = self.folder.join("root/backend_override.tf.json");
            tokio::fs::write(&file, backend.to_string()).await?;
            "-reconfigure".to_owned()
        } else {
            format!(
                "-backend-config=environments/{}.s3.tfbackend",
                self.environment.name
            )
        };
        self.init(&backend).await
    }

    /// Locks the copy for this run. The lock is released when the file is closed.
    async fn lock(&self) -> Result<File> {
        tokio::fs::create_dir_all(&self.folder)
            .await
            .context("create the folder of Terraform")?;
        let file = File::create(self.folder.join("lock")).context("open the lock of Terraform")?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::refused("another run in this checkout uses infra/")
                    .hint("wait until it ends")
                    .into())
            }
            Err(TryLockError::Error(error)) => Err(error).context("lock the folder of Terraform"),
        }
    }

    async fn copy(&self) -> Result<()> {
        let root = self.folder.join("root");
        if root.exists() {
            tokio::fs::remove_dir_all(&root)
                .await
                .with_context(|| format!("clear {}", root.display()))?;
        }
        for (path, bytes) in sources(&self.process_env.root.join("infra"))? {
            let file = root.join(&path);
            if let Some(parent) = file.parent() {
                tokio::fs::create_dir_all(parent).await?;
            }
            tokio::fs::write(&file, bytes)
                .await
                .with_context(|| format!("write {}", file.display()))?;
        }
        // `infra/` reads it at this place.
        let copy = self.folder.join(catalog::FILE);
        let folder = self.folder.join("services");
        tokio::fs::create_dir_all(&folder).await?;
        let copied = tokio::fs::copy(self.process_env.root.join(catalog::FILE), &copy).await;
        copied.with_context(|| format!("write {}", copy.display()))?;
        Ok(())
    }

    async fn init(&self, backend: &str) -> Result<()> {
        let init = self.command()?.arguments(["init", "-no-color", backend]);
        let init = self.with_mirror(init);
        self.report.emit(InfraEvent::Terraform {
            verb: "init".to_owned(),
            done: 0,
            resource: None,
        });
        let finished = init.run().await?;
        if finished.succeeded() {
            Ok(())
        } else {
            Err(self.failure("init", &finished.output))
        }
    }

    fn with_mirror(&self, init: Command) -> Command {
        let mirror = self
            .cli_configuration()
            .is_none()
            .then(|| self.mirror())
            .flatten();
        match mirror {
            Some(mirror) => init.arguments([format!("-plugin-dir={}", mirror.display())]),
            None => init,
        }
    }

    /// A folder of this machine with the provider, so that it is not downloaded. Searches the
    /// plugin folders of Terraform, then the subfolders of the common installation prefixes.
    fn mirror(&self) -> Option<PathBuf> {
        let home = self.process_env.variable("HOME").map(PathBuf::from);
        let data = self
            .process_env
            .variable("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| home.as_ref().map(|home| home.join(".local/share")));
        let mut folders: Vec<PathBuf> = Vec::new();
        folders.extend(home.map(|home| home.join(".terraform.d/plugins")));
        folders.extend(data.map(|data| data.join("terraform/plugins")));
        folders.push("/usr/local/share/terraform/plugins".into());
        folders.push("/usr/share/terraform/plugins".into());
        for prefix in [
            "/opt",
            "/usr/local",
            "/usr/local/share",
            "/usr/share",
            "/usr/lib",
        ] {
            let children = std::fs::read_dir(prefix).into_iter().flatten().flatten();
            let mut children: Vec<PathBuf> = children.map(|child| child.path()).collect();
            children.sort();
            folders.extend(children);
        }
        folders.into_iter().find(|folder| {
            ["registry.terraform.io", "registry.opentofu.org"]
                .into_iter()
                .any(|host| folder.join(host).join(PROVIDER).is_dir())
        })
    }

    /// Runs `plan` or `apply`. On Ctrl-C it waits for Terraform to end.
    async fn change(&self, verb: &str, arguments: Vec<String>) -> Result<String> {
        let command = self
            .command()?
            .arguments([verb, "-no-color", "-compact-warnings"])
            .arguments(arguments);
        self.report.emit(InfraEvent::Terraform {
            verb: verb.to_owned(),
            done: 0,
            resource: None,
        });
        let mut done = 0_u32;
        let running = command.run_watched(|line| {
            if line.contains(" complete after ") {
                done += 1;
            }
            if line.contains(": Creat") || line.contains(": Still creating") {
                let what = line.split(':').next().unwrap_or_default();
                self.report.emit(InfraEvent::Terraform {
                    verb: verb.to_owned(),
                    done,
                    resource: Some(what.to_owned()),
                });
            }
        });
        tokio::pin!(running);
        let finished = tokio::select! {
            finished = &mut running => finished?,
            () = self.interrupt.wait() => {
                // Terraform gets the terminal's Ctrl-C too. Killed, it would lose its state.
                self.report.emit(InfraEvent::TerraformInterrupted);
                running.await?;
                let message = format!("interrupted during terraform {verb}");
                return Err(Failure::new(Kind::Interrupted, message).into());
            }
        };
        if !finished.succeeded() {
            return Err(self.failure(verb, &finished.output));
        }
        Ok(finished.output)
    }

    /// What the environment's table has of the outputs.
    async fn published(&self) -> Result<Published> {
        let table = self.environment.releases_table();
        let client = aws_sdk_dynamodb::Client::new(self.config);
        let item = client.get_item().table_name(&table).consistent_read(true);
        let item = item
            .key("kind", AttributeValue::S("outputs".to_owned()))
            .key("number", AttributeValue::N("0".to_owned()));
        match item.send().await {
            Ok(found) => {
                let document = found.item.and_then(|mut item| item.remove("document"));
                let document = document.and_then(|document| document.as_s().ok().cloned());
                Ok(document.map_or(Published::NoDocument, Published::Document))
            }
            Err(error) if is_code(&error, "ResourceNotFoundException") => Ok(Published::NoTable),
            Err(error) => Err(explain(error)).with_context(|| format!("read the table {table}")),
        }
    }

    /// Whether the emulator lacks what the state says that it has: it was ended without saving. A
    /// state without the table is of an older `infra/`, or of an apply that was interrupted.
    async fn has_lost_its_resources(&self, state: &Path) -> Result<bool> {
        let state = tokio::fs::read_to_string(state).await.unwrap_or_default();
        let has_table = state.contains("\"aws_dynamodb_table\"");
        Ok(has_table && matches!(self.published().await?, Published::NoTable))
    }

    fn failure(&self, verb: &str, output: &str) -> anyhow::Error {
        let run = TerraformRun {
            environment: &self.environment.name,
            emulated: self.emulator.is_some(),
            verb,
            root: self.folder.join("root").display().to_string(),
        };
        run.failure(output)
    }
}

#[async_trait]
impl Infra for Terraform<'_> {
    async fn desired_sha256(&self, released: &[Service]) -> Result<String> {
        let mut hash = Sha256::new();
        for (path, bytes) in sources(&self.process_env.root.join("infra"))? {
            if self.affects(&path) {
                hash.update(format!("{path}\0{}\0", bytes.len()));
                hash.update(bytes);
            }
        }
        for variable in self.extra_variables("", released) {
            hash.update(variable);
        }
        hash.update(self.catalog.of_infra().to_string());
        Ok(hex::encode(hash.finalize()))
    }

    async fn outputs(&self) -> Result<Option<String>> {
        Ok(match self.published().await? {
            Published::Document(document) => Some(document),
            Published::NoDocument | Published::NoTable => None,
        })
    }

    async fn plan(&self, released: &[Service]) -> Result<Box<dyn InfraPlan + '_>> {
        let lock = self.lock().await?;
        let state = self.folder.join("terraform.tfstate");
        if self.emulator.is_some() && self.has_lost_its_resources(&state).await? {
            // They have to be created again.
            tokio::fs::remove_file(&state)
                .await
                .context("remove the state of a lost emulator")?;
        }
        self.prepare().await?;
        let file = PlanFile::new(&self.folder)?;
        let sha256 = self.desired_sha256(released).await?;
        let variables = self.extra_variables(&sha256, released);
        let variables = variables.into_iter().flat_map(|it| ["-var".to_owned(), it]);
        let mut arguments = vec![
            format!("-out={file}"),
            format!("-var-file={}", self.variables_file()),
        ];
        arguments.extend(variables);
        let output = self.change("plan", arguments).await?;
        let summary = output.lines().filter(|line| {
            line.starts_with("Plan:") || line.starts_with("No changes") || line.starts_with("  # ")
        });
        Ok(Box::new(SavedPlan {
            terraform: self,
            summary: summary.collect::<Vec<_>>().join("\n"),
            file,
            _lock: lock,
        }))
    }

    async fn check(&self) -> Result<()> {
        self.check_all().await
    }
}

/// A plan that Terraform saved.
struct SavedPlan<'a> {
    terraform: &'a Terraform<'a>,
    summary: String,
    file: PlanFile,
    _lock: File,
}

#[async_trait]
impl InfraPlan for SavedPlan<'_> {
    fn summary(&self) -> &str {
        &self.summary
    }

    fn destroyed(&self) -> Vec<String> {
        destroyed(&self.summary)
    }

    async fn apply(self: Box<Self>) -> Result<()> {
        let arguments = vec![self.file.to_string()];
        self.terraform.change("apply", arguments).await.map(drop)
    }
}

/// The components whose service or function a plan destroys, or destroys to create it anew.
fn destroyed(summary: &str) -> Vec<String> {
    let of_component = |line: &str| {
        let (address, action) = line.trim().strip_prefix("# ")?.split_once(' ')?;
        let is_lost =
            action.starts_with("will be destroyed") || action.starts_with("must be replaced");
        let runs = [
            ".aws_ecs_service.",
            ".aws_lambda_function.",
            ".aws_lambda_alias.",
        ];
        let runs = runs.iter().any(|kind| address.contains(kind));
        let (_, rest) = address.split_once("[\"")?;
        let (name, _) = rest.split_once('"')?;
        (is_lost && runs).then(|| name.to_owned())
    };
    let names: BTreeSet<_> = summary.lines().filter_map(of_component).collect();
    names.into_iter().collect()
}

/// All files below a folder by their relative path, without files that Terraform generates.
fn sources(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries =
            std::fs::read_dir(&next).with_context(|| format!("read {}", next.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(".terraform") || name.contains(".tfstate") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder)?.to_string_lossy().into_owned();
                files.insert(relative, read(&path)?);
            }
        }
    }
    Ok(files)
}

#[expect(clippy::disallowed_methods, reason = "reads the sources of infra/")]
fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    // Terraform rejects a byte order mark in JSON.
    let unmarked = bytes.strip_prefix(BYTE_ORDER_MARK.as_bytes());
    Ok(unmarked.map_or_else(|| bytes.clone(), <[u8]>::to_vec))
}
