//! Governance as a Lambda function, asked at its alias.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::Builder;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::primitives::Blob;
use service_kit::{Aws, AwsError};

use super::{GovernanceError, TIMEOUT_MS};
use crate::settings::FunctionName;

#[derive(Clone)]
pub(crate) struct Function {
    client: Client,
    name: FunctionName,
}

impl Function {
    pub(crate) async fn new(name: FunctionName, aws: &Aws) -> Result<Self, AwsError> {
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(Duration::from_millis(TIMEOUT_MS))
            .build();
        let config = Builder::from(aws.config().await?)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .build();
        Ok(Self {
            client: Client::from_conf(config),
            name,
        })
    }

    /// A function that fails answers with status 200 and `FunctionError`.
    pub(crate) async fn ask(&self, question: Vec<u8>) -> Result<Vec<u8>, GovernanceError> {
        let answer = self
            .client
            .invoke()
            .function_name(&self.name.name)
            .qualifier(&self.name.alias)
            .payload(Blob::new(question))
            .send()
            .await
            .map_err(|error| GovernanceError::Invoke(error.into()))?;
        match answer.function_error {
            Some(error) => Err(GovernanceError::Function(error)),
            None => Ok(answer.payload.map(Blob::into_inner).unwrap_or_default()),
        }
    }
}
