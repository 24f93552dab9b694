//! Why tasks stopped, gathered while ECS still lists them (about an hour).

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::sleep;

use super::deployment::Watch;
use crate::catalog::Service;
use crate::decide::outputs::Outputs;
use crate::decide::release::cause::{self, Cause, CauseKind, Seen, permission_missing};
use crate::decide::release::snapshot::{Revision, ServiceEvent, StoppedContainer, StoppedTask};
use crate::ports::Context;
use crate::report;

const LOG_LINES: usize = 20;
/// More are read, since programs write their metrics when they end.
const LOG_LINES_READ: i32 = 60;
/// How often it is looked for lines that are not there yet.
const LOG_LOOKS: u32 = 4;
const LOG_INTERVAL: Duration = Duration::from_secs(3);

/// What explains a failure.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) causes: Vec<Cause>,
    /// One for each way in which tasks stopped of themselves.
    pub(super) tasks: Vec<report::TaskEvidence>,
    /// Lines for people about what else is known.
    pub(super) notes: Vec<String>,
}

impl Evidence {
    pub(super) fn of_note(note: String) -> Self {
        Self {
            notes: vec![note],
            ..Self::default()
        }
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// What went wrong in the program's own words: `NAME exited with 78: PORT: ...`; or which
    /// health check failed; or the first cause that is known. A host that is lost explains all else.
    pub(super) fn headline(&self) -> Option<String> {
        let known = self.causes.iter().find(|it| it.kind != CauseKind::Unknown);
        let of_cause = |cause: &Cause| format!("{}: {}", cause.kind.name(), cause.detail);
        if let Some(lost) = known.filter(|it| it.kind == CauseKind::HostLost) {
            return Some(of_cause(lost));
        }
        let mut tasks = self.tasks.iter();
        let sick = tasks.find(|it| it.reason.contains("health check"));
        sick.map(|sick| without_arn(&sick.reason))
            .or_else(|| self.exit())
            .or_else(|| known.map(of_cause))
    }

    /// The first exit of a container that is a failure, with its last words.
    fn exit(&self) -> Option<String> {
        let ended = self.tasks.iter().find_map(|task| {
            let containers = task.containers.iter();
            let mut failed =
                containers.filter_map(|it| Some((it, it.exit_code.filter(|it| *it != 0)?)));
            failed
                .next()
                .map(|(container, code)| (task, container, code))
        });
        let (task, container, code) = ended?;
        let mut headline = format!("{} exited with {code}", container.name);
        let last = task.log.iter().rev().find(|line| !line.trim().is_empty());
        if let Some(said) = last.map(|line| said(line)).or(container.reason.clone()) {
            headline.push_str(&format!(": {said}"));
        }
        Some(headline)
    }

    /// The program's own words say more of an exit than its code.
    fn explain_exits(&mut self) {
        let Some(exit) = self.exit() else { return };
        let exits = self.causes.iter_mut();
        for cause in exits.filter(|it| it.kind == CauseKind::ContainerExited) {
            cause.detail.clone_from(&exit);
        }
        for cause in &mut self.causes {
            cause.detail = without_arn(&cause.detail);
        }
    }
}

/// ECS's words about a target group, with its name in place of its ARN.
pub(super) fn without_arn(text: &str) -> String {
    let Some((before, arn)) = text.split_once("arn:") else {
        return text.to_owned();
    };
    let (arn, after) = arn.split_at(arn.find([')', ' ']).unwrap_or(arn.len()));
    let name = arn.split('/').nth(1).unwrap_or(arn);
    format!("{before}{name}{after}")
}

/// What a line of log says of an error, if that is what it is about.
fn error_of(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    value.get("error").is_some().then(|| said(line))
}

/// The message of a line of log, which may be JSON.
fn said(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    match (text("message"), text("error")) {
        (Some(message), Some(error)) => format!("{message}: {error}"),
        (Some(message), None) => message.to_owned(),
        (None, _) => line.trim().to_owned(),
    }
}

/// What was seen of a rollout that failed.
pub(super) struct FailedRollout<'a> {
    pub(super) service: Service,
    pub(super) revision: &'a Revision,
    pub(super) reason: &'a str,
    pub(super) watch: &'a Watch,
}

