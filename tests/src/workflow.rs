//! The `run:` steps of a workflow, run from its file as a runner runs them. The checkers of `cargo
//! xtask test` know a workflow's schema and its security, but run nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use yaml_rust2::{Yaml, YamlLoader};

use crate::{CheckoutCopy, Ran};

/// One step that runs a script.
pub struct WorkflowStep {
    pub name: String,
    pub script: String,
}

/// The steps of all jobs of a workflow, in the file's order, without those that use an action.
pub fn steps(workflow: &str) -> Vec<WorkflowStep> {
    let documents = YamlLoader::load_from_str(workflow).expect("a workflow is YAML");
    let jobs = documents[0]["jobs"].as_hash().expect("a workflow has jobs");
    let steps = jobs
        .values()
        .filter_map(|job| job["steps"].as_vec())
        .flatten();
    steps.filter_map(step).collect()
}

fn step(step: &Yaml) -> Option<WorkflowStep> {
    let script = step["run"].as_str()?.to_owned();
    let name = step["name"].as_str().unwrap_or_default().to_owned();
    Some(WorkflowStep { name, script })
}

impl CheckoutCopy {
    /// Runs a step of a workflow to its end.
    pub fn run_step(&self, workflow: &str, name: &str, variables: &[(&str, &str)]) -> Ran {
        let output = self.step(workflow, name, variables).output();
        let ran = Ran::of(&output.expect("run a step"));
        println!("--- {workflow}: {name} -> {:?}\n{}", ran.code, ran.all());
        ran
    }

    /// Starts a step of a workflow and does not wait.
    pub fn start_step(&self, workflow: &str, name: &str) -> Child {
        self.step(workflow, name, &[])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start a step")
    }

    /// The file of a job's summary page, which steps append to.
    pub fn summary_file(&self) -> String {
        self.root.join("target/summary.md").display().to_string()
    }

    /// Removes the modes of a folder's files, as uploading an artifact does.
    pub fn lose_modes(&self, folder: &str) {
        let entries = std::fs::read_dir(self.root.join(folder)).expect("an artifact's folder");
        for entry in entries.flatten() {
            let plain = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(entry.path(), plain).expect("set a file's mode");
        }
    }

    /// A step of a workflow of this checkout, as a runner starts it: in a shell of its own, with an
    /// environment made from nothing. The environment to deploy to is the local one, and `cargo
    /// build --package xtask` installs the program under test instead of compiling it once more.
    fn step(&self, workflow: &str, name: &str, variables: &[(&str, &str)]) -> Command {
        let file = format!(".github/workflows/{workflow}.yml");
        let steps = steps(&self.read(&file));
        let step = steps.into_iter().find(|step| step.name == name);
        let step = step.unwrap_or_else(|| panic!("{file} has no step {name}"));
        let cargo = format!(
            "[ \"$*\" = 'build --locked --package xtask' ] || {{ echo \"no cargo $1 here\" >&2; exit 1; }}\n\
             exec install -D '{}' target/debug/xtask\n",
            self.xtask.display()
        );
        let mut command = step.command(&self.root, "cargo", &cargo);
        command
            .env("XTASK_ENV", "local")
            .env("XTASK_LOCAL_PORT", self.port.to_string())
            .envs(variables.iter().copied());
        command
    }
}

impl WorkflowStep {
    /// Runs the step to its end in a folder, with a fake of one program first on the PATH.
    pub fn run_with(&self, folder: &Path, program: &str, code: &str) -> Ran {
        let output = self.command(folder, program, code).output();
        Ran::of(&output.expect("run a step"))
    }

    fn command(&self, folder: &Path, program: &str, code: &str) -> Command {
        let target = folder.join("target");
        let fakes = target.join("fakes");
        std::fs::create_dir_all(&fakes).expect("make a folder");
        let script = target.join("step.sh");
        std::fs::write(&script, &self.script).expect("write the step's script");
        let fake = fakes.join(program);
        std::fs::write(&fake, format!("#!/bin/sh\n{code}")).expect("write a program");
        let runnable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&fake, runnable).expect("make it runnable");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .arg("-e")
            .arg(&script)
            .current_dir(folder)
            .env_clear()
            .env("PATH", format!("{}:{path}", fakes.display()))
            .env("HOME", std::env::var("HOME").unwrap_or_default())
            .env("GITHUB_REPOSITORY", "example/demo")
            .env("GITHUB_OUTPUT", target.join("step.output"))
            .stdin(Stdio::null());
        command
    }
}
