//! The Docker engine: a container here is a program in memory that calls the addresses of its
//! settings over real sockets.

use crate::world::components::{AXON, ECHO, ORBIT};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context, Result};
use async_trait::async_trait;
use serde_json::{Value, json};
use xtask::catalog::Service;
use xtask::decide::definition::run_options::RunOptions;
use xtask::ports::{Containers, ProbeAnswer, ProbeRequest, RunningContainer};

use super::Fake;

/// What an image does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Axon answers on `/health` that it is starting.
    HealthStatus,
    /// Axon says something else on `/reason`.
    Message,
    /// The health check of orbit's definition fails.
    HealthCheck,
    /// Orbit dispatches although governance does not answer.
    FailsOpen,
    /// Orbit calls axon, and then answers that governance said no.
    DenialIgnored,
    /// Orbit calls axon without the id.
    IdLost,
    /// Axon logs a line that is no JSON.
    PlainLog,
    /// Orbit's image takes more than 50 MB.
    Size,
    /// Echo answers on `/health` that it is starting.
    EchoHealthStatus,
    /// The health check of echo's definition fails.
    EchoHealthCheck,
    /// Echo logs a line that is no JSON.
    EchoPlainLog,
    /// Echo's image takes more than 50 MB.
    EchoSize,
}

#[derive(Default)]
pub(crate) struct Alone {
    pub(crate) wrong: Option<Wrong>,
    /// By host port.
    running: BTreeMap<u16, AloneProgram>,
    pub(crate) images: Vec<String>,
}

#[derive(Clone)]
struct AloneProgram {
    service: Service,
    environment: BTreeMap<String, String>,
    lines: Vec<String>,
}

struct AloneContainer {
    fake: Fake,
    port: u16,
}

impl Fake {
    /// The answer of a container, if the request goes to one.
    pub(super) async fn answer_alone(&self, request: &ProbeRequest<'_>) -> Option<ProbeAnswer> {
        let (host, path) = request.url.strip_prefix("http://")?.split_once('/')?;
        let port: u16 = host.strip_prefix("127.0.0.1:")?.parse().ok()?;
        let (program, wrong) = {
            let alone = &self.state().alone;
            (alone.running.get(&port)?.clone(), alone.wrong)
        };
        let mut headers = request.headers.iter();
        let given = headers.find(|(name, _)| name.eq_ignore_ascii_case("x-correlation-id"));
        let id = given.map_or_else(|| "made".to_owned(), |(_, id)| id.clone());
        let (status, body) = match path {
            "health" => (200, program.health(wrong)),
            "reason" => (200, program.reason(wrong)),
            _ => {
                // While a blocking thread runs, tokio does not advance the paused clock.
                let (environment, id) = (program.environment, id.clone());
                let dispatched = move || dispatch(&environment, &id, wrong);
                tokio::task::spawn_blocking(dispatched).await.unwrap()
            }
        };
        let mut state = self.state();
        let lines = &mut state.alone.running.get_mut(&port)?.lines;
        lines.push(line(program.service, "request", &id));
        Some(ProbeAnswer {
            status,
            headers: [("x-correlation-id".to_owned(), id)].into(),
            body: body.to_string(),
        })
    }
}

impl AloneProgram {
    fn health(&self, wrong: Option<Wrong>) -> Value {
        let starting = match wrong {
            Some(Wrong::HealthStatus) => self.service == AXON,
            Some(Wrong::EchoHealthStatus) => self.service == ECHO,
            _ => false,
        };
        let status = if starting { "starting" } else { "healthy" };
        json!({ "status": status, "service": self.service })
    }

    fn reason(&self, wrong: Option<Wrong>) -> Value {
        let signed = self.environment["SIGNATURES"] == "required";
        assert!(signed, "as its definition says");
        let message = match wrong {
            Some(Wrong::Message) => "nothing to say",
            _ => "Axon heartbeat OK",
        };
        json!({ "message": message, "service": "axon" })
    }
}

