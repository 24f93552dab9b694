//! Why a release failed: the causes that tasks, targets, events and the service deployment show.
//!
//! ECS says why a task stopped only as text. The words are those of AWS's "Stopped task error
//! messages" (Amazon ECS Developer Guide) and of the transcripts of `emulator/tests/transcripts`.

use std::collections::BTreeSet;

use serde::Serialize;

use super::deployment::{DeploymentStatus, ServiceDeployment};
use super::snapshot::StoppedTask;

/// One cause, with what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub kind: CauseKind,
    /// What shows it, in the words of AWS or of the program.
    pub detail: String,
    /// Whether the next task fails in the same way. Throttling, a time-out and missing capacity
    /// pass by themselves.
    pub lasts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    ImageNotPulled,
    WrongArchitecture,
    SecretNotRead,
    PermissionMissing,
    LogGroupMissing,
    ContainerNotStarted,
    OutOfMemory,
    ContainerExited,
    PortNotListening,
    ContainerHealthCheck,
    TargetHealthCheck,
    NoCapacity,
    HostLost,
    TooSlow,
    Alarm,
    DeploymentStopped,
    Superseded,
    TimedOut,
    Unknown,
}

impl CauseKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageNotPulled => "image cannot be pulled",
            Self::WrongArchitecture => "image of another architecture",
            Self::SecretNotRead => "secret or parameter cannot be read",
            Self::PermissionMissing => "permission missing",
            Self::LogGroupMissing => "log group missing",
            Self::ContainerNotStarted => "container cannot be started",
            Self::OutOfMemory => "killed for memory",
            Self::ContainerExited => "container exited",
            Self::PortNotListening => "port not listening",
            Self::ContainerHealthCheck => "container health check fails",
            Self::TargetHealthCheck => "target health check fails",
            Self::NoCapacity => "no capacity",
            Self::HostLost => "host lost",
            Self::TooSlow => "too slow to start",
            Self::Alarm => "alarm went off",
            Self::DeploymentStopped => "deployment stopped by somebody",
            Self::Superseded => "superseded",
            Self::TimedOut => "timeout",
            Self::Unknown => "unknown",
        }
    }

    /// What a person does about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::ImageNotPulled => {
                "see that the repository has this image (`cargo xtask deploy` pushes it again), and \
                 that the task's subnets reach the registry"
            }
            Self::WrongArchitecture => {
                "make `cpuArchitecture` of the definition and the architecture of the image the same"
            }
            Self::SecretNotRead => {
                "see that the secret exists, has a value and the JSON key that the definition names"
            }
            Self::PermissionMissing => "allow this action to this role in infra/, and apply it",
            Self::LogGroupMissing => {
                "let Terraform create the log group that `logConfiguration` of the definition names"
            }
            Self::ContainerNotStarted => {
                "see `entryPoint`, `command`, `user` and `workingDirectory` of the definition: \
                 `cargo xtask lint` compares them with the image"
            }
            Self::OutOfMemory => "raise `memory` of the task, or make the program use less",
            Self::ContainerExited => {
                "the program ended by itself: its last lines are below, all of them in \
                 `cargo xtask logs`"
            }
            Self::PortNotListening => {
                "see that the program listens on `containerPort` and on all addresses, not on \
                 127.0.0.1 alone"
            }
            Self::ContainerHealthCheck => {
                "run the command of `healthCheck` in the image; raise `startPeriod` where the program \
                 only needs longer"
            }
            Self::TargetHealthCheck => {
                "see what the program answers on the target group's path; raise the health check's \
                 grace period where it only needs longer"
            }
            Self::NoCapacity => "wait and deploy again, or add subnets of other availability zones",
            Self::HostLost => {
                "the machine that ran the tasks went away: deploy again (`cargo xtask doctor --fix` \
                 starts Docker, where the local AWS runs them)"
            }
            Self::TooSlow => "see in `cargo xtask logs` what the program waits for",
            Self::Alarm => "see why the alarm went off before the release is tried again",
            Self::DeploymentStopped => "ask whoever stopped it; `cargo xtask deploy` tries again",
            Self::Superseded => "see `cargo xtask status`; what runs was left as it is",
            Self::TimedOut => "see the service's events and `cargo xtask logs`",
            Self::Unknown => "see the evidence, the service's events and `cargo xtask logs`",
        }
    }
}

impl Cause {
    /// A component runs what somebody else has deployed.
    pub fn superseded(detail: &str) -> Self {
        Self::of(CauseKind::Superseded, detail)
    }

