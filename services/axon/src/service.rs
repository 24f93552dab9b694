//! What identifies axon.

use service_kit::ServiceIdentity;

pub const SERVICE: ServiceIdentity = ServiceIdentity {
    name: "axon",
    version: env!("CARGO_PKG_VERSION"),
};
