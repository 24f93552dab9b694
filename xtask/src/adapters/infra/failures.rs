//! Errors of Terraform: common ones get a message and a hint of their own, others are shown as they
//! are.

use anyhow::anyhow;

use crate::failure::{Failure, Kind};

/// The run that failed.
pub(super) struct TerraformRun<'a> {
    pub(super) environment: &'a str,
    /// Whether it is the local AWS, whose resources can be recreated.
    pub(super) emulated: bool,
    /// The command: `init`, `plan` or `apply`.
    pub(super) verb: &'a str,
    /// The folder of the copy of `infra/`, for hints.
    pub(super) root: String,
}

impl TerraformRun<'_> {
    pub(super) fn failure(&self, output: &str) -> anyhow::Error {
        let known = self
            .locked(output)
            .or_else(|| self.stale(output))
            .or_else(|| self.no_bucket(output))
            .or_else(|| self.expired(output))
            .or_else(|| self.forbidden(output))
            .or_else(|| self.already_there(output));
        known.map_or_else(
            || anyhow!("terraform {} failed:\n{}", self.verb, errors_of(output)),
            Into::into,
        )
    }

    fn locked(&self, output: &str) -> Option<Failure> {
        if !output.contains("Error acquiring the state lock") {
            return None;
        }
        let field = |name: &str| field(output, name).unwrap_or("unknown");
        // Without the fraction of `2026-11-25 15:28:44.995783835 +0000 UTC`.
        let since = field("Created:").split('.').next().unwrap_or_default();
        let message = format!(
            "the state of {} is locked by {} since {} UTC ({})",
            self.environment,
            field("Who:"),
            since,
            field("Operation:"),
        );
        let hint = format!(
            "wait until that run ends, then run this again\n\
             if it crashed: (cd {} && TF_DATA_DIR=../data terraform force-unlock {})",
            self.root,
            field("ID:"),
        );
        Some(Failure::refused(message).hint(hint))
    }

    /// The state changed after the plan was confirmed.
    fn stale(&self, output: &str) -> Option<Failure> {
        let words = ["Saved plan is stale", "Saved plan does not match"];
        if !words.iter().any(|word| output.contains(word)) {
            return None;
        }
        let message = format!(
            "the state of {} changed after the plan was confirmed; nothing was applied",
            self.environment
        );
        let hint = format!(
            "review the new plan: cargo xtask deploy --env {}",
            self.environment
        );
        Some(Failure::refused(message).hint(hint))
    }

    /// Expired credentials, in the errors of the backend and the provider.
    fn expired(&self, output: &str) -> Option<Failure> {
        let words = [
            "ExpiredToken",
            "RequestExpired",
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "No valid credential sources found",
            "failed to refresh cached credentials",
            "SSO session has expired",
        ];
        if !words.iter().any(|word| output.contains(word)) {
            return None;
        }
        let message = format!(
            "the credentials for {} are not valid any more (terraform {}):\n{}",
            self.environment,
            self.verb,
            errors_of(output)
        );
        let hint =
            "sign in again, for example with `aws sso login`; in a pipeline, run the job again";
        Some(Failure::new(Kind::Expired, message).hint(hint))
    }

    fn no_bucket(&self, output: &str) -> Option<Failure> {
        if !output.contains("S3 bucket") || !output.contains("does not exist") {
            return None;
        }
        let message = format!("the state bucket of {} does not exist", self.environment);
        let hint = format!(
            "create it, once for each account: infra/README.md, From an empty account\n\
             or correct infra/environments/{}.s3.tfbackend",
            self.environment
        );
        Some(Failure::not_ready(message).hint(hint))
    }

    /// The role of a pipeline may release, but not apply `infra/`.
    fn forbidden(&self, output: &str) -> Option<Failure> {
        let words = [
            "AccessDenied",
            "is not authorized to perform",
            "StatusCode: 403",
        ];
        if !words.iter().any(|word| output.contains(word)) {
            return None;
        }
        let message = format!(
            "these credentials may not apply infra/ of {} (terraform {}):\n{}",
            self.environment,
            self.verb,
            errors_of(output)
        );
        let hint = format!(
            "apply it first with credentials that may: cargo xtask deploy --env {}",
            self.environment
        );
        Some(Failure::not_ready(message).hint(hint))
    }

    /// A killed run may have created resources that it did not record in the state.
    fn already_there(&self, output: &str) -> Option<Failure> {
        let words = ["AlreadyExists", "ResourceExists", "already exists"];
        if !words.iter().any(|word| output.contains(word)) {
            return None;
        }
        let message = format!(
            "resources of infra/ of {} exist already, as after a killed terraform:\n{}",
            self.environment,
            errors_of(output)
        );
        let hint = if self.emulated {
            "cargo xtask local reset    # then deploy again".to_owned()
        } else {
            format!(
                "import each into the state, then run this again:\n\
                 (cd {} && TF_DATA_DIR=../data terraform import \
                 -var-file=environments/{}.tfvars.json ADDRESS ID)",
                self.root, self.environment
            )
        };
        Some(Failure::new(Kind::LeftOver, message).hint(hint))
    }
}

