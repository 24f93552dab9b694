//! Names of components, as types. A name need not be in the catalog: a record may have one that
//! went since.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name of a service everywhere: crate, binary, container, repository, template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service(&'static str);

/// The name of a function everywhere: crate, binary, zip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Function(&'static str);

/// What a release covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    Function(Function),
    Service(Service),
}

/// A target group's name has at most 32 characters, two of them hyphens, and the prefix of an
/// environment at most 16. The emulator's containers and Docker have longer limits.
const NAME_LENGTH_MAX: usize = 15;

/// Other resources of an environment have these names, or placeholders that are made of them.
const RESERVED: [&str; 7] = [
    "deploy",
    "ecs-execution",
    "endpoints",
    "execution",
    "flows",
    "load-balancer",
    "plan",
];
/// The families that end in this are Terraform's.
const RESERVED_END: &str = "-placeholder";

/// Why a text is not a name, for people.
pub fn fault_of_name(text: &str) -> Option<String> {
    if RESERVED.contains(&text) || text.ends_with(RESERVED_END) {
        return Some(format!(
            "`{text}` is the name of another resource of an environment: use another one"
        ));
    }
    (!is_name(text)).then(|| {
        format!(
            "`{text}` is not a name: use at most {NAME_LENGTH_MAX} characters of a-z, 0-9 and \
             single inner hyphens, beginning with a letter"
        )
    })
}

/// Whether AWS accepts the name in all the names that are made of it.
fn is_name(text: &str) -> bool {
    text.len() <= NAME_LENGTH_MAX && is_hyphenated(text)
}

/// Words of a-z and 0-9 with single hyphens between them, beginning with a letter.
pub(super) fn is_hyphenated(text: &str) -> bool {
    let is_word = |word: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !word.is_empty() && word.bytes().all(inner)
    };
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.split('-').all(is_word)
}

/// One copy of each name for the whole run, so that names can be copied like numbers. Names of the
/// catalog, records and outputs come here: few and short.
fn interned(text: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = names.get(text) {
        return known;
    }
    let name: &'static str = text.to_owned().leak();
    names.insert(name);
    name
}

impl Service {
    pub const fn of(name: &'static str) -> Self {
        Self(name)
    }

    /// A name as it is in a catalog that is not checked yet.
    pub(super) fn unchecked(name: &str) -> Self {
        Self(interned(name))
    }

    pub fn name(self) -> &'static str {
        self.0
    }

    /// Its template, below the root.
    pub fn template(self) -> String {
        format!("task-definitions/{self}.json")
    }
}

impl Function {
    pub const fn of(name: &'static str) -> Self {
        Self(name)
    }

    /// A name as it is in a catalog that is not checked yet.
    pub(super) fn unchecked(name: &str) -> Self {
        Self(interned(name))
    }

    pub fn name(self) -> &'static str {
        self.0
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

    pub fn function(self) -> Option<Function> {
        match self {
            Self::Service(_) => None,
            Self::Function(function) => Some(function),
        }
    }

    /// How settings and placeholders name it: `RATE_LIMITS` for `rate-limits`.
    pub fn prefix(self) -> String {
        self.name().to_uppercase().replace('-', "_")
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

impl fmt::Display for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A name as text: in JSON, on the screen.
macro_rules! named {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                if is_name(text) {
                    return Ok(Self(interned(text)));
                }
                Err(format!("`{text}` is not a name of a component"))
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

named!(Service);
named!(Function);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_aws_accepts_in_every_place() {
        for valid in ["a", "axon", "rate-limits", "a1-2b", "abcdefghijklmno"] {
            assert!(is_name(valid), "{valid}");
        }
        let too_long = "abcdefghijklmnop";
        for invalid in ["", "1a", "Axon", "a_b", "a--b", "-a", "a-", "a.b", too_long] {
            assert!(!is_name(invalid), "{invalid}");
        }
        for reserved in ["plan", "a-placeholder", "Axon"] {
            assert!(fault_of_name(reserved).is_some(), "{reserved}");
        }
        assert_eq!(fault_of_name("planner"), None);
    }

    #[test]
    fn equal_names_are_one() {
        let read: Service = serde_json::from_str("\"axon\"").unwrap();
        assert_eq!(read, Service::of("axon"));
        assert_eq!(
            Component::from(Function::of("rate-limits")).prefix(),
            "RATE_LIMITS"
        );
    }
}
