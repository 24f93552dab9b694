//! What the engine tells of a build becomes lines for people. What each step says is kept: it is
//! the compiler's own message when the step fails.

use std::time::Duration;

use anyhow::anyhow;
use bollard::errors::Error;
use bollard::moby::buildkit::v1::StatusResponse;
use bollard::models::{BuildInfo, BuildInfoAux};
use tokio::time::Instant;

use super::{NO_SPACE, is_progress, tell_failure};
use crate::adapters::docker::explain;
use crate::catalog::Component;
use crate::decide::artifact::context::DOCKERFILE;
use crate::decide::outputs::Architecture;
use crate::failure::Failure;
use crate::report::{BuildEvent, Report};

/// A step that takes less is not worth a line of its own.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

const NAME_LENGTH_MAX: usize = 80;

/// What the classic builder itself says while a step goes on.
const IN_BETWEEN: [&str; 2] = [" ---> ", "Removing intermediate container "];

pub(super) struct Progress<'a> {
    report: &'a Report,
    component: Component,
    steps: Vec<Step>,
    crates_compiled: usize,
}

struct Step {
    /// What the engine calls it: `BuildKit` by a digest, the classic builder by its number.
    id: String,
    name: String,
    began: Instant,
    /// Whole lines.
    said: Vec<String>,
    /// The beginning of the next line.
    unfinished: String,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
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

    /// Takes one message of the engine; answers the image that it names.
    pub(super) fn see(&mut self, told: BuildInfo) -> Option<String> {
        if let Some(text) = told.stream {
            self.see_classic(&text);
        }
        match told.aux {
            Some(BuildInfoAux::BuildKit(status)) => self.see_buildkit(status),
            // The classic builder names one for each stage, and the last one is meant.
            Some(BuildInfoAux::Default(image)) => return image.id,
            None => {}
        }
        None
    }

    fn see_buildkit(&mut self, status: StatusResponse) {
        for vertex in status.vertexes {
            if vertex.started.is_none() {
                continue;
            }
            let step = self.begin(&vertex.digest, &vertex.name);
            if !vertex.error.is_empty() {
                self.end(step, State::Failed);
            } else if vertex.cached {
                self.end(step, State::Cached);
            } else if vertex.completed.is_some() {
                self.end(step, State::Ended);
            }
        }
        for log in status.logs {
            if let Some(step) = self.steps.iter().position(|step| step.id == log.vertex) {
                self.hear(step, &String::from_utf8_lossy(&log.msg));
            }
        }
    }

