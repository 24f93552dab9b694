//! The task definition revision of this task, read once from ECS's metadata endpoint. The service
//! also runs without it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use serde::Deserialize;

use crate::TrustRoots;
use crate::outbound::HttpClient;

const ATTEMPTS: u32 = 3;
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(100);

/// `family:n`; `None` outside ECS and where the endpoint does not answer.
pub(crate) async fn task_revision(metadata_url: Option<&Uri>) -> Option<HeaderValue> {
    let metadata_url = metadata_url?;
    for attempt in 1.. {
        match tokio::time::timeout(ATTEMPT_TIMEOUT, read_revision(metadata_url)).await {
            Ok(Ok(revision)) => return Some(revision),
            Ok(Err(error)) if attempt == ATTEMPTS => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the task's revision is unknown"
                );
                return None;
            }
            Err(_) if attempt == ATTEMPTS => {
                tracing::warn!(
                    error = "no answer in time",
                    "the task's revision is unknown"
                );
                return None;
            }
            Ok(Err(_)) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    None
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskMetadata {
    family: String,
    revision: String,
}

async fn read_revision(metadata_url: &Uri) -> anyhow::Result<HeaderValue> {
    let url: Uri = format!("{}/task", metadata_url.to_string().trim_end_matches('/')).parse()?;
    let client = HttpClient::new(&url, None, &TrustRoots::default());
    let request = Request::get(url).body(Bytes::new())?;
    let response = client
        .send(request)
        .await
        .context("the metadata endpoint cannot be reached")?;
    ensure!(
        response.status().is_success(),
        "the metadata endpoint answers {}",
        response.status()
    );
    let task: TaskMetadata =
        serde_json::from_slice(response.body()).context("the metadata is not a task")?;
    Ok(HeaderValue::try_from(format!(
        "{}:{}",
        task.family, task.revision
    ))?)
}
