//! What people, their scripts and CloudWatch do to ECS meanwhile.

use std::time::Duration;

use xtask::catalog::Service;

use super::cluster::Delivery;
use super::{Fake, FakeState};
use crate::model::{
    Actor, AlarmSettings, EcsCall, ImageScript, ServiceDeploymentStatus, UpdateCall,
};

/// From an update to the moment at which its alarms go off.
const ALARM_DELAY_MS: u64 = 2_000;

impl Fake {
    /// What the program does that the sources of a service give as they are now.
    pub(crate) fn script(&self, service: Service, image: ImageScript) {
        let mut state = self.state();
        let digest = state.digest(service).to_string();
        state.ecs.images.insert(digest, image);
    }

    /// Only the circuit breaker ends a deployment of a service: until then nobody sees why its tasks
    /// stopped.
    pub(crate) fn hide_tasks_until_given_up(&self, service: Service) {
        self.fail_while(&format!("stopped tasks demo-{service}:"), move |state| {
            state.deployment_status(service) == Some(ServiceDeploymentStatus::InProgress)
        });
    }
}

impl FakeState {
    pub(crate) fn by_hand(&mut self, call: &EcsCall) {
        let delivery = Delivery::of(Actor::Person);
        drop(self.change_ecs(delivery, call).unwrap());
    }

    pub(crate) fn update_by_hand(
        &mut self,
        service: Service,
        revision: Option<&str>,
        desired: Option<u32>,
    ) {
        self.by_hand(&EcsCall::Update(UpdateCall {
            service: service.name().to_owned(),
            revision: revision.map(str::to_owned),
            desired,
            ..UpdateCall::default()
        }));
    }

    /// Somebody registers a revision and deploys it.
    pub(crate) fn hotfix(&mut self, service: Service, revision: &str) {
        self.ecs.put_revision(revision);
        self.update_by_hand(service, Some(revision), None);
    }

    pub(crate) fn stop_task_by_hand(&mut self, service: Service) {
        self.by_hand(&EcsCall::StopTask {
            service: service.name().to_owned(),
            reason: "by hand".to_owned(),
        });
    }

    pub(crate) fn deregister_by_hand(&mut self, revision: &str) {
        self.by_hand(&EcsCall::Deregister(revision.to_owned()));
    }

    /// Somebody stops the deployment of a service that is in progress.
    pub(crate) fn stop_deployment_by_hand(&mut self, service: Service) {
        let deployments = self.ecs.service_deployments(service.name());
        let arn = deployments.last().unwrap().arn.clone();
        self.by_hand(&EcsCall::StopServiceDeployment { arn });
    }

    /// Each service has alarms that end a deployment, as `infra/` makes them.
    pub(crate) fn has_alarms(&mut self) {
        for service in self.catalog.services() {
            self.set_alarms(service, true);
        }
    }

    pub(crate) fn set_alarms(&mut self, service: Service, enabled: bool) {
        self.by_hand(&EcsCall::Update(UpdateCall {
            service: service.name().to_owned(),
            alarms: Some(AlarmSettings {
                names: vec![format!("demo-{service}-unhealthy-targets")],
                enabled,
                rollback: true,
            }),
            ..UpdateCall::default()
        }));
    }

    pub(crate) fn alarm(&mut self, service: Service) {
        self.by_hand(&alarm_of(service));
    }

    /// The alarms of a service go off right after an update that comes now.
    pub(crate) fn alarms_go_off(&mut self, service: Service) {
        let at = self.ecs.now + ALARM_DELAY_MS;
        let alarm = alarm_of(service);
        self.ecs.in_advance(at, Actor::Person, false, alarm);
    }

    /// What became of the newest deployment of a service.
    pub(crate) fn deployment_status(&self, service: Service) -> Option<ServiceDeploymentStatus> {
        let deployments = self.ecs.service_deployments(service.name());
        deployments.last().map(|it| it.status)
    }

    pub(crate) fn primary(&self, service: Service) -> &str {
        self.ecs.primary(service.name())
    }

    pub(crate) fn desired(&self, service: Service) -> u32 {
        self.ecs.desired(service.name())
    }

    pub(crate) fn alarms_of(&self, service: Service) -> Option<&AlarmSettings> {
        self.ecs.alarms(service.name())
    }

    pub(crate) fn completes_early(&mut self, service: Service) {
        self.ecs.completes_early(service.name());
    }

    /// How long targets drain, in which tasks of before end.
    pub(crate) fn drains_for(&mut self, service: Service, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap();
        self.ecs.drains_for(service.name(), time);
    }
}

fn alarm_of(service: Service) -> EcsCall {
    EcsCall::Alarm {
        service: service.name().to_owned(),
        on: true,
    }
}
