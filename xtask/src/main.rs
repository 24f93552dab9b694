//! Parse, wire the adapters, run one command, exit code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::{CommandFactory, Parser};
use xtask::adapters::balancer::Elb;
use xtask::adapters::bench::Programs;
use xtask::adapters::builder::Artifacts;
use xtask::adapters::clock::SystemClock;
use xtask::adapters::cluster::Ecs;
use xtask::adapters::docker::Engine;
use xtask::adapters::emulator::Emulator;
use xtask::adapters::functions::Lambda;
use xtask::adapters::infra::{self, Terraform};
use xtask::adapters::interrupt::Signals;
use xtask::adapters::ledger::ReleasesTable;
use xtask::adapters::logs::CloudWatch;
use xtask::adapters::probe::Http;
use xtask::adapters::python_tools::{ForeignSuites, PythonTools};
use xtask::adapters::registry::Ecr;
use xtask::adapters::rehearsal::{FaultSettings, Rehearsal};
use xtask::adapters::secrets::SecretsManager;
use xtask::adapters::source::{self, Checkout};
use xtask::adapters::transport::Transport;
use xtask::adapters::workflows::Checkers;
use xtask::adapters::{aws, environments};
use xtask::catalog::{Catalog, UnknownNameError};
use xtask::cli::{
    self, BuildArguments, CheckoutVerb, Cli, DeployArguments, DeployedVerb, LintArguments,
    LocalVerb, MachineVerb, NewVerb, RehearseArguments, ReleasesVerb, SecretsVerb, Verb,
};
use xtask::commands::{
    self, bench, build, cleanup, deploy, lint, new, plan, rollback, secrets, test, verify,
};
use xtask::decide::artifact::compilation::BuildMethod;
use xtask::decide::artifact::contents;
use xtask::decide::artifact::types::{ImageFacts, Profile};
use xtask::decide::environment::Environment;
use xtask::decide::outputs::Outputs;
use xtask::failure::{self, Failure, Kind};
use xtask::planning;
use xtask::ports::{Context, IfLocked, ProcessEnv, User};
use xtask::report::{CommandEvent, Format, MachineEvent, OutputMode, Report};

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
    Report::keep_live(&report);
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
        biased;
        ended = run(cli, report, &signals) => ended,
        () = signals.unclaimed() => Err(Failure::new(Kind::Interrupted, "interrupted").into()),
    }
}

/// What every command has.
#[derive(Clone, Copy)]
struct Process<'a> {
    env: &'a ProcessEnv,
    catalog: &'a Catalog,
    report: &'a Report,
    signals: &'a Signals,
    rehearsal: Option<&'a Arc<Rehearsal>>,
    if_locked: IfLocked,
    /// The user said which environment, and did not leave it at the default.
    is_env_named: bool,
}

async fn run(cli: Cli, report: &Report, signals: &Signals) -> Result<()> {
    let env = &environments::process_env()?;
    if let Some(file) = environments::step_summary(env)? {
        report.summarise_to(Box::new(file));
    }
    let is_lint = matches!(cli.verb, Verb::Checkout(CheckoutVerb::Lint(_)));
    if cli.global.format == Format::Sarif && !is_lint {
        return Err(Failure::usage("only lint has the format sarif").into());
    }
    if let Verb::Machine(MachineVerb::Local {
        verb: LocalVerb::Rehearse(arguments),
    }) = &cli.verb
    {
        let arguments = arguments.clone();
        let rehearsed = cli.rehearsed(&arguments.command).map_err(Failure::usage)?;
        return rehearse(rehearsed, &arguments, (env, report, signals)).await;
    }
    if let Verb::Machine(verb) = cli.verb {
        return run_on_machine(verb, env, report).await;
    }
    let process = Process {
        env,
        catalog: &environments::catalog(env)?,
        report,
        signals,
        rehearsal: None,
        if_locked: IfLocked::default(),
        is_env_named: named_environment(&cli, env).is_some(),
    };
    let environment = environment_of(&cli, env)?;
    run_in_environment(cli.verb, &environment, process).await
}

