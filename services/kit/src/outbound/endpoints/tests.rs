//! Time is paused, random choices have a seed, and the resolver answers as each test says.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use tokio::time::sleep;

use super::*;
use crate::TrustRoots;
use crate::outbound::guard::{CallError, Guard};
use crate::outbound::resolver::{ResolvedAddresses, ShuffledResolver};
use crate::outbound::retry::AttemptOutcome;

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(10);

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

fn addresses(numbers: impl IntoIterator<Item = u8>) -> Vec<SocketAddr> {
    numbers.into_iter().map(address).collect()
}

/// What the resolver answers; `None` is never.
type ScriptedAnswer = Option<Result<Vec<SocketAddr>, io::ErrorKind>>;

#[derive(Clone, Default)]
struct ScriptedResolver(Arc<Mutex<(ScriptedAnswer, usize)>>);

impl fmt::Debug for ScriptedResolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ScriptedResolver")
    }
}

impl Resolver for ScriptedResolver {
    fn resolve(&self, _: &str, _: u16) -> ResolvedAddresses {
        let mut script = self.0.lock().unwrap();
        script.1 += 1;
        let answer = script.0.clone();
        drop(script);
        Box::pin(async move {
            match answer {
                Some(answer) => answer.map_err(io::Error::from),
                None => std::future::pending().await,
            }
        })
    }
}

struct EndpointsTest {
    endpoints: Endpoints,
    metrics: Metrics,
    resolver: ScriptedResolver,
}

impl EndpointsTest {
    /// The first question is answered so.
    async fn resolving(answer: Vec<SocketAddr>) -> Self {
        fastrand::seed(7);
        let (metrics, resolver) = (Metrics::default(), ScriptedResolver::default());
        let name = TargetName {
            resolver: Arc::new(resolver.clone()),
            host: "tested".to_owned(),
            port: 80,
        };
        let url = Uri::from_static("http://tested/");
        let shuffled = ShuffledResolver(Arc::new(resolver.clone()));
        let client = HttpClient::resolving(&url, None, &TrustRoots::default(), shuffled);
        let scene = Self {
            endpoints: Endpoints::new("tested", client, Some(name), &metrics),
            metrics,
            resolver,
        };
        scene.answer(Some(Ok(answer)));
        scene.pass(0).await;
        scene
    }

    fn answer(&self, answer: ScriptedAnswer) {
        self.resolver.0.lock().unwrap().0 = answer;
    }

    /// How often the resolver was asked since the last call of this.
    fn asked(&self) -> usize {
        std::mem::take(&mut self.resolver.0.lock().unwrap().1)
    }

    /// Lets time pass, and the resolver be asked where it is due then.
    async fn pass(&self, milliseconds: u64) {
        sleep(Duration::from_millis(milliseconds)).await;
        drop(self.endpoints.used(Instant::now()));
        sleep(Duration::from_millis(1)).await;
    }

    /// The endpoints that are in use; none is where that is the name.
    fn used(&self) -> Vec<SocketAddr> {
        let used = self.endpoints.used(Instant::now());
        let mut used: Vec<_> = used.iter().filter_map(|it| it.address).collect();
        used.sort_unstable();
        used
    }

    fn begin(&self) -> EndpointCall {
        let begun = self
            .endpoints
            .begin(Instant::now(), TimeLeft::Whole, &[], false);
        let Ok(call) = begun else {
            panic!("some endpoint is closed");
        };
        call
    }

    fn gauge(&self, name: &'static str) -> f64 {
        let gauge = self
            .metrics
            .gauge(name, Unit::Count, &[("target", "tested")]);
        gauge.get()
    }
}

/// Fails a call of each of `failing` so often that it would be ejected.
fn fail(scene: &EndpointsTest, failing: SocketAddr, times: u32) {
    let used = scene.endpoints.used(Instant::now());
    let endpoint = used.iter().find(|it| it.address == Some(failing)).unwrap();
    for _ in 0..times {
        let now = Instant::now();
        if let Ok(permit) = endpoint.breaker.permit(now, TimeLeft::Whole) {
            scene
                .endpoints
                .call(endpoint, permit)
                .record(true, false, now);
        }
    }
}

fn succeed(scene: &EndpointsTest, sound: SocketAddr) {
    let used = scene.endpoints.used(Instant::now());
    let endpoint = used.iter().find(|it| it.address == Some(sound)).unwrap();
    let now = Instant::now();
    let permit = endpoint.breaker.permit(now, TimeLeft::Whole).unwrap();
    scene
        .endpoints
        .call(endpoint, permit)
        .record(false, false, now);
}

#[tokio::test(start_paused = true)]
async fn one_address_is_called_by_its_name() {
    let scene = EndpointsTest::resolving(addresses([1])).await;
    assert_eq!(scene.asked(), 1);
    assert_eq!(scene.used(), []);
    assert_eq!(scene.begin().endpoint.address, None);
}

async fn scene_of_two() -> EndpointsTest {
    EndpointsTest::resolving(addresses([1, 2])).await
}

