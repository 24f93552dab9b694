//! From the checkout, the outputs and what runs to a plan. Nothing here changes anything in AWS
//! but `outputs::ready`, which applies the environment's infrastructure.

pub mod about;
pub mod artifacts;
pub mod definitions;
pub mod deploy;
pub mod ledger;
pub mod outputs;
pub mod rollback;

use crate::catalog::{COMPONENTS, Component};

/// The names that were given, or all; always in the order of a release.
pub fn chosen(names: &[Component]) -> Vec<Component> {
    COMPONENTS
        .into_iter()
        .filter(|component| names.is_empty() || names.contains(component))
        .collect()
}
