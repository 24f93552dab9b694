use orbit::{FunctionName, GovernanceEndpoint, Settings};
use service_kit::settings::{Reader, SettingError, SettingsSource, Signatures};

fn read(variables: &[(&str, &str)]) -> Result<Settings, Vec<SettingError>> {
    let variable = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let source = SettingsSource {
        variable: &variable,
        file: &|_| unreachable!(),
    };
    let mut reader = Reader::new(&source);
    let settings = Settings::read(&mut reader);
    reader.finish(settings)
}

fn faulty(variables: &[(&str, &str)]) -> Vec<String> {
    read(variables)
        .unwrap_err()
        .into_iter()
        .map(|fault| fault.setting)
        .collect()
}

const AXON: (&str, &str) = ("AXON_SERVICE_URL", "http://axon.demo.internal/reason");
const REGION: (&str, &str) = ("AWS_REGION", "eu-central-1");

#[test]
fn governance_is_a_function_with_its_alias() {
    let name = ("GOVERNANCE_FUNCTION_NAME", "demo-governance:live");
    let settings = read(&[AXON, REGION, name]).unwrap();
    let name = FunctionName {
        name: "demo-governance".into(),
        alias: "live".into(),
    };
    assert_eq!(settings.governance, GovernanceEndpoint::Function(name));
    assert_eq!(settings.axon_url, AXON.1);
    assert!(settings.axon_connect_to.is_none());
}

#[test]
fn or_a_url() {
    let url = ("GOVERNANCE_FUNCTION_URL", "http://127.0.0.1:9/");
    let settings = read(&[AXON, url, ("AXON_CONNECT_TO", "127.0.0.1:8080")]).unwrap();
    assert_eq!(
        settings.governance,
        GovernanceEndpoint::Url("http://127.0.0.1:9/".parse().unwrap())
    );
    assert_eq!(
        settings.axon_connect_to,
        Some("127.0.0.1:8080".parse().unwrap())
    );
}

#[test]
fn never_both_and_never_neither() {
    let both = [
        AXON,
        REGION,
        ("GOVERNANCE_FUNCTION_NAME", "demo-governance:live"),
        ("GOVERNANCE_FUNCTION_URL", "http://127.0.0.1:9/"),
    ];
    assert_eq!(faulty(&both), ["GOVERNANCE_FUNCTION_NAME"]);
    assert_eq!(faulty(&[AXON]), ["GOVERNANCE_FUNCTION_NAME"]);
}

#[test]
fn a_function_needs_an_alias() {
    for name in [
        "demo-governance",
        "demo-governance:",
        ":live",
        "a:b:c",
        "a b:live",
        "ä:live",
    ] {
        let variables = [AXON, REGION, ("GOVERNANCE_FUNCTION_NAME", name)];
        assert_eq!(faulty(&variables), ["GOVERNANCE_FUNCTION_NAME"], "{name}");
    }
}

/// Where AWS verifies signatures, only the task role is needed.
#[test]
fn a_secret_is_needed_only_where_axon_verifies() {
    let url = ("GOVERNANCE_FUNCTION_URL", "http://127.0.0.1:9/");
    let required = ("SIGNATURES", "required");
    let gateway = ("AXON_SIGNED_FOR", "execute-api");
    assert_eq!(faulty(&[AXON, url, REGION, required]), ["SIGNATURES"]);
    for variables in [
        &[AXON, url, REGION, gateway][..],
        &[AXON, url, REGION, gateway, required],
    ] {
        let settings = read(variables).unwrap();
        assert_eq!(settings.base.signatures, Signatures::ByRole);
    }
    assert_eq!(faulty(&[AXON, url, gateway]), ["AWS_REGION"]);
    let off = read(&[AXON, url, gateway, ("SIGNATURES", "off")]).unwrap();
    assert_eq!(off.base.signatures, Signatures::Off);
}

#[test]
fn all_faults_are_reported_at_once() {
    let variables = [
        ("GOVERNANCE_FUNCTION_NAME", "bare"),
        ("AXON_CONNECT_TO", "h"),
        ("PORT", "x"),
    ];
    let mut faulty = faulty(&variables);
    faulty.sort_unstable();
    let expected = [
        "AWS_REGION",
        "AXON_CONNECT_TO",
        "AXON_SERVICE_URL",
        "GOVERNANCE_FUNCTION_NAME",
        "PORT",
    ];
    assert_eq!(faulty, expected);
}
