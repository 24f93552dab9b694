//! Behind a proxy: the real clients, and the real program.

use std::collections::BTreeMap;

use anyhow::Result;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use xtask::adapters::probe::Http;
use xtask::adapters::transport::Transport;
use xtask::failure;
use xtask::ports::{Probe, ProbeAnswer, ProbeRequest, ProcessEnv};

use super::company::{Company, write};
use crate::cli;

/// `ada:s@cret`
const AUTHORIZATION: &str = "Basic YWRhOnNAY3JldA==";

async fn probe(shell: &ProcessEnv, url: &str) -> Result<ProbeAnswer> {
    let request = ProbeRequest {
        method: "GET",
        url,
        headers: &BTreeMap::new(),
        body: "",
    };
    Http::new(&Transport::real(shell)?).send(request).await
}

fn through(line: &str) -> (String, Option<String>) {
    (line.to_owned(), Some(AUTHORIZATION.to_owned()))
}

#[tokio::test]
async fn a_probe_goes_through_the_proxy_with_its_password() {
    let company = Company::new();
    let shell = company.shell(&[("HTTPS_PROXY", &company.proxy())]);
    let answer = probe(&shell, "https://orbit.test/health").await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "healthy"));
    let expected = through("CONNECT orbit.test:443 HTTP/1.1");
    assert_eq!(company.asked(), [expected]);
}

#[tokio::test]
async fn the_sdk_goes_through_the_proxy() {
    let company = Company::new();
    let shell = company.shell(&[("https_proxy", &company.proxy())]);
    let credentials = Credentials::new("key", "secret", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url("https://aws.test")
        .http_client(Transport::real(&shell).unwrap().sdk())
        .build();
    let asked = aws_sdk_sts::Client::new(&config).get_caller_identity();
    let identity = asked.send().await.unwrap();
    assert_eq!(identity.account(), Some("111122223333"));
    let expected = through("CONNECT aws.test:443 HTTP/1.1");
    assert_eq!(company.asked(), [expected]);
}

#[tokio::test]
async fn plain_http_is_forwarded_by_the_proxy() {
    let company = Company::new();
    let shell = company.shell(&[("HTTP_PROXY", &company.proxy())]);
    let answer = probe(&shell, "http://orbit.test/health").await.unwrap();
    assert_eq!(answer.body, "by the proxy");
    let expected = through("GET http://orbit.test/health HTTP/1.1");
    assert_eq!(company.asked(), [expected]);
}

#[tokio::test]
async fn what_is_excepted_and_what_is_here_is_asked_directly() {
    let company = Company::new();
    let url = format!("https://0.0.0.0:{}/health", company.server_port);
    let excepted = [
        ("HTTPS_PROXY", company.proxy()),
        ("NO_PROXY", "0.0.0.0".to_owned()),
    ];
    let excepted = excepted
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let answer = probe(&company.shell(&excepted), &url).await.unwrap();
    assert_eq!(answer.body, "healthy");
    assert_eq!(company.asked(), []);
    let answer = probe(&company.shell(&excepted[..1]), &url).await.unwrap();
    assert_eq!(answer.body, "healthy");
    let expected = format!("CONNECT 0.0.0.0:{} HTTP/1.1", company.server_port);
    assert_eq!(company.asked(), [through(&expected)]);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    for refusal in ["407 Proxy Authentication Required", "403 Forbidden"] {
        let company = Company::refusing(refusal);
        let shell = company.shell(&[("HTTPS_PROXY", &company.proxy())]);
        let error = probe(&shell, "https://orbit.test/health")
            .await
            .unwrap_err();
        let output = format!("{error:#} {error:?}");
        let named = format!(
            "through the proxy http://127.0.0.1:{} (HTTPS_PROXY)",
            company.proxy_port
        );
        assert!(output.contains(&named), "{output}");
        assert!(!output.contains("cret"), "{output}");
    }
}

#[tokio::test]
async fn an_authority_that_nobody_named_is_not_trusted() {
    let (ours, theirs) = (Company::new(), Company::named("another", None));
    let shell = ours.shell(&[("HTTPS_PROXY", &theirs.proxy())]);
    let error = probe(&shell, "https://orbit.test/health")
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("UnknownIssuer"), "{error:#}");
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_else() {
    let company = Company::new();
    let missing = company.authority() + ".missing";
    let program = format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    for (name, value, says) in [
        ("AWS_CA_BUNDLE", missing.as_str(), "No such file"),
        ("AWS_CA_BUNDLE", &program, "no certificate in the file"),
        (
            "HTTPS_PROXY",
            "socks5://ada:secret@proxy",
            "unsupported scheme socks5",
        ),
        (
            "https_proxy",
            "http://ada:se cret@proxy",
            "is not the URL of a proxy",
        ),
    ] {
        let error = Transport::real(&company.shell(&[(name, value)])).unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        let output = format!("{error:#}");
        assert!(output.contains(name) && output.contains(says), "{output}");
        assert!(!output.contains("cret"), "{output}");
    }
}

/// What `status` output, with credentials in hand, of an environment whose file names this
/// endpoint.
#[expect(clippy::disallowed_methods, reason = "a test's own folder")]
fn status(name: &str, company: &Company, endpoint: Option<&str>) -> (Option<i32>, String) {
    let root = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
    for file in [
        "Cargo.toml",
        "xtask/Cargo.toml",
        "task-definitions/README.md",
    ] {
        write(&root.join(file), "");
    }
    // Without files of its own.
    let component = serde_json::json!({
        "name": "none",
        "kind": "function",
        "crate": "services/none",
        "retired": true,
        "checks": [{ "request": {}, "response": { "a": 1 } }],
    });
    let catalog = serde_json::json!({ "components": [component] });
    write(&root.join(xtask::catalog::FILE), &catalog.to_string());
    let file = serde_json::json!({
        "project": "demo",
        "environment": "staging",
        "region": "us-east-1",
        "account_id": "444455556666",
        "architecture": "X86_64",
        "endpoint": endpoint,
    });
    let variables = root.join("infra/environments/staging.tfvars.json");
    write(&variables, &file.to_string());
    let profile = root.join("profile");
    let elsewhere = format!("endpoint_url = http://127.0.0.1:{}", company.proxy_port);
    write(
        &profile,
        &format!(
            "[default]\n{elsewhere}\nservices = mine\n[services mine]\nsts =\n  {elsewhere}\n"
        ),
    );
    let output = cli::run_in(
        &root,
        &["status", "--env", "staging", "--verbose"],
        &[
            ("HTTPS_PROXY", &company.proxy()),
            ("AWS_CA_BUNDLE", &company.authority()),
            ("AWS_CONFIG_FILE", &profile.display().to_string()),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "of-the-shell"),
        ],
    );
    std::fs::remove_dir_all(&root).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    for secret in ["cret@", "s%40cret", "YWRhOnNAY3JldA", "of-the-shell"] {
        assert!(!stderr.contains(secret), "{secret} in {stderr}");
    }
    (output.status.code(), stderr)
}

