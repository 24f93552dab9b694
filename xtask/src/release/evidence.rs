//! Why tasks stopped, gathered while ECS still lists them (about an hour).

use std::time::Duration;

use anyhow::Result;

use crate::catalog::Service;
use crate::decide::outputs::Outputs;
use crate::decide::release::snapshot::{Revision, StoppedContainer, StoppedTask};
use crate::ports::Context;

const LOG_LINES: i32 = 8;
const LOG_LOOKS: u32 = 4;
const LOG_INTERVAL: Duration = Duration::from_secs(3);

/// Why the tasks of a revision stopped, with the last lines of their logs.
pub(super) async fn gather(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
    revision: &Revision,
) -> Vec<String> {
    match stopped(context, outputs, service, revision).await {
        Ok(lines) => lines,
        Err(error) => vec![format!("evidence    could not be read: {error:#}")],
    }
}

async fn stopped(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
    revision: &Revision,
) -> Result<Vec<String>> {
    let tasks = context
        .cluster
        .stopped_tasks(outputs, service, revision)
        .await?;
    let deaths = deaths(tasks.into_iter().filter(StoppedTask::is_evidence));
    let mut lines = Vec::new();
    let mut looks = LOG_LOOKS;
    if deaths.is_empty() {
        lines.push(format!("tasks       no task of {revision} died of itself"));
    }
    for (task, more) in &deaths {
        let short = task.id.get(..8).unwrap_or(&task.id);
        lines.push(format!(
            "task        {short} {}: {}",
            task.stop_code, task.reason
        ));
        lines.extend(task.containers.iter().map(container));
        let words = last_words(context, outputs, service, task, &mut looks).await;
        lines.extend(words.iter().map(|line| format!("  log       {line}")));
        if *more > 0 {
            lines.push(format!("tasks       {more} more died the same way"));
        }
    }
    Ok(lines)
}

/// The last lines of a task's log. They arrive some seconds after the task has stopped, so those of
/// a task that ran are polled for; `looks` is what is left of the polls for all tasks together.
async fn last_words(
    context: &Context<'_>,
    outputs: &Outputs,
    service: Service,
    task: &StoppedTask,
    looks: &mut u32,
) -> Vec<String> {
    let group = &outputs.service(service).log_group;
    let stream = format!("ecs/{service}/{}", task.id);
    let ran = task.containers.iter().any(|it| it.exit_code.is_some());
    loop {
        match context.logs.tail(group, &stream, LOG_LINES).await {
            Ok(lines) if lines.is_empty() && ran && *looks > 0 => {
                *looks -= 1;
                tokio::time::sleep(LOG_INTERVAL).await;
            }
            Ok(lines) => return lines,
            Err(error) => return vec![format!("could not be read: {error:#}")],
        }
    }
}

/// One task, the newest, for each distinct failure, and how many more failed the same way.
fn deaths(tasks: impl Iterator<Item = StoppedTask>) -> Vec<(StoppedTask, usize)> {
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

fn container(container: &StoppedContainer) -> String {
    let code = container
        .exit_code
        .map_or("none".to_owned(), |code| code.to_string());
    let reason = container
        .reason
        .as_deref()
        .map_or(String::new(), |it| format!(" ({it})"));
    format!("  container {} exit code {code}{reason}", container.name)
}
