//! Images go to the registry before any component changes.

use anyhow::Result;

use crate::decide::artifact::image::Artifact;
use crate::decide::outputs::Outputs;
use crate::ports::Registry;
use crate::report::{Report, megabytes};

/// Pushes the image of a service. A function's code goes to Lambda when its version is published.
pub async fn push(
    registry: &dyn Registry,
    outputs: &Outputs,
    report: &Report,
    artifact: &Artifact,
) -> Result<()> {
    let Some(service) = artifact.component.service() else {
        return Ok(());
    };
    let name = service.name();
    let size = megabytes(artifact.packed_bytes);
    report.live(name, &format!("pushing {size}"));
    registry.push(outputs, service, artifact).await?;
    report.line(name, &format!("pushed {}", artifact.digest));
    Ok(())
}
