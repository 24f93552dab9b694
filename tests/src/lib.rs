//! A copy of this checkout with a local AWS of its own, for the end-to-end tests. They see what a
//! user sees: the program's exit code and its two streams.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::return_self_not_must_use,
    reason = "this crate acts as a user: it starts programs, edits files, waits and prints what they say"
)]

pub mod builder;
mod engine_proxy;
mod http;
mod image;
mod lambda;
mod local_aws;
mod signed_axon;
pub mod stub;
pub mod workflow;

pub use engine_proxy::EngineProxy;
pub use http::{Answer, Served, Traffic, request};
pub use image::{Container, Image, docker};
pub use lambda::FunctionProcess;
pub use signed_axon::SignedAxon;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The copy of the chapters.
const STORY: &str = "story";
/// Whether this program has what is built from the checkout.
static BUILT: Once = Once::new();
/// Where xtask keeps what it has built.
const ARTIFACTS: &str = "target/xtask/artifacts";
const RELEASES_TABLE: &str = "demo-local-releases";

/// A copy of the checkout: tests edit it as a user would.
pub struct CheckoutCopy {
    root: PathBuf,
    port: u16,
    xtask: PathBuf,
    /// The texts of edited files before their first edit; `None` of a new file.
    originals: Mutex<BTreeMap<String, Option<String>>>,
}

