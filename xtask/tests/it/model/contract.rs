//! Sequences of calls and images, and what the API shows of each, times aside. The model and the
//! local AWS go through the same ones, and `tests/tests/contract/` compares them. What lasts for less
//! than a moment, such as the state PENDING of a service deployment, is not noted.

use std::fmt::Write;

use super::ImageScript;

mod modeled;
mod sequences;

pub(crate) use modeled::Modeled;
pub(crate) use sequences::SEQUENCES;

pub(crate) type Sequence = (&'static str, &'static [SequenceStep]);

/// One step of a sequence. A service is on a placeholder at first, and no task is desired.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SequenceStep {
    Act(SequenceAct),
    /// Waits for a moment that lasts, and notes the deployments.
    Until(Awaited),
    /// Waits until nothing moves any more, and notes all that is shown.
    Settled,
    /// Notes all that is shown at once, where the act before changes nothing.
    Look,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum SequenceAct {
    /// Registers a revision whose image does this, and deploys it.
    Release(ImageScript),
    /// The same, and sets the desired count.
    First(ImageScript, u32),
    /// Deploys a revision, counted from 1.
    Deploy(u32),
    Desired(u32),
    /// Deploys the revision of now once more.
    Force,
    Deregister(u32),
    /// Stops the task that was started first of those that run.
    StopTask,
    /// Stops the newest service deployment.
    StopDeployment,
    /// Stops one that never was.
    StopUnknownDeployment,
    /// The program of the newest task ends.
    Crash,
    /// The newest task does not answer any more.
    Freeze,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Awaited {
    /// A task of the primary deployment runs.
    Runs,
    /// So many tasks of the primary deployment have failed in a row.
    Failed(u32),
    /// ECS goes back.
    GoesBack,
    /// The task that was started as this one drains.
    Drains(usize),
    /// So many tasks have stopped.
    Stopped(usize),
}

/// What the API shows of a service.
#[derive(Debug, Default)]
pub(crate) struct ShownService {
    pub(crate) desired: u64,
    pub(crate) running: u64,
    pub(crate) pending: u64,
    pub(crate) deployments: Vec<ShownDeployment>,
    /// The oldest first.
    pub(crate) service_deployments: Vec<ShownServiceDeployment>,
    /// In the order in which they were started.
    pub(crate) tasks: Vec<ShownTask>,
    /// The oldest first.
    pub(crate) events: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct ShownDeployment {
    pub(crate) status: String,
    pub(crate) revision: String,
    pub(crate) rollout: String,
    pub(crate) reason: String,
    pub(crate) desired: u64,
    pub(crate) running: u64,
    pub(crate) pending: u64,
    pub(crate) failed: u64,
}

#[derive(Debug)]
pub(crate) struct ShownServiceDeployment {
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) target: String,
    pub(crate) breaker: String,
    pub(crate) failures: u64,
    pub(crate) back_to: Option<String>,
}

#[derive(Debug)]
pub(crate) struct ShownTask {
    pub(crate) revision: String,
    pub(crate) status: String,
    pub(crate) stop_code: String,
    pub(crate) stopped_reason: String,
}

/// Who goes through a sequence.
pub(crate) trait Side {
    /// Does it, or says by which error it was refused.
    fn act(&mut self, act: SequenceAct) -> Result<(), String>;
    fn shown(&mut self) -> ShownService;
    /// Lets a moment pass, and fails where too many have passed.
    fn wait(&mut self);
}

/// Takes a side through a sequence. Returns what was shown, a fact a line.
pub(crate) fn history(side: &mut impl Side, steps: &[SequenceStep]) -> Vec<String> {
    let mut names = PlainNames::default();
    let mut lines = Vec::new();
    let (mut before, mut noted) = (0, 0);
    for step in steps {
        match step {
            SequenceStep::Act(act) => {
                before = side.shown().events.len();
                let answer = side.act(*act);
                lines.push(format!("{act:?}: {answer:?}"));
            }
            SequenceStep::Until(moment) => {
                let shown = until(side, |shown| moment.is_shown(shown));
                lines.push(format!("{moment:?}"));
                lines.extend(shown.progress(false));
            }
            SequenceStep::Settled | SequenceStep::Look => {
                let settles = matches!(step, SequenceStep::Settled);
                let shown = until(side, |shown| !settles || shown.is_settled(before));
                lines.push("settled".to_owned());
                lines.extend(shown.progress(true));
                lines.extend(shown.news(noted));
                noted = shown.events.len();
            }
        }
    }
    lines.iter().map(|line| names.plain(line)).collect()
}

fn until(side: &mut impl Side, holds: impl Fn(&ShownService) -> bool) -> ShownService {
    loop {
        let shown = side.shown();
        if holds(&shown) {
            return shown;
        }
        side.wait();
    }
}

impl Awaited {
    fn is_shown(self, shown: &ShownService) -> bool {
        let primary = &shown.deployments[0];
        match self {
            Self::Runs => {
                let of_it = |it: &&ShownTask| it.revision == primary.revision;
                let mut tasks = shown.tasks.iter().filter(of_it);
                tasks.any(|it| it.status == "RUNNING")
            }
            Self::Drains(number) => {
                let task = shown.tasks.get(number - 1);
                task.is_some_and(|it| it.status == "DEACTIVATING")
            }
            Self::Failed(count) => primary.failed == u64::from(count),
            Self::GoesBack => {
                let newest = shown.service_deployments.last();
                newest.is_some_and(|it| it.status == "ROLLBACK_IN_PROGRESS")
            }
            Self::Stopped(count) => {
                let stopped = shown.tasks.iter().filter(|it| it.status == "STOPPED");
                stopped.count() == count
            }
        }
    }
}

/// The states in which a service deployment ends.
const ENDS: [&str; 4] = [
    "SUCCESSFUL",
    "STOPPED",
    "ROLLBACK_SUCCESSFUL",
    "ROLLBACK_FAILED",
];

impl ShownService {
    /// Since so many events: ECS has said that the service is steady, or it has given up.
    fn is_settled(&self, events_before: usize) -> bool {
        let last = self.events.iter().skip(events_before).last();
        let is_steady = last.is_some_and(|it| it.contains("has reached a steady state."));
        let newest = self.service_deployments.last();
        let has_ended = newest.is_none_or(|it| ENDS.contains(&it.status.as_str()));
        let primary = &self.deployments[0];
        let has_given_up = primary.rollout == "FAILED";
        let alive = |it: &ShownTask| it.status != "STOPPED";
        let alive = self.tasks.iter().filter(|it| alive(it)).count() as u64;
        let is_whole = alive == self.desired && self.running == alive;
        has_ended && (is_steady && is_whole || has_given_up && alive == 0)
    }

    /// Deployments and service deployments. Counts are a matter of time until all is settled.
    fn progress(&self, counts: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if counts {
            let Self {
                desired,
                running,
                pending,
                ..
            } = self;
            lines.push(format!(
                "  service: desired {desired}, running {running}, pending {pending}"
            ));
        }
        for it in &self.deployments {
            let mut line = format!(
                "  {} deployment of {}: {} ({})",
                it.status, it.revision, it.rollout, it.reason
            );
            if counts {
                let counted = (it.desired, it.running, it.pending, it.failed);
                write!(line, " {counted:?}").unwrap();
            }
            lines.push(line);
        }
        for it in &self.service_deployments {
            let mut line = format!(
                "  service deployment to {}: {} ({}), breaker {}",
                it.target, it.status, it.reason, it.breaker
            );
            if it.breaker == "TRIGGERED" {
                write!(line, " after {}", it.failures).unwrap();
            }
            if let Some(revision) = &it.back_to {
                write!(line, ", back to {revision}").unwrap();
            }
            lines.push(line);
        }
        lines
    }

    /// All tasks, and the events after so many.
    fn news(&self, events: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, it) in self.tasks.iter().enumerate() {
            lines.push(format!(
                "  task {} of {}: {} {} {}",
                index + 1,
                it.revision,
                it.status,
                it.stop_code,
                it.stopped_reason
            ));
        }
        let events = self.events.iter().skip(events);
        lines.extend(events.map(|it| format!("  event: {it}")));
        lines
    }
}

