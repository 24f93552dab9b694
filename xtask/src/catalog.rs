//! What can be deployed, in which order, and its fixed facts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A thing that a release covers, in the order in which a release changes them: what is called
/// comes before what calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Thing {
    Governance,
    Axon,
    Orbit,
}

/// Every thing, in the order of a release.
pub const ALL: [Thing; 3] = [Thing::Governance, Thing::Axon, Thing::Orbit];

/// The things that ECS runs.
pub const SERVICES: [Thing; 2] = [Thing::Axon, Thing::Orbit];

impl Thing {
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

impl fmt::Display for Thing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Thing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ALL.into_iter()
            .find(|thing| thing.name() == text)
            .ok_or_else(|| format!("no thing is called {text}; there are governance, axon, orbit"))
    }
}
