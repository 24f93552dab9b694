//! How calls go wrong, and which ones of a run do.

use crate::model::Chance;

/// A call of xtask, as far as its faults are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PortCall {
    Build,
    ReadOutputs,
    ReadSecret,
    ReadLog,
    FindImage,
    Push,
    ReadRecord,
    ReadLock,
    ReadHold,
    Open,
    Beat,
    Write,
    Close,
    DescribeServices,
    DescribeTaskDefinition,
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
    Invoke,
    UpdateAlias,
    Probe,
    Dispatch,
}

impl PortCall {
    pub(super) const ALL: [Self; 29] = [
        Self::Build,
        Self::ReadOutputs,
        Self::ReadSecret,
        Self::ReadLog,
        Self::FindImage,
        Self::Push,
        Self::ReadRecord,
        Self::ReadLock,
        Self::ReadHold,
        Self::Open,
        Self::Beat,
        Self::Write,
        Self::Close,
        Self::DescribeServices,
        Self::DescribeTaskDefinition,
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
        Self::Invoke,
        Self::UpdateAlias,
        Self::Probe,
        Self::Dispatch,
    ];

    pub(super) fn is_of_aws(self) -> bool {
        !matches!(self, Self::Build | Self::Probe | Self::Dispatch)
    }

    /// Whether it changes something that others see.
    pub(super) fn changes(self) -> bool {
        self.changes_what_runs()
            || matches!(
                self,
                Self::Push | Self::Open | Self::Beat | Self::Write | Self::Close
            )
    }

    /// The SDK gives these up soon.
    pub(super) fn changes_what_runs(self) -> bool {
        matches!(
            self,
            Self::RegisterTaskDefinition
                | Self::UpdateService
                | Self::DeregisterTaskDefinition
                | Self::StopServiceDeployment
                | Self::PublishVersion
                | Self::UpdateAlias
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
    None,
    /// One call: the nth of its kind.
    One(InjectedFault, PortCall, u32),
    /// One in so many calls, up to a number of them.
    Several {
        one_in: u64,
        left: u32,
    },
}

impl FaultPlan {
    /// The fault of a call that comes now.
    pub(super) fn next(&mut self, call: PortCall, chance: &mut Chance) -> Option<InjectedFault> {
        match self {
            Self::One(fault, at, nth) if *at == call => {
                let fault = *fault;
                if *nth == 0 {
                    *self = Self::None;
                    return Some(fault);
                }
                *nth -= 1;
                None
            }
            Self::None | Self::One(..) => None,
            Self::Several { one_in, left } => {
                if *left == 0 || !chance.one_in(*one_in) {
                    return None;
                }
                let fault = chance.pick(&InjectedFault::ALL);
                let rarely = fault.is_final() && !chance.one_in(4);
                if rarely || !fault.can_hit(call) {
                    return None;
                }
                *left -= 1;
                Some(fault)
            }
        }
    }
}
