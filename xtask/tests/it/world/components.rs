//! The components that stories are about: those of this checkout.

use xtask::catalog::{Catalog, Component, Service};
pub(crate) use xtask::decide::acceptance::{AXON, GOVERNANCE, ORBIT};

pub(crate) const SERVICES: [Service; 2] = [AXON, ORBIT];

/// In the order of a release.
pub(crate) const COMPONENTS: [Component; 3] = [
    Component::Function(GOVERNANCE),
    Component::Service(AXON),
    Component::Service(ORBIT),
];

/// The catalog of this checkout.
pub(crate) fn catalog() -> Catalog {
    let text = include_str!("../../../../services/catalog.json");
    Catalog::parse(text).unwrap()
}
