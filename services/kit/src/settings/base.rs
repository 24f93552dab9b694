//! The settings that every service has.

use std::str::FromStr;

use http::Uri;
use secrecy::{ExposeSecret as _, SecretString};
use tracing::Level;
use tracing_subscriber::filter::Targets;

use super::reader::{Reader, SettingError};
use super::setting::{Setting, SettingKind};
use crate::request::sampler::{self, Sampler};
use crate::{ServiceIdentity, TrustRoots};

/// The prefix of a value that is KMS ciphertext in base64.
pub(crate) const CIPHERTEXT: &str = "kms:";

/// The settings of every service.
#[derive(Clone, Debug)]
pub struct Base {
    pub port: u16,
    pub region: Option<String>,
    /// Replaces the endpoints of AWS.
    pub aws_endpoint_url: Option<Uri>,
    pub secret_arn: Option<String>,
    pub database_url: Option<SecretString>,
    pub api_key: Option<SecretString>,
    pub signatures: Signatures,
    /// The interval at which the secret is read again.
    pub secret_refresh_ms: u64,
    pub roots: TrustRoots,
    /// How long to keep serving after SIGTERM.
    pub drain_ms: u64,
    /// How long one request may take.
    pub deadline_ms: u64,
    /// How many connections may be open at once.
    pub connections_max: usize,
    /// How many requests may be in flight at once, at most and at least: the limit in between
    /// follows the time that answers take.
    pub in_flight_max: usize,
    pub in_flight_min: usize,
    pub log_levels: Targets,
    /// What is logged for a time after SIGUSR1.
    pub log_raised: Targets,
    pub log_raised_ms: u64,
    pub metrics: MetricsOutput,
    /// The base URL of the collector that spans are sent to.
    pub otlp_endpoint: Option<Uri>,
    pub sampler: Sampler,
    /// From this duration on a request is slow, and its trace kept.
    pub traces_slow_ms: u64,
    /// `ECS_CONTAINER_METADATA_URI_V4`, which ECS sets.
    pub task_metadata_url: Option<Uri>,
    /// Wrong values that were passed over.
    pub warnings: Vec<SettingError>,
}

/// Whether calls between services are signed, and with which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// With the key pairs that both sides have in their secrets.
    ByPairs,
    /// With the caller's task role, which AWS verifies.
    ByRole,
    Off,
}

/// Where metrics go: CloudWatch embedded-metric log lines, or nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsOutput {
    Emf {
        namespace: String,
        /// Whether the task's revision is a dimension.
        by_revision: bool,
    },
    Off,
}

impl Base {
    pub fn read(reader: &mut Reader<'_>, service: ServiceIdentity) -> Self {
        Self::read_signed(reader, service, Signatures::ByPairs)
    }

    /// For a service that signs its calls: `signed` is how, where signatures are required.
    pub fn read_signed(
        reader: &mut Reader<'_>,
        service: ServiceIdentity,
        signed: Signatures,
    ) -> Self {
        let secret_arn = secret_arn(service);
        let has_secret = reader.is_set(&secret_arn);
        let signatures = signatures(reader, secret_arn.name, has_secret, signed);
        let database_url = reader.secret(&DATABASE_URL);
        let api_key = reader.secret(&API_KEY);
        let ciphertext = [&database_url, &api_key].into_iter().flatten();
        let decrypts = { ciphertext }.any(|it| it.expose_secret().starts_with(CIPHERTEXT));
        let in_flight_max = number(reader, &IN_FLIGHT_MAX);
        let log_levels = log_levels(reader);
        let mut base = Self {
            port: port(reader),
            region: region(reader, has_secret, signatures, decrypts),
            signatures,
            secret_arn: reader.text(&secret_arn),
            secret_refresh_ms: number(reader, &SECRET_REFRESH_MS),
            database_url,
            api_key,
            drain_ms: number(reader, &DRAIN_MS),
            deadline_ms: number(reader, &DEADLINE_MS),
            connections_max: number(reader, &CONNECTIONS_MAX),
            in_flight_max,
            in_flight_min: in_flight_min(reader, in_flight_max),
            log_raised: log_raised(reader, service, &log_levels),
            log_levels,
            log_raised_ms: number(reader, &LOG_RAISED_MS),
            metrics: metrics(reader),
            otlp_endpoint: reader.url(&OTLP_ENDPOINT),
            sampler: sampler(reader),
            traces_slow_ms: number(reader, &TRACES_SLOW_MS),
            aws_endpoint_url: reader.url(&AWS_ENDPOINT_URL),
            roots: TrustRoots::read(reader),
            task_metadata_url: reader.url(&TASK_METADATA_URL),
            warnings: Vec::new(),
        };
        for credential in &AWS_CREDENTIALS {
            reader.add(credential);
        }
        base.warnings = reader.take_warnings();
        base
    }
}