/// As orbit does it.
fn dispatch(
    environment: &BTreeMap<String, String>,
    id: &str,
    wrong: Option<Wrong>,
) -> (u16, Value) {
    let reason = || {
        let id = if wrong == Some(Wrong::IdLost) { "" } else { id };
        ask("GET", &environment["AXON_CONNECT_TO"], "/reason", id, "")
    };
    let url = environment["GOVERNANCE_FUNCTION_URL"].trim_start_matches("http://");
    let (address, path) = url.split_once('/').unwrap();
    let question = json!({ "service": "orbit", "intent": "call_reasoning", "correlation_id": id });
    let (status, decision) = ask(
        "POST",
        address,
        &format!("/{path}"),
        "",
        &question.to_string(),
    );
    if status != 200 && wrong != Some(Wrong::FailsOpen) {
        return (503, json!({ "status": 503 }));
    }
    if status == 200 && decision["allowed"] != true {
        if wrong == Some(Wrong::DenialIgnored) {
            reason();
        }
        return (
            403,
            json!({ "status": "denied", "reason": decision["reason"] }),
        );
    }
    let message = &reason().1["message"];
    (200, json!({ "status": "success", "message": message }))
}

/// One request and its answer's status and body.
fn ask(method: &str, address: &str, path: &str, id: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close");
    let id = if id.is_empty() {
        String::new()
    } else {
        format!("\r\nX-Correlation-ID: {id}")
    };
    write!(
        stream,
        "{head}{id}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn line(service: Service, message: &str, id: &str) -> String {
    json!({
        "timestamp": "2027-01-15T08:00:00Z", "level": "INFO", "message": message,
        "service": service, "correlation_id": id,
    })
    .to_string()
}

#[async_trait]
impl Containers for Fake {
    async fn load(&self, archive: Vec<u8>) -> Result<String> {
        let mut state = self.state();
        let built = |service: &Service| state.key(*service).0.as_bytes() == archive;
        let mut services = state.catalog.services().into_iter();
        let service = services.find(built);
        let name = service.context("this was not built")?.name().to_owned();
        state.alone.images.push(name.clone());
        Ok(name)
    }

    async fn forget(&self, image: &str) -> Result<()> {
        self.state().alone.images.retain(|known| known != image);
        Ok(())
    }

    async fn size_bytes(&self, image: &str) -> Result<u64> {
        let large = match self.state().alone.wrong {
            Some(Wrong::Size) => image == ORBIT.name(),
            Some(Wrong::EchoSize) => image == ECHO.name(),
            _ => false,
        };
        Ok(if large { 60_000_000 } else { 6_000_000 })
    }

    async fn host_address(&self) -> Result<Ipv4Addr> {
        Ok(Ipv4Addr::LOCALHOST)
    }

    async fn run(&self, options: &RunOptions) -> Result<Box<dyn RunningContainer>> {
        let service: Service = options.image.parse().unwrap();
        let mut state = self.state();
        let mut lines = vec![line(service, "ready", "")];
        let is_plain = match state.alone.wrong {
            Some(Wrong::PlainLog) => service == AXON,
            Some(Wrong::EchoPlainLog) => service == ECHO,
            _ => false,
        };
        if is_plain {
            lines.push("listening on 80".to_owned());
        }
        let program = AloneProgram {
            service,
            environment: options.environment.clone(),
            lines,
        };
        // Nothing listens there: requests to it are answered in this process.
        let port = u16::try_from(state.alone.running.len())? + 1;
        state.alone.running.insert(port, program);
        let fake = self.clone();
        Ok(Box::new(AloneContainer { fake, port }))
    }
}

#[async_trait]
impl RunningContainer for AloneContainer {
    fn host_port(&self) -> u16 {
        self.port
    }

    async fn logs(&self) -> Result<Vec<String>> {
        Ok(self.fake.state().alone.running[&self.port].lines.clone())
    }

    async fn execute(&self, command: &[String]) -> Result<i64> {
        let alone = &self.fake.state().alone;
        let service = alone.running[&self.port].service;
        assert_eq!(command, [format!("/{service}"), "healthcheck".to_owned()]);
        let fails = match alone.wrong {
            Some(Wrong::HealthCheck) => service == ORBIT,
            Some(Wrong::EchoHealthCheck) => service == ECHO,
            _ => false,
        };
        Ok(i64::from(fails))
    }

    async fn remove(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
