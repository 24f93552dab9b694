//! How calls go wrong, and which ones of a run do.

use crate::model::{Chance, Millis};

/// A call of xtask, as far as its faults are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PortCall {
    Build,
    ReadOutputs,
    ReadSecret,
    ReplaceSecret,
    ReadLog,
    FindImage,
    DescribeImages,
    DeleteImages,
    Push,
    ReadRecord,
    RemoveRecords,
    ReadLock,
    ReadHold,
    SetHold,
    LiftHold,
    Open,
    Beat,
    Write,
    Close,
    DescribeServices,
    DescribeTaskDefinition,
    ListTaskDefinitions,
    RegisterTaskDefinition,
    UpdateService,
    DeregisterTaskDefinition,
    ListServiceDeployments,
    DescribeServiceDeployments,
    StopServiceDeployment,
    DescribeTasks,
    DescribeTargetHealth,
    GetAlias,
    PublishVersion,
    ListVersions,
    DeleteVersion,
    Invoke,
    UpdateAlias,
    Probe,
    Dispatch,
}

impl PortCall {
    pub(super) const ALL: [Self; 38] = [
        Self::Build,
        Self::ReadOutputs,
        Self::ReadSecret,
        Self::ReplaceSecret,
        Self::ReadLog,
        Self::FindImage,
        Self::DescribeImages,
        Self::DeleteImages,
        Self::Push,
        Self::ReadRecord,
        Self::RemoveRecords,
        Self::ReadLock,
        Self::ReadHold,
        Self::SetHold,
        Self::LiftHold,
        Self::Open,
        Self::Beat,
        Self::Write,
        Self::Close,
        Self::DescribeServices,
        Self::DescribeTaskDefinition,
        Self::ListTaskDefinitions,
        Self::RegisterTaskDefinition,
        Self::UpdateService,
        Self::DeregisterTaskDefinition,
        Self::ListServiceDeployments,
        Self::DescribeServiceDeployments,
        Self::StopServiceDeployment,
        Self::DescribeTasks,
        Self::DescribeTargetHealth,
        Self::GetAlias,
        Self::PublishVersion,
        Self::ListVersions,
        Self::DeleteVersion,
        Self::Invoke,
        Self::UpdateAlias,
        Self::Probe,
        Self::Dispatch,
    ];

    pub(super) fn is_of_aws(self) -> bool {
        !matches!(self, Self::Build | Self::Probe | Self::Dispatch)
    }

    /// The bucket of ECS's tokens that it takes one of ("Request throttling for the Amazon ECS
    /// API"): how many there are at most, and within how many milliseconds one comes back, where
    /// the rest of the account leaves a tenth.
    pub(super) fn bucket(self) -> Option<(&'static str, u64, Millis)> {
        Some(match self {
            Self::DescribeServices
            | Self::ListServiceDeployments
            | Self::DescribeServiceDeployments => ("read a service", 10, 500),
            Self::UpdateService | Self::StopServiceDeployment => ("change a service", 5, 2_000),
            Self::DescribeTaskDefinition | Self::ListTaskDefinitions => {
                ("read a definition", 10, 500)
            }
            Self::RegisterTaskDefinition | Self::DeregisterTaskDefinition => {
                ("change a definition", 2, 10_000)
            }
            Self::DescribeTasks => ("read a task", 10, 500),
            _ => return None,
        })
    }

    /// Whether it changes something that others see.
    pub(super) fn changes(self) -> bool {
        self.changes_what_runs()
            || matches!(
                self,
                Self::Push
                    | Self::RemoveRecords
                    | Self::SetHold
                    | Self::LiftHold
                    | Self::Open
                    | Self::Beat
                    | Self::Write
                    | Self::Close
            )
    }

