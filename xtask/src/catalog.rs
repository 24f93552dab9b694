//! What can be deployed, in which order, and its fixed facts: `services/catalog.json`, as a value.

mod draft;
mod names;
mod read;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

pub use draft::{CatalogDraft, CatalogError, CatalogFault};
pub use names::{Component, Function, Service, fault_of_name};

/// The file, below the root.
pub const FILE: &str = "services/catalog.json";

/// Every component of `services/catalog.json`, in the order of a release: what is called comes
/// before its callers.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    entries: Vec<CatalogEntry>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum CatalogEntry {
    Service(ServiceEntry),
    Function(FunctionEntry),
}

/// A long-running program that ECS runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceEntry {
    pub service: Service,
    pub common: CommonEntry,
    pub port: u16,
    /// Whether the load balancer forwards to it what no route matches.
    pub default_route: bool,
    pub routes: Vec<Route>,
    pub calls: Vec<Call>,
    /// The fields of its secret that a person must supply.
    pub secrets: Vec<String>,
    /// The figures of its alarms, which Terraform alone reads.
    alarms: Value,
}

/// A Lambda function.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionEntry {
    pub function: Function,
    pub common: CommonEntry,
    /// What a version must answer before the alias names it.
    pub checks: Vec<FunctionCheck>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CommonEntry {
    /// The folder of its crate, below the root. The package has the component's name.
    pub folder: String,
    /// Taken out of service: Terraform keeps only its repository, secret and log group.
    pub retired: bool,
}

/// A rule of the load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub priority: u32,
    pub path: String,
    pub exposed: bool,
    pub headers: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub target: Component,
    /// The path that it calls of a service.
    pub path: Option<String>,
    /// The outcomes of the call that set off an alarm.
    pub alarm_outcomes: Vec<String>,
}

/// A request that a function must answer, and the members that its answer must have.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionCheck {
    pub request: Value,
    pub response: Value,
}

impl FunctionCheck {
    /// An answer may have more members than were asked for.
    pub fn is_met(&self, answer: &Value) -> bool {
        let mut expected = self.response.as_object().into_iter().flatten();
        expected.all(|(name, value)| answer.get(name) == Some(value))
    }
}

/// A name that was asked for and is not in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{name}`; expected {}", either(.known))]
pub struct UnknownNameError {
    kind: &'static str,
    name: String,
    known: Vec<&'static str>,
}

fn either(names: &[&str]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

impl Catalog {
    /// Parses the text of `services/catalog.json`. Reports every fault at once.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        CatalogDraft::read(text)?.finish()
    }

    /// What is not retired, in the order of a release.
    pub fn components(&self) -> Vec<Component> {
        let entries = self.entries.iter().filter(|it| !it.common().retired);
        entries.map(CatalogEntry::component).collect()
    }

    /// The services that are not retired, in the order of a release.
    pub fn services(&self) -> Vec<Service> {
        let components = self.components().into_iter();
        components.filter_map(Component::service).collect()
    }

    /// The functions that are not retired.
    pub fn functions(&self) -> Vec<Function> {
        let components = self.components().into_iter();
        components.filter_map(Component::function).collect()
    }

    pub fn retired(&self) -> Vec<Component> {
        let entries = self.entries.iter().filter(|it| it.common().retired);
        entries.map(CatalogEntry::component).collect()
    }

    /// Every entry, in the order of a release.
    pub fn entries(&self) -> &[CatalogEntry] {
        &self.entries
    }

    /// The next priority for a route after all others.
    pub fn next_priority(&self) -> u32 {
        let services = self.entries.iter().filter_map(CatalogEntry::as_service);
        whole::next_priority(services.flat_map(|entry| &entry.routes))
    }

    pub fn service(&self, service: Service) -> Option<&ServiceEntry> {
        let mut services = self.entries.iter().filter_map(CatalogEntry::as_service);
        services.find(|entry| entry.service == service)
    }

    pub fn function(&self, function: Function) -> Option<&FunctionEntry> {
        let mut functions = self.entries.iter().filter_map(CatalogEntry::as_function);
        functions.find(|entry| entry.function == function)
    }

    pub fn entry(&self, component: Component) -> Option<&CatalogEntry> {
        let mut entries = self.entries.iter();
        entries.find(|entry| entry.component() == component)
    }

    /// The component of this name, unless it is retired.
    pub fn component_named(&self, name: &str) -> Result<Component, UnknownNameError> {
        let components = self.components();
        let found = components.iter().find(|it| it.name() == name);
        found.copied().ok_or_else(|| UnknownNameError {
            kind: "component",
            name: name.to_owned(),
            known: components.iter().map(|it| it.name()).collect(),
        })
    }

    /// The service of this name, unless it is retired.
    pub fn service_named(&self, name: &str) -> Result<Service, UnknownNameError> {
        let services = self.services();
        let found = services.iter().find(|it| it.name() == name);
        found.copied().ok_or_else(|| UnknownNameError {
            kind: "service",
            name: name.to_owned(),
            known: services.iter().map(|it| it.name()).collect(),
        })
    }

    /// The components of these names, or all where none is named; in the order of a release.
    pub fn chosen(&self, names: &[String]) -> Result<Vec<Component>, UnknownNameError> {
        let found = names.iter().map(|name| self.component_named(name));
        let chosen: Vec<_> = found.collect::<Result<_, _>>()?;
        let mut components = self.components();
        components.retain(|it| chosen.is_empty() || chosen.contains(it));
        Ok(components)
    }

    /// The services of these names, or all where none is named; in the order of a release.
    pub fn chosen_services(&self, names: &[String]) -> Result<Vec<Service>, UnknownNameError> {
        let found = names.iter().map(|name| self.service_named(name));
        let chosen: Vec<_> = found.collect::<Result<_, _>>()?;
        let mut services = self.services();
        services.retain(|it| chosen.is_empty() || chosen.contains(it));
        Ok(services)
    }

    /// What Terraform takes from the catalog, in an order of its own: another order of the entries,
    /// or a function's checks, change nothing that was applied.
    pub fn of_infra(&self) -> Value {
        let entries = self.entries.iter().map(|entry| {
            let facts = match entry {
                CatalogEntry::Service(entry) => entry.of_infra(),
                CatalogEntry::Function(_) => json!({ "kind": "function" }),
            };
            let retired = entry.common().retired;
            (entry.component().name(), json!([retired, facts]))
        });
        let sorted: BTreeMap<_, _> = entries.collect();
        json!(sorted)
    }
}

