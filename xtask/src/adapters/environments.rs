//! What the process reads at its start: the checkout, the variables of the shell, the
//! environment files and the facts about the host.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

use crate::catalog::{self, Catalog, CatalogDraft, Service};
use crate::decide::artifact::workspace::{Workspace, package_name};
use crate::decide::definition::lint::suppressions;
use crate::decide::environment::Environment;
use crate::decide::machine::byte_order_mark::without_mark;
use crate::decide::outputs::Architecture;
use crate::failure::Failure;
use crate::ports::ProcessEnv;

const FOLDER: &str = "infra/environments";
const SUFFIX: &str = ".tfvars.json";
const MANIFEST: &str = "Cargo.toml";
const TEMPLATES: &str = "task-definitions";

/// Called once, in `main`, which passes the values on.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the shell's variables"
)]
pub fn process_env() -> Result<ProcessEnv> {
    let here = std::env::current_dir().context("find the current folder")?;
    let is_root = |folder: &&Path| folder.join("xtask/Cargo.toml").is_file();
    let root = here.ancestors().find(is_root).ok_or_else(|| {
        Failure::usage(format!(
            "{} is not inside a checkout of this project",
            here.display()
        ))
        .hint("cd into the checkout")
    })?;
    // Values that are not UTF-8 are none that xtask uses.
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    Ok(ProcessEnv {
        root: root.to_owned(),
        variables: std::env::vars_os().filter_map(text).collect(),
        here,
    })
}

/// The executable of this process.
pub fn program() -> Result<PathBuf> {
    std::env::current_exe().context("find the executable of this process")
}

