//! Governance as a Lambda function, asked at its alias.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_lambda::error::SdkError;
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use aws_sdk_lambda::primitives::Blob;
use aws_smithy_types::retry::ErrorKind;
use service_kit::outbound::{CallError, Ending, Guard};
use service_kit::{Aws, AwsError, Metrics, RequestContext};

use super::{GovernanceError, TARGET};
use crate::settings::FunctionName;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct Function {
    client: Client,
    name: FunctionName,
    guard: Guard,
}

type Answer = Result<InvokeOutput, SdkError<InvokeError>>;

impl Function {
    pub(crate) async fn new(
        name: FunctionName,
        attempt_timeout: Duration,
        aws: &Aws,
        metrics: &Metrics,
    ) -> Result<Self, AwsError> {
        Ok(Self {
            client: client(Builder::from(aws.config().await?)),
            name,
            guard: Guard::new(TARGET, attempt_timeout, metrics),
        })
    }

    /// Asking changes nothing, so it may be repeated.
    pub(crate) async fn ask(
        &self,
        question: Vec<u8>,
        context: &RequestContext,
    ) -> Result<Vec<u8>, GovernanceError> {
        let attempt = |_| self.invoke(question.clone());
        let answer = self
            .guard
            .call(context.deadline(), true, attempt, ending)
            .await
            .map_err(of_call)?;
        match answer.function_error {
            Some(error) => Err(GovernanceError::Function(error)),
            None => Ok(answer.payload.map(Blob::into_inner).unwrap_or_default()),
        }
    }

    async fn invoke(&self, question: Vec<u8>) -> Answer {
        self.client
            .invoke()
            .function_name(&self.name.name)
            .qualifier(&self.name.alias)
            .payload(Blob::new(question))
            .send()
            .await
    }
}

/// A function that fails answers with status 200 and `FunctionError`.
fn ending(answer: &Answer) -> Ending {
    match answer {
        Ok(answer) if answer.function_error.is_some() => Ending::Broken,
        Ok(_) => Ending::Answered,
        Err(error) => of_error(error),
    }
}

fn of_error(error: &SdkError<InvokeError>) -> Ending {
    match error.raw_response() {
        Some(response) => {
            let retry_after = response.headers().get("retry-after");
            let seconds = retry_after.and_then(|seconds| seconds.parse().ok());
            of_status(response.status().as_u16(), seconds.map(Duration::from_secs))
        }
        None => of_failure(error),
    }
}

/// Lambda's own 500 is a passing one, other than that of a service that breaks on a request.
fn of_status(status: u16, retry_after: Option<Duration>) -> Ending {
    match status {
        429 => Ending::Throttled { retry_after },
        500.. => Ending::Unavailable { retry_after },
        _ => Ending::Answered,
    }
}

/// Without an answer.
fn of_failure(error: &SdkError<InvokeError>) -> Ending {
    match error {
        SdkError::ConstructionFailure(_) => Ending::GivenUp,
        SdkError::TimeoutError(_) => Ending::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Ending::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_io() => Ending::Lost,
        // A connection that closes before the answer: the SDK does not count it as I/O.
        SdkError::DispatchFailure(failure)
            if failure.as_other() == Some(ErrorKind::TransientError) =>
        {
            Ending::Lost
        }
        _ => Ending::Broken,
    }
}

fn of_call(error: CallError<SdkError<InvokeError>>) -> GovernanceError {
    match error {
        CallError::Deadline => GovernanceError::Deadline,
        CallError::BreakerOpen { retry_after } => GovernanceError::BreakerOpen { retry_after },
        CallError::Timeout(time) => GovernanceError::Timeout(time),
        CallError::Failed(error) => match of_error(&error) {
            Ending::Throttled { retry_after } => GovernanceError::Throttled { retry_after },
            _ => GovernanceError::Invoke(error.into()),
        },
    }
}

/// The deadline, the breaker, the time of an attempt and the retries are the guard's: the SDK's own
/// would multiply with them.
fn client(config: Builder) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .build();
    let config = config
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Client::from_conf(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambdas_own_errors_pass_and_the_callers_do_not() {
        let retry_after = Some(Duration::from_secs(2));
        for (status, ending) in [
            (400, Ending::Answered),
            (403, Ending::Answered),
            (404, Ending::Answered),
            (429, Ending::Throttled { retry_after }),
            (500, Ending::Unavailable { retry_after }),
            (502, Ending::Unavailable { retry_after }),
            (504, Ending::Unavailable { retry_after }),
        ] {
            assert_eq!(of_status(status, retry_after), ending, "{status}");
        }
    }
}