    /// The classic builder tells everything as text: `Step 3/20 : RUN ...`, then what it prints.
    fn see_classic(&mut self, text: &str) {
        let last = self.steps.len().checked_sub(1);
        if let Some((number, name)) = text
            .strip_prefix("Step ")
            .and_then(|rest| rest.split_once(" : "))
        {
            if let Some(last) = last {
                self.end(last, State::Ended);
            }
            self.begin(number, &format!("[{number}] {name}"));
        } else if let Some(last) = last {
            if text.starts_with(" ---> Using cache") {
                self.end(last, State::Cached);
            } else if !IN_BETWEEN.iter().any(|words| text.starts_with(words)) {
                self.hear(last, text);
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
        // What the engine does for itself is nobody's step.
        if !name.starts_with("[internal]") {
            self.report.emit(BuildEvent::DockerStep {
                component: self.component,
                step: short(&name),
                seconds: None,
            });
        }
        self.steps.push(Step {
            id: id.to_owned(),
            name,
            began: Instant::now(),
            said: Vec::new(),
            unfinished: String::new(),
            state: State::Runs,
        });
        self.steps.len() - 1
    }

    fn end(&mut self, index: usize, state: State) {
        let step = &mut self.steps[index];
        if step.state != State::Runs {
            return;
        }
        step.state = state;
        let took = step.began.elapsed();
        if state == State::Ended && took >= WORTH_A_LINE {
            self.report.emit(BuildEvent::DockerStep {
                component: self.component,
                step: short(&step.name),
                seconds: Some(took.as_secs()),
            });
        }
    }

    fn hear(&mut self, index: usize, text: &str) {
        let step = &mut self.steps[index];
        step.unfinished.push_str(&without_colours(text));
        while let Some((line, rest)) = step.unfinished.split_once('\n') {
            let line = line.trim_end().to_owned();
            step.unfinished = rest.to_owned();
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
            step.said.push(line);
        }
    }

    /// Why a build ended: the reasons that a user can do something about have their remedy.
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
        let failed = self.steps.iter().find(|step| step.state == State::Failed);
        let step = failed.or(self.steps.last());
        let said: Vec<&str> = step
            .iter()
            .flat_map(|step| {
                step.said
                    .iter()
                    .map(String::as_str)
                    .chain([step.unfinished.as_str()])
            })
            .collect();
        let is_told = |words: &str| {
            let mut texts = said.iter().copied().chain([message]);
            texts.any(|text| text.to_lowercase().contains(words))
        };
        if is_told(NO_SPACE) {
            return Failure::not_ready(format!("{doing}: the engine's disk is full: {message}"))
                .hint("docker system df        # what takes it\ndocker builder prune    # gives back what earlier builds left")
                .into();
        }
        if is_told("exec format error") {
            let name = architecture.oci();
            return Failure::not_ready(format!(
                "{doing}: the engine cannot run programs for {name}"
            ))
            .hint(format!(
                "set DOCKER_HOST to an engine on a machine for {name}, or add an emulator \
                     to this one:\ndocker run --privileged --rm tonistiigi/binfmt --install {name}"
            ))
            .into();
        }
        if step.is_none_or(|step| is_about_base(&step.name)) {
            let base = base.map_or_else(|| format!("that {DOCKERFILE} names"), str::to_owned);
            return Failure::not_ready(format!("{doing}: no base image {base}: {message}"))
                .hint(
                    "name one that the engine can have:\n--builder docker=IMAGE\n\
                       or make one of what this machine has:\ntests/builder-base/import.sh IMAGE",
                )
                .into();
        }
        if said.iter().all(|line| line.trim().is_empty()) {
            return anyhow!("{doing}: {message}");
        }
        tell_failure(self.report, said.into_iter(), doing)
    }
}

/// `BuildKit` looks for the base before the first step, the classic builder in its own.
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

/// The classic builder paints red what a program says on stderr.
fn without_colours(text: &str) -> String {
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
    use crate::catalog::Service;
    use crate::failure;
    use crate::report::Format;
    use crate::report::testing::captured;

    fn classic(progress: &mut Progress<'_>, texts: &[&str]) {
        for text in texts {
            progress.see(BuildInfo {
                stream: Some((*text).to_owned()),
                ..BuildInfo::default()
            });
        }
    }

    fn buildkit(progress: &mut Progress<'_>, vertex: Vertex, said: &str) {
        let log = VertexLog {
            vertex: vertex.digest.clone(),
            msg: said.as_bytes().to_vec(),
            ..VertexLog::default()
        };
        let status = StatusResponse {
            vertexes: vec![vertex],
            logs: vec![log],
            ..StatusResponse::default()
        };
        progress.see(BuildInfo {
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

    /// The failure's exit code, its text, and what was shown.
    fn failure_of(message: &str, see: impl FnOnce(&mut Progress<'_>)) -> (u8, String, String) {
        let (report, _, talk) = captured(Format::Human);
        let mut progress = Progress::new(&report, Component::Service(Service::Axon));
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
    fn crates_are_counted_whichever_builder_tells_of_them() {
        let (report, _, _) = captured(Format::Human);
        let mut progress = Progress::new(&report, Component::Service(Service::Axon));
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
        let said = "   Compiling axon v0.1.0\n   Compiling orbit v0.1.0\n    Finished\n";
        buildkit(
            &mut progress,
            step("[service 3/3] RUN cargo build", ""),
            said,
        );
        assert_eq!(progress.crates_compiled(), 3);
    }

    #[test]
    fn the_last_image_that_is_named_is_the_one() {
        let (report, _, _) = captured(Format::Human);
        let mut progress = Progress::new(&report, Component::Service(Service::Axon));
        let image = progress.see(BuildInfo {
            aux: Some(BuildInfoAux::Default(ImageId {
                id: Some("sha256:1".to_owned()),
            })),
            ..BuildInfo::default()
        });
        assert_eq!(image.as_deref(), Some("sha256:1"));
        assert_eq!(progress.see(BuildInfo::default()), None);
    }

    #[test]
    fn what_the_compiler_said_is_shown_and_its_progress_is_not() {
        let said = "   Compiling axon v0.1.0\nerror[E0425]: cannot find value `it`\n";
        let code = "executor failed running: exit code: 101";
        let (exit, text, shown) = failure_of(code, |progress| {
            buildkit(
                progress,
                step("[kit 2/2] RUN cargo build", ""),
                "an earlier step\n",
            );
            buildkit(progress, step("[service 3/3] RUN cargo build", code), said);
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
    fn what_a_user_can_do_something_about_is_told() {
        let (exit, text, _) = failure_of("pull access denied for ours", |progress| {
            classic(
                progress,
                &["Step 3/9 : FROM ${BUILDER_BASE} AS dependencies\n"],
            );
        });
        assert_eq!(exit, 12);
        assert!(
            text.contains("no base image ours:1: pull access denied"),
            "{text}"
        );

        let full = "write /target/it: no space left on device";
        let (exit, text, _) = failure_of(full, |progress| {
            classic(progress, &["Step 9/9 : COPY services/kit services/kit\n"]);
        });
        assert_eq!(exit, 12);
        assert!(text.contains("the engine's disk is full"), "{text}");

        let (exit, text, _) = failure_of("exit code: 1", |progress| {
            let said = "exec /bin/sh: exec format error\n";
            buildkit(
                progress,
                step("[dependencies 2/9] RUN rustc", "exit code: 1"),
                said,
            );
        });
        assert_eq!(exit, 12);
        assert!(text.contains("cannot run programs for arm64"), "{text}");
    }

    #[test]
    fn what_nobody_foresaw_is_told_as_the_engine_says_it() {
        let (exit, text, _) = failure_of("COPY failed: no source files", |progress| {
            classic(progress, &["Step 9/9 : COPY services/kit services/kit\n"]);
        });
        assert_eq!(exit, 1);
        assert_eq!(text, "build axon in Docker: COPY failed: no source files");
    }
}
