//! What happens in one run, by its seed.

use std::collections::BTreeMap;

use xtask::catalog::{Component, Service};

use super::faults::{FaultPlan, InjectedFault, PlannedFault, PortCall};
use crate::model::{Chance, EcsCall, ImageScript, Millis, UpdateCall};
use crate::world::components::{AXON, COMPONENTS, ORBIT, SERVICES};

/// What was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StartState {
    /// Terraform was applied, and nothing was ever released.
    Applied,
    Released,
    ReleasedTwice,
    /// Released, and then stopped.
    Stopped,
}

impl StartState {
    pub(super) const ALL: [Self; 4] = [
        Self::Applied,
        Self::Released,
        Self::ReleasedTwice,
        Self::Stopped,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SimulatedCommand {
    Deploy,
    Rollback {
        holds: bool,
    },
    Stop,
    Rotate,
    /// All but the newest release.
    Cleanup,
    Hold,
    Unhold,
}

/// When something happens in a run.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    After(Millis),
    /// Right before a call of the first command, after so many of the same kind.
    At(PortCall, u32),
}

/// A second run beside the first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    pub(super) when: When,
    pub(super) command: SimulatedCommand,
    pub(super) take_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultClass {
    None,
    One,
    Several,
}

/// What a person or the world does meanwhile.
#[derive(Debug, Clone)]
pub(super) enum Meanwhile {
    Ecs(EcsCall),
    /// Another revision is deployed by hand.
    Hotfix(Service),
    /// Its desired count goes up, and down again.
    Autoscales(Service),
    MovesAlias,
}

#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) base: StartState,
    pub(super) command: SimulatedCommand,
    pub(super) beside: Option<Beside>,
    /// What is run after that, where nothing goes wrong any more.
    pub(super) then: Option<SimulatedCommand>,
    pub(super) edited: Vec<Component>,
    pub(super) images: BTreeMap<Service, ImageScript>,
    pub(super) function_is_wrong: bool,
    pub(super) has_alarms: bool,
    pub(super) class: FaultClass,
    pub(super) plan: FaultPlan,
    pub(super) meanwhile: Vec<(When, Meanwhile)>,
    /// How long the push of an image takes; `None`: as chance has it.
    pub(super) push_time: Option<Millis>,
    /// Others of the account call ECS as often as it lets them.
    pub(super) is_busy: bool,
    /// For this long a secret may be answered as it was before its last change.
    pub(super) stale_secrets: Millis,
    /// A rollback comes first after the faults.
    pub(super) recovers_by_rollback: bool,
}

impl Script {
    /// A deploy of everything in which nothing goes wrong.
    pub(super) fn plain(seed: u64) -> Self {
        Self {
            seed,
            base: StartState::Released,
            command: SimulatedCommand::Deploy,
            beside: None,
            then: None,
            edited: COMPONENTS.to_vec(),
            images: BTreeMap::new(),
            function_is_wrong: false,
            has_alarms: false,
            class: FaultClass::None,
            plan: FaultPlan::NONE,
            meanwhile: Vec::new(),
            push_time: None,
            is_busy: false,
            stale_secrets: 0,
            recovers_by_rollback: false,
        }
    }

    /// The same with these faults in the first command.
    pub(super) fn with_faults<const N: usize>(self, faults: [PlannedFault; N]) -> Self {
        Self {
            class: FaultClass::Several,
            plan: FaultPlan::These(faults.into()),
            ..self
        }
    }

