//! Compiles with the Rust of this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::fs;

use super::{is_progress, tell_failure};
use crate::adapters::process::Command;
use crate::adapters::toolchain::cargo_home;
use crate::catalog::{COMPONENTS, Component};
use crate::decide::artifact::compilation::{Folders, Variant, cargo_arguments, rustflags};
use crate::decide::outputs::Architecture;
use crate::failure::Failure;
use crate::ports::ProcessEnv;
use crate::report::{BuildEvent, Report};

/// Variables by which a user tells cargo where crates come from and how to reach them.
const CARGO_SETTINGS: [&str; 5] = [
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
];

pub(super) struct Host<'a> {
    pub(super) process_env: &'a ProcessEnv,
    pub(super) report: &'a Report,
}

impl Host<'_> {
    /// Compiles all components by one invocation of cargo, and reads the binaries of some.
    pub(super) async fn compile(
        &self,
        variant: Variant,
        components: &[Component],
    ) -> Result<BTreeMap<Component, Vec<u8>>> {
        let folder = self
            .run_cargo(variant, &COMPONENTS.map(Component::name))
            .await?;
        let mut binaries = BTreeMap::new();
        for component in components {
            let path = folder.join(component.name());
            let binary = fs::read(&path)
                .await
                .with_context(|| format!("read {}", path.display()))?;
            binaries.insert(*component, binary);
        }
        Ok(binaries)
    }

    /// One invocation, which answers the folder that it leaves its programs in.
    pub(super) async fn run_cargo(&self, variant: Variant, packages: &[&str]) -> Result<PathBuf> {
        let (libraries, version) = tokio::try_join!(
            self.libraries(variant.architecture),
            self.rustc(&["--version", "--verbose"]),
        )?;
        let target = target_folder(self.process_env);
        let folders = Folders {
            root: &self.process_env.root,
            cargo_home: &cargo_home(self.process_env),
            target: &target,
            libraries: &libraries,
        };
        let flags = rustflags(folders, &version);
        let mut command = Command::new(self.process_env, "cargo")
            .arguments(cargo_arguments(variant, packages))
            .folder(&self.process_env.root)
            .variable("CARGO_ENCODED_RUSTFLAGS", flags)
            .variable("CARGO_TARGET_DIR", target.display().to_string())
            // Set by `cargo xtask` itself; rust-toolchain.toml, which is part of the key, decides.
            .without_variable("RUSTUP_TOOLCHAIN");
        for (name, value) in &self.process_env.variables {
            if is_setting(name) {
                command = command.variable(name, value);
            }
        }
        let finished = command
            .run_watched(|line| {
                if is_progress(line) {
                    self.report.emit(BuildEvent::ToolOutput {
                        subject: "build".to_owned(),
                        tool: "cargo".to_owned(),
                        line: line.trim().to_owned(),
                    });
                }
            })
            .await?;
        if finished.succeeded() {
            let folder = target.join(variant.architecture.target());
            return Ok(folder.join(variant.profile.name()));
        }
        Err(tell_failure(
            self.report,
            finished.output.lines(),
            "cargo cannot build the services",
        ))
    }

    /// Where the compiler has its libraries for the architecture. They may not be installed.
    async fn libraries(&self, architecture: Architecture) -> Result<PathBuf> {
        let target = architecture.target();
        let said = self
            .rustc(&["--print", "target-libdir", "--target", target])
            .await?;
        // The last line: rustup may have told before it what it installs.
        let folder = PathBuf::from(said.lines().last().unwrap_or_default());
        if folder.is_dir() {
            return Ok(folder);
        }
        let message = format!("Rust on this machine cannot compile for {target}");
        Err(Failure::not_ready(message)
            .hint(format!(
                "let Docker compile: add `--builder docker`\n\
                 or, where a linker for it is installed:\nrustup target add {target}"
            ))
            .into())
    }

    async fn rustc(&self, arguments: &[&str]) -> Result<String> {
        Command::new(self.process_env, "rustc")
            .arguments(arguments.iter().copied())
            .folder(&self.process_env.root)
            .without_variable("RUSTUP_TOOLCHAIN")
            .succeed()
            .await
    }
}

/// The folder that xtask itself was built in: cargo compiles nothing twice then.
fn target_folder(process_env: &ProcessEnv) -> PathBuf {
    let named = process_env.variable("CARGO_TARGET_DIR");
    named.map_or_else(
        || process_env.root.join("target"),
        |folder| process_env.here.join(folder),
    )
}

fn is_setting(variable: &str) -> bool {
    CARGO_SETTINGS
        .iter()
        .any(|prefix| variable.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_learns_where_crates_come_from_and_nothing_that_changes_bytes() {
        assert!(is_setting("CARGO_REGISTRIES_OURS_INDEX"));
        assert!(is_setting("CARGO_HTTP_PROXY"));
        for other in [
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_BUILD_TARGET",
            "RUSTFLAGS",
        ] {
            assert!(!is_setting(other), "{other}");
        }
    }

    #[test]
    fn a_target_folder_is_named_from_where_the_user_stands() {
        let named = |folder: Option<&str>| {
            let variable = folder.map(|it| ("CARGO_TARGET_DIR".to_owned(), it.to_owned()));
            target_folder(&ProcessEnv {
                root: "/checkout".into(),
                here: "/checkout/xtask".into(),
                variables: variable.into_iter().collect(),
            })
        };
        assert_eq!(named(None), PathBuf::from("/checkout/target"));
        assert_eq!(named(Some("out")), PathBuf::from("/checkout/xtask/out"));
        assert_eq!(named(Some("/tmp/out")), PathBuf::from("/tmp/out"));
    }
}
