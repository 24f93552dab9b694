//! Events of a release on its way forward, and of a stop.

use jiff::Timestamp;
use serde::Serialize;

use super::{Shown, block, done, live, warning};
use crate::catalog::Component;
use crate::decide::release::cause::CauseKind;
use crate::report::{megabytes, short_digest};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ReleaseEvent {
    /// What a release would change: the document that `plan` answers.
    Plan {
        plan: serde_json::Value,
        #[serde(skip)]
        text: String,
    },
    /// The credentials end before the command may be over.
    CredentialsEndEarly {
        #[cfg_attr(test, schemars(with = "String"))]
        end: Timestamp,
        #[cfg_attr(test, schemars(with = "String"))]
        needed_until: Timestamp,
    },
    /// The record of a release was created: from now on it holds the environment.
    ReleaseOpened {
        number: u64,
    },
    /// The record has its outcome.
    ReleaseClosed {
        number: u64,
        outcome: String,
    },
    Pushing {
        component: Component,
        bytes: u64,
    },
    Pushed {
        component: Component,
        digest: String,
        bytes: u64,
    },
    Publishing {
        component: Component,
    },
    /// How far ECS is with a service. `draining` tasks are of other revisions.
    Rollout {
        component: Component,
        revision: String,
        running: i32,
        desired: i32,
        pending: i32,
        failed: i32,
        draining: i32,
        waiting_for: Option<String>,
    },
    /// Its tasks run, and are asked whether they are of this revision.
    Proving {
        component: Component,
        revision: String,
        answer: String,
    },
    /// What became of updates is read from the services themselves.
    DeploymentsNotRead {
        error: String,
    },
    /// Its tasks die of one cause that does not pass: ECS is asked to go back at once.
    StoppingDeployment {
        component: Component,
        cause: CauseKind,
        detail: String,
    },
    /// A service's revision, or a function's version, does the work now.
    RolledOut {
        component: Component,
        revision: String,
        previous: String,
    },
    Dispatching {
        url: String,
    },
    /// A dispatch went the whole way and back.
    Dispatched {
        status: u16,
        body: String,
    },
    /// It is taken out of service, and Terraform removes it then.
    WillRetire {
        component: Component,
    },
    WillStop {
        component: Component,
        revision: String,
    },
    Stopping {
        component: Component,
        running: i32,
    },
    /// No task of it runs, and the revision is deregistered.
    Stopped {
        component: Component,
        revision: String,
    },
}

fn end_early(end: Timestamp, needed_until: Timestamp) -> String {
    format!(
        "they end at {end:.0}, and this may take until {needed_until:.0}, its rollback included; cut \
         off by their end it stays as it is then (exit code 22): sign in again first, or ask for a \
         longer session"
    )
}

impl ReleaseEvent {
    pub(super) fn shown(&self) -> Shown {
        match self {
            Self::Plan { text, .. } => block("plan", text),
            Self::CredentialsEndEarly { end, needed_until } => {
                warning("credentials", end_early(*end, *needed_until))
            }
            Self::ReleaseOpened { number } => done("release", format!("{number} opened")),
            Self::ReleaseClosed { number, outcome } => {
                done("release", format!("{number} closed: {outcome}"))
            }
            Self::DeploymentsNotRead { error } => warning(
                "ecs",
                format!("service deployments cannot be read, going by the services: {error}"),
            ),
            Self::StoppingDeployment {
                component,
                cause,
                detail,
            } => done(
                component,
                format!("stopping the deployment: {}: {detail}", cause.name()),
            ),
            Self::Pushing { component, bytes } => {
                live(component, format!("pushing {}", megabytes(*bytes)))
            }
            Self::Pushed {
                component, digest, ..
            } => done(component, format!("pushed {}", short_digest(digest))),
            Self::Publishing { component } => live(component, "publishing a version"),
            Self::Rollout { component, .. } => live(component, self.progress()),
            Self::Proving {
                component,
                revision,
                answer,
            } => live(component, format!("{revision} runs; asking it: {answer}")),
            Self::RolledOut {
                component,
                revision,
                previous,
            } => {
                let kind = match component {
                    Component::Service(_) => "",
                    Component::Function(_) => "version ",
                };
                let text = format!("rolled out {kind}{revision} (was {previous})");
                done(component, text)
            }
            Self::Dispatching { url } => live("dispatch", format!("POST {url}")),
            Self::Dispatched { status, body } => {
                done("dispatch", format!("answered {status}: {body}"))
            }
            Self::WillRetire { component } => done(
                component,
                "will be retired: only its repository, secret and log group stay",
            ),
            Self::WillStop {
                component,
                revision,
            } => done(
                component,
                format!("will be stopped, and {revision} deregistered"),
            ),
            Self::Stopping { component, running } => {
                live(component, format!("stopping: {running} left"))
            }
            Self::Stopped {
                component,
                revision,
            } => done(component, format!("stopped; {revision} is deregistered")),
        }
    }

    fn progress(&self) -> String {
        let Self::Rollout {
            revision,
            running,
            desired,
            pending,
            failed,
            draining,
            waiting_for,
            ..
        } = self
        else {
            return String::new();
        };
        let mut text = format!("{revision}: {running}/{desired} running");
        for (count, what) in [
            (pending, "starting"),
            (failed, "failed"),
            (draining, "of before still running"),
        ] {
            if *count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        if let Some(waiting_for) = waiting_for {
            text.push_str(&format!("; waiting for {waiting_for}"));
        }
        text
    }
}