    pub(super) fn of(seed: u64) -> Self {
        let chance = &mut Chance::new(seed);
        let class = chance.pick(&[
            FaultClass::None,
            FaultClass::One,
            FaultClass::One,
            FaultClass::Several,
        ]);
        let plan = plan(class, chance);
        let (base, command) = command(chance);
        let mut script = Self {
            base,
            command,
            edited: edited(chance),
            function_is_wrong: command == SimulatedCommand::Deploy && chance.one_in(25),
            has_alarms: chance.one_in(6),
            class,
            plan,
            is_busy: chance.one_in(10),
            stale_secrets: chance.pick(&[0, 3_000, 8_000]),
            recovers_by_rollback: chance.one_in(4),
            ..Self::plain(seed)
        };
        script.reach_the_call();
        if script.base == StartState::Applied {
            // Everything is new.
            script.edited = COMPONENTS.to_vec();
        }
        if script.images.is_empty() && chance.one_in(4) {
            let service = chance.pick(&SERVICES);
            script
                .images
                .insert(service, chance.pick(&ImageScript::BAD));
        } else if chance.one_in(8) {
            script.images.insert(AXON, ImageScript::SlowStart);
        }
        if chance.one_in(5) {
            script.beside = Some(Beside {
                when: When::After(chance.between(0, 90_000)),
                command: chance.pick(&[
                    SimulatedCommand::Deploy,
                    SimulatedCommand::Rollback { holds: true },
                ]),
                take_over: chance.one_in(2),
            });
        }
        let events = chance.pick(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 2]);
        for _ in 0..events {
            let at = When::After(chance.between(0, 120_000));
            let what = meanwhile(chance);
            let scales = matches!(
                &what,
                Meanwhile::Ecs(EcsCall::Update(_)) | Meanwhile::Autoscales(_)
            );
            // Nobody scales what never ran.
            if !scales || script.base != StartState::Applied {
                script.meanwhile.push((at, what));
            }
        }
        if script.command == SimulatedCommand::Rotate {
            script.then = Some(SimulatedCommand::Rotate);
        } else if chance.one_in(8) {
            script.then = Some(chance.pick(&[
                SimulatedCommand::Deploy,
                SimulatedCommand::Rollback { holds: false },
                SimulatedCommand::Stop,
            ]));
        }
        script
    }

    /// Where one call is to fail, the command is one that makes it.
    fn reach_the_call(&mut self) {
        let call = match &self.plan {
            FaultPlan::These(planned) if planned.len() == 1 => planned[0].call,
            _ => return,
        };
        (self.base, self.command) = match call {
            PortCall::DeregisterTaskDefinition
            | PortCall::ListTaskDefinitions
            | PortCall::DescribeImages
            | PortCall::DeleteImages
            | PortCall::ListVersions
            | PortCall::DeleteVersion
            | PortCall::RemoveRecords => (StartState::ReleasedTwice, SimulatedCommand::Cleanup),
            PortCall::ReadSecret | PortCall::ReadLog => {
                (StartState::Applied, SimulatedCommand::Deploy)
            }
            PortCall::Push
            | PortCall::Build
            | PortCall::RegisterTaskDefinition
            | PortCall::DescribeTasks
            | PortCall::StopServiceDeployment
            | PortCall::PublishVersion
            | PortCall::Invoke
            | PortCall::UpdateAlias
            | PortCall::Dispatch
            | PortCall::Probe => (StartState::ReleasedTwice, SimulatedCommand::Deploy),
            PortCall::ReadHold => (self.base, SimulatedCommand::Deploy),
            PortCall::SetHold => (self.base, SimulatedCommand::Hold),
            PortCall::LiftHold => (self.base, SimulatedCommand::Unhold),
            PortCall::ReplaceSecret => (StartState::Released, SimulatedCommand::Rotate),
            _ => return,
        };
        self.edited = COMPONENTS.to_vec();
        if matches!(
            call,
            PortCall::DescribeTasks | PortCall::StopServiceDeployment
        ) {
            self.images.insert(AXON, ImageScript::NotPulled);
        }
    }

    /// Whether signing keys are rotated.
    pub(super) fn rotates(&self) -> bool {
        self.command == SimulatedCommand::Rotate || self.then == Some(SimulatedCommand::Rotate)
    }

    /// Whether nobody but the first run changes anything.
    pub(super) fn is_alone(&self) -> bool {
        self.beside.is_none() && self.meanwhile.is_empty()
    }

    /// Whether an image or the function that is brought is certain to fail.
    pub(super) fn brings_what_fails(&self) -> bool {
        let edited = |service: &Service| self.edited.contains(&(*service).into());
        let mut images = self.images.iter().filter(|(service, _)| edited(service));
        images.any(|(_, it)| !it.is_good() && !it.is_healthy_first())
            || self.function_is_wrong && self.edited.contains(&COMPONENTS[0])
    }

    pub(super) fn brings_what_may_fail(&self) -> bool {
        self.brings_what_fails() || self.images.values().any(|it| !it.is_good())
    }
}