/// Why it failed: tasks with the last lines of their logs, targets, events, and the causes that
/// they show.
pub(super) async fn gather(
    context: &Context<'_>,
    outputs: &Outputs,
    failed: &FailedRollout<'_>,
) -> Evidence {
    let FailedRollout {
        service,
        revision,
        watch,
        ..
    } = *failed;
    let mut evidence = Evidence::default();
    let tasks = context.cluster.stopped_tasks(outputs, service, revision);
    let tasks: Vec<StoppedTask> = match tasks.await {
        Ok(mut tasks) => {
            tasks.retain(|it| it.is_evidence() || it.lost_its_host());
            tasks.sort_by_key(StoppedTask::lost_its_host);
            tasks
        }
        Err(error) => {
            evidence.note(format!("tasks       could not be read: {error:#}"));
            Vec::new()
        }
    };
    let targets = watch.unhealthy.iter();
    evidence
        .notes
        .extend(targets.map(|why| format!("targets     {why}")));
    let known = failed.watch.known_event.as_deref();
    let events = events_since(context, outputs, service, known).await;
    let events = events.unwrap_or_else(|error| {
        evidence.note(format!("events      could not be read: {error:#}"));
        Vec::new()
    });
    evidence
        .notes
        .extend(events.iter().map(|text| format!("event       {text}")));
    if tasks.is_empty() {
        evidence.note(format!("tasks       no task of {revision} failed"));
    }
    evidence.causes = cause::causes(&Seen {
        tasks: &tasks,
        targets: &watch.unhealthy,
        events: &events,
        deployment: watch.deployment.as_ref(),
        reason: failed.reason,
        stopped_by_us: watch.stopped_for.is_some(),
    });
    let mut looks = LOG_LOOKS;
    for (task, more) in deaths(tasks) {
        let log = last_words(context, outputs, service, &task, &mut looks).await;
        let (log, log_error) = match log {
            Ok(lines) => (lines, None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        evidence.tasks.push(report::TaskEvidence {
            id: task.id,
            stop_code: task.stop_code,
            reason: task.reason,
            containers: task.containers.into_iter().map(container).collect(),
            log,
            log_error,
            more,
        });
    }
    evidence.explain_exits();
    evidence
}

/// Why a dispatch was not answered: the errors that services logged about it.
pub(super) async fn of_dispatch(
    context: &Context<'_>,
    outputs: &Outputs,
    correlation_id: &str,
    from: Timestamp,
) -> Evidence {
    let mut looks = LOG_LOOKS;
    let look = async || errors_about(context, outputs, correlation_id, from).await;
    let (errors, unread) = repeat(&mut looks, look, |(errors, unread)| {
        !errors.is_empty() || !unread.is_empty()
    })
    .await;
    let causes = errors.iter().find_map(|it| permission_missing(it));
    let shown = errors.into_iter().take(LOG_LINES).chain(unread);
    Evidence {
        causes: causes.into_iter().collect(),
        notes: shown.map(|text| format!("log         {text}")).collect(),
        ..Evidence::default()
    }
}

/// The errors in the logs of all services that are about one request, and which logs could not be
/// read.
async fn errors_about(
    context: &Context<'_>,
    outputs: &Outputs,
    correlation_id: &str,
    from: Timestamp,
) -> (BTreeSet<String>, Vec<String>) {
    let (mut errors, mut unread) = (BTreeSet::new(), Vec::new());
    for service in outputs.services(context.catalog) {
        let group = &outputs.service(service).log_group;
        match context.logs.mentions(group, from, correlation_id).await {
            Ok(lines) => {
                let of_error = lines.iter().filter_map(|line| error_of(&line.text));
                errors.extend(of_error.map(|said| format!("{service}: {said}")));
            }
            Err(error) => unread.push(format!("of {service} could not be read: {error:#}")),
        }
    }
    (errors, unread)
}

/// Repeats a look at logs, whose lines arrive some seconds after they were written, until it is
/// enough. `looks` is how often it may be repeated.
async fn repeat<T>(
    looks: &mut u32,
    mut look: impl AsyncFnMut() -> T,
    is_enough: impl Fn(&T) -> bool,
) -> T {
    loop {
        let found = look().await;
        if is_enough(&found) || *looks == 0 {
            return found;
        }
        *looks -= 1;
        sleep(LOG_INTERVAL).await;
    }
}

/// What ECS said about a failure since the event with this id.
async fn events_since(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
    known: Option<&str>,
) -> Result<Vec<String>> {
    let state = context.cluster.describe_service(outputs, service).await?;
    let new = state.events.iter();
    let new = new.take_while(|event| known != Some(event.id.as_str()));
    let failures: BTreeSet<&str> = new.filter_map(ServiceEvent::failure).collect();
    Ok(failures.into_iter().map(without_arn).collect())
}

/// The last lines of the log of a task, which are waited for if it ran; `looks` are those for all
/// tasks together.
async fn last_words(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
    task: &StoppedTask,
    looks: &mut u32,
) -> Result<Vec<String>> {
    let group = &outputs.service(service).log_group;
    let stream = format!("ecs/{service}/{}", task.id);
    let ran = task.containers.iter().any(|it| it.exit_code.is_some());
    let look = async || -> Result<Vec<String>> {
        let lines = context.logs.tail(group, &stream, LOG_LINES_READ).await?;
        Ok(newest(
            lines.into_iter().filter(|line| !is_metric(line)).collect(),
        ))
    };
    let is_enough = |lines: &Result<Vec<String>>| {
        !ran || lines.as_ref().map_or(true, |lines| !lines.is_empty())
    };
    repeat(looks, look, is_enough).await
}

/// Whether a line is in CloudWatch's embedded metric format.
fn is_metric(line: &str) -> bool {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    value.get("_aws").is_some()
}

fn newest(mut lines: Vec<String>) -> Vec<String> {
    lines.split_off(lines.len().saturating_sub(LOG_LINES))
}

/// One task, the newest, for each distinct failure, and how many more failed the same way.
fn deaths(tasks: Vec<StoppedTask>) -> Vec<(StoppedTask, usize)> {
    let mut deaths: Vec<(StoppedTask, usize)> = Vec::new();
    for task in tasks {
        match deaths.iter_mut().find(|(known, _)| same_way(known, &task)) {
            Some((_, more)) => *more += 1,
            None => deaths.push((task, 0)),
        }
    }
    deaths
}

fn same_way(one: &StoppedTask, other: &StoppedTask) -> bool {
    one.stop_code == other.stop_code
        && one.reason == other.reason
        && one.containers == other.containers
}

fn container(container: StoppedContainer) -> report::ContainerEvidence {
    report::ContainerEvidence {
        name: container.name,
        exit_code: container.exit_code,
        reason: container.reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(exit_code: Option<i32>, log: &[&str]) -> Evidence {
        let container = report::ContainerEvidence {
            name: "orbit".to_owned(),
            exit_code,
            reason: None,
        };
        Evidence {
            tasks: vec![report::TaskEvidence {
                id: "1".to_owned(),
                stop_code: "EssentialContainerExited".to_owned(),
                reason: "Essential container in task exited".to_owned(),
                containers: vec![container],
                log: log.iter().map(|line| (*line).to_owned()).collect(),
                log_error: None,
                more: 0,
            }],
            ..Evidence::default()
        }
    }

    #[test]
    fn lines_of_metrics_explain_nothing() {
        let metric = r#"{"message":"metrics","_aws":{"Timestamp":1}}"#;
        assert!(is_metric(metric));
        for line in [r#"{"message":"metrics"}"#, "_aws", ""] {
            assert!(!is_metric(line), "{line}");
        }
        let lines: Vec<String> = (1..=25).map(|it| it.to_string()).collect();
        assert_eq!(newest(lines.clone()), lines[5..]);
        assert_eq!(newest(vec!["1".to_owned()]), ["1"]);
    }

    #[test]
    fn a_target_group_is_named_without_its_arn() {
        for (text, short) in [
            (
                "Task failed ELB health checks in (target-group arn:aws:e:r:1:targetgroup/demo/12ab)",
                "Task failed ELB health checks in (target-group demo)",
            ),
            (
                "is unhealthy in (target-group arn:aws:e:r:1:targetgroup/demo/12ab) due to (reason x)",
                "is unhealthy in (target-group demo) due to (reason x)",
            ),
            (
                "Task failed container health checks",
                "Task failed container health checks",
            ),
        ] {
            assert_eq!(without_arn(text), short);
        }
    }

    #[test]
    fn the_headline_is_the_programs_last_word() {
        for (exit_code, log, headline) in [
            (
                Some(78),
                &["starting", "PORT: expected a number", ""][..],
                Some("orbit exited with 78: PORT: expected a number"),
            ),
            (
                Some(78),
                &[r#"{"level":"ERROR","message":"can't start","error":"PORT: expected a number"}"#],
                Some("orbit exited with 78: can't start: PORT: expected a number"),
            ),
            (Some(137), &[], Some("orbit exited with 137")),
            (Some(0), &["done"], None),
            (None, &[], None),
        ] {
            let found = evidence(exit_code, log).headline();
            assert_eq!(found.as_deref(), headline);
        }
        assert_eq!(Evidence::default().headline(), None);
    }
}
