//! What is on this machine: cargo, what it makes, LLVM's tools, the Docker engine, the local AWS,
//! and what installs them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use async_trait::async_trait;
use xtask::decide::acceptance::figures::Coverage;
use xtask::decide::machine::readiness::facts::{
    EngineStatus, FixMeans, MachineFacts, Platform, PythonStatus, ToolStatus,
};
use xtask::decide::machine::readiness::shell_text;
use xtask::ports::{
    Began, CargoRun, CargoTool, Depth, LineWatcher, LocalAws, Machine, Suites, Toolchain, Workflows,
};

use super::Fake;

pub(crate) struct ThisMachine {
    /// Whether LLVM's tools are installed.
    pub(crate) has_llvm: bool,
    pub(crate) has_h2load: bool,
    /// Whether apt can install them.
    pub(crate) apt_has_llvm: bool,
    /// Whether the database of advisories can be reached.
    pub(crate) has_advisories: bool,
    pub(crate) engine: EngineStatus,
    pub(crate) infrastructure: ToolStatus,
    /// How many looks an engine that was started takes until it answers.
    looks_until_started: Option<u32>,
    pub(crate) local_aws_is_up: bool,
    /// What was asked of the local AWS, in order.
    pub(crate) asked_of_local_aws: Vec<&'static str>,
    /// Whether every command that would install or start something fails.
    pub(crate) commands_fail: bool,
    /// Which shells are not installed.
    pub(crate) shells_missing: [bool; 3],
    /// Runs of cargo with this word in their arguments fail.
    pub(crate) fails: Option<&'static str>,
    pub(crate) lines_percent: f64,
    /// The figure of an earlier run.
    pub(crate) coverage: Option<Coverage>,
    /// The folders whose lines were counted last.
    pub(crate) counted: Vec<String>,
    /// How many times it was measured.
    pub(crate) measured: u32,
    /// Every run of cargo and of its tools, in order; `counted` in front of those with coverage.
    pub(crate) ran: Vec<String>,
    /// How many simulated runs and sequences of the contract were asked for, each time.
    pub(crate) simulated: Vec<String>,
    /// Every command that changed this machine.
    pub(crate) installed: Vec<String>,
}

impl Default for ThisMachine {
    fn default() -> Self {
        Self {
            has_llvm: true,
            has_h2load: true,
            apt_has_llvm: true,
            has_advisories: true,
            engine: running_engine(),
            infrastructure: ToolStatus::Found {
                name: "terraform".to_owned(),
                version: None,
            },
            looks_until_started: None,
            local_aws_is_up: false,
            asked_of_local_aws: Vec::new(),
            commands_fail: false,
            shells_missing: [false; 3],
            fails: None,
            lines_percent: 90.0,
            coverage: None,
            counted: Vec::new(),
            measured: 0,
            ran: Vec::new(),
            simulated: Vec::new(),
            installed: Vec::new(),
        }
    }
}

fn running_engine() -> EngineStatus {
    EngineStatus::Answers {
        version: "29.0.0".to_owned(),
        native: true,
    }
}

impl ThisMachine {
    fn run(&mut self, line: String) -> CargoRun {
        let words: Vec<&str> = line.split(' ').collect();
        let succeeded = self.fails.is_none_or(|word| !words.contains(&word));
        let output = match (words.contains(&"test"), succeeded) {
            (false, _) => "",
            (true, true) => "test result: ok. 3 passed; 0 failed; 0 ignored\n",
            (true, false) => "test result: FAILED. 2 passed; 1 failed; 0 ignored\n",
        };
        let output = format!("{{\"executable\":\"/target/axon\"}}\n{output}");
        self.ran.push(line);
        CargoRun { succeeded, output }
    }
}

#[async_trait]
impl Toolchain for Fake {
    async fn cargo(
        &self,
        arguments: &[&str],
        variables: &BTreeMap<String, String>,
        _: LineWatcher<'_>,
    ) -> Result<CargoRun> {
        let counted = variables.contains_key("LLVM_PROFILE_FILE");
        let how = if counted { "counted " } else { "" };
        let line = format!("{how}cargo {}", arguments.join(" "));
        let machine = &mut self.state().machine;
        for name in ["XTASK_SEEDS", "XTASK_SEQUENCES"] {
            machine.simulated.extend(variables.get(name).cloned());
        }
        Ok(machine.run(line))
    }

