//! Events of building: compilers, the engine, and what comes out.

use serde::Serialize;

use super::{Shown, done, live, output, warning};
use crate::catalog::Component;
use crate::report::megabytes;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum BuildEvent {
    /// Every artifact is in the cache.
    BuildUpToDate,
    /// The programs are compiled.
    Compiled { seconds: u64 },
    /// Docker compiles, and gets a context of so many bytes.
    DockerBuildStarted { builder: String, context_bytes: u64 },
    /// A step of a Dockerfile began, or ended where it has a time.
    DockerStep {
        component: Component,
        step: String,
        seconds: Option<u64>,
    },
    DockerBuilt {
        component: Component,
        crates: usize,
        seconds: u64,
    },
    /// An image or a zip is made.
    Packed {
        component: Component,
        kind: ArtifactKind,
        packed_bytes: u64,
        unpacked_bytes: u64,
    },
    /// The artifacts of these components lie in a folder, for `deploy --artifacts`.
    Bundled {
        components: Vec<Component>,
        folder: String,
    },
    /// An image is pushed without its SBOM and provenance, which lie beside this file only.
    DocumentsNotAttached {
        component: Component,
        file: String,
        error: String,
    },
    /// What another program says on its way.
    ToolOutput {
        subject: String,
        tool: String,
        line: String,
    },
    /// What another program said before it failed.
    ToolFailed {
        subject: String,
        tool: String,
        output: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ArtifactKind {
    Image,
    Zip,
}

impl BuildEvent {
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::BuildUpToDate => done("build", "up to date: nothing to compile"),
            Self::Compiled { seconds } => done("build", format!("compiled in {seconds} s")),
            Self::DockerBuildStarted {
                builder,
                context_bytes,
            } => {
                let sent = context_bytes.div_ceil(1000);
                done(
                    "build",
                    format!("in Docker by {builder}, which gets {sent} kB"),
                )
            }
            Self::DockerStep {
                component,
                step,
                seconds: None,
            } => live(component, step),
            Self::DockerStep {
                component,
                step,
                seconds: Some(seconds),
            } => done(component, format!("{step} ({seconds} s)")),
            Self::DockerBuilt {
                component,
                crates,
                seconds,
            } => done(
                component,
                format!("crates compiled in Docker: {crates}, in {seconds} s"),
            ),
            Self::Packed {
                component,
                kind,
                packed_bytes,
                unpacked_bytes,
            } => {
                let kind = match kind {
                    ArtifactKind::Image => "image",
                    ArtifactKind::Zip => "zip",
                };
                let (packed, unpacked) = (megabytes(*packed_bytes), megabytes(*unpacked_bytes));
                done(component, format!("{kind} {packed} ({unpacked} unpacked)"))
            }
            Self::Bundled { components, folder } => {
                let names: Vec<_> = components.iter().map(ToString::to_string).collect();
                done("build", format!("kept {} in {folder}", names.join(", ")))
            }
            Self::DocumentsNotAttached {
                component,
                file,
                error,
            } => warning(
                component,
                format!(
                    "the registry rejects documents about this image, which are only beside {file}: \
                     {error}"
                ),
            ),
            Self::ToolOutput { subject, line, .. } => live(subject, line),
            Self::ToolFailed {
                subject,
                output: said,
                ..
            } => output(subject, said),
        }
    }
}
