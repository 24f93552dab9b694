//! The addresses of one target. Each is an endpoint with connections and a breaker of its own: a
//! call goes to the less loaded one of two, and one that fails is ejected while another answers.
//!
//! The target's name is an endpoint too. It is the only one where the name has one address or none
//! is known yet: then its connections go to whatever address the name has when they are opened.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::breaker::{Breaker, BreakerOpenError, BreakerStanding, Permit, TimeLeft};
use super::http_client::HttpClient;
use super::resolver::Resolver;
use crate::telemetry::metrics::of_target;
use crate::{Gauge, Metrics, Unit};

/// Service discovery gives its records a TTL of 10 s, and a stopping task serves for as long: with
/// half of it no task is gone before its address is.
const FRESH: Duration = Duration::from_secs(5);
/// The least time from one question to the next, which is asked early after a refused connection or
/// where the last one failed.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Without any call there is no question. Addresses that are older may be somebody else's.
const OLD: Duration = Duration::from_secs(30);
/// The most endpoints in use. A name may have more addresses: each one in use costs connections.
const ENDPOINTS_MAX: usize = 32;
/// How long an endpoint is kept that is no longer among the answers. They may be different samples
/// of many addresses.
const KEPT: Duration = Duration::from_mins(1);

/// Clones share the endpoints.
#[derive(Clone)]
pub(super) struct Endpoints(Arc<EndpointsInner>);

struct EndpointsInner {
    target: &'static str,
    by_name: Arc<Endpoint>,
    /// `None` where the target is called by its name only.
    name: Option<TargetName>,
    listing: Mutex<Listing>,
    gauges: EndpointGauges,
}

/// What is resolved.
pub(super) struct TargetName {
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) host: String,
    pub(super) port: u16,
}

pub(super) struct Endpoint {
    /// `None` for the target's name.
    address: Option<SocketAddr>,
    pub(super) client: HttpClient,
    breaker: Breaker,
    in_flight: AtomicUsize,
}

/// The endpoints in use. Never empty.
struct Listing {
    used: Arc<[Arc<Endpoint>]>,
    /// Those that are no longer in use, and until when they are kept.
    unlisted: Vec<(Arc<Endpoint>, Instant)>,
    asked: Option<Instant>,
    answered: Instant,
    /// When to ask again.
    due: Instant,
    /// Whether the last question had no usable answer.
    is_failing: bool,
}

struct EndpointGauges {
    /// 0 closed, 1 half-open, 2 open: the best of all.
    breaker_state: Gauge,
    used: Gauge,
    ejected: Gauge,
}

/// One call to an endpoint. It counts as in flight until it is dropped.
pub(super) struct EndpointCall {
    pub(super) endpoint: Arc<Endpoint>,
    permit: Option<Permit>,
    endpoints: Endpoints,
}

impl Endpoints {
    /// `client` calls the target by its name.
    pub(super) fn new(
        target: &'static str,
        client: HttpClient,
        name: Option<TargetName>,
        metrics: &Metrics,
    ) -> Self {
        let by_name = Arc::new(Endpoint::new(target, None, client));
        let now = Instant::now();
        let gauge = |metric| metrics.gauge(metric, Unit::Count, of_target(target));
        let endpoints = Self(Arc::new(EndpointsInner {
            target,
            listing: Mutex::new(Listing {
                used: [Arc::clone(&by_name)].into(),
                unlisted: Vec::new(),
                asked: None,
                answered: now,
                due: now,
                is_failing: false,
            }),
            by_name,
            name,
            gauges: EndpointGauges {
                breaker_state: metrics.gauge("breaker_state", Unit::None, of_target(target)),
                used: gauge("endpoints"),
                ejected: gauge("endpoints_ejected"),
            },
        }));
        endpoints.report();
        endpoints
    }

