//! The load balancer's view of a service.

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::Client;

use super::aws::explain;
use crate::catalog::Service;
use crate::decide::outputs::Outputs;
use crate::ports::Balancer;

pub struct Elb(Client);

impl Elb {
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self(Client::new(config))
    }
}

#[async_trait]
impl Balancer for Elb {
    async fn describe_target_health(
        &self,
        outputs: &Outputs,
        service: Service,
    ) -> Result<Vec<String>> {
        let arn = &outputs.service(service).target_group_arn;
        let described = self
            .0
            .describe_target_health()
            .target_group_arn(arn)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("ask the load balancer for the targets of {service}"))?;
        let state = |health: &aws_sdk_elasticloadbalancingv2::types::TargetHealthDescription| {
            let state = health.target_health().and_then(|health| health.state());
            state.map_or("unknown", |state| state.as_str()).to_owned()
        };
        Ok(described
            .target_health_descriptions()
            .iter()
            .map(state)
            .collect())
    }
}
