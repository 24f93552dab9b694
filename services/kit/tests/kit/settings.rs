use std::collections::HashMap;
use std::io;
use std::path::Path;

use secrecy::ExposeSecret as _;
use service_kit::settings::{
    Base, MetricsOutput, Reader, Setting, SettingError, SettingKind, SettingsSource, Signatures,
    document, known_to, table,
};
use service_kit::{Sampler, ServiceIdentity, TrustRoots};

use crate::SERVICE;
use kit_testing::authority::Authority;
use kit_testing::settings_files;

fn read<T>(
    variables: &[(&str, &str)],
    file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    read: impl FnOnce(&mut Reader<'_>) -> T,
) -> Result<T, Vec<SettingError>> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let variable = |name: &str| variables.get(name).map(ToString::to_string);
    let source = SettingsSource {
        variable: &variable,
        file,
    };
    let mut reader = Reader::new(&source);
    let value = read(&mut reader);
    reader.finish(value)
}

fn base(variables: &[(&str, &str)]) -> Result<Base, Vec<SettingError>> {
    read(
        variables,
        &|_| unreachable!("the base has no file"),
        |reader| Base::read(reader, SERVICE),
    )
}

fn names(errors: &[SettingError]) -> Vec<&str> {
    errors.iter().map(|fault| fault.setting.as_str()).collect()
}

const URL: Setting = Setting::new("URL", SettingKind::Url, "of a test");

/// The name of a service is part of a setting's.
const OF_ANY_SERVICE: ServiceIdentity = ServiceIdentity {
    name: "<name>",
    version: "1",
};

#[test]
fn files_have_what_every_service_reads() {
    let settings = known_to(|reader| Base::read(reader, OF_ANY_SERVICE));
    settings_files::check_document(&document(&settings));
    settings_files::check_table(&table(&settings));
}

#[test]
fn every_default_is_valid_and_said_once() {
    for setting in known_to(|reader| Base::read(reader, SERVICE)) {
        let name = setting.name;
        let Some(default) = setting.default else {
            continue;
        };
        assert!(base(&[(name, default)]).is_ok(), "{name}");
        let set = format!("{:?}", base(&[(name, default)]).unwrap());
        assert_eq!(set, format!("{:?}", base(&[]).unwrap()), "{name}");
    }
}

#[test]
fn nothing_set_is_enough() {
    let base = base(&[("PORT", "")]).unwrap();
    assert_eq!(
        (base.port, base.drain_ms, base.deadline_ms),
        (80, 10_000, 10_000)
    );
    assert_eq!(base.connections_max, 1024);
    assert_eq!((base.in_flight_max, base.in_flight_min), (512, 16));
    assert_eq!(
        (base.signatures, base.metrics),
        (Signatures::Off, MetricsOutput::Off)
    );
    assert!(base.region.is_none() && base.task_metadata_url.is_none());
    assert!(base.log_levels.would_enable("any", &tracing::Level::INFO));
    assert!(!base.log_levels.would_enable("any", &tracing::Level::DEBUG));
}

#[test]
fn the_secret_of_a_name_with_a_hyphen_has_a_setting_without_one() {
    let service = ServiceIdentity {
        name: "rate-limits",
        version: "1",
    };
    let variables = [
        ("RATE_LIMITS_SECRET_ARN", "arn:aws:it"),
        ("AWS_REGION", "eu-west-1"),
    ];
    let read = read(&variables, &|_| unreachable!(), |reader| {
        Base::read(reader, service)
    });
    assert_eq!(read.unwrap().secret_arn.as_deref(), Some("arn:aws:it"));
}

