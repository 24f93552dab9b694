//! The settings that every service has.

use http::Uri;
use secrecy::{ExposeSecret as _, SecretString};
use tracing_subscriber::filter::Targets;

use super::reader::Reader;
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
    pub metrics: MetricsOutput,
    /// The base URL of the collector that spans are sent to.
    pub otlp_endpoint: Option<Uri>,
    /// `ECS_CONTAINER_METADATA_URI_V4`, which ECS sets.
    pub task_metadata_url: Option<Uri>,
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
    Emf { namespace: String },
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
        let secret_arn = secret_arn(reader, service);
        let signatures = signatures(reader, service, secret_arn.is_some(), signed);
        let database_url = reader.secret("DATABASE_URL");
        let api_key = reader.secret("API_KEY");
        let ciphertext = [&database_url, &api_key].into_iter().flatten();
        let decrypts = { ciphertext }.any(|it| it.expose_secret().starts_with(CIPHERTEXT));
        let in_flight_max = in_flight_max(reader);
        Self {
            port: port(reader),
            aws_endpoint_url: reader.url("AWS_ENDPOINT_URL"),
            region: region(reader, secret_arn.is_some(), signatures, decrypts),
            signatures,
            secret_arn,
            secret_refresh_ms: secret_refresh_ms(reader),
            roots: TrustRoots::read(reader),
            database_url,
            api_key,
            drain_ms: reader.parsed("DRAIN_MS", MILLISECONDS).unwrap_or(10_000),
            deadline_ms: deadline_ms(reader),
            connections_max: connections_max(reader),
            in_flight_max,
            in_flight_min: in_flight_min(reader, in_flight_max),
            log_levels: log_levels(reader),
            metrics: metrics(reader),
            otlp_endpoint: reader.url("OTEL_EXPORTER_OTLP_ENDPOINT"),
            task_metadata_url: reader.url("ECS_CONTAINER_METADATA_URI_V4"),
        }
    }
}

/// 0 is any free port, which the log then names.
pub(crate) fn port(reader: &mut Reader<'_>) -> u16 {
    reader
        .parsed("PORT", "a number from 0 to 65535")
        .unwrap_or(80)
}

const MILLISECONDS: &str = "a number of milliseconds";

/// Calls of Secrets Manager cost money and are limited.
const SECRET_REFRESH_MS_MIN: u64 = 100;

fn secret_arn(reader: &mut Reader<'_>, service: ServiceIdentity) -> Option<String> {
    let setting = secret_setting(service);
    let arn = reader.text(&setting)?;
    if !arn.starts_with("arn:") {
        reader.error(&setting, format!("expected an ARN, got {arn:?}"));
    }
    Some(arn)
}

fn secret_setting(service: ServiceIdentity) -> String {
    // The name of a variable has no hyphens.
    let name = service.name.replace('-', "_");
    format!("{}_SECRET_ARN", name.to_uppercase())
}

/// Needed for the secret, for KMS and where AWS verifies signatures.
fn region(
    reader: &mut Reader<'_>,
    has_secret: bool,
    signatures: Signatures,
    decrypts: bool,
) -> Option<String> {
    let setting = "AWS_REGION";
    let region = reader.text(setting);
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
        reader.error(setting, format!("not set, and {why}"));
    }
    region
}

fn secret_refresh_ms(reader: &mut Reader<'_>) -> u64 {
    let setting = "SECRET_REFRESH_MS";
    let refresh_ms = reader.parsed(setting, MILLISECONDS).unwrap_or(300_000);
    if refresh_ms < SECRET_REFRESH_MS_MIN {
        let expected = format!("expected at least {SECRET_REFRESH_MS_MIN}, got {refresh_ms}");
        reader.error(setting, expected);
    }
    refresh_ms
}

/// `off` is the default only where no other setting implies signatures: a variable that got lost
/// must not turn authentication off.
fn signatures(
    reader: &mut Reader<'_>,
    service: ServiceIdentity,
    has_secret: bool,
    signed: Signatures,
) -> Signatures {
    let setting = "SIGNATURES";
    let signatures = match reader.text(setting).as_deref() {
        Some("required") => signed,
        None if has_secret || signed == Signatures::ByRole => signed,
        Some("off") | None => Signatures::Off,
        Some(other) => {
            reader.error(setting, format!("expected required or off, got {other:?}"));
            Signatures::Off
        }
    };
    if signatures == Signatures::ByPairs && !has_secret {
        let secret = secret_setting(service);
        reader.error(
            setting,
            format!("required, but {secret} is not set, where the keys are"),
        );
    }
    signatures
}

fn deadline_ms(reader: &mut Reader<'_>) -> u64 {
    let deadline_ms = reader.parsed("DEADLINE_MS", MILLISECONDS).unwrap_or(10_000);
    if deadline_ms == 0 {
        reader.error("DEADLINE_MS", "expected at least 1 millisecond, got 0");
    }
    deadline_ms
}

/// A connection that is kept between requests costs 21 KB, mostly hyper's two buffers of 8 KiB,
/// and one without any request 3 KB: the default is about 21 MB.
fn connections_max(reader: &mut Reader<'_>) -> usize {
    count(reader, "CONNECTIONS_MAX", 1024)
}

/// The default fits 64 MiB of memory: so many requests with the largest body, half as many
/// incomplete bodies, and the limit of unsent answers.
fn in_flight_max(reader: &mut Reader<'_>) -> usize {
    count(reader, "IN_FLIGHT_MAX", 512)
}

/// The default is enough to see that answers are in time again.
fn in_flight_min(reader: &mut Reader<'_>, max: usize) -> usize {
    let setting = "IN_FLIGHT_MIN";
    let min = count(reader, setting, max.clamp(1, 16));
    if min > max {
        reader.error(
            setting,
            format!("expected at most IN_FLIGHT_MAX, {max}, got {min}"),
        );
    }
    min
}

fn count(reader: &mut Reader<'_>, setting: &str, default: usize) -> usize {
    let count = reader.parsed(setting, "a number").unwrap_or(default);
    if count == 0 {
        reader.error(setting, "expected at least 1, got 0");
    }
    count
}

fn log_levels(reader: &mut Reader<'_>) -> Targets {
    let expected = "a level, or a list of target=level, divided by commas";
    let default = || Targets::new().with_default(tracing::Level::INFO);
    reader.parsed("RUST_LOG", expected).unwrap_or_else(default)
}

fn metrics(reader: &mut Reader<'_>) -> MetricsOutput {
    let namespace = metrics_namespace(reader);
    match reader.text("METRICS").as_deref() {
        None | Some("off") => MetricsOutput::Off,
        Some("emf") => MetricsOutput::Emf { namespace },
        Some(other) => {
            reader.error("METRICS", format!("expected emf or off, got {other:?}"));
            MetricsOutput::Off
        }
    }
}

/// By the rule of CloudWatch for namespaces.
fn metrics_namespace(reader: &mut Reader<'_>) -> String {
    let setting = "METRICS_NAMESPACE";
    let namespace = reader
        .text(setting)
        .unwrap_or_else(|| "services".to_owned());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#:".contains(&byte);
    if namespace.len() > 255 || !namespace.bytes().all(plain) || namespace.starts_with("AWS/") {
        let expected = "1 to 255 of A-Z, a-z, 0-9 and .-_/#:, not beginning with AWS/";
        reader.error(setting, format!("expected {expected}, got {namespace:?}"));
    }
    namespace
}
