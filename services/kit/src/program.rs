//! The life of a service's process, from its arguments to its exit code.

mod health_check;
mod log_signal;
mod reporting;
mod scheduling_delay;
mod task_revision;

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::secrets::source::SecretSource;
use crate::secrets::{self, LoadedSecrets};
use crate::settings::base;
use crate::settings::{self, Base, Reader, SettingError, SettingsSource};
use crate::telemetry::logs::levels::LogLevels;
use crate::telemetry::logs::{self, ProcessLog};
use crate::{App, AwsSdk, Clock, Counter, Dependencies, Metrics, ServiceIdentity, server};
use reporting::Reporting;

/// A dispatch makes two hundred allocations, most of them for its two signatures: with the
/// allocator of the C library it takes a seventh more processor time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE_CODE: u8 = 2;
/// `EX_CONFIG` of sysexits.h: distinguishes wrong settings from a crash in ECS's stopped tasks.
const SETTINGS_CODE: u8 = 78;

#[derive(Debug, PartialEq, Eq)]
enum Subcommand {
    Serve,
    Healthcheck,
    Settings(PrintFormat),
    Version,
}

#[derive(Debug, PartialEq, Eq)]
enum PrintFormat {
    Table,
    Json,
}

/// A service's whole `main`. `read` reads its settings, `start` makes its application.
pub fn main<S: AsRef<Base>>(
    service: ServiceIdentity,
    read: impl FnOnce(&mut Reader<'_>) -> S,
    start: impl AsyncFnOnce(S, Dependencies) -> anyhow::Result<App>,
) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command(&arguments) {
        Some(Subcommand::Serve) => run(service, read, start),
        Some(Subcommand::Healthcheck) => check_health(),
        Some(Subcommand::Settings(format)) => {
            let settings = settings::known_to(read);
            print(&match format {
                PrintFormat::Table => settings::table(&settings),
                PrintFormat::Json => settings::document(&settings),
            })
        }
        Some(Subcommand::Version) => print(&format!("{} {}\n", service.name, service.version)),
        None => {
            let arguments = "[healthcheck | --settings [--format human|json] | --version]";
            let usage = format!("usage: {} {arguments}\n", service.name);
            drop(io::stderr().write_all(usage.as_bytes()));
            ExitCode::from(USAGE_CODE)
        }
    }
}

fn command(arguments: &[String]) -> Option<Subcommand> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => Some(Subcommand::Serve),
        ["healthcheck"] => Some(Subcommand::Healthcheck),
        ["--settings"] | ["--settings", "--format", "human"] => {
            Some(Subcommand::Settings(PrintFormat::Table))
        }
        ["--settings", "--format", "json"] => Some(Subcommand::Settings(PrintFormat::Json)),
        ["--version"] => Some(Subcommand::Version),
        _ => None,
    }
}

fn run<S: AsRef<Base>>(
    service: ServiceIdentity,
    read: impl FnOnce(&mut Reader<'_>) -> S,
    start: impl AsyncFnOnce(S, Dependencies) -> anyhow::Result<App>,
) -> ExitCode {
    let clock = Clock::system();
    let settings = match from_environment(read) {
        Ok(settings) => settings,
        Err(errors) => return report_settings(service, &errors, clock),
    };
    let base = settings.as_ref();
    let metrics = Metrics::default();
    let lines_dropped = metrics.counter("log_lines_dropped", &[]);
    let levels = LogLevels::new(base.log_levels.clone(), base.log_raised.clone());
    let logs = logs::start(service, levels.clone(), clock.clone(), lines_dropped);
    for warning in &base.warnings {
        tracing::warn!(setting = warning.setting, "{warning}");
    }
    let mut dependencies = Dependencies {
        metrics,
        aws: AwsSdk::new(
            base.region.clone(),
            base.aws_endpoint_url.clone(),
            base.roots.clone(),
        ),
        ..Dependencies::new(service, clock)
    };
    let (traces, reporting) = Reporting::new(base, &dependencies);
    dependencies.traces = traces;
    let raised_time = Duration::from_millis(base.log_raised_ms);
    let served = async {
        tokio::select! {
            ended = serve(settings, dependencies, start, reporting, &logs) => ended,
            never = log_signal::raise_at_each(levels, raised_time) => match never {},
        }
    };
    match block_on(served) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the service cannot run");
            ExitCode::FAILURE
        }
    }
}

fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
    let outcome = runtime.block_on(future);
    // Dropping it would wait for a DNS lookup that hangs.
    runtime.shutdown_background();
    outcome
}

async fn serve<S: AsRef<Base>>(
    settings: S,
    mut dependencies: Dependencies,
    start: impl AsyncFnOnce(S, Dependencies) -> anyhow::Result<App>,
    reporting: Reporting,
    logs: &ProcessLog,
) -> anyhow::Result<()> {
    // First, because PID 1 ignores signals that it does not handle.
    let mut signals = signals()?;

    let base = settings.as_ref().clone();
    let service = dependencies.service;
    let lifecycle = dependencies.lifecycle.clone();
    // Before the port is bound, so that a task without its secrets never gets traffic.
    let source = SecretSource::new(&base, service, &dependencies.aws);
    let LoadedSecrets {
        secrets,
        keys,
        refresher,
    } = tokio::select! {
        loaded = secrets::load(&base, source, &dependencies.metrics) => loaded?,
        _ = signals.recv() => return Ok(()),
    };
    dependencies.secrets = secrets;
    dependencies.keys = keys;
    let app = start(settings, dependencies).await?;
    let listener =
        listen(base.port).with_context(|| format!("port {} cannot be bound", base.port))?;
    let port = listener
        .local_addr()
        .context("the bound port is unknown")?
        .port();
    tracing::info!(port, version = service.version, "listening");

    let become_ready = async {
        let task_revision = task_revision::task_revision(base.task_metadata_url.as_ref()).await;
        let revision_text = task_revision.as_ref().and_then(|value| value.to_str().ok());
        tracing::info!(task_revision = revision_text, "ready");
        lifecycle.ready(task_revision);
    };
    let serving = server::serve(listener, app, &base, &lifecycle, signals);
    let work = async {
        tokio::select! {
            (cut_off, ()) = async { tokio::join!(serving, become_ready) } => cut_off,
            never = refresher.run() => match never {},
        }
    };
    let cut_off = Box::pin(reporting.during(logs, work)).await;
    anyhow::ensure!(cut_off == 0, "{cut_off} requests were cut off");
    Ok(())
}

/// Connections that the kernel has accepted and we have not. A burst fills tokio's default of
/// 128, and a client then waits a second for its kernel's retry. `net.core.somaxconn` also limits
/// it.
const BACKLOG: u32 = 4096;

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // The port may be bound while connections of the previous process are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.listen(BACKLOG)
}

fn signals() -> anyhow::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let (sender, signals) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM"),
                _ = interrupt.recv() => tracing::info!("SIGINT"),
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(signals)
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the program starts; passed in from here on"
)]
fn from_environment<S>(read: impl FnOnce(&mut Reader<'_>) -> S) -> Result<S, Vec<SettingError>> {
    let source = SettingsSource {
        variable: &|name| std::env::var(name).ok(),
        file: &|path| std::fs::read(path),
    };
    let mut reader = Reader::new(&source);
    let settings = read(&mut reader);
    reader.finish(settings)
}

fn report_settings(service: ServiceIdentity, errors: &[SettingError], clock: Clock) -> ExitCode {
    let levels = tracing_subscriber::filter::Targets::new().with_default(tracing::Level::INFO);
    let _logs = logs::start(service, levels.into(), clock, Counter::default());
    for error in errors {
        tracing::error!(setting = error.setting, "{error}");
    }
    ExitCode::from(SETTINGS_CODE)
}

fn check_health() -> ExitCode {
    let port = from_environment(base::port);
    if port.is_ok_and(health_check::is_healthy) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// For who runs the program by hand, not for the log.
fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    if written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
