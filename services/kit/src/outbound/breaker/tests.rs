//! Time is paused, so times are exact. The invariants of a breaker are tested for arbitrary
//! interleavings of calls, results and time.

use proptest::prelude::*;

use super::*;

fn breaker() -> Breaker {
    Breaker::new("tested", None)
}

impl Breaker {
    fn is_open(&self) -> bool {
        self.standing() == BreakerStanding::Open
    }
}

/// Fails calls at `now` until it opens.
fn open(breaker: &Breaker, now: Instant) {
    for _ in 0..CALLS_MIN {
        breaker
            .permit(now, TimeLeft::Whole)
            .unwrap()
            .record(true, now);
    }
    assert!(breaker.is_open());
}

fn rest(breaker: &Breaker, now: Instant) -> Option<Duration> {
    breaker
        .permit(now, TimeLeft::Whole)
        .err()
        .map(|open| open.retry_after)
}

#[test]
fn half_of_the_calls_have_to_fail_and_enough_of_them() {
    let now = Instant::now();
    let few = breaker();
    for _ in 0..CALLS_MIN - 1 {
        few.permit(now, TimeLeft::Whole).unwrap().record(true, now);
    }
    assert!(!few.is_open());
    few.permit(now, TimeLeft::Whole).unwrap().record(true, now);
    assert!(few.is_open());

    let mixed = breaker();
    for call in 0..100 {
        mixed
            .permit(now, TimeLeft::Whole)
            .unwrap()
            .record(call % 3 == 0, now);
    }
    assert!(!mixed.is_open(), "a third is not half");
    for _ in 0..100 {
        if let Ok(permit) = mixed.permit(now, TimeLeft::Whole) {
            permit.record(true, now);
        }
    }
    assert!(mixed.is_open());
}

#[test]
fn failures_are_forgotten_as_the_window_slides() {
    let (breaker, began) = (breaker(), Instant::now());
    let fail = |seconds, times| {
        let now = began + SLOT * seconds;
        for _ in 0..times {
            breaker
                .permit(now, TimeLeft::Whole)
                .unwrap()
                .record(true, now);
        }
    };
    fail(0, 5);
    fail(5, 4);
    fail(10, 5);
    assert!(!breaker.is_open(), "the first five are ten seconds old");
    fail(14, 1);
    assert!(breaker.is_open());
}

#[test]
fn it_opens_twice_as_long_after_each_failed_probe_up_to_a_bound() {
    let (breaker, mut now) = (breaker(), Instant::now());
    open(&breaker, now);
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let open_time = Duration::from_secs(seconds);
        assert_eq!(rest(&breaker, now), Some(open_time));
        let almost = open_time.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(rest(&breaker, now + almost), Some(Duration::from_millis(1)));
        now += open_time;
        breaker
            .permit(now, TimeLeft::Whole)
            .unwrap()
            .record(true, now);
    }
    now += OPEN_MAX;
    breaker
        .permit(now, TimeLeft::Whole)
        .unwrap()
        .record(false, now);
    open(&breaker, now);
    assert_eq!(rest(&breaker, now), Some(OPEN_MIN), "it starts again");
}

#[test]
fn a_probe_that_is_dropped_is_given_back() {
    let (breaker, mut now) = (breaker(), Instant::now());
    open(&breaker, now);
    now += OPEN_MIN;
    let probe = breaker.permit(now, TimeLeft::Whole).unwrap();
    assert_eq!(rest(&breaker, now), Some(Duration::ZERO));
    drop(probe);
    assert!(breaker.permit(now, TimeLeft::Whole).is_ok());
}

#[test]
fn a_short_probe_does_not_block_a_whole_one() {
    let (breaker, mut now) = (breaker(), Instant::now());
    open(&breaker, now);
    now += OPEN_MIN;
    let short = breaker.permit(now, TimeLeft::Short).unwrap();
    assert!(
        breaker.permit(now, TimeLeft::Short).is_err(),
        "one at a time"
    );
    let whole = breaker.permit(now, TimeLeft::Whole).unwrap();
    assert!(
        breaker.permit(now, TimeLeft::Whole).is_err(),
        "one at a time"
    );
    drop(short);
    assert!(breaker.permit(now, TimeLeft::Whole).is_err());
    let short = breaker.permit(now, TimeLeft::Short).unwrap();
    whole.record(false, now);
    short.record(true, now);
    assert!(!breaker.is_open(), "the first result decides");
}

#[test]
fn short_calls_probe_where_there_are_no_others() {
    for (fails, opens) in [(false, false), (true, true)] {
        let (breaker, mut now) = (breaker(), Instant::now());
        open(&breaker, now);
        now += OPEN_MIN;
        let probe = breaker.permit(now, TimeLeft::Short).unwrap();
        probe.record(fails, now);
        assert_eq!(breaker.is_open(), opens);
    }
}

#[test]
fn results_from_before_have_no_say() {
    let (breaker, mut now) = (breaker(), Instant::now());
    let permit = |_| breaker.permit(now, TimeLeft::Whole).unwrap();
    let late: Vec<Permit> = (0..3).map(permit).collect();
    let [late_success, late_failure, late_drop] = late.try_into().ok().unwrap();
    open(&breaker, now);
    now += OPEN_MIN;
    let probe = breaker.permit(now, TimeLeft::Whole).unwrap();
    late_success.record(false, now);
    late_failure.record(true, now);
    drop(late_drop);
    assert_eq!(rest(&breaker, now), Some(Duration::ZERO), "still half-open");
    probe.record(false, now);
    assert!(breaker.permit(now, TimeLeft::Whole).is_ok());
}

