//! The real program with a stub of Secrets Manager and KMS.

use std::time::Duration;

use serde_json::Value;

use crate::process::ask;
use kit_testing::process::{ServiceProcess, run};
use kit_testing::secrets_manager::{SecretsManagerStub, ciphertext};

const AXON: &str = env!("CARGO_BIN_EXE_axon");
const ARN: &str = "arn:aws:secretsmanager:eu-central-1:1:secret:demo/axon-AbCdEf";

/// A document with a pair and `more` fields. Each value can be searched for in the log.
fn document(more: &str) -> String {
    format!(r#"{{"sigv4_access_key_id": "AKXTHIDDEN", "sigv4_secret_access_key": "hidden"{more}}}"#)
}

fn start(manager: &SecretsManagerStub, more: &[(&str, &str)]) -> ServiceProcess {
    let variables = variables(manager);
    let mut all: Vec<(&str, &str)> = variables.iter().map(|(name, it)| (*name, &**it)).collect();
    all.extend(more);
    ServiceProcess::start(AXON, &all)
}

fn variables(manager: &SecretsManagerStub) -> Vec<(&'static str, String)> {
    let mut variables = manager.variables();
    for (name, value) in [
        ("PORT", "0"),
        ("DRAIN_MS", "0"),
        ("AXON_SECRET_ARN", ARN),
        ("SIGNATURES", "required"),
        ("SECRET_REFRESH_MS", "100"),
    ] {
        variables.push((name, value.to_owned()));
    }
    variables
}

/// Exit code and log of an axon that cannot start.
async fn refused(
    manager: &SecretsManagerStub,
    more: &[(&'static str, &str)],
) -> (Option<i32>, Vec<Value>) {
    let mut variables = variables(manager);
    variables.extend(
        more.iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    let ended = tokio::task::spawn_blocking(move || {
        let all: Vec<(&str, &str)> = variables.iter().map(|(name, it)| (*name, &**it)).collect();
        run(AXON, &[], &all)
    });
    let output = ended.await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (output.status.code(), lines.collect())
}

fn shows_nothing(log: &[Value]) {
    for line in log {
        assert!(
            !line.to_string().to_lowercase().contains("hidden"),
            "{line}"
        );
    }
}

fn count(log: &[Value], message: &str) -> usize {
    log.iter().filter(|line| line["message"] == message).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_loaded_before_the_port_is_bound_and_refreshed() {
    let manager = SecretsManagerStub::start().await;
    manager.put(ARN, &document(""));
    let mut axon = start(&manager, &[]);
    assert_eq!(
        axon.wait_for("the secret is loaded")["version_id"],
        "version-1"
    );
    axon.address();
    manager.put(ARN, &document(r#", "api_key": "hidden""#));
    assert_eq!(
        axon.wait_for("the secret has changed")["version_id"],
        "version-2"
    );
    axon.terminate();
    let (code, log) = axon.end();
    assert_eq!(code, Some(0));
    assert_eq!(count(&log, "the secret has changed"), 1);
    shows_nothing(&log);
    let asked = manager.requests_of("GetSecretValue");
    assert!(asked.len() >= 2 && asked.iter().all(|it| it["SecretId"] == ARN));
    assert!(manager.requests_of("Decrypt").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_line_has_the_outcome_of_the_signature() {
    let manager = SecretsManagerStub::start().await;
    manager.put(ARN, &document(""));
    let mut axon = start(&manager, &[]);
    let answer = ask(axon.address(), "/reason");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    axon.terminate();
    let (_, log) = axon.end();
    let access = log.iter().find(|line| line["route"] == "/reason").unwrap();
    assert_eq!(
        (&access["status"], &access["signature"]),
        (&401.into(), &"missing".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_refresh_is_logged_once_and_so_is_its_recovery() {
    let manager = SecretsManagerStub::start().await;
    manager.put(ARN, &document(""));
    let mut axon = start(&manager, &[]);
    axon.address();
    let warning = "the secret cannot be read again: the last good one is kept";
    for (broken, cause) in [
        (None, "ResourceNotFoundException"),
        // Half of a pair.
        (
            Some(r#"{"sigv4_access_key_id": "AKXTHIDDEN"}"#),
            "without sigv4_secret_access_key",
        ),
    ] {
        match broken {
            None => manager.remove(ARN),
            Some(text) => manager.put(ARN, text),
        }
        let error = axon.wait_for(warning)["error"].as_str().unwrap().to_owned();
        assert!(error.contains(ARN) && error.contains(cause), "{error}");
        let asked = manager.requests_of("GetSecretValue").len();
        while manager.requests_of("GetSecretValue").len() < asked + 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        manager.put(ARN, &document(""));
        axon.wait_for("the secret can be read again");
    }
    axon.terminate();
    let (code, log) = axon.end();
    assert_eq!(code, Some(0));
    assert_eq!(count(&log, warning), 2);
    shows_nothing(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_secret_it_ends_with_one_line() {
    let manager = SecretsManagerStub::start().await;
    let (code, log) = refused(&manager, &[]).await;
    assert_eq!((code, log.len()), (Some(1), 1), "{log:?}");
    let error = log[0]["error"].as_str().unwrap();
    assert!(
        error.starts_with(&format!("the secret {ARN} cannot be read: ")),
        "{error}"
    );
    assert!(error.contains("ResourceNotFoundException"), "{error}");
    assert_eq!(manager.requests_of("GetSecretValue").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_of_the_secret_are_logged_at_once() {
    let manager = SecretsManagerStub::start().await;
    manager.put(ARN, r#"{"api_key": ["hidden"], "database_url": ""}"#);
    let (code, log) = refused(&manager, &[]).await;
    assert_eq!((code, log.len()), (Some(1), 1), "{log:?}");
    let expected = format!(
        "the secret {ARN} cannot be used: database_url is empty; api_key is not a string; \
         it lacks sigv4_access_key_id and sigv4_secret_access_key, and signatures are required"
    );
    assert_eq!(log[0]["error"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn ciphertext_is_decrypted_under_the_services_name() {
    let manager = SecretsManagerStub::start().await;
    let key = ciphertext("axon", "hidden");
    let text = r#"{"sigv4_access_key_id": "AKXTHIDDEN", "sigv4_secret_access_key": "KEY"}"#;
    manager.put(ARN, &text.replace("KEY", &key));
    let mut axon = start(&manager, &[("DATABASE_URL", &ciphertext("axon", "hidden"))]);
    axon.address();
    axon.terminate();
    let (code, log) = axon.end();
    assert_eq!(code, Some(0));
    shows_nothing(&log);
    assert!(manager.requests_of("Decrypt").len() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ciphertext_of_another_service_is_refused() {
    let manager = SecretsManagerStub::start().await;
    manager.put(ARN, &document(r#", "api_key": "kms:not base64!""#));
    let theirs = ciphertext("orbit", "hidden");
    let (code, log) = refused(&manager, &[("DATABASE_URL", &theirs)]).await;
    assert_eq!((code, log.len()), (Some(1), 1), "{log:?}");
    let error = log[0]["error"].as_str().unwrap();
    let expected = "values cannot be decrypted under the encryption context {\"service\": \"axon\"}: \
                    api_key: not base64 after kms:; database_url: ";
    assert!(error.starts_with(expected), "{error}");
    assert!(error.contains("InvalidCiphertextException"), "{error}");
    shows_nothing(&log);
    assert!(!log[0].to_string().contains(&theirs));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_wait_for_a_secret() {
    let silent = kit_testing::stub::StubServer::start(|_| None).await;
    let manager = SecretsManagerStub::start().await;
    let endpoint = silent.url("");
    let axon = start(&manager, &[("AWS_ENDPOINT_URL", &endpoint)]);
    while silent.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    axon.terminate();
    assert_eq!(axon.end().0, Some(0));
}
