//! Measures the services as native processes: their start, their idle memory and their throughput.

mod load;
mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use tokio::time::Instant;

use super::builder::Artifacts;
use super::process::Command;
use crate::decide::outputs::Architecture;
use crate::ports::{
    CargoRun, LineWatcher, Load, ProcessEnv, Started, Stopwatch, Subject, WallClock,
};
use load::load;
use program::{await_health, free_port, kernel_field};

const STARTS: usize = 20;
/// By then the allocator has returned memory that only the start needed.
const IDLE_AFTER: Duration = Duration::from_millis(200);

pub struct Programs<'a> {
    pub process_env: &'a ProcessEnv,
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
        watch: LineWatcher<'_>,
    ) -> Result<BTreeMap<Subject, Vec<Started>>> {
        let folder = self.builder.build_baseline(architecture).await?;
        let mut starts = BTreeMap::<_, Vec<_>>::new();
        for round in 1..=STARTS {
            for subject in Subject::ALL {
                watch(&format!("start {round} of {STARTS}: {subject}"));
                let started = start(self.process_env, &folder, subject).await?;
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
        let folder = self.builder.build_baseline(architecture).await?;
        let now = self.clock.now().into();
        load(self.process_env, &folder, now, watch).await
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

async fn start(process_env: &ProcessEnv, folder: &Path, subject: Subject) -> Result<Started> {
    let port = free_port()?;
    let command = match subject {
        Subject::Bare => Command::new(process_env, folder.join("baseline"))
            .arguments([port.to_string()])
            .variable("SECRET", "none"),
        Subject::Reason => service(Command::new(process_env, folder.join("axon")), port),
        Subject::Dispatch => service(Command::new(process_env, folder.join("orbit")), port)
            .variable("GOVERNANCE_FUNCTION_NAME", "demo-governance:live")
            .variable("AXON_SERVICE_URL", "http://axon.demo.invalid/reason"),
    };
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

/// The variables of a definition, except for the port and a stop without draining.
fn service(command: Command, port: u16) -> Command {
    command
        .variable("PORT", port.to_string())
        .variable("DRAIN_MS", "0")
        .variable("SIGNATURES", "off")
        .variable("AWS_REGION", "us-east-1")
        .variable("AWS_EC2_METADATA_DISABLED", "true")
}
