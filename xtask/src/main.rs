//! Parse, wire the real world, run one command, exit code.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use xtask::adapters::builder::Artefacts;
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
use xtask::catalog::Thing;
use xtask::cli::{self, Cli, LocalVerb, SecretsVerb, Verb};
use xtask::commands::{self, bench, build, deploy, lint, plan, rollback, secrets, test, verify};
use xtask::decide::compilation::{Profile, Way};
use xtask::decide::environment::Environment;
use xtask::failure::{Failure, Kind};
use xtask::report::{Manner, Report};
use xtask::world::{Desk, Surroundings, User};

fn main() -> ExitCode {
    let parsed = Cli::try_parse();
    let manner = Manner {
        format: parsed.as_ref().map_or_else(
            |_| cli::format_of(std::env::args_os()),
            |cli| cli.global.format,
        ),
        quiet: parsed.as_ref().is_ok_and(|cli| cli.global.quiet),
        terminal: std::io::IsTerminal::is_terminal(&std::io::stderr()),
    };
    let report = Arc::new(Report::to_process(manner));
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
    let surroundings = environments::surroundings()?;
    let surroundings = &surroundings;
    if let Some(file) = environments::step_summary(surroundings)? {
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
        Verb::Doctor { fix } => commands::doctor::doctor(fix, surroundings, report).await,
        Verb::Local { verb } => {
            let emulator = Emulator::new(surroundings, report)?;
            match verb {
                LocalVerb::Up => commands::local::up(surroundings, report, &emulator).await,
                LocalVerb::Down => commands::local::down(report, &emulator).await,
                LocalVerb::Reset => commands::local::reset(report, &emulator).await,
            }
        }
        verb => {
            let named = cli.global.env.as_deref();
            let name = named.or(surroundings.variable("XTASK_ENV"));
            let environment = environments::load(surroundings, name.unwrap_or("local"))?;
            with_environment(verb, &environment, surroundings, report, signals).await
        }
    }
}

/// Verbs that know an environment, but need no AWS.
async fn with_environment(
    verb: Verb,
    environment: &Environment,
    surroundings: &Surroundings,
    report: &Report,
    signals: &Signals,
) -> Result<()> {
    let source = Checkout::new(surroundings);
    let builder = Artefacts::new(surroundings, report, compilation(&verb, environment));
    match verb {
        Verb::Build {
            names,
            push: false,
            out,
            ..
        } => {
            let (things, out) = (plan::chosen(&names.names), out.as_deref());
            build_alone(&builder, environment, report, (&things, out)).await
        }
        Verb::Lint {
            file: Some(file), ..
        } => lint::lint_file(&source, environment, report, &surroundings.named(&file)).await,
        Verb::Lint { names, file: None } => {
            lint::lint_templates(&source, environment, report, &names.names).await
        }
        Verb::Test {
            coverage: true,
            fix,
            ..
        } => commands::coverage::coverage(surroundings, surroundings, report, &source, fix).await,
        Verb::Test {
            fuzz: Some(seconds),
            ..
        } => test::fuzz(surroundings, surroundings, report, seconds).await,
        Verb::Test { fast, fix, .. } => {
            let scope = if fast {
                test::Scope::Fast
            } else {
                test::Scope::All
            };
            run_tests(
                &builder,
                environment,
                surroundings,
                report,
                signals,
                (scope, fix),
            )
            .await
        }
        Verb::Bench => measure(&builder, environment, surroundings, report).await,
        verb => with_aws(verb, environment, surroundings, report, signals).await,
    }
}