fn environment_of(cli: &Cli, env: &ProcessEnv) -> Result<Environment> {
    environments::load(env, named_environment(cli, env).unwrap_or("local"))
}

/// The environment that the user named.
fn named_environment<'a>(cli: &'a Cli, env: &'a ProcessEnv) -> Option<&'a str> {
    cli.global.env.as_deref().or(env.variable("XTASK_ENV"))
}

async fn run_in_environment(
    verb: Verb,
    environment: &Environment,
    process: Process<'_>,
) -> Result<()> {
    match verb {
        Verb::Machine(verb) => run_on_machine(verb, process.env, process.report).await,
        Verb::Checkout(verb) => run_in_checkout(verb, environment, process).await,
        Verb::Build(arguments) => run_build(arguments, environment, process).await,
        Verb::Deploy(arguments) => run_deploy(arguments, environment, process).await,
        Verb::Deployed(verb) => run_deployed(verb, environment, process).await,
    }
}

async fn rehearse(
    cli: Cli,
    arguments: &RehearseArguments,
    (env, report, signals): (&ProcessEnv, &Report, &Signals),
) -> Result<()> {
    let environment = environment_of(&cli, env)?;
    if !environment.emulated {
        let text = format!(
            "{} is no local AWS: nothing is rehearsed there",
            environment.name
        );
        return Err(Failure::usage(text).into());
    }
    let blackout = arguments.blackout.unwrap_or_default();
    let settings = FaultSettings {
        seed: arguments.seed.map_or_else(xtask::random::seed, Ok)?,
        rate: arguments.rate,
        stale: arguments.stale,
        blackout: blackout.unsigned_abs(),
    };
    report.emit(MachineEvent::Rehearsing {
        seed: settings.seed,
        rate: settings.rate,
        stale: settings.stale,
        blackout_s: settings.blackout.as_secs(),
    });
    let rehearsal = Rehearsal::new(settings);
    let process = Process {
        env,
        catalog: &environments::catalog(env)?,
        report,
        signals,
        rehearsal: Some(&rehearsal),
        if_locked: IfLocked::default(),
        is_env_named: named_environment(&cli, env).is_some(),
    };
    let ended = run_in_environment(cli.verb, &environment, process).await;
    report.emit(MachineEvent::Rehearsed {
        faults: rehearsal.counts(),
    });
    ended
}

async fn run_on_machine(verb: MachineVerb, env: &ProcessEnv, report: &Report) -> Result<()> {
    match verb {
        MachineVerb::Completions { shell } => {
            let names = environments::names(env)?;
            let script = commands::completions::completions(
                shell,
                Cli::command(),
                &environments::catalog(env)?,
                &names,
            );
            report.data(&script, &script);
            Ok(())
        }
        MachineVerb::Doctor { fix } => commands::doctor::doctor(fix, env, report).await,
        MachineVerb::Local { verb } => {
            let emulator = Emulator::new(env, report)?;
            match verb {
                LocalVerb::Up => commands::local::up(env, report, &emulator).await,
                LocalVerb::Down => commands::local::down(report, &emulator).await,
                LocalVerb::Reset => commands::local::reset(report, &emulator).await,
                LocalVerb::Rehearse(_) => unreachable!("`run` handles it"),
            }
        }
    }
}

