//! First values of the environment's secrets.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::Confirmed;
use crate::catalog::Service;
use crate::decide::outputs::Outputs;
use crate::ports::Context;
use crate::report::SecretsEvent;

/// Puts a document into the secret of each of these services.
pub async fn give_values(
    context: &Context<'_>,
    outputs: &Outputs,
    documents: &BTreeMap<Service, Value>,
    _: Confirmed,
) -> Result<()> {
    for (service, document) in documents {
        let arn = &outputs.service(*service).secret_arn;
        context.secrets.put_secret_value(arn, document).await?;
        let component = (*service).into();
        context.report.emit(SecretsEvent::SecretSet { component });
    }
    Ok(())
}
