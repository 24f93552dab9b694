//! An environment file (`infra/environments/<name>.tfvars.json`) as far as xtask reads it.
//! Terraform reads the same file and owns every other field.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::catalog::Service;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Environment {
    pub project: String,
    #[serde(rename = "environment")]
    pub name: String,
    pub region: String,
    pub account_id: String,
    /// AWS is played by the local emulator: it is brought up on demand, its secrets are made up,
    /// and nothing has to be confirmed.
    #[serde(default)]
    pub emulated: bool,
    /// Where the AWS API answers, if not at AWS's own addresses.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// As ECS spells it. Absent where the environment is emulated: there it is this machine's.
    #[serde(default)]
    pub architecture: Option<String>,
    /// For each service, settings that its template does not have, or has with another value.
    /// Deploy takes them from the outputs; lint, which has none, from here.
    #[serde(default)]
    pub service_environment: BTreeMap<Service, BTreeMap<String, String>>,
}

#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Malformed {
    file: String,
    line: usize,
    column: usize,
    message: String,
}

impl Environment {
    /// Reads the text of `file`; the name is for the error alone.
    pub fn parse(file: &str, text: &str) -> Result<Self, Malformed> {
        serde_json::from_str(text).map_err(|error| Malformed {
            file: file.to_owned(),
            line: error.line(),
            column: error.column(),
            message: error.to_string(),
        })
    }

    /// The SSM parameter that holds the outputs.
    pub fn outputs_parameter(&self) -> String {
        format!("/{}/{}/outputs", self.project, self.name)
    }

    /// The folder of SSM parameters that is the ledger.
    pub fn ledger_path(&self) -> String {
        format!("/{}/{}/releases", self.project, self.name)
    }
}
