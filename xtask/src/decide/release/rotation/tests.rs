//! Rotations of two services from every start, and of any services by any calls.

use proptest::collection::vec;
use proptest::prelude::*;

use super::RotationChange::{NewBesideCallers, NewBesideOld, NewToSignWith, OldRemoved};
use super::*;
use crate::catalog::testing::{AXON, ORBIT};

const ECHO: Service = Service::of("echo");
const NAMES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];

fn new_pair(id: &str) -> SigningPair {
    SigningPair {
        access_key_id: id.to_owned(),
        secret_access_key: format!("secret of {id}"),
    }
}

/// A secret with a current and a previous pair.
fn document(pairs: &[&str]) -> Value {
    let mut document = json!({ "api_key": "stays" });
    for (names, id) in [CURRENT, PREVIOUS].into_iter().zip(pairs) {
        put(&mut document, names, &new_pair(id));
    }
    document
}

/// A service, what it calls, and its secret.
type GivenService = (Service, Vec<Service>, Value);

/// A step that was taken.
type Taken = (Service, RotationChange);

struct CalledService {
    service: Service,
    calls: Vec<Service>,
    document: Value,
    /// What its tasks may have: the present document, unless they refuse it, and older ones until
    /// a step has waited for them.
    tasks: Vec<SecretPairs>,
}

/// The services of an environment, with their tasks.
struct RotatedServices(Vec<CalledService>);

impl RotatedServices {
    fn new(services: Vec<GivenService>) -> Self {
        let services = services.into_iter();
        let services = services.map(|(service, calls, document)| CalledService {
            service,
            calls,
            tasks: SecretPairs::of(&document).into_iter().collect(),
            document,
        });
        Self(services.collect())
    }

    /// Orbit calls axon.
    fn two(axon: Value, orbit: Value) -> Self {
        Self::new(vec![(AXON, vec![], axon), (ORBIT, vec![AXON], orbit)])
    }

    fn rotation(&self) -> Result<Rotation<'_>, RotationError> {
        let services = self.0.iter().map(|it| SigningService {
            service: it.service,
            calls: it.calls.clone(),
            document: &it.document,
        });
        Rotation::of(services.collect())
    }

    fn documents(&self) -> Vec<&Value> {
        self.0.iter().map(|it| &it.document).collect()
    }

    fn of(&mut self, service: Service) -> &mut CalledService {
        let mut services = self.0.iter_mut();
        services.find(|it| it.service == service).unwrap()
    }

    /// Every call that works whichever of its tasks and of the called service's answer.
    fn working_calls(&self) -> Vec<(Service, Service)> {
        let mut working = Vec::new();
        for (caller, callee) in self
            .0
            .iter()
            .flat_map(|it| it.calls.iter().map(move |to| (it, *to)))
        {
            let callee = self.0.iter().find(|it| it.service == callee).unwrap();
            let accepted = |signs: &SecretPairs| {
                let mut tasks = callee.tasks.iter();
                tasks.all(|it| it.accepts(&signs.current))
            };
            let has_tasks = !caller.tasks.is_empty() && !callee.tasks.is_empty();
            if has_tasks && caller.tasks.iter().all(accepted) {
                working.push((caller.service, callee.service));
            }
        }
        working
    }

    /// All tasks have taken up the present document.
    fn take_up(&mut self, service: Service) {
        let it = self.of(service);
        let present = SecretPairs::of(&it.document);
        it.tasks = vec![present.expect("it is waited for only where tasks can take it up")];
    }

    /// As one run of the command: at most so many steps. Answers whether it came to its end.
    fn run(
        &mut self,
        fresh: &str,
        steps_max: usize,
        taken: &mut Vec<Taken>,
    ) -> Result<bool, RotationError> {
        let mut new = None;
        for _ in 0..steps_max {
            let rotation = self.rotation()?;
            let of_run = new.or_else(|| rotation.in_progress().cloned());
            let of_run = of_run.unwrap_or_else(|| new_pair(fresh));
            let step = rotation.next_step(&of_run)?;
            for service in &step.waits_for {
                self.take_up(*service);
            }
            let Some(replacement) = step.replacement else {
                return Ok(true);
            };
            let worked = self.working_calls();
            let service = replacement.service;
            let it = self.of(service);
            assert_ne!(it.document, replacement.document);
            it.document = replacement.document;
            it.tasks.extend(SecretPairs::of(&it.document));
            taken.push((service, replacement.change));
            let works = self.working_calls();
            let broken: Vec<_> = worked.iter().filter(|call| !works.contains(call)).collect();
            assert!(broken.is_empty(), "{broken:?} after {taken:?}");
            new = Some(of_run);
        }
        Ok(false)
    }

    /// One run to its end.
    fn rotate(&mut self) -> Vec<Taken> {
        let mut taken = Vec::new();
        let steps_max = 4 * self.0.len();
        let ended = self.run("new", steps_max, &mut taken).unwrap();
        assert!(ended, "{taken:?}");
        taken
    }
}

