//! Makes the adapters that need outputs, once there are some.

use anyhow::Result;
use aws_config::SdkConfig;
use jiff::Timestamp;

use super::balancer::Elb;
use super::cluster::Ecs;
use super::functions::Lambda;
use super::registry::Ecr;
use super::transport::Transport;
use crate::decide::outputs::Outputs;
use crate::report::Report;
use crate::world::{Connector, Sited};

pub struct Aws<'a> {
    pub config: &'a SdkConfig,
    pub credentials_end: Option<Timestamp>,
    pub transport: &'a Transport,
    pub report: &'a Report,
}

impl Connector for Aws<'_> {
    fn connect<'s>(&'s self, outputs: &'s Outputs) -> Result<Sited<'s>> {
        Ok(Sited {
            registry: Box::new(Ecr::new(self.config, self.transport, outputs, self.report)),
            cluster: Box::new(Ecs::new(self.config, outputs)),
            balancer: Box::new(Elb::new(self.config, outputs)),
            functions: Box::new(Lambda::new(self.config, outputs)),
        })
    }

    fn credentials_end(&self) -> Option<Timestamp> {
        self.credentials_end
    }
}
