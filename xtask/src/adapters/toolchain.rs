//! Cargo in the checkout, the tools that it installs, and line coverage by LLVM.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use async_trait::async_trait;

use super::process::Command;
use crate::decide::acceptance::figures::{Coverage, coverage_of};
use crate::ports::{CargoRun, CargoTool, LineWatcher, ProcessEnv, Toolchain};

/// The LLVM 22 of the distribution. Older versions cannot read the profiles of Rust 1.95.
const LLVM_FOLDER: &str = "/usr/lib/llvm-22/bin";
/// Below the root.
const COUNT_LINES: &str = "xtask/tools/count-lines";

#[async_trait]
impl Toolchain for ProcessEnv {
    async fn cargo(
        &self,
        arguments: &[&str],
        variables: &BTreeMap<String, String>,
        watch: LineWatcher<'_>,
    ) -> Result<CargoRun> {
        let mut command = Command::new(self, "cargo").arguments(arguments);
        for (name, value) in variables {
            command = command.variable(name, value);
        }
        run(command.folder(&self.root), watch).await
    }

    async fn tool(
        &self,
        tool: CargoTool,
        arguments: &[&str],
        watch: LineWatcher<'_>,
    ) -> Result<CargoRun> {
        let folder = tool_folder(self, tool);
        let program = folder.join("bin").join(tool.name);
        if !program.is_file() {
            install(self, tool, &folder, watch).await?;
        }
        // Cargo passes the name of the subcommand as the first argument.
        let subcommand = tool.name.trim_start_matches("cargo-");
        let command = Command::new(self, program)
            .arguments([subcommand])
            .arguments(arguments);
        run(command.folder(&self.root), watch).await
    }

    async fn counting(&self) -> Result<Option<BTreeMap<String, String>>> {
        if llvm_folder(self).await?.is_none() {
            return Ok(None);
        }
        let counts = counts_folder(self);
        if counts.is_dir() {
            let removed = tokio::fs::remove_dir_all(&counts).await;
            removed.with_context(|| format!("remove {}", counts.display()))?;
        }
        // `%4m`: processes of one program merge into up to four files.
        let files = counts.join("%4m.profraw");
        let wrapper = self.root.join(COUNT_LINES);
        Ok(Some(BTreeMap::from([
            ("LLVM_PROFILE_FILE".to_owned(), files.display().to_string()),
            (
                "RUSTC_WORKSPACE_WRAPPER".to_owned(),
                wrapper.display().to_string(),
            ),
        ])))
    }

    async fn lines_covered(&self, programs: &[String], folders: &[String]) -> Result<f64> {
        let llvm = llvm_folder(self).await?;
        let llvm = llvm.context("the tools of LLVM are not installed any more")?;
        let counts = counts_folder(self);
        let merged = counts.with_extension("profdata");
        Command::new(self, llvm.join("llvm-profdata"))
            .arguments(["merge", "-sparse", "-o"])
            .arguments([&merged, &counts])
            .succeed()
            .await?;
        let objects = programs.iter().map(|it| format!("-object={it}"));
        let folders = folders.iter().map(|folder| self.root.join(folder));
        let export = Command::new(self, llvm.join("llvm-cov"))
            .arguments(["export", "-summary-only"])
            .arguments([format!("-instr-profile={}", merged.display())])
            .arguments(objects)
            .arguments(["-sources"])
            .arguments(folders)
            .without_stderr()
            .succeed()
            .await?;
        coverage_of(&export).context("no coverage in the output of llvm-cov")
    }

    async fn coverage(&self) -> Result<Option<Coverage>> {
        let file = Coverage::file(&self.state_folder());
        match tokio::fs::read(&file).await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
        }
    }

    async fn keep_coverage(&self, figure: &Coverage) -> Result<()> {
        let file = Coverage::file(&self.state_folder());
        let written = tokio::fs::write(&file, serde_json::to_string(figure)?).await;
        written.with_context(|| format!("write {}", file.display()))
    }
}

async fn run(command: Command, watch: LineWatcher<'_>) -> Result<CargoRun> {
    let finished = command.run_watched(watch).await?;
    Ok(CargoRun {
        succeeded: finished.succeeded(),
        output: finished.output,
    })
}

/// Each version has its own folder, so that a new version is compiled when it is first used.
fn tool_folder(process_env: &ProcessEnv, tool: CargoTool) -> PathBuf {
    let folder = process_env.state_folder().join("cargo");
    folder.join(format!("{}-{}", tool.name, tool.version))
}

/// Compiles a tool without optimization, which takes less than half as long and suffices for
/// checkers.
async fn install(
    process_env: &ProcessEnv,
    tool: CargoTool,
    folder: &Path,
    watch: LineWatcher<'_>,
) -> Result<()> {
    let CargoTool { name, version } = tool;
    watch(&format!("compiling {name} {version}; this happens once"));
    let root = folder.display().to_string();
    let build = folder.join("build");
    let install = Command::new(process_env, "cargo")
        .arguments(["install", "--locked", "--debug", "--no-track"])
        .arguments(["--root", &root, "--version", version, name])
        // The next run continues an interrupted build, and the build leaves no files elsewhere.
        .variable("CARGO_TARGET_DIR", build.display().to_string())
        .variable("CARGO_PROFILE_DEV_DEBUG", "0")
        .folder(&process_env.root);
    let installed = run(install, watch).await?;
    let last_lines = installed.last_lines(20);
    anyhow::ensure!(
        installed.succeeded,
        "cannot compile {name} {version}:\n{last_lines}"
    );
    let removed = tokio::fs::remove_dir_all(&build).await;
    removed.with_context(|| format!("remove {}", build.display()))
}

/// The LLVM tools of rustup for this compiler, else those of the distribution.
async fn llvm_folder(process_env: &ProcessEnv) -> Result<Option<PathBuf>> {
    let libraries = Command::new(process_env, "rustc")
        .arguments(["--print", "target-libdir"])
        .folder(&process_env.root)
        .without_stderr()
        .succeed()
        .await?;
    let folders = [
        Path::new(libraries.trim()).with_file_name("bin"),
        PathBuf::from(LLVM_FOLDER),
    ];
    let has_both = |folder: &PathBuf| {
        let tools = ["llvm-cov", "llvm-profdata"];
        tools.iter().all(|tool| folder.join(tool).is_file())
    };
    Ok(folders.into_iter().find(has_both))
}

fn counts_folder(process_env: &ProcessEnv) -> PathBuf {
    process_env.state_folder().join("coverage")
}

/// The folder of `CARGO_HOME`.
pub fn cargo_home(process_env: &ProcessEnv) -> PathBuf {
    let named = |name| process_env.variable(name).map(PathBuf::from);
    named("CARGO_HOME").unwrap_or_else(|| named("HOME").unwrap_or_default().join(".cargo"))
}