#[tokio::test(start_paused = true)]
async fn calls_go_to_the_less_loaded_one() {
    let scene = EndpointsTest::resolving(addresses(1..=8)).await;
    let calls: Vec<EndpointCall> = (0..800).map(|_| scene.begin()).collect();
    let mut loads = BTreeMap::new();
    for call in &calls {
        *loads.entry(call.endpoint.address).or_insert(0) += 1;
    }
    assert_eq!(loads.len(), 8);
    let (least, most) = (loads.values().min().unwrap(), loads.values().max().unwrap());
    assert!(most - least <= 4, "{loads:?}");

    let two = scene_of_two().await;
    let held: Vec<EndpointCall> = (0..20).map(|_| two.begin()).collect();
    let slow = held
        .iter()
        .filter(|it| it.endpoint.address == Some(address(1)));
    assert_eq!(slow.count(), 10, "of two, each gets half");
    let (slow, _): (Vec<_>, Vec<_>) = held
        .into_iter()
        .partition(|it| it.endpoint.address == Some(address(1)));
    for _ in 0..20 {
        assert_eq!(two.begin().endpoint.address, Some(address(2)));
    }
    drop(slow);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_is_ejected_while_another_answers_and_never_the_last() {
    let scene = scene_of_two().await;
    let (one, two) = (address(1), address(2));
    fail(&scene, one, 20);
    assert!(scene.gauge("endpoints_ejected") > 0.0, "by its own breaker");
    let scene = scene_of_two().await;
    fail(&scene, one, 5);
    assert!(
        scene.gauge("endpoints_ejected") < 1.0,
        "no other one has answered"
    );
    succeed(&scene, two);
    fail(&scene, one, 1);
    assert!((scene.gauge("endpoints_ejected") - 1.0).abs() < f64::EPSILON);
    assert!(scene.gauge("breaker_state") < 1.0, "the target is called");
    for _ in 0..20 {
        assert_eq!(scene.begin().endpoint.address, Some(two));
    }
    // The last one fails as well: then both are called.
    fail(&scene, two, 5);
    assert!(scene.gauge("endpoints_ejected") < 1.0);
    assert!(!scene.endpoints.is_open());
    // Where all of them go on failing, the breakers open as with one endpoint.
    fail(&scene, one, 10);
    fail(&scene, two, 10);
    assert!(scene.endpoints.is_open());
    assert!((scene.gauge("breaker_state") - 2.0).abs() < f64::EPSILON);
    let refused = scene
        .endpoints
        .begin(Instant::now(), TimeLeft::Whole, &[], false);
    assert_eq!(refused.err().unwrap().retry_after, Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn an_ejected_one_gets_one_call_after_a_while() {
    let scene = scene_of_two().await;
    let (one, two) = (address(1), address(2));
    succeed(&scene, two);
    fail(&scene, one, 5);
    sleep(Duration::from_secs(1)).await;
    let probe = scene.begin();
    assert_eq!(probe.endpoint.address, Some(one));
    assert_eq!(scene.begin().endpoint.address, Some(two), "one call only");
    probe.record(false, false, Instant::now());
    assert!(scene.gauge("endpoints_ejected") < 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_without_an_answer_leaves_the_last_addresses() {
    for answer in [
        Some(Err(io::ErrorKind::NotFound)),
        Some(Ok(Vec::new())),
        None,
    ] {
        let scene = scene_of_two().await;
        scene.answer(answer.clone());
        scene.asked();
        for second in 0..120 {
            scene.pass(999).await;
            let used = scene.used();
            assert_eq!(used, addresses([1, 2]), "{answer:?} for {second} s");
        }
        let asked = scene.asked();
        assert!((15..=120).contains(&asked), "{answer:?}: {asked} questions");
        scene.answer(Some(Ok(addresses([3, 4]))));
        scene.pass(7000).await;
        scene.pass(1000).await;
        assert_eq!(scene.used(), addresses([3, 4]), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_name_that_never_had_an_address_the_name_is_called() {
    let scene = EndpointsTest::resolving(Vec::new()).await;
    scene.pass(60_000).await;
    assert_eq!(scene.begin().endpoint.address, None);
}

#[tokio::test(start_paused = true)]
async fn of_many_addresses_some_are_used_and_stay_so() {
    let scene = EndpointsTest::resolving(addresses(1..=100)).await;
    let used = scene.used();
    assert_eq!(used.len(), ENDPOINTS_MAX);
    for _ in 0..10 {
        scene.pass(5000).await;
        assert_eq!(scene.used(), used, "their connections are kept");
    }
    scene.answer(Some(Ok(addresses(101..=200))));
    scene.pass(5000).await;
    assert!(scene.used().iter().all(|it| *it >= address(101)));
    let kept = scene.endpoints.listing().unlisted.len();
    assert_eq!(kept, ENDPOINTS_MAX, "no more are kept than are used");
}

#[tokio::test(start_paused = true)]
async fn what_flaps_keeps_its_connections_and_its_breaker() {
    let scene = scene_of_two().await;
    let (one, two) = (address(1), address(2));
    let before = scene.endpoints.used(Instant::now());
    succeed(&scene, two);
    fail(&scene, one, 5);
    let under_way = scene.begin();
    for round in 0..20 {
        scene.answer(Some(Ok(addresses(if round % 2 == 0 {
            [3, 4]
        } else {
            [1, 2]
        }))));
        scene.pass(5000).await;
        assert_eq!(scene.used().len(), 2);
        scene.begin().record(false, false, Instant::now());
        assert!(scene.endpoints.listing().unlisted.len() <= 2);
    }
    under_way.record(false, false, Instant::now());
    let after = scene.endpoints.used(Instant::now());
    let is_same = |it: &Arc<Endpoint>| before.iter().any(|known| Arc::ptr_eq(known, it));
    assert!(after.iter().all(is_same));
    scene.answer(Some(Ok(addresses([3, 4]))));
    scene.pass(5000).await;
    scene.pass(61_000).await;
    scene.pass(5000).await;
    assert!(
        scene.endpoints.listing().unlisted.is_empty(),
        "not for ever"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_asks_at_once_but_not_more_than_once_a_second() {
    let scene = scene_of_two().await;
    sleep(Duration::from_secs(2)).await;
    scene.asked();
    scene.answer(Some(Ok(addresses([2, 3]))));
    for _ in 0..5 {
        scene.begin().record(true, true, Instant::now());
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(scene.asked(), 1);
    assert_eq!(scene.used(), addresses([2, 3]));
    for _ in 0..10 {
        scene.begin().record(true, true, Instant::now());
        sleep(Duration::from_millis(100)).await;
    }
    assert!(scene.asked() <= 2);
}

/// What had these addresses half an hour ago may be somebody else's service by now.
#[tokio::test(start_paused = true)]
async fn after_a_long_pause_the_name_is_called_until_its_addresses_are_known() {
    let scene = scene_of_two().await;
    sleep(Duration::from_mins(30)).await;
    assert_eq!(scene.begin().endpoint.address, None);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(scene.used(), addresses([1, 2]));
}

/// How a sick endpoint ends an attempt, and after how many milliseconds.
type Sickness = (AttemptOutcome, u64);

/// Calls two endpoints 100 times a second for ten seconds, and after five seconds the first one is
/// sick. Returns how many attempts it got from then on, and how many calls failed.
async fn calls_while_one_is_sick(sickness: Sickness) -> (usize, usize) {
    let scene = scene_of_two().await;
    let guard = Guard::new(
        "tested",
        ATTEMPT_TIMEOUT,
        scene.endpoints.clone(),
        &scene.metrics,
    );
    let sick_attempts = AtomicUsize::new(0);
    let began = Instant::now();
    let call = async |at_ms: u64| {
        tokio::time::sleep_until(began + Duration::from_millis(at_ms)).await;
        let attempt = |endpoint: Arc<Endpoint>, _| {
            let is_sick = endpoint.address == Some(address(1)) && began.elapsed().as_secs() >= 5;
            sick_attempts.fetch_add(usize::from(is_sick), Ordering::Relaxed);
            async move {
                if !is_sick {
                    sleep(Duration::from_millis(20)).await;
                    return Ok(());
                }
                sleep(Duration::from_millis(sickness.1)).await;
                Err(sickness.0)
            }
        };
        let outcome =
            |result: &Result<(), AttemptOutcome>| result.err().unwrap_or(AttemptOutcome::Answered);
        let deadline = Instant::now() + DEADLINE;
        let called: Result<(), CallError<AttemptOutcome>> =
            guard.call(deadline, true, attempt, outcome).await;
        called.is_err()
    };
    let calls: FuturesUnordered<_> = (0..1000).map(|number| call(number * 10)).collect();
    let failed = calls
        .filter(|is_failed| std::future::ready(*is_failed))
        .count()
        .await;
    (sick_attempts.into_inner(), failed)
}

/// Its share of a second is 50 calls.
#[tokio::test(start_paused = true)]
async fn one_sick_endpoint_of_two_costs_less_than_its_share_of_a_second() {
    let retry_after = Some(Duration::from_secs(1));
    for sickness in [
        (AttemptOutcome::Broken, 0),
        (AttemptOutcome::Broken, 20),
        (AttemptOutcome::NotConnected, 0),
        (AttemptOutcome::NotConnected, 1000),
        (AttemptOutcome::ConnectionLost, 5),
        (AttemptOutcome::Unavailable { retry_after }, 0),
        // It does not answer at all.
        (AttemptOutcome::TimedOut, 60_000),
    ] {
        let (attempts, failed) = calls_while_one_is_sick(sickness).await;
        println!("{sickness:?}: {attempts} attempts, {failed} failed calls");
        assert!((1..=25).contains(&attempts), "{sickness:?}: {attempts}");
        assert_eq!(failed, 0, "{sickness:?}: the other one is asked");
    }
}
