//! `test`: what CI runs, in the order in which it tells a mistake soonest.

use anyhow::{Context, Result};
use serde_json::json;
use tokio::time::Instant;

use crate::adapters::process::{Command, Finished};
use crate::decide::checks::{Counts, Coverage, count_tests, coverage_of};
use crate::failure::{Failure, Kind};
use crate::report::Report;
use crate::world::{Builder, Infra, Source, Surroundings};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What one runs before each commit: no Docker, no Terraform.
    Fast,
    All,
}

/// What the tests need of the world.
pub struct Parts<'a> {
    pub surroundings: &'a Surroundings,
    pub report: &'a Report,
    pub builder: &'a dyn Builder,
    pub infra: &'a dyn Infra,
    /// This very program: the end-to-end test runs it, and never cargo.
    pub program: &'a std::path::Path,
    pub architecture: crate::decide::site::Architecture,
}

/// Every stage runs even if one before it failed: all faults at once.
pub async fn test(parts: &Parts<'_>, scope: Scope) -> Result<()> {
    let mut suite = Suite {
        parts,
        counts: Counts::default(),
        failed: Vec::new(),
    };
    suite.cargo("format", &["fmt", "--all", "--check"]).await?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    suite.cargo("clippy", &clippy).await?;
    suite
        .cargo(
            "tests",
            &["test", "--workspace", "--exclude", "e2e", "--locked"],
        )
        .await?;
    if scope == Scope::All {
        suite.stage("terraform", parts.infra.check()).await;
        let built = async {
            let keys = parts.builder.keys(parts.architecture).await?;
            parts
                .builder
                .build(parts.architecture, &keys)
                .await
                .map(drop)
        };
        suite.stage("build", built).await;
        suite.end_to_end().await?;
    }
    suite.tell()
}

struct Suite<'a> {
    parts: &'a Parts<'a>,
    counts: Counts,
    failed: Vec<&'static str>,
}

impl Suite<'_> {
    async fn cargo(&mut self, stage: &'static str, arguments: &[&str]) -> Result<()> {
        let command = Command::new(self.parts.surroundings, "cargo").arguments(arguments);
        self.run(stage, command).await
    }

    /// The program that runs now is the one that is tested.
    async fn end_to_end(&mut self) -> Result<()> {
        let command = Command::new(self.parts.surroundings, "cargo")
            .arguments([
                "test",
                "--package",
                "e2e",
                "--locked",
                "--",
                "--test-threads=1",
                "--nocapture",
            ])
            .variable("XTASK", self.parts.program.to_string_lossy());
        self.run("end to end", command).await
    }

    async fn run(&mut self, stage: &'static str, command: Command) -> Result<()> {
        let report = self.parts.report;
        let started = Instant::now();
        let finished = command
            .folder(&self.parts.surroundings.root)
            .run_watched(|line| {
                if !line.trim().is_empty() {
                    report.live(stage, line.trim());
                }
            })
            .await?;
        let counts = count_tests(&finished.output);
        self.counts += counts;
        let told = if counts == Counts::default() {
            String::new()
        } else {
            format!(", {counts}")
        };
        let took = started.elapsed().as_secs();
        if finished.succeeded() {
            report.line(stage, &format!("passed{told} ({took} s)"));
        } else {
            report.block(&what_failed(&finished));
            report.line(stage, &format!("FAILED{told} ({took} s)"));
            self.failed.push(stage);
        }
        Ok(())
    }

    async fn stage(&mut self, stage: &'static str, work: impl Future<Output = Result<()>>) {
        let started = Instant::now();
        let ended = work.await;
        let took = started.elapsed().as_secs();
        match ended {
            Ok(()) => self.parts.report.line(stage, &format!("passed ({took} s)")),
            Err(error) => {
                self.parts.report.block(&format!("{error:#}"));
                self.parts.report.line(stage, &format!("FAILED ({took} s)"));
                self.failed.push(stage);
            }
        }
    }

    fn tell(self) -> Result<()> {
        let Self {
            parts,
            counts,
            failed,
        } = self;
        let result =
            json!({ "passed": counts.passed, "failed": counts.failed, "failed_stages": failed });
        parts.report.data(&result, &format!("tests: {counts}"));
        if failed.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Kind::CheckFailed, format!("failed: {}", failed.join(", "))).into())
    }
}

/// Compilers and tests say first what is wrong, and say it at length: the end has the summary, the
/// lines with `error` and `panicked` have the reasons.
fn what_failed(finished: &Finished) -> String {
    finished.last_lines(120)
}

/// Runs the tests of `services/` with instrumented code and keeps the figure for `verify`.
pub async fn coverage(
    surroundings: &Surroundings,
    report: &Report,
    source: &dyn Source,
) -> Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(surroundings, "cargo").arguments(arguments);
        for (name, file) in llvm_tools() {
            command = command.variable(name, file.to_string_lossy());
        }
        command.folder(&surroundings.root)
    };
    if !cargo(&["llvm-cov", "--version"]).run().await?.succeeded() {
        return Err(Failure::not_ready("cargo-llvm-cov is not installed")
            .hint("cargo install cargo-llvm-cov --locked")
            .into());
    }
    if llvm_tools().is_empty() {
        return Err(
            Failure::not_ready("llvm-cov of the compiler's LLVM (22) is not installed")
                .hint("apt-get install llvm-22")
                .into(),
        );
    }
    let packages = [
        "--package",
        "service-kit",
        "--package",
        "axon",
        "--package",
        "orbit",
        "--package",
        "governance",
    ];
    let mut arguments = vec!["llvm-cov", "--json", "--summary-only", "--locked"];
    arguments.extend(packages);
    let output = surroundings.state_folder().join("coverage-export.json");
    let output = output.to_string_lossy().into_owned();
    arguments.extend([
        "--output-path",
        &output,
        "--ignore-filename-regex",
        "/(tests|xtask)/",
    ]);
    let finished = cargo(&arguments)
        .run_watched(|line| report.live("coverage", line.trim()))
        .await?;
    if !finished.succeeded() {
        report.block(&what_failed(&finished));
        return Err(Failure::new(Kind::CheckFailed, "the tests failed under coverage").into());
    }
    let export = tokio::fs::read_to_string(&output)
        .await
        .context("read the coverage export")?;
    let figure = Coverage {
        lines_percent: coverage_of(&export).context("the coverage export has no figure")?,
        sources_sha256: source.services_sha256().await?,
    };
    let file = Coverage::file(&surroundings.state_folder());
    tokio::fs::write(&file, serde_json::to_string(&figure)?)
        .await
        .context("keep the figure")?;
    let human = format!(
        "coverage: {:.1} % of the lines of services/",
        figure.lines_percent
    );
    report.data(&figure, &human);
    Ok(())
}

/// The distribution's LLVM 22 reads what Rust 1.95 writes; an older one does not.
fn llvm_tools() -> Vec<(&'static str, std::path::PathBuf)> {
    [("LLVM_COV", "llvm-cov"), ("LLVM_PROFDATA", "llvm-profdata")]
        .into_iter()
        .map(|(name, tool)| {
            (
                name,
                std::path::Path::new("/usr/lib/llvm-22/bin").join(tool),
            )
        })
        .filter(|(_, file)| file.is_file())
        .collect()
}
