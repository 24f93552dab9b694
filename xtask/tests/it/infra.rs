//! What a text about `infra/` says is in `infra/`, and what its policies leave open is what they
//! must.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn infra() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra")
}

#[expect(clippy::disallowed_methods, reason = "the rules are about files")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Terraform's files below a folder.
fn terraform_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(terraform_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "tf") {
            found.push(path);
        }
    }
    found
}

/// The words in backquotes of a table's first column, under a heading.
fn first_column(text: &str, heading: &str) -> BTreeSet<String> {
    let section = text.split(&format!("## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_variable_has_a_row_and_every_row_a_variable() {
    let variables = read(&infra().join("variables.tf"));
    let declared: BTreeSet<String> = variables
        .lines()
        .filter_map(|line| line.strip_prefix("variable \"")?.split('"').next())
        .map(str::to_owned)
        .collect();
    assert!(declared.len() > 15, "{declared:?}");
    let output = first_column(&read(&infra().join("README.md")), "Environments");
    assert_eq!(declared, output);
}

#[test]
fn every_module_is_in_the_table_of_modules() {
    let main = read(&infra().join("main.tf"));
    let used: BTreeSet<String> = main
        .lines()
        .filter_map(|line| line.strip_prefix("module \"")?.split('"').next())
        .map(str::to_owned)
        .collect();
    let output = first_column(&read(&infra().join("README.md")), "Modules");
    assert_eq!(used, output);
}

/// Of the table of alarms, those that roll a deployment back.
#[test]
fn the_alarms_that_are_said_to_take_a_deployment_back_are_those_that_ecs_gets() {
    let watch = read(&infra().join("modules/service/watch.tf"));
    let between = |text: &str, from: &str, to: &str| {
        let rest = text.split(from).nth(1).unwrap();
        rest.split(to).next().unwrap().to_owned()
    };
    let list = between(&watch, "deployment_alarm_names = concat(", "\n  )\n");
    let given: BTreeSet<String> = list
        .lines()
        .filter_map(|line| line.trim().strip_prefix("aws_cloudwatch_metric_alarm."))
        .map(|rest| {
            let resource = rest.split('[').next().unwrap();
            let head = format!("resource \"aws_cloudwatch_metric_alarm\" \"{resource}\"");
            let name = between(&watch, &head, "\n  alarm_description");
            format!("<service>-{}", between(&name, "${local.full_name}-", "\""))
        })
        .collect();
    let readme = read(&infra().join("README.md"));
    let output: BTreeSet<String> = between(&readme, "\n## Alarms\n", "\n## ")
        .lines()
        .filter(|row| row.ends_with("| yes |"))
        .map(|row| between(row, "`", "`"))
        .collect();
    assert!(!given.is_empty());
    assert_eq!(given, output);
}

/// What AWS knows no resource for, by its service authorization reference, and the policies of
/// keys, where `*` is the key. Everything else names ARNs.
const FOR_EVERY_RESOURCE: [&str; 8] = [
    "ecr:GetAuthorizationToken",
    "ecr:GetAuthorizationToken",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition, ecs:ListTaskDefinitions, elasticloadbalancing:DescribeTargetHealth",
    "ecs:ListTasks",
    "kms:*",
    "kms:*",
    "kms:Decrypt, kms:DescribeKey, kms:Encrypt, kms:GenerateDataKey*, kms:ReEncrypt*",
];

#[test]
fn no_policy_is_for_every_resource_but_where_it_must() {
    let mut found = Vec::new();
    for file in terraform_files(&infra()) {
        let text = read(&file);
        assert!(!text.contains("not_actions"), "{}", file.display());
        assert!(!text.contains("not_resources"), "{}", file.display());
        for statement in text.split("  statement {\n").skip(1) {
            let statement = statement.split("\n  }\n").next().unwrap();
            if !statement.lines().any(is_for_all) {
                continue;
            }
            let actions = statement
                .lines()
                .find(|line| line.trim().starts_with("actions"));
            let actions = actions.unwrap().split(['[', ']']).nth(1).unwrap();
            found.push(actions.replace('"', ""));
        }
    }
    found.sort();
    assert_eq!(found, FOR_EVERY_RESOURCE);
}

fn is_for_all(line: &str) -> bool {
    line.trim().starts_with("resources") && line.contains("\"*\"")
}