    /// Of a failure that no rollout shows.
    pub fn unknown(detail: &str) -> Self {
        Self::of(CauseKind::Unknown, detail)
    }

    /// Why a revision that ran before the release does not run again.
    pub fn of_way_back(&self) -> String {
        let (name, remedy) = (self.kind.name(), self.kind.remedy());
        format!(
            "{name}: {detail}. It ran before, so the cause is outside of this release: {remedy}; \
             then `cargo xtask deploy` starts it again",
            detail = self.detail
        )
    }

    fn of(kind: CauseKind, detail: &str) -> Self {
        Self {
            kind,
            detail: detail.to_owned(),
            lasts: !matches!(kind, CauseKind::NoCapacity | CauseKind::HostLost)
                && !is_passing(detail),
        }
    }
}

/// Whether ECS's words are about something that passes by itself.
fn is_passing(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let passing = [
        "timeout",
        "timed out",
        "deadline exceeded",
        "throttl",
        "toomanyrequests",
        "rate exceeded",
        "connection reset",
        "connection refused",
        "no such host",
        "internal error",
        "service unavailable",
    ];
    passing.iter().any(|it| text.contains(it))
}

/// By the words of the task and of its containers; the first that they contain decides.
const WORDS: [(&str, CauseKind); 23] = [
    ("outofmemoryerror", CauseKind::OutOfMemory),
    ("exec format error", CauseKind::WrongArchitecture),
    ("matching platform", CauseKind::WrongArchitecture),
    ("match for platform", CauseKind::WrongArchitecture),
    ("matching manifest for", CauseKind::WrongArchitecture),
    ("log group does not exist", CauseKind::LogGroupMissing),
    ("capacity is unavailable", CauseKind::NoCapacity),
    ("resource:", CauseKind::NoCapacity),
    ("cannotpull", CauseKind::ImageNotPulled),
    ("failed to pull image", CauseKind::ImageNotPulled),
    ("registry auth", CauseKind::ImageNotPulled),
    ("secretsmanager", CauseKind::SecretNotRead),
    ("secrets manager", CauseKind::SecretNotRead),
    ("ssm", CauseKind::SecretNotRead),
    ("pull secrets", CauseKind::SecretNotRead),
    ("json key", CauseKind::SecretNotRead),
    (
        "failed container health checks",
        CauseKind::ContainerHealthCheck,
    ),
    ("failed elb health checks", CauseKind::TargetHealthCheck),
    ("cannotstartcontainer", CauseKind::ContainerNotStarted),
    ("cannotcreatecontainer", CauseKind::ContainerNotStarted),
    ("container runtime task", CauseKind::ContainerNotStarted),
    ("oci runtime", CauseKind::ContainerNotStarted),
    ("unable to start", CauseKind::ContainerNotStarted),
];

/// Why a task failed. `None`: its words say nothing that is known.
pub fn of_task(task: &StoppedTask) -> Option<Cause> {
    if task.lost_its_host() {
        return Some(Cause::of(CauseKind::HostLost, &task.reason));
    }
    let of_containers = task.containers.iter().filter_map(|it| it.reason.as_deref());
    let texts: Vec<&str> = [task.reason.as_str()]
        .into_iter()
        .chain(of_containers)
        .collect();
    if let Some(missing) = texts.iter().find_map(|text| permission_missing(text)) {
        return Some(missing);
    }
    // `unable to pull secrets or registry auth` is about either: the rest of the text decides.
    let lowered = texts.iter().map(|text| {
        let lower = text.to_ascii_lowercase();
        (lower.replace("pull secrets or registry auth", ""), *text)
    });
    let lowered: Vec<(String, &str)> = lowered.collect();
    let known = WORDS.iter().find_map(|(word, kind)| {
        let (_, text) = lowered.iter().find(|(lower, _)| lower.contains(word))?;
        Some(Cause::of(*kind, text))
    });
    known.or_else(|| {
        let exited = task.containers.iter().find_map(|container| {
            let code = container.exit_code?;
            Some(format!("{} exited with {code}", container.name))
        });
        exited.map(|detail| Cause::of(CauseKind::ContainerExited, &detail))
    })
}

/// `User: arn:aws:sts::1:assumed-role/ROLE/SESSION is not authorized to perform: ACTION on ...`
pub fn permission_missing(text: &str) -> Option<Cause> {
    let (before, after) = text.split_once("is not authorized to perform: ")?;
    let end = after.find(char::is_whitespace).unwrap_or(after.len());
    let action = &after[..end];
    let role = before
        .split_once("assumed-role/")
        .and_then(|(_, role)| role.split(['/', ' ']).next());
    let role = role.map_or("the task's role".to_owned(), |role| {
        format!("the role {role}")
    });
    Some(Cause::of(
        CauseKind::PermissionMissing,
        &format!("{role} may not call {action}"),
    ))
}

