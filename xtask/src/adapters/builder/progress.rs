//! Converts the messages of a Docker build to lines of the report. The output of each step is kept,
//! to show the errors of the compiler if the step fails.

use std::time::Duration;

use anyhow::anyhow;
use bollard::errors::Error;
use bollard::moby::buildkit::v1::StatusResponse;
use bollard::models::{BuildInfo, BuildInfoAux};
use tokio::time::Instant;

use super::{NO_SPACE, is_progress, report_failure};
use crate::adapters::docker::explain;
use crate::catalog::Component;
use crate::decide::artifact::context::DOCKERFILE;
use crate::decide::outputs::Architecture;
use crate::failure::Failure;
use crate::report::{BuildEvent, Report};

/// Steps that take less time have no line in the report.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

const NAME_LENGTH_MAX: usize = 80;

/// Prefixes of lines of the classic builder itself.
const IN_BETWEEN: [&str; 2] = [" ---> ", "Removing intermediate container "];

pub(super) struct Progress<'a> {
    report: &'a Report,
    component: Component,
    steps: Vec<BuildStep>,
    crates_compiled: usize,
}

struct BuildStep {
    /// A digest in `BuildKit`, a number in the classic builder.
    id: String,
    name: String,
    began: Instant,
    /// Complete lines.
    output: Vec<String>,
    /// The start of the next line.
    partial_line: String,
    state: StepState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepState {
    Runs,
    Cached,
    Ended,
    Failed,
}

impl<'a> Progress<'a> {
    pub(super) fn new(report: &'a Report, component: Component) -> Self {
        Self {
            report,
            component,
            steps: Vec::new(),
            crates_compiled: 0,
        }
    }

    pub(super) fn crates_compiled(&self) -> usize {
        self.crates_compiled
    }

    /// Records a message of the engine. Returns the image id, if the message has one.
    pub(super) fn record(&mut self, message: BuildInfo) -> Option<String> {
        if let Some(text) = message.stream {
            self.record_classic(&text);
        }
        match message.aux {
            Some(BuildInfoAux::BuildKit(status)) => self.record_buildkit(status),
            // The classic builder reports one for each stage; the last one counts.
            Some(BuildInfoAux::Default(image)) => return image.id,
            None => {}
        }
        None
    }

    fn record_buildkit(&mut self, status: StatusResponse) {
        for vertex in status.vertexes {
            if vertex.started.is_none() {
                continue;
            }
            let step = self.begin(&vertex.digest, &vertex.name);
            if !vertex.error.is_empty() {
                self.end(step, StepState::Failed);
            } else if vertex.cached {
                self.end(step, StepState::Cached);
            } else if vertex.completed.is_some() {
                self.end(step, StepState::Ended);
            }
        }
        for log in status.logs {
            if let Some(step) = self.steps.iter().position(|step| step.id == log.vertex) {
                self.append_output(step, &String::from_utf8_lossy(&log.msg));
            }
        }
    }

    /// Records text of the classic builder: `Step 3/20 : RUN ...` followed by the output of the
    /// step.
    fn record_classic(&mut self, text: &str) {
        let last = self.steps.len().checked_sub(1);
        if let Some((number, name)) = text
            .strip_prefix("Step ")
            .and_then(|rest| rest.split_once(" : "))
        {
            if let Some(last) = last {
                self.end(last, StepState::Ended);
            }
            self.begin(number, &format!("[{number}] {name}"));
        } else if let Some(last) = last {
            if text.starts_with(" ---> Using cache") {
                self.end(last, StepState::Cached);
            } else if !IN_BETWEEN.iter().any(|words| text.starts_with(words)) {
                self.append_output(last, text);
            }
        }
    }

    fn begin(&mut self, id: &str, name: &str) -> usize {
        if let Some(known) = self.steps.iter().position(|step| step.id == id) {
            return known;
        }
        let words: Vec<&str> = name
            .split_whitespace()
            .filter(|word| *word != "\\")
            .collect();
        let name = words.join(" ");
        // Internal steps of the engine are not shown.
        if !name.starts_with("[internal]") {
            self.report.emit(BuildEvent::DockerStep {
                component: self.component,
                step: short(&name),
                seconds: None,
            });
        }
        self.steps.push(BuildStep {
            id: id.to_owned(),
            name,
            began: Instant::now(),
            output: Vec::new(),
            partial_line: String::new(),
            state: StepState::Runs,
        });
        self.steps.len() - 1
    }

