//! The load balancer's view of a service.

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::TargetHealthDescription;

use super::aws::explain;
use crate::catalog::Service;
use crate::decide::outputs::Outputs;
use crate::decide::release::snapshot::TargetHealth;
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
    ) -> Result<Vec<TargetHealth>> {
        let arn = &outputs.service(service).target_group_arn;
        let described = self
            .0
            .describe_target_health()
            .target_group_arn(arn)
            .send()
            .await
            .map_err(explain)
            .with_context(|| format!("ask the load balancer for the targets of {service}"))?;
        let target = |described: &TargetHealthDescription| {
            let health = described.target_health();
            let state = health.and_then(|it| it.state());
            TargetHealth {
                state: state.map_or("unknown", |state| state.as_str()).to_owned(),
                reason: health.and_then(|it| it.description()).map(str::to_owned),
            }
        };
        Ok(described
            .target_health_descriptions()
            .iter()
            .map(target)
            .collect())
    }
}
