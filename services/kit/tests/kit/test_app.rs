//! An application in the test's process, at a fixed time.

use service_kit::settings::{Base, Reader, SettingsSource};
use service_kit::{App, Clock, Dependencies, Metrics, Routes};

use crate::SERVICE;

/// An application that is ready.
pub(crate) fn test_app(
    variables: &[(&str, &str)],
    routes: impl FnOnce(&Dependencies) -> Routes,
) -> (App, Metrics) {
    let clock = Clock::fixed("2026-01-02T03:04:05Z".parse().unwrap());
    let dependencies = Dependencies::new(SERVICE, clock);
    dependencies.lifecycle.ready(None);
    let app = App::new(routes(&dependencies), &base(variables), &dependencies).unwrap();
    (app, dependencies.metrics)
}

pub(crate) fn base(variables: &[(&str, &str)]) -> Base {
    let variable = |name: &str| {
        let mut of_name = variables.iter().filter(|(known, _)| *known == name);
        of_name.next().map(|(_, value)| (*value).to_owned())
    };
    let source = SettingsSource {
        variable: &variable,
        file: &|_| unreachable!("the base has no file"),
    };
    let mut reader = Reader::new(&source);
    let base = Base::read(&mut reader, SERVICE);
    reader.finish(base).unwrap()
}
