//! The settings of scout, from the environment.

use axum::http::Uri;
use service_kit::ConnectTo;
use service_kit::settings::{Base, Reader, Setting, SettingKind};
use service_kit::sigv4::SignedFor;

use crate::service::SERVICE;

const AXON_SERVICE_URL: Setting = Setting {
    required: true,
    ..Setting::new("AXON_SERVICE_URL", SettingKind::Url, "of axon's answer")
};
const AXON_CONNECT_TO: Setting = Setting::new(
    "AXON_CONNECT_TO",
    SettingKind::text("host:port"),
    "to connect to instead",
);
const AXON_SIGNED_FOR: Setting = Setting {
    default: Some("axon"),
    ..Setting::new(
        "AXON_SIGNED_FOR",
        SettingKind::Choice {
            values: &["axon", "execute-api", "vpc-lattice-svcs"],
        },
        "who verifies its calls",
    )
};

#[derive(Clone, Debug)]
pub struct Settings {
    pub base: Base,
    pub axon_url: Uri,
    pub axon_connect_to: Option<ConnectTo>,
    pub axon_signed_for: SignedFor,
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let axon_signed_for = SignedFor::read(reader, &AXON_SIGNED_FOR, "axon");
        Self {
            base: Base::read_signed(reader, SERVICE, axon_signed_for.signatures()),
            axon_url: reader.url(&AXON_SERVICE_URL).unwrap_or_default(),
            axon_connect_to: reader.parsed(&AXON_CONNECT_TO),
            axon_signed_for,
        }
    }
}

impl AsRef<Base> for Settings {
    fn as_ref(&self) -> &Base {
        &self.base
    }
}
