//! A service's image, run by plain Docker without ECS.

use std::path::Path;
use std::process::Command;

use crate::{CheckoutCopy, eventually, free_port, request};

pub struct Image {
    id: String,
    name: &'static str,
}

impl Image {
    /// Loads the image that a checkout has built.
    pub fn of(checkout: &CheckoutCopy, name: &'static str) -> Self {
        let archive = checkout.archive(name);
        let said = docker(&["load", "--input", &archive.to_string_lossy()]);
        let id = said
            .rsplit("sha256:")
            .next()
            .map(|id| format!("sha256:{}", id.trim()));
        Self {
            id: id.expect("docker names what it loaded"),
            name,
        }
    }

    /// An image of the engine, by its name.
    pub fn named(image: &str, name: &'static str) -> Self {
        Self {
            id: docker(&["inspect", "--format", "{{.Id}}", image])
                .trim()
                .to_owned(),
            name,
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A property of the image, as `docker inspect` prints it.
    pub fn inspect(&self, format: &str) -> String {
        docker(&["inspect", "--format", format, &self.id])
    }

    /// The service's binary, copied from the image.
    pub fn binary(&self) -> Vec<u8> {
        let container = docker(&["create", &self.id]);
        let file = std::env::temp_dir().join(format!("e2e-{}-{}", self.name, std::process::id()));
        let path = format!("{}:/{}", container.trim(), self.name);
        docker(&["cp", &path, &file.to_string_lossy()]);
        docker(&["rm", container.trim()]);
        let binary = std::fs::read(&file).expect("read the binary");
        std::fs::remove_file(&file).expect("remove the binary");
        binary
    }

    /// Runs it with its definition's restrictions, on the host's network to share loopback.
    pub fn run(&self, environment: &[(&str, &str)], files: &[(&str, &str)]) -> Container {
        let port = free_port();
        let mut arguments: Vec<String> = [
            "run",
            "--detach",
            "--network",
            "host",
            "--read-only",
            "--cap-drop",
            "ALL",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--env=PORT={port}"));
        arguments.extend(
            environment
                .iter()
                .map(|(name, value)| format!("--env={name}={value}")),
        );
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/e2e/files");
        std::fs::create_dir_all(&folder).expect("make a folder for the container's files");
        for (path, text) in files {
            let file = folder.join(format!("{port}{}", path.replace('/', "-")));
            std::fs::write(&file, text).expect("write a file for the container");
            arguments.push(format!("--volume={}:{path}:ro", file.display()));
        }
        arguments.push(self.id.clone());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let container = Container {
            id: docker(&arguments).trim().to_owned(),
            port,
        };
        eventually(&format!("{} is healthy", self.name), || {
            request("GET", &container.url("/health"), &[], "").is_ok_and(|it| it.status == 200)
        });
        container
    }

    /// Runs it until it ends by itself, and returns what it wrote.
    pub fn run_to_end(&self, environment: &[(&str, &str)]) -> String {
        let mut command = Command::new("docker");
        command.args(["run", "--rm"]);
        for (name, value) in environment {
            command.arg(format!("--env={name}={value}"));
        }
        let output = command.arg(&self.id).output().expect("run docker");
        let written = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&written).into_owned()
    }
}

/// Removed when the test is done with it.
pub struct Container {
    id: String,
    port: u16,
}

impl Container {
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn logs(&self) -> String {
        docker(&["logs", &self.id])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.id]);
    }
}

pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker")
        .args(arguments)
        .output()
        .expect("run docker");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "docker {}: {said}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    said
}