async fn run_in_checkout(
    verb: CheckoutVerb,
    environment: &Environment,
    process: Process<'_>,
) -> Result<()> {
    let Process {
        env,
        catalog,
        report,
        is_env_named,
        ..
    } = process;
    let source = Checkout::new(env);
    match verb {
        CheckoutVerb::New { verb } => {
            let (kind, name) = match verb {
                NewVerb::Service { new_name } => (new::NewKind::Service, new_name),
                NewVerb::Function { new_name } => (new::NewKind::Function, new_name),
            };
            new::new(kind, &name, catalog, &source, report).await
        }
        CheckoutVerb::Lint(arguments) => {
            let options = &lint::LintOptions {
                image: image_of(env, &arguments).await?,
                image_name: arguments.image.clone(),
                advice: arguments.advice,
                launch_type: arguments.launch_type,
                is_for_environment: is_env_named,
            };
            if let Some(code) = &arguments.explain {
                Ok(lint::explain(code, report)?)
            } else if arguments.files.is_empty() {
                let services = usage(catalog.chosen_services(&arguments.names))?;
                let services = &services;
                lint::lint_templates(&source, catalog, environment, report, services, options).await
            } else {
                let files = definition_files(env, &arguments.files)?;
                if arguments.fix {
                    let writes = arguments.yes;
                    return lint::fix(&source, environment, report, &files, options, writes);
                }
                lint::lint_files(&source, environment, report, &files, options).await
            }
        }
        CheckoutVerb::Test {
            coverage: true,
            fix,
            ..
        } => commands::coverage::coverage((env, env), report, &source, catalog, fix).await,
        CheckoutVerb::Test {
            fuzz: Some(seconds),
            ..
        } => test::fuzz(&corpora(env)?, env, report, seconds).await,
        CheckoutVerb::Test {
            fast, long, fix, ..
        } => {
            let scope = match (fast, long) {
                (true, _) => test::TestScope::Fast,
                (_, true) => test::TestScope::Long,
                _ => test::TestScope::All,
            };
            run_tests(environment, process, scope, fix).await
        }
        CheckoutVerb::Bench { parts } => measure(environment, process, parts).await,
    }
}

/// What lint has to know of the image that the user named.
async fn image_of(env: &ProcessEnv, arguments: &LintArguments) -> Result<Option<ImageFacts>> {
    let files = if let Some(path) = &arguments.oci {
        source::layout_files(&env.here.join(path))
            .map_err(|it| Failure::usage(format!("{it:#}")))?
    } else if let Some(image) = &arguments.image {
        let archive = Engine::connect(env).await?.export(image).await?;
        contents::unpacked(&archive)?
    } else {
        return Ok(None);
    };
    let facts = contents::facts(&files).map_err(|it| Failure::usage(format!("the image: {it}")))?;
    Ok(Some(facts))
}

/// The files that the user named, and those of folders.
fn definition_files(env: &ProcessEnv, paths: &[PathBuf]) -> Result<Vec<lint::DefinitionFile>> {
    let mut files = Vec::new();
    let mut add = |path: &Path, is_found| {
        let path = env.named(path).display().to_string();
        files.push(lint::DefinitionFile { path, is_found });
    };
    for path in paths {
        let path = env.here.join(path);
        if path.is_dir() {
            let found = source::json_files_below(&path)?;
            for path in &found {
                add(path, true);
            }
        } else {
            add(&path, false);
        }
    }
    Ok(files)
}

async fn run_build(
    arguments: BuildArguments,
    environment: &Environment,
    process: Process<'_>,
) -> Result<()> {
    let method = arguments.compilation.builder;
    let components = usage(process.catalog.chosen(&arguments.names.names))?;
    let out = arguments.out.as_deref();
    if !arguments.push {
        let compilation = (method, Profile::of(environment));
        let builder = Artifacts::new(process.catalog, process.env, process.report, compilation);
        let request = build::Request {
            components: &components,
            architecture: environments::architecture(environment)?,
            project: &environment.project,
            push: None,
            out,
        };
        return build::build(&builder, process.report, &request).await;
    }
    reach_local_aws(environment, process, IfDown::Fail).await?;
    with_context(environment, process, method, None, async |context| {
        let outputs = planning::outputs::required(context).await?;
        let request = build::Request {
            components: &components,
            architecture: outputs.architecture,
            project: &outputs.project,
            push: Some(build::Target {
                outputs: &outputs,
                registry: context.registry,
            }),
            out,
        };
        build::build(context.builder, context.report, &request).await
    })
    .await
}