/// What one run of xtask left.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl CheckoutCopy {
    /// A copy of this checkout as it is now, commits and uncommitted changes, and of the artifacts
    /// that are built from it: the copy has the same content keys, so nothing is compiled again.
    pub fn fresh(name: &str) -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let original = tests.parent().expect("the checkout's root");
        let is_clone = original.join(".git").is_dir();
        assert!(
            is_clone,
            "a linked worktree of git can't be copied: use a clone"
        );
        if name == STORY {
            return Self::built(original);
        }
        // Tests of one program run at the same time.
        BUILT.call_once(|| drop(Self::built(original)));
        Self::copy_of(original, name)
    }

    /// The story's copy, with its artifacts compiled and given to the original. They are compiled
    /// where a chapter compiles more later: the compiler's flags have the path.
    fn built(original: &Path) -> Self {
        let story = Self::copy_of(original, STORY);
        story.xtask(&["build"]).expect(0, &[]);
        copy_folder(&story.root.join(ARTIFACTS), &original.join(ARTIFACTS));
        story
    }

    fn copy_of(original: &Path, name: &str) -> Self {
        let root = original.join("target/e2e").join(name);
        let xtask = program(original);
        if root.exists() {
            stop_previous_run(&xtask, &root);
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
            .current_dir(original)
            .output()
            .expect("list the checkout's files");
        for path in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
            if original.join(path).is_file() {
                copy(&original.join(path), &root.join(path));
            }
        }
        copy_folder(&original.join(".git"), &root.join(".git"));
        copy_folder(&original.join(ARTIFACTS), &root.join(ARTIFACTS));
        Self {
            root,
            port: free_port(),
            xtask,
            originals: Mutex::default(),
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

    /// As `xtask`, with variables in the user's shell.
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

    /// As `start`, with variables in the user's shell.
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
            // Beside the copy: the next one of this name is compiled on top of it.
            .env("CARGO_TARGET_DIR", self.root.with_extension("cargo"))
            .stdin(Stdio::null());
        command
    }

    /// The JSON document that a command prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.xtask(&[arguments, &["--format", "json"]].concat());
        assert_eq!(ran.code, Some(0), "xtask {}", arguments.join(" "));
        serde_json::from_str(&ran.stdout).expect("a JSON document and nothing else")
    }

    /// Sets one setting in a service's template.
    pub fn set_in_template(&self, service: &str, name: &str, value: &str) {
        let file = format!("task-definitions/{service}.json");
        let mut template: Value = serde_json::from_str(&self.read(&file)).expect("a template");
        let settings = template["containerDefinitions"][0]["environment"]
            .as_array_mut()
            .expect("a list of settings");
        settings.retain(|setting| setting["name"] != name);
        settings.push(serde_json::json!({ "name": name, "value": value }));
        self.write(&file, &format!("{template:#}\n"));
    }

    pub fn write(&self, path: &str, text: &str) {
        let before = std::fs::read_to_string(self.root.join(path)).ok();
        let mut originals = self.originals.lock().expect("no panic meanwhile");
        originals.entry(path.to_owned()).or_insert(before);
        drop(originals);
        std::fs::write(self.root.join(path), text).expect("write a file of the checkout");
    }

    /// Makes the edits permanent: `undo_edits` goes back to the files as they are now.
    pub fn keep_edits(&self) {
        self.originals.lock().expect("no panic meanwhile").clear();
    }

    /// Undoes every edit since the beginning, or since `keep_edits`.
    pub fn undo_edits(&self) {
        let originals = std::mem::take(&mut *self.originals.lock().expect("no panic meanwhile"));
        for (path, text) in originals {
            let path = self.root.join(path);
            let undone = match text {
                Some(text) => std::fs::write(path, text),
                None => std::fs::remove_file(path),
            };
            undone.expect("undo an edit of the checkout");
        }
    }

    /// Replaces one text of a file by another.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has `{from}`");
        self.write(path, &text.replace(from, to));
    }

    /// Removes every built artifact.
    pub fn forget_artifacts(&self) {
        let folder = self.root.join(ARTIFACTS);
        std::fs::remove_dir_all(folder).expect("remove what was built");
    }

    /// The artifact of the sources as they are now.
    pub fn packed(&self, component: &str) -> Vec<u8> {
        std::fs::read(self.archive(component)).expect("read an artifact")
    }

    /// A service's image, or the function's zip.
    fn archive(&self, component: &str) -> PathBuf {
        let built = self.json(&["build", component]);
        let key = built[0]["key"].as_str().expect("its key");
        let ending = if component == "governance" {
            "zip"
        } else {
            "tar"
        };
        let folder = self.root.join(ARTIFACTS);
        folder.join(format!("{component}-{key}.{ending}"))
    }

    pub fn artifacts(&self) -> BTreeSet<String> {
        let folder = std::fs::read_dir(self.root.join(ARTIFACTS));
        let names = folder.into_iter().flatten().flatten();
        names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Flips a bit in a component's file in a folder, as a failing disk would.
    pub fn damage(&self, folder: &str, component: &str, ending: &str) {
        let entries = std::fs::read_dir(self.root.join(folder)).expect("a folder");
        let mut files = entries.map(|entry| entry.expect("an entry").path());
        let named = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(component) && name.ends_with(ending)
        };
        let file = files.find(named).expect("the component's file");
        let mut bytes = std::fs::read(&file).expect("read the file");
        *bytes.last_mut().expect("a byte") ^= 1;
        std::fs::write(&file, bytes).expect("write the file");
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).expect("read a file of the checkout")
    }

    /// The checkout's uncommitted files, as git reports them.
    pub fn changed_files(&self) -> String {
        self.output("git", &["status", "--porcelain", "--untracked-files=all"])
    }

    /// The output of `terraform plan`, with the variables of xtask's apply.
    pub fn terraform_plan(&self) -> String {
        let output = self.terraform("plan", &[]).output();
        Ran::of(&output.expect("run terraform")).all()
    }

    /// Another user's Terraform, which waits for the confirmation of its plan and holds the state's
    /// lock. It gives up when its stdin is closed.
    pub fn terraform_waiting(&self) -> Child {
        let other_sources = format!("-var=infra_sha256={}", "1".repeat(64));
        let child = self
            .terraform("apply", &[&other_sources])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("start terraform");
        let held = self.terraform_folder().join(".terraform.tfstate.lock.info");
        eventually("the state is locked", || held.exists());
        child
    }

    fn terraform_folder(&self) -> PathBuf {
        let local = self.root.join("target/xtask/local");
        local.join(format!("{}/local/terraform", self.port))
    }

    /// Terraform in xtask's copy of `infra/`.
    fn terraform(&self, verb: &str, arguments: &[&str]) -> Command {
        let outputs: Value = serde_json::from_str(&self.published_outputs()).expect("outputs");
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
            .env("AWS_ACCESS_KEY_ID", self.access_key("access_key_id"))
            .env(
                "AWS_SECRET_ACCESS_KEY",
                self.access_key("secret_access_key"),
            );
        command
    }

    /// The outputs as Terraform published them.
    pub fn published_outputs(&self) -> String {
        let key = serde_json::json!({ "kind": { "S": "outputs" }, "number": { "N": "0" } });
        let input = serde_json::json!({ "TableName": RELEASES_TABLE, "Key": key });
        let answer = self.dynamodb("GetItem", &input);
        let document = answer["Item"]["document"]["S"].as_str();
        document.expect("a document").to_owned()
    }

    pub fn publish_outputs(&self, document: &str) {
        let item = serde_json::json!({
            "kind": { "S": "outputs" },
            "number": { "N": "0" },
            "document": { "S": document },
        });
        let input = serde_json::json!({ "TableName": RELEASES_TABLE, "Item": item });
        self.dynamodb("PutItem", &input);
    }

    /// A part of the key that its local AWS asks for.
    pub fn access_key(&self, part: &str) -> String {
        let file = format!("target/xtask/local/{}/access-key.json", self.port);
        let key: Value = serde_json::from_str(&self.read(&file)).expect("an access key");
        key[part].as_str().expect("a part of the key").to_owned()
    }

    fn dynamodb(&self, operation: &str, input: &Value) -> Value {
        self.call_aws(&format!("DynamoDB_20120810.{operation}"), input)
    }

    pub fn ecs(&self, operation: &str, input: &Value) -> Value {
        self.call_aws(&ecs_target(operation), input)
    }

    /// What ECS answers, whether it does what is asked or refuses it.
    pub fn answer_of_ecs(&self, operation: &str, input: &Value) -> Answer {
        self.answer_of_aws(&ecs_target(operation), input)
    }

    /// Updates a service by hand.
    pub fn update_service(&self, service: &str, revision: &str) {
        let input = serde_json::json!({
            "cluster": "demo-local",
            "service": service,
            "taskDefinition": revision,
        });
        self.ecs("UpdateService", &input);
    }

    fn call_aws(&self, target: &str, input: &Value) -> Value {
        let answer = self.answer_of_aws(target, input);
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// With the key alone: the local AWS does not check the rest of a signature.
    fn answer_of_aws(&self, target: &str, input: &Value) -> Answer {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/aws/aws4_request",
            self.access_key("access_key_id")
        );
        let headers = [
            ("Content-Type", "application/x-amz-json-1.0"),
            ("X-Amz-Target", target),
            ("Authorization", &authorization),
        ];
        let answer = request("POST", &self.url("/"), &headers, &input.to_string());
        answer.expect("an answer of the local AWS")
    }

    /// The Python of the local AWS's virtual environment, which has botocore.
    pub fn python(&self) -> PathBuf {
        let local = self.root.join("target/xtask/local");
        local.join("venv/bin/python")
    }

    /// Brings `Cargo.lock` up to date with the members.
    pub fn update_lock_file(&self) {
        self.output("cargo", &["update", "--workspace", "--offline"]);
    }

    fn output(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(&self.root).output();
        String::from_utf8_lossy(&output.expect("run a program").stdout).into_owned()
    }
}

