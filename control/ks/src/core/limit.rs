//! Token buckets: how much of something that others can cause is done in a second.

use super::time::ServerTime;
use std::time::Duration;

/// Lets `burst` through at once and then one every `interval`.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// When it will be full again.
    full_at: ServerTime,
    interval: Duration,
    burst: u32,
}

impl TokenBucket {
    /// A full one.
    #[must_use]
    pub fn new(burst: u32, interval: Duration) -> Self {
        Self { full_at: ServerTime::ZERO, interval, burst }
    }

    /// Whether one more may pass, which is then counted.
    pub fn take(&mut self, now: ServerTime) -> bool {
        let full_at = self.full_at.max(now).after(self.interval);
        let may = full_at <= now.after(self.interval * self.burst);
        if may {
            self.full_at = full_at;
        }
        may
    }

    /// When one more may pass.
    #[must_use]
    pub fn next(&self, now: ServerTime) -> ServerTime {
        let full_at = self.full_at.max(now).after(self.interval);
        full_at.before(self.interval * self.burst).max(now)
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
}
