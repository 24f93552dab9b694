//! Runs programs of ours to measure them: natively, with nothing between them and the clock.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::builder::Artifacts;
use super::load::load;
use super::process::Command;
use crate::decide::outputs::Architecture;
use crate::ports::{CargoRun, Clock, Load, ProcessEnv, Started, Stopwatch, Subject, Watch};

const STARTS: usize = 20;
const START_LIMIT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// An allocator gives back what the start alone needed, or does not, by then.
const IDLE_AFTER: Duration = Duration::from_millis(200);

pub struct Programs<'a> {
    pub process_env: &'a ProcessEnv,
    /// This very program.
    pub program: PathBuf,
    pub clock: &'a dyn Clock,
    pub builder: &'a Artifacts<'a>,
}

#[async_trait]
impl Stopwatch for Programs<'_> {
    async fn starts(
        &self,
        architecture: Architecture,
        watch: Watch<'_>,
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
        watch: Watch<'_>,
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

/// As a definition has it, but for the port, and for what would make stopping take its time.
fn service(command: Command, port: u16) -> Command {
    command
        .variable("PORT", port.to_string())
        .variable("DRAIN_MS", "0")
        .variable("SIGNATURES", "off")
        .variable("AWS_REGION", "us-east-1")
        .variable("AWS_EC2_METADATA_DISABLED", "true")
}

pub(super) async fn await_health(port: u16, name: &str) -> Result<()> {
    let began = Instant::now();
    while !is_healthy(port).await {
        if began.elapsed() > START_LIMIT {
            let limit_seconds = START_LIMIT.as_secs();
            bail!("{name} is not healthy after {limit_seconds} s");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}

async fn is_healthy(port: u16) -> bool {
    let answer = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        std::io::Result::Ok(head == *b"HTTP/1.1 200")
    };
    matches!(timeout(START_LIMIT, answer).await, Ok(Ok(true)))
}

/// A size in bytes, such as `VmRSS:`.
#[expect(
    clippy::disallowed_methods,
    reason = "what the kernel tells of a process"
)]
pub(super) fn kernel_field(process: u32, field: &str) -> Result<u64> {
    let file = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("{file} has no {field}"))? * 1024)
}
