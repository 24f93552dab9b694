//! How often something that may move is looked at.

use std::time::Duration;

/// The pause between two looks at what moves, at first. The end of a rollout is noticed within one
/// look.
const SHORTEST: Duration = Duration::from_millis(400);
/// The same at what stands still in AWS, whose API has limits that all of an account share. The
/// emulator has none.
const LONGEST: Duration = Duration::from_secs(4);

/// The pauses between looks: short while something moves, longer while nothing does, and longer
/// in any case from a call on that AWS did not answer.
#[derive(Debug)]
pub struct LookPace<T> {
    seen: Option<T>,
    unanswered: u32,
    pause: Duration,
    shortest: Duration,
    longest: Duration,
}

impl<T: PartialEq> LookPace<T> {
    pub fn new(emulated: bool) -> Self {
        Self {
            seen: None,
            unanswered: 0,
            pause: SHORTEST,
            shortest: SHORTEST,
            longest: if emulated { SHORTEST } else { LONGEST },
        }
    }

    /// The pause after a look that found this. `unanswered`: how many calls AWS has not answered so
    /// far, most likely since it was called too often.
    pub fn after(&mut self, found: T, unanswered: u32) -> Duration {
        if unanswered > self.unanswered {
            self.unanswered = unanswered;
            self.shortest = self.longest.min(self.shortest * 2);
        }
        self.pause = if self.seen.as_ref() == Some(&found) {
            self.longest.min(self.pause * 5 / 4).max(self.shortest)
        } else {
            self.shortest
        };
        self.seen = Some(found);
        self.pause
    }

    /// The pause before a look that is to confirm the last one.
    pub fn before_confirmation(&mut self) -> Duration {
        self.pause = self.shortest;
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER_HOUR: Duration = Duration::from_mins(15);

    fn looks_at_what_stands_still(mut pace: LookPace<()>) -> u32 {
        let mut looks = 0;
        let mut waited = Duration::ZERO;
        while waited < QUARTER_HOUR {
            waited += pace.after((), 0);
            looks += 1;
        }
        looks
    }

    #[test]
    fn what_stands_still_is_looked_at_less_and_less_in_aws() {
        let looks = looks_at_what_stands_still(LookPace::new(false));
        assert!((225..=250).contains(&looks), "{looks}");
        assert_eq!(looks_at_what_stands_still(LookPace::new(true)), 2_250);
    }

    #[test]
    fn what_moves_again_is_looked_at_soon() {
        let mut pace = LookPace::new(false);
        for _ in 0..20 {
            pace.after(1, 0);
        }
        assert_eq!(pace.after(1, 0), LONGEST);
        assert_eq!(pace.after(2, 0), SHORTEST);
        pace.after(2, 0);
        assert_eq!(pace.before_confirmation(), SHORTEST);
    }

    #[test]
    fn who_is_not_answered_looks_less_often() {
        for (emulated, times, shortest) in [(false, 1, 800), (false, 9, 4_000), (true, 9, 400)] {
            let mut pace = LookPace::new(emulated);
            for unanswered in 1..=times {
                pace.after(unanswered, unanswered);
            }
            let shortest = Duration::from_millis(shortest);
            assert_eq!(pace.after(0, times), shortest);
            assert_eq!(pace.before_confirmation(), shortest);
        }
    }
}
