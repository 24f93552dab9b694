//! Counts and durations of requests by route, status and whose fault a failure is. Recording takes no lock: the entries are
//! in a list that only grows and is short enough to be searched.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::request::fault::RequestFault;

/// A router has few routes, and a route few statuses. Requests beyond this are counted together
/// under the route `other`.
const ROUTE_STATUSES_MAX: usize = 64;
const OTHER: &str = "other";

/// The most values that one metric of an EMF line may have. There are four buckets for each
/// doubling from 4 µs to 67 s, so a reported duration is at most an eighth off.
const BUCKETS: usize = 100;
const BUCKETS_PER_DOUBLING_LOG2: u32 = 2;

#[derive(Debug)]
pub(crate) struct RequestMetrics {
    kinds: Box<[OnceLock<RouteStatus>]>,
}

/// All requests of one route that were answered with one status.
#[derive(Debug)]
struct RouteStatus {
    route: Box<str>,
    status: StatusCode,
    fault: Option<RequestFault>,
    buckets: Box<[AtomicU64]>,
}

/// Requests of one route and status since the last report.
#[derive(Debug, PartialEq)]
pub(crate) struct RequestCounts<'a> {
    pub(crate) route: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) fault: Option<RequestFault>,
    pub(crate) count: u64,
    /// Milliseconds, each with the number of requests that took so long.
    pub(crate) durations: Vec<(f64, u64)>,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self {
            kinds: std::iter::repeat_with(OnceLock::new)
                .take(ROUTE_STATUSES_MAX)
                .collect(),
        }
    }
}

impl RequestMetrics {
    pub(crate) fn record(
        &self,
        route: &str,
        status: StatusCode,
        fault: Option<RequestFault>,
        took: Duration,
    ) {
        self.kind(route, status, fault).buckets[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn take(&self) -> impl Iterator<Item = RequestCounts<'_>> {
        self.kinds
            .iter()
            .map_while(OnceLock::get)
            .filter_map(RouteStatus::take)
    }

    fn kind(&self, route: &str, status: StatusCode, fault: Option<RequestFault>) -> &RouteStatus {
        let (last, kinds) = self.kinds.split_last().expect("there are some kinds");
        kinds
            .iter()
            .map(|kind| kind.get_or_init(|| RouteStatus::new(route, status, fault)))
            .find(|kind| (kind.status, kind.fault) == (status, fault) && &*kind.route == route)
            .unwrap_or_else(|| last.get_or_init(|| RouteStatus::new(OTHER, status, fault)))
    }
}

impl RouteStatus {
    fn new(route: &str, status: StatusCode, fault: Option<RequestFault>) -> Self {
        Self {
            route: route.into(),
            status,
            fault,
            buckets: std::iter::repeat_with(AtomicU64::default)
                .take(BUCKETS)
                .collect(),
        }
    }

    fn take(&self) -> Option<RequestCounts<'_>> {
        let durations: Vec<_> = self
            .buckets
            .iter()
            .enumerate()
            .map(|(index, bucket)| (milliseconds(index), bucket.swap(0, Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        (!durations.is_empty()).then(|| RequestCounts {
            route: &self.route,
            status: self.status,
            fault: self.fault,
            count: durations.iter().map(|(_, count)| count).sum(),
            durations,
        })
    }
}

/// By the highest bit of the microseconds and the two bits below it. 0 to 3 µs have their own.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let highest_bit = micros.checked_ilog2().unwrap_or(0);
    let Some(shift) = highest_bit.checked_sub(BUCKETS_PER_DOUBLING_LOG2) else {
        return usize::try_from(micros).unwrap_or(0);
    };
    let index = (u64::from(shift) << BUCKETS_PER_DOUBLING_LOG2) + (micros >> shift);
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The middle of a bucket, in milliseconds.
fn milliseconds(bucket: usize) -> f64 {
    let doubling = 1 << BUCKETS_PER_DOUBLING_LOG2;
    let shift = (bucket / doubling).saturating_sub(1);
    let lowest = (bucket - shift * doubling) << shift;
    let middle = lowest * 2 + (1 << shift);
    // In units of half a microsecond, and below 2^28, so exact.
    f64::from(u32::try_from(middle).unwrap_or(u32::MAX)) / 2000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_reported_within_an_eighth() {
        for micros in (4..10_000).chain((10_000..60_000_000).step_by(99_991)) {
            let reported = milliseconds(bucket(Duration::from_micros(micros)));
            let exact = f64::from(u32::try_from(micros).unwrap()) / 1000.0;
            assert!(
                (reported / exact - 1.0).abs() <= 0.126,
                "{micros}: {reported}"
            );
        }
    }

    #[test]
    fn buckets_follow_one_another() {
        let mut last = 0;
        for micros in 0..2_000_000 {
            let index = bucket(Duration::from_micros(micros));
            assert!(index == last || index == last + 1, "{micros}");
            last = index;
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert!((milliseconds(BUCKETS - 1) - 62_914.56).abs() < 1.0);
    }

    #[test]
    fn each_route_and_status_is_counted_since_the_last_report() {
        let requests = RequestMetrics::default();
        let took = Duration::from_millis(2);
        for (route, status) in [("/a", 200), ("/a", 500), ("/b", 200), ("/a", 200)] {
            let status = StatusCode::from_u16(status).unwrap();
            requests.record(route, status, RequestFault::of(status, false), took);
        }
        let counts = |requests: &RequestMetrics| -> Vec<_> {
            requests
                .take()
                .map(|kind| (kind.route.to_owned(), kind.status.as_u16(), kind.count))
                .collect()
        };
        let expected = [("/a", 200, 2), ("/a", 500, 1), ("/b", 200, 1)];
        assert_eq!(
            counts(&requests),
            expected.map(|(route, status, count)| (route.to_owned(), status, count))
        );
        assert_eq!(counts(&requests), []);
    }

    #[test]
    fn the_kinds_are_bounded() {
        let requests = RequestMetrics::default();
        for number in 0..1000 {
            requests.record(&format!("/{number}"), StatusCode::OK, None, Duration::ZERO);
        }
        let recorded: Vec<_> = requests.take().collect();
        assert_eq!(recorded.len(), ROUTE_STATUSES_MAX);
        assert_eq!(recorded[ROUTE_STATUSES_MAX - 1].route, OTHER);
        assert_eq!(recorded.iter().map(|kind| kind.count).sum::<u64>(), 1000);
    }
}