async fn run_deploy(
    arguments: DeployArguments,
    environment: &Environment,
    process: Process<'_>,
) -> Result<()> {
    let options = deploy::Options {
        components: usage(process.catalog.chosen(&arguments.names.names))?,
        dry_run: arguments.dry_run,
        yes: arguments.confirmed.yes,
        lift_hold: arguments.lift_hold,
    };
    let process = Process {
        if_locked: arguments.locking.into(),
        ..process
    };
    let deployed = deploy_in(environment, process, &arguments, &options).await;
    let is_left_over = |error: &anyhow::Error| failure::is(error, Kind::LeftOver);
    if !environment.emulated || !deployed.as_ref().is_err_and(is_left_over) {
        return deployed;
    }
    // Nothing was ever released to it, so nothing is lost.
    process.report.emit(MachineEvent::LocalBegunAnew);
    let emulator = Emulator::new(process.env, process.report)?;
    commands::local::reset(process.report, &emulator).await?;
    deploy_in(environment, process, &arguments, &options).await
}

async fn deploy_in(
    environment: &Environment,
    process: Process<'_>,
    arguments: &DeployArguments,
    options: &deploy::Options,
) -> Result<()> {
    reach_local_aws(environment, process, IfDown::Start).await?;
    let method = arguments.compilation.builder.clone();
    let bundle = arguments.artifacts.as_deref();
    with_context(environment, process, method, bundle, async |context| {
        deploy::deploy(context, options).await
    })
    .await
}

async fn run_deployed(
    verb: DeployedVerb,
    environment: &Environment,
    process: Process<'_>,
) -> Result<()> {
    let catalog = process.catalog;
    let bundle = match &verb {
        DeployedVerb::Plan {
            names, artifacts, ..
        } => {
            usage(catalog.chosen(&names.names))?;
            artifacts.clone()
        }
        DeployedVerb::Render { name } => {
            usage(catalog.service_named(name))?;
            None
        }
        DeployedVerb::Logs { name, .. } => {
            usage(catalog.component_named(name))?;
            None
        }
        _ => None,
    };
    let bundle = bundle.as_deref();
    let method = BuildMethod::Host;
    let locking = match &verb {
        DeployedVerb::Rollback { locking, .. }
        | DeployedVerb::Cleanup { locking, .. }
        | DeployedVerb::Secrets {
            verb: SecretsVerb::Rotate { locking, .. },
        } => Some(*locking),
        _ => None,
    };
    let process = Process {
        if_locked: locking.map(IfLocked::from).unwrap_or_default(),
        ..process
    };
    reach_local_aws(environment, process, IfDown::Fail).await?;
    with_context(environment, process, method, bundle, async |context| {
        let outputs = planning::outputs::required(context).await?;
        run_with_outputs(verb, context, &outputs, process.env).await
    })
    .await
}

