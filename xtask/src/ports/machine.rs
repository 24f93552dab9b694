//! This machine: what is on it, and what runs on it besides the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use serde::Deserialize;

use crate::catalog::Service;
use crate::decide::acceptance::figures::Coverage;
use crate::decide::definition::run_options::RunOptions;
use crate::decide::machine::readiness::facts::MachineFacts;
use crate::decide::outputs::{Architecture, Outputs};

/// The Docker engine of this machine: runs images alone.
#[async_trait]
pub trait Containers: Send + Sync {
    /// Loads an image's archive and answers the name that the engine knows it by.
    async fn load(&self, archive: Vec<u8>) -> Result<String>;
    /// Removes an image that was loaded and that no container uses.
    async fn forget(&self, image: &str) -> Result<()>;
    /// What an image takes unpacked.
    async fn size_bytes(&self, image: &str) -> Result<u64>;
    /// The address under which a container finds this machine.
    async fn host_address(&self) -> Result<Ipv4Addr>;
    async fn run(&self, options: &RunOptions) -> Result<Box<dyn RunningContainer>>;
}

/// A container that goes away with this value, whatever happens.
#[async_trait]
pub trait RunningContainer: Send + Sync {
    /// The port of 127.0.0.1 under which the container's own is reached.
    fn host_port(&self) -> u16;
    /// All lines so far.
    async fn logs(&self) -> Result<Vec<String>>;
    /// Runs a command in the container and answers its exit code.
    async fn execute(&self, command: &[String]) -> Result<i64>;
    async fn remove(self: Box<Self>) -> Result<()>;
}

/// Sees each line as it comes.
pub type LineWatcher<'a> = &'a mut (dyn FnMut(&str) + Send);

/// Cargo, in the checkout.
#[async_trait]
pub trait Toolchain: Send + Sync {
    /// Runs cargo to its end, whatever the exit code.
    async fn cargo(
        &self,
        arguments: &[&str],
        variables: &BTreeMap<String, String>,
        watch: LineWatcher<'_>,
    ) -> Result<CargoRun>;
    /// Runs a program that cargo installs to its end, whatever the exit code. It is made below
    /// `target/` when it is first asked for.
    async fn tool(
        &self,
        tool: CargoTool,
        arguments: &[&str],
        watch: LineWatcher<'_>,
    ) -> Result<CargoRun>;
    /// The variables under which cargo compiles `services/` so that LLVM counts the lines that
    /// run; what was counted before is forgotten. `None`: the tools that read the counts are
    /// missing, those of the compiler's own LLVM.
    async fn counting(&self) -> Result<Option<BTreeMap<String, String>>>;
    /// The share of the lines of `services/` that was counted since, in percent. Of these programs,
    /// and below these folders.
    async fn lines_covered(&self, programs: &[String], folders: &[String]) -> Result<f64>;
    /// The figure that was kept last.
    async fn coverage(&self) -> Result<Option<Coverage>>;
    async fn keep_coverage(&self, figure: &Coverage) -> Result<()>;
}

/// A program that cargo installs, in the version that is used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CargoTool {
    /// Its crate, which is a subcommand of cargo: `cargo-deny`.
    pub name: &'static str,
    pub version: &'static str,
}

/// The workflows of `.github/`.
#[async_trait]
pub trait Workflows: Send + Sync {
    /// Whether they are what GitHub takes, and safe. Needs no network.
    async fn check(&self) -> Result<()>;
}

/// Suites by others, for what the services answer.
#[async_trait]
pub trait Suites: Send + Sync {
    /// The program, installed below `target/` where it is not there.
    async fn schemathesis(&self) -> Result<PathBuf>;
    /// The program, where this machine has it.
    fn h2load(&self) -> Option<PathBuf>;
}

/// What a run of cargo left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CargoRun {
    pub succeeded: bool,
    pub output: String,
}

impl CargoRun {
    /// The last lines, where tools put their reason.
    pub fn last_lines(&self, count: usize) -> String {
        let lines: Vec<&str> = self.output.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

/// Programs of ours, run to be measured.
#[async_trait]
pub trait Stopwatch: Send + Sync {
    /// Starts the programs that were compiled for production and ends them again, several times
    /// each: the baseline, and each of these services with its settings.
    async fn starts(
        &self,
        architecture: Architecture,
        settings: &BTreeMap<Service, BTreeMap<String, String>>,
        watch: LineWatcher<'_>,
    ) -> Result<BTreeMap<Subject, Vec<Started>>>;
    /// Puts load on the programs that were compiled for production, several times each: the
    /// baseline, and the services that have a request for it. Empty where these are not in the
    /// catalog.
    async fn load(
        &self,
        architecture: Architecture,
        watch: LineWatcher<'_>,
    ) -> Result<BTreeMap<Subject, Vec<Load>>>;
    /// How many requests are answered in time, in simulated time: once for each target.
    async fn admission(&self) -> Result<Vec<AdmissionCounts>>;
    /// What the newest release of all services took ECS itself, and what it takes with no more than
    /// the AWS CLI. Afterwards all runs what ran before.
    async fn release_by_hand(&self, outputs: &Outputs) -> Result<ReleaseByHand>;
    /// Runs this very program to its end.
    async fn run_self(&self, arguments: &[&str]) -> Result<(Duration, CargoRun)>;
}

/// In seconds, one service after another.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct ReleaseByHand {
    /// From the start of each deployment to its end.
    pub ecs: f64,
    /// Register, update, and wait until the service is stable.
    pub by_hand: f64,
}

/// What is started, and put under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A bare hyper handler.
    Bare,
    Service(Service),
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bare => "bare handler",
            Self::Service(service) => service.name(),
        })
    }
}

/// What requests cost the process that answered them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    pub cpu_per_request: Duration,
    pub requests_per_second: f64,
    pub p99: Duration,
    /// The most that the process has held so far.
    pub resident_peak_bytes: u64,
}

impl Load {
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    pub fn new(
        requests: u64,
        took: Duration,
        cpu: Duration,
        p99: Duration,
        resident_peak_bytes: u64,
    ) -> Self {
        Self {
            cpu_per_request: cpu.div_f64(requests as f64),
            requests_per_second: requests as f64 / took.as_secs_f64(),
            p99,
            resident_peak_bytes,
        }
    }
}

/// Requests to a service that gets more than its target can do, by the service's limit of requests
/// in flight.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AdmissionCounts {
    /// How long the target takes for one call.
    pub target: String,
    pub asked: u32,
    /// Those that were answered in time with a fixed limit.
    pub fixed: u32,
    /// The same with the limit that follows the time of answers.
    pub adaptive: u32,
}

/// What the start of a service took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    pub to_first_200: Duration,
    /// What it holds when it is idle.
    pub resident_bytes: u64,
}

/// This machine, as far as the local environment needs it.
#[async_trait]
pub trait Machine: Send + Sync {
    async fn inspect(&self, depth: Depth) -> MachineFacts;
    /// Runs one command that fixes something.
    async fn run(&self, command: &[String]) -> Result<()>;
}

/// How closely a machine is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What costs milliseconds and only what is needed now: before work.
    Quick,
    /// Everything, versions too: for `doctor`.
    Thorough,
}
