//! `completions`: a script that completes `cargo xtask ...` in a shell. Other commands of cargo are
//! passed on to cargo's own completion, if it is installed.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command};
use clap_complete::Shell;

use crate::catalog::Catalog;

/// clap generates the completion of a program of this name; our part of the script maps
/// `cargo xtask` to it.
const PROGRAM: &str = "cargo-xtask";
/// The name has no hyphen: in clap's script for bash, subcommands of such a program are not found.
const PROGRAM_IN_BASH: &str = "xtask";

/// The script for a shell. It contains the names of the components and
/// environments that exist now.
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
            // zsh reads the first line if the file is in a folder of $fpath.
            let (first, rest) = script.split_once('\n').unwrap_or((&script, ""));
            let load = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }";
            let hook = include_str!("completions/cargo.zsh");
            format!("{first}\n\n{load}\n{rest}{hook}")
        }
        _ => script.into_owned(),
    }
}

/// What clap's script for fish does not complete: values of positional arguments, and of flags
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

/// Arguments with a known set of values. clap parses them as plain text, so that a wrong one is
/// refused by our own message.
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
    // clap wants values that live as long as the program.
    let values = values.into_iter().map(|value| &*value.leak());
    argument.value_parser(PossibleValuesParser::new(values))
}