const OFFER: Taken = (AXON, NewBesideOld);
const REPAIR: Taken = (AXON, NewBesideCallers);
const SWITCH: Taken = (ORBIT, NewToSignWith);
const RETIRE: Taken = (AXON, OldRemoved);

#[test]
fn every_start_of_two_ends_with_a_new_pair() {
    type Case = (
        &'static [&'static str],
        &'static [&'static str],
        &'static [Taken],
    );
    let cases: [Case; 10] = [
        (&["one"], &["one"], &[OFFER, SWITCH, RETIRE]),
        (&["begun", "one"], &["one"], &[SWITCH, RETIRE]),
        (&["begun", "one"], &["begun"], &[RETIRE]),
        (&["one"], &["other"], &[REPAIR, SWITCH, RETIRE]),
        (&["one", "two"], &["other"], &[REPAIR, SWITCH, RETIRE]),
        (&[], &["one"], &[REPAIR, SWITCH, RETIRE]),
        (&["one"], &[], &[SWITCH, OFFER, SWITCH, RETIRE]),
        (&["begun", "one"], &[], &[SWITCH, RETIRE]),
        (&["one", "one"], &["one"], &[OFFER, SWITCH, RETIRE]),
        (&["one"], &["one", "two"], &[OFFER, SWITCH, RETIRE]),
    ];
    for (axon, orbit, expected) in cases {
        let mut two = RotatedServices::two(document(axon), document(orbit));
        assert_eq!(two.rotate(), expected, "{axon:?} {orbit:?}");
        let new = if axon.contains(&"begun") {
            "begun"
        } else {
            "new"
        };
        let new = document(&[new]);
        assert_eq!(two.documents(), [&new, &new], "{axon:?} {orbit:?}");
    }
}

#[test]
fn an_incomplete_pair_is_overwritten() {
    for (name, value) in [(PREVIOUS[0], "half"), (PREVIOUS[0], ""), (CURRENT[1], "")] {
        let mut axon = document(&["one"]);
        axon[name] = json!(value);
        let mut two = RotatedServices::two(axon, document(&["one"]));
        assert_eq!(two.rotate(), [REPAIR, SWITCH, RETIRE], "{name} {value}");
        let new = document(&["new"]);
        assert_eq!(two.documents(), [&new, &new]);
    }
}

#[test]
fn one_id_with_two_secrets_is_two_pairs() {
    let mut orbit = document(&["one"]);
    orbit[CURRENT[1]] = json!("another secret");
    let two = RotatedServices::two(document(&["one"]), orbit);
    assert_eq!(two.rotation().unwrap().refused_calls(), [(ORBIT, AXON)]);
}

#[test]
fn services_that_call_each_other_get_it_before_their_callers() {
    let one = || document(&["one"]);
    let mut services = RotatedServices::new(vec![
        (ECHO, vec![], one()),
        (AXON, vec![ECHO], one()),
        (ORBIT, vec![AXON, ECHO], one()),
        (Service::of("alone"), vec![], one()),
    ]);
    let expected = [
        (ECHO, NewBesideOld),
        (AXON, NewBesideOld),
        (ORBIT, NewToSignWith),
        (Service::of("alone"), NewToSignWith),
        (ECHO, OldRemoved),
        (AXON, OldRemoved),
    ];
    assert_eq!(services.rotate(), expected);
}

#[test]
fn a_first_pair_is_one_that_every_called_service_accepts() {
    let steps = |echo: &[&str]| {
        let mut services = RotatedServices::new(vec![
            (ECHO, vec![], document(echo)),
            (AXON, vec![], document(&["two"])),
            (ORBIT, vec![ECHO, AXON], document(&[])),
        ]);
        services.rotate()
    };
    let [echo_retires, echo_offers] = [(ECHO, OldRemoved), (ECHO, NewBesideOld)];
    let offers = [echo_offers, OFFER, SWITCH, echo_retires, RETIRE];
    assert_eq!(steps(&["one"]), offers, "there is none");
    assert_eq!(
        steps(&["one", "two"]),
        [SWITCH, OFFER, SWITCH, echo_retires, RETIRE]
    );
}