/// A folder below xtask's own one of `target/`, created if it does not exist.
pub fn state_folder(process_env: &ProcessEnv, path: &str) -> Result<PathBuf> {
    let folder = process_env.state_folder().join(path);
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// Reads the file of an environment. The error for an unknown name lists the known ones.
pub fn load(process_env: &ProcessEnv, name: &str) -> Result<Environment> {
    let names = names(process_env)?;
    if !names.iter().any(|known| known == name) {
        let message = format!("unknown environment `{name}`");
        return Err(Failure::usage(message)
            .hint(format!(
                "expected one of {}: the files of {FOLDER}",
                names.join(", ")
            ))
            .into());
    }
    let file = format!("{FOLDER}/{name}{SUFFIX}");
    let text = read(&process_env.root.join(&file))?;
    let environment = Environment::parse(&file, &text)
        .map_err(|error| Failure::not_ready(error.to_string()).hint("correct the file"))?;
    if environment.name != name {
        let message = format!("{file} has the environment `{}`", environment.name);
        return Err(Failure::not_ready(message)
            .hint(format!("set `environment` to {name}"))
            .into());
    }
    refuse_shared_prefix(process_env, &environment, &names)?;
    Ok(environment)
}

/// Two environments of one account whose names begin alike would have each other's resources.
fn refuse_shared_prefix(
    process_env: &ProcessEnv,
    environment: &Environment,
    names: &[String],
) -> Result<()> {
    for name in names.iter().filter(|name| **name != environment.name) {
        let file = format!("{FOLDER}/{name}{SUFFIX}");
        let text = read(&process_env.root.join(&file))?;
        // A faulty file is reported to those who use its environment.
        let Ok(other) = Environment::parse(&file, &text) else {
            continue;
        };
        let prefix = environment.name_prefix();
        if other.account_id == environment.account_id && other.name_prefix() == prefix {
            let message = format!(
                "{} and {name} are in account {} and their names begin with `{prefix}`",
                environment.name, environment.account_id
            );
            let hint = format!("before its first deploy, set another `name_prefix` in {file}");
            return Err(Failure::not_ready(message).hint(hint).into());
        }
    }
    Ok(())
}

/// Reads the catalog, and whether each of its components has its files. Reports every fault at once.
pub fn catalog(process_env: &ProcessEnv) -> Result<Catalog> {
    let root = &process_env.root;
    let text = read(&root.join(catalog::FILE))?;
    let workspace = Workspace::parse(&read(&root.join(MANIFEST))?);
    let draft = CatalogDraft::read(&text).and_then(|mut draft| {
        find_missing_files(root, &workspace, &mut draft);
        draft.finish()
    });
    draft.map_err(|error| {
        let newer = "\nwhat only a newer checkout knows needs that checkout's own `cargo xtask`";
        let hint = "correct what is listed; `cargo xtask new` writes a component whose files fit";
        let hint = format!("{hint}{}", if error.may_be_newer() { newer } else { "" });
        Failure::not_ready(error.to_string()).hint(hint).into()
    })
}

/// What the entries need of the checkout, and templates that no entry has.
fn find_missing_files(root: &Path, workspace: &Workspace, draft: &mut CatalogDraft<'_>) {
    let mut are_named = true;
    for found in draft.entries.clone() {
        let (entry, path) = (&found.entry, &found.path);
        let (component, folder) = (entry.component(), &entry.common().folder);
        // An empty folder is a fault that was told, as is an invalid name.
        let is_named = catalog::fault_of_name(component.name()).is_none();
        are_named &= is_named;
        if entry.common().retired || folder.is_empty() || !is_named {
            continue;
        }
        let manifest = format!("{folder}/{MANIFEST}");
        match read(&root.join(&manifest)).map(|text| package_name(&text)) {
            Err(_) => draft.fault(
                &format!("{path}.crate"),
                format!("{component} has no crate: there is no file {manifest}"),
            ),
            Ok(name) if name.as_deref() != Some(component.name()) => {
                let name = name.unwrap_or_else(|| "none".to_owned());
                let message = format!(
                    "the name of the package is {name}: set it to {component}, as in {}",
                    catalog::FILE
                );
                draft.fault_of_file(manifest, message);
            }
            Ok(_) => {}
        }
        if !workspace.members.contains(folder) {
            let message = format!("{folder} of {component} is not among the members: add it");
            draft.fault_of_file(MANIFEST, message);
        }
        let template = component.service().map(Service::template);
        if let Some(template) = template.filter(|it| !root.join(it).is_file()) {
            let message = format!("{component} has no template: there is no file {template}");
            draft.fault(path, message);
        }
    }
    for name in templates(root) {
        let file = format!("{TEMPLATES}/{name}.json");
        // It may be of the entry whose name is not right.
        if are_named && !draft.names_service(&name) {
            let message = format!(
                "no service of {0} has it: delete the file, or restore its entry in {0}",
                catalog::FILE
            );
            draft.fault_of_file(file, message);
        }
    }
}

/// The names of the templates, sorted.
fn templates(root: &Path) -> Vec<String> {
    let files = std::fs::read_dir(root.join(TEMPLATES));
    let files = files.into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names
        .filter(|name| name != suppressions::FILE)
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The names of all environments.
pub fn names(process_env: &ProcessEnv) -> Result<Vec<String>> {
    let folder = process_env.root.join(FOLDER);
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(SUFFIX).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment's file is read here"
)]
fn read(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    Ok(without_mark(&text).to_owned())
}

/// The summary of a GitHub workflow step, which is shown on the page of its job.
pub fn step_summary(process_env: &ProcessEnv) -> Result<Option<File>> {
    let Some(path) = process_env.variable("GITHUB_STEP_SUMMARY") else {
        return Ok(None);
    };
    let opened = File::options().append(true).create(true).open(path);
    opened
        .map(Some)
        .with_context(|| format!("open {path} (GITHUB_STEP_SUMMARY)"))
}

/// The expiration of the credentials of the shell, from the variable that `aws configure
/// export-credentials` sets. Only these cannot be renewed by the SDK.
///
/// # Errors
/// If the variable is not a time.
pub fn credentials_end(process_env: &ProcessEnv) -> Result<Option<Timestamp>> {
    const END: &str = "AWS_CREDENTIAL_EXPIRATION";
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let are_set = keys.iter().all(|key| process_env.variable(key).is_some());
    let Some(text) = process_env.variable(END).filter(|_| are_set) else {
        return Ok(None);
    };
    // GitHub's action for AWS sets a JSON string.
    let end = text.trim_matches('"').parse();
    end.map(Some)
        .with_context(|| format!("invalid time in {END}: {text}"))
}

/// The architecture of this machine.
pub fn host_architecture() -> Architecture {
    if cfg!(target_arch = "aarch64") {
        Architecture::Arm
    } else {
        Architecture::X86
    }
}

/// The host name, equal to that of `socket.gethostname` in Python.
#[expect(clippy::disallowed_methods, reason = "the kernel has it in a file")]
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// The architecture that binaries are built for: that of this machine if the environment is
/// emulated, else that of the file.
pub fn architecture(environment: &Environment) -> Result<Architecture> {
    if environment.emulated {
        return Ok(host_architecture());
    }
    let text = environment.architecture.clone().unwrap_or_default();
    let value = serde_json::Value::String(text.clone());
    Architecture::deserialize(value).map_err(|_| {
        let file = format!("{FOLDER}/{}{SUFFIX}", environment.name);
        Failure::not_ready(format!("{file}: unknown architecture `{text}`"))
            .hint("set X86_64 or ARM64")
            .into()
    })
}

/// The user that a record has as its holder; in a pipeline the one who started it.
pub fn user(process_env: &ProcessEnv) -> String {
    ["GITHUB_ACTOR", "GITLAB_USER_LOGIN", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| process_env.variable(name))
        .map_or_else(
            || format!("uid{}", rustix::process::geteuid().as_raw()),
            str::to_owned,
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure;

    fn checkout() -> ProcessEnv {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        ProcessEnv {
            here: root.clone(),
            root,
            variables: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn every_environment_of_the_checkout_is_read() {
        for name in ["local", "staging", "production"] {
            let environment = load(&checkout(), name).unwrap();
            assert_eq!(environment.emulated, name == "local");
        }
    }

    #[test]
    fn credentials_of_the_shell_expire() {
        let end = |variables: &[(&str, &str)]| {
            let named = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
            credentials_end(&ProcessEnv {
                variables: variables.iter().map(named).collect(),
                ..checkout()
            })
        };
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let with = |end: &'static str| [keys[0], keys[1], ("AWS_CREDENTIAL_EXPIRATION", end)];
        let noon = Some("2026-08-01T12:00:00Z".parse().unwrap());
        for text in [
            "2026-08-01T12:00:00Z",
            "2026-08-01T12:00:00+00:00",
            "2026-08-01T14:00:00+0200",
            "\"2026-08-01T12:00:00.000Z\"",
        ] {
            assert_eq!(end(&with(text)).unwrap(), noon, "{text}");
        }
        assert_eq!(end(&keys).unwrap(), None);
        assert_eq!(end(&with("")).unwrap(), None);
        // Credentials of a profile are renewed by the SDK.
        assert_eq!(end(&with("2026-08-01T12:00:00Z")[1..]).unwrap(), None);
        let error = end(&with("soon")).unwrap_err();
        assert!(
            format!("{error:#}").contains("invalid time in AWS_CREDENTIAL_EXPIRATION: soon"),
            "{error:#}"
        );
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a temporary folder")]
    fn two_environments_of_one_account_have_names_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, account: &str, prefix: &str| {
            let text = serde_json::json!({
                "project": "demo", "environment": name, "region": "eu-central-1",
                "account_id": account, "name_prefix": prefix,
            });
            std::fs::write(folder.join(format!("{name}{SUFFIX}")), text.to_string()).unwrap();
        };
        let process_env = ProcessEnv {
            here: root.path().to_owned(),
            root: root.path().to_owned(),
            ..checkout()
        };
        write("one", "111122223333", "demo");
        write("two", "111122223333", "demo-two");
        write("three", "444455556666", "demo");
        for name in ["one", "two", "three"] {
            load(&process_env, name).unwrap();
        }
        write("two", "111122223333", "demo");
        let error = load(&process_env, "one").unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        assert_eq!(
            error.to_string(),
            "one and two are in account 111122223333 and their names begin with `demo`"
        );
        load(&process_env, "three").unwrap();
    }

    #[test]
    fn an_unknown_environment_lists_the_known_ones() {
        let error = load(&checkout(), "../secrets").unwrap_err();
        assert_eq!(failure::exit_code(&error), 2);
        let hint = failure::of(&error)
            .and_then(|failure| failure.hint.clone())
            .unwrap();
        assert!(hint.contains("local, production, staging"), "{hint}");
    }
}