/// A build that asks no registry what it has.
async fn build_alone(
    builder: &Artefacts<'_>,
    environment: &Environment,
    report: &Report,
    (things, out): (&[Thing], Option<&Path>),
) -> Result<()> {
    let request = build::Request {
        things,
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
    surroundings: &Surroundings,
    report: &Report,
    signals: &Signals,
) -> Result<()> {
    let emulator = Emulator::new(surroundings, report)?;
    if environment.emulated {
        reach_local(&verb, surroundings, report, &emulator).await?;
    }
    let transport = if environment.emulated {
        Transport::local()
    } else {
        Transport::real(surroundings)?
    };
    let config = if environment.emulated {
        aws::emulated(environment, &emulator.endpoint())
    } else {
        aws::real(surroundings, environment, &transport).await?
    };
    let credentials_end = environments::credentials_end(surroundings).unwrap_or_else(|error| {
        report.warn("credentials", &format!("{error:#}"));
        None
    });
    let credentials_end = credentials_end.filter(|_| !environment.emulated);
    let builder = Artefacts::new(surroundings, report, compilation(&verb, environment));
    let local = environment.emulated.then(|| local(&emulator));
    let desk = Desk {
        environment,
        architecture: environments::architecture(environment)?,
        source: &Checkout::new(surroundings),
        builder: &builder.taken_from(bundle(&verb)),
        infra: &Terraform::new(surroundings, environment, report, &config, signals, local),
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
            name: environments::user(surroundings),
            host: host::name(),
        },
    };
    with_desk(verb, &desk, surroundings).await
}

fn compilation(verb: &Verb, environment: &Environment) -> (Way, Profile) {
    let profile = Profile::of(environment);
    match verb {
        Verb::Build { compilation, .. } | Verb::Deploy { compilation, .. } => {
            (compilation.builder.clone(), profile)
        }
        // What is measured is what production runs.
        Verb::Bench => (Way::Host, Profile::Release),
        _ => (Way::Host, profile),
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
    builder: &Artefacts<'_>,
    environment: &Environment,
    surroundings: &Surroundings,
    report: &Report,
    signals: &Signals,
    (scope, fix): (test::Scope, bool),
) -> Result<()> {
    if fix {
        commands::doctor::make_ready(surroundings, report).await?;
    }
    let emulator = Emulator::new(surroundings, report)?;
    let config = aws::emulated(environment, &emulator.endpoint());
    let local = Some(local(&emulator));
    let infra = Terraform::new(surroundings, environment, report, &config, signals, local);
    let tools = PythonTools::new(surroundings, report);
    let workflows = Checkers {
        tools: &tools,
        root: &surroundings.root,
    };
    let parts = test::Parts {
        toolchain: surroundings,
        machine: surroundings,
        source: &Checkout::new(surroundings),
        fix,
        ci: surroundings.variable("CI") == Some("true"),
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
    builder: &Artefacts<'_>,
    environment: &Environment,
    surroundings: &Surroundings,
    report: &Report,
) -> Result<()> {
    let emulator = Emulator::new(surroundings, report)?;
    let parts = bench::Parts {
        builder,
        stopwatch: &Programs {
            surroundings,
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
    surroundings: &Surroundings,
    report: &Report,
    emulator: &Emulator<'_>,
) -> Result<()> {
    if emulator.is_up().await {
        return Ok(());
    }
    if matches!(verb, Verb::Deploy { .. }) {
        return commands::local::up(surroundings, report, emulator).await;
    }
    Err(Failure::not_ready("the local AWS does not run")
        .hint("cargo xtask deploy       # brings it up and releases to it\ncargo xtask local up     # only brings it up")
        .into())
}

/// Verbs that need AWS.
async fn with_desk(verb: Verb, desk: &Desk<'_>, surroundings: &Surroundings) -> Result<()> {
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
    let site = deploy::published_site(desk).await?.ok_or_else(|| {
        let name = &desk.environment.name;
        Failure::not_ready(format!("{name} has no site yet"))
            .hint(format!("cargo xtask deploy --env {name}"))
    })?;
    let sited = desk.connector.connect(&site)?;
    let world = desk.world(&site, &sited);
    match verb {
        Verb::Secrets { verb } => match verb {
            SecretsVerb::Init { confirmed } => secrets::init(desk, &site, confirmed.yes).await,
            SecretsVerb::Rotate { confirmed } => secrets::rotate(desk, &world, confirmed.yes).await,
        },
        Verb::Build { names, out, .. } => {
            let request = build::Request {
                things: &plan::chosen(&names.names),
                architecture: site.architecture,
                project: &site.project,
                push: Some(build::Target {
                    site: &site,
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
                containers: &Engine::connect(surroundings).await?,
                toolchain: surroundings,
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