fn plan(class: FaultClass, chance: &mut Chance) -> FaultPlan {
    match class {
        FaultClass::None => FaultPlan::NONE,
        FaultClass::One => {
            let (fault, call) = chance.pick(&InjectedFault::pairs());
            let polled = matches!(
                call,
                PortCall::DescribeServices
                    | PortCall::Probe
                    | PortCall::Beat
                    | PortCall::ReadRecord
            );
            let most = match call {
                // Made once.
                PortCall::StopServiceDeployment
                | PortCall::Open
                | PortCall::Close
                | PortCall::SetHold
                | PortCall::LiftHold
                | PortCall::RemoveRecords
                | PortCall::DeleteVersion
                | PortCall::Dispatch => 0,
                _ if polled => 60,
                _ => 3,
            };
            let nth = if chance.one_in(2) {
                0
            } else {
                chance.between(0, most)
            };
            let nth = u32::try_from(nth).unwrap();
            FaultPlan::These(vec![PlannedFault::once(fault, call, nth)])
        }
        FaultClass::Several => FaultPlan::Several {
            one_in: chance.pick(&[6, 20, 60, 150]),
            left: u32::try_from(chance.between(2, 8)).unwrap(),
            chance: Chance::new(chance.next()),
        },
    }
}

fn command(chance: &mut Chance) -> (StartState, SimulatedCommand) {
    let holds = chance.one_in(2);
    let after_two = [
        SimulatedCommand::Deploy,
        SimulatedCommand::Deploy,
        SimulatedCommand::Deploy,
        SimulatedCommand::Rollback { holds },
        SimulatedCommand::Stop,
        SimulatedCommand::Cleanup,
    ];
    match chance.between(0, 9) {
        0 => (StartState::Applied, SimulatedCommand::Deploy),
        1 => (StartState::Stopped, SimulatedCommand::Deploy),
        2 => (
            StartState::Released,
            chance.pick(&[
                SimulatedCommand::Deploy,
                SimulatedCommand::Stop,
                SimulatedCommand::Rotate,
                SimulatedCommand::Rotate,
                SimulatedCommand::Hold,
                SimulatedCommand::Unhold,
            ]),
        ),
        _ => (StartState::ReleasedTwice, chance.pick(&after_two)),
    }
}

fn edited(chance: &mut Chance) -> Vec<Component> {
    if chance.one_in(2) {
        return COMPONENTS.to_vec();
    }
    let mut edited = COMPONENTS.to_vec();
    edited.retain(|_| chance.one_in(2));
    if edited.is_empty() {
        edited.push(chance.pick(&COMPONENTS));
    }
    edited
}

fn meanwhile(chance: &mut Chance) -> Meanwhile {
    let service = chance.pick(&[AXON, ORBIT]);
    let name = service.name().to_owned();
    match chance.between(0, 6) {
        0 | 1 => Meanwhile::Hotfix(service),
        2 => Meanwhile::Ecs(EcsCall::StopTask {
            service: name,
            reason: "by hand".to_owned(),
        }),
        3 => Meanwhile::Ecs(EcsCall::Update(UpdateCall {
            service: name,
            desired: Some(3),
            ..UpdateCall::default()
        })),
        4 => Meanwhile::Autoscales(service),
        5 => Meanwhile::Ecs(EcsCall::Alarm {
            service: name,
            on: true,
        }),
        _ => Meanwhile::MovesAlias,
    }
}