/// What is known of a rollout that failed.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The tasks that failed, and those that lost their host.
    pub tasks: &'a [StoppedTask],
    /// Why targets of the load balancer were unhealthy.
    pub targets: &'a BTreeSet<String>,
    pub events: &'a [String],
    pub deployment: Option<&'a ServiceDeployment>,
    /// Why the rollout failed, as ECS or the engine said it.
    pub reason: &'a str,
    /// We stopped the deployment ourselves.
    pub stopped_by_us: bool,
}

/// All causes, each once, those first that explain others.
pub fn causes(seen: &Seen<'_>) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    let mut add = |cause: Cause| {
        if !causes.iter().any(|known| known.kind == cause.kind) {
            causes.push(cause);
        }
    };
    // The local AWS says so, and what else failed meanwhile follows from it.
    let host_is_lost = |text: &&String| text.contains("Docker does not answer");
    if let Some(event) = seen.events.iter().find(host_is_lost) {
        add(Cause::of(CauseKind::HostLost, event));
    }
    for task in seen.tasks {
        match of_task(task) {
            Some(cause) => add(explained(cause, seen.targets)),
            None => add(Cause::of(CauseKind::Unknown, &task.reason)),
        }
    }
    if seen.tasks.is_empty()
        && let Some(cause) = of_targets(seen.targets)
    {
        add(cause);
    }
    let short = |text: &&String| text.contains("unable to place") || text.contains("apacity");
    if let Some(event) = seen.events.iter().find(short) {
        add(Cause::of(CauseKind::NoCapacity, event));
    }
    if let Some(cause) = of_deployment(seen) {
        add(cause);
    }
    if causes.is_empty() {
        let kind = match seen.reason {
            reason if reason.contains("timed out with 0 of") => CauseKind::TimedOut,
            reason if reason.contains("timed out") => CauseKind::TooSlow,
            _ => CauseKind::Unknown,
        };
        causes.push(Cause::of(kind, seen.reason));
    }
    causes.sort_by_key(|cause| cause.kind == CauseKind::Unknown);
    causes
}

/// The load balancer says more of its health check than the task.
fn explained(cause: Cause, targets: &BTreeSet<String>) -> Cause {
    match cause.kind {
        CauseKind::TargetHealthCheck => of_targets(targets).unwrap_or(cause),
        _ => cause,
    }
}

/// By what the load balancer says of the last health check of its targets.
fn of_targets(targets: &BTreeSet<String>) -> Option<Cause> {
    let answered = targets.iter().find(|it| it.contains("codes"));
    let late = targets.iter().find(|it| it.contains("timed out"));
    if let Some(found) = answered.or(late) {
        return Some(Cause {
            lasts: true,
            ..Cause::of(CauseKind::TargetHealthCheck, found)
        });
    }
    let refused = targets.iter().next()?;
    Some(Cause::of(CauseKind::PortNotListening, refused))
}

fn of_deployment(seen: &Seen<'_>) -> Option<Cause> {
    let deployment = seen.deployment;
    let alarms = deployment.map_or(&[][..], |it| &it.alarms);
    if !alarms.is_empty() {
        return Some(Cause::of(CauseKind::Alarm, &alarms.join(", ")));
    }
    if seen.reason.to_ascii_lowercase().contains("alarm") {
        return Some(Cause::of(CauseKind::Alarm, seen.reason));
    }
    let stopped = deployment.filter(|it| {
        it.is_given_up() && !it.breaker_triggered && it.status != DeploymentStatus::RollbackFailed
    });
    let stopped = stopped.filter(|_| !seen.stopped_by_us)?;
    Some(Cause::of(CauseKind::DeploymentStopped, &stopped.why()))
}

