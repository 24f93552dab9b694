//! Time is paused and there is no jitter, so times are exact.

use std::cell::RefCell;
use std::collections::VecDeque;

use secrecy::ExposeSecret as _;

use super::*;
use crate::secrets::Secrets;
use crate::{KeyPair, KeyRing};

const INTERVAL: Duration = Duration::from_mins(5);

fn loaded(version: &str) -> DecryptedSecrets {
    DecryptedSecrets {
        version_id: Some(version.to_owned()),
        values: SecretValues {
            database_url: None,
            api_key: Some(format!("api key of {version}").into()),
        },
        keys: Some(KeyPairs {
            current: KeyPair {
                access_key_id: version.to_owned(),
                secret_access_key: "very-secret".into(),
            },
            previous: None,
        }),
    }
}

fn invalid() -> SecretsError {
    SecretsError::Invalid {
        arn: "arn:x".to_owned(),
        faults: vec!["api_key is not a string".to_owned()],
    }
}

/// Returns one result after the other; hangs where there are no more.
struct QueuedResults(RefCell<VecDeque<Result<DecryptedSecrets, SecretsError>>>);

impl QueuedResults {
    fn new(answers: impl IntoIterator<Item = Result<DecryptedSecrets, SecretsError>>) -> Self {
        Self(RefCell::new(answers.into_iter().collect()))
    }

    async fn next(&self) -> Result<DecryptedSecrets, SecretsError> {
        let next = self.0.borrow_mut().pop_front();
        match next {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

/// A cache with version `one`, and its readers.
fn cache(metrics: &Metrics) -> (SecretCache, Secrets, KeyRing) {
    let one = loaded("one");
    let (values, secrets) = watch::channel(Arc::new(one.values));
    let (keys, ring) = KeyRing::new(one.keys.unwrap());
    let cache = SecretCache::new(one.version_id, values, Some(keys), metrics);
    (cache, Secrets(Some(secrets)), ring)
}

#[tokio::test(start_paused = true)]
async fn at_the_start_it_is_tried_three_times() {
    let began = Instant::now();
    let answers = QueuedResults::new([Err(invalid()), Err(invalid()), Ok(loaded("one"))]);
    let first = super::first("the secret", || answers.next()).await.unwrap();
    assert_eq!(first.version_id.as_deref(), Some("one"));
    assert_eq!(began.elapsed(), FIRST_PAUSE * 3);

    let answers = QueuedResults::new([
        Err(invalid()),
        Err(invalid()),
        Err(invalid()),
        Ok(loaded("one")),
    ]);
    let error = super::first("the secret", || answers.next())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the secret arn:x cannot be used: api_key is not a string"
    );
}

#[tokio::test(start_paused = true)]
async fn at_the_start_no_answer_is_an_end_too() {
    let began = Instant::now();
    let answers = QueuedResults::new([]);
    let error = super::first("the secret arn:x", || answers.next())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the secret arn:x cannot be read within 3 s"
    );
    assert!(began.elapsed() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_new_version_is_seen_by_all_and_the_last_good_one_is_kept() {
    let metrics = Metrics::default();
    let age = metrics.gauge("secret_age", Unit::Seconds, &[]);
    let failures = metrics.counter("secret_refresh_failures", &[]);
    let (cache, secrets, ring) = cache(&metrics);
    let answers = QueuedResults::new([
        Ok(loaded("one")),
        Ok(loaded("two")),
        Err(invalid()),
        Err(invalid()),
        Ok(loaded("three")),
    ]);
    let seen = || {
        let api_key = secrets.api_key().unwrap();
        let api_key = api_key.expose_secret();
        let id = ring.pairs().current.access_key_id.clone();
        assert_eq!(api_key, format!("api key of {id}"));
        (id, age.get().round(), failures.take())
    };
    let watched = async {
        let mut seen_at = Vec::new();
        // Reads 20 s after each refresh.
        sleep(Duration::from_secs(20)).await;
        for _ in 0..7 {
            seen_at.push(seen());
            sleep(INTERVAL).await;
        }
        seen_at
    };
    let seen_at = tokio::select! {
        seen_at = watched => seen_at,
        never = keep_fresh("the secret", || answers.next(), || INTERVAL, cache) => match never {},
    };
    let expected = [
        ("one", 15.0, 0),
        ("one", 15.0, 0),
        ("two", 15.0, 0),
        ("two", 315.0, 1),
        ("two", 615.0, 1),
        ("three", 15.0, 0),
        // There is no sixth result: after 3 s that is a failure as well.
        ("three", 318.0, 1),
    ];
    let expected = expected.map(|(id, age, failures)| (id.to_owned(), age, failures));
    assert_eq!(seen_at, expected);
}

#[test]
fn jitter_is_a_tenth_in_either_direction() {
    let millis = |chance| spread(Duration::from_secs(100), chance).as_millis();
    assert_eq!(
        [millis(0.0), millis(0.5), millis(1.0)],
        [90_000, 100_000, 110_000]
    );
}
