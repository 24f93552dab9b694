//! The fields of an environment file (`infra/environments/<name>.tfvars.json`) that xtask reads.
//! Terraform reads the same file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::catalog::Service;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Environment {
    pub project: String,
    #[serde(rename = "environment")]
    pub name: String,
    pub region: String,
    pub account_id: String,
    /// Whether the local emulator stands in for AWS: it is started on demand, secrets get generated
    /// values, and nothing has to be confirmed.
    #[serde(default)]
    pub emulated: bool,
    /// The endpoint of the AWS API, if not the default of AWS.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// `X86_64` or `ARM64`. Absent in an emulated environment, which has the architecture of this
    /// machine.
    #[serde(default)]
    pub architecture: Option<String>,
    /// Variables that are added to the template of each service, or replace its own. A deploy reads
    /// them from the outputs of Terraform, lint from here.
    #[serde(default)]
    pub service_environment: BTreeMap<Service, BTreeMap<String, String>>,
    /// The same for every service.
    #[serde(default)]
    pub shared_environment: BTreeMap<String, String>,
    /// What the names of its resources begin with, if not the project's name: two environments of
    /// one account differ in it.
    #[serde(default)]
    pub name_prefix: Option<String>,
    #[serde(default)]
    pub autoscaling: Option<Value>,
}

#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct EnvironmentError {
    file: String,
    line: usize,
    column: usize,
    message: String,
}

impl Environment {
    /// Parses the text of `file`, which is only named in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, EnvironmentError> {
        serde_json::from_str(text).map_err(|error| EnvironmentError {
            file: file.to_owned(),
            line: error.line(),
            column: error.column(),
            message: error.to_string(),
        })
    }

    /// How the ARNs of its resources begin after `arn:`.
    pub fn partition(&self) -> &'static str {
        partition(&self.region)
    }

    /// Whether services are scaled once they have been released.
    pub fn is_scaled(&self) -> bool {
        self.autoscaling.is_some()
    }

    pub fn name_prefix(&self) -> &str {
        self.name_prefix.as_deref().unwrap_or(&self.project)
    }

    /// The variables that are added to the template of a service.
    pub fn settings_of(&self, service: Service) -> BTreeMap<String, String> {
        let mut settings = self.shared_environment.clone();
        settings.extend(
            self.service_environment
                .get(&service)
                .cloned()
                .unwrap_or_default(),
        );
        settings
    }

    /// The `DynamoDB` table that holds the outputs and the ledger.
    pub fn releases_table(&self) -> String {
        format!("{}-{}-releases", self.project, self.name)
    }
}

/// The partition that a Region belongs to.
pub fn partition(region: &str) -> &'static str {
    match region.split_once('-') {
        Some(("cn", _)) => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}
