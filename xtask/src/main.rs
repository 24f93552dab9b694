//! Parse, wire the real world, run one command, exit code.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use xtask::adapters::builder::Artifacts;
use xtask::adapters::clock::SystemClock;
use xtask::adapters::docker::Engine;
use xtask::adapters::emulator::Emulator;
use xtask::adapters::infra::{self, Terraform};
use xtask::adapters::interrupt::Signals;
use xtask::adapters::ledger::Ssm;
use xtask::adapters::logs::CloudWatch;
use xtask::adapters::probe::Http;
use xtask::adapters::python_tools::PythonTools;
use xtask::adapters::secrets::SecretsManager;
use xtask::adapters::source::Checkout;
use xtask::adapters::stopwatch::Programs;
use xtask::adapters::transport::Transport;
use xtask::adapters::workflows::Checkers;
use xtask::adapters::{aws, connector, environments, host};
use xtask::catalog::Component;
use xtask::cli::{self, Cli, LocalVerb, SecretsVerb, Verb};
use xtask::commands::{self, bench, build, deploy, lint, plan, rollback, secrets, test, verify};
use xtask::decide::artifact::compilation::{BuildMethod, Profile};
use xtask::decide::environment::Environment;
use xtask::failure::{Failure, Kind};
use xtask::report::{OutputMode, Report};
use xtask::world::{Desk, ProcessEnv, User};

fn main() -> ExitCode {
    let parsed = Cli::try_parse();
    let mode = OutputMode {
        format: parsed.as_ref().map_or_else(
            |_| cli::format_of(std::env::args_os()),
            |cli| cli.global.format,
        ),
        quiet: parsed.as_ref().is_ok_and(|cli| cli.global.quiet),
        terminal: std::io::IsTerminal::is_terminal(&std::io::stderr()),
    };
    let report = Arc::new(Report::to_process(mode));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(said) => return ExitCode::from(report.end_unparsed(&said)),
    };
    if cli.global.verbose {
        xtask::report::tell_diagnostics(&report);
    }
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")
        .and_then(|runtime| {
            let ended = runtime.block_on(interruptible(cli, &report));
            // What still reads a killed child's output is not waited for.
            runtime.shutdown_background();
            ended
        });
    ExitCode::from(report.end(ended))
}

async fn interruptible(cli: Cli, report: &Report) -> Result<()> {
    let signals = Signals::listen()?;
    tokio::select! {
        ended = run(cli, report, &signals) => ended,
        () = signals.unclaimed() => Err(Failure::new(Kind::Interrupted, "interrupted").into()),
    }
}

async fn run(cli: Cli, report: &Report, signals: &Signals) -> Result<()> {
    let process_env = environments::process_env()?;
    let process_env = &process_env;
    if let Some(file) = environments::step_summary(process_env)? {
        report.summarise_to(Box::new(file));
    }
    match cli.verb {
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cargo-xtask", &mut script);
            let script = String::from_utf8_lossy(&script);
            report.data(&script, &script);
            Ok(())
        }
        Verb::Doctor { fix } => commands::doctor::doctor(fix, process_env, report).await,
        Verb::Local { verb } => {
            let emulator = Emulator::new(process_env, report)?;
            match verb {
                LocalVerb::Up => commands::local::up(process_env, report, &emulator).await,
                LocalVerb::Down => commands::local::down(report, &emulator).await,
                LocalVerb::Reset => commands::local::reset(report, &emulator).await,
            }
        }
        verb => {
            let named = cli.global.env.as_deref();
            let name = named.or(process_env.variable("XTASK_ENV"));
            let environment = environments::load(process_env, name.unwrap_or("local"))?;
            with_environment(verb, &environment, process_env, report, signals).await
        }
    }
}

