//! Axon on a free port, which requires signatures.

use axon::{SERVICE, Settings};
use service_kit::settings::{Reader, SettingsSource, Signatures};
use service_kit::{Clock, Dependencies, KeyPair, KeyPairs, KeyRing, server};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, Sender};

/// Serves until it is dropped.
pub struct SignedAxon {
    pub key_id: &'static str,
    pub secret: &'static str,
    port: u16,
    _signals: Sender<()>,
    _runtime: Runtime,
}

impl SignedAxon {
    pub fn start() -> Self {
        let (key_id, secret) = ("AKIDOFTHETESTS", "a secret/with+marks");
        let (keeper, keys) = KeyRing::new(KeyPairs {
            current: KeyPair {
                access_key_id: key_id.to_owned(),
                secret_access_key: secret.into(),
            },
            previous: None,
        });
        drop(keeper);
        let dependencies = Dependencies {
            keys: Some(keys),
            ..Dependencies::new(SERVICE, Clock::system())
        };
        let source = SettingsSource {
            variable: &|_| None,
            file: &|_| unreachable!("no setting of axon's is a file"),
        };
        let mut settings = Settings::read(&mut Reader::new(&source));
        settings.base.signatures = Signatures::ByPairs;
        settings.base.region = Some("eu-west-1".to_owned());
        let app = axon::app(&settings, &dependencies).expect("axon");

        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let (signals, received) = mpsc::channel(1);
        runtime.spawn(async move {
            server::serve(
                listener,
                app,
                &settings.base,
                &dependencies.lifecycle,
                received,
            )
            .await
        });
        Self {
            key_id,
            secret,
            port,
            _signals: signals,
            _runtime: runtime,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}
