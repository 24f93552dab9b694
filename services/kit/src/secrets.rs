//! What a service must keep to itself: loaded before its port is bound, refreshed while it runs.
//! Every value is a `SecretString`, and what is read on the way to it is zeroed. Not ours to zero
//! are the buffers of the SDK and of TLS, and the process's environment.

mod document;
mod refresh;
mod source;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;

use crate::settings::Base;
use crate::{KeyPairs, KeyRing, Parts};
use refresh::{Refresher, Shelf};
use source::Source;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsError {
    #[error("the secret {arn} cannot be read")]
    Read {
        arn: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the secret {arn} cannot be used: {}", faults.join("; "))]
    Invalid { arn: String, faults: Vec<String> },
    #[error(
        "values cannot be decrypted under the encryption context {{\"service\": \"{service}\"}}: {}",
        faults.join("; ")
    )]
    Decrypt {
        service: &'static str,
        faults: Vec<String>,
    },
    #[error("{what} cannot be read within {} s", limit.as_secs())]
    Late { what: String, limit: Duration },
}

/// What is known now of the service's secrets, but for its keys. Whoever needs one asks each time.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Option<watch::Receiver<Arc<Values>>>);

#[derive(Clone, Debug, Default)]
struct Values {
    database_url: Option<SecretString>,
    api_key: Option<SecretString>,
}

impl Secrets {
    pub fn database_url(&self) -> Option<SecretString> {
        self.0.as_ref()?.borrow().database_url.clone()
    }

    pub fn api_key(&self) -> Option<SecretString> {
        self.0.as_ref()?.borrow().api_key.clone()
    }
}

/// One version of all secrets, complete and decrypted.
#[derive(Debug)]
struct Loaded {
    version_id: Option<String>,
    values: Values,
    /// Where signatures are required.
    keys: Option<KeyPairs>,
}

/// What was loaded, and what keeps it fresh.
pub(crate) struct Held {
    pub(crate) secrets: Secrets,
    pub(crate) keys: Option<KeyRing>,
    pub(crate) refresher: Refresher,
}

/// Loads everything, with a few tries.
pub(crate) async fn load(settings: &Base, parts: &Parts) -> Result<Held, SecretsError> {
    let source = Source::new(settings, parts.service, &parts.aws);
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
    let shelf = Shelf::new(loaded.version_id, values, keys, &parts.metrics);
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