    async fn tool(
        &self,
        tool: CargoTool,
        arguments: &[&str],
        _: LineWatcher<'_>,
    ) -> Result<CargoRun> {
        let machine = &mut self.state().machine;
        let mut run = machine.run(format!("{} {}", tool.name, arguments.join(" ")));
        run.succeeded &= arguments != ["fetch", "db"] || machine.has_advisories;
        Ok(run)
    }

    async fn counting(&self) -> Result<Option<BTreeMap<String, String>>> {
        let variables = [("LLVM_PROFILE_FILE".to_owned(), "counts".to_owned())];
        let has_llvm = self.state().machine.has_llvm;
        Ok(has_llvm.then(|| variables.into()))
    }

    async fn lines_covered(&self, programs: &[String], folders: &[String]) -> Result<f64> {
        assert_eq!(programs, ["/target/axon"]);
        let machine = &mut self.state().machine;
        machine.counted = folders.to_vec();
        machine.measured += 1;
        Ok(machine.lines_percent)
    }

    async fn coverage(&self) -> Result<Option<Coverage>> {
        Ok(self.state().machine.coverage.clone())
    }

    async fn keep_coverage(&self, figure: &Coverage) -> Result<()> {
        self.state().machine.coverage = Some(figure.clone());
        Ok(())
    }
}

#[async_trait]
impl Machine for Fake {
    async fn inspect(&self, _: Depth) -> MachineFacts {
        let machine = &mut self.state().machine;
        machine.looks_until_started = match machine.looks_until_started {
            Some(0) => {
                machine.engine = running_engine();
                None
            }
            looks => looks.map(|looks| looks - 1),
        };
        let means = FixMeans {
            root: true,
            apt: true,
            shells_missing: machine.shells_missing,
            ..FixMeans::default()
        };
        MachineFacts {
            platform: Platform::Linux,
            engine: machine.engine.clone(),
            python: PythonStatus::NotNeeded,
            infrastructure: machine.infrastructure.clone(),
            git: true,
            rust: true,
            means,
        }
    }

    async fn run(&self, command: &[String]) -> Result<()> {
        let line = shell_text(command);
        let machine = &mut self.state().machine;
        machine.installed.push(line.clone());
        ensure!(!machine.commands_fail, "`{line}` ended with 100");
        match line.as_str() {
            "apt-get install -y --no-install-recommends llvm-22" if !machine.apt_has_llvm => {
                bail!("unable to locate package llvm-22")
            }
            "apt-get install -y --no-install-recommends llvm-22"
            | "rustup component add llvm-tools" => {
                machine.has_llvm = true;
            }
            // As in a container, an engine that was installed is not started.
            "apt-get install -y docker.io" => machine.engine = EngineStatus::Stopped,
            _ if line.contains("dockerd") => machine.looks_until_started = Some(1),
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl LocalAws for Fake {
    fn endpoint(&self) -> String {
        "http://127.0.0.1:4577".to_owned()
    }

    async fn is_up(&self) -> bool {
        self.state().machine.local_aws_is_up
    }

    async fn up(&self) -> Result<Began> {
        let machine = &mut self.state().machine;
        machine.asked_of_local_aws.push("up");
        let was_up = std::mem::replace(&mut machine.local_aws_is_up, true);
        Ok(if was_up {
            Began::Running
        } else {
            Began::Started
        })
    }

    async fn down(&self) -> Result<()> {
        let machine = &mut self.state().machine;
        machine.asked_of_local_aws.push("down");
        machine.local_aws_is_up = false;
        Ok(())
    }

    async fn reset(&self) -> Result<()> {
        let machine = &mut self.state().machine;
        machine.asked_of_local_aws.push("reset");
        machine.local_aws_is_up = false;
        Ok(())
    }

    async fn settled(&self) -> bool {
        self.state().machine.asked_of_local_aws.push("settled");
        true
    }
}

#[async_trait]
impl Workflows for Fake {
    async fn check(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Suites for Fake {
    async fn schemathesis(&self) -> Result<PathBuf> {
        Ok("schemathesis".into())
    }

    fn h2load(&self) -> Option<PathBuf> {
        let has_h2load = self.state().machine.has_h2load;
        has_h2load.then(|| "h2load".into())
    }
}
