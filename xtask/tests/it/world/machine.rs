//! What is on this machine: cargo, what it makes, LLVM's tools, and what installs them.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use async_trait::async_trait;
use xtask::decide::acceptance::figures::Coverage;
use xtask::decide::machine::readiness::facts::{
    EngineStatus, FixMeans, MachineFacts, Platform, PythonStatus, ToolStatus,
};
use xtask::ports::{CargoRun, CargoTool, Depth, Machine, Toolchain, Watch, Workflows};

use super::Fake;

pub(crate) struct ThisMachine {
    /// Whether the tools are there that read what LLVM counted.
    pub(crate) has_llvm: bool,
    /// Whether the distribution has them.
    pub(crate) apt_has_llvm: bool,
    /// Whether a network leads to the database of advisories.
    pub(crate) has_advisories: bool,
    /// Which shells are not installed.
    pub(crate) shells_missing: [bool; 3],
    /// A word in the arguments of a run of cargo that fails.
    pub(crate) fails: Option<&'static str>,
    pub(crate) lines_percent: f64,
    /// The figure that is kept.
    pub(crate) coverage: Option<Coverage>,
    /// How many times it was measured.
    pub(crate) measured: u32,
    /// Every run of cargo and of its tools, in order; `counted` comes before one that LLVM counts.
    pub(crate) ran: Vec<String>,
    /// Every command that changed this machine.
    pub(crate) installed: Vec<String>,
}

impl Default for ThisMachine {
    fn default() -> Self {
        Self {
            has_llvm: true,
            apt_has_llvm: true,
            has_advisories: true,
            shells_missing: [false; 3],
            fails: None,
            lines_percent: 90.0,
            coverage: None,
            measured: 0,
            ran: Vec::new(),
            installed: Vec::new(),
        }
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
        _: Watch<'_>,
    ) -> Result<CargoRun> {
        let counted = variables.contains_key("LLVM_PROFILE_FILE");
        let how = if counted { "counted " } else { "" };
        let line = format!("{how}cargo {}", arguments.join(" "));
        Ok(self.state().machine.run(line))
    }

    async fn tool(&self, tool: CargoTool, arguments: &[&str], _: Watch<'_>) -> Result<CargoRun> {
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

    async fn lines_covered(&self, programs: &[String], folders: &[&str]) -> Result<f64> {
        assert_eq!(programs, ["/target/axon"]);
        assert!(folders.contains(&"services/axon/src"));
        let machine = &mut self.state().machine;
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
        let means = FixMeans {
            root: true,
            apt: true,
            shells_missing: self.state().machine.shells_missing,
            ..FixMeans::default()
        };
        MachineFacts {
            platform: Platform::Linux,
            engine: EngineStatus::Answers {
                version: "29.0.0".to_owned(),
                native: true,
            },
            python: PythonStatus::NotNeeded,
            infrastructure: ToolStatus::Found {
                name: "terraform".to_owned(),
                version: None,
            },
            git: true,
            rust: true,
            means,
        }
    }

    async fn run(&self, command: &[String]) -> Result<()> {
        let line = command.join(" ");
        let machine = &mut self.state().machine;
        machine.installed.push(line.clone());
        match line.as_str() {
            "apt-get install -y --no-install-recommends llvm-22" if !machine.apt_has_llvm => {
                bail!("unable to locate package llvm-22")
            }
            "apt-get install -y --no-install-recommends llvm-22"
            | "rustup component add llvm-tools" => {
                machine.has_llvm = true;
            }
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Workflows for Fake {
    async fn check(&self) -> Result<()> {
        Ok(())
    }
}
