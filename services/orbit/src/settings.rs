//! Orbit's settings, from the environment.

use std::str::FromStr;

use http::Uri;
use service_kit::ConnectTo;
use service_kit::settings::{Base, Reader};
use service_kit::sigv4::SignedFor;

use crate::service::SERVICE;

#[derive(Clone, Debug)]
pub struct Settings {
    pub base: Base,
    pub governance: GovernanceEndpoint,
    /// The URL of `GET /reason`.
    pub axon_url: Uri,
    pub axon_connect_to: Option<ConnectTo>,
    pub axon_signed_for: SignedFor,
}

/// Where governance is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GovernanceEndpoint {
    Function(FunctionName),
    Url(Uri),
}

/// Name and alias of a Lambda. A bare name would run `$LATEST`, which no release has tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionName {
    pub name: String,
    pub alias: String,
}

impl FromStr for FunctionName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let (name, alias) = text.split_once(':').ok_or(())?;
        if !plain(name) || !plain(alias) {
            return Err(());
        }
        Ok(Self {
            name: name.to_owned(),
            alias: alias.to_owned(),
        })
    }
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let axon_signed_for = SignedFor::read(reader, "AXON_SIGNED_FOR", "axon");
        let base = Base::read_signed(reader, SERVICE, axon_signed_for.signatures());
        Self {
            governance: governance(reader, base.region.is_some()),
            axon_url: axon_url(reader),
            axon_signed_for,
            axon_connect_to: reader.parsed("AXON_CONNECT_TO", "host:port"),
            base,
        }
    }
}

impl AsRef<Base> for Settings {
    fn as_ref(&self) -> &Base {
        &self.base
    }
}

const FUNCTION_NAME: &str = "GOVERNANCE_FUNCTION_NAME";
const FUNCTION_URL: &str = "GOVERNANCE_FUNCTION_URL";

fn governance(reader: &mut Reader<'_>, has_region: bool) -> GovernanceEndpoint {
    let placeholder = GovernanceEndpoint::Url(Uri::default());
    match (reader.text(FUNCTION_NAME), reader.text(FUNCTION_URL)) {
        (Some(_), Some(_)) => {
            reader.error(
                FUNCTION_NAME,
                format!("{FUNCTION_URL} is set too: one of them only"),
            );
            placeholder
        }
        (None, None) => {
            reader.error(
                FUNCTION_NAME,
                format!("neither it nor {FUNCTION_URL} is set"),
            );
            placeholder
        }
        (None, Some(_)) => reader
            .url(FUNCTION_URL)
            .map_or(placeholder, GovernanceEndpoint::Url),
        (Some(_), None) => {
            if !has_region {
                reader.error(
                    "AWS_REGION",
                    "not set, and the governance function is in a region",
                );
            }
            let name = reader.parsed(FUNCTION_NAME, "name and alias, like demo-governance:live");
            name.map_or(placeholder, GovernanceEndpoint::Function)
        }
    }
}

fn axon_url(reader: &mut Reader<'_>) -> Uri {
    let setting = "AXON_SERVICE_URL";
    if reader.text(setting).is_none() {
        reader.error(setting, "not set");
    }
    reader.url(setting).unwrap_or_default()
}
