//! The tests of `services/` and their coverage: compiled once, and run once.

use std::collections::BTreeMap;

use anyhow::Result;

use super::super::coverage::{INSTALL_LLVM, NAMING_PROGRAMS, measure, packages, shown};
use super::{looking, unseen};
use crate::catalog::Catalog;
use crate::decide::acceptance::Criterion::{IntegrationTests, UnitTests};
use crate::decide::acceptance::figures::{TestRun, count_tests, covered, passed};
use crate::decide::acceptance::{Check, Observation, Observations};
use crate::decide::machine::readiness::LLVM_MISSING;
use crate::ports::{CargoRun, Context, Toolchain};
use crate::report::BuildEvent;

/// A kind of tests: its name, and cargo's arguments that select it.
struct TestKind {
    name: &'static str,
    arguments: &'static [&'static str],
}

const UNIT: TestKind = TestKind {
    name: "unit",
    arguments: &["--lib", "--bins"],
};
const INTEGRATION: TestKind = TestKind {
    name: "integration",
    arguments: &["--test", "*"],
};

pub(super) async fn check(context: &Context<'_>, toolchain: &dyn Toolchain) -> [Check; 2] {
    match look(context, toolchain).await {
        Ok(checks) => checks,
        Err(error) => [(UnitTests, UNIT), (IntegrationTests, INTEGRATION)]
            .map(|(criterion, kind)| unseen(criterion, &error, &kind.command(context.catalog))),
    }
}

async fn look(context: &Context<'_>, toolchain: &dyn Toolchain) -> Result<[Check; 2]> {
    let sources_sha256 = context.source.services_sha256().await?;
    let counting = toolchain.counting().await?;
    let variables = counting.clone().unwrap_or_default();
    let unit = UNIT.run(context, toolchain, &variables).await?;
    let integration = INTEGRATION.run(context, toolchain, &variables).await?;

    let kept = toolchain.coverage().await?;
    let kept = kept.filter(|figure| figure.sources_sha256 == sources_sha256);
    let coverage = match (kept, counting) {
        (Some(figure), _) => Some(covered(figure.lines_percent)),
        (None, Some(_)) => {
            looking(context, "verify", "reading the coverage");
            let output = [&*unit.output, &*integration.output].concat();
            let passed = unit.succeeded && integration.succeeded;
            let sources_sha256 = passed.then_some(sources_sha256);
            let lines_percent = measure(toolchain, context.catalog, &output, sources_sha256).await;
            let percent = lines_percent.map_err(|error| format!("coverage: {error:#}"));
            Some(percent.and_then(covered))
        }
        (None, None) => None,
    };
    Ok([
        unit_check(observation(&unit), coverage, &UNIT.command(context.catalog)),
        Observations::of([observation(&integration)])
            .judge(IntegrationTests, &INTEGRATION.command(context.catalog)),
    ])
}

fn unit_check(tests: Observation, coverage: Option<Observation>, command: &str) -> Check {
    let remedy = match (&tests, &coverage) {
        (Ok(_), Some(Err(_))) => "cargo xtask test --coverage",
        _ => command,
    };
    let observations = match coverage {
        Some(coverage) => Observations::of([tests, coverage]),
        None => Observations::of([tests]).unknown(format!(
            "coverage: not measured, since {LLVM_MISSING}; `{INSTALL_LLVM}` installs them"
        )),
    };
    observations.judge(UnitTests, remedy)
}

fn observation(run: &CargoRun) -> Observation {
    passed(TestRun {
        succeeded: run.succeeded,
        counts: count_tests(&run.output),
    })
}

impl TestKind {
    async fn run(
        &self,
        context: &Context<'_>,
        toolchain: &dyn Toolchain,
        variables: &BTreeMap<String, String>,
    ) -> Result<CargoRun> {
        let report = context.report;
        let mut watch = |line: &str| {
            if let Some(line) = shown(line) {
                report.emit(BuildEvent::ToolOutput {
                    subject: "verify".to_owned(),
                    tool: "cargo".to_owned(),
                    line: format!("{}: {line}", self.name),
                });
            }
        };
        let mut arguments = self.arguments(context.catalog);
        arguments.push(NAMING_PROGRAMS);
        let run = toolchain.cargo(&arguments, variables, &mut watch).await?;
        if !run.succeeded {
            report.emit(BuildEvent::ToolFailed {
                subject: "verify".to_owned(),
                tool: "cargo".to_owned(),
                output: run.last_lines(60),
            });
        }
        Ok(run)
    }

    fn arguments(&self, catalog: &Catalog) -> Vec<&'static str> {
        let first = ["test", "--locked", "--no-fail-fast"];
        [&first, &packages(catalog)[..], self.arguments].concat()
    }

    /// The command that runs these tests by hand.
    fn command(&self, catalog: &Catalog) -> String {
        format!("cargo {}", self.arguments(catalog).join(" ")).replace('*', "'*'")
    }
}
