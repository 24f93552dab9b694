//! Makes the adapters that need a site, once there is one.

use anyhow::Result;
use aws_config::SdkConfig;
use jiff::Timestamp;

use super::balancer::Elb;
use super::cluster::Ecs;
use super::functions::Lambda;
use super::registry::Ecr;
use crate::decide::site::Site;
use crate::world::{Connector, Sited};

pub struct Aws<'a> {
    pub config: &'a SdkConfig,
    pub credentials_end: Option<Timestamp>,
}

impl Connector for Aws<'_> {
    fn connect<'s>(&'s self, site: &'s Site) -> Result<Sited<'s>> {
        Ok(Sited {
            registry: Box::new(Ecr::new(self.config, site)?),
            cluster: Box::new(Ecs::new(self.config, site)),
            balancer: Box::new(Elb::new(self.config, site)),
            functions: Box::new(Lambda::new(self.config, site)),
        })
    }

    fn credentials_end(&self) -> Option<Timestamp> {
        self.credentials_end
    }
}
