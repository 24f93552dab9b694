//! The components that stories are about. A service that the checkout gets changes no story.

use serde_json::{Value, json};
use xtask::catalog::{Catalog, Component, Service};
pub(crate) use xtask::decide::acceptance::{AXON, GOVERNANCE, ORBIT};

use super::Fake;

const TEXT: &str = include_str!("../../catalog.json");

pub(crate) const SERVICES: [Service; 2] = [AXON, ORBIT];

/// In the order of a release.
pub(crate) const COMPONENTS: [Component; 3] = [
    Component::Function(GOVERNANCE),
    Component::Service(AXON),
    Component::Service(ORBIT),
];

/// A function and two services, as the checkout has them before anything is added to it.
pub(crate) fn catalog() -> Catalog {
    Catalog::parse(TEXT).unwrap()
}

/// The same, changed.
pub(crate) fn changed(change: impl FnOnce(&mut Vec<Value>)) -> Catalog {
    let mut catalog: Value = serde_json::from_str(TEXT).unwrap();
    change(catalog["components"].as_array_mut().unwrap());
    Catalog::parse(&catalog.to_string()).unwrap()
}

pub(crate) fn entry<'a>(components: &'a mut [Value], name: &str) -> &'a mut Value {
    let mut components = components.iter_mut();
    components.find(|it| it["name"] == name).unwrap()
}

/// A service that the checkout does not have.
pub(crate) const ECHO: Service = Service::of("echo");

pub(crate) fn echo_entry() -> Value {
    entry_of(ECHO, 30)
}

fn entry_of(service: Service, priority: usize) -> Value {
    json!({
        "name": service, "kind": "service", "crate": format!("services/{service}"), "port": 80,
        "routes": [{ "priority": priority, "path": format!("/{service}"), "exposed": true }],
        "secrets": ["database_url", "api_key"],
    })
}

impl Fake {
    /// The checkout gets more services, each in all of axon's places.
    pub(crate) fn add_services(&self, services: &[Service]) {
        let mut state = self.state();
        for service in services {
            let (name, prefix) = (service.name(), Component::from(*service).prefix());
            let template = state.templates[&AXON.template()].as_str();
            let template = template.replace("AXON", &prefix).replace("axon", name);
            state.templates.insert(service.template(), template);
            state.sources.insert((*service).into(), "one".to_owned());
            let outputs = state.outputs["services"]["axon"].to_string();
            let outputs = serde_json::from_str(&outputs.replace("axon", name));
            state.outputs["services"][name] = outputs.unwrap();
        }
        let entries = services.iter().zip((30..).step_by(10));
        let entries = entries.map(|(service, priority)| entry_of(*service, priority));
        state.catalog = changed(|components| components.extend(entries));
    }

    /// The checkout gets one more service, in all of axon's places.
    pub(crate) fn add_echo(&self) {
        self.add_services(&[ECHO]);
    }
}