/// The value of a line such as `  Who:       alice@laptop`.
fn field<'a>(output: &'a str, name: &str) -> Option<&'a str> {
    output
        .lines()
        .map(|line| unboxed(line).trim_start())
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// The errors of an output, without the lines before them.
pub(super) fn errors_of(output: &str) -> String {
    let lines = output.lines().map(unboxed);
    let errors: Vec<_> = lines
        .skip_while(|line| !line.starts_with("Error"))
        .collect();
    if errors.is_empty() {
        output.trim().to_owned()
    } else {
        errors.join("\n").trim_end().to_owned()
    }
}

/// Removes the box that Terraform draws around errors if it uses colors.
fn unboxed(line: &str) -> &str {
    let inside = line.strip_prefix(['╷', '╵', '│']);
    inside.map_or(line, |text| text.strip_prefix(' ').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{exit_code, of};

    const LOCKED: &str = include_str!("failures/locked.txt");

    fn run() -> TerraformRun<'static> {
        TerraformRun {
            environment: "staging",
            emulated: false,
            verb: "apply",
            root: "target/xtask/staging/terraform/root".to_owned(),
        }
    }

    fn hint(error: &anyhow::Error) -> &str {
        of(error)
            .and_then(|failure| failure.hint.as_deref())
            .unwrap()
    }

    #[test]
    fn a_locked_state_is_refused_with_its_holder() {
        let error = run().failure(LOCKED);
        assert_eq!(exit_code(&error), 11);
        assert_eq!(
            error.to_string(),
            "the state of staging is locked by alice@laptop since 2026-11-25 15:28:44 UTC (OperationTypeApply)"
        );
        let unlock = "cd target/xtask/staging/terraform/root && TF_DATA_DIR=../data terraform \
                      force-unlock 66d39152-9f7c-4053-a25a-4bd4b4b2b3bc";
        assert!(hint(&error).contains(unlock), "{}", hint(&error));
    }

    #[test]
    fn missing_permissions_have_a_hint() {
        let output = "Error: Failed to get existing workspaces: Unable to list objects in S3 bucket \
                      \"demo-terraform-111122223333\": StatusCode: 403, api error AccessDenied";
        let error = run().failure(output);
        assert_eq!(exit_code(&error), 12);
        assert!(
            error
                .to_string()
                .contains("may not apply infra/ of staging (terraform apply)"),
            "{error}"
        );
        assert!(hint(&error).contains("deploy --env staging"));
    }

    #[test]
    fn a_stale_plan_is_refused() {
        for title in [
            "Saved plan is stale",
            "Saved plan does not match the given state",
        ] {
            let error = run().failure(&format!("Error: {title}\n\nThe given plan file ..."));
            assert_eq!(exit_code(&error), 11);
            assert!(error.to_string().contains("nothing was applied"), "{error}");
            assert!(hint(&error).contains("cargo xtask deploy --env staging"));
        }
    }

    #[test]
    fn expired_credentials_differ_from_missing_permissions() {
        for reason in [
            "StatusCode: 403, api error ExpiredToken: The provided token has expired.",
            "No valid credential sources found",
            "get identity: failed to refresh cached credentials, the SSO session has expired",
        ] {
            let error = run().failure(&format!("Error: {reason}"));
            assert_eq!(of(&error).unwrap().kind, Kind::Expired);
            assert!(hint(&error).contains("aws sso login"));
        }
    }

    #[test]
    fn a_missing_bucket_has_a_hint() {
        let output = "Error: Failed to get existing workspaces: S3 bucket \
                      \"demo-terraform-111122223333\" does not exist.";
        let error = run().failure(output);
        assert_eq!(exit_code(&error), 12);
        assert!(hint(&error).contains("infra/README.md"));
    }

    #[test]
    fn leftover_resources_have_a_hint() {
        let output = "Error: creating CloudWatch Logs Log Group (/ecs/demo-axon): operation error \
                      CloudWatch Logs: CreateLogGroup, https response error StatusCode: 400, \
                      ResourceAlreadyExistsException: The specified log group already exists";
        let error = run().failure(output);
        assert_eq!(exit_code(&error), 12);
        assert!(error.to_string().contains("(/ecs/demo-axon)"), "{error}");
        assert!(hint(&error).contains("terraform import"));
        let local = TerraformRun {
            emulated: true,
            ..run()
        };
        let error = local.failure(output);
        assert!(hint(&error).contains("cargo xtask local reset"));
    }

    #[test]
    fn any_other_error_is_shown_without_its_box() {
        let output =
            "module.x: Creating...\n╷\n│ Error: no such component\n│ \n│   on main.tf line 1\n╵\n";
        assert_eq!(
            run().failure(output).to_string(),
            "terraform apply failed:\nError: no such component\n\n  on main.tf line 1"
        );
        let plain = "module.x: Creating...\n\nError: no such component\n\n  on main.tf line 1\n";
        assert_eq!(
            errors_of(plain),
            "Error: no such component\n\n  on main.tf line 1"
        );
    }
}
