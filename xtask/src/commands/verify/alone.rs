//! Runs each image alone in plain Docker, with the user, read-only root, capabilities and port of
//! its definition, because the local AWS ignores these.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use super::stubs::{self, Stubs};
use super::{ask, looking, not_there, signed, unseen};
use crate::catalog::{Component, Service};
use crate::decide::acceptance::Criterion::{
    AxonHealth, AxonReason, CorrelationIds, DenialBlocks, GovernanceFirst, Images, JsonLogs,
    OrbitHealth,
};
use crate::decide::acceptance::figures::small;
use crate::decide::acceptance::isolated::{self, Dispatch, DispatchCase, IsolatedService};
use crate::decide::acceptance::responses::{self, HttpResult};
use crate::decide::acceptance::{AXON, Check, Criterion, DISPATCHES, ORBIT, Observations};
use crate::decide::artifact::image::Artifact;
use crate::decide::definition::Definition;
use crate::decide::definition::run_options::{health_check, run_options};
use crate::decide::outputs::Outputs;
use crate::failure::{Failure, Kind};
use crate::planning::definitions;
use crate::ports::{Containers, Context, ProbeRequest, RunningContainer};
use crate::report::CommandEvent;

/// A start takes milliseconds, on a busy machine longer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A line may reach us after the answer whose request it is about.
const LINES_LIMIT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

const CASES: [DispatchCase; 4] = [
    DispatchCase::Permitted,
    DispatchCase::WithoutId,
    DispatchCase::Denied,
    DispatchCase::Unanswered,
];

/// What the images alone showed.
pub(super) struct AloneChecks {
    /// Criteria 1 to 8.
    pub(super) checks: Vec<Check>,
    /// Of the services that no criterion names.
    pub(super) health: Observations,
}

/// The loaded images are removed on Ctrl-C too.
pub(super) async fn check(
    context: &Context<'_>,
    outputs: &Outputs,
    containers: &dyn Containers,
) -> Result<AloneChecks> {
    let mut images = BTreeMap::new();
    let looked = tokio::select! {
        biased;
        looked = look(context, outputs, containers, &mut images) => Ok(looked),
        () = context.interrupt.wait() => Err(Failure::new(Kind::Interrupted, "interrupted")),
    };
    for image in images.values() {
        if let Err(error) = containers.forget(&image.name).await {
            context.report.emit(CommandEvent::ErrorIgnored {
                subject: "verify".to_owned(),
                error: format!("an image is left behind: {error:#}"),
            });
        }
    }
    Ok(looked?)
}

async fn look(
    context: &Context<'_>,
    outputs: &Outputs,
    containers: &dyn Containers,
    images: &mut BTreeMap<Service, LoadedImage>,
) -> AloneChecks {
    if let Err(error) = load(context, outputs, containers, images).await {
        let error = error.context("there are no images to check");
        let unseen = |criterion| unseen(criterion, &error, "cargo xtask build");
        let checks = DISPATCHES
            .iter()
            .copied()
            .chain([JsonLogs, Images])
            .map(unseen);
        return AloneChecks {
            checks: checks.collect(),
            health: Observations::default(),
        };
    }
    let place = Place {
        context,
        outputs,
        containers,
    };
    let (mut checks, mut seen) = match not_there(context, outputs) {
        None => {
            let axon = place.axon(&images[&AXON]).await;
            let orbit = place.orbit(&images[&ORBIT]).await;
            let mut checks = axon_checks(&axon);
            checks.extend(orbit_checks(&orbit));
            let axon = axon.map(|seen| seen.alone);
            let orbit = orbit.map(|seen| seen.alone);
            (checks, vec![(AXON, axon), (ORBIT, orbit)])
        }
        Some(why) => {
            let checks = DISPATCHES.iter().map(|it| Check::skip(*it, &why));
            (checks.collect(), Vec::new())
        }
    };
    let mut health = Observations::default();
    for (service, image) in images.iter() {
        if seen.iter().all(|(known, _)| known != service) {
            let alone = place.service(*service, image).await;
            health = health.and(health_of(*service, &alone));
            seen.push((*service, alone));
        }
    }
    checks.push(logs(&seen));
    let sizes = images
        .iter()
        .map(|(service, image)| small(service.name(), image.packed_bytes, image.unpacked_bytes));
    let names = images.keys().map(|service| service.name());
    let what_is_in_them: Vec<_> = names
        .map(|name| format!("cargo tree --package {name}"))
        .collect();
    checks.push(Observations::of(sizes).judge(Images, &what_is_in_them.join("\n")));
    AloneChecks { checks, health }
}

/// An image that the engine has loaded.
struct LoadedImage {
    name: String,
    packed_bytes: u64,
    unpacked_bytes: u64,
    definition: Definition,
}

