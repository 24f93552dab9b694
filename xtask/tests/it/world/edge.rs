//! Requests through the load balancer, time, and Ctrl-C.

use crate::world::components::{ORBIT, SERVICES};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use xtask::catalog::Service;
use xtask::ports::{Interrupt, Probe, ProbeAnswer, ProbeRequest, WallClock};

use super::{Fake, FakeState};

impl FakeState {
    fn health(&mut self, service: Service) -> ProbeAnswer {
        let Some(revision) = self.ecs.request(service.name()) else {
            return ProbeAnswer {
                status: 503,
                ..ProbeAnswer::default()
            };
        };
        ProbeAnswer {
            status: 200,
            headers: [("x-task-revision".to_owned(), revision)].into(),
            body: json!({ "status": "healthy", "service": service }).to_string(),
        }
    }

    fn dispatch(&mut self, request: &ProbeRequest<'_>) -> ProbeAnswer {
        let mut services = SERVICES.iter();
        let serving = services.all(|service| self.ecs.request(service.name()).is_some());
        let headers = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value.clone()));
        let denied = request.body.contains("shutdown");
        let (status, body) = if denied {
            (403, json!({ "status": "denied", "reason": "a policy" }))
        } else {
            let success = json!({ "status": "success", "message": "Axon heartbeat OK" });
            (self.dispatch_status, success)
        };
        ProbeAnswer {
            status: if serving { status } else { 503 },
            headers: headers.collect(),
            body: body.to_string(),
        }
    }
}

#[async_trait]
impl Probe for Fake {
    async fn send(&self, request: ProbeRequest<'_>) -> Result<ProbeAnswer> {
        if let Some(answer) = self.answer_alone(&request).await {
            return Ok(answer);
        }
        if request.url.ends_with("/dispatch") {
            assert_eq!(request.method, "POST");
            return self
                .call("dispatch", |state| Ok(state.dispatch(&request)))
                .await;
        }
        if request.url.ends_with("/reason") {
            let body = json!({ "message": "Axon heartbeat OK" }).to_string();
            let answer = ProbeAnswer {
                status: 200,
                body,
                ..ProbeAnswer::default()
            };
            return self.call("reason", |_| Ok(answer)).await;
        }
        assert!(request.url.ends_with("/health"), "{}", request.url);
        let named = request.headers.get("X-Service");
        let service = named.map_or(ORBIT, |name| name.parse().unwrap());
        self.call(&format!("probe {service}"), |state| {
            Ok(state.health(service))
        })
        .await
    }
}

impl WallClock for Fake {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::from_millis(self.now_ms().cast_signed());
        Timestamp::from_second(1_800_000_000).unwrap() + elapsed
    }

    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.now_ms()) + self.state().asleep
    }
}

#[async_trait]
impl Interrupt for Fake {
    async fn wait(&self) {
        self.interrupted.notified().await;
    }
}
