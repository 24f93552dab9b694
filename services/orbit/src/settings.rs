//! Orbit's settings, from the environment.

use std::str::FromStr;

use http::Uri;
use service_kit::ConnectTo;
use service_kit::settings::{Base, Reader, Setting, SettingKind};
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

/// Name and alias of a Lambda. What each may be is checked where the setting is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionName {
    pub name: String,
    pub alias: String,
}

impl FromStr for FunctionName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, alias) = text.split_once(':').ok_or(())?;
        Ok(Self {
            name: name.to_owned(),
            alias: alias.to_owned(),
        })
    }
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let axon_signed_for = SignedFor::read(reader, &AXON_SIGNED_FOR, "axon");
        let base = Base::read_signed(reader, SERVICE, axon_signed_for.signatures());
        Self {
            governance: governance(reader, base.region.is_some()),
            axon_url: reader.url(&AXON_SERVICE_URL).unwrap_or_default(),
            axon_signed_for,
            axon_connect_to: reader.parsed(&AXON_CONNECT_TO),
            base,
        }
    }
}

impl AsRef<Base> for Settings {
    fn as_ref(&self) -> &Base {
        &self.base
    }
}

const FUNCTION_NAME: Setting = Setting {
    otherwise: Some("this one or the next is needed, never both"),
    instead_of: Some("GOVERNANCE_FUNCTION_URL"),
    needs: &["AWS_REGION"],
    ..Setting::new(
        "GOVERNANCE_FUNCTION_NAME",
        SettingKind::FunctionAlias,
        "the Lambda that decides",
    )
};
const FUNCTION_URL: Setting = Setting {
    otherwise: Some("see the one before"),
    instead_of: Some("GOVERNANCE_FUNCTION_NAME"),
    ..Setting::new(
        "GOVERNANCE_FUNCTION_URL",
        SettingKind::Url,
        "instead of a Lambda: where the question is POSTed",
    )
};
const AXON_SERVICE_URL: Setting = Setting {
    required: true,
    ..Setting::new("AXON_SERVICE_URL", SettingKind::Url, "of `GET /reason`")
};
const AXON_SIGNED_FOR: Setting = Setting {
    default: Some("axon"),
    ..Setting::new(
        "AXON_SIGNED_FOR",
        SettingKind::Choice {
            values: &["axon", "execute-api", "vpc-lattice-svcs"],
        },
        "who verifies calls where signatures are required: `axon` by the pairs that both have, or a \
         service of AWS in front of it by the role of the task, `execute-api` (API Gateway) or \
         `vpc-lattice-svcs`, for which no secret is needed",
    )
};
const AXON_CONNECT_TO: Setting = Setting {
    otherwise: Some("as the URL says"),
    ..Setting::new(
        "AXON_CONNECT_TO",
        SettingKind::HostAndPort,
        "to connect to instead; Host header and URL stay, as with curl's `--connect-to`",
    )
};

fn governance(reader: &mut Reader<'_>, has_region: bool) -> GovernanceEndpoint {
    let placeholder = GovernanceEndpoint::Url(Uri::default());
    match (reader.is_set(&FUNCTION_NAME), reader.is_set(&FUNCTION_URL)) {
        (true, true) => {
            let fault = format!("{} is set too: one of them only", FUNCTION_URL.name);
            reader.error(FUNCTION_NAME.name, fault);
            placeholder
        }
        (false, false) => {
            let fault = format!("neither it nor {} is set", FUNCTION_URL.name);
            reader.error(FUNCTION_NAME.name, fault);
            placeholder
        }
        (false, true) => reader
            .url(&FUNCTION_URL)
            .map_or(placeholder, GovernanceEndpoint::Url),
        (true, false) => {
            if !has_region {
                let fault = "not set, and the governance function is in a region";
                reader.error("AWS_REGION", fault);
            }
            let name = reader.parsed(&FUNCTION_NAME);
            name.map_or(placeholder, GovernanceEndpoint::Function)
        }
    }
}