    fn end(&mut self, index: usize, state: StepState) {
        let step = &mut self.steps[index];
        if step.state != StepState::Runs {
            return;
        }
        step.state = state;
        let took = step.began.elapsed();
        if state == StepState::Ended && took >= WORTH_A_LINE {
            self.report.emit(BuildEvent::DockerStep {
                component: self.component,
                step: short(&step.name),
                seconds: Some(took.as_secs()),
            });
        }
    }

    fn append_output(&mut self, index: usize, text: &str) {
        let step = &mut self.steps[index];
        step.partial_line.push_str(&without_colors(text));
        while let Some((line, rest)) = step.partial_line.split_once('\n') {
            let line = line.trim_end().to_owned();
            step.partial_line = rest.to_owned();
            if line.trim_start().starts_with("Compiling ") {
                self.crates_compiled += 1;
            }
            if is_progress(&line) {
                self.report.emit(BuildEvent::ToolOutput {
                    subject: self.component.name().to_owned(),
                    tool: "docker".to_owned(),
                    line: line.trim().to_owned(),
                });
            }
            step.output.push(line);
        }
    }

    /// The failure of a build. Failures that a user can fix have a hint.
    pub(super) fn failure(
        &self,
        error: Error,
        architecture: Architecture,
        base: Option<&str>,
    ) -> anyhow::Error {
        let doing = format!("build {} in Docker", self.component);
        let (Error::DockerStreamError { error: message }
        | Error::DockerResponseServerError { message, .. }) = &error
        else {
            return explain(&doing, error);
        };
        let message = message.trim();
        let failed = self
            .steps
            .iter()
            .find(|step| step.state == StepState::Failed);
        let step = failed.or(self.steps.last());
        let output: Vec<&str> = step
            .iter()
            .flat_map(|step| {
                step.output
                    .iter()
                    .map(String::as_str)
                    .chain([step.partial_line.as_str()])
            })
            .collect();
        let mentions = |words: &str| {
            let mut texts = output.iter().copied().chain([message]);
            texts.any(|text| text.to_lowercase().contains(words))
        };
        if mentions(NO_SPACE) {
            return Failure::not_ready(format!("{doing}: the disk of the engine is full: {message}"))
                .hint("docker system df        # shows what uses it\ndocker builder prune    # removes the build cache")
                .into();
        }
        if mentions("exec format error") {
            let name = architecture.oci();
            return Failure::not_ready(format!(
                "{doing}: the engine cannot run programs for {name}"
            ))
            .hint(format!(
                "set DOCKER_HOST to an engine on an {name} machine, or add an emulator \
                     to this one:\ndocker run --privileged --rm tonistiigi/binfmt --install {name}"
            ))
            .into();
        }
        if step.is_none_or(|step| is_about_base(&step.name)) {
            let base = base.map_or_else(|| format!("of {DOCKERFILE}"), str::to_owned);
            return Failure::not_ready(format!(
                "{doing}: cannot pull base image {base}: {message}"
            ))
            .hint(
                "use one that the engine can pull:\n--builder docker=IMAGE\n\
                       or create one from this machine:\ntests/builder-base/import.sh IMAGE",
            )
            .into();
        }
        if output.iter().all(|line| line.trim().is_empty()) {
            return anyhow!("{doing}: {message}");
        }
        report_failure(self.report, output.into_iter(), doing)
    }
}

/// Whether a step is about the base image: the first one in `BuildKit`, `FROM` in the classic
/// builder.
fn is_about_base(step: &str) -> bool {
    step.contains("load metadata for") || step.contains("] FROM ")
}

fn short(name: &str) -> String {
    let shown: String = name.chars().take(NAME_LENGTH_MAX).collect();
    if shown.len() < name.len() {
        format!("{shown}...")
    } else {
        shown
    }
}

/// Removes colors; the classic builder prints stderr in red.
fn without_colors(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, code)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = code.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use bollard::moby::buildkit::v1::{Vertex, VertexLog};
    use bollard::models::ImageId;

    use super::*;

    use crate::catalog::testing::AXON;
    use crate::failure;
    use crate::report::Format;
    use crate::report::testing::captured;

    fn classic(progress: &mut Progress<'_>, texts: &[&str]) {
        for text in texts {
            progress.record(BuildInfo {
                stream: Some((*text).to_owned()),
                ..BuildInfo::default()
            });
        }
    }

    fn buildkit(progress: &mut Progress<'_>, vertex: Vertex, output: &str) {
        let log = VertexLog {
            vertex: vertex.digest.clone(),
            msg: output.as_bytes().to_vec(),
            ..VertexLog::default()
        };
        let status = StatusResponse {
            vertexes: vec![vertex],
            logs: vec![log],
            ..StatusResponse::default()
        };
        progress.record(BuildInfo {
            aux: Some(BuildInfoAux::BuildKit(status)),
            ..BuildInfo::default()
        });
    }

