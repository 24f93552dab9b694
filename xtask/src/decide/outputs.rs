//! The outputs: what Terraform built for one environment, as one JSON document.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::{Catalog, Component, Function, Service, ServiceEntry};
use crate::decide::environment::Environment;

/// The version of the document that this checkout understands.
pub const VERSION: u64 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outputs {
    pub version: u64,
    pub project: String,
    /// What the names of its resources begin with.
    pub name_prefix: String,
    pub environment: String,
    pub region: String,
    pub account_id: String,
    pub cluster: String,
    /// Private DNS name of the Cloud Map namespace.
    pub namespace: String,
    pub architecture: Architecture,
    /// Host (and port) that images are pushed to and named by.
    pub registry: String,
    pub execution_role_arn: String,
    /// URL of the load balancer, without a slash at its end.
    pub base_url: String,
    /// Hash of the Terraform sources and variables that made these outputs.
    pub infra_sha256: String,
    /// So long the load balancer takes at most to find that a target fails. None where an older
    /// `infra/` was applied.
    #[serde(default)]
    pub target_check_seconds: u64,
    pub services: BTreeMap<Service, ServiceOutputs>,
    pub functions: BTreeMap<Function, FunctionOutputs>,
    /// Components of which only repository, secret and log group are left.
    pub retired: Vec<String>,
}

/// What one service is called in AWS, and what its definition needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceOutputs {
    pub ecs_service: String,
    pub repository: String,
    pub task_role_arn: String,
    pub secret_arn: String,
    pub log_group: String,
    pub target_group_arn: String,
    pub desired_count: i32,
    pub port: u16,
    /// Absent where the load balancer does not expose the service.
    pub probe: Option<HealthUrl>,
    pub environment: BTreeMap<String, String>,
    /// The rules of the load balancer, by priority.
    pub routes: Vec<AppliedRoute>,
}

/// A rule of the load balancer, as Terraform made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRoute {
    pub priority: u32,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub exposed: bool,
}

/// Where a service answers `GET /health` through the load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthUrl {
    pub url: String,
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionOutputs {
    pub name: String,
    pub alias: String,
    pub log_group: String,
}

/// The names are those of ECS's `runtimePlatform`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    #[serde(rename = "X86_64")]
    X86,
    #[serde(rename = "ARM64")]
    Arm,
}

impl Architecture {
    pub fn ecs(self) -> &'static str {
        match self {
            Self::X86 => "X86_64",
            Self::Arm => "ARM64",
        }
    }

    /// As OCI images and Docker name it.
    pub fn oci(self) -> &'static str {
        match self {
            Self::X86 => "amd64",
            Self::Arm => "arm64",
        }
    }

    pub fn target(self) -> &'static str {
        match self {
            Self::X86 => "x86_64-unknown-linux-gnu",
            Self::Arm => "aarch64-unknown-linux-gnu",
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OutputsError {
    #[error("the outputs are not JSON: {0}")]
    NotJson(String),
    #[error("the outputs are of version {found}, this checkout reads version {VERSION}{}", list(.missing))]
    Version { found: String, missing: Vec<String> },
    #[error("the outputs are not what this checkout reads{}", list(.missing))]
    Fields { missing: Vec<String> },
    #[error("the outputs have a field of the wrong type: {0}")]
    Type(String),
}

impl OutputsError {
    /// Whether an older `infra/` wrote it: then an apply of this checkout's makes it readable.
    pub fn is_older(&self) -> bool {
        match self {
            Self::Version { found, .. } => found.parse().is_ok_and(|found: u64| found < VERSION),
            Self::Fields { .. } => true,
            Self::NotJson(_) | Self::Type(_) => false,
        }
    }
}

/// A change of the catalog that what runs cannot follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogConflict {
    #[error("{0} runs as another kind of component")]
    Kind(Component),
    #[error(
        "{service} {}runs on port {runs} and not {wanted}",
        if *.is_retired { "is retired and changed at once: it " } else { "" }
    )]
    Port {
        service: Service,
        runs: u16,
        wanted: u16,
        is_retired: bool,
    },
    #[error(
        "{service} takes the route {route} from {owner}{}",
        if *.is_renamed { ", which runs and has no entry any more" } else { "" }
    )]
    Route {
        service: Service,
        route: String,
        owner: Service,
        /// Whether the owner has no entry.
        is_renamed: bool,
    },
}

impl CatalogConflict {
    /// How it is resolved.
    pub fn remedy(&self) -> String {
        match self {
            Self::Kind(component) => {
                format!(
                    "give the new component another name than {component}, and retire the old one"
                )
            }
            Self::Port {
                service,
                runs,
                is_retired: true,
                ..
            } => format!("set the port of {service} to {runs} until it is gone"),
            Self::Port { service, runs, .. } => format!(
                "set the port of {service} to {runs}, or make a new entry and retire this one"
            ),
            Self::Route {
                owner,
                is_renamed: true,
                ..
            } => {
                format!("an entry that runs keeps its name: put {owner} back, and retire it first")
            }
            Self::Route { service, route, .. } => {
                format!("release {service} with another route, then move {route} to it")
            }
        }
    }
}

