//! Makes the adapters that need a site, once there is one.

use anyhow::Result;
use aws_config::SdkConfig;
use jiff::Timestamp;

use super::balancer::Elb;
use super::cluster::Ecs;
use super::functions::Lambda;
use super::registry::Ecr;
use super::transport::Transport;
use crate::decide::site::Site;
use crate::report::Report;
use crate::world::{Connector, Sited};

pub struct Aws<'a> {
    pub config: &'a SdkConfig,
    pub credentials_end: Option<Timestamp>,
    pub transport: &'a Transport,
    pub report: &'a Report,
}

impl Connector for Aws<'_> {
    fn connect<'s>(&'s self, site: &'s Site) -> Result<Sited<'s>> {
        Ok(Sited {
            registry: Box::new(Ecr::new(self.config, self.transport, site, self.report)),
            cluster: Box::new(Ecs::new(self.config, site)),
            balancer: Box::new(Elb::new(self.config, site)),
            functions: Box::new(Lambda::new(self.config, site)),
        })
    }

    fn credentials_end(&self) -> Option<Timestamp> {
        self.credentials_end
    }
}
