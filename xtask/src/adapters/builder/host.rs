//! Compiles with the Rust of this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::fs;

use super::{is_progress, report_failure};
use crate::adapters::process::Command;
use crate::adapters::toolchain::cargo_home;
use crate::catalog::Component;
use crate::decide::artifact::compilation::{Folders, cargo_arguments, rustflags};
use crate::decide::artifact::types::Variant;
use crate::decide::outputs::Architecture;
use crate::failure::Failure;
use crate::ports::ProcessEnv;
use crate::report::{BuildEvent, Report};

/// Prefixes of variables that configure registries and network access of cargo.
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
    /// Compiles all packages by one invocation of cargo, and reads the binaries of these components.
    pub(super) async fn compile(
        &self,
        variant: Variant,
        packages: &[&str],
        components: &[Component],
    ) -> Result<BTreeMap<Component, Vec<u8>>> {
        let folder = self.run_cargo(variant, packages).await?;
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

    /// Runs cargo and returns the folder of the binaries.
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
            // Set by `cargo xtask` itself. The toolchain is that of rust-toolchain.toml, an input
            // of the key.
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
        Err(report_failure(
            self.report,
            finished.output.lines(),
            "cargo cannot build the services",
        ))
    }

    /// The folder of the standard library for the architecture, which may not be installed.
    async fn libraries(&self, architecture: Architecture) -> Result<PathBuf> {
        let target = architecture.target();
        let output = self
            .rustc(&["--print", "target-libdir", "--target", target])
            .await?;
        // The last line, since rustup may print what it installs before.
        let folder = PathBuf::from(output.lines().last().unwrap_or_default());
        if folder.is_dir() {
            return Ok(folder);
        }
        let message = format!("the Rust toolchain of this machine has no target {target}");
        Err(Failure::not_ready(message)
            .hint(format!(
                "compile in Docker: add `--builder docker`\n\
                 or, if a linker for it is installed:\nrustup target add {target}"
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

/// The target folder of xtask itself, so that cargo compiles nothing twice.
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
    fn only_settings_that_do_not_change_bytes_are_inherited() {
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
    fn the_target_folder_is_relative_to_the_current_folder() {
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