/// Verbs that know an environment, but need no AWS.
async fn with_environment(
    verb: Verb,
    environment: &Environment,
    process_env: &ProcessEnv,
    report: &Report,
    signals: &Signals,
) -> Result<()> {
    let source = Checkout::new(process_env);
    let builder = Artifacts::new(process_env, report, compilation(&verb, environment));
    match verb {
        Verb::Build {
            names,
            push: false,
            out,
            ..
        } => {
            let (components, out) = (plan::chosen(&names.names), out.as_deref());
            build_alone(&builder, environment, report, (&components, out)).await
        }
        Verb::Lint {
            file: Some(file), ..
        } => lint::lint_file(&source, environment, report, &process_env.named(&file)).await,
        Verb::Lint { names, file: None } => {
            lint::lint_templates(&source, environment, report, &names.names).await
        }
        Verb::Test {
            coverage: true,
            fix,
            ..
        } => commands::coverage::coverage(process_env, process_env, report, &source, fix).await,
        Verb::Test {
            fuzz: Some(seconds),
            ..
        } => test::fuzz(process_env, process_env, report, seconds).await,
        Verb::Test { fast, fix, .. } => {
            let scope = if fast {
                test::Scope::Fast
            } else {
                test::Scope::All
            };
            run_tests(
                &builder,
                environment,
                process_env,
                report,
                signals,
                (scope, fix),
            )
            .await
        }
        Verb::Bench => measure(&builder, environment, process_env, report).await,
        verb => with_aws(verb, environment, process_env, report, signals).await,
    }
}

/// A build that asks no registry what it has.
async fn build_alone(
    builder: &Artifacts<'_>,
    environment: &Environment,
    report: &Report,
    (components, out): (&[Component], Option<&Path>),
) -> Result<()> {
    let request = build::Request {
        components,
        architecture: environments::architecture(environment)?,
        project: &environment.project,
        push: None,
        out,
    };
    build::build(builder, report, &request).await
}

/// Wires the real world of an environment.
async fn with_aws(
    verb: Verb,
    environment: &Environment,
    process_env: &ProcessEnv,
    report: &Report,
    signals: &Signals,
) -> Result<()> {
    let emulator = Emulator::new(process_env, report)?;
    if environment.emulated {
        reach_local(&verb, process_env, report, &emulator).await?;
    }
    let transport = if environment.emulated {
        Transport::local()
    } else {
        Transport::real(process_env)?
    };
    let config = if environment.emulated {
        aws::emulated(environment, &emulator.endpoint())
    } else {
        aws::real(process_env, environment, &transport).await?
    };
    let credentials_end = environments::credentials_end(process_env).unwrap_or_else(|error| {
        report.warn("credentials", &format!("{error:#}"));
        None
    });
    let credentials_end = credentials_end.filter(|_| !environment.emulated);
    let builder = Artifacts::new(process_env, report, compilation(&verb, environment));
    let local = environment.emulated.then(|| local(&emulator));
    let desk = Desk {
        environment,
        architecture: environments::architecture(environment)?,
        source: &Checkout::new(process_env),
        builder: &builder.taken_from(bundle(&verb)),
        infra: &Terraform::new(process_env, environment, report, &config, signals, local),
        secrets: &SecretsManager::new(&config),
        connector: &connector::Aws {
            config: &config,
            credentials_end,
            transport: &transport,
            report,
        },
        logs: &CloudWatch::new(&config),
        ledger: &Ssm::new(&config, environment),
        probe: &Http::new(&transport),
        clock: &SystemClock,
        interrupt: signals,
        report,
        user: &User {
            name: environments::user(process_env),
            host: host::name(),
        },
    };
    with_desk(verb, &desk, process_env).await
}

fn compilation(verb: &Verb, environment: &Environment) -> (BuildMethod, Profile) {
    let profile = Profile::of(environment);
    match verb {
        Verb::Build { compilation, .. } | Verb::Deploy { compilation, .. } => {
            (compilation.builder.clone(), profile)
        }
        // What is measured is what production runs.
        Verb::Bench => (BuildMethod::Host, Profile::Release),
        _ => (BuildMethod::Host, profile),
    }
}

/// The folder that what was built is taken from, where something must not be compiled.
fn bundle(verb: &Verb) -> Option<&Path> {
    match verb {
        Verb::Plan { artifacts, .. } | Verb::Deploy { artifacts, .. } => artifacts.as_deref(),
        _ => None,
    }
}

fn local(emulator: &Emulator<'_>) -> infra::Local {
    infra::Local {
        endpoint: emulator.endpoint(),
        architecture: host::architecture(),
        folder: emulator.folder(),
    }
}

