//! The `run:` steps of a workflow, as its file has them and as a runner starts them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Checkout, Ran};

/// One step that runs a script.
pub struct Step {
    pub name: String,
    pub script: String,
}

/// All of a file, in their order. Steps that are `uses:` are GitHub's and not ours to run.
pub fn steps(workflow: &str) -> Vec<Step> {
    let lines: Vec<&str> = workflow.lines().collect();
    let mut name = "";
    let mut steps = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let text = line.trim_start().trim_start_matches("- ");
        if let Some(named) = text.strip_prefix("name: ") {
            name = named;
        }
        if let Some(script) = text.strip_prefix("run: ") {
            let script = match script {
                "|" => block(&lines[index + 1..], indentation(line)),
                line => line.to_owned(),
            };
            let name = name.to_owned();
            steps.push(Step { name, script });
        }
    }
    steps
}

impl Checkout {
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

    /// The file of a job's page, which steps add to.
    pub fn page(&self) -> String {
        self.root.join("target/page.md").display().to_string()
    }

    /// What a runner does to what a job kept for another.
    pub fn lose_modes(&self, folder: &str) {
        let entries = std::fs::read_dir(self.root.join(folder)).expect("what was kept");
        for entry in entries.flatten() {
            let plain = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(entry.path(), plain).expect("take a file's mode");
        }
    }

    /// A step of a workflow of this checkout, as a runner starts it: by a shell of its own, in an
    /// environment made from nothing. Here the environment is the local one, and cargo makes of
    /// xtask the program under test, without compiling it once more, and nothing else.
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

impl Step {
    /// Runs the step to its end in a folder, with one program of ours in front of the machine's.
    pub fn run_with(&self, folder: &Path, program: &str, code: &str) -> Ran {
        let output = self.command(folder, program, code).output();
        Ran::of(&output.expect("run a step"))
    }

    fn command(&self, folder: &Path, program: &str, code: &str) -> Command {
        let target = folder.join("target");
        let shims = target.join("shims");
        std::fs::create_dir_all(&shims).expect("make a folder");
        let script = target.join("step.sh");
        std::fs::write(&script, &self.script).expect("write the step's script");
        let shim = shims.join(program);
        std::fs::write(&shim, format!("#!/bin/sh\n{code}")).expect("write a program");
        let runnable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&shim, runnable).expect("make it runnable");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .arg("-e")
            .arg(&script)
            .current_dir(folder)
            .env_clear()
            .env("PATH", format!("{}:{path}", shims.display()))
            .env("HOME", std::env::var("HOME").unwrap_or_default())
            .env("GITHUB_REPOSITORY", "example/demo")
            .env("GITHUB_OUTPUT", target.join("step.output"))
            .stdin(Stdio::null());
        command
    }
}

/// The lines that stand deeper than the key they belong to.
fn block(lines: &[&str], depth: usize) -> String {
    let deeper = lines
        .iter()
        .take_while(|line| line.is_empty() || indentation(line) > depth);
    let script = deeper.map(|line| format!("{}\n", line.trim_start()));
    script.collect()
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