/// 0 is any free port, which the log then names.
pub(crate) fn port(reader: &mut Reader<'_>) -> u16 {
    number(reader, &PORT)
}

fn number<T: FromStr + Default>(reader: &mut Reader<'_>, setting: &Setting) -> T {
    reader.parsed(setting).unwrap_or_default()
}

const fn of(
    name: &'static str,
    kind: SettingKind,
    default: &'static str,
    about: &'static str,
) -> Setting {
    Setting {
        default: Some(default),
        ..Setting::new(name, kind, about)
    }
}

const fn secret(name: &'static str, about: &'static str) -> Setting {
    Setting {
        secret: true,
        ..Setting::new(name, SettingKind::text("text"), about)
    }
}

const PORT: Setting = of(
    "PORT",
    SettingKind::Integer {
        minimum: 0,
        maximum: Some(65_535),
    },
    "80",
    "to listen on; 0 is any free port, which the log names",
);
const AWS_ENDPOINT_URL: Setting = Setting::new(
    "AWS_ENDPOINT_URL",
    SettingKind::Url,
    "replaces the endpoints of AWS",
);
const AWS_REGION: Setting = Setting::new(
    "AWS_REGION",
    SettingKind::text("a region"),
    "needed with a secret ARN, for ciphertext, and where AWS verifies; signatures are scoped to it",
);
/// Calls of Secrets Manager cost money and are limited.
const SECRET_REFRESH_MS: Setting = of(
    "SECRET_REFRESH_MS",
    SettingKind::at_least(100),
    "300000",
    "how often the secret is read again, plus or minus a tenth",
);
const DATABASE_URL: Setting = secret(
    "DATABASE_URL",
    "that ECS injects; a value of the secret overrides it",
);
const API_KEY: Setting = secret(
    "API_KEY",
    "that ECS injects; a value of the secret overrides it",
);
const SIGNATURES: Setting = Setting {
    otherwise: Some("`required` with a secret ARN, and where AWS verifies; else `off`"),
    ..Setting::new(
        "SIGNATURES",
        SettingKind::Choice {
            values: &["required", "off"],
        },
        "`required` refuses to start without a secret with a key pair, unless AWS verifies this \
         service's calls",
    )
};
const DRAIN_MS: Setting = of(
    "DRAIN_MS",
    SettingKind::at_least(0),
    "10000",
    "how long to keep serving after SIGTERM",
);
const DEADLINE_MS: Setting = of(
    "DEADLINE_MS",
    SettingKind::at_least(1),
    "10000",
    "how long a request may take, from the end of its headers to its answer; its body has half of \
     that",
);
/// A connection that is kept between requests costs 21 KB, mostly hyper's two buffers of 8 KiB,
/// and one without any request 3 KB: the default is about 21 MB.
const CONNECTIONS_MAX: Setting = of(
    "CONNECTIONS_MAX",
    SettingKind::at_least(1),
    "1024",
    "how many connections may be open at once; one that is kept between requests costs 21 KB",
);
/// The default fits 64 MiB of memory: so many requests with the largest body, half as many
/// incomplete bodies, and the limit of unsent answers.
const IN_FLIGHT_MAX: Setting = of(
    "IN_FLIGHT_MAX",
    SettingKind::at_least(1),
    "512",
    "how many requests may be in flight at once, besides half as many incomplete bodies; the \
     default fits 64 MiB of memory",
);
const IN_FLIGHT_MIN: Setting = Setting {
    otherwise: Some("16, or `IN_FLIGHT_MAX` where that is less"),
    ..Setting::new(
        "IN_FLIGHT_MIN",
        SettingKind::at_least(1),
        "how far that limit may fall where answers are late; the same number as `IN_FLIGHT_MAX` makes \
         it a fixed one",
    )
};
const RUST_LOG: Setting = of(
    "RUST_LOG",
    SettingKind::LogFilter,
    "info",
    "what is logged, see Logs",
);
const LOG_RAISED: Setting = Setting {
    otherwise: Some("`RUST_LOG`, with `debug` for the kit and the service"),
    ..Setting::new(
        "LOG_RAISED",
        SettingKind::LogFilter,
        "what is logged for a time after SIGUSR1, see Logs",
    )
};
const LOG_RAISED_MS: Setting = of(
    "LOG_RAISED_MS",
    SettingKind::at_least(1),
    "600000",
    "how long that is",
);
const METRICS: Setting = of(
    "METRICS",
    SettingKind::Choice {
        values: &["emf", "off"],
    },
    "off",
    "where metrics go, see Metrics",
);
const METRICS_NAMESPACE: Setting = of(
    "METRICS_NAMESPACE",
    SettingKind::text("1 to 255 of `A-Z a-z 0-9 . - _ / # :`, not beginning with `AWS/`"),
    "services",
    "where CloudWatch keeps the metrics",
);
/// Each dimension more is another metric, which is paid for.
const METRICS_REVISION: Setting = of(
    "METRICS_REVISION",
    SettingKind::Choice {
        values: &["property", "dimension"],
    },
    "property",
    "whether the task's revision is only a property of what is reported, or a dimension too",
);
const OTLP_ENDPOINT: Setting = Setting::new(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    SettingKind::Url,
    "base URL of a collector, see Traces",
);
/// OpenTelemetry's specification has it that a wrong value is passed over with a warning.
const SAMPLER: Setting = Setting {
    lenient: true,
    ..of(
        "OTEL_TRACES_SAMPLER",
        SettingKind::Choice {
            values: sampler::NAMES,
        },
        "parentbased_always_on",
        "which traces are recorded, see Traces",
    )
};
const SAMPLER_ARGUMENT: Setting = Setting {
    lenient: true,
    ..of(
        "OTEL_TRACES_SAMPLER_ARG",
        SettingKind::Ratio,
        "1.0",
        "the share that `traceidratio` records",
    )
};
const TRACES_SLOW_MS: Setting = of(
    "TRACES_SLOW_MS",
    SettingKind::at_least(1),
    "1000",
    "how long a request takes that `traceidratio` records in any case, as one that failed",
);
const TASK_METADATA_URL: Setting = Setting::new(
    "ECS_CONTAINER_METADATA_URI_V4",
    SettingKind::Url,
    "set by ECS; where the task's revision is asked for",
);
/// Read by the SDK's provider of credentials, and not by this module.
const AWS_CREDENTIALS: [Setting; 3] = [
    secret(
        "AWS_ACCESS_KEY_ID",
        "credentials of AWS where there is no role of a task",
    ),
    secret("AWS_SECRET_ACCESS_KEY", "of the same credentials"),
    secret("AWS_SESSION_TOKEN", "of the same credentials"),
];