#[test]
fn all_that_is_set_is_read() {
    let base = base(&[
        ("PORT", "8080"),
        ("AWS_REGION", "eu-central-1"),
        (
            "TESTED_SECRET_ARN",
            "arn:aws:secretsmanager:eu-central-1:1:secret:x",
        ),
        ("DATABASE_URL", "postgres://u:p@h/d"),
        ("API_KEY", "k"),
        ("SIGNATURES", "off"),
        ("SECRET_REFRESH_MS", "60000"),
        ("DRAIN_MS", "0"),
        ("DEADLINE_MS", "2500"),
        ("CONNECTIONS_MAX", "10"),
        ("IN_FLIGHT_MAX", "7"),
        ("IN_FLIGHT_MIN", "5"),
        ("RUST_LOG", "warn,tested=debug"),
        ("METRICS", "emf"),
        ("METRICS_NAMESPACE", "demo"),
        ("METRICS_REVISION", "dimension"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
        (
            "ECS_CONTAINER_METADATA_URI_V4",
            "http://169.254.170.2/v4/abc",
        ),
    ])
    .unwrap();
    assert_eq!(
        (
            base.port,
            base.drain_ms,
            base.deadline_ms,
            base.in_flight_max
        ),
        (8080, 0, 2500, 7)
    );
    assert_eq!((base.connections_max, base.in_flight_min), (10, 5));
    assert_eq!(base.region.as_deref(), Some("eu-central-1"));
    assert!(base.secret_arn.is_some());
    assert_eq!(
        base.database_url.unwrap().expose_secret(),
        "postgres://u:p@h/d"
    );
    assert_eq!(base.api_key.unwrap().expose_secret(), "k");
    assert_eq!(base.secret_refresh_ms, 60_000);
    assert_eq!(
        (base.signatures, base.metrics),
        (
            Signatures::Off,
            MetricsOutput::Emf {
                namespace: "demo".to_owned(),
                by_revision: true,
            }
        )
    );
    assert_eq!(base.otlp_endpoint.unwrap(), "http://localhost:4318");
    assert!(
        base.log_levels
            .would_enable("tested", &tracing::Level::DEBUG)
    );
    assert_eq!(
        base.task_metadata_url.unwrap(),
        "http://169.254.170.2/v4/abc"
    );
}

#[test]
fn all_faults_are_reported_at_once() {
    let errors = base(&[
        ("PORT", "65536"),
        ("TESTED_SECRET_ARN", "name"),
        ("SIGNATURES", "optional"),
        ("SECRET_REFRESH_MS", "99"),
        ("DRAIN_MS", "1s"),
        ("DEADLINE_MS", "0"),
        ("CONNECTIONS_MAX", "0"),
        ("IN_FLIGHT_MAX", "0"),
        ("IN_FLIGHT_MIN", "1024"),
        ("RUST_LOG", "a=b=c"),
        ("METRICS", "prometheus"),
        ("METRICS_NAMESPACE", "AWS/ECS"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector.example"),
        ("ECS_CONTAINER_METADATA_URI_V4", "/task"),
    ])
    .unwrap_err();
    let mut expected = vec![
        "PORT",
        "TESTED_SECRET_ARN",
        "AWS_REGION",
        "SIGNATURES",
        "SECRET_REFRESH_MS",
        "DRAIN_MS",
        "DEADLINE_MS",
        "CONNECTIONS_MAX",
        "IN_FLIGHT_MAX",
        "IN_FLIGHT_MIN",
        "RUST_LOG",
        "METRICS",
        "METRICS_NAMESPACE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "ECS_CONTAINER_METADATA_URI_V4",
    ];
    let mut found = names(&errors);
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    let port = errors.iter().find(|fault| fault.setting == "PORT").unwrap();
    assert_eq!(
        port.to_string(),
        "PORT: expected a number from 0 to 65535, got \"65536\""
    );
}

/// An empty part would stand for `error`, and what is meant would not be logged.
#[test]
fn a_filter_of_the_log_has_no_part_left_out() {
    for text in ["info", "warn,tested=debug", "off,tested"] {
        assert!(base(&[("RUST_LOG", text)]).is_ok(), "{text}");
    }
    for text in [
        "info,=",
        "info,",
        ",",
        "tested=",
        "=info",
        "info, tested=debug",
    ] {
        let variables = [("RUST_LOG", text), ("LOG_RAISED", text)];
        let errors = base(&variables).unwrap_err();
        assert_eq!(names(&errors), ["RUST_LOG", "LOG_RAISED"], "{text}");
    }
}

#[test]
fn signatures_are_required_where_there_is_a_secret_and_never_without_one() {
    let region = ("AWS_REGION", "eu-central-1");
    let arn = (
        "TESTED_SECRET_ARN",
        "arn:aws:secretsmanager:eu-central-1:1:secret:x",
    );
    let required = ("SIGNATURES", "required");
    assert_eq!(base(&[]).unwrap().signatures, Signatures::Off);
    for variables in [&[region, arn][..], &[region, arn, required]] {
        assert_eq!(base(variables).unwrap().signatures, Signatures::ByPairs);
    }
    let off = base(&[region, arn, ("SIGNATURES", "off")]).unwrap();
    assert_eq!(off.signatures, Signatures::Off);
    let errors = base(&[region, required]).unwrap_err();
    let fault = "SIGNATURES: required, but TESTED_SECRET_ARN is not set, where the keys are";
    assert_eq!((errors.len(), errors[0].to_string()), (1, fault.to_owned()));
}

#[test]
fn a_secret_and_ciphertext_need_a_region() {
    let arn = (
        "TESTED_SECRET_ARN",
        "arn:aws:secretsmanager:eu-central-1:1:secret:x",
    );
    for variable in [arn, ("API_KEY", "kms:AAAA"), ("DATABASE_URL", "kms:AAAA")] {
        assert_eq!(names(&base(&[variable]).unwrap_err()), ["AWS_REGION"]);
        let region = ("AWS_REGION", "eu-central-1");
        assert!(base(&[variable, region]).is_ok());
    }
}

#[test]
fn secrets_are_not_shown() {
    let base = base(&[
        ("DATABASE_URL", "postgres://u:hidden@h"),
        ("API_KEY", "hidden"),
    ])
    .unwrap();
    assert!(!format!("{base:?}").contains("hidden"));
}

#[test]
fn urls_are_absolute_and_http() {
    for text in [
        "/path",
        "host",
        "ftp://host/",
        "http://",
        "http:///path",
        "://",
        "http://a b",
    ] {
        let errors = read(&[("URL", text)], &|_| unreachable!(), |reader| {
            reader.url(&URL)
        });
        assert_eq!(names(&errors.unwrap_err()), ["URL"], "{text}");
    }
    let url = read(
        &[("URL", "https://h:1/p?q")],
        &|_| unreachable!(),
        |reader| reader.url(&URL),
    );
    assert_eq!(url.unwrap().unwrap(), "https://h:1/p?q");
}

fn roots(file: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<TrustRoots, Vec<SettingError>> {
    read(
        &[("SSL_CERT_FILE", "/authorities.pem")],
        file,
        TrustRoots::read,
    )
}

#[test]
fn authorities_of_the_file_are_added_to_those_compiled_in() {
    let none = read(&[], &|_| unreachable!(), TrustRoots::read).unwrap();
    let pem = Authority::generate().pem() + &Authority::generate().pem();
    let two = roots(&|path| {
        assert_eq!(path, Path::new("/authorities.pem"));
        Ok(pem.clone().into_bytes())
    });
    assert!(none.certificates().count() > 100);
    assert_eq!(
        two.unwrap().certificates().count(),
        none.certificates().count() + 2
    );
}

#[test]
fn a_file_of_authorities_that_cannot_be_used_is_a_fault() {
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for content in ["", "no certificate", broken, no_certificate] {
        let errors = roots(&|_| Ok(content.into())).unwrap_err();
        assert_eq!(names(&errors), ["SSL_CERT_FILE"], "{content}");
    }
    let errors = roots(&|_| Err(io::ErrorKind::NotFound.into())).unwrap_err();
    assert!(errors[0].problem.contains("/authorities.pem"), "{errors:?}");
}

/// By OpenTelemetry's specification: a warning, and the default.
#[test]
fn a_sampler_that_is_not_known_is_passed_over() {
    let sampler = |variables: &[(&str, &str)]| {
        let base = base(variables).unwrap();
        (base.sampler, base.warnings.len())
    };
    let name = |name| ("OTEL_TRACES_SAMPLER", name);
    let share = |share| ("OTEL_TRACES_SAMPLER_ARG", share);
    let of = |name, ratio| Sampler::new(name, ratio).unwrap();
    for (variables, expected) in [
        (&[][..], (Sampler::default(), 0)),
        (&[name("always_off")], (of("always_off", 1.0), 0)),
        (&[name("xray")], (Sampler::default(), 1)),
        (&[name("traceidratio")], (of("always_on", 1.0), 0)),
        (
            &[name("traceidratio"), share("0.25")],
            (of("traceidratio", 0.25), 0),
        ),
        (
            &[name("traceidratio"), share("25%")],
            (of("always_on", 1.0), 1),
        ),
        (
            &[name("parentbased_traceidratio"), share("2")],
            (Sampler::default(), 1),
        ),
        (&[name("no"), share("no")], (Sampler::default(), 2)),
    ] {
        assert_eq!(sampler(variables), expected, "{variables:?}");
    }
    let warned = base(&[name("xray")]).unwrap().warnings;
    let told = warned[0].to_string();
    assert!(
        told.starts_with("OTEL_TRACES_SAMPLER: expected always_on or "),
        "{told}"
    );
    assert!(
        told.ends_with(", got \"xray\", which is passed over"),
        "{told}"
    );
}

#[test]
fn raised_levels_are_those_of_our_own_code() {
    let raised = |variables: &[(&str, &str)]| base(variables).unwrap().log_raised;
    let usual = raised(&[("RUST_LOG", "warn")]);
    let debug = tracing::Level::DEBUG;
    for target in ["service_kit::server", "tested", "tested::routes"] {
        assert!(usual.would_enable(target, &debug), "{target}");
    }
    assert!(!usual.would_enable("aws_config", &tracing::Level::INFO));
    let asked = raised(&[("LOG_RAISED", "trace")]);
    assert!(asked.would_enable("any", &tracing::Level::TRACE));
}
