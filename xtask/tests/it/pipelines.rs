//! What a pipeline's jobs may do: a job that compiles has no credentials and can get none, a job with
//! them compiles nothing, and what they are set up with is what the READMEs say.

use std::collections::BTreeSet;

use crate::rules::sources;

/// One job of a workflow, as its file has it.
struct Job {
    /// File and name, for people.
    at: String,
    text: String,
}

impl Job {
    fn has(&self, text: &str) -> bool {
        self.text.contains(text)
    }

    /// Whether it holds credentials, or the token that buys them. A job that only calls another
    /// workflow runs nothing itself.
    fn is_trusted(&self) -> bool {
        let words = ["id-token: write", "environment: ", "secrets.", "id_tokens:"];
        self.has("steps:") && words.iter().any(|word| self.has(word))
    }

    fn compiles(&self) -> bool {
        let runs = self.text.lines().filter(|line| !is_comment(line));
        let mut words = runs.flat_map(|line| line.split(|it: char| !it.is_alphanumeric()));
        words.any(|word| ["cargo", "rustc", "rustup"].contains(&word))
    }
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('#') || line.starts_with("name:") || line.starts_with("- name:")
}

fn workflow(name: &str) -> String {
    let found = sources(&[".github/workflows"], &format!("{name}.yml"));
    found.into_iter().next().unwrap().text
}

/// The blocks of a mapping whose keys are indented so.
fn blocks(text: &str, indentation: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let key = line.strip_prefix(indentation).filter(|rest| {
            rest.ends_with(':') && rest.starts_with(|it: char| it.is_ascii_lowercase() || it == '.')
        });
        if let Some(key) = key {
            found.push((key.trim_end_matches(':').to_owned(), String::new()));
        } else if let Some((_, block)) = found.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    found
}

fn jobs() -> Vec<Job> {
    let mut found = Vec::new();
    for file in sources(&[".github/workflows"], ".yml") {
        let (_, jobs) = file.text.split_once("\njobs:\n").unwrap();
        for (name, text) in blocks(jobs, "  ") {
            let at = format!("{} {name}", file.path);
            found.push(Job { at, text });
        }
    }
    found
}

