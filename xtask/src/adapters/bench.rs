//! Measures the services as native processes: their start, their idle memory and their throughput.

mod load;
mod program;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use tokio::time::Instant;

use super::builder::Artifacts;
use super::emulator::Emulator;
use super::process::Command;
use crate::catalog::{Catalog, Service};
use crate::decide::outputs::{Architecture, Outputs};
use crate::ports::{
    AdmissionCounts, CargoRun, LineWatcher, Load, ProcessEnv, ReleaseByHand, Started, Stopwatch,
    Subject, WallClock,
};
use load::{ensure_wrk, load};
use program::{await_health, free_port, kernel_field};

const BY_HAND: &str = include_str!("bench/release.py");
const STARTS: usize = 20;
/// By then the allocator has returned memory that only the start needed.
const IDLE_AFTER: Duration = Duration::from_millis(200);

pub struct Programs<'a> {
    pub catalog: &'a Catalog,
    pub process_env: &'a ProcessEnv,
    pub emulator: &'a Emulator<'a>,
    /// The executable of xtask.
    pub program: PathBuf,
    pub clock: &'a dyn WallClock,
    pub builder: &'a Artifacts<'a>,
}

#[async_trait]
impl Stopwatch for Programs<'_> {
    async fn starts(
        &self,
        architecture: Architecture,
        settings: &BTreeMap<Service, BTreeMap<String, String>>,
        watch: LineWatcher<'_>,
    ) -> Result<BTreeMap<Subject, Vec<Started>>> {
        let folder = self.builder.build_baseline(architecture).await?;
        let mut starts = BTreeMap::<_, Vec<_>>::new();
        for round in 1..=STARTS {
            let what = |subject: Subject| format!("start {round} of {STARTS}: {subject}");
            watch(&what(Subject::Bare));
            let port = free_port()?;
            let bare = Command::new(self.process_env, folder.join("baseline"))
                .arguments([port.to_string()])
                .variable("SECRET", "none");
            let started = start(bare, port, Subject::Bare).await?;
            starts.entry(Subject::Bare).or_default().push(started);
            for (service, settings) in settings {
                let subject = Subject::Service(*service);
                watch(&what(subject));
                let port = free_port()?;
                let mut command = Command::new(self.process_env, folder.join(service.name()));
                for (name, value) in settings {
                    command = command.variable(name, value);
                }
                let command = command.variable("PORT", port.to_string());
                let started = start(command, port, subject).await?;
                starts.entry(subject).or_default().push(started);
            }
        }
        Ok(starts)
    }

    async fn load(
        &self,
        architecture: Architecture,
        watch: LineWatcher<'_>,
    ) -> Result<BTreeMap<Subject, Vec<Load>>> {
        let services = self.catalog.services();
        if !load::SERVICES.iter().all(|it| services.contains(it)) {
            return Ok(BTreeMap::new());
        }
        // Before a build that takes minutes.
        ensure_wrk(self.process_env)?;
        let folder = self.builder.build_baseline(architecture).await?;
        let now = self.clock.now().into();
        load(self.process_env, &folder, now, watch).await
    }

    async fn admission(&self) -> Result<Vec<AdmissionCounts>> {
        let output = Command::new(self.process_env, "cargo")
            .arguments(["run", "--quiet", "--locked", "--package", "service-kit"])
            .arguments(["--example", "admission"])
            .folder(&self.process_env.root)
            .succeed()
            .await?;
        let line = output.lines().find(|line| line.starts_with('['));
        serde_json::from_str(line.unwrap_or_default())
            .with_context(|| format!("parse the figures of admission: {output}"))
    }

    async fn release_by_hand(&self, outputs: &Outputs) -> Result<ReleaseByHand> {
        let key = self.emulator.access_key();
        let services = outputs.services.values().map(|it| &it.ecs_service);
        let script = Command::new(self.process_env, self.emulator.python())
            .arguments(["-c", BY_HAND])
            .arguments([&self.emulator.endpoint(), &outputs.region, &outputs.cluster])
            .arguments(services)
            .variable("AWS_ACCESS_KEY_ID", key.access_key_id)
            .variable("AWS_SECRET_ACCESS_KEY", key.secret_access_key);
        let finished = script.run().await?;
        let printed = finished.output.lines().last().unwrap_or_default();
        ensure!(
            finished.succeeded(),
            "a release by hand: {}",
            finished.output
        );
        serde_json::from_str(printed).context("read what a release by hand took")
    }

    async fn run_self(&self, arguments: &[&str]) -> Result<(Duration, CargoRun)> {
        let mut command = Command::new(self.process_env, &self.program)
            .arguments(arguments)
            .folder(&self.process_env.root)
            .without_stderr();
        for name in ["XTASK_LOCAL_PORT", "XTASK_ENV"] {
            if let Some(value) = self.process_env.variable(name) {
                command = command.variable(name, value);
            }
        }
        let began = Instant::now();
        let finished = command.run().await?;
        let took = began.elapsed();
        Ok((
            took,
            CargoRun {
                succeeded: finished.succeeded(),
                output: finished.output,
            },
        ))
    }
}

async fn start(command: Command, port: u16, subject: Subject) -> Result<Started> {
    let began = Instant::now();
    let child = command.spawn()?;
    await_health(port, &subject.to_string()).await?;
    let to_first_200 = began.elapsed();
    tokio::time::sleep(IDLE_AFTER).await;
    Ok(Started {
        to_first_200,
        resident_bytes: kernel_field(child.process()?, "VmRSS:")?,
    })
}
