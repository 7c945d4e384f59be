//! Token buckets: how often something may happen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A rate, and how much of it may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many may come at once.
    pub burst: u32,
    /// How many come on the long run.
    pub per_second: u32,
}

/// A bucket of tokens that fills by time.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: Rate,
    /// When the bucket was, or would have been, empty: what has passed since then are tokens.
    empty_at: Instant,
}

impl TokenBucket {
    /// A full one.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        let full = Self { rate, empty_at: now }.fill_time();
        Self { rate, empty_at: now.checked_sub(full).unwrap_or(now) }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let there = self.has(now);
        if there {
            let full_since = now.checked_sub(self.fill_time()).unwrap_or(self.empty_at);
            self.empty_at = self.empty_at.max(full_since) + self.token();
        }
        there
    }

    /// Whether there is a token.
    #[must_use]
    pub fn has(&self, now: Instant) -> bool {
        self.rate.burst > 0 && self.next(now) <= now
    }

    /// When the next token is there, `now` at the earliest.
    #[must_use]
    pub fn next(&self, now: Instant) -> Instant {
        (self.empty_at + self.token()).max(now)
    }

    /// Whether no token is missing.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.empty_at) >= self.fill_time()
    }

    fn token(&self) -> Duration {
        Duration::from_secs(1) / self.rate.per_second.max(1)
    }

    fn fill_time(&self) -> Duration {
        self.token() * self.rate.burst
    }
}

/// A bucket that all groups of a member draw from.
#[derive(Clone, Debug)]
pub struct SharedBudget(Arc<Mutex<TokenBucket>>);

impl SharedBudget {
    /// What a member as a whole may ask for unless configured: 200 at once, 100 a second.
    pub const DEFAULT: Rate = Rate { burst: 200, per_second: 100 };

    /// A full one.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self(Arc::new(Mutex::new(TokenBucket::new(rate, now))))
    }

    /// Takes a token, if there is one.
    #[must_use]
    pub fn take(&self, now: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }

    /// When the next token is there, `now` at the earliest.
    #[must_use]
    pub fn next(&self, now: Instant) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_its_rate() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(Rate { burst: 5, per_second: 10 }, now);
        assert_eq!((0..9).filter(|_| bucket.take(now)).count(), 5);
        assert_eq!(bucket.next(now), now + Duration::from_millis(100));
        assert!(!bucket.take(now + Duration::from_millis(99)));
        assert!(bucket.take(now + Duration::from_millis(100)));
        assert!(!bucket.is_full(now + Duration::from_millis(500)));
        assert!(bucket.is_full(now + Duration::from_millis(600)));
        let later = now + Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| bucket.take(later)).count(), 5);
    }

    #[test]
    fn a_burst_of_none_gives_none() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(Rate { burst: 0, per_second: 10 }, now);
        assert!(!bucket.take(now + Duration::from_secs(100)));
    }

    #[test]
    fn groups_draw_from_one_bucket() {
        let now = Instant::now();
        let one = SharedBudget::new(Rate { burst: 3, per_second: 1 }, now);
        let other = one.clone();
        assert!(one.take(now) && other.take(now) && one.take(now));
        assert!(!other.take(now));
        assert_eq!(other.next(now), now + Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_what_came_in_time(
            steps in prop::collection::vec(0..200_u64, 1..200),
            burst in 1..20_u32,
            per_second in 1..50_u32,
        ) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(Rate { burst, per_second }, start);
            let (mut now, mut taken) = (start, 0_u64);
            for step in steps {
                now += Duration::from_millis(step);
                taken += u64::from(bucket.take(now));
                let most = f64::from(burst) + (now - start).as_secs_f64() * f64::from(per_second);
                prop_assert!(taken as f64 <= most + 1e-6, "{taken} of {most}");
            }
        }
    }
}
