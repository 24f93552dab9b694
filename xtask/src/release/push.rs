//! Images go to the registry before any component changes.

use anyhow::Result;

use crate::decide::artifact::image::Artifact;
use crate::decide::outputs::Outputs;
use crate::ports::Registry;
use crate::report::{ReleaseEvent, Report};

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
    let component = artifact.component;
    let bytes = artifact.packed_bytes;
    report.emit(ReleaseEvent::Pushing { component, bytes });
    registry.push(outputs, service, artifact).await?;
    report.emit(ReleaseEvent::Pushed {
        component,
        digest: artifact.digest.to_string(),
        bytes,
    });
    Ok(())
}
