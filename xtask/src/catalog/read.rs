//! Reads the entries of `services/catalog.json`, each by itself. The same limits are in
//! `services/catalog.schema.json`, by which editors check.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::draft::{CatalogDraft, DraftEntry};
use super::names::{fault_of_name, is_hyphenated};
use super::{
    Call, CatalogEntry, CommonEntry, Component, Function, FunctionCheck, FunctionEntry, Route,
    Service, ServiceEntry,
};

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

/// The limits of rules of AWS's load balancer: a priority, the characters of a path and of a
/// header's name and value, and five values in all.
pub(super) const PRIORITY_MAX: u32 = 50_000;
const PATH_LENGTH_MAX: usize = 128;
const HEADER_NAME_LENGTH_MAX: usize = 40;
const HEADER_VALUE_LENGTH_MAX: usize = 128;
const HEADERS_MAX: usize = 4;
const IN_ROUTE: &[u8] = b"_-.$/~\"'@:+&*?";
const IN_PATH: &[u8] = b"_-.$/~@:+&";
const IN_HEADER: &[u8] = b"!#$%&'*+-.^_`|~";
const WORD_LENGTH_MAX: usize = 64;

/// Reads every entry of the document into the draft.
pub(super) fn entries(draft: &mut CatalogDraft<'_>, document: &Value) {
    let empty = Map::new();
    let place = JsonPlace {
        path: String::new(),
        members: document.as_object().unwrap_or(&empty),
    };
    let mut reader = CatalogReader { draft };
    reader.only_known(&place, &["$schema", "components"]);
    let places = reader.objects(&place, "components");
    if places.is_empty() {
        reader.fault("components", "expected a list of at least one component");
    }
    for place in places {
        if let Some(entry) = reader.entry(&place) {
            reader.draft.entries.push(entry);
        }
    }
}

struct CatalogReader<'d, 'a> {
    draft: &'d mut CatalogDraft<'a>,
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

impl CatalogReader<'_, '_> {
    fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.draft.fault(path, message);
    }

    fn only_known(&mut self, place: &JsonPlace<'_>, known: &[&str]) {
        for name in place.members.keys() {
            if !known.contains(&name.as_str()) {
                let message = format!("unknown field; expected {}", known.join(", "));
                self.draft.unknown_word(&place.at(name), message);
            }
        }
    }