/// Those of the page for other systems.
fn gitlab_jobs() -> Vec<Job> {
    let page = sources(&[".ci"], "README.md").remove(0).text;
    let section = page.split("## GitLab\n").nth(1).unwrap();
    let block = section.split("```yaml\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let jobs = blocks(block, "").into_iter();
    jobs.map(|(at, text)| Job { at, text }).collect()
}

fn names(jobs: &[Job], holds: impl Fn(&Job) -> bool) -> Vec<&str> {
    let found = jobs.iter().filter(|job| holds(job));
    found.map(|job| job.at.as_str()).collect()
}

#[test]
fn no_job_that_compiles_has_credentials_or_a_token_for_them() {
    let jobs = jobs();
    let compile = [
        ".github/workflows/build.yml build",
        ".github/workflows/check.yml test",
    ];
    assert_eq!(names(&jobs, Job::compiles), compile);
    let trusted = [
        ".github/workflows/deploy.yml deploy",
        ".github/workflows/plan.yml plan",
        ".github/workflows/rollback.yml rollback",
    ];
    assert_eq!(names(&jobs, Job::is_trusted), trusted);
    // What calls the workflow that compiles hands it nothing either.
    let gives = |job: &Job| job.has("/build.yml") && (job.has("id-token") || job.has("secrets:"));
    assert_eq!(names(&jobs, gives), [""; 0]);
    let caches = |job: &Job| job.is_trusted() && job.has("actions/cache");
    assert_eq!(names(&jobs, caches), [""; 0], "others fill a cache");
}

#[test]
fn jobs_with_credentials_run_what_was_kept() {
    for job in jobs().into_iter().filter(Job::is_trusted) {
        let kept = job.text.find("actions/download-artifact@").unwrap();
        let credentials = job.text.find("configure-aws-credentials@").unwrap();
        assert!(kept < credentials, "{}", job.at);
        let runs: Vec<&str> = job
            .text
            .split("run: exec target/bundle/xtask ")
            .skip(1)
            .collect();
        assert!(!runs.is_empty(), "{}", job.at);
        for run in runs {
            let (verb, rest) = run.split_once(' ').unwrap();
            let needs_bundle = ["deploy", "plan"].contains(&verb);
            let given = rest.starts_with("--artifacts target/bundle ");
            assert_eq!(given, needs_bundle, "{}: {verb}", job.at);
        }
    }
}

#[test]
fn the_page_for_gitlab_keeps_them_apart_too() {
    let jobs = gitlab_jobs();
    let compile = names(&jobs, Job::compiles);
    assert_eq!(compile, ["build"]);
    let build = jobs.iter().find(|job| job.at == "build").unwrap();
    assert!(!build.has("id_tokens") && !build.has("AWS_"), "build");
    let is_released = |job: &Job| job.has("xtask deploy --artifacts target/bundle");
    assert_eq!(names(&jobs, is_released), [".release"]);
}

#[test]
fn a_rollback_waits_for_no_deploy_and_is_cancelled_by_none() {
    let groups: Vec<String> = sources(&[".github/workflows"], ".yml")
        .iter()
        .flat_map(|file| file.text.lines())
        .filter_map(|line| line.trim().strip_prefix("group: ").map(str::to_owned))
        .collect();
    let text = workflow("rollback");
    let own = "rollback-${{ github.run_id }}";
    assert_eq!(text.matches("group: ").count(), 1);
    assert!(text.contains(&format!("\n  group: {own}\n  cancel-in-progress: false\n")));
    assert_eq!(groups.iter().filter(|group| *group == own).count(), 1);

    let jobs = gitlab_jobs();
    let rollback = jobs.iter().find(|job| job.at == ".rollback").unwrap();
    let base = jobs.iter().find(|job| job.at == ".aws").unwrap();
    assert!(!rollback.has("resource_group") && !base.has("resource_group"));
}

/// The session of a role is the longest that its policy allows, and no shorter than its job.
#[test]
fn a_session_lasts_as_long_as_a_release_may() {
    let role = sources(&["infra/bootstrap/pipeline"], "main.tf").remove(0);
    assert!(role.text.contains("plan = 3600, deploy = 7200"));
    for job in jobs() {
        if !job.has("vars.DEPLOY_ROLE_ARN") {
            continue;
        }
        assert!(job.has("role-duration-seconds: 7200 "), "{}", job.at);
        assert!(job.has("timeout-minutes: 120\n"), "{}", job.at);
        let end = "AWS_CREDENTIAL_EXPIRATION: ${{ steps.credentials.outputs.aws-expiration }}";
        assert!(job.has(end) && job.has("output-credentials: true"));
    }
}

#[test]
fn every_action_is_pinned_by_its_commit_and_says_its_version() {
    let mut found = 0;
    for file in sources(&[".github/workflows"], ".yml") {
        for line in file.text.lines() {
            let Some((_, action)) = line.split_once("uses: ") else {
                continue;
            };
            if action.starts_with("$/") {
                continue;
            }
            let (_, pin) = action.split_once('@').unwrap();
            let (commit, version) = pin.split_once(" # v").unwrap();
            let is_hex = commit.chars().all(|it| it.is_ascii_hexdigit());
            assert!(commit.len() == 40 && is_hex, "{line}");
            assert_eq!(version.split('.').count(), 3, "{line}");
            found += 1;
        }
    }
    assert!(found > 10, "{found}");
}

/// The names behind a word such as `vars.`, in a text.
fn named(text: &str, word: &str) -> BTreeSet<String> {
    let is_name = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_';
    let rests = text.split(word).skip(1);
    let names = rests.map(|rest| rest.split(|it| !is_name(it)).next().unwrap().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// What is used and never set is empty, and a workflow then fails at its first step.
#[test]
fn what_the_workflows_read_is_what_the_readmes_set() {
    let workflows = sources(&[".github/workflows"], ".yml");
    let workflows: String = workflows.into_iter().map(|file| file.text).collect();
    let readmes = [
        ("infra", "README.md"),
        (".ci", "README.md"),
        (".github", "README.md"),
    ];
    let readmes: String = readmes
        .iter()
        .flat_map(|(folder, name)| sources(&[folder], name))
        .map(|file| file.text)
        .collect();
    let read = named(&workflows, "vars.");
    assert_eq!(read, named(&readmes, "gh variable set "));
    assert!(read.contains("DEPLOY_ROLE_ARN"), "{read:?}");
    assert_eq!(
        named(&workflows, "secrets."),
        named(&readmes, "gh secret set ")
    );
}

#[test]
fn a_forks_pull_request_is_tested_and_gets_nothing() {
    let check = workflow("check");
    assert!(check.contains("\non:\n  push:\n  pull_request:\n"));
    let fork = "github.event.pull_request.head.repo.full_name != github.repository";
    assert!(check.contains(&format!("if: github.event_name == 'push' || {fork}\n")));
    let everywhere = sources(&[".github/workflows"], ".yml");
    let harmful = everywhere.iter().filter(|file| {
        file.text.contains("pull_request_target") || file.text.contains("workflow_run:")
    });
    assert_eq!(harmful.count(), 0);
    let jobs = jobs();
    let test = jobs.iter().find(|job| job.at.ends_with("check.yml test"));
    assert!(
        test.unwrap()
            .has("    permissions:\n      contents: read\n")
    );
    let of_plan = |name: &str| jobs.iter().find(|job| job.at.ends_with(name)).unwrap();
    assert!(of_plan("plan.yml fork").has(&format!("if: {fork}\n")));
    assert!(of_plan("plan.yml build").has("head.repo.full_name == github.repository\n"));
    assert!(of_plan("plan.yml plan").has("    needs: build\n"));
}
