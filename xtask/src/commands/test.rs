//! `test`: what CI runs, in the order in which it tells a mistake soonest.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::time::Instant;

use super::doctor;
use crate::decide::checks::figures::{Counts, Coverage, count_tests, coverage_of, fuzz_runs_of};
use crate::decide::readiness::{Fault, coverage_faults, deny_fault, fuzz_faults};
use crate::failure::{Failure, Kind};
use crate::report::Report;
use crate::world::{Builder, Infra, Look, Machine, Source, Surroundings, Toolchain, Workflows};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What one runs before each commit: no Docker, no Terraform.
    Fast,
    All,
}

/// Of what failed: compilers and tests say it at length, and sum it up at the end.
const FAILURE_LINES: usize = 120;

/// The files and folders of `tests/tests`.
pub const END_TO_END: [&str; 6] = [
    "docker",
    "signers",
    "story",
    "strangers",
    "trust",
    "workflow",
];

/// What the tests need of the world.
pub struct Parts<'a> {
    pub toolchain: &'a dyn Toolchain,
    pub report: &'a Report,
    pub builder: &'a dyn Builder,
    pub infra: &'a dyn Infra,
    pub workflows: &'a dyn Workflows,
    pub machine: &'a dyn Machine,
    /// Whether tools that are missing are installed.
    pub fix: bool,
    /// This very program: the end-to-end test runs it, and never cargo.
    pub program: &'a std::path::Path,
    pub architecture: crate::decide::site::Architecture,
}

