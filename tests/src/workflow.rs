//! The `run:` steps of a workflow, as its file has them and as a runner starts them.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
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

    /// A step of a workflow of this checkout, as a runner starts it: by a shell of its own, in an
    /// environment made from nothing. Here `cargo xtask` is the program under test, without
    /// compiling it once more, and the environment is the local one.
    fn step(&self, workflow: &str, name: &str, variables: &[(&str, &str)]) -> Command {
        let file = format!(".github/workflows/{workflow}.yml");
        let steps = steps(&self.read(&file));
        let step = steps.into_iter().find(|step| step.name == name);
        let step = step.unwrap_or_else(|| panic!("{file} has no step {name}"));
        let script = self.root.join("target/step.sh");
        std::fs::write(&script, step.script).expect("write the step's script");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .arg("-e")
            .arg(&script)
            .current_dir(&self.root)
            .env_clear()
            .env("PATH", format!("{}:{path}", self.shims().display()))
            .env("HOME", std::env::var("HOME").unwrap_or_default())
            .env("XTASK_ENV", "local")
            .env("XTASK_LOCAL_PORT", self.port.to_string())
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        command
    }

    /// A folder whose `cargo` runs the program under test where it is asked for xtask.
    fn shims(&self) -> PathBuf {
        let folder = self.root.join("target/shims");
        let shim = format!(
            "#!/bin/sh\n[ \"$1\" = xtask ] || {{ echo \"no cargo $1 in a step\" >&2; exit 1; }}\n\
             shift\nexec '{}' \"$@\"\n",
            self.xtask.display()
        );
        std::fs::create_dir_all(&folder).expect("make a folder");
        let file = folder.join("cargo");
        std::fs::write(&file, shim).expect("write a program");
        let runnable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&file, runnable).expect("make it runnable");
        folder
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
