//! What a record says of a release.

use anyhow::Result;

use crate::ports::Context;
use crate::release::About;

pub async fn about(context: &Context<'_>, why: &str) -> Result<About> {
    let commit = context.source.commit().await?;
    Ok(About {
        who: context.user.name.clone(),
        host: context.user.host.clone(),
        why: why.to_owned(),
        dirty: commit.as_ref().is_some_and(|commit| commit.dirty),
        commit: commit.map(|commit| commit.id),
    })
}
