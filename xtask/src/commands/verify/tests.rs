//! The tests of `services/`, and how much of it they cover.

use std::collections::BTreeMap;

use anyhow::Result;

use super::super::test::SERVICE_PACKAGES;
use super::unseen;
use crate::decide::checks::Criterion::{IntegrationTests, UnitTests};
use crate::decide::checks::figures::{TestRun, count_tests, covered, passed};
use crate::decide::checks::{Check, Criterion, Sight, Sights};
use crate::world::{Toolchain, World};

const MEASURE: &str = "cargo xtask test --coverage";

pub(super) async fn check(world: &World<'_>, toolchain: &dyn Toolchain) -> [Check; 2] {
    let unit = Run {
        world,
        toolchain,
        criterion: UnitTests,
        kind: &["--lib", "--bins"],
    };
    let integration = Run {
        world,
        toolchain,
        criterion: IntegrationTests,
        kind: &["--test", "*"],
    };
    let unit = match tokio::try_join!(unit.look(), coverage(world, toolchain)) {
        Ok((tests, coverage)) => {
            let remedy = match (&tests, &coverage) {
                (Err(_), Err(_)) => format!("{}\n{MEASURE}", unit.command()),
                (Err(_), Ok(_)) => unit.command(),
                (Ok(_), _) => MEASURE.to_owned(),
            };
            Sights::of([tests, coverage]).judge(UnitTests, &remedy)
        }
        Err(error) => unseen(UnitTests, &error, &unit.command()),
    };
    let integration = match integration.look().await {
        Ok(tests) => Sights::of([tests]).judge(IntegrationTests, &integration.command()),
        Err(error) => unseen(IntegrationTests, &error, &integration.command()),
    };
    [unit, integration]
}

async fn coverage(world: &World<'_>, toolchain: &dyn Toolchain) -> Result<Sight> {
    let (figure, sources) = tokio::try_join!(toolchain.coverage(), world.source.services_sha256())?;
    Ok(covered(figure.as_ref(), &sources))
}

struct Run<'a> {
    world: &'a World<'a>,
    toolchain: &'a dyn Toolchain,
    criterion: Criterion,
    /// Which of the tests.
    kind: &'static [&'static str],
}

impl Run<'_> {
    async fn look(&self) -> Result<Sight> {
        let report = self.world.report;
        let subject = if self.criterion == UnitTests {
            "unit"
        } else {
            "integration"
        };
        let mut watch = |line: &str| {
            if !line.trim().is_empty() {
                report.live(subject, line.trim());
            }
        };
        let nothing_added = BTreeMap::new();
        let arguments = self.arguments();
        let run = self
            .toolchain
            .cargo(&arguments, &nothing_added, &mut watch)
            .await?;
        if !run.succeeded {
            report.block(&run.last_lines(60));
        }
        let counts = count_tests(&run.output);
        Ok(passed(TestRun {
            succeeded: run.succeeded,
            counts,
        }))
    }

    fn arguments(&self) -> Vec<&'static str> {
        let first = ["test", "--locked", "--no-fail-fast"];
        [&first, &SERVICE_PACKAGES[..], self.kind].concat()
    }

    /// As one types it.
    fn command(&self) -> String {
        format!("cargo {}", self.arguments().join(" ")).replace('*', "'*'")
    }
}
