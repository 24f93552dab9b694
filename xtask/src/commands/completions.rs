//! `completions`: a script that completes `cargo xtask ...` in a shell, and leaves the rest of cargo
//! to cargo's own completion where there is one.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command};
use clap_complete::Shell;

use crate::catalog::Catalog;

/// clap writes the completion of a program of this name; the rest of the script leads there from
/// `cargo xtask`.
const PROGRAM: &str = "cargo-xtask";
/// In its script for bash, subcommands of a program with a hyphen in its name are not found.
const PROGRAM_IN_BASH: &str = "xtask";

/// The script for a shell. It has the names of the components and of the environments, as they are now.
pub fn completions(
    shell: Shell,
    command: Command,
    catalog: &Catalog,
    environments: &[String],
) -> String {
    let program = match shell {
        Shell::Bash => PROGRAM_IN_BASH,
        _ => PROGRAM,
    };
    let mut command = with_values(command, catalog, environments)
        .name(program)
        .bin_name(program);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, program, &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => format!("{script}{}", include_str!("completions/cargo.bash")),
        Shell::Fish => {
            let values = fish_values(&command);
            let hook = include_str!("completions/cargo.fish");
            format!("{script}{values}{hook}")
        }
        Shell::Zsh => {
            // The first line is for the case that the file lies in $fpath.
            let (first, rest) = script.split_once('\n').unwrap_or((&script, ""));
            let load = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }";
            let hook = include_str!("completions/cargo.zsh");
            format!("{first}\n\n{load}\n{rest}{hook}")
        }
        _ => script.into_owned(),
    }
}

/// What clap leaves out for fish: the values of arguments without a flag, and of flags that stand
/// before the command.
fn fish_values(command: &Command) -> String {
    let values = |argument: &Arg| {
        let values = argument.get_possible_values();
        let values: Vec<_> = values.iter().map(PossibleValue::get_name).collect();
        values.join(" ")
    };
    let mut lines = Vec::new();
    for verb in command.get_subcommands() {
        let name = verb.get_name();
        for argument in verb.get_positionals().filter(|it| !values(it).is_empty()) {
            let values = values(argument);
            lines.push(format!(
                "complete -c {PROGRAM} -n '__fish_cargo_xtask_using_subcommand {name}' -f -a '{values}'"
            ));
        }
    }
    for argument in command.get_opts() {
        let values = values(argument);
        if let (Some(long), false) = (argument.get_long(), values.is_empty()) {
            lines.push(format!(
                "complete -c {PROGRAM} -n '__cargo_xtask_is_asked_for --{long}' -f -a '{values}'"
            ));
        }
    }
    lines.join("\n")
}

/// Arguments whose values are known, although they are parsed as any text, so that a wrong one is
/// refused in our own words.
fn with_values(command: Command, catalog: &Catalog, environments: &[String]) -> Command {
    let names: Vec<_> = match command.get_name() {
        "render" | "lint" => catalog.services().iter().map(|it| it.name()).collect(),
        _ => catalog.components().iter().map(|it| it.name()).collect(),
    };
    let command = command.mut_args(|argument| valued(argument, &names, environments));
    command.mut_subcommands(|command| with_values(command, catalog, environments))
}

fn valued(argument: Arg, names: &[&str], environments: &[String]) -> Arg {
    let values = match argument.get_id().as_str() {
        "env" => environments.to_vec(),
        "name" | "names" => names.iter().map(ToString::to_string).collect(),
        "builder" => vec!["host".to_owned(), "docker".to_owned()],
        _ => return argument,
    };
    // clap's command lives as long as the program, and so do these.
    let values = values.into_iter().map(|value| &*value.leak());
    argument.value_parser(PossibleValuesParser::new(values))
}