/// Its name has the service's. The memory of the name is never freed: a program has one.
fn secret_arn(service: ServiceIdentity) -> Setting {
    // The name of a variable has no hyphens.
    let name = service.name.replace('-', "_").to_uppercase();
    let name = Box::leak(format!("{name}_SECRET_ARN").into_boxed_str());
    Setting {
        needs: &["AWS_REGION"],
        ..Setting::new(name, SettingKind::Arn, "of the service's secret")
    }
}

/// Needed for the secret, for KMS and where AWS verifies signatures.
fn region(
    reader: &mut Reader<'_>,
    has_secret: bool,
    signatures: Signatures,
    decrypts: bool,
) -> Option<String> {
    let region = reader.text(&AWS_REGION);
    let needs = [
        (has_secret, "the secret is in a region"),
        (
            signatures == Signatures::ByRole,
            "who verifies the signatures is in a region",
        ),
        (decrypts, "what is ciphertext has a key in a region"),
    ];
    let needed = needs.iter().find(|(needed, _)| *needed);
    if let (None, Some((_, why))) = (&region, needed) {
        reader.error(AWS_REGION.name, format!("not set, and {why}"));
    }
    region
}

/// `off` is the default only where no other setting implies signatures: a variable that got lost
/// must not turn authentication off.
fn signatures(
    reader: &mut Reader<'_>,
    secret_arn_setting: &str,
    has_secret: bool,
    signed: Signatures,
) -> Signatures {
    let signatures = match reader.text(&SIGNATURES).as_deref() {
        Some("off") => Signatures::Off,
        Some(_) => signed,
        None if has_secret || signed == Signatures::ByRole => signed,
        None => Signatures::Off,
    };
    if signatures == Signatures::ByPairs && !has_secret {
        reader.error(
            SIGNATURES.name,
            format!("required, but {secret_arn_setting} is not set, where the keys are"),
        );
    }
    signatures
}