/// The cause that at least two of the tasks died of and that does not pass by itself.
pub fn lasting(tasks: &[StoppedTask], targets: &BTreeSet<String>) -> Option<Cause> {
    let failed = tasks.iter().filter(|it| it.is_evidence());
    let causes: Vec<Cause> = failed
        .filter_map(of_task)
        .map(|cause| explained(cause, targets))
        .collect();
    let twice = |cause: &Cause| causes.iter().filter(|it| it.kind == cause.kind).count() >= 2;
    causes.iter().find(|it| it.lasts && twice(it)).cloned()
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::StoppedContainer;
    use super::CauseKind::*;
    use super::*;

    fn task(reason: &str) -> StoppedTask {
        StoppedTask {
            id: "1".into(),
            stop_code: "TaskFailedToStart".into(),
            reason: reason.into(),
            containers: Vec::new(),
        }
    }

    fn exited(code: i32, reason: Option<&str>) -> StoppedTask {
        StoppedTask {
            stop_code: "EssentialContainerExited".into(),
            containers: vec![StoppedContainer {
                name: "axon".into(),
                exit_code: Some(code),
                reason: reason.map(str::to_owned),
            }],
            ..task("Essential container in task exited")
        }
    }

    fn kinds(
        tasks: &[StoppedTask],
        targets: &[&str],
        events: &[&str],
        reason: &str,
    ) -> Vec<CauseKind> {
        let targets = targets.iter().map(|it| (*it).to_owned()).collect();
        let events: Vec<String> = events.iter().map(|it| (*it).to_owned()).collect();
        let seen = Seen {
            tasks,
            targets: &targets,
            events: &events,
            deployment: None,
            reason,
            stopped_by_us: false,
        };
        causes(&seen).into_iter().map(|it| it.kind).collect()
    }

    const PULL: &str = "CannotPullContainerError: pull image manifest has been retried 1 time(s)";
    const INIT: &str = "ResourceInitializationError: unable to pull secrets or registry auth";

    #[test]
    fn the_words_of_a_task_show_the_cause() {
        for (text, kind, lasts) in [
            (format!("{PULL}: failed to resolve ref localhost/a@sha256:0: not found"), ImageNotPulled, true),
            (format!("{PULL}: dial tcp 10.0.0.1:443: i/o timeout"), ImageNotPulled, false),
            (format!("{PULL}: toomanyrequests: rate exceeded"), ImageNotPulled, false),
            (
                "CannotPullContainerError: image Manifest does not contain descriptor matching \
                 platform 'linux/arm64'".to_owned(),
                WrongArchitecture,
                true,
            ),
            (
                format!("{INIT}: execution resource retrieval failed: unable to retrieve secret \
                 from asm: failed to fetch secret arn:aws:secretsmanager:r:1:secret:a from secrets \
                 manager: ResourceNotFoundException"),
                SecretNotRead,
                true,
            ),
            (
                format!("{INIT}: unable to retrieve ecr registry auth: service call has been retried \
                 3 time(s): RequestError: send request failed caused by: i/o timeout"),
                ImageNotPulled,
                false,
            ),
            (
                format!("{INIT}: AccessDeniedException: User: \
                 arn:aws:sts::1:assumed-role/demo-execution/0a is not authorized to perform: \
                 secretsmanager:GetSecretValue on resource: arn"),
                PermissionMissing,
                true,
            ),
            (
                "ResourceInitializationError: failed to validate logger args: create stream has been \
                 retried 1 times: failed to create Cloudwatch log stream: ResourceNotFoundException: \
                 The specified log group does not exist.".to_owned(),
                LogGroupMissing,
                true,
            ),
            (
                "CannotStartContainerError: ResourceInitializationError: failed to create new \
                 container runtime task: failed to create shim task: OCI runtime create failed: exec: \
                 \"/nothing\": stat /nothing: no such file or directory".to_owned(),
                ContainerNotStarted,
                true,
            ),
            ("exec /axon: exec format error".to_owned(), WrongArchitecture, true),
            ("Capacity is unavailable at this time. Please try again later".to_owned(), NoCapacity, false),
            ("Task failed container health checks".to_owned(), ContainerHealthCheck, true),
            (
                "Task failed ELB health checks in (target-group arn:aws:e)".to_owned(),
                TargetHealthCheck,
                true,
            ),
        ] {
            let found = of_task(&task(&text)).unwrap();
            assert_eq!((found.kind, found.lasts), (kind, lasts), "{text}");
        }
        let oom = exited(
            137,
            Some("OutOfMemoryError: Container killed due to memory usage"),
        );
        assert_eq!(of_task(&oom).unwrap().kind, OutOfMemory);
        assert_eq!(of_task(&exited(78, None)).unwrap().kind, ContainerExited);
        assert_eq!(of_task(&task("something new")), None);
    }

    #[test]
    fn a_missing_permission_names_action_and_role() {
        let denied = task(
            "AccessDeniedException: User: arn:aws:sts::1:assumed-role/demo-execution/0a is not \
             authorized to perform: ecr:BatchGetImage on resource: arn",
        );
        let found = of_task(&denied).unwrap();
        assert_eq!(
            found.detail,
            "the role demo-execution may not call ecr:BatchGetImage"
        );
    }

    #[test]
    fn targets_say_why_their_health_check_fails() {
        let sick = [task(
            "Task failed ELB health checks in (target-group arn:aws:e)",
        )];
        for (reason, kind) in [
            ("Health checks failed", PortNotListening),
            (
                "Health checks failed with these codes: [404]",
                TargetHealthCheck,
            ),
            ("Request timed out", TargetHealthCheck),
        ] {
            assert_eq!(kinds(&sick, &[reason], &[], "breaker"), [kind], "{reason}");
            assert_eq!(kinds(&[], &[reason], &[], "breaker"), [kind], "{reason}");
        }
    }

    #[test]
    fn all_causes_are_found_and_each_once() {
        let tasks = [
            exited(1, None),
            exited(1, None),
            task("Task failed container health checks"),
        ];
        let found = kinds(&tasks, &[], &["was unable to place a task"], "breaker");
        assert_eq!(found, [ContainerExited, ContainerHealthCheck, NoCapacity]);
    }

    #[test]
    fn a_lost_host_is_no_failure_of_the_revision_and_explains_all_that_failed_with_it() {
        let host_lost = |code: &str| StoppedTask {
            stop_code: code.into(),
            ..exited(137, None)
        };
        for code in ["TerminationNotice", "SpotInterruption"] {
            let lost = [host_lost(code), host_lost(code)];
            assert_eq!(
                kinds(&lost, &[], &[], "it did not prove itself"),
                [HostLost]
            );
            assert_eq!(lasting(&lost, &BTreeSet::new()), None);
        }
        let exits = [exited(1, None), host_lost("TerminationNotice")];
        assert_eq!(
            kinds(&exits, &[], &[], "breaker"),
            [ContainerExited, HostLost]
        );
        let event = "is unable to go on: Docker does not answer. Remedy: start it.";
        let refused = ["Health checks failed"];
        assert_eq!(
            kinds(&exits[..1], &[], &[event], "breaker"),
            [HostLost, ContainerExited]
        );
        assert_eq!(kinds(&[], &refused, &[event], "timed out")[0], HostLost);
    }

    #[test]
    fn without_evidence_the_reason_decides() {
        for (reason, kind) in [
            ("timed out with 0 of 2 tasks running", TimedOut),
            ("timed out with 1 of 2 tasks running", TooSlow),
            ("ECS deployment alarm: an alarm is in ALARM", Alarm),
            ("no idea", Unknown),
        ] {
            assert_eq!(kinds(&[], &[], &[], reason), [kind], "{reason}");
        }
        assert_eq!(kinds(&[task("new words")], &[], &[], "breaker"), [Unknown]);
    }

    #[test]
    fn a_service_deployment_says_who_ended_it() {
        let ended = |breaker_triggered, alarms: &[&str], stopped_by_us| {
            let deployment = ServiceDeployment {
                arn: "arn".into(),
                status: DeploymentStatus::RollingBack,
                reason: String::new(),
                failures: 0,
                breaker_triggered,
                alarms: alarms.iter().map(|it| (*it).to_owned()).collect(),
            };
            let seen = Seen {
                tasks: &[],
                targets: &BTreeSet::new(),
                events: &[],
                deployment: Some(&deployment),
                reason: "it failed",
                stopped_by_us,
            };
            causes(&seen)[0].kind
        };
        assert_eq!(ended(false, &["errors"], false), Alarm);
        assert_eq!(ended(false, &[], false), DeploymentStopped);
        assert_eq!(ended(false, &[], true), Unknown);
        assert_eq!(ended(true, &[], false), Unknown);
    }

    #[test]
    fn two_deaths_of_one_lasting_cause_are_enough() {
        let timeout = format!("{PULL}: i/o timeout");
        let drained = StoppedTask {
            stop_code: "ServiceSchedulerInitiated".into(),
            ..exited(0, None)
        };
        for (tasks, found) in [
            (
                vec![exited(1, None), exited(1, None)],
                Some(ContainerExited),
            ),
            (vec![exited(1, None)], None),
            (vec![exited(1, None), drained.clone()], None),
            (vec![task(&timeout), task(&timeout)], None),
            (
                vec![
                    exited(1, None),
                    task("Task failed to start: exec format error"),
                ],
                None,
            ),
        ] {
            let lasts = lasting(&tasks, &BTreeSet::new());
            assert_eq!(lasts.map(|it| it.kind), found, "{tasks:?}");
        }
    }
}
