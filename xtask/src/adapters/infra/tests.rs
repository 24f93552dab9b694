//! Tests with a script named `terraform` that records its calls.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::adapters::aws::emulated;
use crate::adapters::emulator::AccessKey;
use crate::adapters::fake_aws;
use crate::adapters::transport::Transport;
use crate::catalog::testing::catalog;
use crate::failure::exit_code;

/// Records its arguments and the plan file in `calls`. Files control whether it fails.
const TERRAFORM: &str = r#"#!/bin/sh
calls="${TF_DATA_DIR%/data}/calls"
echo "$*" >> "$calls"
env | grep ENDPOINT > "${TF_DATA_DIR%/data}/endpoints"
case "$1" in
plan)
    out="$3"; [ "${out#-out=}" != "$out" ] || out="$4"; out="${out#-out=}"
    stat -c 'mode %a' "$out" >> "$calls"
    echo "a secret value" > "$out"
    [ ! -e "$PWD/fails" ] || { echo "Error: no such component"; exit 1; }
    echo "  # module.x will be created"; echo "Plan: 1 to add, 0 to change, 0 to destroy." ;;
apply)
    eval "file=\${$#}"
    echo "content $(cat "$file")" >> "$calls"
    [ ! -e "$PWD/stale" ] || { echo "Error: Saved plan is stale"; exit 1; } ;;
esac
"#;

struct Never;

#[async_trait]
impl Interrupt for Never {
    async fn wait(&self) {
        std::future::pending::<()>().await;
    }
}

/// A checkout whose `infra/` has these files, and the script on its `PATH`.
struct InfraCheckout {
    process_env: ProcessEnv,
    _folder: TempDir,
}

impl InfraCheckout {
    #[expect(clippy::disallowed_methods, reason = "a temporary folder")]
    fn new(files: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let root = folder.path().to_owned();
        for folder in ["bin", "infra/environments", "services"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in files {
            std::fs::write(root.join("infra").join(file), "").unwrap();
        }
        std::fs::write(root.join(catalog::FILE), "{}").unwrap();
        let program = root.join("bin/terraform");
        std::fs::write(&program, TERRAFORM).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", root.join("bin").display());
        Self {
            process_env: ProcessEnv {
                here: root.clone(),
                root,
                variables: [("PATH".to_owned(), path)].into(),
            },
            _folder: folder,
        }
    }

    fn folder(&self) -> PathBuf {
        self.process_env.state_folder().join("local/terraform")
    }

    #[expect(clippy::disallowed_methods, reason = "a temporary folder")]
    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder().join("calls")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn keeps_a_plan(&self) -> bool {
        let entries = std::fs::read_dir(self.folder()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .into_iter()
            .any(|name| name.to_string_lossy().contains("plan"))
    }
}

/// The configuration for a local AWS that does not run.
fn unreachable_aws(environment: &Environment) -> SdkConfig {
    let (endpoint, key) = ("http://127.0.0.1:1", AccessKey::of_none());
    emulated(environment, endpoint, &key, &Transport::local())
}

/// Plans, and calls `act` with the plan.
async fn planned<T>(
    checkout: &InfraCheckout,
    act: impl AsyncFnOnce(&Terraform<'_>, Box<dyn InfraPlan + '_>) -> T,
) -> Result<T> {
    let environment = fake_aws::environment();
    let config = unreachable_aws(&environment);
    let report = fake_aws::report();
    let catalog = catalog();
    let terraform = Terraform::new(
        &checkout.process_env,
        &catalog,
        &environment,
        &report,
        &config,
        &Never,
        None,
    );
    let plan = terraform.plan(&[]).await?;
    Ok(act(&terraform, plan).await)
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a temporary folder")]
async fn endpoints_of_a_profile_are_ignored() {
    let checkout = InfraCheckout::new(&["main.tf"]);
    let config = unreachable_aws(&fake_aws::environment());
    let report = fake_aws::report();
    for (endpoint, expected) in [
        (None, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true\n"),
        (
            Some("http://127.0.0.1:2".to_owned()),
            "AWS_ENDPOINT_URL=http://127.0.0.1:2\n",
        ),
    ] {
        let environment = Environment {
            endpoint,
            ..fake_aws::environment()
        };
        let catalog = catalog();
        let terraform = Terraform::new(
            &checkout.process_env,
            &catalog,
            &environment,
            &report,
            &config,
            &Never,
            None,
        );
        drop(terraform.plan(&[]).await.unwrap());
        let endpoints = std::fs::read_to_string(checkout.folder().join("endpoints")).unwrap();
        assert_eq!(endpoints, expected);
    }
}

#[tokio::test]
async fn a_plan_is_applied_from_its_file_which_is_removed() {
    let checkout = InfraCheckout::new(&["main.tf"]);
    let applied = planned(&checkout, async |_, plan| {
        assert!(
            plan.summary()
                .starts_with("  # module.x will be created\nPlan: 1 to add")
        );
        assert!(checkout.keeps_a_plan());
        plan.apply().await
    });
    applied.await.unwrap().unwrap();
    assert!(!checkout.keeps_a_plan());
    let file = checkout.folder().join("saved.tfplan");
    let file = file.display();
    let calls = checkout.calls();
    assert!(calls[1].starts_with("plan ") && calls[1].contains(&format!("-out={file}")));
    assert!(calls[1].contains("-var infra_sha256="), "{calls:?}");
    assert_eq!(calls[2], "mode 600");
    // A saved plan accepts no variables.
    assert_eq!(
        calls[3],
        format!("apply -no-color -compact-warnings {file}")
    );
    assert_eq!(calls[4..], ["content a secret value"]);
}

#[tokio::test]
async fn an_unconfirmed_or_failed_plan_leaves_no_file() {
    let checkout = InfraCheckout::new(&["main.tf"]);
    planned(&checkout, async |_, plan| drop(plan))
        .await
        .unwrap();
    assert!(!checkout.keeps_a_plan());
    let failing = InfraCheckout::new(&["fails"]);
    let error = planned(&failing, async |_, plan| drop(plan))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no such component"), "{error}");
    assert!(!failing.keeps_a_plan());
}

#[tokio::test]
async fn a_stale_plan_is_refused_and_leaves_no_file() {
    let checkout = InfraCheckout::new(&["stale"]);
    let applied = planned(&checkout, async |_, plan| plan.apply().await).await;
    let error = applied.unwrap().unwrap_err();
    assert_eq!(exit_code(&error), 11);
    assert!(!checkout.keeps_a_plan());
}

#[tokio::test]
async fn a_second_plan_is_refused() {
    let checkout = InfraCheckout::new(&["main.tf"]);
    let second = planned(&checkout, async |terraform, _plan| {
        let second = terraform.plan(&[]).await;
        second.map(drop).unwrap_err()
    });
    assert_eq!(exit_code(&second.await.unwrap()), 11);
    planned(&checkout, async |_, plan| drop(plan))
        .await
        .unwrap();
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a temporary folder")]
async fn terraform_gets_no_byte_order_mark() {
    let checkout = InfraCheckout::new(&["main.tf"]);
    let folder = checkout.process_env.root.join("infra");
    std::fs::write(folder.join("marked.tfvars.json"), "\u{feff}{}\r\n").unwrap();
    let found = sources(&folder).unwrap();
    assert_eq!(found["marked.tfvars.json"], b"{}\r\n");
    assert_eq!(found["main.tf"], b"");
}
