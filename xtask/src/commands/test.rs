//! `test`: what CI runs, in the order that finds a mistake soonest.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::coverage::{self, INSTALL_LLVM, NAMING_PROGRAMS};
use super::doctor;
use crate::catalog::Catalog;
use crate::decide::acceptance::figures::{TestCounts, count_tests, fuzz_runs_of};
use crate::decide::machine::readiness::{LLVM_MISSING, shell_faults};
use crate::failure::{Failure, Kind};
use crate::ports::{
    CargoRun, CargoTool, Depth, Infra, Machine, Source, Suites, Toolchain, Workflows,
};
use crate::report::{BuildEvent, CommandEvent, Report};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestScope {
    /// For use before each commit: needs neither Docker nor Terraform.
    Fast,
    All,
    /// All, and the programs of `LONG`.
    Long,
}

/// The last lines of the output of a stage that failed: compilers and tests end with a summary.
const FAILURE_LINES: usize = 120;

/// The files and folders of `tests/tests`, but for those of `LONG`.
pub const END_TO_END: [&str; 8] = [
    "contract",
    "docker",
    "replacement",
    "signers",
    "story",
    "strangers",
    "trust",
    "workflow",
];

/// Under traffic: releases that are interrupted, which takes most of an hour, and faults of the local
/// AWS, which takes a quarter.
pub const LONG: [&str; 2] = ["interrupted", "traffic"];

/// All tests but the end-to-end ones.
const TESTS: [&str; 6] = [
    "test",
    "--workspace",
    "--exclude",
    "e2e",
    "--locked",
    "--no-fail-fast",
];

/// Suites by others, against the services' programs.
const SUITES: [&str; 8] = [
    "test",
    "--workspace",
    "--locked",
    "--no-fail-fast",
    "--test",
    "service",
    "--",
    "suites::",
];

/// Whole commands against the model of ECS. `TESTS` has some hundred runs of it.
const SIMULATION: [&str; 7] = [
    "test",
    "--workspace",
    "--locked",
    "--test",
    "it",
    "--",
    "simulation::",
];
const SIMULATED_RUNS: u32 = 5_000;
const SIMULATED_RUNS_LONG: u32 = 100_000;

/// Checks licenses, sources and advisories of all crates by `deny.toml`.
const DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
};

/// How long `--long` fuzzes.
const FUZZ_SECONDS: u32 = 300;

const FUZZ: CargoTool = CargoTool {
    name: "cargo-fuzz",
    version: "0.13.2",
};

/// Without access to the internet a connection may hang instead of failing.
const ADVISORIES_LIMIT: Duration = Duration::from_mins(1);

/// The ports that the tests need.
pub struct TestParts<'a> {
    pub catalog: &'a Catalog,
    pub toolchain: &'a dyn Toolchain,
    pub report: &'a Report,
    pub source: &'a dyn Source,
    pub infra: &'a dyn Infra,
    pub workflows: &'a dyn Workflows,
    pub suites: &'a dyn Suites,
    pub machine: &'a dyn Machine,
    /// Whether what is missing on this machine is installed.
    pub fix: bool,
    /// Whether this is CI: a stage that is skipped there is run nowhere, so it counts as failed.
    pub ci: bool,
    /// Where the inputs of the fuzzer are kept, a folder for each target.
    pub corpora: &'a Path,
    /// The path of this program: the end-to-end tests run it, and never cargo.
    pub program: &'a Path,
}