    fn step(name: &str, error: &str) -> Vertex {
        Vertex {
            digest: name.to_owned(),
            name: name.to_owned(),
            started: Some(<_>::default()),
            error: error.to_owned(),
            ..Vertex::default()
        }
    }

    /// The exit code and the text of a failure, and the output of the report.
    fn failure_of(message: &str, see: impl FnOnce(&mut Progress<'_>)) -> (u8, String, String) {
        let (report, _, talk) = captured(Format::Human);
        let mut progress = Progress::new(&report, Component::Service(AXON));
        see(&mut progress);
        let error = Error::DockerStreamError {
            error: message.to_owned(),
        };
        let error = progress.failure(error, Architecture::Arm, Some("ours:1"));
        (
            failure::exit_code(&error),
            format!("{error:#}"),
            talk.text(),
        )
    }

    #[test]
    fn crates_are_counted_with_both_builders() {
        let (report, _, _) = captured(Format::Human);
        let mut progress = Progress::new(&report, Component::Service(AXON));
        classic(
            &mut progress,
            &[
                "Step 7/9 : RUN cargo build\n",
                " ---> Running in 0123\n",
                "\u{1b}[91m   Compiling\u{1b}[0m",
                "\u{1b}[91m serde v1.0.0\n\u{1b}[0m",
            ],
        );
        assert_eq!(progress.crates_compiled(), 1);
        let output = "   Compiling axon v0.1.0\n   Compiling orbit v0.1.0\n    Finished\n";
        buildkit(
            &mut progress,
            step("[service 3/3] RUN cargo build", ""),
            output,
        );
        assert_eq!(progress.crates_compiled(), 3);
    }

    #[test]
    fn the_last_image_counts() {
        let (report, _, _) = captured(Format::Human);
        let mut progress = Progress::new(&report, Component::Service(AXON));
        let image = progress.record(BuildInfo {
            aux: Some(BuildInfoAux::Default(ImageId {
                id: Some("sha256:1".to_owned()),
            })),
            ..BuildInfo::default()
        });
        assert_eq!(image.as_deref(), Some("sha256:1"));
        assert_eq!(progress.record(BuildInfo::default()), None);
    }

    #[test]
    fn errors_of_the_compiler_are_shown_without_progress() {
        let output = "   Compiling axon v0.1.0\nerror[E0425]: cannot find value `it`\n";
        let code = "executor failed running: exit code: 101";
        let (exit, text, shown) = failure_of(code, |progress| {
            buildkit(
                progress,
                step("[kit 2/2] RUN cargo build", ""),
                "an earlier step\n",
            );
            buildkit(
                progress,
                step("[service 3/3] RUN cargo build", code),
                output,
            );
        });
        assert_eq!((exit, text.as_str()), (10, "build axon in Docker"));
        assert!(
            shown.contains("error[E0425]: cannot find value `it`"),
            "{shown}"
        );
        assert!(!shown.ends_with("Compiling axon v0.1.0\n"), "{shown}");
        assert!(!shown.contains("an earlier step"), "{shown}");
    }

    #[test]
    fn what_a_user_can_do_something_about_mentions() {
        let (exit, text, _) = failure_of("pull access denied for ours", |progress| {
            classic(
                progress,
                &["Step 3/9 : FROM ${BUILDER_BASE} AS dependencies\n"],
            );
        });
        assert_eq!(exit, 12);
        assert!(
            text.contains("cannot pull base image ours:1: pull access denied"),
            "{text}"
        );

        let full = "write /target/it: no space left on device";
        let (exit, text, _) = failure_of(full, |progress| {
            classic(progress, &["Step 9/9 : COPY services/kit services/kit\n"]);
        });
        assert_eq!(exit, 12);
        assert!(text.contains("the disk of the engine is full"), "{text}");

        let (exit, text, _) = failure_of("exit code: 1", |progress| {
            let output = "exec /bin/sh: exec format error\n";
            buildkit(
                progress,
                step("[dependencies 2/9] RUN rustc", "exit code: 1"),
                output,
            );
        });
        assert_eq!(exit, 12);
        assert!(text.contains("cannot run programs for arm64"), "{text}");
    }

    #[test]
    fn any_other_failure_is_the_message_of_the_engine() {
        let (exit, text, _) = failure_of("COPY failed: no source files", |progress| {
            classic(progress, &["Step 9/9 : COPY services/kit services/kit\n"]);
        });
        assert_eq!(exit, 1);
        assert_eq!(text, "build axon in Docker: COPY failed: no source files");
    }
}