    fn text(&mut self, place: &JsonPlace<'_>, name: &str) -> Option<String> {
        let found = place.get(name).and_then(Value::as_str);
        if found.is_none_or(str::is_empty) {
            self.fault(&place.at(name), "expected a text");
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

    fn number(&mut self, place: &JsonPlace<'_>, name: &str, max: u32) -> Option<u32> {
        let found = place.get(name).and_then(Value::as_u64);
        let found = found.and_then(|number| u32::try_from(number).ok());
        let found = found.filter(|number| (1..=max).contains(number));
        if found.is_none() {
            let message = format!("expected a number from 1 to {max}");
            self.fault(&place.at(name), message);
        }
        found
    }

    /// A list of different words such as `database_url`.
    fn words(&mut self, place: &JsonPlace<'_>, name: &str) -> Vec<String> {
        let Some(value) = place.get(name) else {
            return Vec::new();
        };
        let words = value.as_array().and_then(|items| {
            let words = items.iter().map(|it| it.as_str().filter(|it| is_word(it)));
            words.collect::<Option<Vec<_>>>()
        });
        let words = words.unwrap_or_else(|| {
            let message = format!(
                "expected a list of words of at most {WORD_LENGTH_MAX} characters of a-z, 0-9 \
                 and single inner underscores, each beginning with a letter"
            );
            self.fault(&place.at(name), message);
            Vec::new()
        });
        let mut known = BTreeSet::new();
        for word in &words {
            if !known.insert(*word) {
                self.fault(&place.at(name), format!("`{word}` is there twice"));
            }
        }
        words.into_iter().map(str::to_owned).collect()
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

    fn entry(&mut self, place: &JsonPlace<'_>) -> Option<DraftEntry> {
        let name = self.text(place, "name");
        if let Some(fault) = name.as_deref().and_then(fault_of_name) {
            self.fault(&place.at("name"), fault);
        }
        let common = CommonEntry {
            folder: self.folder(place),
            retired: self.flag(place, "retired", false),
        };
        let mut draft = match place.get("kind").and_then(Value::as_str) {
            Some("service") => self.service(place, common),
            Some("function") => self.function(place, common),
            _ => {
                let message = "expected `service` or `function`";
                self.draft.unknown_word(&place.at("kind"), message);
                self.draft.unread.extend(name);
                return None;
            }
        };
        match &mut draft.entry {
            CatalogEntry::Service(entry) => entry.service = Service::unchecked(&name?),
            CatalogEntry::Function(entry) => entry.function = Function::unchecked(&name?),
        }
        Some(draft)
    }

    fn folder(&mut self, place: &JsonPlace<'_>) -> String {
        let folder = self.text(place, "crate").unwrap_or_default();
        let name = folder.strip_prefix("services/");
        if !folder.is_empty() && !name.is_some_and(is_hyphenated) {
            let message = format!("`{folder}` is not a folder `services/...` of a-z, 0-9 and -");
            self.fault(&place.at("crate"), message);
            return String::new();
        }
        folder
    }

    /// The entry of a service, but for its name.
    fn service(&mut self, place: &JsonPlace<'_>, common: CommonEntry) -> DraftEntry {
        self.only_known(place, &[&COMMON[..], &OF_SERVICE].concat());
        let port = self.number(place, "port", u16::MAX.into());
        let default_route = self.flag(place, "default_route", false);
        let (route_paths, routes) = self.routes(place);
        if !default_route && routes.is_empty() {
            let message = "a service without the default route needs at least one route: ECS \
                           accepts only a target group that the load balancer uses";
            self.fault(&place.at("routes"), message);
        }
        let (call_paths, calls) = self.calls(place);
        let entry = ServiceEntry {
            service: Service::of(""),
            common,
            port: port.and_then(|it| it.try_into().ok()).unwrap_or_default(),
            default_route,
            routes,
            calls,
            secrets: self.words(place, "secrets"),
            alarms: self.alarms(place),
        };
        DraftEntry {
            path: place.path.clone(),
            entry: CatalogEntry::Service(entry),
            route_paths,
            call_paths,
        }
    }

    /// The entry of a function, but for its name.
    fn function(&mut self, place: &JsonPlace<'_>, common: CommonEntry) -> DraftEntry {
        self.only_known(place, &[&COMMON[..], &OF_FUNCTION].concat());
        let entry = FunctionEntry {
            function: Function::of(""),
            common,
            checks: self.checks(place),
        };
        DraftEntry {
            path: place.path.clone(),
            entry: CatalogEntry::Function(entry),
            route_paths: Vec::new(),
            call_paths: Vec::new(),
        }
    }

    fn routes(&mut self, place: &JsonPlace<'_>) -> (Vec<String>, Vec<Route>) {
        let (mut paths, mut routes) = (Vec::new(), Vec::new());
        for place in self.objects(place, "routes") {
            self.only_known(&place, &OF_ROUTE);
            let priority = self.number(&place, "priority", PRIORITY_MAX);
            routes.push(Route {
                priority: priority.unwrap_or_default(),
                path: self.path(&place, IN_ROUTE),
                exposed: self.flag(&place, "exposed", true),
                headers: self.headers(&place),
            });
            paths.push(place.path);
        }
        (paths, routes)
    }

    /// A path of at most so many characters that AWS allows there; empty where it is not one.
    fn path(&mut self, place: &JsonPlace<'_>, signs: &[u8]) -> String {
        let path = self.text(place, "path").unwrap_or_default();
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || signs.contains(&byte);
        let is_path =
            path.starts_with('/') && path.len() <= PATH_LENGTH_MAX && path.bytes().all(is_valid);
        if is_path || path.is_empty() {
            return path;
        }
        let signs = String::from_utf8_lossy(signs);
        let message = format!(
            "`{path}` is not a path: it begins with `/` and has at most {PATH_LENGTH_MAX} \
             characters of A-Z, a-z, 0-9 and {signs}"
        );
        self.fault(&place.at("path"), message);
        String::new()
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
        let is_header = |(name, value): &(String, String)| {
            let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || IN_HEADER.contains(&byte);
            (1..=HEADER_NAME_LENGTH_MAX).contains(&name.len())
                && name.bytes().all(is_valid)
                && (1..=HEADER_VALUE_LENGTH_MAX).contains(&value.chars().count())
        };
        let valid = headers.filter(|it| it.len() <= HEADERS_MAX && it.iter().all(is_header));
        let mut headers = valid.unwrap_or_else(|| {
            let message = format!(
                "expected an object of at most {HEADERS_MAX} texts: names of at most \
                 {HEADER_NAME_LENGTH_MAX} characters, values of 1 to {HEADER_VALUE_LENGTH_MAX}"
            );
            self.fault(&place.at("headers"), message);
            Vec::new()
        });
        headers.sort();
        headers
    }

    fn calls(&mut self, place: &JsonPlace<'_>) -> (Vec<String>, Vec<Call>) {
        let (mut paths, mut calls) = (Vec::new(), Vec::new());
        for place in self.objects(place, "calls") {
            self.only_known(&place, &OF_CALL);
            let named = |kind: &str| place.get(kind).and_then(Value::as_str);
            let target = match (named("service"), named("function")) {
                (Some(name), None) => Component::from(Service::unchecked(name)),
                (None, Some(name)) => Component::from(Function::unchecked(name)),
                _ => {
                    let message = "expected either `service` or `function` with a name";
                    self.fault(&place.path, message);
                    continue;
                }
            };
            let path = match target {
                Component::Service(_) => Some(self.path(&place, IN_PATH)),
                Component::Function(_) => {
                    if place.get("path").is_some() {
                        let message = "a call of a function has no path: remove it";
                        self.fault(&place.at("path"), message);
                    }
                    None
                }
            };
            calls.push(Call {
                target,
                path,
                alarm_outcomes: self.words(&place, "alarm_outcomes"),
            });
            paths.push(place.path);
        }
        (paths, calls)
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
        let places = self.objects(place, "checks");
        if places.is_empty() {
            let message = "a function needs at least one check: a version that answers nothing \
                           right must not be released";
            self.fault(&place.at("checks"), message);
        }
        for check in places {
            self.only_known(&check, &OF_CHECK);
            let (request, response) = (check.get("request"), check.get("response"));
            match (request, response) {
                (Some(request), Some(Value::Object(response))) if !response.is_empty() => {
                    checks.push(FunctionCheck {
                        request: request.clone(),
                        response: json!(response),
                    });
                }
                _ => self.fault(
                    &check.path,
                    "expected a `request`, and as `response` an object of at least one field",
                ),
            }
        }
        checks
    }
}

/// Such as `database_url`.
fn is_word(text: &str) -> bool {
    let is_part = |part: &str| {
        let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !part.is_empty() && part.bytes().all(is_valid)
    };
    text.len() <= WORD_LENGTH_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.split('_').all(is_part)
}