async fn run_with_outputs(
    verb: DeployedVerb,
    context: &Context<'_>,
    outputs: &Outputs,
    env: &ProcessEnv,
) -> Result<()> {
    match verb {
        DeployedVerb::Render { name } => {
            let service = usage(context.catalog.service_named(&name))?;
            commands::render::render(context, outputs, service).await
        }
        DeployedVerb::Plan {
            names, exit_code, ..
        } => {
            let components = usage(context.catalog.chosen(&names.names))?;
            plan::plan(context, outputs, &components, exit_code).await
        }
        DeployedVerb::Verify { deployed } => run_checks(context, outputs, deployed, env).await,
        DeployedVerb::Rollback {
            to,
            stop,
            confirmed,
            no_hold,
            ..
        } => {
            let options = rollback::RollbackOptions {
                to,
                yes: confirmed.yes,
                holds: !no_hold,
            };
            roll_back(context, outputs, stop, &options).await
        }
        DeployedVerb::Hold { why, confirmed } => {
            commands::hold::hold(context, &why, confirmed.yes).await
        }
        DeployedVerb::Unhold { confirmed } => commands::hold::unhold(context, confirmed.yes).await,
        DeployedVerb::Cleanup {
            keep,
            dry_run,
            confirmed,
            ..
        } => {
            let options = cleanup::CleanupOptions {
                keep: keep.into(),
                dry_run,
                yes: confirmed.yes,
            };
            cleanup::cleanup(context, outputs, &options).await
        }
        DeployedVerb::Secrets { verb } => match verb {
            SecretsVerb::Init { confirmed } => secrets::init(context, outputs, confirmed.yes).await,
            SecretsVerb::Rotate { confirmed, .. } => {
                secrets::rotate(context, outputs, confirmed.yes).await
            }
        },
        DeployedVerb::Status => commands::status::status(context, outputs).await,
        DeployedVerb::Releases { verb: None, last } => {
            commands::releases::releases(context, last).await
        }
        DeployedVerb::Releases {
            verb: Some(ReleasesVerb::Show { release }),
            ..
        } => commands::releases::show(context, release).await,
        DeployedVerb::Logs {
            name,
            since,
            follow,
        } => {
            let component = usage(context.catalog.component_named(&name))?;
            commands::logs::logs(context, outputs, component, since, follow).await
        }
    }
}

async fn run_checks(
    context: &Context<'_>,
    outputs: &Outputs,
    deployed: bool,
    env: &ProcessEnv,
) -> Result<()> {
    if deployed {
        return verify::verify(context, outputs, verify::VerifyScope::Deployed).await;
    }
    let tools = verify::Tools {
        containers: &Engine::connect(env).await?,
        toolchain: env,
    };
    verify::verify(context, outputs, verify::VerifyScope::Whole(tools)).await
}

async fn roll_back(
    context: &Context<'_>,
    outputs: &Outputs,
    stop: bool,
    options: &rollback::RollbackOptions,
) -> Result<()> {
    if stop {
        return rollback::stop(context, outputs, options.yes).await;
    }
    rollback::rollback(context, outputs, options).await
}

/// A name that is not in the catalog is a mistake at the command line.
fn usage<T>(named: Result<T, UnknownNameError>) -> Result<T, Failure> {
    named.map_err(|error| Failure::usage(error.to_string()))
}

/// Wires the adapters of an environment. With a bundle, what was built is taken from there and
/// nothing is compiled.
async fn with_context(
    environment: &Environment,
    process: Process<'_>,
    method: BuildMethod,
    bundle: Option<&Path>,
    command: impl AsyncFnOnce(&Context<'_>) -> Result<()>,
) -> Result<()> {
    let Process {
        env,
        catalog,
        report,
        signals,
        rehearsal,
        if_locked,
        ..
    } = process;
    let emulator = Emulator::new(env, report)?;
    let transport = if environment.emulated {
        Transport::local().with_faults(rehearsal.cloned())
    } else {
        Transport::real(env)?
    };
    let config = if environment.emulated {
        let (endpoint, key) = (emulator.endpoint(), emulator.access_key());
        aws::emulated(environment, &endpoint, &key, &transport)
    } else {
        aws::real(env, environment, &transport).await?
    };
    let credentials_end = environments::credentials_end(env).unwrap_or_else(|error| {
        report.emit(CommandEvent::ErrorIgnored {
            subject: "credentials".to_owned(),
            error: format!("{error:#}"),
        });
        None
    });
    let builder = Artifacts::new(catalog, env, report, (method, Profile::of(environment)));
    let local = environment.emulated.then(|| local(&emulator));
    let context = Context {
        catalog,
        environment,
        architecture: environments::architecture(environment)?,
        source: &Checkout::new(env),
        builder: &builder.taken_from(bundle),
        infra: &Terraform::new(env, catalog, environment, report, &config, signals, local),
        registry: &Ecr::new(&config, &transport, report),
        cluster: &Ecs::new(&config),
        balancer: &Elb::new(&config),
        functions: &Lambda::new(&config),
        secrets: &SecretsManager::new(&config),
        logs: &CloudWatch::new(&config),
        ledger: &ReleasesTable::new(&config, environment),
        probe: &Http::new(&transport),
        clock: &SystemClock,
        interrupt: signals,
        report,
        user: &User {
            name: environments::user(env),
            host: environments::host_name(),
        },
        credentials_end: credentials_end.filter(|_| !environment.emulated),
        if_locked,
    };
    command(&context).await
}

/// What a command does where the local AWS does not run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfDown {
    Start,
    Fail,
}

