//! `bench`: a slow machine is no fault of the services; a worse ratio is.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use xtask::catalog::Service;
use xtask::commands::bench::{BenchParts, bench};
use xtask::decide::outputs::{Architecture, Outputs};
use xtask::ports::{
    AdmissionCounts, CargoRun, LineWatcher, Load, ReleaseByHand, Started, Stopwatch, Subject,
};
use xtask::report::Format;

use crate::world::Fake;
use crate::world::components::{AXON, ECHO, ORBIT};

/// A machine that is `times` slower than another one, and an orbit that takes `orbit` times the
/// processor time of the bare handler.
struct SlowMachine {
    times: u32,
    orbit: u32,
    /// Nothing is put under load.
    no_load: bool,
    /// Those of the services that were started last.
    settings: Mutex<BTreeMap<Service, BTreeMap<String, String>>>,
}

impl SlowMachine {
    fn of(times: u32, orbit: u32) -> Self {
        let settings = Mutex::default();
        Self {
            times,
            orbit,
            no_load: false,
            settings,
        }
    }

    /// The record of a release of all services, which took 12 seconds on a machine that is not slow.
    fn release(&self, number: u64) -> Value {
        let opened = Timestamp::from_second(1_800_000_000).unwrap();
        let took = SignedDuration::from_secs(12) * self.times.cast_signed();
        let entry = |family: &str| {
            let revision = format!("{family}:{number}");
            json!({ "before": null, "after": { "revision": revision, "content": "" } })
        };
        json!({
            "number": number,
            "kind": "release",
            "state": "succeeded",
            "opened": opened,
            "closed": opened + took,
            "who": "ada",
            "where": "laptop",
            "why": "deploy",
            "services": { "axon": entry("demo-axon"), "orbit": entry("demo-orbit") },
            "functions": {},
        })
    }
}

#[async_trait]
impl Stopwatch for SlowMachine {
    async fn starts(
        &self,
        _: Architecture,
        settings: &BTreeMap<Service, BTreeMap<String, String>>,
        _: LineWatcher<'_>,
    ) -> Result<BTreeMap<Subject, Vec<Started>>> {
        *self.settings.lock().unwrap() = settings.clone();
        let start = |milliseconds| Started {
            to_first_200: Duration::from_millis(milliseconds) * self.times,
            resident_bytes: 6_000_000,
        };
        let services = settings.keys().map(|it| Subject::Service(*it));
        let mut starts: BTreeMap<_, _> = services.map(|it| (it, vec![start(3); 3])).collect();
        starts.insert(Subject::Bare, vec![start(1); 3]);
        Ok(starts)
    }

    async fn load(
        &self,
        _: Architecture,
        _: LineWatcher<'_>,
    ) -> Result<BTreeMap<Subject, Vec<Load>>> {
        if self.no_load {
            return Ok(BTreeMap::new());
        }
        let load = |ratio: u32| {
            let cpu = Duration::from_micros(5) * ratio * self.times;
            let p99 = Duration::from_millis(10) * self.times;
            Load::new(1000, Duration::from_secs(4), cpu * 1000, p99, 15_000_000)
        };
        let ratios = [
            (Subject::Bare, 1),
            (Subject::Service(AXON), 2),
            (Subject::Service(ORBIT), self.orbit),
        ];
        Ok(ratios
            .into_iter()
            .map(|(it, ratio)| (it, vec![load(ratio); 3]))
            .collect())
    }

    async fn admission(&self) -> Result<Vec<AdmissionCounts>> {
        let row = |target: &str, fixed, adaptive| AdmissionCounts {
            target: target.to_owned(),
            asked: 3600,
            fixed,
            adaptive,
        };
        Ok(vec![
            row("10 ms", 3600, 3600),
            row("10 then 1000 ms", 1800, 2700),
        ])
    }

    /// As long as two releases of it take.
    async fn release_by_hand(&self, _: &Outputs) -> Result<ReleaseByHand> {
        let ecs = 8.0 * f64::from(self.times);
        Ok(ReleaseByHand {
            ecs,
            by_hand: 5.0 * ecs,
        })
    }

