//! Twenty components: what is asked of AWS about each of them is asked at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use xtask::catalog::Service;
use xtask::commands;

use crate::world::components::COMPONENTS;
use crate::world::{CommandOutput, Fake};

/// How long AWS takes for an answer.
const ANSWER_TIME: Duration = Duration::from_millis(5);
const MANY: usize = 20;

/// An environment of so many components, all released.
async fn released(count: usize) -> Fake {
    let new = (COMPONENTS.len()..count).map(|index| format!("s{index}").parse().unwrap());
    let new: Vec<Service> = new.collect();
    let fake = Fake::empty();
    fake.add_services(&new);
    let fake = fake.released_anew().await;
    assert_eq!(fake.state().catalog.components().len(), count);
    fake.state().answer_time = ANSWER_TIME;
    fake
}

/// What a command asked of AWS, and how long it waited for that.
struct AwsCost {
    waited: Duration,
    /// By the first word of the call.
    calls: BTreeMap<String, usize>,
}

impl AwsCost {
    async fn by(fake: &Fake, command: impl Future<Output = CommandOutput>) -> Self {
        let before = fake.calls().len();
        let start = Instant::now();
        command.await.succeeds();
        let waited = start.elapsed();
        let mut calls = BTreeMap::new();
        for call in &fake.calls()[before..] {
            let word = call.split(' ').next().unwrap();
            *calls.entry(word.to_owned()).or_default() += 1;
        }
        Self { waited, calls }
    }

    /// At most twice as long as another one.
    #[track_caller]
    fn takes_at_most_twice(&self, few: &Self, command: &str) {
        assert!(few.waited >= ANSWER_TIME, "{command}");
        assert!(
            self.waited <= few.waited * 2,
            "{command}: {:?} for {MANY} components, {:?} for {}; {:?}",
            self.waited,
            few.waited,
            COMPONENTS.len(),
            self.calls
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deploy_with_nothing_to_do_waits_at_most_twice_as_long() {
    for is_local in [true, false] {
        let [few, many] = [COMPONENTS.len(), MANY].map(async |count| {
            let fake = Box::pin(released(count)).await;
            if !is_local {
                fake.is_not_local();
            }
            let asked = AwsCost::by(&fake, Box::pin(fake.deploy_all())).await;
            assert_eq!(fake.changes(), [""; 0]);
            asked
        });
        let (few, many) = (few.await, many.await);
        many.takes_at_most_twice(&few, "deploy");
        assert_eq!(
            (few.calls["look"], many.calls["look"]),
            (2, 3),
            "ten a call"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn looking_waits_at_most_twice_as_long() {
    let (few, many) = (released(COMPONENTS.len()).await, released(MANY).await);
    let plans = [&few, &many].map(async |fake| {
        let components = fake.state().catalog.components();
        let plan = fake.run_on_outputs(async |context, outputs| {
            commands::plan::plan(context, outputs, &components, false).await
        });
        AwsCost::by(fake, plan).await
    });
    let [few_planned, many_planned] = plans;
    let few_planned = few_planned.await;
    many_planned.await.takes_at_most_twice(&few_planned, "plan");

    let status = |fake: &Fake| {
        let fake = fake.clone();
        async move {
            let status = fake.run_on_outputs(commands::status::status);
            AwsCost::by(&fake, status).await
        }
    };
    let few_shown = status(&few).await;
    status(&many)
        .await
        .takes_at_most_twice(&few_shown, "status");
}