async fn reach_local_aws(
    environment: &Environment,
    process: Process<'_>,
    if_down: IfDown,
) -> Result<()> {
    let Process { env, report, .. } = process;
    if !environment.emulated {
        return Ok(());
    }
    let emulator = Emulator::new(env, report)?;
    if if_down == IfDown::Start {
        emulator.docker().await?;
    }
    if emulator.is_up().await {
        return Ok(());
    }
    if if_down == IfDown::Start {
        return commands::local::up(env, report, &emulator).await;
    }
    Err(Failure::not_ready("the local AWS does not run")
        .hint(
            "cargo xtask deploy       # brings it up and releases to it\n\
             cargo xtask local up     # only brings it up",
        )
        .into())
}

fn local(emulator: &Emulator<'_>) -> infra::EmulatedTarget {
    infra::EmulatedTarget {
        endpoint: emulator.endpoint(),
        access_key: emulator.access_key(),
        architecture: environments::host_architecture(),
        folder: emulator.folder(),
    }
}

async fn run_tests(
    environment: &Environment,
    process: Process<'_>,
    scope: test::TestScope,
    fix: bool,
) -> Result<()> {
    let Process {
        env,
        catalog,
        report,
        signals,
        ..
    } = process;
    if fix {
        commands::doctor::make_ready(env, report).await?;
    }
    let emulator = Emulator::new(env, report)?;
    let (endpoint, key) = (emulator.endpoint(), emulator.access_key());
    let config = aws::emulated(environment, &endpoint, &key, &Transport::local());
    let local = Some(local(&emulator));
    let infra = Terraform::new(env, catalog, environment, report, &config, signals, local);
    let tools = PythonTools::new(env, report);
    let workflows = Checkers {
        tools: &tools,
        root: &env.root,
    };
    let corpora = corpora(env)?;
    let parts = test::TestParts {
        corpora: &corpora,
        catalog,
        toolchain: env,
        machine: env,
        source: &Checkout::new(env),
        fix,
        ci: env.variable("CI") == Some("true"),
        workflows: &workflows,
        suites: &ForeignSuites {
            process_env: env,
            report,
        },
        report,
        infra: &infra,
        program: &environments::program()?,
    };
    test::test(&parts, scope).await
}

/// The inputs that the fuzzer found: libFuzzer needs the folder of each target.
fn corpora(env: &ProcessEnv) -> Result<PathBuf> {
    for target in test::FUZZ_TARGETS {
        environments::state_folder(env, &format!("fuzz/{}", target.name))?;
    }
    environments::state_folder(env, "fuzz")
}

async fn measure(
    environment: &Environment,
    process: Process<'_>,
    wanted: Vec<bench::BenchPart>,
) -> Result<()> {
    let Process {
        env,
        catalog,
        report,
        ..
    } = process;
    let emulator = Emulator::new(env, report)?;
    // What is measured is what production runs.
    let builder = Artifacts::new(catalog, env, report, (BuildMethod::Host, Profile::Release));
    let parts = bench::BenchParts {
        wanted,
        catalog,
        builder: &builder,
        source: &Checkout::new(env),
        stopwatch: &Programs {
            catalog,
            process_env: env,
            emulator: &emulator,
            program: environments::program()?,
            clock: &SystemClock,
            builder: &builder,
        },
        report,
        architecture: environments::architecture(environment)?,
        environment,
        deploys: !environment.emulated || emulator.is_up().await,
    };
    bench::bench(&parts).await
}
