//! Endpoints, time limits, and errors about credentials.

use std::collections::BTreeMap;

use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_dynamodb::operation::get_item::GetItemError;
use aws_smithy_types::error::ErrorMetadata;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;
use crate::adapters::registry::Ecr;
use crate::adapters::{balancer, cluster, fake_aws, functions, ledger, logs, secrets};
use crate::catalog::testing::{AXON, GOVERNANCE};
use crate::decide::artifact::types::Key;
use crate::decide::outputs;
use crate::failure;
use crate::ports::{Balancer, Cluster, Functions, Ledger, Logs, Registry, SecretStore};

fn staging(endpoint: Option<&str>) -> Environment {
    Environment {
        project: "demo".into(),
        name: "staging".into(),
        region: "us-east-1".into(),
        account_id: "111122223333".into(),
        emulated: false,
        endpoint: endpoint.map(Into::into),
        architecture: None,
        service_environment: BTreeMap::new(),
        shared_environment: BTreeMap::new(),
        name_prefix: None,
        autoscaling: None,
    }
}

fn shell(name: &str, value: &str) -> ProcessEnv {
    ProcessEnv {
        root: ".".into(),
        here: ".".into(),
        variables: [(name.into(), value.into())].into(),
    }
}

#[test]
fn a_foreign_endpoint_is_rejected() {
    let shell = shell("AWS_ENDPOINT_URL_ECS", "https://elsewhere.invalid");
    let error = refuse_foreign_endpoints(&shell, &staging(None)).unwrap_err();
    assert_eq!(failure::exit_code(&error), 12);
    assert!(
        error.to_string().contains("AWS_ENDPOINT_URL_ECS"),
        "{error}"
    );
}

#[test]
fn the_endpoint_of_the_file_is_allowed() {
    let shell = shell("AWS_ENDPOINT_URL", "https://proxy.invalid");
    assert!(refuse_foreign_endpoints(&shell, &staging(Some("https://proxy.invalid"))).is_ok());
}

#[test]
fn expired_credentials_and_missing_permissions_are_kinds_of_failure() {
    let of_code = |code: &str| {
        let metadata = ErrorMetadata::builder().code(code).message("too late");
        let error = GetItemError::generic(metadata.build());
        explain(SdkError::service_error(error, ()))
    };
    for code in EXPIRED {
        let error = of_code(code);
        let failure = failure::of(&error).unwrap();
        assert_eq!(failure.kind, Kind::Expired);
        assert_eq!(error.to_string(), format!("{code}: too late"));
        assert!(failure.hint.as_ref().unwrap().contains("aws sso login"));
    }
    for code in DENIED {
        let error = of_code(code);
        assert!(failure::is(&error, Kind::Denied));
        assert_eq!(error.to_string(), format!("{code}: too late"));
    }
    assert!(failure::is(
        &of_code("ThrottlingException"),
        Kind::Unanswered
    ));
    let timeout = SdkError::<GetItemError, ()>::timeout_error("10 s");
    assert!(failure::is(&explain(timeout), Kind::Unanswered));
    // Only the code counts, not the message.
    let metadata = ErrorMetadata::builder().code("ValidationException");
    let error = GetItemError::generic(metadata.message("ExpiredToken").build());
    assert!(failure::of(&explain(SdkError::service_error(error, ()))).is_none());
}

#[test]
fn the_local_aws_uses_nothing_of_the_shell() {
    let config = emulated(
        &staging(None),
        "http://127.0.0.1:4577",
        &AccessKey::of_none(),
        &Transport::local(),
    );
    assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:4577"));
    assert_eq!(config.region().map(AsRef::as_ref), Some("us-east-1"));
}

/// A reason why no credentials can be loaded.
#[derive(Debug, Clone, Copy)]
enum MissingCredentials {
    /// The error of aws-config for an SSO session; no request is sent.
    Session,
    /// A credential process failed, or a profile is invalid.
    Provider,
    Profile,
    /// No provider has credentials.
    Any,
    /// The instance metadata service does not answer.
    Metadata,
}

