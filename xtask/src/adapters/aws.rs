//! How the SDKs reach an environment's AWS, and no other: the wall against the wrong account.

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

use super::transport::{CONNECT_LIMIT, Transport};
use crate::decide::environment::Environment;
use crate::failure::{self, Failure, Kind};
use crate::ports::ProcessEnv;

/// The emulator asks nobody for a password; these are what its documentation uses.
pub const EMULATOR_KEY: &str = "test";

/// One answer of AWS takes milliseconds. The SDK itself sets a limit to connecting alone: without
/// these, a connection that nobody closes is waited for without an end.
const AWS_LIMITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(40));
/// The emulator works within a request, and on a machine that may be compiling.
const EMULATOR_LIMITS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(70));

/// The limits of a call: for one attempt, and for all of them with their pauses.
pub fn limits((attempt, all): (Duration, Duration)) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_LIMIT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(all)
        .build()
}

/// The SDKs' configuration for the local AWS: made from nothing, so that whatever the shell holds
/// cannot lead anywhere else.
pub fn emulated(environment: &Environment, endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(EMULATOR_KEY, EMULATOR_KEY, None, None, "emulator");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(environment.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .timeout_config(limits(EMULATOR_LIMITS))
        .http_client(Transport::local().sdk())
        .build()
}

/// The SDKs' configuration for a real account: the shell's credentials, once it is certain that
/// they are of this account.
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

/// A profile, too, can name endpoints, for all services or for one. They are left out: our calls
/// go to AWS, or to where the environment's file says.
async fn load(loader: ConfigLoader, environment: &Environment) -> SdkConfig {
    let mut config = loader.load().await.into_builder();
    config.set_endpoint_url(environment.endpoint.clone());
    config.set_service_config(None::<Nothing>);
    config.build()
}

/// Only names a type: no settings of single services.
#[derive(Debug)]
enum Nothing {}

impl LoadServiceConfig for Nothing {
    fn load_config(&self, _: aws_types::service_config::ServiceConfigKey<'_>) -> Option<String> {
        match *self {}
    }
}

/// `AWS_ENDPOINT_URL` and its forms for single services would send our calls elsewhere.
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
        "{} in the shell would send the calls for {} elsewhere",
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
        "the credentials are of account {account}, but {} is account {}",
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

/// AWS refuses the credentials, there are none, or there is no way to AWS.
fn no_identity<E, R>(environment: &Environment, error: SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let name = &environment.name;
    let was_heard = error.as_service_error().is_some();
    let why = explain(error);
    if was_heard || failure::is(&why, Kind::Expired) {
        Failure::not_ready(format!("no usable credentials for {name}: {why}"))
            .hint("sign in, for example with `aws sso login`, or set AWS_PROFILE")
    } else {
        Failure::not_ready(format!("AWS does not answer for {name}: {why}")).hint(
            "check the network; a company's proxy is named by HTTPS_PROXY and NO_PROXY, \
             its authority by AWS_CA_BUNDLE or SSL_CERT_FILE",
        )
    }
}

/// What AWS's services call credentials, or the token that they were bought with, whose time is
/// over (the JSON protocols, the query protocol, EC2), and those that are not valid any more, as
/// of a session that was ended.
const EXPIRED: [&str; 5] = [
    "ExpiredTokenException",
    "ExpiredToken",
    "RequestExpired",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
];

/// Whether it is the credentials that are missing. Where they could not be had nobody was asked,
/// and there is no code: an SSO session that is over, a program or a machine that gives none.
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

/// An SDK error as one line, with the remedy where it is the credentials that are missing.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
pub fn explain<E, R>(error: SdkError<E, R>) -> anyhow::Error
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let text = told(&error);
    if lacks_credentials(&error) {
        return Failure::new(Kind::Expired, text)
            .hint(
                "sign in again, for example with `aws sso login`; in a pipeline, run the job again",
            )
            .into();
    }
    anyhow!(text)
}

/// The service's code and message, or the chain of what went wrong on the way there. The SDK's
/// own display says only "service error".
fn told<E, R>(error: &SdkError<E, R>) -> String
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
