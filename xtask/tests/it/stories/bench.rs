//! `bench`: a slow machine is no fault of the services; a worse ratio is.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use xtask::commands::bench::{BenchParts, bench};
use xtask::decide::outputs::Architecture;
use xtask::ports::{CargoRun, LineWatcher, Load, Started, Stopwatch, Subject};
use xtask::report::Format;

use crate::world::Fake;
use crate::world::components::catalog;

/// A machine that is `times` slower than another one, and an orbit that takes `orbit` times the
/// processor time of the bare handler.
struct SlowMachine {
    times: u32,
    orbit: u32,
}

#[async_trait]
impl Stopwatch for SlowMachine {
    async fn starts(
        &self,
        _: Architecture,
        _: LineWatcher<'_>,
    ) -> Result<BTreeMap<Subject, Vec<Started>>> {
        let start = |milliseconds| Started {
            to_first_200: Duration::from_millis(milliseconds) * self.times,
            resident_bytes: 6_000_000,
        };
        let milliseconds = [1, 3, 4];
        let starts = Subject::ALL.into_iter().zip(milliseconds);
        Ok(starts
            .map(|(it, took)| (it, vec![start(took); 3]))
            .collect())
    }

    async fn load(
        &self,
        _: Architecture,
        _: LineWatcher<'_>,
    ) -> Result<BTreeMap<Subject, Vec<Load>>> {
        let load = |ratio: u32| {
            let cpu = Duration::from_micros(5) * ratio * self.times;
            let p99 = Duration::from_millis(10) * self.times;
            Load::new(1000, Duration::from_secs(4), cpu * 1000, p99, 15_000_000)
        };
        let ratios = [1, 2, self.orbit];
        let loads = Subject::ALL.into_iter().zip(ratios);
        Ok(loads
            .map(|(it, ratio)| (it, vec![load(ratio); 3]))
            .collect())
    }

    async fn run_self(&self, _: &[&str]) -> Result<(Duration, CargoRun)> {
        let run = CargoRun {
            succeeded: true,
            output: "nothing to do".to_owned(),
        };
        Ok((Duration::from_secs(1) * self.times, run))
    }
}

async fn output_of(stopwatch: &SlowMachine) -> String {
    let fake = Fake::empty();
    let output = fake
        .run_in(Format::Human, async |context| {
            let catalog = catalog();
            let parts = BenchParts {
                catalog: &catalog,
                builder: context.builder,
                stopwatch,
                report: context.report,
                architecture: Architecture::X86,
                environment: "local",
                deploys: true,
            };
            bench(&parts).await
        })
        .await;
    output.succeeds();
    output.data
}

#[tokio::test(start_paused = true)]
async fn a_slow_machine_is_no_fault() {
    let output = output_of(&SlowMachine {
        times: 50,
        orbit: 14,
    })
    .await;
    assert!(
        output.contains("axon         start against bare      3.0 x"),
        "{output}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_grew_beside_the_bare_handler_of_the_same_run_is_told() {
    let output = output_of(&SlowMachine {
        times: 1,
        orbit: 16,
    })
    .await;
    let line = "orbit        CPU against bare       16.0 x";
    assert!(output.lines().any(|found| found == line), "{output}");
    let limits = output.lines().filter(|line| line.contains("at most"));
    assert_eq!(limits.count(), 0, "{output}");
}
