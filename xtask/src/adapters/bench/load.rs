//! Load tests with wrk, of the services that the requirements are about: `GET /reason` of axon,
//! and `POST /dispatch` of orbit, which calls axon and a stub of Lambda's API. The processor time is
//! that of the kernel. Requests are signed, secrets are read and logs are written, as in
//! production.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde::Deserialize;
use serde_json::json;

use super::program::{await_health, free_port, kernel_field};
use crate::adapters::process::{Child, Command, find_program};
use crate::catalog::Service;
use crate::decide::acceptance::{AXON, ORBIT};
use crate::failure::Failure;
use crate::ports::{LineWatcher, Load, ProcessEnv, Subject};

const SCRIPT: &str = include_str!("load.lua");
const CONNECTIONS: &str = "64";
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const REGION: &str = "us-east-1";
/// The unit of processor time in `/proc`, constant since Linux 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

/// Made-up keys for signing requests on this machine.
const KEY_ID: &str = "AKXT0000000000000000";
const KEY: &str = "a-key-that-opens-nothing-on-any-machine";

/// The services under load.
pub(super) const SERVICES: [Service; 2] = [AXON, ORBIT];

/// The programs under load, which call each other.
struct Services {
    bare: Program,
    axon: Program,
    orbit: Program,
}

struct Program {
    port: u16,
    child: Child,
}

#[derive(Deserialize)]
struct Figures {
    requests: u64,
    failed: u64,
    seconds: f64,
    p99_ms: f64,
}

/// # Errors
/// Where it is not installed.
pub(super) fn ensure_wrk(process_env: &ProcessEnv) -> Result<()> {
    if find_program(process_env, "wrk").is_none() {
        return Err(Failure::not_ready("wrk is not installed")
            .hint("apt-get install wrk")
            .into());
    }
    Ok(())
}

/// Loads the programs alternately, so that disturbances of the machine affect all of them.
pub(super) async fn load(
    process_env: &ProcessEnv,
    folder: &Path,
    now: SystemTime,
    watch: LineWatcher<'_>,
) -> Result<BTreeMap<Subject, Vec<Load>>> {
    let services = Services::up(process_env, folder).await?;
    let mut loads = BTreeMap::<_, Vec<_>>::new();
    for round in 1..=ROUNDS {
        let subjects = SERVICES.map(Subject::Service);
        for subject in std::iter::once(Subject::Bare).chain(subjects) {
            watch(&format!("load {round} of {ROUNDS}: {subject}"));
            let load = services.load(process_env, subject, now).await?;
            loads.entry(subject).or_default().push(load);
        }
    }
    Ok(loads)
}