impl CatalogEntry {
    pub fn component(&self) -> Component {
        match self {
            Self::Service(entry) => entry.service.into(),
            Self::Function(entry) => entry.function.into(),
        }
    }

    pub fn common(&self) -> &CommonEntry {
        match self {
            Self::Service(entry) => &entry.common,
            Self::Function(entry) => &entry.common,
        }
    }

    pub fn as_service(&self) -> Option<&ServiceEntry> {
        match self {
            Self::Service(entry) => Some(entry),
            Self::Function(_) => None,
        }
    }

    pub fn as_function(&self) -> Option<&FunctionEntry> {
        match self {
            Self::Service(_) => None,
            Self::Function(entry) => Some(entry),
        }
    }

    /// What must run before it does.
    fn calls(&self) -> BTreeSet<Component> {
        let calls = self.as_service().map_or(&[][..], |entry| &entry.calls);
        calls.iter().map(|call| call.target).collect()
    }
}

impl ServiceEntry {
    pub fn called_services(&self) -> impl Iterator<Item = Service> {
        self.calls.iter().filter_map(|call| call.target.service())
    }

    fn of_infra(&self) -> Value {
        let calls = self.calls.iter().map(|call| {
            let name = call.target.name();
            (name, json!([call.path, call.alarm_outcomes]))
        });
        let calls: BTreeMap<_, _> = calls.collect();
        let routes = self.routes.iter().map(|route| {
            let facts = json!([route.path, route.exposed, route.headers]);
            (route.priority, facts)
        });
        let routes: BTreeMap<_, _> = routes.collect();
        json!({
            "kind": "service",
            "port": self.port,
            "default_route": self.default_route,
            "routes": routes,
            "calls": calls,
            "alarms": self.alarms,
        })
    }
}

impl Route {
    /// Whether it takes every request for this path: in a rule `*` stands for any characters and
    /// `?` for one.
    pub fn takes(&self, path: &str) -> bool {
        self.headers.is_empty() && matches(self.path.as_bytes(), path.as_bytes())
    }

    /// The requests that it is for. The load balancer compares headers in any case.
    fn requests(&self) -> (&str, Vec<(String, String)>) {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_lowercase()));
        let sorted: BTreeSet<_> = headers.collect();
        (&self.path, sorted.into_iter().collect())
    }
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|start| matches(rest, &text[start..])),
        ([first, pattern @ ..], [byte, text @ ..]) => {
            (*first == b'?' || first == byte) && matches(pattern, text)
        }
        _ => false,
    }
}

impl fmt::Display for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.path)?;
        for (name, value) in &self.headers {
            write!(formatter, " with {name}: {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod testing {
    //! The components that tests are about.

    use super::{Catalog, Component, Function, Service};

    pub const AXON: Service = Service::of("axon");
    pub const ORBIT: Service = Service::of("orbit");
    pub const GOVERNANCE: Function = Function::of("governance");

    pub const SERVICES: [Service; 2] = [AXON, ORBIT];
    pub const FUNCTIONS: [Function; 1] = [GOVERNANCE];
    pub const COMPONENTS: [Component; 3] = [
        Component::Function(GOVERNANCE),
        Component::Service(AXON),
        Component::Service(ORBIT),
    ];

    /// As the checkout has them before anything is added to it.
    pub fn catalog() -> Catalog {
        let text = include_str!("../tests/catalog.json");
        Catalog::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }
}
