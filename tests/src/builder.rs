//! Tools for the tests of `--builder docker`: a base image to compile on, engines of other API
//! versions, and the programs that run in builds.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::image::docker;

/// A builder base made from this machine's packages. Dropping it removes the image and the build
/// cache that came from it.
pub struct BuilderBase {
    name: &'static str,
    cached_before: BTreeSet<String>,
}

impl BuilderBase {
    pub fn import(name: &'static str) -> Self {
        let base = Self {
            name,
            cached_before: build_cache(),
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("builder-base/import.sh");
        let imported = Command::new(script).arg(name).status();
        assert!(imported.is_ok_and(|it| it.success()), "make a builder base");
        base
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The value of `--builder`.
    pub fn option(&self) -> String {
        format!("docker={}", self.name)
    }
}

impl Drop for BuilderBase {
    fn drop(&mut self) {
        let label = format!("label=builder-base={}", self.name);
        let tagged = docker(&["images", "--quiet", "--filter", &label]);
        for image in tagged.split_whitespace() {
            docker(&["rmi", "--force", image]);
        }
        docker(&["image", "prune", "--force", "--filter", &label]);
        for id in build_cache().difference(&self.cached_before) {
            let id = format!("id={id}");
            docker(&["builder", "prune", "--all", "--force", "--filter", &id]);
        }
    }
}

/// The ids of `BuildKit`'s cache records.
fn build_cache() -> BTreeSet<String> {
    let said = docker(&[
        "system",
        "df",
        "--verbose",
        "--format",
        "{{json .BuildCache}}",
    ]);
    let records: serde_json::Value = serde_json::from_str(&said).expect("a list of records");
    let records = records.as_array().into_iter().flatten();
    records
        .filter_map(|record| record["ID"].as_str().map(str::to_owned))
        .collect()
}

/// A proxy of this machine's engine that announces another API version; returns its `DOCKER_HOST`.
pub fn engine_of_api(version: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its number").port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = UnixStream::connect("/var/run/docker.sock").expect("the engine");
            let (mut from_client, mut to_engine) = (
                client.try_clone().expect("a second handle"),
                engine.try_clone().expect("a second handle"),
            );
            std::thread::spawn(move || {
                drop(std::io::copy(&mut from_client, &mut to_engine));
                // Tells the engine that its client has disconnected.
                drop(to_engine.shutdown(Shutdown::Both));
            });
            std::thread::spawn(move || answer_as(version, engine, client));
        }
    });
    format!("tcp://127.0.0.1:{port}")
}

fn answer_as(version: &str, mut engine: UnixStream, mut client: TcpStream) {
    const FIELD: &[u8] = b"\"ApiVersion\":\"";
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = engine.read(&mut buffer) {
        let bytes = &mut buffer[..count];
        for start in 0..count.saturating_sub(FIELD.len() + version.len()) {
            if bytes[start..].starts_with(FIELD) {
                let value = start + FIELD.len();
                bytes[value..value + version.len()].copy_from_slice(version.as_bytes());
            }
        }
        if client.write_all(bytes).is_err() {
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
}

/// The number of programs that run in builds of `services/Dockerfile`: only these run in `/src`.
pub fn programs_in_builds() -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|process| {
            std::fs::read_link(process.path().join("cwd"))
                .is_ok_and(|folder| folder == Path::new("/src"))
        })
        .count()
}