#[test]
fn a_step_waits_for_those_whose_calls_it_could_break() {
    let waits = |axon: &[&str], orbit: &[&str], echo: &[&str]| {
        let documents = [axon, orbit, echo].map(document);
        let [axon, orbit, echo] = documents;
        let services = RotatedServices::new(vec![
            (AXON, vec![], axon),
            (ORBIT, vec![AXON], orbit),
            (ECHO, vec![AXON], echo),
        ]);
        let step = services.rotation().unwrap().next_step(&new_pair("new"));
        step.unwrap().waits_for
    };
    let one = &["one"][..];
    let new = &["new"][..];
    let both = &["new", "one"][..];
    assert_eq!(waits(one, one, one), []);
    assert_eq!(waits(one, &["other"], one), [], "axon accepts no less");
    assert_eq!(waits(one, &["other"], &["another"]), [ORBIT, ECHO]);
    assert_eq!(waits(both, one, one), [AXON]);
    assert_eq!(waits(both, new, one), [AXON]);
    assert_eq!(waits(both, new, new), [ORBIT, ECHO]);
    assert_eq!(waits(new, new, new), [AXON], "the end");
}

#[test]
fn secrets_that_cannot_be_rotated_are_an_error() {
    let fault = |axon: Value, orbit: Value| {
        let two = RotatedServices::two(axon, orbit);
        two.rotation().err().map(|error| error.to_string())
    };
    let no_pair = "no service has a signing pair in its secret";
    assert_eq!(fault(json!({}), document(&[])).unwrap(), no_pair);
    let mut orbit = document(&["one"]);
    orbit[CURRENT[1]] = json!("kms:AQICAHh");
    let ciphertext = "a signing pair in the secret of orbit is encrypted, so it cannot be compared";
    assert_eq!(fault(document(&["one"]), orbit).unwrap(), ciphertext);
}

/// Two called services are full, by different pairs. It takes six services.
#[test]
fn where_no_pair_has_a_place_everywhere_nothing_is_changed() {
    let [axon, orbit, rest @ ..] = NAMES.map(Service::of);
    let signs = ["a", "b", "c", "d"].map(|pair| document(&[pair]));
    let mut services = vec![
        (axon, vec![], document(&["a", "b"])),
        (orbit, vec![], document(&["c", "d"])),
    ];
    let callees = [axon, axon, orbit, orbit];
    for ((service, callee), document) in rest.into_iter().zip(callees).zip(signs) {
        services.push((service, vec![callee], document));
    }
    let services = RotatedServices::new(services);
    let step = services.rotation().unwrap().next_step(&new_pair("new"));
    let expected =
        "s0, s1 accept two pairs each, callers use both, and none of them is accepted by all";
    assert_eq!(step.err().unwrap().to_string(), expected);
}

/// A document with any of three pairs, or none, as each of its two; the second can be a half.
fn any_document() -> impl Strategy<Value = Value> {
    let id = || prop::sample::select(vec!["", "one", "one", "two", "three"]);
    (id(), id(), prop::bool::weighted(0.1)).prop_map(|(current, previous, half)| {
        let mut document = document(&[]);
        for (names, id) in [(CURRENT, current), (PREVIOUS, previous)] {
            if !id.is_empty() {
                put(&mut document, names, &new_pair(id));
            }
        }
        if half {
            document[PREVIOUS[0]] = json!("half");
            document[PREVIOUS[1]].take();
        }
        document
    })
}

/// Two to five services, each of which calls any of those before it.
fn any_services() -> impl Strategy<Value = Vec<GivenService>> {
    let service = (any_document(), vec(any::<bool>(), 4));
    vec(service, 2..6).prop_map(|services| {
        let services = services.into_iter().enumerate();
        let services = services.map(|(index, (document, calls))| {
            let callees = NAMES[..index].iter().zip(calls);
            let callees = callees.filter(|(_, calls)| *calls);
            let callees = callees.map(|(name, _)| Service::of(name));
            (Service::of(NAMES[index]), callees.collect(), document)
        });
        services.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

    /// The first run is killed after some steps, and another goes on.
    #[test]
    fn no_call_breaks_and_all_end_with_one_new_pair(
        services in any_services(),
        killed_after in 0..20_usize,
    ) {
        let mut services = RotatedServices::new(services);
        prop_assume!(services.rotation().is_ok());
        let mut taken = Vec::new();
        services.run("killed", killed_after, &mut taken).unwrap();
        let in_progress = services.rotation().unwrap().in_progress().cloned();
        let steps_max = 4 * services.0.len();
        let has_ended = services.run("new", steps_max, &mut taken).unwrap();
        prop_assert!(has_ended, "{:?}", taken);
        let new = in_progress.unwrap_or_else(|| new_pair("new"));
        let expected = document(&[&new.access_key_id]);
        for document in services.documents() {
            prop_assert_eq!(document, &expected);
        }
    }
}
