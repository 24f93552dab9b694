//! How the SDKs reach an environment's AWS, and no other: the wall against the wrong account.

use std::error::Error;

use anyhow::{Result, anyhow};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::decide::environment::Environment;
use crate::failure::{Failure, Kind};
use crate::world::Surroundings;

/// The emulator asks nobody for a password; these are what its documentation uses.
pub const EMULATOR_KEY: &str = "test";

/// The SDKs' configuration for the local AWS: made from nothing, so that whatever the shell holds
/// cannot lead anywhere else.
pub fn emulated(environment: &Environment, endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(EMULATOR_KEY, EMULATOR_KEY, None, None, "emulator");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(environment.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .http_client(Builder::new().build_http())
        .build()
}

/// The SDKs' configuration for a real account: the shell's credentials, once it is certain that
/// they are of this account.
pub async fn real(surroundings: &Surroundings, environment: &Environment) -> Result<SdkConfig> {
    refuse_foreign_endpoints(surroundings, environment)?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(environment.region.clone()))
        .http_client(https());
    if let Some(endpoint) = &environment.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let config = loader.load().await;
    require_account(&config, environment).await?;
    Ok(config)
}

/// A client that trusts what the SDK trusts. Plain `http://` endpoints need no trust roots, and
/// reading these takes most of the time of a command that changes nothing.
fn https() -> SharedHttpClient {
    Builder::new()
        .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
        .build_https()
}

/// `AWS_ENDPOINT_URL` and its forms for single services would send our calls elsewhere.
fn refuse_foreign_endpoints(surroundings: &Surroundings, environment: &Environment) -> Result<()> {
    let foreign: Vec<&str> = surroundings
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
    let identity = asked.map_err(|error| {
        let failure = Failure::not_ready(format!(
            "no usable credentials for {}: {}",
            environment.name,
            explain(error)
        ));
        failure.hint("sign in, for example with `aws sso login`, or set AWS_PROFILE")
    })?;
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

/// What AWS's services call credentials, or the token that they were bought with, whose time is
/// over: the JSON protocols, the query protocol, EC2.
const EXPIRED: [&str; 3] = ["ExpiredTokenException", "ExpiredToken", "RequestExpired"];

/// An SDK error as one line, with the remedy where credentials expired.
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
    if EXPIRED.iter().any(|code| text.contains(code)) {
        return Failure::new(Kind::Expired, text)
            .hint("sign in again; in a pipeline, run the job again")
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
mod tests {
    use aws_sdk_ssm::operation::get_parameter::GetParameterError;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;
    use crate::failure;

    fn staging(endpoint: Option<&str>) -> Environment {
        Environment {
            project: "demo".into(),
            name: "staging".into(),
            region: "us-east-1".into(),
            account_id: "111122223333".into(),
            emulated: false,
            endpoint: endpoint.map(Into::into),
            architecture: None,
            service_environment: std::collections::BTreeMap::new(),
        }
    }

    fn shell(name: &str, value: &str) -> Surroundings {
        Surroundings {
            root: ".".into(),
            variables: [(name.into(), value.into())].into(),
        }
    }

    #[test]
    fn an_endpoint_of_another_place_is_refused_before_anything_else() {
        let shell = shell("AWS_ENDPOINT_URL_ECS", "https://elsewhere.invalid");
        let error = refuse_foreign_endpoints(&shell, &staging(None)).unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        assert!(
            error.to_string().contains("AWS_ENDPOINT_URL_ECS"),
            "{error}"
        );
    }

    #[test]
    fn the_endpoint_that_the_file_names_is_allowed() {
        let shell = shell("AWS_ENDPOINT_URL", "https://proxy.invalid");
        assert!(refuse_foreign_endpoints(&shell, &staging(Some("https://proxy.invalid"))).is_ok());
    }

    #[test]
    fn credentials_that_expired_are_told_with_the_remedy() {
        let of_code = |code: &str| {
            let metadata = ErrorMetadata::builder().code(code).message("too late");
            let error = GetParameterError::generic(metadata.build());
            explain(SdkError::service_error(error, ()))
        };
        for code in ["ExpiredTokenException", "ExpiredToken", "RequestExpired"] {
            let error = of_code(code);
            let failure = failure::of(&error).unwrap();
            assert_eq!(failure.kind, Kind::Expired);
            assert_eq!(error.to_string(), format!("{code}: too late"));
            assert!(failure.hint.as_ref().unwrap().starts_with("sign in again"));
        }
        // A web identity token is exchanged on the way to the service: no service answers then.
        let source = Box::<dyn Error + Send + Sync>::from("ExpiredTokenException: Token expired");
        let exchange: SdkError<GetParameterError, ()> = SdkError::construction_failure(source);
        assert_eq!(failure::exit_code(&explain(exchange)), 12);
        assert!(failure::of(&of_code("AccessDenied")).is_none());
    }

    #[test]
    fn the_local_aws_is_reached_with_nothing_of_the_shell() {
        let config = emulated(&staging(None), "http://127.0.0.1:4577");
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:4577"));
        assert_eq!(config.region().map(AsRef::as_ref), Some("us-east-1"));
    }
}
