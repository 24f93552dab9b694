//! The real binary as a process: in a checkout of its own, with an environment made from nothing.

use std::fs::{create_dir_all, write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use xtask::catalog;

/// The checkout that this test was compiled in.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// xtask, where the user stands in a folder.
#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is a process of its own"
)]
pub(super) fn xtask(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(folder).args(arguments).env_clear();
    for name in ["PATH", "HOME"] {
        command.env(name, std::env::var(name).unwrap_or_default());
    }
    command.stdin(Stdio::null());
    command
}

/// A port on which nothing listens.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A checkout with nothing in it but what xtask reads itself, on a machine without a tool.
pub(super) struct Bare {
    pub(super) root: PathBuf,
    port: u16,
}

impl Bare {
    #[expect(clippy::disallowed_methods, reason = "the checkout is made of files")]
    pub(super) fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        drop(std::fs::remove_dir_all(&folder));
        let bare = Self {
            root: folder,
            port: free_port(),
        };
        bare.write("xtask/Cargo.toml", "");
        for file in [
            "Cargo.toml",
            "infra/environments/local.tfvars.json",
            "services/axon/Cargo.toml",
            "services/axon/settings.json",
            "services/governance/Cargo.toml",
            "services/kit/Cargo.toml",
            "services/kit/settings.json",
            "services/orbit/Cargo.toml",
            "services/orbit/settings.json",
            "task-definitions/axon.json",
            "task-definitions/orbit.json",
        ] {
            bare.copy(file);
        }
        bare.write(catalog::FILE, include_str!("../../catalog.json"));
        bare
    }

    /// Takes a file over from the checkout that this test was compiled in.
    #[expect(clippy::disallowed_methods, reason = "the checkout is made of files")]
    pub(super) fn copy(&self, file: &str) {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        self.write(file, &text);
    }

    /// The same with the environments of the checkout.
    pub(super) fn with_environments(self) -> Self {
        for name in ["production", "staging"] {
            self.copy(&format!("infra/environments/{name}.tfvars.json"));
        }
        self
    }

    #[expect(clippy::disallowed_methods, reason = "the checkout is made of files")]
    pub(super) fn write(&self, path: &str, text: &str) {
        let file = self.root.join(path);
        create_dir_all(file.parent().unwrap()).unwrap();
        write(file, text).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "the checkout is made of files")]
    pub(super) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap()
    }

    pub(super) fn xtask(&self, arguments: &[&str]) -> Command {
        let mut command = xtask(&self.root, arguments);
        command
            .env("PATH", "")
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .env("XTASK_LOCAL_PORT", self.port.to_string());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.xtask(arguments).output().unwrap()
    }

    /// An environment that is no local one: its AWS answers at a port of this machine.
    pub(super) fn add_environment(&self, name: &str, port: u16) {
        let text = self.read("infra/environments/local.tfvars.json");
        let mut environment: Value = serde_json::from_str(&text).unwrap();
        environment["environment"] = json!(name);
        environment["name_prefix"] = json!(name);
        environment["emulated"] = json!(false);
        environment["architecture"] = json!("X86_64");
        environment["endpoint"] = json!(format!("http://127.0.0.1:{port}"));
        let file = format!("infra/environments/{name}.tfvars.json");
        self.write(&file, &environment.to_string());
    }
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
