//! What can be deployed, in which order, and its fixed facts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A component that a release covers, in the order in which a release changes them: what is called
/// comes before what calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    Governance,
    Axon,
    Orbit,
}

/// Every component, in the order of a release.
pub const ALL: [Component; 3] = [Component::Governance, Component::Axon, Component::Orbit];

/// The components that ECS runs.
pub const SERVICES: [Component; 2] = [Component::Axon, Component::Orbit];

impl Component {
    /// Its name everywhere: crate, binary, container, repository, template.
    pub fn name(self) -> &'static str {
        match self {
            Self::Governance => "governance",
            Self::Axon => "axon",
            Self::Orbit => "orbit",
        }
    }

    pub fn is_service(self) -> bool {
        self != Self::Governance
    }

    /// Folders below the root whose files go into its binary. Only `src`, `policies` and the
    /// manifest in them count: tests and READMEs do not change what is built.
    pub fn source_folders(self) -> &'static [&'static str] {
        match self {
            Self::Governance => &["services/governance"],
            Self::Axon => &["services/axon", "services/kit"],
            Self::Orbit => &["services/orbit", "services/kit"],
        }
    }

    /// Its template, below the root.
    pub fn template(self) -> String {
        format!("task-definitions/{}.json", self.name())
    }
}

impl fmt::Display for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Component {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ALL.into_iter()
            .find(|component| component.name() == text)
            .ok_or_else(|| {
                format!("unknown component `{text}`; expected governance, axon or orbit")
            })
    }
}
