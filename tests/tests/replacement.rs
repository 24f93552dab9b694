//! Axon is replaced as in a deployment while orbit dispatches: every dispatch succeeds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use service_kit::settings::{Reader, SettingsSource};
use service_kit::{App, Clock, Dependencies};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use kit_testing::process::ServiceProcess;
use kit_testing::stub::StubServer;

/// The program, built from axon's own `main.rs`.
const AXON: &str = env!("CARGO_BIN_EXE_axon-program");

/// Callers that dispatch without a pause. At first there are four times as many, so that most
/// pooled connections of orbit are idle when the old axon stops.
const CALLERS: usize = 4;

/// As in a deployment: a new axon is ready, new connections go to it, and the old one gets
/// SIGTERM while orbit still has connections to it.
#[tokio::test(flavor = "multi_thread")]
async fn no_dispatch_is_lost_when_axon_is_replaced() {
    let variables = [("PORT", "0"), ("DRAIN_MS", "500")];
    let mut old = ServiceProcess::start(AXON, &variables);
    let discovery = Discovery::start(old.address()).await;
    let governance = StubServer::answering(200, r#"{"allowed":true}"#).await;
    let orbit = orbit(&governance.url("/"), discovery.address).await;

    let burst: JoinSet<_> = (0..4 * CALLERS).map(|_| dispatch(orbit.clone())).collect();
    assert!(
        burst
            .join_all()
            .await
            .iter()
            .all(|status| *status == StatusCode::OK)
    );
    let stop = Arc::new(AtomicBool::new(false));
    let callers: JoinSet<_> = (0..CALLERS)
        .map(|_| dispatch_until(orbit.clone(), Arc::clone(&stop)))
        .collect();

    let mut new = ServiceProcess::start(AXON, &variables);
    discovery.finds(new.address());
    old.terminate();
    let (code, log) = tokio::task::spawn_blocking(move || old.end())
        .await
        .unwrap();
    assert_eq!(code, Some(0), "{log:?}");
    assert_eq!(log.last().unwrap()["message"], "stopped");
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    let answers = callers.join_all().await.concat();
    let lost: Vec<_> = answers
        .iter()
        .filter(|status| **status != StatusCode::OK)
        .collect();
    assert!(lost.is_empty(), "of {}: {lost:?}", answers.len());

    new.terminate();
    let (_, log) = tokio::task::spawn_blocking(move || new.end())
        .await
        .unwrap();
    assert!(
        log.iter().any(|line| line["message"] == "request"),
        "the new one was asked"
    );
}

async fn orbit(governance_url: &str, axon: SocketAddr) -> App {
    let variable = |name: &str| match name {
        "GOVERNANCE_FUNCTION_URL" => Some(governance_url.to_owned()),
        "AXON_SERVICE_URL" => Some(format!("http://{axon}/reason")),
        _ => None,
    };
    let source = SettingsSource {
        variable: &variable,
        file: &|_| unreachable!(),
    };
    let mut reader = Reader::new(&source);
    let settings = orbit::Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let dependencies = Dependencies::new(orbit::SERVICE, Clock::system());
    orbit::app(&settings, &dependencies).await.unwrap()
}

async fn dispatch(orbit: App) -> StatusCode {
    let request = Request::post("/dispatch")
        .header("Host", "x")
        .body(Body::empty())
        .unwrap();
    orbit.answer(request).await.status()
}

async fn dispatch_until(orbit: App, stop: Arc<AtomicBool>) -> Vec<StatusCode> {
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        answers.push(dispatch(orbit.clone()).await);
    }
    answers
}

/// Forwards one address to one axon and later to another, as a name of service discovery does.
/// Only new connections go to the new one.
struct Discovery {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
}

impl Discovery {
    async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target));
        let found = Arc::clone(&target);
        tokio::spawn(async move {
            loop {
                let (mut caller, _) = listener.accept().await.unwrap();
                let target = *found.lock().unwrap();
                tokio::spawn(async move {
                    let mut axon = TcpStream::connect(target).await?;
                    tokio::io::copy_bidirectional(&mut caller, &mut axon).await
                });
            }
        });
        Self { address, target }
    }

    fn finds(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }
}
