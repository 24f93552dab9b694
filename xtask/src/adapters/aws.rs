//! The SDK configuration of an environment. It makes sure that no other account is reached.

use std::error::Error;
use std::time::Duration;

use anyhow::{Result, anyhow};
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::{CredentialsError, TokenError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::service_config::LoadServiceConfig;

use super::emulator::AccessKey;
use super::transport::{CONNECT_LIMIT, Transport};
use crate::decide::environment::Environment;
use crate::failure::{self, Failure, Kind};
use crate::ports::ProcessEnv;

/// The limits of one attempt and of a call, whose responses usually take milliseconds. The SDK
/// limits only the connect time by default, so a hanging connection would be waited for forever.
const AWS_LIMITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(40));
/// Longer, because the emulator does the work inside of a request, on a machine that may be
/// compiling.
const EMULATOR_LIMITS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(70));

/// Limits one attempt, and all attempts of a call together with their pauses.
pub fn limits((attempt, all): (Duration, Duration)) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_LIMIT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(all)
        .build()
}

/// The configuration for the local AWS. It uses nothing of the shell, so it cannot reach a real
/// account.
pub fn emulated(
    environment: &Environment,
    endpoint: &str,
    key: &AccessKey,
    transport: &Transport,
) -> SdkConfig {
    let (id, secret) = (&key.access_key_id, &key.secret_access_key);
    let credentials = Credentials::new(id, secret, None, None, "emulator");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(environment.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .timeout_config(limits(EMULATOR_LIMITS))
        .http_client(transport.sdk())
        .build()
}

/// The configuration for a real account: the credentials of the shell, after a check that they
/// belong to the account of the environment.
pub async fn real(
    process_env: &ProcessEnv,
    environment: &Environment,
    transport: &Transport,
) -> Result<SdkConfig> {
    refuse_foreign_endpoints(process_env, environment)?;
    let config = load(loader(environment, transport), environment).await;
    require_account(&config, environment).await?;
    Ok(config)
}

fn loader(environment: &Environment, transport: &Transport) -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(environment.region.clone()))
        .timeout_config(limits(AWS_LIMITS))
        .http_client(transport.sdk())
}

/// Loads the configuration without the endpoints of a profile, for all services or for one. Calls
/// go to AWS, or to the endpoint of the environment file.
async fn load(loader: ConfigLoader, environment: &Environment) -> SdkConfig {
    let mut config = loader.load().await.into_builder();
    config.set_endpoint_url(environment.endpoint.clone());
    config.set_service_config(None::<NoServiceConfig>);
    config.build()
}

/// A type for `None`: no settings of single services.
#[derive(Debug)]
enum NoServiceConfig {}

impl LoadServiceConfig for NoServiceConfig {
    fn load_config(&self, _: aws_types::service_config::ServiceConfigKey<'_>) -> Option<String> {
        match *self {}
    }
}

/// Rejects `AWS_ENDPOINT_URL` and its variants for single services, which would redirect calls.
fn refuse_foreign_endpoints(process_env: &ProcessEnv, environment: &Environment) -> Result<()> {
    let foreign: Vec<&str> = process_env
        .variables
        .iter()
        .filter(|(name, _)| name.starts_with("AWS_ENDPOINT_URL"))
        .filter(|(_, value)| !value.is_empty() && Some(*value) != environment.endpoint.as_ref())
        .map(|(name, _)| name.as_str())
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} in the shell would redirect the calls for {}",
        foreign.join(", "),
        environment.name
    );
    Err(Failure::not_ready(message)
        .hint(format!("unset {}", foreign.join(" ")))
        .into())
}

async fn require_account(config: &SdkConfig, environment: &Environment) -> Result<()> {
    let asked = aws_sdk_sts::Client::new(config)
        .get_caller_identity()
        .send()
        .await;
    let identity = asked.map_err(|error| no_identity(environment, error))?;
    let account = identity.account().unwrap_or("unknown");
    if account == environment.account_id {
        return Ok(());
    }
    let message = format!(
        "the credentials belong to account {account}, but {} is account {}",
        environment.name, environment.account_id
    );
    let file = format!("infra/environments/{}.tfvars.json", environment.name);
    Err(Failure::not_ready(message)
        .hint(format!(
            "use credentials of {}, or correct account_id in {file}",
            environment.account_id
        ))
        .into())
}

/// The failure if AWS rejects the credentials, there are none, or AWS cannot be reached.
fn no_identity<E, R>(environment: &Environment, error: SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let name = &environment.name;
    let has_response = error.as_service_error().is_some();
    let why = explain(error);
    if has_response || failure::is(&why, Kind::Expired) {
        Failure::not_ready(format!("no usable credentials for {name}: {why}"))
            .hint("sign in, for example with `aws sso login`, or set AWS_PROFILE")
    } else {
        Failure::not_ready(format!("AWS does not answer for {name}: {why}")).hint(
            "check the network; configure a company proxy with HTTPS_PROXY and NO_PROXY, \
             and its certificate authority with AWS_CA_BUNDLE or SSL_CERT_FILE",
        )
    }
}

/// Error codes for expired credentials or tokens (the JSON protocols, the query protocol, EC2), and
/// for credentials that are no longer valid, such as those of a session that was ended.
const EXPIRED: [&str; 5] = [
    "ExpiredTokenException",
    "ExpiredToken",
    "RequestExpired",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
];

/// Error codes for a missing permission (the JSON protocols, the query protocol).
const DENIED: [&str; 2] = ["AccessDeniedException", "AccessDenied"];

/// Error codes for a call that may be made again: too many calls, or an error of AWS itself.
const TRANSIENT: [&str; 17] = [
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServiceError",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ServerException",
    "ServiceException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// Whether the error is about credentials. If none could be loaded (an expired SSO session, a
/// failing credential process or instance metadata service), no request was sent, so there is no
/// error code.
fn lacks_credentials<E, R>(error: &SdkError<E, R>) -> bool
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    if let Some(service) = error.as_service_error() {
        return service.code().is_some_and(|code| EXPIRED.contains(&code));
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<CredentialsError>() || error.is::<TokenError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An SDK error as one line, with a hint if it is about credentials.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that `map_err` needs"
)]
pub fn explain<E, R>(error: SdkError<E, R>) -> anyhow::Error
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let text = describe(&error);
    if lacks_credentials(&error) {
        return Failure::new(Kind::Expired, text)
            .hint(
                "sign in again, for example with `aws sso login`; in a pipeline, run the job again",
            )
            .into();
    }
    if DENIED.iter().any(|code| is_code(&error, code)) {
        return Failure::new(Kind::Denied, text).into();
    }
    let was_sent = !matches!(error, SdkError::ConstructionFailure(_));
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code);
    if was_sent && code.is_none_or(|code| TRANSIENT.contains(&code)) {
        return Failure::new(Kind::Unanswered, text).into();
    }
    anyhow!(text)
}

/// The code and message of the service, or the chain of causes of a request that failed before. The
/// `Display` of the SDK has neither.
fn describe<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    if let Some(service) = error.as_service_error() {
        let code = service.code().unwrap_or("error without a code");
        let message = service.message().unwrap_or("no message");
        return format!("{code}: {message}");
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Whether the service answered with this error code.
pub fn is_code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, code: &str) -> bool {
    error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
        == Some(code)
}

#[cfg(test)]
mod tests;