impl ProvideCredentials for MissingCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(match self {
            Self::Session => CredentialsError::provider_error(TokenError::not_loaded(
                "the SSO token has expired and cannot be refreshed",
            )),
            Self::Provider => CredentialsError::provider_error("credential process exited with 1"),
            Self::Profile => CredentialsError::invalid_configuration("profile loop"),
            Self::Any => CredentialsError::not_loaded("no providers in chain"),
            Self::Metadata => CredentialsError::provider_timed_out(Duration::from_secs(1)),
        }))
    }
}

const ALL_REASONS: [MissingCredentials; 5] = [
    MissingCredentials::Session,
    MissingCredentials::Provider,
    MissingCredentials::Profile,
    MissingCredentials::Any,
    MissingCredentials::Metadata,
];

/// No request is ever sent to this address.
async fn configured(without: MissingCredentials) -> SdkConfig {
    let environment = staging(Some("http://127.0.0.1:1"));
    let loader = loader(&environment, &Transport::local()).credentials_provider(without);
    load(loader, &environment).await
}

#[tokio::test]
async fn missing_credentials_during_a_command_count_as_expired() {
    let (outputs, _) = outputs::parse(outputs::testing::LOCAL).unwrap();
    let function = outputs.function(GOVERNANCE);
    let report = fake_aws::report();
    for without in ALL_REASONS {
        let config = configured(without).await;
        let ecr = Ecr::new(&config, &Transport::local(), &report);
        let errors = [
            cluster::Ecs::new(&config)
                .describe_service(&outputs, AXON)
                .await
                .map(drop),
            cluster::Ecs::new(&config)
                .describe_task_definition(&"demo-axon:1".parse().unwrap())
                .await
                .map(drop),
            functions::Lambda::new(&config)
                .get_alias(function)
                .await
                .map(drop),
            functions::Lambda::new(&config)
                .update_alias(function, &"2".parse().unwrap(), "x")
                .await,
            balancer::Elb::new(&config)
                .describe_target_health(&outputs, AXON)
                .await
                .map(drop),
            ecr.digest(&outputs, AXON, &Key("5".repeat(64)))
                .await
                .map(drop),
            ledger::ReleasesTable::new(&config, &staging(None))
                .newest()
                .await
                .map(drop),
            logs::CloudWatch::new(&config)
                .tail("group", "stream", 8)
                .await
                .map(drop),
            secrets::SecretsManager::new(&config)
                .get_secret_value("arn")
                .await
                .map(drop),
        ];
        for error in errors {
            let error = error.unwrap_err();
            assert!(failure::is(&error, Kind::Expired), "{without:?}: {error:#}");
        }
    }
}

#[tokio::test]
async fn missing_credentials_at_the_start_are_not_ready() {
    for without in ALL_REASONS {
        let config = configured(without).await;
        let error = require_account(&config, &staging(None)).await.unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        let text = error.to_string();
        assert!(text.contains("no usable credentials for staging"), "{text}");
        let hint = failure::of(&error).unwrap().hint.clone().unwrap();
        assert!(hint.contains("aws sso login"), "{hint}");
    }
}

/// A server that accepts connections and never answers.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_times_out() {
    let (_listener, endpoint) = silent().await;
    let environment = staging(Some(&endpoint));
    let credentials = Credentials::new("key", "secret", None, None, "test");
    let loader = loader(&environment, &Transport::local()).credentials_provider(credentials);
    let real = load(loader, &environment).await;
    let key = AccessKey::of_none();
    let local = emulated(&environment, &endpoint, &key, &Transport::local());
    for (config, limit) in [(&real, AWS_LIMITS.1), (&local, EMULATOR_LIMITS.1)] {
        let began = Instant::now();
        let table = ledger::ReleasesTable::new(config, &environment);
        let error = table.newest().await.unwrap_err();
        assert!(began.elapsed() <= limit, "{:?}", began.elapsed());
        assert!(failure::is(&error, Kind::Unanswered), "{error:#}");
        assert!(format!("{error:#}").contains("timeout"), "{error:#}");
    }
    let error = require_account(&real, &environment).await.unwrap_err();
    assert_eq!(failure::exit_code(&error), 12);
    assert!(error.to_string().contains("AWS does not answer"), "{error}");
}