    /// The engine gives these up soon.
    pub(super) fn changes_what_runs(self) -> bool {
        matches!(
            self,
            Self::RegisterTaskDefinition
                | Self::UpdateService
                | Self::DeregisterTaskDefinition
                | Self::StopServiceDeployment
                | Self::PublishVersion
                | Self::DeleteVersion
                | Self::DeleteImages
                | Self::UpdateAlias
                | Self::ReplaceSecret
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum InjectedFault {
    /// It is answered with an error.
    Refused,
    /// The credentials lack a permission for it.
    Denied,
    /// AWS asks to call later, as often as the SDK repeats it.
    Throttled,
    /// It does not arrive.
    Unanswered,
    /// It is carried out, and the answer does not arrive.
    LostAnswer,
    /// It is carried out some time after the caller gave it up.
    Late,
    /// It takes seconds.
    Slow,
    /// The answer is some seconds old.
    Stale,
    /// The credentials expire before it.
    Expired,
    /// Ctrl-C.
    Interrupted,
    /// SIGKILL before it.
    Killed,
    /// SIGKILL after it was carried out.
    KilledAfter,
    /// From this call on there is no network for a while.
    NoNetwork,
    /// At this call the machine falls asleep for a while.
    Asleep,
}

impl InjectedFault {
    pub(super) const ALL: [Self; 14] = [
        Self::Refused,
        Self::Denied,
        Self::Throttled,
        Self::Unanswered,
        Self::LostAnswer,
        Self::Late,
        Self::Slow,
        Self::Stale,
        Self::Expired,
        Self::Interrupted,
        Self::Killed,
        Self::KilledAfter,
        Self::NoNetwork,
        Self::Asleep,
    ];

    pub(super) fn can_hit(self, call: PortCall) -> bool {
        match self {
            Self::Refused | Self::Denied | Self::Throttled | Self::Expired => call.is_of_aws(),
            Self::Unanswered | Self::NoNetwork => call != PortCall::Build,
            Self::LostAnswer | Self::Late | Self::KilledAfter => call.changes(),
            Self::Stale => {
                matches!(
                    call,
                    PortCall::DescribeServices | PortCall::DescribeTaskDefinition
                )
            }
            Self::Slow | Self::Interrupted | Self::Killed | Self::Asleep => true,
        }
    }

    /// One call goes wrong, and nothing else does.
    pub(super) fn is_of_one_call(self) -> bool {
        !self.is_final() && !matches!(self, Self::NoNetwork | Self::Asleep)
    }

    /// It ends the process, or what the process can do.
    pub(super) fn is_final(self) -> bool {
        matches!(
            self,
            Self::Killed | Self::KilledAfter | Self::Interrupted | Self::Expired
        )
    }

    /// The pairs that there are.
    pub(super) fn pairs() -> Vec<(Self, PortCall)> {
        let calls = PortCall::ALL.into_iter();
        let pairs = calls.flat_map(|call| Self::ALL.map(|fault| (fault, call)));
        pairs.filter(|(fault, call)| fault.can_hit(*call)).collect()
    }
}

/// Which calls of a process go wrong.
#[derive(Debug, Clone)]
pub(super) enum FaultPlan {
    These(Vec<PlannedFault>),
    /// One in so many calls, up to a number of them.
    Several {
        one_in: u64,
        left: u32,
        chance: Chance,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlannedFault {
    pub(super) fault: InjectedFault,
    pub(super) call: PortCall,
    /// So many calls of the kind come before it. `None`: it hits all of them.
    pub(super) nth: Option<u32>,
    /// How long a call is slow, a machine sleeps or is without network, or how old an answer is.
    /// `None`: as chance has it.
    pub(super) time: Option<Millis>,
}

impl PlannedFault {
    pub(super) fn once(fault: InjectedFault, call: PortCall, nth: u32) -> Self {
        Self {
            fault,
            call,
            nth: Some(nth),
            time: None,
        }
    }

    pub(super) fn always(fault: InjectedFault, call: PortCall) -> Self {
        Self {
            nth: None,
            ..Self::once(fault, call, 0)
        }
    }

    pub(super) fn lasting(self, time: Millis) -> Self {
        Self {
            time: Some(time),
            ..self
        }
    }
}

impl FaultPlan {
    pub(super) const NONE: Self = Self::These(Vec::new());

    /// The fault of a call that comes now, and how long it lasts.
    pub(super) fn next(&mut self, call: PortCall) -> Option<(InjectedFault, Option<Millis>)> {
        match self {
            Self::These(planned) => {
                let mut found = None;
                for (index, it) in planned.iter_mut().enumerate() {
                    match &mut it.nth {
                        _ if it.call != call => {}
                        None | Some(0) => found = found.or(Some(index)),
                        Some(nth) => *nth -= 1,
                    }
                }
                let index = found?;
                let hit = planned[index];
                if hit.nth.is_some() {
                    planned.remove(index);
                }
                Some((hit.fault, hit.time))
            }
            Self::Several {
                one_in,
                left,
                chance,
            } => {
                if *left == 0 || !chance.one_in(*one_in) {
                    return None;
                }
                let fault = chance.pick(&InjectedFault::ALL);
                let rarely = fault.is_final() && !chance.one_in(4);
                if rarely || !fault.can_hit(call) {
                    return None;
                }
                *left -= 1;
                Some((fault, None))
            }
        }
    }
}
