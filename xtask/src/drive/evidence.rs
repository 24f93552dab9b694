//! Why tasks died, gathered while ECS still remembers them (about an hour).

use anyhow::Result;

use crate::catalog::Thing;
use crate::decide::rollout::StoppedTask;
use crate::world::World;

/// Tasks that are told: more of the same failure says nothing new.
const TASKS_MAX: usize = 2;
const LOG_LINES: i32 = 8;

/// Lines that say what became of the tasks of a revision, with their last words.
pub(super) async fn gather(world: &World<'_>, thing: Thing, revision: &str) -> Vec<String> {
    match stopped(world, thing, revision).await {
        Ok(lines) => lines,
        Err(error) => vec![format!("evidence    could not be read: {error:#}")],
    }
}

async fn stopped(world: &World<'_>, thing: Thing, revision: &str) -> Result<Vec<String>> {
    let tasks = world.cluster.stopped_tasks(thing, revision).await?;
    let tasks: Vec<_> = tasks.into_iter().filter(StoppedTask::is_evidence).collect();
    let mut lines = Vec::new();
    if tasks.is_empty() {
        lines.push(format!("tasks       no task of {revision} died of itself"));
    }
    for task in tasks.iter().take(TASKS_MAX) {
        let short = task.id.get(..8).unwrap_or(&task.id);
        lines.push(format!(
            "task        {short} {}: {}",
            task.stop_code, task.reason
        ));
        for container in &task.containers {
            let code = container
                .exit_code
                .map_or("none".to_owned(), |code| code.to_string());
            let reason = container
                .reason
                .as_deref()
                .map_or(String::new(), |it| format!(" ({it})"));
            lines.push(format!(
                "  container {} exit code {code}{reason}",
                container.name
            ));
        }
        let group = &world.site.service(thing).log_group;
        let stream = format!("ecs/{thing}/{}", task.id);
        for line in world.logs.tail(group, &stream, LOG_LINES).await? {
            lines.push(format!("  log       {line}"));
        }
    }
    if tasks.len() > TASKS_MAX {
        lines.push(format!(
            "tasks       {} more died the same way",
            tasks.len() - TASKS_MAX
        ));
    }
    Ok(lines)
}