/// Names that differ from run to run.
#[derive(Debug, Default)]
struct PlainNames(Vec<String>);

impl PlainNames {
    /// The same text with numbers instead of such names.
    fn plain(&mut self, text: &str) -> String {
        let mut before = "";
        let words = text.split(' ').map(|word| {
            let name = word.trim_end_matches([')', '.', ':', ',']);
            let end = &word[name.len()..];
            let plain = match std::mem::replace(&mut before, word) {
                "(service" => "<service>".to_owned(),
                "(task" => self.number(name),
                _ if name.starts_with("ecs-svc/") => self.number(name),
                _ if name.starts_with("arn") => "<arn>".to_owned(),
                _ if name.contains("@sha256:") => "<image>".to_owned(),
                _ => name.to_owned(),
            };
            plain + end
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn number(&mut self, name: &str) -> String {
        let known = self.0.iter().position(|it| it == name);
        let number = known.unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        format!("<{number}>")
    }
}

/// What a sequence shows is decided, whatever the times are.
#[test]
fn a_sequence_shows_the_same_at_all_times() {
    for (name, steps) in SEQUENCES {
        let first = history(&mut Modeled::new(0), steps);
        for seed in 1..8 {
            let other = history(&mut Modeled::new(seed), steps);
            assert_eq!(first, other, "{name}, {seed}");
        }
    }
}
