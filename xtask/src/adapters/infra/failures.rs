//! What Terraform says when it fails: the text itself, and for what happens in everyday work one
//! clear error with its remedy.

use anyhow::anyhow;

use crate::failure::{Failure, Kind};

/// Whose Terraform failed.
pub(super) struct Run<'a> {
    pub(super) environment: &'a str,
    /// Whether it is the local AWS, of which nothing is precious.
    pub(super) emulated: bool,
    /// What was tried: `init`, `plan`, `apply`.
    pub(super) verb: &'a str,
    /// Where its copy of `infra/` lies, for a command by hand.
    pub(super) root: String,
}

impl Run<'_> {
    pub(super) fn failure(&self, output: &str) -> anyhow::Error {
        let told = self
            .locked(output)
            .or_else(|| self.stale(output))
            .or_else(|| self.no_bucket(output))
            .or_else(|| self.expired(output))
            .or_else(|| self.forbidden(output))
            .or_else(|| self.already_there(output));
        told.map_or_else(
            || anyhow!("terraform {} failed:\n{}", self.verb, errors_of(output)),
            Into::into,
        )
    }

    fn locked(&self, output: &str) -> Option<Failure> {
        if !output.contains("Error acquiring the state lock") {
            return None;
        }
        let field = |name: &str| field(output, name).unwrap_or("unknown");
        // `2026-11-25 15:28:44.995783835 +0000 UTC`: nobody waits for nanoseconds.
        let since = field("Created:").split('.').next().unwrap_or_default();
        let message = format!(
            "the state of {} is locked by {} since {} UTC ({})",
            self.environment,
            field("Who:"),
            since,
            field("Operation:"),
        );
        let hint = format!(
            "wait until that run is done, then run this again\n\
             if it died: (cd {} && TF_DATA_DIR=../data terraform force-unlock {})",
            self.root,
            field("ID:"),
        );
        Some(Failure::refused(message).hint(hint))
    }

    /// What was confirmed is not what would happen now.
    fn stale(&self, output: &str) -> Option<Failure> {
        let words = ["Saved plan is stale", "Saved plan does not match"];
        if !words.iter().any(|word| output.contains(word)) {
            return None;
        }
        let message = format!(
            "the state of {} moved on since the plan that was confirmed; nothing was applied",
            self.environment
        );
        let hint = format!(
            "look at the new plan: cargo xtask deploy --env {}",
            self.environment
        );
        Some(Failure::refused(message).hint(hint))
    }

    /// As Terraform's backend and its provider say it.
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
        let message = format!(
            "the bucket for the state of {} is missing",
            self.environment
        );
        let hint = format!(
            "make it, once for an account: infra/README.md, From an empty account\n\
             or correct infra/environments/{}.s3.tfbackend",
            self.environment
        );
        Some(Failure::not_ready(message).hint(hint))
    }

    /// A pipeline's role may release and not apply.
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
            "infra/ of {} is to be applied, and these credentials must not (terraform {}):\n{}",
            self.environment,
            self.verb,
            errors_of(output)
        );
        let hint = format!(
            "somebody who may applies it first: cargo xtask deploy --env {}",
            self.environment
        );
        Some(Failure::not_ready(message).hint(hint))
    }

    /// A run that was killed wrote nothing of its last resources into the state.
    fn already_there(&self, output: &str) -> Option<Failure> {
        let words = ["AlreadyExists", "ResourceExists", "already exists"];
        if !words.iter().any(|word| output.contains(word)) {
            return None;
        }
        let message = format!(
            "there is already what infra/ of {} makes, as after a terraform that was killed:\n{}",
            self.environment,
            errors_of(output)
        );
        let hint = if self.emulated {
            "cargo xtask local reset    # then deploy; nothing of it is precious".to_owned()
        } else {
            format!(
                "take each into the state, then run this again:\n\
                 (cd {} && TF_DATA_DIR=../data terraform import \
                 -var-file=environments/{}.tfvars.json ADDRESS ID)",
                self.root, self.environment
            )
        };
        Some(Failure::not_ready(message).hint(hint))
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

/// The errors of an output, without what came before them.
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

/// Terraform draws boxes round its errors where it may use colours.
fn unboxed(line: &str) -> &str {
    let inside = line.strip_prefix(['╷', '╵', '│']);
    inside.map_or(line, |text| text.strip_prefix(' ').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{exit_code, of};

    const LOCKED: &str = include_str!("failures/locked.txt");

    fn run() -> Run<'static> {
        Run {
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
    fn a_state_that_somebody_holds_is_refused_with_who_and_since_when() {
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
    fn credentials_that_may_only_release_are_told_who_applies() {
        let output = "Error: Failed to get existing workspaces: Unable to list objects in S3 bucket \
                      \"demo-terraform-111122223333\": StatusCode: 403, api error AccessDenied";
        let error = run().failure(output);
        assert_eq!(exit_code(&error), 12);
        assert!(
            error.to_string().contains("must not (terraform apply)"),
            "{error}"
        );
        assert!(hint(&error).contains("deploy --env staging"));
    }

    #[test]
    fn a_plan_that_is_behind_is_refused_and_told_how_to_be_made_anew() {
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
    fn credentials_that_expired_are_not_taken_for_ones_that_must_not() {
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
    fn a_bucket_that_was_never_made_is_told_how_to_make() {
        let output = "Error: Failed to get existing workspaces: S3 bucket \
                      \"demo-terraform-111122223333\" does not exist.";
        let error = run().failure(output);
        assert_eq!(exit_code(&error), 12);
        assert!(hint(&error).contains("infra/README.md"));
    }

    #[test]
    fn what_a_killed_run_left_is_told_how_to_be_taken_over() {
        let output = "Error: creating CloudWatch Logs Log Group (/ecs/demo-axon): operation error \
                      CloudWatch Logs: CreateLogGroup, https response error StatusCode: 400, \
                      ResourceAlreadyExistsException: The specified log group already exists";
        let error = run().failure(output);
        assert_eq!(exit_code(&error), 12);
        assert!(error.to_string().contains("(/ecs/demo-axon)"), "{error}");
        assert!(hint(&error).contains("terraform import"));
        let local = Run {
            emulated: true,
            ..run()
        };
        let error = local.failure(output);
        assert!(hint(&error).contains("cargo xtask local reset"));
    }

    #[test]
    fn any_other_error_is_told_whole_and_without_its_box() {
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