async fn run_tests(
    builder: &Artifacts<'_>,
    environment: &Environment,
    process_env: &ProcessEnv,
    report: &Report,
    signals: &Signals,
    (scope, fix): (test::Scope, bool),
) -> Result<()> {
    if fix {
        commands::doctor::make_ready(process_env, report).await?;
    }
    let emulator = Emulator::new(process_env, report)?;
    let config = aws::emulated(environment, &emulator.endpoint());
    let local = Some(local(&emulator));
    let infra = Terraform::new(process_env, environment, report, &config, signals, local);
    let tools = PythonTools::new(process_env, report);
    let workflows = Checkers {
        tools: &tools,
        root: &process_env.root,
    };
    let parts = test::Parts {
        toolchain: process_env,
        machine: process_env,
        source: &Checkout::new(process_env),
        fix,
        ci: process_env.variable("CI") == Some("true"),
        workflows: &workflows,
        report,
        builder,
        infra: &infra,
        program: &environments::program()?,
        architecture: environments::architecture(environment)?,
    };
    test::test(&parts, scope).await
}

async fn measure(
    builder: &Artifacts<'_>,
    environment: &Environment,
    process_env: &ProcessEnv,
    report: &Report,
) -> Result<()> {
    let emulator = Emulator::new(process_env, report)?;
    let parts = bench::Parts {
        builder,
        stopwatch: &Programs {
            process_env,
            program: environments::program()?,
            clock: &SystemClock,
            builder,
        },
        report,
        architecture: environments::architecture(environment)?,
        environment: &environment.name,
        deploys: !environment.emulated || emulator.is_up().await,
    };
    bench::bench(&parts).await
}

/// Deploy brings the local AWS up; every other verb says that it is down.
async fn reach_local(
    verb: &Verb,
    process_env: &ProcessEnv,
    report: &Report,
    emulator: &Emulator<'_>,
) -> Result<()> {
    if emulator.is_up().await {
        return Ok(());
    }
    if matches!(verb, Verb::Deploy { .. }) {
        return commands::local::up(process_env, report, emulator).await;
    }
    Err(Failure::not_ready("the local AWS does not run")
        .hint("cargo xtask deploy       # brings it up and releases to it\ncargo xtask local up     # only brings it up")
        .into())
}

/// Verbs that need AWS.
async fn with_desk(verb: Verb, desk: &Desk<'_>, process_env: &ProcessEnv) -> Result<()> {
    if let Verb::Deploy {
        names,
        dry_run,
        confirmed,
        ..
    } = verb
    {
        let options = deploy::Options {
            names: names.names,
            dry_run,
            yes: confirmed.yes,
        };
        return deploy::deploy(desk, &options).await;
    }
    let outputs = deploy::published_outputs(desk).await?.ok_or_else(|| {
        let name = &desk.environment.name;
        Failure::not_ready(format!("{name} has no outputs yet"))
            .hint(format!("cargo xtask deploy --env {name}"))
    })?;
    let sited = desk.connector.connect(&outputs)?;
    let world = desk.world(&outputs, &sited);
    match verb {
        Verb::Secrets { verb } => match verb {
            SecretsVerb::Init { confirmed } => secrets::init(desk, &outputs, confirmed.yes).await,
            SecretsVerb::Rotate { confirmed } => secrets::rotate(desk, &world, confirmed.yes).await,
        },
        Verb::Build { names, out, .. } => {
            let request = build::Request {
                components: &plan::chosen(&names.names),
                architecture: outputs.architecture,
                project: &outputs.project,
                push: Some(build::Target {
                    outputs: &outputs,
                    registry: world.registry,
                }),
                out: out.as_deref(),
            };
            build::build(desk.builder, desk.report, &request).await
        }
        Verb::Render { name } => commands::render::render(&world, name).await,
        Verb::Plan {
            names, exit_code, ..
        } => plan::plan(&world, &names.names, exit_code).await,
        Verb::Verify { deployed: true } => verify::verify(&world, verify::Scope::Deployed).await,
        Verb::Verify { deployed: false } => {
            let tools = verify::Tools {
                containers: &Engine::connect(process_env).await?,
                toolchain: process_env,
            };
            verify::verify(&world, verify::Scope::Whole(tools)).await
        }
        Verb::Rollback {
            stop: true,
            confirmed,
            ..
        } => rollback::stop(desk, &world, confirmed.yes).await,
        Verb::Rollback { to, confirmed, .. } => {
            rollback::rollback(desk, &world, to, confirmed.yes).await
        }
        Verb::Status => commands::status::status(&world).await,
        Verb::Releases { last } => commands::releases::releases(&world, last).await,
        Verb::Logs {
            name,
            since,
            follow,
        } => commands::logs::logs(&world, name, &since, follow).await,
        _ => Err(Failure::usage("this verb is not for an environment").into()),
    }
}
