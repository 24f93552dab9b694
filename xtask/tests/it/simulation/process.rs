//! One run of xtask in a simulation: every port, with the faults of a plan in front of every call.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::sleep;
use xtask::failure::{Failure, Kind};

use super::broken::BrokenEngine;
use super::faults::{FaultPlan, InjectedFault, PlannedFault, PortCall};
use super::simulated::{ProcessFacts, Simulated};
use crate::model::{Actor, Millis};
use crate::world::{Delivery, Fake, STALENESS};

#[derive(Clone)]
pub(super) struct SimulatedProcess {
    pub(super) id: u32,
    pub(super) sim: Simulated,
    /// The checkout that it stands in.
    pub(super) checkout: Fake,
    pub(super) interrupted: Arc<Notify>,
    pub(super) killed: Arc<Notify>,
    plan: Arc<Mutex<FaultPlan>>,
    pub(super) broken: Option<BrokenEngine>,
}

/// What becomes of one call.
enum Fate {
    Carried(Delivery),
    /// Carried out, and not answered for so long.
    Lost(Duration),
    /// Given up after the first time, carried out after the second.
    Late(Duration, Duration),
    Interrupted,
    KilledAfter,
}

impl SimulatedProcess {
    pub(super) fn new(
        sim: &Simulated,
        checkout: Fake,
        plan: FaultPlan,
        broken: Option<BrokenEngine>,
    ) -> Self {
        let started = sim.now();
        let processes = &mut sim.state().processes;
        processes.push(ProcessFacts {
            started,
            ..ProcessFacts::default()
        });
        Self {
            id: u32::try_from(processes.len()).unwrap() - 1,
            sim: sim.clone(),
            checkout,
            interrupted: Arc::new(Notify::new()),
            killed: Arc::new(Notify::new()),
            plan: Arc::new(Mutex::new(plan)),
            broken,
        }
    }

    pub(super) fn actor(&self) -> Actor {
        Actor::Process(self.id)
    }

    fn in_time(&self) -> Delivery {
        Delivery::of(self.actor())
    }

    pub(super) fn facts<T>(&self, change: impl FnOnce(&mut ProcessFacts) -> T) -> T {
        change(&mut self.sim.state().processes[self.id as usize])
    }

