//! Whose AWS is reached, how long it is waited for, and when it is the credentials that are missing.

use std::collections::BTreeMap;

use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_ssm::operation::get_parameter::GetParameterError;
use aws_smithy_types::error::ErrorMetadata;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;
use crate::adapters::registry::Ecr;
use crate::adapters::{balancer, cluster, functions, ledger, logs, secrets, stand_in};
use crate::catalog::{Function, Service};
use crate::decide::artifact::image::Key;
use crate::decide::outputs;
use crate::failure;
use crate::ports::{Balancer, Cluster, Functions, Ledger, Logs, Registry, Secrets};

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
    for code in EXPIRED {
        let error = of_code(code);
        let failure = failure::of(&error).unwrap();
        assert_eq!(failure.kind, Kind::Expired);
        assert_eq!(error.to_string(), format!("{code}: too late"));
        assert!(failure.hint.as_ref().unwrap().contains("aws sso login"));
    }
    assert!(failure::of(&of_code("AccessDenied")).is_none());
    // What a parameter holds is no reason.
    let metadata = ErrorMetadata::builder().code("ValidationException");
    let error = GetParameterError::generic(metadata.message("ExpiredToken").build());
    assert!(failure::of(&explain(SdkError::service_error(error, ()))).is_none());
}

#[test]
fn the_local_aws_is_reached_with_nothing_of_the_shell() {
    let config = emulated(&staging(None), "http://127.0.0.1:4577");
    assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:4577"));
    assert_eq!(config.region().map(AsRef::as_ref), Some("us-east-1"));
}

/// How credentials cannot be had.
#[derive(Debug, Clone, Copy)]
enum Without {
    /// As aws-config says it of an SSO session; AWS was not asked.
    Session,
    /// A program that gives credentials has failed, or a profile is wrong.
    Provider,
    Profile,
    /// None are anywhere.
    Any,
    /// A machine's own service does not answer.
    Metadata,
}

impl ProvideCredentials for Without {
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

const ALL_WAYS: [Without; 5] = [
    Without::Session,
    Without::Provider,
    Without::Profile,
    Without::Any,
    Without::Metadata,
];

/// Nobody is ever asked at this address.
async fn configured(without: Without) -> SdkConfig {
    let environment = staging(Some("http://127.0.0.1:1"));
    let loader = loader(&environment, &Transport::local()).credentials_provider(without);
    load(loader, &environment).await
}

#[tokio::test]
async fn credentials_that_cannot_be_had_in_the_middle_have_expired() {
    let (outputs, _) = outputs::parse(outputs::testing::LOCAL).unwrap();
    let function = outputs.function(Function::Governance);
    let report = stand_in::report();
    for without in ALL_WAYS {
        let config = configured(without).await;
        let ecr = Ecr::new(&config, &Transport::local(), &report);
        let errors = [
            cluster::Ecs::new(&config)
                .describe_service(&outputs, Service::Axon)
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
                .describe_target_health(&outputs, Service::Axon)
                .await
                .map(drop),
            ecr.digest(&outputs, Service::Axon, &Key("5".repeat(64)))
                .await
                .map(drop),
            ledger::Ssm::new(&config, &staging(None))
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
async fn credentials_that_cannot_be_had_at_the_beginning_are_asked_for() {
    for without in ALL_WAYS {
        let config = configured(without).await;
        let error = require_account(&config, &staging(None)).await.unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        let told = error.to_string();
        assert!(told.contains("no usable credentials for staging"), "{told}");
        let hint = failure::of(&error).unwrap().hint.clone().unwrap();
        assert!(hint.contains("aws sso login"), "{hint}");
    }
}

/// Takes connections and never says a word.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

#[tokio::test(start_paused = true)]
async fn an_aws_that_never_answers_is_not_waited_for_for_ever() {
    let (_listener, endpoint) = silent().await;
    let environment = staging(Some(&endpoint));
    let credentials = Credentials::new("key", "secret", None, None, "test");
    let loader = loader(&environment, &Transport::local()).credentials_provider(credentials);
    let real = load(loader, &environment).await;
    let local = emulated(&environment, &endpoint);
    for (config, limit) in [(&real, AWS_LIMITS.1), (&local, EMULATOR_LIMITS.1)] {
        let began = Instant::now();
        let ssm = ledger::Ssm::new(config, &environment);
        let error = ssm.newest().await.unwrap_err();
        assert!(began.elapsed() <= limit, "{:?}", began.elapsed());
        assert!(failure::of(&error).is_none(), "{error:#}");
        assert!(format!("{error:#}").contains("timeout"), "{error:#}");
    }
    let error = require_account(&real, &environment).await.unwrap_err();
    assert_eq!(failure::exit_code(&error), 12);
    assert!(error.to_string().contains("AWS does not answer"), "{error}");
}
