//! What the user gives: variables, paths, files as an editor wrote them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::program::{Bare, stderr, stdout, xtask};

#[test]
fn the_environment_can_be_named_by_a_variable() {
    let bare = Bare::new("named");
    let plan = |variable: &str, arguments: &[&str]| {
        let mut command = bare.xtask(&[&["plan"], arguments].concat());
        stderr(&command.env("XTASK_ENV", variable).output().unwrap())
    };
    let output = plan("nowhere", &[]);
    assert!(output.contains("unknown environment `nowhere`"), "{output}");
    let output = plan("nowhere", &["--env", "elsewhere"]);
    assert!(
        output.contains("unknown environment `elsewhere`"),
        "{output}"
    );
}

#[test]
fn a_variable_that_is_empty_is_as_none() {
    let bare = Bare::new("empty");
    for name in ["XTASK_ENV", "XTASK_LOCAL_PORT", "GITHUB_STEP_SUMMARY"] {
        let mut command = bare.xtask(&["lint", "--format", "github"]);
        let output = command.env(name, "").output().unwrap();
        assert_eq!(
            stdout(&output),
            "no findings\n",
            "{name}: {}",
            stderr(&output)
        );
        assert!(output.status.success(), "{name}");
    }
    let output = bare.run(&["lint", "--env", ""]);
    assert_eq!(
        output.status.code(),
        Some(2),
        "only an empty variable counts as none"
    );
}

#[test]
fn a_variable_that_is_no_text_is_left_alone() {
    let mut command = Bare::new("latin").xtask(&["lint"]);
    let latin = OsString::from_vec(b"gr\xfc\xdfe".to_vec());
    let output = command.env("GREETING", latin).output().unwrap();
    assert_eq!(stdout(&output), "no findings\n", "{}", stderr(&output));
}

#[test]
fn a_path_is_relative_to_where_the_user_stands() {
    let bare = Bare::new("paths");
    let absolute = bare.root.join("task-definitions/orbit.json");
    let file = "task-definitions/axon.json";
    for (folder, path, name) in [
        ("", file, file),
        ("", "./task-definitions/axon.json", file),
        ("task-definitions", "axon.json", file),
        (
            "infra/environments",
            absolute.to_str().unwrap(),
            "task-definitions/orbit.json",
        ),
        (
            "xtask",
            "../task-definitions/axon.json",
            "xtask/../task-definitions/axon.json",
        ),
        ("xtask", "/dev/null", "/dev/null"),
        ("xtask", "nosuch.json", "xtask/nosuch.json"),
    ] {
        let output = xtask(&bare.root.join(folder), &["lint", "--file", path]).output();
        let output = output.unwrap();
        let shown = stdout(&output) + &stderr(&output);
        let expected = shown.starts_with(&format!("{name}:"))
            || shown.contains(&format!("error: {name}:"))
            || shown.contains(&format!("read {name}: No such file"));
        assert!(expected, "{path} in {folder}: {shown}");
    }
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark_and_have_lines_of_windows() {
    let bare = Bare::new("mark");
    for file in [
        "infra/environments/local.tfvars.json",
        "task-definitions/axon.json",
        "task-definitions/orbit.json",
    ] {
        let text = bare.read(file).replace('\n', "\r\n");
        bare.write(file, &format!("\u{feff}{text}"));
    }
    let output = bare.run(&["lint"]);
    assert_eq!(stdout(&output), "no findings\n", "{}", stderr(&output));
    let output = bare.run(&["lint", "--file", "task-definitions/axon.json"]);
    let text = stdout(&output);
    assert!(text.contains(" T52 error "), "{text}{}", stderr(&output));
    let output = bare.run(&[
        "lint",
        "--file",
        "task-definitions/axon.json",
        "--format",
        "github",
    ]);
    let place = "::error file=task-definitions/axon.json,line=2";
    assert!(stderr(&output).contains(place), "{}", stderr(&output));
}