async fn load(
    context: &Context<'_>,
    outputs: &Outputs,
    containers: &dyn Containers,
    images: &mut BTreeMap<Service, LoadedImage>,
) -> Result<()> {
    for (component, artifact) in artifacts(context, outputs).await? {
        let Some(service) = component.service() else {
            continue;
        };
        looking(context, service.name(), "loading its image");
        let reference = format!("{}@{}", outputs.image_name(service), artifact.digest);
        let definition = definitions::rendered(context, outputs, service, &reference).await?;
        let archive = context.builder.bytes(&artifact).await?;
        let name = containers.load(archive).await?;
        let image = LoadedImage {
            unpacked_bytes: containers.size_bytes(&name).await?,
            packed_bytes: artifact.packed_bytes,
            name,
            definition,
        };
        images.insert(service, image);
    }
    Ok(())
}

async fn artifacts(
    context: &Context<'_>,
    outputs: &Outputs,
) -> Result<BTreeMap<Component, Artifact>> {
    let architecture = outputs.architecture;
    let mut keys = context.builder.keys(architecture).await?;
    keys.retain(|component, _| component.service().is_some() && outputs.has(*component));
    match context.builder.all_cached(&keys).await? {
        Some(artifacts) => Ok(artifacts),
        None => context.builder.build(architecture, &keys).await,
    }
}

/// What axon alone did.
struct AxonSeen {
    alone: IsolatedService,
    reason: HttpResult,
}

/// What orbit alone did.
struct OrbitSeen {
    alone: IsolatedService,
    dispatches: Vec<Dispatch>,
}

struct Place<'a> {
    context: &'a Context<'a>,
    outputs: &'a Outputs,
    containers: &'a dyn Containers,
}

