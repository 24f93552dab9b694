//! Reads `services/catalog.json`: every fault at once, each with its line, its place and what is
//! right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

use super::names::fault_of_name;
use super::{
    Call, Catalog, CatalogEntry, CommonEntry, Component, FILE, Function, FunctionCheck,
    FunctionEntry, Route, Service, ServiceEntry,
};
use crate::decide::definition::json_path::line_of;
use crate::decide::definition::strict::{self, JsonError};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("{}", lines(.0))]
    Faults(Vec<CatalogFault>),
}

/// A fault of the catalog, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogFault {
    line: Option<usize>,
    path: String,
    message: String,
}

impl fmt::Display for CatalogFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{FILE}:{line}: {}: {}", self.path, self.message),
            None => write!(formatter, "{FILE}: {}: {}", self.path, self.message),
        }
    }
}

fn lines(faults: &[CatalogFault]) -> String {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

const COMMON: [&str; 4] = ["name", "kind", "crate", "retired"];
const OF_SERVICE: [&str; 6] = [
    "port",
    "default_route",
    "routes",
    "calls",
    "secrets",
    "alarms",
];
const OF_FUNCTION: [&str; 1] = ["checks"];
const OF_ROUTE: [&str; 4] = ["priority", "path", "exposed", "headers"];
const OF_CALL: [&str; 4] = ["service", "function", "path", "alarm_outcomes"];
const OF_CHECK: [&str; 2] = ["request", "response"];
const OF_ALARMS: [&str; 2] = ["p99_ms", "server_error_percent"];
/// A load balancer's rules have priorities from 1 to this.
const PRIORITY_MAX: u64 = 50_000;

pub(super) fn parse(text: &str) -> Result<Catalog, CatalogError> {
    let document = strict::parse_object(FILE, text)?;
    let mut reader = CatalogReader {
        text,
        faults: Vec::new(),
    };
    let entries = reader.entries(&document);
    reader.check_as_a_whole(&entries);
    let ordered = reader.in_order(entries.into_iter().map(|(_, entry)| entry).collect());
    if reader.faults.is_empty() {
        return Ok(Catalog { entries: ordered });
    }
    reader.faults.sort_by_key(|fault| fault.line);
    Err(CatalogError::Faults(reader.faults))
}

struct CatalogReader<'a> {
    text: &'a str,
    faults: Vec<CatalogFault>,
}

/// An object of the document, and its path.
#[derive(Clone)]
struct JsonPlace<'a> {
    path: String,
    members: &'a Map<String, Value>,
}

impl<'a> JsonPlace<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name)
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

