//! A catalog that is wrong: every command says all that is, and does nothing.

use std::fs::remove_file as remove;

use serde_json::{Value, json};
use xtask::catalog;

use super::program::{Bare, stderr, stdout};

fn edit(bare: &Bare, change: impl FnOnce(&mut Value)) {
    let mut catalog: Value = serde_json::from_str(&bare.read(catalog::FILE)).unwrap();
    change(&mut catalog);
    bare.write(catalog::FILE, &format!("{catalog:#}\n"));
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "files of the checkout are missing"
)]
fn all_that_is_wrong_with_the_catalog_and_its_files_is_told_at_once() {
    let bare = Bare::new("catalog-faults");
    edit(&bare, |catalog| {
        let components = &mut catalog["components"];
        components[1]["port"] = json!(0);
        components[2]["calls"][0]["service"] = json!("nobody");
    });
    remove(bare.root.join("services/orbit/Cargo.toml")).unwrap();
    remove(bare.root.join("task-definitions/axon.json")).unwrap();
    bare.write("task-definitions/echo.json", "{}");
    bare.write(
        "services/governance/Cargo.toml",
        "[package]\nname = \"rules\"\n",
    );
    let members = bare.read("Cargo.toml");
    bare.write(
        "Cargo.toml",
        &members.replace("\"services/axon\"", "\"services/ax\""),
    );
    let expected = [
        "components[1]: axon has no template: there is no file task-definitions/axon.json\n",
        "components[1].port: expected a number from 1 to 65535\n",
        "components[2].calls[0]: there is no service `nobody`",
        "components[2].crate: orbit has no crate: there is no file services/orbit/Cargo.toml\n",
        "services/governance/Cargo.toml: the name of the package is rules: set it to governance",
        "Cargo.toml: services/axon of axon is not among the members: add it\n",
        "task-definitions/echo.json: no service of services/catalog.json has it: delete the file, \
         or restore its entry in services/catalog.json\n",
        "  hint: correct what is listed; `cargo xtask new` writes a component whose files fit\n",
    ];
    for command in [
        &["lint"][..],
        &["build", "axon"],
        &["deploy", "--env", "local"],
        &["new", "service", "third"],
    ] {
        let output = bare.run(command);
        let shown = stderr(&output);
        for text in expected {
            assert!(shown.contains(text), "{command:?}: no {text} in {shown}");
        }
        assert_eq!(shown.lines().count(), expected.len(), "{shown}");
        assert_eq!(
            (output.status.code(), stdout(&output)),
            (Some(12), String::new())
        );
    }
    assert!(!bare.root.join("services/third").exists() && !bare.root.join("target").exists());
}

/// What belongs to an entry whose name is not right is not told to be wrong.
#[test]
fn the_files_of_an_entry_with_a_wrong_name_are_left_out() {
    let bare = Bare::new("catalog-name");
    edit(&bare, |catalog| {
        catalog["components"][2]["name"] = json!("Orbit");
    });
    let output = bare.run(&["lint"]);
    let shown = stderr(&output);
    assert!(
        shown.contains("components[2].name: `Orbit` is not a name"),
        "{shown}"
    );
    assert_eq!(shown.lines().count(), 2, "{shown}");
}

/// Terraform ignores a field that it does not know; an older xtask must not.
#[test]
fn a_catalog_that_is_newer_than_the_program_is_told_with_a_remedy() {
    let bare = Bare::new("catalog-newer");
    edit(&bare, |catalog| {
        catalog["format"] = json!(2);
        catalog["components"][1]["kind"] = json!("job");
    });
    let output = bare.run(&["deploy"]);
    let shown = stderr(&output);
    for text in [
        "components[1].kind: expected `service` or `function`",
        "format: unknown field; expected $schema, components",
        "what only a newer checkout knows needs that checkout's own `cargo xtask`",
    ] {
        assert!(shown.contains(text), "no {text} in {shown}");
    }
    assert_eq!(output.status.code(), Some(12));
}
