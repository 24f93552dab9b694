//! Rules about what a service's own program reads from its environment.

use strsim::levenshtein;

use super::{Input, LintFault, fault};
use crate::decide::definition::container::ContainerDefinition;
use crate::decide::definition::settings::{ProgramSetting, ProgramSettings};

/// A name that is further away is meant to be another.
const TYPING_ERRORS_MAX: usize = 3;

/// The container that runs the service's program, and what that reads.
struct OwnProgram<'a> {
    container: &'a ContainerDefinition<'a>,
    settings: &'a ProgramSettings,
}

fn program<'a>(input: &'a Input<'_>) -> Option<OwnProgram<'a>> {
    let settings = input.facts.settings.as_ref()?;
    let service = input.facts.service.as_ref()?;
    let mut containers = input.containers.iter();
    let container = containers.find(|it| it.name() == Some(&service.container_name))?;
    Some(OwnProgram {
        container,
        settings,
    })
}

impl OwnProgram<'_> {
    fn is_set(&self, name: &str) -> bool {
        // An empty variable counts as unset.
        let environment = self.container.environment();
        let value = environment.get(name);
        value.is_some_and(|value| !value.is_empty()) || self.container.secrets().contains_key(name)
    }

    fn environment_path(&self) -> String {
        self.container.0.path_of("environment")
    }
}

/// T78
pub(super) fn values(input: &Input<'_>) -> Vec<LintFault> {
    let Some(program) = program(input) else {
        return Vec::new();
    };
    let variables = program.container.0.items("environment");
    let faults = variables.iter().filter_map(|variable| {
        let setting = program.settings.find(variable.text("name")?)?;
        let value = variable.get("value")?;
        let text = value.string().filter(|text| !text.is_empty())?;
        let expected = setting.kind.fault(text)?;
        let what = format!("{} is {text:?}", setting.name);
        let found = fault(value.json_path(), what, format!("set {expected}"));
        Some(if setting.lenient {
            found.warning()
        } else {
            found
        })
    });
    faults.collect()
}

/// T79
pub(super) fn missing(input: &Input<'_>) -> Vec<LintFault> {
    let Some(program) = program(input) else {
        return Vec::new();
    };
    // They may be in a file that is not known here.
    if !program.container.0.items("environmentFiles").is_empty() {
        return Vec::new();
    }
    let settings = program.settings.settings.iter();
    let faults = settings.flat_map(|setting| missing_for(&program, setting));
    faults.collect()
}

fn missing_for(program: &OwnProgram<'_>, setting: &ProgramSetting) -> Vec<LintFault> {
    let name = &setting.name;
    let is_set = program.is_set(name);
    let mut faults = Vec::new();
    let mut tell = |what: String, remedy: String| {
        faults.push(fault(program.environment_path(), what, remedy));
    };
    if setting.required && !is_set {
        tell(format!("{name} is not set"), format!("set {name}"));
    }
    // Told once of the two.
    let other = { setting.instead_of.as_ref() }.filter(|other| name < *other);
    if let Some(other) = other {
        match (is_set, program.is_set(other)) {
            (false, false) => tell(
                format!("neither {name} nor {other} is set"),
                "set one of them".to_owned(),
            ),
            (true, true) => tell(
                format!("{name} and {other} are set"),
                "remove one of them".to_owned(),
            ),
            _ => {}
        }
    }
    for needed in &setting.needs {
        if is_set && !program.is_set(needed) {
            let what = format!("{needed} is not set, which {name} needs");
            tell(what, format!("set {needed}"));
        }
    }
    faults
}

/// T80
pub(super) fn unknown(input: &Input<'_>) -> Vec<LintFault> {
    // Where a part of the document cannot be read, a name may be in that.
    let Some(program) = program(input).filter(|it| it.settings.faults.is_empty()) else {
        return Vec::new();
    };
    let lists = ["environment", "secrets"].map(|list| program.container.0.items(list));
    let faults = lists.iter().flatten().filter_map(|variable| {
        let node = variable.get("name")?;
        let name = node.string().filter(|name| !name.is_empty())?;
        let is_given = input.facts.extra_variables.contains(name);
        if is_given || program.settings.find(name).is_some() {
            return None;
        }
        let known = program.settings.settings.iter().map(|it| &it.name);
        let near = known.min_by_key(|known| levenshtein(known, name));
        let near = near.filter(|near| levenshtein(near, name) <= TYPING_ERRORS_MAX);
        let remedy = near.map_or_else(
            || "remove it, or read it in the program".to_owned(),
            |near| format!("set {near}, or remove it"),
        );
        let what = format!("the program reads no {name}");
        Some(fault(node.json_path(), what, remedy))
    });
    faults.collect()
}

/// T81
pub(super) fn unread(input: &Input<'_>) -> Vec<LintFault> {
    let Some(program) = program(input) else {
        return Vec::new();
    };
    let faults = program.settings.faults.iter().map(|problem| {
        let what = format!("settings.json of the service cannot be read: {problem}");
        let name = program.container.name().unwrap_or_default();
        let remedy = format!("write it by `UPDATE=1 cargo test -p {name} settings`");
        fault(program.environment_path(), what, remedy)
    });
    faults.collect()
}