impl CatalogReader<'_> {
    fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.faults.push(CatalogFault {
            line: line_of(self.text, path),
            path: path.to_owned(),
            message: message.into(),
        });
    }

    fn only_known(&mut self, place: &JsonPlace<'_>, known: &[&str]) {
        for name in place.members.keys() {
            if !known.contains(&name.as_str()) {
                let message = format!("unknown field; expected {}", known.join(", "));
                self.fault(&place.at(name), message);
            }
        }
    }

    fn text(&mut self, place: &JsonPlace<'_>, name: &str) -> Option<String> {
        let found = place.get(name).and_then(Value::as_str);
        if found.is_none_or(str::is_empty) {
            self.fault(&place.at(name), "missing, or not a text");
            return None;
        }
        found.map(str::to_owned)
    }

    fn flag(&mut self, place: &JsonPlace<'_>, name: &str, default: bool) -> bool {
        match place.get(name) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(&place.at(name), "expected true or false");
                default
            }
        }
    }

    fn number(&mut self, place: &JsonPlace<'_>, name: &str, max: u64) -> Option<u64> {
        let found = place.get(name).and_then(Value::as_u64);
        let found = found.filter(|number| (1..=max).contains(number));
        if found.is_none() {
            self.fault(
                &place.at(name),
                format!("expected a number from 1 to {max}"),
            );
        }
        found
    }

    fn texts(&mut self, place: &JsonPlace<'_>, name: &str) -> Vec<String> {
        let texts = match place.get(name) {
            None => Some(Vec::new()),
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|it| it.as_str().map(str::to_owned));
                texts.collect()
            }
            Some(_) => None,
        };
        texts.unwrap_or_else(|| {
            self.fault(&place.at(name), "expected a list of texts");
            Vec::new()
        })
    }

    fn objects<'v>(&mut self, place: &JsonPlace<'v>, name: &str) -> Vec<JsonPlace<'v>> {
        let path = place.at(name);
        let Some(value) = place.get(name) else {
            return Vec::new();
        };
        let Some(items) = value.as_array() else {
            self.fault(&path, "expected a list");
            return Vec::new();
        };
        let mut objects = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item.as_object() {
                Some(members) => objects.push(JsonPlace { path, members }),
                None => self.fault(&path, "expected an object"),
            }
        }
        objects
    }

    fn entries(&mut self, document: &Value) -> Vec<(String, CatalogEntry)> {
        let empty = Map::new();
        let place = JsonPlace {
            path: String::new(),
            members: document.as_object().unwrap_or(&empty),
        };
        self.only_known(&place, &["$schema", "components"]);
        let places = self.objects(&place, "components");
        if places.is_empty() {
            self.fault(
                "components",
                "missing or empty; expected a list of components",
            );
        }
        let entries = places.into_iter().filter_map(|place| {
            let entry = self.entry(&place)?;
            Some((place.path, entry))
        });
        entries.collect()
    }

    fn entry(&mut self, place: &JsonPlace<'_>) -> Option<CatalogEntry> {
        let name = self.text(place, "name");
        if let Some(fault) = name.as_deref().and_then(fault_of_name) {
            self.fault(&place.at("name"), fault);
        }
        let common = CommonEntry {
            folder: self.text(place, "crate").unwrap_or_default(),
            retired: self.flag(place, "retired", false),
        };
        let kind = place.get("kind").and_then(Value::as_str);
        let name = name.as_deref().unwrap_or_default();
        match kind {
            Some("service") => {
                let entry = self.service(place, common);
                let service = name.parse().ok()?;
                Some(CatalogEntry::Service(ServiceEntry { service, ..entry }))
            }
            Some("function") => {
                self.only_known(place, &[&COMMON[..], &OF_FUNCTION].concat());
                let checks = self.checks(place);
                let function = name.parse().ok()?;
                Some(CatalogEntry::Function(FunctionEntry {
                    function,
                    common,
                    checks,
                }))
            }
            _ => {
                self.fault(&place.at("kind"), "expected `service` or `function`");
                None
            }
        }
    }

    /// The entry of a service, but for its name.
    fn service(&mut self, place: &JsonPlace<'_>, common: CommonEntry) -> ServiceEntry {
        self.only_known(place, &[&COMMON[..], &OF_SERVICE].concat());
        let entry = ServiceEntry {
            service: Service::of(""),
            common,
            port: self
                .number(place, "port", u64::from(u16::MAX))
                .and_then(|port| port.try_into().ok())
                .unwrap_or_default(),
            default_route: self.flag(place, "default_route", false),
            routes: self.routes(place),
            calls: self.calls(place),
            secrets: self.texts(place, "secrets"),
            alarms: self.alarms(place),
        };
        if !entry.default_route && entry.routes.is_empty() {
            let message = "a service without the default route needs at least one route: ECS \
                           accepts only a target group that the load balancer uses";
            self.fault(&place.at("routes"), message);
        }
        entry
    }

    fn routes(&mut self, place: &JsonPlace<'_>) -> Vec<Route> {
        let mut routes = Vec::new();
        for place in self.objects(place, "routes") {
            self.only_known(&place, &OF_ROUTE);
            let priority = self.number(&place, "priority", PRIORITY_MAX);
            let path = self.text(&place, "path").unwrap_or_default();
            if !path.is_empty() && !path.starts_with('/') {
                self.fault(&place.at("path"), "a path begins with `/`");
            }
            routes.push(Route {
                priority: priority
                    .and_then(|it| it.try_into().ok())
                    .unwrap_or_default(),
                path,
                exposed: self.flag(&place, "exposed", true),
                headers: self.headers(&place),
            });
        }
        routes.sort_by_key(|route| route.priority);
        routes
    }

    fn headers(&mut self, place: &JsonPlace<'_>) -> Vec<(String, String)> {
        let Some(value) = place.get("headers") else {
            return Vec::new();
        };
        let headers = value.as_object().and_then(|headers| {
            let headers = headers.iter();
            headers
                .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect::<Option<Vec<_>>>()
        });
        headers.unwrap_or_else(|| {
            self.fault(&place.at("headers"), "expected an object of texts");
            Vec::new()
        })
    }

    fn calls(&mut self, place: &JsonPlace<'_>) -> Vec<Call> {
        let mut calls = Vec::new();
        for place in self.objects(place, "calls") {
            self.only_known(&place, &OF_CALL);
            let named = |kind: &str| place.get(kind).and_then(Value::as_str);
            let target = match (named("service"), named("function")) {
                (Some(name), None) => name.parse::<Service>().map(Component::from),
                (None, Some(name)) => name.parse::<Function>().map(Component::from),
                _ => Err("expected either `service` or `function` with a name".to_owned()),
            };
            let path = place.get("path").and_then(Value::as_str);
            let path = path.map(str::to_owned);
            match target {
                Ok(target) => {
                    let has_path = path.as_deref().is_some_and(|it| it.starts_with('/'));
                    if target.service().is_some() != has_path {
                        let message = "a call of a service, and only that, has a `path` that \
                                       begins with `/`";
                        self.fault(&place.at("path"), message);
                    }
                    calls.push(Call {
                        target,
                        path,
                        alarm_outcomes: self.texts(&place, "alarm_outcomes"),
                    });
                }
                Err(message) => self.fault(&place.path, message),
            }
        }
        calls
    }

    fn alarms(&mut self, place: &JsonPlace<'_>) -> Value {
        let Some(value) = place.get("alarms") else {
            return json!({});
        };
        let Some(members) = value.as_object() else {
            self.fault(&place.at("alarms"), "expected an object");
            return json!({});
        };
        let alarms = JsonPlace {
            path: place.at("alarms"),
            members,
        };
        self.only_known(&alarms, &OF_ALARMS);
        for (name, max) in [("p99_ms", 3_600_000), ("server_error_percent", 100)] {
            if members.contains_key(name) {
                self.number(&alarms, name, max);
            }
        }
        value.clone()
    }

    fn checks(&mut self, place: &JsonPlace<'_>) -> Vec<FunctionCheck> {
        let mut checks = Vec::new();
        for check in self.objects(place, "checks") {
            self.only_known(&check, &OF_CHECK);
            let (request, response) = (check.get("request"), check.get("response"));
            match (request, response) {
                (Some(request), Some(response @ Value::Object(_))) => checks.push(FunctionCheck {
                    request: request.clone(),
                    response: response.clone(),
                }),
                _ => self.fault(
                    &check.path,
                    "expected a `request`, and an object as `response`",
                ),
            }
        }
        if checks.is_empty() {
            let message = "a function needs at least one check: a version that answers nothing \
                           right must not be released";
            self.fault(&place.at("checks"), message);
        }
        checks
    }

    /// What no entry shows alone.
    fn check_as_a_whole(&mut self, entries: &[(String, CatalogEntry)]) {
        let mut names = BTreeMap::new();
        let mut priorities = BTreeMap::new();
        let mut matches = BTreeMap::new();
        for (path, entry) in entries {
            let name = entry.component().name();
            if let Some(first) = names.insert(name, path) {
                self.fault(
                    &format!("{path}.name"),
                    format!("`{name}` is the name of {first} too"),
                );
            }
            let routes = entry.as_service().map_or(&[][..], |entry| &entry.routes);
            for route in routes {
                let place = format!("{path}.routes");
                if let Some(other) = priorities.insert(route.priority, name) {
                    let message = format!(
                        "priority {} is that of a route of {other} too",
                        route.priority
                    );
                    self.fault(&place, message);
                }
                if let Some(other) = matches.insert(route.to_string(), name) {
                    self.fault(&place, format!("{route} is a route of {other} too"));
                }
            }
        }
        self.check_calls(entries);
        let defaults: Vec<_> = entries
            .iter()
            .filter(|(_, entry)| !entry.common().retired)
            .filter(|(_, entry)| entry.as_service().is_some_and(|it| it.default_route))
            .map(|(_, entry)| entry.component().name())
            .collect();
        let services = entries
            .iter()
            .any(|(_, entry)| entry.as_service().is_some());
        if services && defaults.len() != 1 {
            let found = if defaults.is_empty() {
                "none".to_owned()
            } else {
                defaults.join(", ")
            };
            let message = format!("exactly one service has the `default_route`; found {found}");
            self.fault("components", message);
        }
    }

    fn check_calls(&mut self, entries: &[(String, CatalogEntry)]) {
        let found: BTreeMap<Component, bool> = entries
            .iter()
            .map(|(_, entry)| (entry.component(), entry.common().retired))
            .collect();
        for (path, entry) in entries {
            let calls = entry.as_service().map_or(&[][..], |entry| &entry.calls);
            for (index, call) in calls.iter().enumerate() {
                let place = format!("{path}.calls[{index}]");
                let target = call.target;
                let kind = if target.service().is_some() {
                    "service"
                } else {
                    "function"
                };
                match found.get(&target) {
                    None => self.fault(&place, format!("there is no {kind} `{target}`")),
                    Some(true) if !entry.common().retired => {
                        self.fault(
                            &place,
                            format!("{target} is retired: remove the call first"),
                        );
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// The order of a release: what is called before its callers, and else by name.
    fn in_order(&mut self, mut waiting: Vec<CatalogEntry>) -> Vec<CatalogEntry> {
        waiting.sort_by_key(CatalogEntry::component);
        let known: BTreeSet<Component> = waiting.iter().map(CatalogEntry::component).collect();
        let mut placed = BTreeSet::new();
        let mut ordered = Vec::new();
        while !waiting.is_empty() {
            let is_free = |entry: &CatalogEntry| {
                let mut calls = entry.calls().into_iter();
                calls.all(|call| placed.contains(&call) || !known.contains(&call))
            };
            let Some(next) = waiting.iter().position(is_free) else {
                let names: Vec<_> = waiting.iter().map(|it| it.component().name()).collect();
                let message = format!(
                    "{} call each other in a circle, so none can be released before its callers",
                    names.join(", ")
                );
                self.fault("components", message);
                break;
            };
            let entry = waiting.remove(next);
            placed.insert(entry.component());
            ordered.push(entry);
        }
        ordered
    }
}