    /// Makes one call, with its fault. `about` is for the transcript.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: PortCall,
        about: &str,
        work: impl FnOnce(Fake) -> BoxFuture<'static, Result<T>> + Send,
    ) -> Result<T> {
        let work = |how| work(self.sim.stores.delivered(how));
        match self.fate(call, about).await? {
            Fate::Carried(how) => work(how).await,
            Fate::Lost(pause) => {
                drop(work(self.in_time()).await);
                sleep(pause).await;
                Err(unanswered(call))
            }
            Fate::Late(limit, delay) => {
                let late = work(Delivery {
                    late: true,
                    ..self.in_time()
                });
                let sim = self.sim.clone();
                sim.state().late += 1;
                tokio::spawn(async move {
                    sleep(limit + delay).await;
                    sim.note(&format!("late: {call:?} is carried out"));
                    drop(late.await);
                    sim.state().late -= 1;
                });
                sleep(limit).await;
                Err(unanswered(call))
            }
            Fate::Interrupted => {
                let answer = work(self.in_time()).await;
                self.interrupted.notify_one();
                // Whoever waits for the answer gets it.
                sleep(Duration::from_secs(5)).await;
                answer
            }
            Fate::KilledAfter => {
                drop(work(self.in_time()).await);
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.facts(|it| it.killed = true);
        self.killed.notify_one();
        std::future::pending().await
    }

    async fn fate(&self, call: PortCall, about: &str) -> Result<Fate> {
        sleep(self.between(10, 120)).await;
        let slept = self.sleeps().await;
        if self.facts(|it| it.killed) {
            std::future::pending::<()>().await;
        }
        let nth = self.facts(|it| {
            let count = it.calls.entry(call).or_default();
            *count += 1;
            *count - 1
        });
        let fault = self.plan.lock().unwrap().next(call);
        self.note(call, about, fault.map(|(fault, _)| fault));
        if self.id == 0 {
            self.sim.reach(call);
        }
        if let Some((fault, time)) = fault {
            let now = self.sim.now();
            let planned = PlannedFault {
                time,
                ..PlannedFault::once(fault, call, nth)
            };
            self.facts(|it| it.faults.push((now, planned)));
            *self.sim.state().hits.entry((fault, call)).or_default() += 1;
        }
        if !self.sim.takes_token(call) {
            // As often as the SDK repeats it.
            sleep(self.between(1_000, 5_000)).await;
            return Err(unanswered(call));
        }
        let fate = match fault {
            Some((fault, time)) => self.suffer(fault, call, time).await?,
            None => Fate::Carried(self.in_time()),
        };
        let expired = self.facts(|it| it.expired) && call.is_of_aws();
        if expired {
            let text = format!("{call:?}: ExpiredTokenException");
            return Err(Failure::new(Kind::Expired, text).into());
        }
        let until = self.facts(|it| it.no_network_until);
        if self.sim.now() < until && call != PortCall::Build {
            let limit = self.limit(call);
            let left = Duration::from_millis(until - self.sim.now());
            sleep(limit.min(left + Duration::from_millis(1))).await;
            return Err(unanswered(call));
        }
        Ok(match fate {
            Fate::Carried(how) => Fate::Carried(Delivery {
                late: how.late || slept,
                ..how
            }),
            fate => fate,
        })
    }

    /// Nothing goes on while the machine sleeps.
    async fn sleeps(&self) -> bool {
        let until = self.facts(|it| it.asleep_until);
        let now = self.sim.now();
        if now >= until {
            return false;
        }
        sleep(Duration::from_millis(until - now)).await;
        true
    }

    async fn suffer(
        &self,
        fault: InjectedFault,
        call: PortCall,
        time: Option<Millis>,
    ) -> Result<Fate> {
        let now = self.sim.now();
        let lasts = |least, most| {
            let time = time.map(Duration::from_millis);
            time.unwrap_or_else(|| self.between(least, most))
        };
        let until = |time: Duration| now + u64::try_from(time.as_millis()).unwrap_or(Millis::MAX);
        Ok(match fault {
            InjectedFault::Refused => {
                anyhow::bail!("{call:?}: InvalidParameterException: refused")
            }
            InjectedFault::Denied => {
                let text = format!("{call:?}: AccessDeniedException");
                return Err(Failure::new(Kind::Denied, text).into());
            }
            InjectedFault::Throttled => {
                sleep(self.between(1_000, 5_000)).await;
                return Err(unanswered(call));
            }
            InjectedFault::Unanswered => {
                sleep(self.limit(call)).await;
                return Err(unanswered(call));
            }
            InjectedFault::LostAnswer => Fate::Lost(self.limit(call)),
            InjectedFault::Late => {
                let rarely = self.sim.state().chance.one_in(10);
                let longest = if rarely { 250_000 } else { 25_000 };
                Fate::Late(self.limit(call), lasts(500, longest))
            }
            InjectedFault::Slow => {
                sleep(lasts(1_000, 8_000)).await;
                Fate::Carried(self.in_time())
            }
            InjectedFault::Stale => Fate::Carried(Delivery {
                stale: until(lasts(500, STALENESS)) - now,
                ..self.in_time()
            }),
            InjectedFault::Expired => {
                self.facts(|it| it.expired = true);
                Fate::Carried(self.in_time())
            }
            InjectedFault::Interrupted => {
                self.facts(|it| it.interrupted = true);
                Fate::Interrupted
            }
            InjectedFault::Killed => self.die().await,
            InjectedFault::KilledAfter => Fate::KilledAfter,
            InjectedFault::NoNetwork => {
                let long = self.sim.state().chance.one_in(8);
                let longest = if long { 600_000 } else { 60_000 };
                let until = until(lasts(3_000, longest));
                self.facts(|it| it.no_network_until = until);
                Fate::Carried(self.in_time())
            }
            InjectedFault::Asleep => {
                let until = until(lasts(2_000, 120_000));
                self.facts(|it| it.asleep_until = until);
                if call.changes_what_runs() {
                    // It is sent when the machine wakes up.
                    let asleep = Duration::from_millis(until - now);
                    return Ok(Fate::Late(asleep, Duration::ZERO));
                }
                self.sleeps().await;
                Fate::Carried(Delivery {
                    late: true,
                    ..self.in_time()
                })
            }
        })
    }

    /// After which the SDK gives a call up.
    fn limit(&self, call: PortCall) -> Duration {
        if call == PortCall::Beat {
            Duration::from_secs(10)
        } else if matches!(call, PortCall::Probe | PortCall::Dispatch) {
            Duration::from_secs(5)
        } else {
            self.between(10_000, 40_000)
        }
    }

    fn between(&self, least: Millis, most: Millis) -> Duration {
        let chance = &mut self.sim.state().chance;
        Duration::from_millis(chance.between(least, most))
    }

    fn note(&self, call: PortCall, about: &str, fault: Option<InjectedFault>) {
        let fault = fault.map_or_else(String::new, |it| format!("  <- {it:?}"));
        self.sim
            .note(&format!("{} {call:?} {about}{fault}", self.id));
    }
}

fn unanswered(call: PortCall) -> anyhow::Error {
    Failure::new(Kind::Unanswered, format!("{call:?}: no answer")).into()
}
