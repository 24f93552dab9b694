//! Axon where signatures are required.

use axon::{SERVICE, Settings, app};
use axum::body::Body;
use http::Request;
use service_kit::settings::{Reader, SettingsSource, Signatures};
use service_kit::sigv4::SignatureSetupError;
use service_kit::{Clock, Dependencies, KeyPair, KeyPairs, KeyRing};

fn settings() -> Settings {
    let source = SettingsSource {
        variable: &|_| None,
        file: &|_| unreachable!(),
    };
    let mut settings = Settings::read(&mut Reader::new(&source));
    settings.base.signatures = Signatures::ByPairs;
    settings.base.region = Some("eu-west-1".to_owned());
    settings
}

fn dependencies(keys: Option<KeyRing>) -> Dependencies {
    Dependencies {
        keys,
        ..Dependencies::new(SERVICE, Clock::system())
    }
}

#[tokio::test]
async fn reason_needs_a_signature_and_health_does_not() {
    let (_keeper, keys) = KeyRing::new(KeyPairs {
        current: KeyPair {
            access_key_id: "AKID".to_owned(),
            secret_access_key: "secret".into(),
        },
        previous: None,
    });
    let dependencies = dependencies(Some(keys));
    dependencies.lifecycle.ready(None);
    let app = app(&settings(), &dependencies).unwrap();
    for (path, status) in [("/reason", 401), ("/health", 200), ("/dispatch", 404)] {
        let request = Request::get(path)
            .header("Host", "x")
            .body(Body::empty())
            .unwrap();
        let response = app.answer(request).await;
        assert_eq!(response.status(), status, "{path}");
    }
}

#[test]
fn without_keys_it_does_not_start() {
    let refused = app(&settings(), &dependencies(None)).err().unwrap();
    assert!(matches!(refused, SignatureSetupError::NoKeys), "{refused}");
}
