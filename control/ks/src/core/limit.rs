//! Token buckets: how much of something that others can cause is done in a second.

use super::time::ServerTime;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Lets `burst` through at once and then one every `interval`, which may be shorter than the millisecond that
/// the server's time goes on by.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// When it will be full again, since the server's first moment.
    full_at: Duration,
    interval: Duration,
    burst: u32,
}

impl TokenBucket {
    /// A full one.
    #[must_use]
    pub fn new(burst: u32, interval: Duration) -> Self {
        Self { full_at: Duration::ZERO, interval, burst }
    }

    /// Whether one more may pass, which is then counted.
    pub fn take(&mut self, now: ServerTime) -> bool {
        let full_at = self.full_after_one(now);
        let may = full_at <= now.since(ServerTime::ZERO) + self.interval * self.burst;
        if may {
            self.full_at = full_at;
        }
        may
    }

    /// When one more may pass.
    #[must_use]
    pub fn next(&self, now: ServerTime) -> ServerTime {
        let at = self.full_after_one(now).saturating_sub(self.interval * self.burst);
        let whole = ServerTime::ZERO.after(at);
        // Not a millisecond too early.
        let rounded = if whole.since(ServerTime::ZERO) < at { whole.after(MILLISECOND) } else { whole };
        rounded.max(now)
    }

    fn full_after_one(&self, now: ServerTime) -> Duration {
        self.full_at.max(now.since(ServerTime::ZERO)) + self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let mut bucket = TokenBucket::new(3, Duration::from_millis(100));
        let start = ServerTime::ZERO.after(Duration::from_secs(10));
        let passed = |bucket: &mut TokenBucket, now| (0..10).filter(|_| bucket.take(now)).count();
        assert_eq!(passed(&mut bucket, start), 3);
        assert_eq!(bucket.next(start), start.after(Duration::from_millis(100)));
        assert_eq!(passed(&mut bucket, start.after(Duration::from_millis(99))), 0);
        assert_eq!(passed(&mut bucket, start.after(Duration::from_millis(100))), 1);
        assert_eq!(passed(&mut bucket, start.after(Duration::from_secs(60))), 3);
    }

    #[test]
    fn rates_beyond_one_in_a_millisecond_are_kept() {
        for (rate, burst) in [(2_000, 100), (3_000, 1), (700, 10)] {
            let mut bucket = TokenBucket::new(burst, Duration::from_secs(1) / rate);
            let mut now = ServerTime::ZERO.after(Duration::from_secs(5));
            let end = now.after(Duration::from_secs(1));
            let mut passed = 0;
            while now < end {
                while bucket.take(now) {
                    passed += 1;
                }
                let next = bucket.next(now);
                assert!(next > now, "{rate}: what may not pass may pass at once");
                now = next;
            }
            // Where bursts are shorter than the clock's step, what would be above it is lost.
            let most = rate + burst;
            let least = if burst == 1 { 1_000 } else { rate };
            assert!((least..=most).contains(&passed), "{rate} {burst}: {passed}");
        }
    }
}