/// Every stage runs even if one before it failed: all faults at once.
pub async fn test(parts: &Parts<'_>, scope: Scope) -> Result<()> {
    if scope == Scope::All {
        require_deny(parts).await?;
    }
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
        suite.crates().await?;
        suite.stage("workflows", parts.workflows.check()).await;
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
        self.run(stage, arguments, &BTreeMap::new()).await
    }

    /// What may come into the tree of crates: `deny.toml`. What is known against one of them
    /// stands in a database that not every network leads to.
    async fn crates(&mut self) -> Result<()> {
        let check = ["deny", "--locked", "check", "bans", "licenses", "sources"];
        self.cargo("crates", &check).await?;
        if self.parts.toolchain.has_advisories() {
            let check = ["deny", "--offline", "check", "advisories"];
            return self.cargo("advisories", &check).await;
        }
        let text = "SKIPPED: this machine has no database of them; `cargo deny fetch db` gets one";
        self.parts.report.warn("advisories", text);
        Ok(())
    }

    /// The program that runs now is the one that is tested.
    async fn end_to_end(&mut self) -> Result<()> {
        // The whole workspace's, of which only these are run: of the package alone cargo would
        // compile all that it depends on once more, with fewer features.
        let mut arguments = vec!["test", "--workspace", "--locked"];
        arguments.extend(END_TO_END.iter().flat_map(|name| ["--test", name]));
        arguments.extend(["--", "--test-threads=1", "--nocapture"]);
        let program = self.parts.program.to_string_lossy().into_owned();
        let variables = [("XTASK".to_owned(), program)].into();
        self.run("end to end", &arguments, &variables).await
    }

    async fn run(
        &mut self,
        stage: &'static str,
        arguments: &[&str],
        variables: &BTreeMap<String, String>,
    ) -> Result<()> {
        let report = self.parts.report;
        let started = Instant::now();
        let mut watch = |line: &str| {
            if !line.trim().is_empty() {
                report.live(stage, line.trim());
            }
        };
        let toolchain = self.parts.toolchain;
        let finished = toolchain.cargo(arguments, variables, &mut watch).await?;
        let counts = count_tests(&finished.output);
        self.counts += counts;
        let told = if counts == Counts::default() {
            String::new()
        } else {
            format!(", {counts}")
        };
        let took = started.elapsed().as_secs();
        if finished.succeeded {
            report.line(stage, &format!("passed{told} ({took} s)"));
        } else {
            report.block(&finished.last_lines(FAILURE_LINES));
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

/// The packages of `services/`, as cargo's arguments.
pub(super) const SERVICE_PACKAGES: [&str; 8] = [
    "--package",
    "service-kit",
    "--package",
    "axon",
    "--package",
    "orbit",
    "--package",
    "governance",
];

/// `cargo deny`; with `fix` it is installed, and the database of advisories fetched where there is
/// a way to it.
async fn require_deny(parts: &Parts<'_>) -> Result<()> {
    let mut unseen = |_: &str| {};
    let nothing_added = BTreeMap::new();
    let mut deny = async |argument: &[&str]| {
        let arguments = [&["deny"], argument].concat();
        let ran = parts
            .toolchain
            .cargo(&arguments, &nothing_added, &mut unseen);
        ran.await.map(|ran| ran.succeeded)
    };
    let missing = (!deny(&["--version"]).await?).then(deny_fault);
    if let Some(fault) = &missing {
        if !parts.fix {
            return Err(Failure::not_ready(&fault.reason)
                .hint(format!(
                    "{}\ncargo xtask test --fix    # runs this",
                    fault.remedy
                ))
                .into());
        }
        doctor::mend(fault, parts.machine, parts.report).await?;
    }
    if parts.fix {
        // Without it the advisories are skipped, and the report says so.
        deny(&["fetch", "db"]).await?;
    }
    Ok(())
}

/// The tools that measure coverage; with `fix` those that are missing are installed.
async fn require_coverage(
    machine: &dyn Machine,
    toolchain: &dyn Toolchain,
    report: &Report,
    fix: bool,
) -> Result<()> {
    let mut unseen = |_: &str| {};
    let version = ["llvm-cov", "--version"];
    let version = toolchain
        .cargo(&version, &BTreeMap::new(), &mut unseen)
        .await?;
    let means = machine.look(Look::Quick).await.means;
    let llvm = !toolchain.llvm_tools().is_empty();
    let missing = coverage_faults(means, version.succeeded, llvm);
    require(&missing, "--coverage", machine, report, fix).await
}

/// With `fix` what is missing is installed.
async fn require(
    missing: &[Fault],
    flag: &str,
    machine: &dyn Machine,
    report: &Report,
    fix: bool,
) -> Result<()> {
    if fix {
        for fault in missing {
            doctor::mend(fault, machine, report).await?;
        }
        return Ok(());
    }
    if missing.is_empty() {
        return Ok(());
    }
    let reasons: Vec<_> = missing.iter().map(|fault| fault.reason.as_str()).collect();
    let remedies: Vec<_> = missing.iter().map(|fault| fault.remedy.as_str()).collect();
    Err(Failure::not_ready(reasons.join("; "))
        .hint(format!(
            "{}\ncargo xtask test {flag} --fix    # runs these",
            remedies.join("\n")
        ))
        .into())
}

/// Runs the tests of `services/` with instrumented code and keeps the figure for `verify`.
pub async fn coverage(
    surroundings: &Surroundings,
    machine: &dyn Machine,
    toolchain: &dyn Toolchain,
    report: &Report,
    source: &dyn Source,
    fix: bool,
) -> Result<()> {
    require_coverage(machine, toolchain, report, fix).await?;
    let tools = toolchain.llvm_tools();
    tokio::fs::create_dir_all(surroundings.state_folder())
        .await
        .context("make the folder of what a run leaves")?;
    let mut arguments = vec!["llvm-cov", "--json", "--summary-only", "--locked"];
    arguments.extend(SERVICE_PACKAGES);
    let output = surroundings.state_folder().join("coverage-export.json");
    let output = output.to_string_lossy().into_owned();
    arguments.extend([
        "--output-path",
        &output,
        "--ignore-filename-regex",
        "/(tests|xtask)/",
    ]);
    let mut watch = |line: &str| report.live("coverage", line.trim());
    let finished = toolchain.cargo(&arguments, &tools, &mut watch).await?;
    if !finished.succeeded {
        report.block(&finished.last_lines(FAILURE_LINES));
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

/// What the fuzzer starts with.
const FUZZ_SEEDS: &str = "services/fuzz/seeds/signature";

/// Gives what reads strangers' input whatever LLVM's fuzzer comes up with.
pub async fn fuzz(
    surroundings: &Surroundings,
    machine: &dyn Machine,
    toolchain: &dyn Toolchain,
    report: &Report,
    seconds: u32,
    fix: bool,
) -> Result<()> {
    let nothing = BTreeMap::new();
    let version = ["fuzz", "--version"];
    let version = toolchain.cargo(&version, &nothing, &mut |_| {}).await?;
    let missing = fuzz_faults(version.succeeded);
    require(&missing, "--fuzz", machine, report, fix).await?;
    let corpus = surroundings.state_folder().join("fuzz/signature");
    tokio::fs::create_dir_all(&corpus)
        .await
        .context("make the folder of what the fuzzer learns")?;
    let corpus = corpus.to_string_lossy();
    // A sanitizer is for unsafe code, of which there is none, and needs another compiler.
    let arguments = [
        "fuzz",
        "run",
        "--fuzz-dir=services/fuzz",
        "--target-dir=target/fuzz",
        "--sanitizer=none",
        "signature",
        &corpus,
        FUZZ_SEEDS,
        "--",
        &format!("-max_total_time={seconds}"),
    ];
    let mut watch = |line: &str| report.live("fuzz", line.trim());
    let finished = toolchain.cargo(&arguments, &nothing, &mut watch).await?;
    if !finished.succeeded {
        report.block(&finished.last_lines(FAILURE_LINES));
        return Err(Failure::new(Kind::CheckFailed, "the fuzzer did not end well").into());
    }
    let runs = fuzz_runs_of(&finished.output).context("the fuzzer told no figure")?;
    report.data(
        &json!({ "runs": runs }),
        &format!("fuzz: {runs} inputs, each one answered"),
    );
    Ok(())
}