    async fn run_self(&self, arguments: &[&str]) -> Result<(Duration, CargoRun)> {
        let output = match arguments[0] {
            "releases" => json!([self.release(3), self.release(1)]).to_string(),
            "rollback" => json!({ "release": 4 }).to_string(),
            _ => "nothing to do".to_owned(),
        };
        let run = CargoRun {
            succeeded: true,
            output,
        };
        Ok((Duration::from_secs(1) * self.times, run))
    }
}

async fn output_of(fake: &Fake, stopwatch: &SlowMachine) -> String {
    let output = fake
        .run_in(Format::Human, async |context| {
            let parts = BenchParts {
                wanted: Vec::new(),
                catalog: context.catalog,
                source: context.source,
                builder: context.builder,
                stopwatch,
                report: context.report,
                architecture: Architecture::X86,
                environment: context.environment,
                deploys: true,
            };
            bench(&parts).await
        })
        .await;
    output.succeeds();
    output.data
}

#[tokio::test(start_paused = true)]
async fn a_slow_machine_is_no_fault() {
    let output = output_of(&Fake::empty(), &SlowMachine::of(50, 14)).await;
    assert!(
        output.contains("axon            start against bare      3.0 x"),
        "{output}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_grew_beside_the_bare_handler_of_the_same_run_is_told() {
    let output = output_of(&Fake::empty(), &SlowMachine::of(1, 16)).await;
    let line = "orbit           CPU against bare       16.0 x";
    assert!(output.lines().any(|found| found == line), "{output}");
    let limits = output.lines().filter(|line| line.contains("at most"));
    assert_eq!(limits.count(), 0, "{output}");
}

/// With the settings of its definition, and without AWS.
#[tokio::test(start_paused = true)]
async fn every_service_is_started_with_its_own_settings() {
    let fake = Fake::empty();
    fake.add_echo();
    fake.edit_template(ECHO, "\"DEADLINE_MS\"", "\"ITS_OWN\"");
    let machine = SlowMachine::of(1, 1);
    let output = output_of(&fake, &machine).await;
    for what in ["image, packed", "start to first 200", "idle memory"] {
        let line = format!("{:<15} {what}", ECHO.name());
        assert!(output.contains(&line), "{line}: {output}");
    }
    let settings = machine.settings.lock().unwrap();
    let services: Vec<_> = settings.keys().copied().collect();
    assert_eq!(services, [AXON, ECHO, ORBIT]);
    assert_eq!(settings[&ECHO]["ITS_OWN"], "10000");
    assert_eq!(settings[&ECHO]["SIGNATURES"], "off");
    assert_eq!(settings[&ECHO].get("ECHO_SECRET_ARN"), None);
    assert_eq!(
        settings[&ORBIT]["GOVERNANCE_FUNCTION_NAME"],
        "demo-governance:live"
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_services_under_load_the_rest_is_measured() {
    let fake = Fake::empty();
    let machine = SlowMachine {
        no_load: true,
        ..SlowMachine::of(1, 1)
    };
    let output = output_of(&fake, &machine).await;
    assert!(output.contains("idle memory"), "{output}");
    assert!(!output.contains("CPU a request"), "{output}");
}

#[tokio::test(start_paused = true)]
async fn admission_is_told_by_the_time_of_its_target_and_both_limits() {
    let output = output_of(&Fake::empty(), &SlowMachine::of(1, 1)).await;
    for line in [
        "10 ms           in time, fixed       3600.0 of 3600",
        "10 then 1000 ms in time, fixed       1800.0 of 3600",
        "10 then 1000 ms in time, adaptive    2700.0 of 3600",
    ] {
        assert!(output.lines().any(|found| found == line), "{output}");
    }
}

/// On a slow machine as on a fast one.
#[tokio::test(start_paused = true)]
async fn a_release_is_compared_with_ecs_alone_and_with_the_same_by_hand() {
    for times in [1, 50] {
        let output = output_of(&Fake::empty(), &SlowMachine::of(times, 1)).await;
        for line in [
            "release         against ECS alone       1.5 x",
            "release         against by hand         0.3 x",
        ] {
            assert!(output.lines().any(|found| found == line), "{output}");
        }
    }
}
