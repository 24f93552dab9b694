//! A pipeline's role may act on the components that its policies name. A release that it cannot
//! finish is refused before anything is built.

use anyhow::Result;
use futures_util::future::join_all;

use crate::catalog::Component;
use crate::decide::outputs::Outputs;
use crate::decide::release::snapshot::Snapshot;
use crate::failure::{self, Failure, Kind};
use crate::ports::Context;

/// No task has a stream of this name. CloudWatch Logs checks the permission first.
const NO_STREAM: &str = "none";

/// Refuses components of which nothing runs yet and that the credentials are not for. Every policy
/// of a role names the same components, and a component's log is what it may read of each.
pub async fn require(
    context: &Context<'_>,
    outputs: &Outputs,
    components: &[Component],
    snapshot: &Snapshot,
) -> Result<()> {
    let new = components.iter().filter(|it| !snapshot.runs(**it));
    let reads = new.map(async |component| {
        let group = outputs.log_group(*component);
        let read = context.logs.tail(group, NO_STREAM, 1).await;
        read.err().map(|error| (*component, error))
    });
    let denied = join_all(reads).await.into_iter().flatten();
    let denied = denied.filter(|(_, error)| failure::is(error, Kind::Denied));
    let denied: Vec<String> = denied
        .map(|(it, error)| format!("{it}: {error:#}"))
        .collect();
    if denied.is_empty() {
        return Ok(());
    }
    Err(unknown_components(context, &denied.join("\n")).into())
}

/// An error of a call that the credentials are not permitted to make has the commands as its hint.
pub fn explain(context: &Context<'_>, error: anyhow::Error) -> anyhow::Error {
    if failure::is(&error, Kind::Denied) {
        unknown_components(context, &format!("{error:#}")).into()
    } else {
        error
    }
}

fn unknown_components(context: &Context<'_>, denied: &str) -> Failure {
    let environment = &context.environment.name;
    let message = format!("these credentials may not release all components:\n{denied}");
    let hint = format!(
        "where a component is new, a person updates the pipeline's roles, and the job runs again:\n\
         cd infra/bootstrap\n\
         terraform init -backend-config=../environments/{environment}.s3.tfbackend \
         -backend-config=key=bootstrap.tfstate\n\
         terraform apply -var-file=../environments/{environment}.tfvars.json"
    );
    Failure::new(Kind::Denied, message).hint(hint)
}