/// Every stage runs even if one before it failed: all faults at once.
pub async fn test(parts: &TestParts<'_>, scope: TestScope) -> Result<()> {
    if scope != TestScope::Fast {
        doctor::require_local(parts.machine).await?;
        if parts.fix {
            coverage::install_llvm(parts.machine, parts.toolchain, parts.report).await?;
            install_shells(parts).await;
        }
    }
    let mut suite = Suite {
        parts,
        counts: TestCounts::default(),
        failed: Vec::new(),
        skipped: Vec::new(),
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
    if scope == TestScope::Fast {
        suite.cargo("tests", &TESTS).await?;
        return suite.conclude();
    }
    suite.tests().await?;
    let runs = match scope {
        TestScope::Long => SIMULATED_RUNS_LONG,
        TestScope::Fast | TestScope::All => SIMULATED_RUNS,
    };
    let variables = [("XTASK_SEEDS".to_owned(), runs.to_string())].into();
    suite.run("simulation", &SIMULATION, &variables).await?;
    suite.note_shells().await;
    suite.crates().await?;
    suite.stage("workflows", parts.workflows.check()).await;
    suite.stage("terraform", parts.infra.check()).await;
    let sequences = match scope {
        TestScope::Long => "all",
        TestScope::Fast | TestScope::All => "some",
    };
    let variables = [("XTASK_SEQUENCES".to_owned(), sequences.to_owned())].into();
    suite
        .end_to_end("end to end", &END_TO_END, variables)
        .await?;
    if scope == TestScope::Long {
        suite.foreign_suites().await?;
        suite.end_to_end("traffic", &LONG, BTreeMap::new()).await?;
        suite.fuzz(&LINT).await;
    }
    suite.conclude()
}

/// Installs the shells in which completion is tested. If one cannot be installed, that is reported,
/// and its test is skipped.
async fn install_shells(parts: &TestParts<'_>) {
    for fault in shell_faults(parts.machine.inspect(Depth::Quick).await.means) {
        if let Err(error) = doctor::fix_fault(&fault, parts.machine, parts.report).await {
            parts.report.emit(CommandEvent::ErrorIgnored {
                subject: fault.subject.to_owned(),
                error: format!("{error:#}"),
            });
        }
    }
}

struct Suite<'a> {
    parts: &'a TestParts<'a>,
    counts: TestCounts,
    failed: Vec<&'static str>,
    skipped: Vec<Skipped>,
}

/// A stage that needs more of the machine than there is.
#[derive(Debug, Serialize)]
struct Skipped {
    stage: String,
    why: String,
    remedy: String,
}

