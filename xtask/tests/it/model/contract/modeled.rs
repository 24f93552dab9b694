//! The model's side.

use serde_json::json;

use super::super::ecs::{EcsCall, EcsModel, ModelService, UpdateCall};
use super::super::tasks::ModelTask;
use super::super::truth::Actor;
use super::super::{Millis, RolloutStatus, ServiceDeploymentStatus};
use super::{SequenceAct, ShownDeployment, ShownService, ShownServiceDeployment, ShownTask, Side};

const NAME: &str = "contract";
const MOMENT: Millis = 100;
const LONGEST: Millis = 60 * 60_000;

pub(crate) struct Modeled(EcsModel);

impl Modeled {
    pub(crate) fn new(seed: u64) -> Self {
        let mut model = EcsModel::like_local_aws(seed);
        model.create_service(NAME, &format!("{NAME}-placeholder:1"));
        Self(model)
    }

    fn service(&self) -> &ModelService {
        &self.0.services[NAME]
    }

    fn update(&mut self, update: UpdateCall) -> Result<(), String> {
        self.call(&EcsCall::Update(UpdateCall {
            service: NAME.to_owned(),
            ..update
        }))
    }

    fn call(&mut self, call: &EcsCall) -> Result<(), String> {
        let answer = self.0.call(Actor::Person, false, call);
        answer.map(drop).map_err(|refusal| refusal.0)
    }

    fn newest_service_deployment(&self) -> String {
        let newest = self.service().service_deployments.last();
        newest.expect("a service deployment").arn.clone()
    }
}

impl Side for Modeled {
    fn act(&mut self, act: SequenceAct) -> Result<(), String> {
        match act {
            SequenceAct::Release(script) | SequenceAct::First(script, _) => {
                let register = EcsCall::Register {
                    body: json!({ "family": NAME }),
                    tag: None,
                    script: Some(script),
                };
                let desired = match act {
                    SequenceAct::First(_, desired) => Some(desired),
                    _ => None,
                };
                let answer = self.0.call(Actor::Person, false, &register);
                self.update(UpdateCall {
                    revision: answer.map_err(|refusal| refusal.0)?,
                    desired,
                    ..UpdateCall::default()
                })
            }
            SequenceAct::Deploy(number) => self.update(UpdateCall {
                revision: Some(format!("{NAME}:{number}")),
                ..UpdateCall::default()
            }),
            SequenceAct::Desired(desired) => self.update(UpdateCall {
                desired: Some(desired),
                ..UpdateCall::default()
            }),
            SequenceAct::Force => self.update(UpdateCall {
                force: true,
                ..UpdateCall::default()
            }),
            SequenceAct::Deregister(number) => {
                self.call(&EcsCall::Deregister(format!("{NAME}:{number}")))
            }
            SequenceAct::StopTask => self.call(&EcsCall::StopTask {
                service: NAME.to_owned(),
                reason: "by hand".to_owned(),
            }),
            SequenceAct::StopDeployment => {
                let arn = self.newest_service_deployment();
                self.call(&EcsCall::StopServiceDeployment { arn })
            }
            SequenceAct::StopUnknownDeployment => {
                let arn = self.newest_service_deployment() + "9";
                self.call(&EcsCall::StopServiceDeployment { arn })
            }
            SequenceAct::Crash => {
                self.0.newest_task(NAME, ModelTask::crash);
                Ok(())
            }
            SequenceAct::Freeze => {
                self.0.newest_task(NAME, ModelTask::freeze);
                Ok(())
            }
        }
    }

    fn shown(&mut self) -> ShownService {
        let service = self.service();
        let answer = service.answer();
        let deployments = answer.deployments.into_iter().map(|it| ShownDeployment {
            status: if it.primary { "PRIMARY" } else { "ACTIVE" }.to_owned(),
            revision: it.revision,
            rollout: it.rollout.text().to_owned(),
            reason: it.reason,
            desired: it.desired.into(),
            running: it.running.into(),
            pending: it.pending.into(),
            failed: it.failed.into(),
        });
        let records = service.service_deployments.iter();
        let records = records.map(|it| ShownServiceDeployment {
            status: it.status.text().to_owned(),
            reason: it.reason.clone(),
            target: it.target.clone(),
            breaker: it.breaker.to_owned(),
            failures: it.breaker_failures.into(),
            back_to: it.back_to.clone(),
        });
        let tasks = service.tasks.iter().map(ModelTask::answer);
        let tasks = tasks.map(|it| ShownTask {
            revision: it.revision,
            status: it.status.text().to_owned(),
            stop_code: it.stop_code.to_owned(),
            stopped_reason: it.stopped_reason,
        });
        ShownService {
            desired: answer.desired.into(),
            running: answer.running.into(),
            pending: answer.pending.into(),
            deployments: deployments.collect(),
            service_deployments: records.collect(),
            tasks: tasks.collect(),
            events: service
                .events
                .iter()
                .map(|(_, text)| text.clone())
                .collect(),
        }
    }

    fn wait(&mut self) {
        let now = self.0.now + MOMENT;
        assert!(now < LONGEST, "{:#?}", self.shown());
        self.0.advance(now);
    }
}

impl RolloutStatus {
    fn text(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

impl ServiceDeploymentStatus {
    fn text(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Successful => "SUCCESSFUL",
            Self::Stopped => "STOPPED",
            Self::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Self::RollbackSuccessful => "ROLLBACK_SUCCESSFUL",
            Self::RollbackFailed => "ROLLBACK_FAILED",
        }
    }
}