fn list(missing: &[String]) -> String {
    if missing.is_empty() {
        String::new()
    } else {
        format!("; missing: {}", missing.join(", "))
    }
}

/// Outputs, and the fields of the document that this checkout does not know: they are a warning
/// and not an error, so that an older checkout can still roll back.
pub fn parse(text: &str) -> Result<(Outputs, Vec<String>), OutputsError> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| OutputsError::NotJson(error.to_string()))?;
    let missing = missing_fields(&value);
    match value.get("version") {
        Some(Value::Number(number)) if number.as_u64() == Some(VERSION) => {}
        found => {
            let found = found.map_or_else(|| "none".to_owned(), Value::to_string);
            return Err(OutputsError::Version { found, missing });
        }
    }
    if !missing.is_empty() {
        return Err(OutputsError::Fields { missing });
    }
    let outputs: Outputs = serde_json::from_value(value.clone())
        .map_err(|error| OutputsError::Type(error.to_string()))?;
    let known = serde_json::to_value(&outputs).unwrap_or_default();
    let mut unknown = Vec::new();
    collect_unknown("", &value, &known, &mut unknown);
    Ok((outputs, unknown))
}

const FIELDS: [&str; 15] = [
    "project",
    "name_prefix",
    "environment",
    "region",
    "account_id",
    "cluster",
    "namespace",
    "architecture",
    "registry",
    "execution_role_arn",
    "base_url",
    "infra_sha256",
    "services",
    "functions",
    "retired",
];
const SERVICE_FIELDS: [&str; 10] = [
    "ecs_service",
    "repository",
    "task_role_arn",
    "secret_arn",
    "log_group",
    "target_group_arn",
    "desired_count",
    "port",
    "environment",
    "routes",
];
const FUNCTION_FIELDS: [&str; 3] = ["name", "alias", "log_group"];

fn missing_fields(value: &Value) -> Vec<String> {
    let mut missing = absent("", value, &FIELDS);
    for (kind, fields) in [
        ("services", &SERVICE_FIELDS[..]),
        ("functions", &FUNCTION_FIELDS),
    ] {
        let components = value.get(kind).and_then(Value::as_object);
        for (name, found) in components.into_iter().flatten() {
            missing.extend(absent(&format!("{kind}.{name}."), found, fields));
        }
    }
    missing
}

fn absent(prefix: &str, value: &Value, fields: &[&str]) -> Vec<String> {
    fields
        .iter()
        .filter(|field| value.get(**field).is_none())
        .map(|field| format!("{prefix}{field}"))
        .collect()
}

fn collect_unknown(place: &str, found: &Value, known: &Value, unknown: &mut Vec<String>) {
    let (Value::Object(found), Value::Object(known)) = (found, known) else {
        return;
    };
    for (key, value) in found {
        let place = if place.is_empty() {
            key.clone()
        } else {
            format!("{place}.{key}")
        };
        match known.get(key) {
            Some(known) => collect_unknown(&place, value, known, unknown),
            None => unknown.push(place),
        }
    }
}

impl Outputs {
    /// What of it belongs to another environment than this one.
    pub fn foreign(&self, environment: &Environment) -> Vec<String> {
        let fields = [
            ("project", &self.project, &environment.project),
            ("environment", &self.environment, &environment.name),
            ("region", &self.region, &environment.region),
            ("account_id", &self.account_id, &environment.account_id),
        ];
        let foreign = fields
            .into_iter()
            .filter(|(_, outputs, file)| outputs != file);
        foreign
            .map(|(field, outputs, file)| format!("{field} {outputs} and not {file}"))
            .collect()
    }

    /// The services of the catalog that Terraform made, in the order of a release. A service that
    /// the catalog does not name is left alone.
    pub fn services(&self, catalog: &Catalog) -> Vec<Service> {
        let mut services = catalog.services();
        services.retain(|service| self.services.contains_key(service));
        services
    }

    /// The functions of the catalog that Terraform made.
    pub fn functions(&self, catalog: &Catalog) -> Vec<Function> {
        let mut functions = catalog.functions();
        functions.retain(|function| self.functions.contains_key(function));
        functions
    }

    /// What of the catalog cannot become true of what runs by these outputs.
    pub fn conflicts(&self, catalog: &Catalog) -> Vec<CatalogConflict> {
        let mut conflicts = Vec::new();
        for entry in catalog.entries() {
            let component = entry.component();
            let other = match component {
                Component::Service(service) => Component::Function(Function::of(service.name())),
                Component::Function(function) => Component::Service(Service::of(function.name())),
            };
            if self.has(other) {
                conflicts.push(CatalogConflict::Kind(component));
            }
            let Some(entry) = entry.as_service() else {
                continue;
            };
            match self.services.get(&entry.service) {
                Some(made) if made.port != entry.port => conflicts.push(CatalogConflict::Port {
                    service: entry.service,
                    runs: made.port,
                    wanted: entry.port,
                    is_retired: entry.common.retired,
                }),
                Some(_) => {}
                None => conflicts.extend(self.taken_routes(entry, catalog)),
            }
        }
        conflicts
    }