impl Suite<'_> {
    async fn cargo(&mut self, stage: &'static str, arguments: &[&str]) -> Result<()> {
        self.run(stage, arguments, &BTreeMap::new()).await.map(drop)
    }

    /// Where LLVM's tools are installed, the lines of `services/` are counted in the same run: it
    /// costs a compilation of what is ours, and of no dependency.
    async fn tests(&mut self) -> Result<()> {
        let TestParts {
            catalog,
            toolchain,
            source,
            ..
        } = self.parts;
        let Some(counting) = toolchain.counting().await? else {
            self.skipped.push(Skipped {
                stage: "coverage".to_owned(),
                why: LLVM_MISSING.to_owned(),
                remedy: INSTALL_LLVM.to_owned(),
            });
            return self.cargo("tests", &TESTS).await;
        };
        let sources_sha256 = source.services_sha256().await?;
        let arguments = [&TESTS[..], &[NAMING_PROGRAMS]].concat();
        let run = self.run("tests", &arguments, &counting).await?;
        if run.succeeded {
            let started = Instant::now();
            match coverage::require(*toolchain, catalog, &run.output, sources_sha256).await {
                Ok(figure) => self.pass("coverage", Some(figure), started),
                Err(error) => self.fail("coverage", &error, started),
            }
        }
        Ok(())
    }

    /// The tests of completion skip a shell that is not installed.
    async fn note_shells(&mut self) {
        let found = self.parts.machine.inspect(Depth::Quick).await;
        let faults = shell_faults(found.means);
        self.skipped.extend(faults.into_iter().map(|fault| Skipped {
            stage: format!("completions in {}", fault.subject),
            why: fault.reason,
            remedy: fault.remedy,
        }));
    }

    /// The services, by the suites of others: their tests look at nothing elsewhere.
    async fn foreign_suites(&mut self) -> Result<()> {
        let suites = self.parts.suites;
        let schemathesis = match suites.schemathesis().await {
            Ok(program) => program,
            Err(error) => {
                self.fail("suites", &error, Instant::now());
                return Ok(());
            }
        };
        let named = |variable: &str, program: &Path| {
            let program = program.to_string_lossy().into_owned();
            (variable.to_owned(), program)
        };
        let mut variables: BTreeMap<_, _> = [named("SCHEMATHESIS", &schemathesis)].into();
        match suites.h2load() {
            Some(program) => variables.extend([named("H2LOAD", &program)]),
            None => self.skipped.push(Skipped {
                stage: "h2load".to_owned(),
                why: "h2load is not on the PATH".to_owned(),
                remedy: "apt-get install nghttp2-client".to_owned(),
            }),
        }
        self.run("suites", &SUITES, &variables).await.map(drop)
    }

    /// Licenses and sources of all crates, and the advisories about them.
    async fn crates(&mut self) -> Result<()> {
        let toolchain = self.parts.toolchain;
        let check = ["--locked", "check", "bans", "licenses", "sources"];
        self.tool("crates", &check).await?;
        // The database of advisories comes from GitHub. Where the network does not allow that, no
        // command on this machine can fix it, so it is reported and does not count as a skipped
        // stage; otherwise CI in such a network could never pass.
        let mut unseen = |_: &str| {};
        let fetched = toolchain.tool(DENY, &["fetch", "db"], &mut unseen);
        let fetched = timeout(ADVISORIES_LIMIT, fetched).await;
        if matches!(fetched, Ok(Ok(ran)) if ran.succeeded) {
            let check = ["--offline", "check", "advisories"];
            return self.tool("advisories", &check).await;
        }
        self.parts.report.emit(CommandEvent::NotLookedAt {
            subject: "advisories".to_owned(),
            why: "their database can't be reached from here".to_owned(),
        });
        Ok(())
    }

    /// The program that runs now is the one that is tested.
    async fn end_to_end(
        &mut self,
        stage: &'static str,
        programs: &[&str],
        mut variables: BTreeMap<String, String>,
    ) -> Result<()> {
        // `--workspace` with a filter: for the package alone cargo would unite fewer features and
        // compile all dependencies once more.
        let mut arguments = vec!["test", "--workspace", "--locked", "--no-fail-fast"];
        arguments.extend(programs.iter().flat_map(|name| ["--test", name]));
        arguments.extend(["--", "--test-threads=1", "--nocapture"]);
        let program = self.parts.program.to_string_lossy().into_owned();
        variables.insert("XTASK".to_owned(), program);
        self.run(stage, &arguments, &variables).await.map(drop)
    }

    async fn run(
        &mut self,
        stage: &'static str,
        arguments: &[&str],
        variables: &BTreeMap<String, String>,
    ) -> Result<CargoRun> {
        let TestParts {
            toolchain, report, ..
        } = self.parts;
        let started = Instant::now();
        let mut watch = watch(report, stage);
        let run = toolchain.cargo(arguments, variables, &mut watch).await?;
        self.note(stage, &run, started);
        Ok(run)
    }

    async fn tool(&mut self, stage: &'static str, arguments: &[&str]) -> Result<()> {
        let TestParts {
            toolchain, report, ..
        } = self.parts;
        let started = Instant::now();
        let mut watch = watch(report, stage);
        match toolchain.tool(DENY, arguments, &mut watch).await {
            Ok(run) => self.note(stage, &run, started),
            Err(error) => self.fail(stage, &error, started),
        }
        Ok(())
    }

    fn note(&mut self, stage: &'static str, run: &CargoRun, started: Instant) {
        let counts = count_tests(&run.output);
        self.counts += counts;
        let counts = (counts != TestCounts::default()).then(|| counts.to_string());
        if run.succeeded {
            return self.pass(stage, counts, started);
        }
        let said = run.last_lines(FAILURE_LINES);
        self.fail_with(stage, counts, said, started);
    }

    async fn fuzz(&mut self, target: &FuzzTarget) {
        let TestParts {
            corpora,
            toolchain,
            report,
            ..
        } = self.parts;
        let started = Instant::now();
        match target.run(corpora, *toolchain, report, FUZZ_SECONDS).await {
            Ok(run) if run.succeeded => {
                let runs = fuzz_runs_of(&run.output);
                let figure = runs.map(|runs| format!("{runs} inputs"));
                self.pass("fuzz", figure, started);
            }
            Ok(run) => self.fail_with("fuzz", None, run.last_lines(FAILURE_LINES), started),
            Err(error) => self.fail("fuzz", &error, started),
        }
    }

    async fn stage(&mut self, stage: &'static str, work: impl Future<Output = Result<()>>) {
        let started = Instant::now();
        match work.await {
            Ok(()) => self.pass(stage, None, started),
            Err(error) => self.fail(stage, &error, started),
        }
    }

    fn pass(&self, stage: &'static str, counts: Option<String>, started: Instant) {
        self.end(stage, true, counts, started);
    }

    fn fail(&mut self, stage: &'static str, why: &anyhow::Error, started: Instant) {
        self.fail_with(stage, None, format!("{why:#}"), started);
    }

    fn fail_with(
        &mut self,
        stage: &'static str,
        counts: Option<String>,
        output: String,
        started: Instant,
    ) {
        self.parts.report.emit(BuildEvent::ToolFailed {
            subject: stage.to_owned(),
            tool: stage.to_owned(),
            output,
        });
        self.end(stage, false, counts, started);
        self.failed.push(stage);
    }

    fn end(&self, stage: &'static str, passed: bool, counts: Option<String>, started: Instant) {
        self.parts.report.emit(CommandEvent::StageEnded {
            stage: stage.to_owned(),
            passed,
            counts,
            seconds: started.elapsed().as_secs(),
        });
    }

    fn conclude(self) -> Result<()> {
        let Self {
            parts,
            counts,
            failed,
            skipped,
        } = self;
        let result = json!({
            "passed": counts.passed,
            "failed": counts.failed,
            "failed_stages": failed,
            "skipped_stages": skipped,
        });
        let mut lines = Vec::new();
        if !skipped.is_empty() {
            let plural = if skipped.len() == 1 { "" } else { "s" };
            lines.push(format!("{} stage{plural} skipped:", skipped.len()));
        }
        for Skipped { stage, why, remedy } in &skipped {
            lines.push(format!("  {stage}: {why}; `{remedy}` gets it"));
        }
        lines.push(format!("tests: {counts}"));
        parts.report.data(&result, &lines.join("\n"));
        let mut faults = Vec::new();
        if !failed.is_empty() {
            faults.push(format!("failed: {}", failed.join(", ")));
        }
        if parts.ci && !skipped.is_empty() {
            let stages: Vec<_> = skipped.iter().map(|it| it.stage.as_str()).collect();
            faults.push(format!("skipped in CI: {}", stages.join(", ")));
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Kind::CheckFailed, faults.join("; ")).into())
    }
}