impl Services {
    async fn up(process_env: &ProcessEnv, folder: &Path) -> Result<Self> {
        let secret = json!({
            "database_url": "postgres://localhost/bench",
            "api_key": "none",
            "sigv4_access_key_id": KEY_ID,
            "sigv4_secret_access_key": KEY,
        });
        let bare_port = free_port()?;
        let bare = Command::new(process_env, folder.join("baseline"))
            .arguments([bare_port.to_string()])
            .variable("SECRET", secret.to_string());
        let bare = Program::start(bare, bare_port)?;
        let service = |name: &str, port: u16| {
            Command::new(process_env, folder.join(name))
                .variable("PORT", port.to_string())
                .variable("SIGNATURES", "required")
                .variable("METRICS", "emf")
                .variable("DRAIN_MS", "0")
                .variable(
                    format!("{}_SECRET_ARN", name.to_uppercase()),
                    format!("arn:aws:secretsmanager:{REGION}:000000000000:secret:bench-AbCdEf"),
                )
                .variable("AWS_REGION", REGION)
                .variable("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{bare_port}"))
                .variable("AWS_ACCESS_KEY_ID", "test")
                .variable("AWS_SECRET_ACCESS_KEY", "test")
        };
        let axon_port = free_port()?;
        let axon = Program::start(service("axon", axon_port), axon_port)?;
        let orbit_port = free_port()?;
        let orbit = service("orbit", orbit_port)
            .variable("GOVERNANCE_FUNCTION_NAME", "demo-governance:live")
            .variable(
                "AXON_SERVICE_URL",
                format!("http://127.0.0.1:{axon_port}/reason"),
            );
        let orbit = Program::start(orbit, orbit_port)?;
        await_health(axon.port, "axon").await?;
        await_health(orbit.port, "orbit").await?;
        Ok(Self { bare, axon, orbit })
    }

    async fn load(
        &self,
        process_env: &ProcessEnv,
        subject: Subject,
        now: SystemTime,
    ) -> Result<Load> {
        let (program, path) = match subject {
            Subject::Bare => (&self.bare, "/reason"),
            Subject::Service(ORBIT) => (&self.orbit, "/dispatch"),
            Subject::Service(_) => (&self.axon, "/reason"),
        };
        let url = format!("http://127.0.0.1:{}{path}", program.port);
        let method = if subject == Subject::Service(ORBIT) {
            "POST"
        } else {
            "GET"
        };
        let headers = signed_headers(method, &url, now)?;
        let script = process_env.state_folder().join("load.lua");
        tokio::fs::create_dir_all(process_env.state_folder())
            .await
            .context("create the state folder")?;
        tokio::fs::write(&script, lua(method, &headers))
            .await
            .with_context(|| format!("write {}", script.display()))?;

        let before = program.processor_time()?;
        let wrk = Command::new(process_env, "wrk")
            .arguments(["--threads", "1", "--connections", CONNECTIONS])
            .arguments(["--duration", &format!("{}s", ROUND.as_secs())])
            .arguments(["--script", &script.display().to_string(), &url]);
        let output = wrk.succeed().await?;
        let spent = program.processor_time()?.saturating_sub(before);
        let figures = figures(&output)?;
        ensure!(
            figures.failed == 0 && figures.requests > 0,
            "{} of {} requests to {subject} failed",
            figures.failed,
            figures.requests
        );
        Ok(Load::new(
            figures.requests,
            Duration::from_secs_f64(figures.seconds),
            spent,
            Duration::from_secs_f64(figures.p99_ms / 1e3),
            program.peak_bytes()?,
        ))
    }
}

impl Program {
    fn start(command: Command, port: u16) -> Result<Self> {
        let child = command.spawn()?;
        Ok(Self { port, child })
    }

    /// User and system time of all threads.
    #[expect(clippy::disallowed_methods, reason = "the kernel has it in a file")]
    fn processor_time(&self) -> Result<Duration> {
        let file = format!("/proc/{}/stat", self.child.process()?);
        let stat = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
        // The second field is the name in parentheses, which may contain spaces.
        let numbers = stat.rsplit(')').next().unwrap_or_default();
        let ticks: Option<f64> = numbers
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|number| number.parse::<f64>().ok())
            .sum();
        let ticks = ticks.with_context(|| format!("{file} has no processor time"))?;
        Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
    }

    fn peak_bytes(&self) -> Result<u64> {
        kernel_field(self.child.process()?, "VmHWM:")
    }
}

/// Signs with the crate that orbit uses. A signature is valid for five minutes.
fn signed_headers(method: &str, url: &str, now: SystemTime) -> Result<BTreeMap<String, String>> {
    let identity = Credentials::new(KEY_ID, KEY, None, None, "bench").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("axon")
        .time(now)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let given = [("x-correlation-id", "bench")];
    let request = SignableRequest::new(method, url, given.into_iter(), SignableBody::Bytes(b""))?;
    let (instructions, _) = sign(request, &parameters)?.into_parts();
    let signed = instructions.headers();
    Ok(given
        .into_iter()
        .chain(signed)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn lua(method: &str, headers: &BTreeMap<String, String>) -> String {
    let mut script = format!("wrk.method = \"{method}\"\n");
    for (name, value) in headers {
        script.push_str(&format!("wrk.headers[{name:?}] = {value:?}\n"));
    }
    script + SCRIPT
}

fn figures(output: &str) -> Result<Figures> {
    let line = output.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_default())
        .with_context(|| format!("parse the output of wrk: {output}"))
}
