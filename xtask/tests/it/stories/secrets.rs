//! `secrets init`: each secret without a value gets one, and no value is printed.

use xtask::catalog::Service;
use xtask::commands::secrets::init;
use xtask::planning::outputs::required;

use crate::world::components::{AXON, ORBIT};
use crate::world::{CommandOutput, Fake, secret_arn};

async fn give_values(fake: &Fake) -> CommandOutput {
    fake.run(async |context| {
        let outputs = required(context).await?;
        init(context, &outputs, false).await
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
    let output = give_values(&fake).await;
    output.succeeds();
    let state = fake.state();
    let secret = |service: Service| &state.secrets[&secret_arn(service)];
    let (axon, orbit) = (secret(AXON), secret(ORBIT));
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
            let everything = format!("{}{}", output.data, output.talk);
            assert!(!everything.contains(value), "{name} is printed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_service_gets_the_signing_pair_of_the_first() {
    let fake = Fake::applied();
    fake.state().secrets.remove(&secret_arn(ORBIT));
    give_values(&fake).await.succeeds();
    assert_eq!(fake.changes(), ["put demo/local/orbit-GhIjKl"]);
    let state = fake.state();
    let pair = |service: Service| &state.secrets[&secret_arn(service)]["sigv4_secret_access_key"];
    assert_eq!(pair(ORBIT), pair(AXON));
}