    /// Begins a call. `tried` are the endpoints of its earlier attempts, and the last of them
    /// refused the connection where `is_refused`.
    pub(super) fn begin(
        &self,
        now: Instant,
        time: TimeLeft,
        tried: &[Arc<Endpoint>],
        is_refused: bool,
    ) -> Result<EndpointCall, BreakerOpenError> {
        let used = self.used(now);
        if let [only] = &*used {
            return Ok(self.call(only, only.breaker.permit(now, time)?));
        }
        let is_untried = |it: &Arc<Endpoint>| !tried.iter().any(|known| Arc::ptr_eq(known, it));
        let probe = || {
            let untried = used.iter().filter(|it| is_untried(it) && !it.is_closed());
            untried.filter_map(|it| Some((it, it.breaker.permit(now, time).ok()?)))
        };
        let closed = |is_eligible: &dyn Fn(&Arc<Endpoint>) -> bool| {
            let endpoint = less_loaded(&used, |it| it.is_closed() && is_eligible(it))?;
            Some((endpoint, endpoint.breaker.permit(now, time).ok()?))
        };
        let by_name = || {
            let by_name = &self.0.by_name;
            let is_last_resort = is_refused && is_untried(by_name);
            let permit = is_last_resort.then(|| by_name.breaker.permit(now, time).ok());
            Some((by_name, permit??))
        };
        // A call that has failed once does not probe where it can go to a sound endpoint.
        let chosen = if tried.is_empty() {
            probe().next().or_else(|| closed(&|_| true))
        } else {
            closed(&is_untried)
                .or_else(|| probe().next())
                .or_else(by_name)
                .or_else(|| closed(&|_| true))
        };
        let Some((endpoint, permit)) = chosen else {
            return Err(soonest(&used, now, time));
        };
        Ok(self.call(endpoint, permit))
    }

    /// Whether a further attempt goes to an endpoint that was not tried yet and may be sound.
    pub(super) fn has_another(&self, tried: &[Arc<Endpoint>]) -> bool {
        let used = Arc::clone(&self.listing().used);
        let is_tried = |it: &Arc<Endpoint>| tried.iter().any(|known| Arc::ptr_eq(known, it));
        used.len() > 1 && used.iter().any(|it| it.is_closed() && !is_tried(it))
    }

    /// Whether no endpoint would be called.
    pub(super) fn is_open(&self) -> bool {
        let used = Arc::clone(&self.listing().used);
        used.iter()
            .all(|it| it.breaker.standing() == BreakerStanding::Open)
    }

    fn call(&self, endpoint: &Arc<Endpoint>, permit: Permit) -> EndpointCall {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        if permit.is_probe() {
            self.report();
        }
        EndpointCall {
            endpoint: Arc::clone(endpoint),
            permit: Some(permit),
            endpoints: self.clone(),
        }
    }

    /// The endpoints to choose from. Where it is time for that, asks for the addresses anew.
    fn used(&self, now: Instant) -> Arc<[Arc<Endpoint>]> {
        let mut listing = self.listing();
        if self.0.name.is_none() {
            return Arc::clone(&listing.used);
        }
        if listing.due <= now {
            listing.asked = Some(now);
            listing.due = now + RESOLVE_TIMEOUT + PAUSE_MIN;
            let this = self.clone();
            tokio::spawn(async move { this.refresh().await });
        }
        let is_old = !listing.is_failing && now >= listing.answered + OLD;
        if is_old && listing.used.len() > 1 {
            return [Arc::clone(&self.0.by_name)].into();
        }
        Arc::clone(&listing.used)
    }

