//! What identifies orbit.

use service_kit::ServiceIdentity;

pub const SERVICE: ServiceIdentity = ServiceIdentity {
    name: "orbit",
    version: env!("CARGO_PKG_VERSION"),
};
