//! Events of the infrastructure: Terraform, and what it published.

use serde::Serialize;

use super::{Shown, done, live, output, warning};
use crate::catalog::Component;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum InfraEvent {
    /// The published outputs are of an older `infra/`.
    InfraOutdated {
        reason: String,
    },
    /// `infra/` is not applied as it is in the checkout, and a dry run leaves it so.
    InfraNotApplied {
        never: bool,
    },
    /// Terraform's own summary of what an apply would change.
    InfraPlan {
        summary: String,
    },
    InfraApplied,
    /// It is waited until the load balancer has checked all targets in the way that was applied.
    CheckingTargets {
        seconds: u64,
    },
    /// The record of an apply was created: from now on it holds the environment.
    ApplyOpened {
        number: u64,
    },
    ApplyClosed {
        number: u64,
        outcome: String,
    },
    /// The catalog has a component that Terraform has not made yet.
    NotCreated {
        component: Component,
    },
    /// Terraform is at work: so many resources are done, and this one is being made.
    Terraform {
        verb: String,
        done: u32,
        resource: Option<String>,
    },
    /// It got the Ctrl-C too, and is let end: killed, it would lose its state.
    TerraformInterrupted,
    TerraformTests {
        root: String,
        environment: String,
    },
    /// How many of checkov's rules passed, in its own words.
    CheckovPassed {
        counts: String,
    },
    /// Terraform published fields that this checkout does not know.
    OutputsUnknownFields {
        table: String,
        fields: Vec<String>,
    },
}

impl InfraEvent {
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::ApplyOpened { number } => done("infra", format!("apply {number} opened")),
            Self::ApplyClosed { number, outcome } => {
                done("infra", format!("apply {number} closed: {outcome}"))
            }
            Self::InfraOutdated { reason } => done("infra", reason),
            Self::InfraNotApplied { never } => {
                let text = if *never {
                    "was never applied"
                } else {
                    "has changed since it was applied"
                };
                let text = format!("{text}; a run without --dry-run applies it first");
                done("infra", text)
            }
            Self::InfraPlan { summary } => output("infra", summary),
            Self::InfraApplied => done("infra", "applied"),
            Self::CheckingTargets { seconds } => {
                let text =
                    format!("checking for {seconds} s whether all services are still served");
                done("infra", text)
            }
            Self::NotCreated { component } => {
                let text = "is in the catalog and not created yet; a deploy creates it first";
                done(component.name(), text)
            }
            Self::Terraform {
                verb,
                done,
                resource,
            } => {
                let mut text = format!("terraform {verb}");
                if let Some(resource) = resource {
                    text.push_str(&format!(": {done} done, {resource}"));
                }
                live("infra", text)
            }
            Self::TerraformInterrupted => {
                done("infra", "interrupted: waiting for terraform to end")
            }
            Self::TerraformTests { root, environment } => {
                live("terraform", format!("tests of {root} for {environment}"))
            }
            Self::CheckovPassed { counts } => done("checkov", counts),
            Self::OutputsUnknownFields { table, fields } => {
                let fields = fields.join(", ");
                let text = format!("{table} has fields that this checkout ignores: {fields}");
                warning("outputs", text)
            }
        }
    }
}