    async fn refresh(&self) {
        let Some(name) = &self.0.name else { return };
        let answer = name.resolver.resolve(&name.host, name.port);
        let failure = match timeout(RESOLVE_TIMEOUT, answer).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => {
                self.list(addresses);
                return;
            }
            Ok(Ok(_)) => io::Error::other("no address"),
            Ok(Err(error)) => error,
            Err(late) => late.into(),
        };
        let mut listing = self.listing();
        listing.due = Instant::now() + PAUSE_MIN;
        if !listing.is_failing {
            let (target, error) = (self.0.target, &failure as &dyn std::error::Error);
            tracing::warn!(
                target,
                error,
                "a name is not resolved: its last addresses are kept"
            );
        }
        listing.is_failing = true;
    }

    /// Uses these addresses from now on: those known, and others up to the maximum.
    fn list(&self, mut addresses: Vec<SocketAddr>) {
        let now = Instant::now();
        let mut listing = self.listing();
        listing.unlisted.retain(|(_, until)| now < *until);
        let known = listing.used.iter();
        let known = known.chain(listing.unlisted.iter().map(|(endpoint, _)| endpoint));
        let known: Vec<Arc<Endpoint>> = known.cloned().collect();
        let find = |address| known.iter().find(|it| it.address == Some(address));
        addresses.sort_unstable();
        addresses.dedup();
        fastrand::shuffle(&mut addresses);
        addresses.sort_by_key(|address| find(*address).is_none());
        addresses.truncate(ENDPOINTS_MAX);
        let used: Arc<[Arc<Endpoint>]> = match &*addresses {
            [_] => [Arc::clone(&self.0.by_name)].into(),
            several => several
                .iter()
                .map(|address| find(*address).map_or_else(|| self.endpoint(*address), Arc::clone))
                .collect(),
        };
        if !used.iter().any(|it| it.is_closed()) {
            used.iter().for_each(|it| it.breaker.end_ejection());
        }
        let is_used = |it: &Arc<Endpoint>| used.iter().any(|other| Arc::ptr_eq(other, it));
        let mut unlisted = std::mem::take(&mut listing.unlisted);
        unlisted.extend(listing.used.iter().cloned().map(|it| (it, now + KEPT)));
        unlisted.retain(|(endpoint, _)| endpoint.address.is_some() && !is_used(endpoint));
        let surplus = unlisted.len().saturating_sub(ENDPOINTS_MAX);
        unlisted.drain(..surplus);
        *listing = Listing {
            used,
            unlisted,
            asked: listing.asked,
            answered: now,
            due: now + FRESH,
            is_failing: false,
        };
        drop(listing);
        self.report();
    }

    fn endpoint(&self, address: SocketAddr) -> Arc<Endpoint> {
        let client = self.0.by_name.client.at(address);
        Arc::new(Endpoint::new(self.0.target, Some(address), client))
    }

    /// A connection was refused: the addresses may have changed.
    fn ask_soon(&self, now: Instant) {
        let mut listing = self.listing();
        let soon = listing.asked.map_or(now, |asked| asked + PAUSE_MIN);
        listing.due = listing.due.min(soon);
        drop(listing);
        self.used(now);
    }

    /// Ejects an endpoint that fails while another one answers. Where none answers, all that were
    /// ejected are called again: the last one is never ejected.
    fn judge(&self, failed: &Arc<Endpoint>, now: Instant) {
        let used = Arc::clone(&self.listing().used);
        if used.len() == 1 || !failed.breaker.fails() {
            return;
        }
        let others = || used.iter().filter(|it| !Arc::ptr_eq(it, failed));
        if others().any(|it| it.breaker.answers()) {
            failed.breaker.eject(now);
        } else {
            others().for_each(|it| it.breaker.end_ejection());
        }
    }

    fn report(&self) {
        let used = Arc::clone(&self.listing().used);
        let standings = || used.iter().map(|it| it.breaker.standing());
        let gauges = &self.0.gauges;
        gauges.breaker_state.set(match standings().min() {
            Some(BreakerStanding::Closed) | None => 0.0,
            Some(BreakerStanding::HalfOpen) => 1.0,
            Some(BreakerStanding::Open) => 2.0,
        });
        let is_ejected = |standing: &BreakerStanding| *standing != BreakerStanding::Closed;
        gauges.used.set(as_number(used.len()));
        gauges
            .ejected
            .set(as_number(standings().filter(is_ejected).count()));
    }

    fn listing(&self) -> MutexGuard<'_, Listing> {
        self.0
            .listing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    fn new(target: &'static str, address: Option<SocketAddr>, client: HttpClient) -> Self {
        Self {
            address,
            client,
            breaker: Breaker::new(target, address),
            in_flight: AtomicUsize::new(0),
        }
    }

    fn is_closed(&self) -> bool {
        self.breaker.standing() == BreakerStanding::Closed
    }
}

impl EndpointCall {
    /// The attempt ended in this way. Without it, the call says nothing about the endpoint.
    pub(super) fn record(mut self, is_failure: bool, is_refused: bool, now: Instant) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let is_probe = permit.is_probe();
        permit.record(is_failure, now);
        if is_failure {
            self.endpoints.judge(&self.endpoint, now);
        }
        if is_failure || is_probe {
            self.endpoints.report();
        }
        if is_refused {
            self.endpoints.ask_soon(now);
        }
    }
}

impl Drop for EndpointCall {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The one with fewer calls in flight of two random ones. Comparing all would send the calls of all
/// callers to the same one.
fn less_loaded(
    used: &[Arc<Endpoint>],
    is_eligible: impl Fn(&Arc<Endpoint>) -> bool,
) -> Option<&Arc<Endpoint>> {
    let eligible = || used.iter().filter(|it| is_eligible(it));
    let count = eligible().count();
    let one = eligible().nth(fastrand::usize(..count.max(1)))?;
    let others = || eligible().filter(|it| !Arc::ptr_eq(it, one));
    let Some(other) = others().nth(fastrand::usize(..count.saturating_sub(1).max(1))) else {
        return Some(one);
    };
    let load = |it: &Endpoint| it.in_flight.load(Ordering::Relaxed);
    Some(if load(other) < load(one) { other } else { one })
}

/// When the first of them may be called.
fn soonest(used: &[Arc<Endpoint>], now: Instant, time: TimeLeft) -> BreakerOpenError {
    let refusals = used
        .iter()
        .filter_map(|it| it.breaker.permit(now, time).err());
    let retry_after = refusals.map(|refusal| refusal.retry_after).min();
    let retry_after = retry_after.unwrap_or_default();
    BreakerOpenError { retry_after }
}

fn as_number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