#[test]
fn an_ejected_endpoint_is_called_again_as_soon_as_no_other_one_answers() {
    let (breaker, now) = (breaker(), Instant::now());
    let begun = breaker.permit(now, TimeLeft::Whole).unwrap();
    for _ in 0..EJECTED_AFTER {
        assert!(!breaker.fails());
        breaker
            .permit(now, TimeLeft::Whole)
            .unwrap()
            .record(true, now);
    }
    assert!(breaker.fails() && !breaker.is_open(), "alone it is called");
    breaker.eject(now);
    assert_eq!(rest(&breaker, now), Some(OPEN_MIN));
    breaker.end_ejection();
    begun.record(true, now);
    assert!(!breaker.fails() && !breaker.is_open());

    open(&breaker, now);
    breaker.end_ejection();
    assert!(breaker.is_open(), "that was no ejection");
}

/// What can happen, in any order. A number is the index of a call under way.
#[derive(Clone, Debug)]
enum BreakerStep {
    Start(TimeLeft),
    Succeed(prop::sample::Index),
    Fail(prop::sample::Index),
    Drop(prop::sample::Index),
    Advance(u64),
}

fn step() -> impl Strategy<Value = BreakerStep> {
    prop_oneof![
        6 => prop_oneof![Just(TimeLeft::Whole), Just(TimeLeft::Short)].prop_map(BreakerStep::Start),
        2 => any::<prop::sample::Index>().prop_map(BreakerStep::Succeed),
        6 => any::<prop::sample::Index>().prop_map(BreakerStep::Fail),
        1 => any::<prop::sample::Index>().prop_map(BreakerStep::Drop),
        2 => (0_u64..12_000).prop_map(BreakerStep::Advance),
    ]
}

/// The calls under way, and what the breaker did.
struct BreakerRun {
    breaker: Breaker,
    now: Instant,
    under_way: Vec<Permit>,
}

impl BreakerRun {
    fn take(&mut self, step: &BreakerStep) {
        let under_way = self.under_way.len();
        let nth = |index: &prop::sample::Index| (under_way > 0).then(|| index.index(under_way));
        match step {
            BreakerStep::Start(time) => self
                .under_way
                .extend(self.breaker.permit(self.now, *time).ok()),
            BreakerStep::Succeed(index) => {
                self.finish(nth(index), |call, now| call.record(false, now));
            }
            BreakerStep::Fail(index) => self.finish(nth(index), |call, now| call.record(true, now)),
            BreakerStep::Drop(index) => self.finish(nth(index), |call, _| drop(call)),
            BreakerStep::Advance(milliseconds) => self.now += Duration::from_millis(*milliseconds),
        }
    }

    fn finish(&mut self, nth: Option<usize>, how: impl Fn(Permit, Instant)) {
        if let Some(nth) = nth {
            how(self.under_way.swap_remove(nth), self.now);
        }
    }

    fn generation(&self) -> u64 {
        self.breaker.state().generation
    }

    fn is_closed(&self) -> bool {
        matches!(self.breaker.state().phase, BreakerPhase::Closed(_))
    }

    fn probes(&self, time: TimeLeft) -> usize {
        let state = self.breaker.state();
        let is_half_open = matches!(state.phase, BreakerPhase::HalfOpen { .. });
        let of_now = |call: &&Permit| call.generation == state.generation && call.time == time;
        usize::from(is_half_open) * self.under_way.iter().filter(of_now).count()
    }
}

proptest! {
    #[test]
    fn whatever_happens(steps in prop::collection::vec(step(), 0..200)) {
        let (breaker, now) = (breaker(), Instant::now());
        let mut run = BreakerRun { breaker, now, under_way: Vec::new() };
        let mut has_failed = false;
        for step in &steps {
            let (was_open, generation) = (run.breaker.is_open(), run.generation());
            let stale = run.under_way.iter().all(|call| call.generation != generation);
            run.take(step);
            let is_failure = matches!(step, BreakerStep::Fail(_));
            has_failed |= is_failure;
            for time in [TimeLeft::Whole, TimeLeft::Short] {
                prop_assert!(run.probes(time) <= 1, "never more than one probe of a kind");
            }
            prop_assert!(run.is_closed() || has_failed, "never open without failures");
            prop_assert!(was_open || !run.breaker.is_open() || is_failure, "only a failure opens");
            let is_result = matches!(
                step,
                BreakerStep::Succeed(_) | BreakerStep::Fail(_) | BreakerStep::Drop(_)
            );
            if is_result && stale {
                prop_assert_eq!(run.generation(), generation, "a late result has no say");
            }
            if let Err(open) = run.breaker.permit(run.now, TimeLeft::Whole) {
                prop_assert!(open.retry_after <= OPEN_MAX);
            }
        }
        run.under_way.clear();
        run.now += OPEN_MAX;
        if let Ok(call) = run.breaker.permit(run.now, TimeLeft::Whole) {
            call.record(false, run.now);
        }
        prop_assert!(run.is_closed(), "a target that is well is called again");
    }

    #[test]
    fn without_failures_it_never_opens(steps in prop::collection::vec(step(), 0..200)) {
        let (breaker, now) = (breaker(), Instant::now());
        let mut run = BreakerRun { breaker, now, under_way: Vec::new() };
        for step in steps.iter().filter(|step| !matches!(step, BreakerStep::Fail(_))) {
            run.take(step);
            prop_assert!(run.breaker.permit(run.now, TimeLeft::Whole).is_ok());
        }
    }
}