    /// A service that does not run yet would answer nothing on another one's route.
    fn taken_routes(&self, entry: &ServiceEntry, catalog: &Catalog) -> Vec<CatalogConflict> {
        let mut taken = Vec::new();
        for (owner, made) in &self.services {
            let routes = entry.routes.iter().filter(|route| {
                let same = |made: &AppliedRoute| {
                    let headers: BTreeMap<_, _> = route.headers.iter().cloned().collect();
                    made.path == route.path && made.headers == headers
                };
                made.routes.iter().any(same)
            });
            taken.extend(routes.map(|route| CatalogConflict::Route {
                service: entry.service,
                route: route.to_string(),
                owner: *owner,
                is_renamed: catalog.service(*owner).is_none(),
            }));
        }
        taken
    }

    /// What the catalog retires and Terraform has not removed yet.
    pub fn to_retire(&self, catalog: &Catalog) -> Vec<Component> {
        let mut retired = catalog.retired();
        retired.retain(|component| self.has(*component));
        retired
    }

    /// The names of what Terraform made and the catalog does not name any more, sorted.
    pub fn deleted(&self, catalog: &Catalog) -> Vec<String> {
        let services = self.services.keys().map(|it| it.name());
        let made = services.chain(self.functions.keys().map(|it| it.name()));
        let entries = catalog.entries().iter();
        let named: BTreeSet<_> = entries.map(|it| it.component().name()).collect();
        let mut deleted: Vec<_> = made
            .filter(|name| !named.contains(name))
            .map(str::to_owned)
            .collect();
        deleted.sort();
        deleted
    }

    pub fn has(&self, component: Component) -> bool {
        match component {
            Component::Service(service) => self.services.contains_key(&service),
            Component::Function(function) => self.functions.contains_key(&function),
        }
    }

    /// The facts of one service, which must be one of `services`.
    pub fn service(&self, service: Service) -> &ServiceOutputs {
        &self.services[&service]
    }

    /// The facts of one function, which must be one of `functions`.
    pub fn function(&self, function: Function) -> &FunctionOutputs {
        &self.functions[&function]
    }

    pub fn log_group(&self, component: Component) -> &str {
        match component {
            Component::Service(service) => &self.service(service).log_group,
            Component::Function(function) => &self.function(function).log_group,
        }
    }

    /// `registry/repository`, without tag or digest.
    pub fn image_name(&self, service: Service) -> String {
        format!("{}/{}", self.registry, self.service(service).repository)
    }
}

impl FunctionOutputs {
    /// What services call: the function by its alias, never `$LATEST`.
    pub fn qualified_name(&self) -> String {
        format!("{}:{}", self.name, self.alias)
    }
}

#[cfg(test)]
pub mod testing {
    /// Outputs as Terraform writes it for local.
    pub const LOCAL: &str = include_str!("outputs.local.json");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::LOCAL;
    use super::*;
    use crate::catalog::testing::{AXON, GOVERNANCE};

    #[test]
    fn the_local_outputs_is_read() {
        let (outputs, unknown) = parse(LOCAL).unwrap();
        assert_eq!(unknown, Vec::<String>::new());
        assert_eq!(outputs.image_name(AXON), "localhost:4577/demo/axon");
        assert_eq!(
            outputs.function(GOVERNANCE).qualified_name(),
            "demo-governance:live"
        );
    }

    #[test]
    fn all_missing_fields_are_named_at_once() {
        let mut value: Value = serde_json::from_str(LOCAL).unwrap();
        value.as_object_mut().unwrap().remove("cluster");
        value["services"]["orbit"]
            .as_object_mut()
            .unwrap()
            .remove("port");
        let error = parse(&value.to_string()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the outputs are not what this checkout reads; missing: cluster, services.orbit.port"
        );
    }

    #[test]
    fn another_version_is_refused_with_what_it_lacks() {
        let error = parse(&json!({ "version": 9, "project": "demo" }).to_string()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("version 9"), "{text}");
        assert!(
            text.contains("cluster") && text.contains("services"),
            "{text}"
        );
    }

    #[test]
    fn what_an_older_infra_wrote_is_told_from_what_a_newer_one_did() {
        let is_older = |version: u64| {
            let text = json!({ "version": version }).to_string();
            parse(&text).unwrap_err().is_older()
        };
        assert!(is_older(VERSION - 1));
        assert!(
            is_older(VERSION),
            "of this version, before it had all fields"
        );
        assert!(!is_older(VERSION + 1));
        assert!(!parse("{}").unwrap_err().is_older());
    }

    #[test]
    fn an_unknown_field_is_told_and_not_refused() {
        let mut value: Value = serde_json::from_str(LOCAL).unwrap();
        value["services"]["axon"]["colour"] = json!("blue");
        let (_, unknown) = parse(&value.to_string()).unwrap();
        assert_eq!(unknown, ["services.axon.colour"]);
    }
}
