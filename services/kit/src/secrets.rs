//! What a service must keep to itself: loaded before its port is bound, refreshed while it runs.
//! Every value is a `SecretString`, and what is read on the way to it is zeroed. Not ours to zero
//! are the buffers of the SDK and of TLS, and the process's environment.

mod document;
mod error;
mod loaded;
mod refresh;
pub(crate) mod source;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;

use crate::settings::Base;
use crate::{KeyRing, Metrics};
use error::SecretsError;
use loaded::Values;
use refresh::{Refresher, Shelf};
use source::Source;

/// What is known now of the service's secrets, but for its keys. Whoever needs one asks each time.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Option<watch::Receiver<Arc<Values>>>);

impl Secrets {
    pub fn database_url(&self) -> Option<SecretString> {
        self.0.as_ref()?.borrow().database_url.clone()
    }

    pub fn api_key(&self) -> Option<SecretString> {
        self.0.as_ref()?.borrow().api_key.clone()
    }
}

/// What was loaded, and what keeps it fresh.
pub(crate) struct Held {
    pub(crate) secrets: Secrets,
    pub(crate) keys: Option<KeyRing>,
    pub(crate) refresher: Refresher,
}

/// Loads everything, with a few tries.
pub(crate) async fn load(
    settings: &Base,
    source: Source,
    metrics: &Metrics,
) -> Result<Held, SecretsError> {
    let what = settings.secret_arn.as_deref().map_or_else(
        || "the settings that are ciphertext".to_owned(),
        |arn| format!("the secret {arn}"),
    );
    let loaded = refresh::first(&what, async || Box::pin(source.load()).await).await?;
    if let Some(version_id) = &loaded.version_id {
        tracing::info!(version_id, "the secret is loaded");
    }
    let (values, secrets) = watch::channel(Arc::new(loaded.values));
    let (keys, ring) = loaded.keys.map(KeyRing::new).unzip();
    let secrets = Secrets(Some(secrets));
    let shelf = Shelf::new(loaded.version_id, values, keys, metrics);
    Ok(Held {
        secrets,
        keys: ring,
        refresher: Refresher {
            source,
            what,
            interval: Duration::from_millis(settings.secret_refresh_ms),
            shelf,
        },
    })
}
