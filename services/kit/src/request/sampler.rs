//! Which traces are recorded, by OpenTelemetry's settings
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

/// Names of the specification. Those of other vendors' samplers are not known here.
pub(crate) const NAMES: &[&str] = &[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// The default records every trace, unless its caller has decided otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    is_parent_based: bool,
    own: OwnDecision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnDecision {
    All,
    None,
    /// Those whose id is below this, so that every service decides alike.
    Below(u64),
}

/// Whether a request's trace is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampling {
    Sampled,
    /// Unless the request fails or is slow: the chance was ours, and not the caller's decision.
    Unlikely,
    NotSampled,
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            is_parent_based: true,
            own: OwnDecision::All,
        }
    }
}

impl Sampler {
    /// `None` where the name is not known. `ratio` is from 0 to 1.
    pub fn new(name: &str, ratio: f64) -> Option<Self> {
        let own_name = name.strip_prefix("parentbased_");
        let own = match own_name.unwrap_or(name) {
            "always_on" => OwnDecision::All,
            "always_off" => OwnDecision::None,
            "traceidratio" if ratio >= 1.0 => OwnDecision::All,
            "traceidratio" => OwnDecision::Below(bound(ratio)),
            _ => return None,
        };
        Some(Self {
            is_parent_based: own_name.is_some(),
            own,
        })
    }

    /// `callers` is the decision of a caller that has a span.
    pub(super) fn decide(self, trace_id: u128, callers: Option<bool>) -> Sampling {
        match (callers.filter(|_| self.is_parent_based), self.own) {
            (Some(true), _) | (None, OwnDecision::All) => Sampling::Sampled,
            (Some(false), _) | (None, OwnDecision::None) => Sampling::NotSampled,
            (None, OwnDecision::Below(bound)) if chance(trace_id) < bound => Sampling::Sampled,
            (None, OwnDecision::Below(_)) => Sampling::Unlikely,
        }
    }
}

/// The lower 63 bits of an id are random in each of its versions.
fn chance(trace_id: u128) -> u64 {
    let lower = trace_id & u128::from(u64::MAX);
    u64::try_from(lower).unwrap_or_default() >> 1
}

/// What this share of all chances is below.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ratio below 1 of 2^63 is within the type"
)]
fn bound(ratio: f64) -> u64 {
    (ratio.max(0.0) * 2_f64.powi(63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(name: &str, ratio: f64, callers: Option<bool>) -> Sampling {
        let sampler = Sampler::new(name, ratio).unwrap();
        // Half of the chances are below that of this id.
        sampler.decide(0x8000_0000_0000_0000, callers)
    }

    #[test]
    fn a_sampler_decides_as_the_specification_has_it() {
        use Sampling::{NotSampled, Sampled, Unlikely};
        for (name, ratio, alone, caller_on, caller_off) in [
            ("always_on", 1.0, Sampled, Sampled, Sampled),
            ("always_off", 1.0, NotSampled, NotSampled, NotSampled),
            ("traceidratio", 1.0, Sampled, Sampled, Sampled),
            ("traceidratio", 0.6, Sampled, Sampled, Sampled),
            ("traceidratio", 0.4, Unlikely, Unlikely, Unlikely),
            ("traceidratio", 0.0, Unlikely, Unlikely, Unlikely),
            ("parentbased_always_on", 1.0, Sampled, Sampled, NotSampled),
            (
                "parentbased_always_off",
                1.0,
                NotSampled,
                Sampled,
                NotSampled,
            ),
            (
                "parentbased_traceidratio",
                0.6,
                Sampled,
                Sampled,
                NotSampled,
            ),
            (
                "parentbased_traceidratio",
                0.4,
                Unlikely,
                Sampled,
                NotSampled,
            ),
        ] {
            let decisions = [None, Some(true), Some(false)].map(|it| decide(name, ratio, it));
            assert_eq!(decisions, [alone, caller_on, caller_off], "{name} {ratio}");
        }
        assert_eq!(
            Sampler::new("parentbased_always_on", 1.0),
            Some(Sampler::default())
        );
    }

    #[test]
    fn every_name_is_known_and_no_other() {
        for name in NAMES {
            assert!(Sampler::new(name, 0.5).is_some(), "{name}");
        }
        for name in [
            "",
            "xray",
            "parentbased_",
            "always_on ",
            "parentbased_parentbased_always_on",
        ] {
            assert_eq!(Sampler::new(name, 0.5), None, "{name}");
        }
    }

    #[test]
    fn a_ratio_samples_that_share() {
        let sampler = Sampler::new("traceidratio", 0.25).unwrap();
        let chosen = (0..10_000_u64).filter(|number| {
            // Spread over all ids.
            let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            sampler.decide(u128::from(id), None) == Sampling::Sampled
        });
        let count = chosen.count();
        assert!((2400..2600).contains(&count), "{count}");
    }
}
