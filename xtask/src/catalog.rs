//! What can be deployed, in which order, and its fixed facts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A long-running program that ECS runs. Named in the order of a release: a service that is called
/// comes before its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    Axon,
    Orbit,
}

/// A Lambda function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    Governance,
}

/// What a release covers, in the order in which it changes them: functions are called by services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    Function(Function),
    Service(Service),
}

pub const SERVICES: [Service; 2] = [Service::Axon, Service::Orbit];
pub const FUNCTIONS: [Function; 1] = [Function::Governance];

/// Every component, in the order of a release.
pub const COMPONENTS: [Component; 3] = [
    Component::Function(Function::Governance),
    Component::Service(Service::Axon),
    Component::Service(Service::Orbit),
];

impl Service {
    /// Its name everywhere: crate, binary, container, repository, template.
    pub fn name(self) -> &'static str {
        match self {
            Self::Axon => "axon",
            Self::Orbit => "orbit",
        }
    }

    /// Its template, below the root.
    pub fn template(self) -> String {
        format!("task-definitions/{}.json", self.name())
    }
}

impl Function {
    /// Its name everywhere: crate, binary, zip.
    pub fn name(self) -> &'static str {
        match self {
            Self::Governance => "governance",
        }
    }
}

impl Component {
    pub fn name(self) -> &'static str {
        match self {
            Self::Function(function) => function.name(),
            Self::Service(service) => service.name(),
        }
    }

    pub fn service(self) -> Option<Service> {
        match self {
            Self::Service(service) => Some(service),
            Self::Function(_) => None,
        }
    }

    /// Folders below the root whose files go into its binary. Only `src`, `policies` and the
    /// manifest in them count: tests and READMEs do not change what is built.
    pub fn source_folders(self) -> &'static [&'static str] {
        match self {
            Self::Function(Function::Governance) => &["services/governance"],
            Self::Service(Service::Axon) => &["services/axon", "services/kit"],
            Self::Service(Service::Orbit) => &["services/orbit", "services/kit"],
        }
    }
}

impl From<Service> for Component {
    fn from(service: Service) -> Self {
        Self::Service(service)
    }
}

impl From<Function> for Component {
    fn from(function: Function) -> Self {
        Self::Function(function)
    }
}

/// "unknown component `neutron`; expected governance, axon or orbit"
fn unknown(kind: &str, text: &str, known: &[&str]) -> String {
    let expected = match known {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => known.concat(),
    };
    format!("unknown {kind} `{text}`; expected {expected}")
}

/// A name as text: at the command line, in JSON, on the screen.
macro_rules! named {
    ($type:ident, $kind:literal, $all:expr) => {
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = $all.into_iter().find(|it| it.name() == text);
                found.ok_or_else(|| unknown($kind, text, &$all.map($type::name)))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                name.parse().map_err(de::Error::custom)
            }
        }
    };
}

named!(Service, "service", SERVICES);
named!(Function, "function", FUNCTIONS);
named!(Component, "component", COMPONENTS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        assert_eq!("axon".parse(), Ok(Component::Service(Service::Axon)));
        let unknown = "neutron".parse::<Component>().unwrap_err();
        assert_eq!(
            unknown,
            "unknown component `neutron`; expected governance, axon or orbit"
        );
        let unknown = "governance".parse::<Service>().unwrap_err();
        assert_eq!(
            unknown,
            "unknown service `governance`; expected axon or orbit"
        );
    }

    #[test]
    fn components_are_ordered_as_a_release_changes_them() {
        assert!(COMPONENTS.is_sorted());
    }
}
