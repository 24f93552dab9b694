//! Runs one command with fakes, as `main` does with adapters, and keeps its output.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use xtask::catalog::Component;
use xtask::commands::deploy::{Options, deploy};
use xtask::commands::rollback::RollbackOptions;
use xtask::decide::outputs::{Architecture, Outputs};
use xtask::failure;
use xtask::planning;
use xtask::ports::{Context, User};
use xtask::report::{Format, OutputMode, Report};

use super::Fake;
use crate::events;

/// More than all limits of the waits of a command together.
const COMMAND_LIMIT: Duration = Duration::from_hours(2);

/// A shell's exit code for a process that SIGKILL ended.
pub(crate) const KILLED: u8 = 137;

/// A rollback after which releases go on.
pub(crate) fn back_to(to: Option<u64>) -> RollbackOptions {
    RollbackOptions {
        to,
        ..RollbackOptions::default()
    }
}

/// What a command output.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) exit_code: u8,
    pub(crate) data: String,
    pub(crate) talk: String,
}

impl Fake {
    pub(crate) async fn deploy_all(&self) -> CommandOutput {
        self.deploy::<Component>(&[]).await
    }

    pub(crate) async fn deploy<C: Into<Component> + Copy>(&self, names: &[C]) -> CommandOutput {
        self.deploy_in(Format::Human, names).await
    }

    pub(crate) async fn deploy_in<C: Into<Component> + Copy>(
        &self,
        format: Format,
        names: &[C],
    ) -> CommandOutput {
        let mut components = self.state().catalog.components();
        let chosen: Vec<Component> = names.iter().map(|it| (*it).into()).collect();
        components.retain(|it| chosen.is_empty() || chosen.contains(it));
        let options = Options {
            components,
            dry_run: false,
            yes: false,
            lift_hold: false,
        };
        self.run_in(format, async |context| deploy(context, &options).await)
            .await
    }

    /// A command that begins without outputs.
    pub(crate) async fn run(
        &self,
        command: impl AsyncFnOnce(&Context<'_>) -> Result<()>,
    ) -> CommandOutput {
        self.run_in(Format::Human, command).await
    }

    pub(crate) async fn run_in(
        &self,
        format: Format,
        command: impl AsyncFnOnce(&Context<'_>) -> Result<()>,
    ) -> CommandOutput {
        let (data, talk) = (CapturedStream::default(), CapturedStream::default());
        let mode = OutputMode {
            format,
            quiet: false,
            terminal: false,
        };
        let report = Report::new(mode, Box::new(data.clone()), Box::new(talk.clone()));
        let environment = self.state().environment.clone();
        let catalog = self.state().catalog.clone();
        let if_locked = self.state().if_locked;
        let user = User {
            name: "ada".to_owned(),
            host: "laptop".to_owned(),
        };
        let context = Context {
            catalog: &catalog,
            environment: &environment,
            architecture: Architecture::X86,
            source: self,
            builder: self,
            infra: self,
            registry: self,
            cluster: self,
            balancer: self,
            functions: self,
            secrets: self,
            logs: self,
            ledger: self,
            probe: self,
            clock: self,
            interrupt: self,
            report: &report,
            user: &user,
            credentials_end: self.state().credentials_end,
            if_locked,
        };
        let limited = tokio::time::timeout(COMMAND_LIMIT, command(&context));
        let exit_code = tokio::select! {
            ended = limited => {
                let ended = ended.expect("every wait of a command has an end");
                if let Err(error) = &ended {
                    report.failure(error);
                }
                ended.as_ref().map_or_else(failure::exit_code, |()| 0)
            }
            () = self.killed.notified() => KILLED,
        };
        if format == Format::Json {
            is_json(&data.text(), &talk.text());
        }
        CommandOutput {
            exit_code,
            data: data.text(),
            talk: talk.text(),
        }
    }

    /// A command that needs outputs.
    pub(crate) async fn run_on_outputs(
        &self,
        command: impl AsyncFnOnce(&Context<'_>, &Outputs) -> Result<()>,
    ) -> CommandOutput {
        self.run_on_outputs_in(Format::Human, command).await
    }

    pub(crate) async fn run_on_outputs_in(
        &self,
        format: Format,
        command: impl AsyncFnOnce(&Context<'_>, &Outputs) -> Result<()>,
    ) -> CommandOutput {
        self.run_in(format, async |context| {
            let outputs = planning::outputs::required(context).await?;
            command(context, &outputs).await
        })
        .await
    }
}

/// The result is one document, or for `logs` one on each line; everything else is one event of the
/// schema on each line.
#[track_caller]
fn is_json(data: &str, talk: &str) {
    let line = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    assert!(data.lines().all(line), "{data}");
    assert!(
        data.lines().count() <= 1 || data.contains("line of /ecs/"),
        "{data}"
    );
    events::parsed(talk);
}

impl CommandOutput {
    #[track_caller]
    pub(crate) fn succeeds(&self) -> &Self {
        assert_eq!(self.exit_code, 0, "{}", self.talk);
        self
    }

    #[track_caller]
    pub(crate) fn fails(&self, exit_code: u8) -> &Self {
        assert_eq!(self.exit_code, exit_code, "{}", self.talk);
        self
    }

    /// Each of these is in the messages.
    #[track_caller]
    pub(crate) fn says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.talk.contains(text), "no `{text}` in:\n{}", self.talk);
        }
        self
    }
}

#[derive(Clone, Default)]
struct CapturedStream(Arc<Mutex<Vec<u8>>>);

impl CapturedStream {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for CapturedStream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