#[test]
fn the_program_asks_who_it_is_through_the_proxy() {
    let company = Company::new();
    let (code, output) = status("asks", &company, Some("https://aws.test"));
    assert_eq!(code, Some(12), "{output}");
    assert!(
        output.contains("the credentials belong to account 111122223333"),
        "{output}"
    );
    assert_eq!(company.asked(), [through("CONNECT aws.test:443 HTTP/1.1")]);
}

#[test]
fn the_endpoints_of_a_profile_lead_nowhere() {
    let company = Company::new();
    let (code, output) = status("profile", &company, None);
    assert_eq!(code, Some(12), "{output}");
    assert!(
        output.contains("the credentials belong to account 111122223333"),
        "{output}"
    );
    let expected = through("CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1");
    assert_eq!(company.asked(), [expected]);
}

#[test]
fn a_proxy_that_refuses_is_not_a_matter_of_credentials() {
    let company = Company::refusing("403 Forbidden");
    let (code, output) = status("refused", &company, None);
    assert_eq!(code, Some(12), "{output}");
    assert!(
        output.contains("AWS does not answer for staging"),
        "{output}"
    );
    let named = format!("through the proxy http://127.0.0.1:{}", company.proxy_port);
    assert!(
        output.contains(&named) && output.contains("NO_PROXY"),
        "{output}"
    );
    assert!(!output.contains("aws sso login"), "{output}");
}