impl Drop for CheckoutCopy {
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

fn ecs_target(operation: &str) -> String {
    format!("AmazonEC2ContainerServiceV20141113.{operation}")
}

/// Sends SIGINT, as Ctrl-C at a terminal does.
pub fn interrupt(child: &Child) {
    signal("INT", child.id());
}

pub fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "send SIG{name}");
}

/// The xtask under test: the one that runs the tests, or what the checkout compiles to.
fn program(checkout: &Path) -> PathBuf {
    if let Some(file) = std::env::var_os("XTASK") {
        return PathBuf::from(file);
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--package", "xtask"])
        .current_dir(checkout)
        .status();
    assert!(built.is_ok_and(|status| status.success()), "build xtask");
    checkout.join("target/debug/xtask")
}

/// Stops the local AWS of a run that was killed.
fn stop_previous_run(xtask: &Path, root: &Path) {
    let instances = std::fs::read_dir(root.join("target/xtask/local"));
    for instance in instances.into_iter().flatten().flatten() {
        let name = instance.file_name().to_string_lossy().into_owned();
        if name.parse::<u16>().is_ok() {
            let mut down = Command::new(xtask);
            down.args(["local", "down"]).current_dir(root);
            drop(down.env("XTASK_LOCAL_PORT", name).output());
        }
    }
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

/// Polls until something holds. The limit is generous: only a failing test waits for its end.
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

pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
