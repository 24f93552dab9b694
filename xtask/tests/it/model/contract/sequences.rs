//! The sequences. Where two tasks are not needed there is one, so that the order of all that happens
//! is decided.

use super::Awaited::{Drains, Failed, GoesBack, Runs, Stopped};
use super::SequenceAct::{
    Crash, Deploy, Deregister, Desired, First, Force, Freeze, Release, StopDeployment, StopTask,
    StopUnknownDeployment,
};
use super::SequenceStep::{Act, Look, Settled, Until};
use super::{ImageScript, Sequence, SequenceStep};
use ImageScript::{
    CrashesAtOnce, FailsContainerCheck, Good, NeverListens, NotPulled, SecretMissing, SlowStart,
};

const RUNS: SequenceStep = Act(First(Good, 1));

#[rustfmt::skip]
pub(crate) const SEQUENCES: [Sequence; 28] = [
    ("first_release", &[RUNS, Settled]),
    ("good_release", &[RUNS, Settled, Act(Release(Good)), Until(Runs), Settled]),
    ("two_tasks", &[Act(First(Good, 2)), Settled, Act(Desired(3)), Settled]),
    ("never_listens", &[RUNS, Settled, Act(Release(NeverListens)), Until(GoesBack), Settled]),
    ("container_check_fails", &[
        RUNS, Settled, Act(Release(FailsContainerCheck)), Until(GoesBack), Settled,
    ]),
    ("crashes_at_once", &[RUNS, Settled, Act(Release(CrashesAtOnce)), Settled]),
    ("crashes_in_rollout", &[
        RUNS, Settled, Act(Release(NeverListens)), Until(Runs), Act(Crash),
        Until(Failed(1)), Until(Runs), Act(Release(Good)), Settled,
    ]),
    ("crashes_later", &[RUNS, Settled, Act(Crash), Until(Stopped(1)), Settled]),
    ("gets_sick_later", &[RUNS, Settled, Act(Freeze), Until(Stopped(1)), Settled]),
    ("image_not_there", &[RUNS, Settled, Act(Release(NotPulled)), Settled]),
    ("secret_not_there", &[RUNS, Settled, Act(Release(SecretMissing)), Settled]),
    ("slow_start", &[RUNS, Settled, Act(Release(SlowStart)), Settled]),
    ("good_amid_good", &[
        RUNS, Settled, Act(Release(Good)), Until(Drains(1)), Act(Release(Good)), Settled,
    ]),
    ("good_amid_bad", &[
        RUNS, Settled, Act(Release(NeverListens)), Until(Failed(1)), Until(Runs),
        Act(Release(Good)), Settled,
    ]),
    ("bad_amid_good", &[
        RUNS, Settled, Act(Release(Good)), Until(Drains(1)), Act(Release(NotPulled)),
        Settled,
    ]),
    ("bad_after_bad", &[
        RUNS, Settled, Act(Release(NotPulled)), Settled, Act(Release(SecretMissing)),
        Settled,
    ]),
    ("good_after_bad", &[
        RUNS, Settled, Act(Release(NotPulled)), Settled, Act(Release(Good)), Settled,
    ]),
    ("stop_deployment_of_bad", &[
        RUNS, Settled, Act(Release(NeverListens)), Until(Runs), Act(StopDeployment),
        Until(GoesBack), Act(StopDeployment), Settled,
    ]),
    ("stop_deployment_of_good", &[
        RUNS, Settled, Act(Release(Good)), Until(Drains(1)), Act(StopDeployment),
        Until(GoesBack), Settled,
    ]),
    ("stop_deployment_too_late", &[
        RUNS, Settled, Act(StopDeployment), Look, Act(StopUnknownDeployment), Look,
    ]),
    ("scaled_out_and_in", &[RUNS, Settled, Act(Desired(2)), Settled, Act(Desired(1)), Settled]),
    ("scaled_to_none_and_back", &[
        RUNS, Settled, Act(Desired(0)), Settled, Act(Desired(1)), Settled,
    ]),
    ("task_stopped_by_hand", &[RUNS, Settled, Act(StopTask), Until(Stopped(1)), Settled]),
    ("task_stopped_in_rollout", &[
        RUNS, Settled, Act(Release(NeverListens)), Until(Runs), Act(StopTask),
        Act(Release(Good)), Settled,
    ]),
    ("first_release_fails", &[Act(First(NotPulled, 1)), Settled, Act(Release(Good)), Settled]),
    ("forced_and_the_same", &[RUNS, Settled, Act(Deploy(1)), Look, Act(Force), Settled]),
    ("deregistered", &[
        RUNS, Settled, Act(Release(Good)), Settled, Act(Deregister(1)), Act(Deploy(1)),
        Look, Act(Deploy(9)), Look,
    ]),
    ("way_back_deregistered", &[
        RUNS, Settled, Act(Deregister(1)), Act(Release(NotPulled)), Settled,
    ]),
];
