//! A fresh checkout of this project with a local AWS of its own, for the tests of the whole: they
//! see what a user sees, the program's exit code and its two streams.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::return_self_not_must_use,
    reason = "this crate is a user: it starts programs, edits files, waits and tells a failed test's story"
)]

pub mod builder;
mod http;
mod image;
mod lambda;
mod local_aws;
mod signed_axon;
pub mod stand_in;
pub mod workflow;

pub use http::{Answer, Served, Traffic, request};
pub use image::{Container, Image, docker};
pub use lambda::Function;
pub use signed_axon::SignedAxon;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A copy of the checkout: tests edit it as a user would.
pub struct Checkout {
    root: PathBuf,
    port: u16,
    xtask: PathBuf,
}

/// What one run of xtask left.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Checkout {
    /// A copy of this checkout as it is now, commits and uncommitted changes, and of what was
    /// built from it: the copy has the same keys, so nothing is compiled again.
    pub fn fresh(name: &str) -> Self {
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let root = original.join("target/e2e").join(name);
        if root.exists() {
            std::fs::remove_dir_all(&root).expect("clear the last run's checkout");
        }
        let listed = Command::new("git")
            .args([
                "ls-files",
                "--cached",
                "--others",
                "--exclude-standard",
                "-z",
            ])
            .current_dir(&original)
            .output()
            .expect("list the checkout's files");
        for path in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
            if original.join(path).is_file() {
                copy(&original.join(path), &root.join(path));
            }
        }
        copy_folder(&original.join(".git"), &root.join(".git"));
        copy_folder(
            &original.join("target/xtask/artifacts"),
            &root.join("target/xtask/artifacts"),
        );
        Self {
            root,
            port: free_port(),
            xtask: program(),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Runs xtask in the checkout to its end.
    pub fn xtask(&self, arguments: &[&str]) -> Ran {
        self.xtask_with(arguments, &[])
    }

    /// As `xtask`, with variables of a user's shell.
    pub fn xtask_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        let started = Instant::now();
        let output = command.output().expect("run xtask");
        let mut ran = Ran::of(&output);
        ran.took = started.elapsed();
        println!(
            "--- xtask {} -> {:?}\n{}{}",
            arguments.join(" "),
            ran.code,
            ran.stderr,
            ran.stdout
        );
        ran
    }

    /// Starts xtask and does not wait.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.start_with(arguments, &[])
    }

    /// As `start`, with variables of a user's shell.
    pub fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        self.command(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start xtask")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.xtask);
        command
            .args(arguments)
            .current_dir(&self.root)
            .env("XTASK_LOCAL_PORT", self.port.to_string())
            .stdin(Stdio::null());
        command
    }

    /// The JSON document that a command prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.xtask(&[arguments, &["--format", "json"]].concat());
        assert_eq!(ran.code, Some(0), "xtask {}", arguments.join(" "));
        serde_json::from_str(&ran.stdout).expect("a JSON document and nothing else")
    }

    /// Sets one setting in a service's template, as somebody who edits the file would.
    pub fn set_in_template(&self, service: &str, name: &str, value: &str) {
        let file = self.root.join(format!("task-definitions/{service}.json"));
        let text = std::fs::read_to_string(&file).expect("read the template");
        let mut template: Value = serde_json::from_str(&text).expect("a template");
        let settings = template["containerDefinitions"][0]["environment"]
            .as_array_mut()
            .expect("a list of settings");
        settings.retain(|setting| setting["name"] != name);
        settings.push(serde_json::json!({ "name": name, "value": value }));
        std::fs::write(&file, format!("{template:#}\n")).expect("write the template");
    }

    pub fn write(&self, path: &str, text: &str) {
        std::fs::write(self.root.join(path), text).expect("write a file of the checkout");
    }

    /// Replaces one text of a file by another.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has `{from}`");
        self.write(path, &text.replace(from, to));
    }

    /// As if nothing had ever been built here.
    pub fn forget_artifacts(&self) {
        let folder = self.root.join("target/xtask/artifacts");
        std::fs::remove_dir_all(folder).expect("remove what was built");
    }

    /// What was packed of the sources as they are.
    pub fn packed(&self, component: &str) -> Vec<u8> {
        std::fs::read(self.archive(component)).expect("read what was built")
    }

    /// Of a service its image, of the function its zip.
    fn archive(&self, component: &str) -> PathBuf {
        let built = self.json(&["build", component]);
        let key = built[0]["key"].as_str().expect("its key");
        let ending = if component == "governance" {
            "zip"
        } else {
            "tar"
        };
        let folder = self.root.join("target/xtask/artifacts");
        folder.join(format!("{component}-{key}.{ending}"))
    }

    pub fn artifacts(&self) -> BTreeSet<String> {
        let folder = std::fs::read_dir(self.root.join("target/xtask/artifacts"));
        let names = folder.into_iter().flatten().flatten();
        names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Changes one bit of what a folder has of a component, as a bad disk would.
    pub fn damage(&self, folder: &str, component: &str, ending: &str) {
        let entries = std::fs::read_dir(self.root.join(folder)).expect("a folder");
        let mut files = entries.map(|entry| entry.expect("an entry").path());
        let named = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(component) && name.ends_with(ending)
        };
        let file = files.find(named).expect("what was built");
        let mut bytes = std::fs::read(&file).expect("read what was built");
        *bytes.last_mut().expect("a byte") ^= 1;
        std::fs::write(&file, bytes).expect("write what was built");
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).expect("read a file of the checkout")
    }

    /// What git sees in the checkout that is not committed.
    pub fn changed_files(&self) -> String {
        self.output("git", &["status", "--porcelain", "--untracked-files=all"])
    }

    /// The addresses on which the local AWS listens.
    pub fn listening_addresses(&self) -> Vec<String> {
        let port = format!(":{:04X}", self.port);
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's sockets");
        let listening = sockets.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next()?.strip_suffix(&port)?;
            let address = u32::from_str_radix(local, 16).ok()?;
            (fields.nth(1)? == "0A").then(|| Ipv4Addr::from(address.to_le_bytes()).to_string())
        });
        listening.collect()
    }

    /// What Terraform says after the run that applied it, by the variables of that run.
    pub fn terraform_plan(&self) -> String {
        let output = self.terraform("plan", &[]).output();
        Ran::of(&output.expect("run terraform")).all()
    }

    /// Somebody's Terraform that has planned a change and waits for a yes: until it is told no, it
    /// holds the state.
    pub fn terraform_waiting(&self) -> Child {
        let child = self
            .terraform("apply", &["-var=infra_sha256=of-somebody-else"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("start terraform");
        let held = self.terraform_folder().join(".terraform.tfstate.lock.info");
        eventually("the state is held", || held.exists());
        child
    }

    fn terraform_folder(&self) -> PathBuf {
        let local = self.root.join("target/xtask/local");
        local.join(format!("{}/terraform", self.port))
    }

    /// In the copy of `infra/` that xtask left.
    fn terraform(&self, verb: &str, arguments: &[&str]) -> Command {
        let outputs: Value =
            serde_json::from_str(&self.parameter("/demo/local/outputs")).expect("outputs");
        let folder = self.terraform_folder();
        let variable = |name: &str| {
            format!(
                "-var={name}={}",
                outputs[name].as_str().expect("a field of the outputs")
            )
        };
        let mut command = Command::new("terraform");
        command
            .args([
                verb,
                "-no-color",
                "-var-file=environments/local.tfvars.json",
            ])
            .args([variable("architecture"), variable("infra_sha256")])
            .arg(format!("-var=endpoint={}", self.url("")))
            .args(arguments)
            .current_dir(folder.join("root"))
            .env("TF_DATA_DIR", folder.join("data"))
            .env("AWS_ENDPOINT_URL", self.url(""))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    /// A parameter of SSM, as the local AWS has it.
    pub fn parameter(&self, name: &str) -> String {
        let answer = self.ssm("GetParameter", &serde_json::json!({ "Name": name }));
        answer["Parameter"]["Value"]
            .as_str()
            .expect("a value")
            .to_owned()
    }

    pub fn set_parameter(&self, name: &str, value: &str) {
        let change = serde_json::json!({ "Name": name, "Value": value, "Overwrite": true });
        self.ssm("PutParameter", &change);
    }

    /// The local AWS asks nobody for a signature.
    fn ssm(&self, operation: &str, input: &Value) -> Value {
        let target = format!("AmazonSSM.{operation}");
        let headers = [
            ("Content-Type", "application/x-amz-json-1.1"),
            ("X-Amz-Target", &target),
        ];
        let answer = request("POST", &self.url("/"), &headers, &input.to_string());
        let answer = answer.expect("an answer of the local AWS");
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// The Python that the local AWS is installed for, which has botocore.
    pub fn python(&self) -> PathBuf {
        let local = self.root.join("target/xtask/local");
        local.join("venv/bin/python")
    }

    fn output(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(&self.root).output();
        String::from_utf8_lossy(&output.expect("run a program").stdout).into_owned()
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        drop(self.command(&["local", "down"]).output());
    }
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: Duration::ZERO,
        }
    }

    pub fn of_child(child: Child) -> Self {
        Self::of(&child.wait_with_output().expect("wait for xtask"))
    }

    /// Both streams: what a user at a terminal sees.
    pub fn all(&self) -> String {
        format!("{}{}", self.stderr, self.stdout)
    }

    #[track_caller]
    pub fn expect(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "exit code; it said:\n{}", self.all());
        for text in said {
            assert!(
                self.all().contains(text),
                "`{text}` is missing in:\n{}",
                self.all()
            );
        }
        self
    }
}

/// What a terminal's Ctrl-C sends.
pub fn interrupt(child: &Child) {
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "send SIGINT");
}

/// The program that started the tests.
fn program() -> PathBuf {
    let file = std::env::var_os("XTASK").expect("XTASK names the program: run `cargo xtask test`");
    PathBuf::from(file)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("make a folder");
    std::fs::copy(from, to).expect("copy a file");
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).into_iter().flatten() {
        let path = entry.expect("a folder's entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            copy(&path, &target);
        }
    }
}

/// Polls until something holds; the bound is generous, since only its end is a failure.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        pause(Duration::from_millis(100));
    }
    panic!("within a minute: {what}");
}

fn pause(time: Duration) {
    std::thread::sleep(time);
}
