//! `secrets init`: what has no value gets one. `secrets rotate`: a new signing pair, and never one
//! that axon does not know. No value is told.

use serde_json::Value;
use tokio::time::Instant;
use xtask::catalog::Thing;
use xtask::commands::deploy::published_site;
use xtask::commands::secrets::{init, rotate};
use xtask::decide::rotation::{SigningPair, offered, retired, switched};

use crate::world::{Fake, SECRET_REFRESH, SecretVersion, Told, Way, secret_arn};

async fn give_values(fake: &Fake) -> Told {
    fake.run(async |desk| {
        let site = published_site(desk).await?.unwrap();
        init(desk, &site, false).await
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn secrets_that_have_a_value_are_left_alone() {
    let fake = Fake::applied();
    give_values(&fake)
        .await
        .succeeds()
        .says(&["axon        has its secret already"]);
    assert_eq!(fake.changes(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn locally_both_get_made_up_values_and_the_same_signing_pair() {
    let fake = Fake::applied();
    fake.state().secrets.clear();
    let told = give_values(&fake).await;
    told.succeeds();
    let state = fake.state();
    let secret = |thing: Thing| &state.secrets[&secret_arn(thing)];
    let (axon, orbit) = (secret(Thing::Axon), secret(Thing::Orbit));
    for field in ["sigv4_access_key_id", "sigv4_secret_access_key"] {
        assert_eq!(axon[field], orbit[field]);
    }
    for field in ["database_url", "api_key"] {
        assert_ne!(axon[field], orbit[field]);
    }
    for document in [axon, orbit] {
        for (name, value) in document.as_object().unwrap() {
            let value = value.as_str().unwrap();
            assert!(!value.is_empty(), "{name} is empty");
            let everything = format!("{}{}", told.data, told.talk);
            assert!(!everything.contains(value), "{name} is told");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_service_gets_the_signing_pair_of_the_first() {
    let fake = Fake::applied();
    fake.state().secrets.remove(&secret_arn(Thing::Orbit));
    give_values(&fake).await.succeeds();
    assert_eq!(fake.changes(), ["put demo/local/orbit-GhIjKl"]);
    let state = fake.state();
    let pair = |thing: Thing| &state.secrets[&secret_arn(thing)]["sigv4_secret_access_key"];
    assert_eq!(pair(Thing::Orbit), pair(Thing::Axon));
}

const ROTATION: [&str; 3] = [
    "put demo/local/axon-AbCdEf",
    "put demo/local/orbit-GhIjKl",
    "put demo/local/axon-AbCdEf",
];

async fn rotate_key(fake: &Fake, yes: bool) -> Told {
    fake.run_on_site(async |desk, world| rotate(desk, world, yes).await)
        .await
}

fn document(fake: &Fake, thing: Thing) -> Value {
    fake.state().secrets[&secret_arn(thing)].clone()
}

fn put(fake: &Fake, thing: Thing, document: Value) {
    fake.state().secrets.insert(secret_arn(thing), document);
}

fn new_pair() -> SigningPair {
    SigningPair {
        access_key_id: "AKXTNEW".to_owned(),
        secret_access_key: "secret-of-the-new-signature".to_owned(),
    }
}

/// Both have one pair that is not the first, everything else is as it was, and nothing was told.
#[track_caller]
fn is_rotated(fake: &Fake, first: &Value, told: &Told) {
    let (axon, orbit) = (document(fake, Thing::Axon), document(fake, Thing::Orbit));
    let everything = format!("{}{}", told.data, told.talk);
    for name in ["sigv4_access_key_id", "sigv4_secret_access_key"] {
        assert_eq!(axon[name], orbit[name]);
        assert_ne!(axon[name], first[name]);
        assert!(
            !everything.contains(axon[name].as_str().unwrap()),
            "{name} is told"
        );
    }
    for document in [&axon, &orbit] {
        assert_eq!(document.as_object().unwrap().len(), 4);
        assert_eq!(document["api_key"], first["api_key"]);
    }
    assert!(!everything.contains("secret-of"), "{everything}");
}

/// Whatever versions the tasks have at any time, each of its own: axon knows what orbit signs with.
#[track_caller]
fn every_dispatch_was_answered(fake: &Fake, first: &Value) {
    let versions = fake.state().secret_versions.clone();
    let of = |thing: Thing| -> Vec<&SecretVersion> {
        { versions.iter() }
            .filter(|it| it.arn == secret_arn(thing))
            .collect()
    };
    // At a time a task has the newest version, or one that was replaced less than a refresh ago.
    let held = |thing: Thing, now: Instant| -> Vec<Value> {
        let of = of(thing);
        let mut held = Vec::new();
        let ends = of.iter().map(|it| Some(it.at)).chain([None]);
        let documents = std::iter::once(first).chain(of.iter().map(|it| &it.document));
        let begins = std::iter::once(None).chain(of.iter().map(|it| Some(it.at)));
        for ((document, begin), end) in documents.zip(begins).zip(ends) {
            let has_begun = begin.is_none_or(|begin| begin <= now);
            let is_over = end.is_some_and(|end| end + SECRET_REFRESH <= now);
            if has_begun && !is_over {
                held.push(document.clone());
            }
        }
        held
    };
    for version in &versions {
        for now in [version.at, version.at + SECRET_REFRESH] {
            for orbit in held(Thing::Orbit, now) {
                for axon in held(Thing::Axon, now) {
                    let signs = &orbit["sigv4_access_key_id"];
                    let known = [
                        &axon["sigv4_access_key_id"],
                        &axon["sigv4_previous_access_key_id"],
                    ];
                    assert!(
                        known.contains(&signs),
                        "orbit signs with what axon does not know"
                    );
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_offers_switches_and_retires_and_no_dispatch_fails() {
    let fake = Fake::released().await;
    let first = document(&fake, Thing::Axon);
    let told = rotate_key(&fake, false).await;
    told.succeeds().says(&[
        "axon gets a new key beside the old one",
        "all 2 tasks have the current version of their secret",
        "is to sign with the new key",
        "is to forget the old key",
        "done",
    ]);
    assert_eq!(fake.changes(), ROTATION);
    is_rotated(&fake, &first, &told);
    every_dispatch_was_answered(&fake, &first);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_gone_on_with_from_where_it_stands() {
    for (orbit_switched, changes) in [(false, &ROTATION[1..]), (true, &ROTATION[2..])] {
        let fake = Fake::released().await;
        let first = document(&fake, Thing::Axon);
        let axon = offered(&first, &new_pair());
        if orbit_switched {
            put(
                &fake,
                Thing::Orbit,
                switched(&document(&fake, Thing::Orbit), &axon),
            );
        }
        put(&fake, Thing::Axon, axon);
        let told = rotate_key(&fake, false).await;
        told.succeeds().says(&["going on: "]);
        assert_eq!(fake.changes(), changes);
        is_rotated(&fake, &first, &told);
        let new = SigningPair::current(&retired(&document(&fake, Thing::Orbit)));
        assert!(new == Some(new_pair()));
    }
}

/// Each call about a secret once fails, once loses its answer and once is met by Ctrl-C: the next
/// run ends it.
#[tokio::test(start_paused = true)]
async fn wherever_a_rotation_ends_the_next_run_goes_on() {
    let fake = Fake::released().await;
    let before = fake.calls().len();
    rotate_key(&fake, false).await.succeeds();
    // Of the looks at the tasks, which are many, none changes anything.
    let calls = fake.calls().split_off(before);
    let indices = { 0..calls.len() }.filter(|index| calls[*index].contains(":secret:"));
    let indices: Vec<usize> = indices.collect();
    assert!(indices.len() > 8, "{calls:?}");
    for way in [Way::Fails, Way::LosesItsAnswer, Way::IsInterrupted] {
        for index in indices.iter().copied() {
            let fake = Fake::released().await;
            let first = document(&fake, Thing::Axon);
            fake.spoil(index, way);
            let broken = rotate_key(&fake, false).await;
            assert!([0, 1, 22].contains(&broken.exit_code), "{}", broken.talk);
            let told = rotate_key(&fake, false).await;
            told.succeeds();
            is_rotated(&fake, &first, &told);
            every_dispatch_was_answered(&fake, &first);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_that_do_not_take_their_secret_up_stop_a_rotation() {
    let fake = Fake::released().await;
    let first = document(&fake, Thing::Axon);
    fake.state().keeps_its_secret = Some(Thing::Axon);
    rotate_key(&fake, false).await.fails(22).says(&[
        "axon did not take its secret up within 390 s: task-0, task-1 have not logged version version-1",
        "cargo xtask secrets rotate",
    ]);
    assert_eq!(fake.changes(), ROTATION[..1]);
    fake.state().keeps_its_secret = None;
    let told = rotate_key(&fake, false).await;
    told.succeeds();
    is_rotated(&fake, &first, &told);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_elsewhere_is_confirmed() {
    let fake = Fake::released().await;
    fake.is_not_local();
    rotate_key(&fake, false)
        .await
        .fails(11)
        .says(&["not confirmed: rotate the signing key"]);
    assert_eq!(fake.changes(), [""; 0]);
    rotate_key(&fake, true).await.succeeds();
}

#[tokio::test(start_paused = true)]
async fn secrets_that_do_not_fit_together_are_not_rotated() {
    let fake = Fake::released().await;
    let orbit = document(&fake, Thing::Orbit);
    put(
        &fake,
        Thing::Orbit,
        switched(&orbit, &offered(&orbit, &new_pair())),
    );
    let message = "orbit signs with a key that axon does not have";
    rotate_key(&fake, false).await.fails(12).says(&[message]);
    fake.state().secrets.remove(&secret_arn(Thing::Orbit));
    let message = "the secret of orbit has no value";
    rotate_key(&fake, false)
        .await
        .fails(12)
        .says(&[message, "cargo xtask secrets init"]);
    assert_eq!(fake.changes(), [""; 0]);
}
