//! The settings of scout, from the environment.

use axum::http::Uri;
use service_kit::ConnectTo;
use service_kit::settings::{Base, Reader};
use service_kit::sigv4::SignedFor;

use crate::service::SERVICE;

#[derive(Clone, Debug)]
pub struct Settings {
    pub base: Base,
    pub axon_url: Uri,
    pub axon_connect_to: Option<ConnectTo>,
    pub axon_signed_for: SignedFor,
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let axon_signed_for = SignedFor::read(reader, "AXON_SIGNED_FOR", "axon");
        Self {
            base: Base::read_signed(reader, SERVICE, axon_signed_for.signatures()),
            axon_url: reader.url("AXON_SERVICE_URL").unwrap_or_default(),
            axon_connect_to: reader.parsed("AXON_CONNECT_TO", "host:port"),
            axon_signed_for,
        }
    }
}

impl AsRef<Base> for Settings {
    fn as_ref(&self) -> &Base {
        &self.base
    }
}
