//! What identifies orbit.

use service_kit::Service;

pub const SERVICE: Service = Service {
    name: "orbit",
    version: env!("CARGO_PKG_VERSION"),
};