fn watch(report: &Report, stage: &'static str) -> impl FnMut(&str) + Send {
    move |line| {
        if let Some(line) = coverage::shown(line) {
            report.emit(BuildEvent::ToolOutput {
                subject: stage.to_owned(),
                tool: "cargo".to_owned(),
                line: line.to_owned(),
            });
        }
    }
}

/// A program of LLVM's fuzzer: code that parses untrusted input.
pub struct FuzzTarget {
    pub name: &'static str,
    /// A workspace of its own.
    folder: &'static str,
    /// What it starts with.
    seeds: &'static [&'static str],
}

const SIGNATURE: FuzzTarget = FuzzTarget {
    name: "signature",
    folder: "services/fuzz",
    seeds: &["services/fuzz/seeds/signature"],
};

const LINT: FuzzTarget = FuzzTarget {
    name: "lint",
    folder: "xtask/fuzz",
    seeds: &["xtask/fuzz/seeds/lint", "task-definitions"],
};

pub const FUZZ_TARGETS: [&FuzzTarget; 2] = [&SIGNATURE, &LINT];

/// Fuzzes all targets for so many seconds each. `corpora` holds the inputs that reached new code.
pub async fn fuzz(
    corpora: &Path,
    toolchain: &dyn Toolchain,
    report: &Report,
    seconds: u32,
) -> Result<()> {
    let mut runs = BTreeMap::new();
    for target in FUZZ_TARGETS {
        let finished = target.run(corpora, toolchain, report, seconds).await?;
        if !finished.succeeded {
            report.emit(BuildEvent::ToolFailed {
                subject: "fuzz".to_owned(),
                tool: "cargo".to_owned(),
                output: finished.last_lines(FAILURE_LINES),
            });
            return Err(Failure::new(Kind::CheckFailed, "the fuzzer failed").into());
        }
        let figure = fuzz_runs_of(&finished.output);
        runs.insert(
            target.name,
            figure.context("no figure in the output of the fuzzer")?,
        );
    }
    let lines = runs
        .iter()
        .map(|(name, runs)| format!("fuzz {name}: {runs} inputs, each one answered"));
    let lines: Vec<String> = lines.collect();
    report.data(&json!({ "runs": runs }), &lines.join("\n"));
    Ok(())
}

impl FuzzTarget {
    async fn run(
        &self,
        corpora: &Path,
        toolchain: &dyn Toolchain,
        report: &Report,
        seconds: u32,
    ) -> Result<CargoRun> {
        let fuzz_dir = format!("--fuzz-dir={}", self.folder);
        let corpus = corpora.join(self.name).to_string_lossy().into_owned();
        let most = format!("-max_total_time={seconds}");
        // Sanitizers find faults of unsafe code, of which there is none here, and need a nightly
        // compiler.
        let mut arguments = vec!["run", &fuzz_dir, "--target-dir=target/fuzz"];
        arguments.extend(["--sanitizer=none", self.name, &corpus]);
        arguments.extend(self.seeds);
        // What takes longer counts as a hang.
        arguments.extend(["--", &most, "-timeout=10", "-max_len=65536"]);
        let mut watch = watch(report, "fuzz");
        toolchain.tool(FUZZ, &arguments, &mut watch).await
    }
}