/// The default is enough to see that answers are in time again.
fn in_flight_min(reader: &mut Reader<'_>, max: usize) -> usize {
    let default = max.clamp(1, 16);
    let min = reader.parsed(&IN_FLIGHT_MIN).unwrap_or(default);
    if min > max {
        let fault = format!("expected at most IN_FLIGHT_MAX, {max}, got {min}");
        reader.error(IN_FLIGHT_MIN.name, fault);
    }
    min
}

fn log_levels(reader: &mut Reader<'_>) -> Targets {
    reader.parsed(&RUST_LOG).unwrap_or_default()
}

fn log_raised(reader: &mut Reader<'_>, service: ServiceIdentity, usual: &Targets) -> Targets {
    reader.parsed(&LOG_RAISED).unwrap_or_else(|| {
        let own = [env!("CARGO_CRATE_NAME"), service.name];
        let names = own.map(|name| name.replace('-', "_"));
        usual
            .clone()
            .with_targets(names.map(|name| (name, Level::DEBUG)))
    })
}

fn sampler(reader: &mut Reader<'_>) -> Sampler {
    let name = reader.text(&SAMPLER);
    let ratio: Option<f64> = reader.parsed(&SAMPLER_ARGUMENT);
    let named = name.and_then(|name| Sampler::new(&name, ratio.unwrap_or(1.0)));
    named.unwrap_or_default()
}

fn metrics(reader: &mut Reader<'_>) -> MetricsOutput {
    let is_emf = reader.text(&METRICS).as_deref() == Some("emf");
    let namespace = metrics_namespace(reader);
    let revision: Option<String> = reader.parsed(&METRICS_REVISION);
    let by_revision = revision.as_deref() == Some("dimension");
    if is_emf {
        MetricsOutput::Emf {
            namespace,
            by_revision,
        }
    } else {
        MetricsOutput::Off
    }
}

/// By the rule of CloudWatch for namespaces.
fn metrics_namespace(reader: &mut Reader<'_>) -> String {
    let namespace: String = reader.parsed(&METRICS_NAMESPACE).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#:".contains(&byte);
    if namespace.len() > 255 || !namespace.bytes().all(plain) || namespace.starts_with("AWS/") {
        let expected = METRICS_NAMESPACE.kind.expected();
        reader.error(
            METRICS_NAMESPACE.name,
            format!("expected {expected}, got {namespace:?}"),
        );
    }
    namespace
}
