//! The alarms of a service, and whether ECS fails a deployment because of them.

use xtask::catalog::Service;
use xtask::decide::release::snapshot::Alarms;

use super::FakeEcs;

pub(super) const REASON: &str = "ECS deployment alarm: an alarm is in ALARM.";

#[derive(Clone, Default)]
pub(crate) struct AlarmWatch {
    pub(crate) alarms: Option<Alarms>,
    /// The state of the alarms: ALARM, or OK.
    pub(crate) in_alarm: bool,
    /// After this many looks at a deployment they go from OK to ALARM.
    go_off: Option<u32>,
    watches: bool,
}

impl AlarmWatch {
    /// A deployment begins. Alarms that are enabled now watch it, unless one is in ALARM already
    /// ("Amazon ECS will not monitor alarms for the duration of that deployment": ECS
    /// developer guide, "How CloudWatch alarms detect Amazon ECS deployment failures").
    pub(super) fn begin(&mut self) {
        let enabled = self.alarms.as_ref().is_some_and(|alarms| alarms.enabled);
        self.watches = enabled && !self.in_alarm;
    }

    /// Whether the deployment fails with this look.
    pub(super) fn fails(&mut self, step: u32) -> bool {
        if self.go_off == Some(step) {
            self.go_off = None;
            self.in_alarm = true;
        }
        self.watches && self.in_alarm
    }

    /// The deployment is completed, or has failed.
    pub(super) fn end(&mut self) {
        self.watches = false;
    }
}

impl FakeEcs {
    /// Each service has alarms that end a deployment, as `infra/` makes them.
    pub(crate) fn has_alarms(&mut self) {
        for (name, service) in &mut self.services {
            service.watch.alarms = Some(Alarms {
                names: vec![format!("demo-{name}-unhealthy-targets")],
                enabled: true,
                rollback: true,
            });
        }
    }

    /// The alarms of a service go off during its next deployment.
    pub(crate) fn alarms_go_off(&mut self, service: Service) {
        self.services.get_mut(&service).unwrap().watch.go_off = Some(2);
    }
}
