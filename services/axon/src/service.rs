//! What identifies axon.

use service_kit::Service;

pub const SERVICE: Service = Service {
    name: "axon",
    version: env!("CARGO_PKG_VERSION"),
};
