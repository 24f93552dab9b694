//! The secrets of a service: loaded before its port is bound, refreshed while it runs. Every
//! value is a `SecretString`, and intermediate copies are zeroed, except for the buffers of the
//! SDK and of TLS and the process's environment, which the kit cannot zero.

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
use loaded::SecretValues;
use refresh::{Refresher, SecretCache};
use source::SecretSource;

/// The current secrets other than keys. They change at a refresh, so read them for each use.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Option<watch::Receiver<Arc<SecretValues>>>);

impl Secrets {
    pub fn database_url(&self) -> Option<SecretString> {
        self.0.as_ref()?.borrow().database_url.clone()
    }

    pub fn api_key(&self) -> Option<SecretString> {
        self.0.as_ref()?.borrow().api_key.clone()
    }
}

/// The secrets, and the task that refreshes them.
pub(crate) struct LoadedSecrets {
    pub(crate) secrets: Secrets,
    pub(crate) keys: Option<KeyRing>,
    pub(crate) refresher: Refresher,
}

/// Loads all secrets, with a few attempts.
pub(crate) async fn load(
    settings: &Base,
    source: SecretSource,
    metrics: &Metrics,
) -> Result<LoadedSecrets, SecretsError> {
    let what = settings.secret_arn.as_deref().map_or_else(
        || "the encrypted settings".to_owned(),
        |arn| format!("the secret {arn}"),
    );
    let loaded = refresh::first(&what, async || Box::pin(source.load()).await).await?;
    if let Some(version_id) = &loaded.version_id {
        tracing::info!(version_id, "the secret is loaded");
    }
    let (values, secrets) = watch::channel(Arc::new(loaded.values));
    let (keys, ring) = loaded.keys.map(KeyRing::new).unzip();
    let secrets = Secrets(Some(secrets));
    let cache = SecretCache::new(loaded.version_id, values, keys, metrics);
    Ok(LoadedSecrets {
        secrets,
        keys: ring,
        refresher: Refresher {
            source,
            what,
            interval: Duration::from_millis(settings.secret_refresh_ms),
            cache,
        },
    })
}
