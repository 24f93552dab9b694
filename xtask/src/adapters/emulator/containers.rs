//! The containers of one instance of the local AWS.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

const LIMIT: Duration = Duration::from_secs(30);

/// Removes the containers with their volumes, and waits for those that the emulator is removing.
pub(super) async fn remove(docker: &Docker, instance: &str) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = list(docker, instance).await?;
        if left.is_empty() {
            return Ok(());
        }
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let removals = left
            .iter()
            .map(|id| docker.remove_container(id, Some(options.clone())));
        let errors: Vec<String> = join_all(removals)
            .await
            .into_iter()
            .filter_map(|removal| removal.err().map(|error| error.to_string()))
            .collect();
        if Instant::now() > deadline {
            bail!(
                "containers of {instance} cannot be removed: {}",
                errors.join("; ")
            );
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn list(docker: &Docker, instance: &str) -> Result<Vec<String>> {
    let label = format!("ministack.instance={instance}");
    let filters = HashMap::from([("label", vec![label.as_str()])]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let containers = docker
        .list_containers(Some(options))
        .await
        .with_context(|| format!("list the containers of {instance}"))?;
    Ok(containers
        .into_iter()
        .filter_map(|container| container.id)
        .collect())
}
