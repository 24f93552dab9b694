//! The load balancer's view of a service.

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::Client;

use super::aws::explain;
use crate::catalog::Component;
use crate::decide::outputs::Outputs;
use crate::world::Balancer;

pub struct Elb<'a> {
    client: Client,
    outputs: &'a Outputs,
}

impl<'a> Elb<'a> {
    pub fn new(config: &aws_config::SdkConfig, outputs: &'a Outputs) -> Self {
        Self {
            client: Client::new(config),
            outputs,
        }
    }
}

#[async_trait]
impl Balancer for Elb<'_> {
    async fn describe_target_health(&self, component: Component) -> Result<Vec<String>> {
        let arn = &self.outputs.service(component).target_group_arn;
        let described = self
            .client
            .describe_target_health()
            .target_group_arn(arn)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("ask the load balancer for the targets of {component}"))?;
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