impl Place<'_> {
    async fn axon(&self, image: &LoadedImage) -> Result<AxonSeen> {
        let subject = AXON;
        let stubs = Stubs::serve(self.containers.host_address().await?).await?;
        let container = self.start(subject, image, &stubs.settings()).await?;
        let health = self.get(&*container, "/health").await;
        let reason = self.reason(&*container).await?;
        let alone = self.look(&*container, image, health, &[&reason]).await?;
        container.remove().await?;
        Ok(AxonSeen { alone, reason })
    }

    /// A service that no criterion names. Health never asks another service, so what it calls need
    /// not be there.
    async fn service(&self, service: Service, image: &LoadedImage) -> Result<IsolatedService> {
        let stubs = Stubs::serve(self.containers.host_address().await?).await?;
        let container = self.start(service, image, &stubs.settings()).await?;
        let health = self.get(&*container, "/health").await;
        let alone = self.look(&*container, image, health, &[]).await?;
        container.remove().await?;
        Ok(alone)
    }

    /// With stubs for everything that it calls. The URL of axon is still that of the definition.
    async fn orbit(&self, image: &LoadedImage) -> Result<OrbitSeen> {
        let stubs = Stubs::serve(self.containers.host_address().await?).await?;
        let address = stubs.address();
        let mut changed = stubs.settings();
        changed.extend([
            ("GOVERNANCE_FUNCTION_NAME", String::new()),
            (
                "GOVERNANCE_FUNCTION_URL",
                format!("http://{address}/governance"),
            ),
            ("AXON_CONNECT_TO", address.to_string()),
        ]);
        let container = self.start(ORBIT, image, &changed).await?;
        let health = self.get(&*container, "/health").await;
        let mut dispatches = Vec::new();
        for case in CASES {
            dispatches.push(self.dispatch(&*container, &stubs, case).await);
        }
        let response: Vec<&HttpResult> = dispatches
            .iter()
            .map(|dispatch| &dispatch.response)
            .collect();
        let alone = self.look(&*container, image, health, &response).await?;
        container.remove().await?;
        Ok(OrbitSeen { alone, dispatches })
    }

    async fn dispatch(
        &self,
        container: &dyn RunningContainer,
        stubs: &Stubs,
        case: DispatchCase,
    ) -> Dispatch {
        stubs.play(case);
        let correlation_id = match case {
            DispatchCase::Permitted => Some("verify-permitted".to_owned()),
            DispatchCase::Denied => Some("verify-denied".to_owned()),
            DispatchCase::Unanswered => Some("verify-unanswered".to_owned()),
            DispatchCase::WithoutId => None,
        };
        let headers: BTreeMap<String, String> = correlation_id
            .iter()
            .map(|id| ("X-Correlation-ID".to_owned(), id.clone()))
            .collect();
        let url = format!("http://127.0.0.1:{}/dispatch", container.host_port());
        let request = ProbeRequest {
            method: "POST",
            url: &url,
            headers: &headers,
            body: "",
        };
        let response = ask(self.context.probe, request).await;
        Dispatch {
            case,
            correlation_id,
            response,
            calls: stubs.calls(),
        }
    }

    /// Starts a container and waits until it says that it is healthy.
    async fn start(
        &self,
        service: Service,
        image: &LoadedImage,
        changed: &BTreeMap<&str, String>,
    ) -> Result<Box<dyn RunningContainer>> {
        looking(self.context, service.name(), "running its image alone");
        let options = run_options(&image.definition, &image.name);
        let mut options = options.context("the definition has no container")?;
        for (name, value) in changed {
            options
                .environment
                .insert((*name).to_owned(), value.clone());
        }
        let doing = || format!("run the image of {service} alone");
        let container = self.containers.run(&options).await.with_context(doing)?;
        let started = Instant::now();
        loop {
            let response = self.get(&*container, "/health").await;
            if response.as_ref().is_ok_and(|answer| answer.status == 200) {
                return Ok(container);
            }
            if started.elapsed() > START_LIMIT {
                let response = response.map_or_else(|why| why, |answer| answer.status.to_string());
                let limit_seconds = START_LIMIT.as_secs();
                let lines = container.logs().await?.join("\n");
                bail!(
                    "{service} alone is not healthy after {limit_seconds} s: {response}\n{lines}"
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// A request signed as orbit signs it.
    async fn reason(&self, container: &dyn RunningContainer) -> Result<HttpResult> {
        let url = format!("http://127.0.0.1:{}/reason", container.host_port());
        let (pair, region) = (stubs::pair(), &self.outputs.region);
        let now = self.context.clock.now();
        let headers = signed::headers(&pair, region, now, &url, "verify-reason")?;
        let request = ProbeRequest {
            method: "GET",
            url: &url,
            headers: &headers,
            body: "",
        };
        Ok(ask(self.context.probe, request).await)
    }

    async fn get(&self, container: &dyn RunningContainer, path: &str) -> HttpResult {
        let url = format!("http://127.0.0.1:{}{path}", container.host_port());
        let headers = BTreeMap::new();
        let request = ProbeRequest {
            method: "GET",
            url: &url,
            headers: &headers,
            body: "",
        };
        ask(self.context.probe, request).await
    }

    /// The result of the health check, and the log once it has all answered requests.
    async fn look(
        &self,
        container: &dyn RunningContainer,
        image: &LoadedImage,
        health: HttpResult,
        answered: &[&HttpResult],
    ) -> Result<IsolatedService> {
        let command = health_check(&image.definition);
        let health_check = if command.is_empty() {
            Err("there is none".to_owned())
        } else {
            let executed = container.execute(&command).await;
            executed.map_err(|error| format!("{error:#}"))
        };
        let answers = answered
            .iter()
            .filter_map(|response| response.as_ref().ok());
        let ids: Vec<String> = answers.filter_map(|it| it.correlation_id.clone()).collect();
        let started = Instant::now();
        loop {
            let lines = container.logs().await?;
            let requests = responses::requests(&lines);
            let complete = ids.iter().all(|id| requests.contains(id));
            if complete || started.elapsed() > LINES_LIMIT {
                return Ok(IsolatedService {
                    health,
                    health_check,
                    lines,
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn axon_checks(seen: &Result<AxonSeen>) -> Vec<Check> {
    let remedy = "cargo test --package axon";
    let check = |criterion: Criterion, observe: &dyn Fn(&AxonSeen) -> Observations| match seen {
        Ok(seen) => observe(seen).judge(criterion, remedy),
        Err(error) => unseen(criterion, error, remedy),
    };
    vec![
        check(AxonHealth, &|seen| isolated::health("axon", &seen.alone)),
        check(AxonReason, &|seen| {
            Observations::of([responses::heartbeat(&seen.reason)])
        }),
    ]
}

fn orbit_checks(seen: &Result<OrbitSeen>) -> Vec<Check> {
    let remedy = "cargo test --package orbit";
    let check = |criterion: Criterion, observe: &dyn Fn(&OrbitSeen) -> Observations| match seen {
        Ok(seen) => observe(seen).judge(criterion, remedy),
        Err(error) => unseen(criterion, error, remedy),
    };
    vec![
        check(OrbitHealth, &|seen| isolated::health("orbit", &seen.alone)),
        check(GovernanceFirst, &|seen| {
            isolated::governance_first(&seen.dispatches)
        }),
        check(DenialBlocks, &|seen| {
            isolated::denial_blocks(&seen.dispatches)
        }),
        check(CorrelationIds, &|seen| {
            isolated::correlation(&seen.dispatches, &seen.alone.lines)
        }),
    ]
}

fn health_of(service: Service, seen: &Result<IsolatedService>) -> Observations {
    match seen {
        Ok(alone) => isolated::health(service.name(), alone),
        Err(error) => Observations::of([Err(format!("{error:#}"))]),
    }
}

fn logs(seen: &[(Service, Result<IsolatedService>)]) -> Check {
    let lines = seen.iter().map(|(service, alone)| match alone {
        Ok(alone) => responses::structured(service.name(), &alone.lines),
        Err(error) => Err(format!("{error:#}")),
    });
    Observations::of(lines).judge(JsonLogs, "cargo test --package service-kit")
}
