//! A program that is called terraform and writes down what it is told.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::adapters::stand_in;
use crate::failure::exit_code;

/// What it is asked and finds there goes into `calls`; `apply` does what a file says.
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

/// A checkout with an `infra/` of these files, and the stand-in on its path.
struct Checkout(ProcessEnv);

impl Checkout {
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    fn new(name: &str, files: &[&str]) -> Self {
        let root = std::env::temp_dir().join(format!("infra-{name}-{}", std::process::id()));
        for folder in ["bin", "infra/environments"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in files {
            std::fs::write(root.join("infra").join(file), "").unwrap();
        }
        let program = root.join("bin/terraform");
        std::fs::write(&program, TERRAFORM).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", root.join("bin").display());
        Self(ProcessEnv {
            here: root.clone(),
            root,
            variables: [("PATH".to_owned(), path)].into(),
        })
    }

    fn folder(&self) -> PathBuf {
        self.0.state_folder().join("local/terraform")
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
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

impl Drop for Checkout {
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0.root));
    }
}

/// Plans, and does something with the plan.
async fn planned<T>(
    checkout: &Checkout,
    act: impl AsyncFnOnce(&Terraform<'_>, Box<dyn InfraPlan + '_>) -> T,
) -> Result<T> {
    let environment = stand_in::environment();
    let config = crate::adapters::aws::emulated(&environment, "http://127.0.0.1:1");
    let report = stand_in::report();
    let terraform = Terraform::new(&checkout.0, &environment, &report, &config, &Never, None);
    let plan = terraform.plan().await?;
    Ok(act(&terraform, plan).await)
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test's own folder")]
async fn no_endpoint_of_a_profile_has_a_say() {
    let checkout = Checkout::new("endpoints", &["main.tf"]);
    let config = crate::adapters::aws::emulated(&stand_in::environment(), "http://127.0.0.1:1");
    let report = stand_in::report();
    for (endpoint, expected) in [
        (None, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true\n"),
        (
            Some("http://127.0.0.1:2".to_owned()),
            "AWS_ENDPOINT_URL=http://127.0.0.1:2\n",
        ),
    ] {
        let environment = Environment {
            endpoint,
            ..stand_in::environment()
        };
        let terraform = Terraform::new(&checkout.0, &environment, &report, &config, &Never, None);
        drop(terraform.plan().await.unwrap());
        let endpoints = std::fs::read_to_string(checkout.folder().join("endpoints")).unwrap();
        assert_eq!(endpoints, expected);
    }
}

#[tokio::test]
async fn what_was_planned_is_applied_from_its_file_which_goes_away() {
    let checkout = Checkout::new("applied", &["main.tf"]);
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
    // A saved plan takes no variables.
    assert_eq!(
        calls[3],
        format!("apply -no-color -compact-warnings {file}")
    );
    assert_eq!(calls[4..], ["content a secret value"]);
}

#[tokio::test]
async fn a_plan_that_is_not_confirmed_or_not_made_leaves_no_file() {
    let checkout = Checkout::new("unconfirmed", &["main.tf"]);
    planned(&checkout, async |_, plan| drop(plan))
        .await
        .unwrap();
    assert!(!checkout.keeps_a_plan());
    let failing = Checkout::new("unmade", &["fails"]);
    let error = planned(&failing, async |_, plan| drop(plan))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no such component"), "{error}");
    assert!(!failing.keeps_a_plan());
}

#[tokio::test]
async fn a_plan_that_is_behind_is_refused_and_leaves_no_file() {
    let checkout = Checkout::new("stale", &["stale"]);
    let applied = planned(&checkout, async |_, plan| plan.apply().await).await;
    let error = applied.unwrap().unwrap_err();
    assert_eq!(exit_code(&error), 11);
    assert!(!checkout.keeps_a_plan());
}

#[tokio::test]
async fn nobody_plans_while_a_plan_waits_for_its_answer() {
    let checkout = Checkout::new("turns", &["main.tf"]);
    let second = planned(&checkout, async |terraform, _plan| {
        let second = terraform.plan().await;
        second.map(drop).unwrap_err()
    });
    assert_eq!(exit_code(&second.await.unwrap()), 11);
    planned(&checkout, async |_, plan| drop(plan))
        .await
        .unwrap();
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test's own folder")]
async fn terraform_gets_no_byte_order_mark() {
    let checkout = Checkout::new("marked", &["main.tf"]);
    let folder = checkout.0.root.join("infra");
    std::fs::write(folder.join("marked.tfvars.json"), "\u{feff}{}\r\n").unwrap();
    let found = sources(&folder).unwrap();
    assert_eq!(found["marked.tfvars.json"], b"{}\r\n");
    assert_eq!(found["main.tf"], b"");
}
