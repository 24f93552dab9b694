//! Stubs for governance and axon, which give the answer that a case sets and record order and
//! correlation id of their calls; and one for Secrets Manager, which has one secret.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::decide::acceptance::isolated::{
    DispatchCase, Peer, RecordedCall, STUB_MESSAGE, STUB_REASON,
};
use crate::decide::release::rotation::SigningPair;

/// All stubs, at one address. They end when this value is dropped.
pub(super) struct Stubs {
    address: SocketAddr,
    state: Arc<Mutex<Scene>>,
    server: JoinHandle<()>,
}

struct Scene {
    case: DispatchCase,
    calls: Vec<RecordedCall>,
}

type Shared = State<Arc<Mutex<Scene>>>;

impl Stubs {
    pub(super) async fn serve(address: Ipv4Addr) -> Result<Self> {
        let listener = TcpListener::bind((address, 0))
            .await
            .with_context(|| format!("serve stubs on {address}"))?;
        let address = listener.local_addr().context("serve stubs")?;
        let scene = Scene {
            case: DispatchCase::Permitted,
            calls: Vec::new(),
        };
        let state = Arc::new(Mutex::new(scene));
        let routes = Router::new()
            .route("/", post(secret))
            .route("/governance", post(governance))
            .route("/reason", get(reason))
            .with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::warn!(%error, "the stubs ended");
            }
        });
        Ok(Self {
            address,
            state,
            server,
        })
    }

    /// The variables that lead a service to the stub of Secrets Manager. Any credentials will do.
    pub(super) fn settings(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", "verify".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "verify".to_owned()),
        ])
    }

    /// `host:port`
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the answer of governance, and forgets the calls so far.
    pub(super) fn play(&self, case: DispatchCase) {
        *lock(&self.state) = Scene {
            case,
            calls: Vec::new(),
        };
    }

    /// The calls since `expect`, in order.
    pub(super) fn calls(&self) -> Vec<RecordedCall> {
        lock(&self.state).calls.clone()
    }
}

impl Drop for Stubs {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The signing pair in every secret. Only the containers of this run accept it.
pub(super) fn pair() -> SigningPair {
    SigningPair {
        access_key_id: "AKXTVERIFYSTANDIN000".to_owned(),
        secret_access_key: "not-a-secret".to_owned(),
    }
}

/// `GetSecretValue`, the only call that is made here.
async fn secret() -> Response {
    let mut document = json!({});
    pair().put_into(&mut document);
    let version = json!({ "VersionId": "stub", "SecretString": document.to_string() });
    Json(version).into_response()
}

async fn governance(State(state): Shared, body: String) -> Response {
    let question: Value = serde_json::from_str(&body).unwrap_or_default();
    let mut scene = lock(&state);
    scene.calls.push(RecordedCall {
        peer: Peer::Governance,
        correlation_id: question["correlation_id"].as_str().map(str::to_owned),
        body,
    });
    match scene.case {
        DispatchCase::Permitted | DispatchCase::WithoutId => {
            Json(json!({ "allowed": true })).into_response()
        }
        DispatchCase::Denied => {
            Json(json!({ "allowed": false, "reason": STUB_REASON })).into_response()
        }
        DispatchCase::Unanswered => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn reason(State(state): Shared, headers: HeaderMap) -> Response {
    let id = headers.get("x-correlation-id");
    let id = id.and_then(|value| value.to_str().ok());
    lock(&state).calls.push(RecordedCall {
        peer: Peer::Axon,
        correlation_id: id.map(str::to_owned),
        body: String::new(),
    });
    Json(json!({ "message": STUB_MESSAGE, "service": "axon" })).into_response()
}

/// A poisoned lock is used on: what was recorded before a panic is still right.
fn lock(state: &Mutex<Scene>) -> MutexGuard<'_, Scene> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
