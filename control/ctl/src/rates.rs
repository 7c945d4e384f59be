//! Counts that are asked for again: how many more there are than at the last call, and how many a second
//! came just now. Kept by a daemon's control thread; reads no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long "just now" is.
const RECENT: Duration = Duration::from_secs(10);
/// How often a reading is kept for it.
const PACE: Duration = Duration::from_secs(1);

/// Readings of a set of counts.
#[derive(Debug)]
pub struct Readings {
    /// At the last call, or at the start.
    last: (Instant, Vec<u64>),
    called: bool,
    /// Of the last ten seconds, the oldest first.
    recent: VecDeque<(Instant, Vec<u64>)>,
}

/// What has come of a set of counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// `last-call` or `start`.
    pub since: &'static str,
    /// Seconds since then.
    pub since_s: f64,
    /// By count, how many since then.
    pub more: Vec<u64>,
    /// The same a second.
    pub per_s: Vec<f64>,
    /// Seconds that `recent_per_s` is over; `None` where no reading was kept.
    pub recent_s: Option<f64>,
    /// By count, how many a second in this time.
    pub recent_per_s: Vec<f64>,
}

impl Readings {
    /// All `len` counts are zero at the start.
    #[must_use]
    pub fn new(start: Instant, len: usize) -> Self {
        Readings { last: (start, vec![0; len]), called: false, recent: VecDeque::new() }
    }

    /// Keeps a reading if it is time for one.
    pub fn tick(&mut self, now: Instant, counts: impl FnOnce() -> Vec<u64>) {
        if self.recent.back().is_some_and(|(at, _)| now.saturating_duration_since(*at) < PACE) {
            return;
        }
        self.recent.push_back((now, counts()));
        // The oldest is what the others are counted from, so it may be older.
        while self.recent.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= RECENT) {
            self.recent.pop_front();
        }
    }

    /// What has come of the counts; the next call counts from here, unless this one only peeks.
    pub fn call(&mut self, now: Instant, counts: &[u64], peek: bool) -> Rates {
        let (at, before) = &self.last;
        let since_s = now.saturating_duration_since(*at).as_secs_f64();
        let more = differences(counts, before);
        let oldest = self.recent.front().filter(|(at, _)| *at < now);
        let recent_s = oldest.map(|(at, _)| now.saturating_duration_since(*at).as_secs_f64());
        let recent = oldest.map(|(_, before)| differences(counts, before)).unwrap_or_default();
        let rates = Rates {
            since: if self.called { "last-call" } else { "start" },
            since_s,
            per_s: per_second(&more, since_s),
            more,
            recent_per_s: per_second(&recent, recent_s.unwrap_or_default()),
            recent_s,
        };
        if !peek {
            (self.last, self.called) = ((now, counts.to_vec()), true);
        }
        rates
    }
}

/// A count that is smaller than before was reset in between.
fn differences(now: &[u64], before: &[u64]) -> Vec<u64> {
    now.iter().zip(before).map(|(now, before)| now.checked_sub(*before).unwrap_or(*now)).collect()
}

fn per_second(counts: &[u64], seconds: f64) -> Vec<f64> {
    counts.iter().map(|&n| if seconds > 0.0 { n as f64 / seconds } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_from_the_last_one_and_a_peek_leaves_that() {
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        let mut readings = Readings::new(start, 2);
        let first = readings.call(after(10), &[30, 0], true);
        assert_eq!((first.since, first.since_s, first.more), ("start", 10.0, vec![30, 0]));
        assert_eq!((first.per_s, first.recent_s), (vec![3.0, 0.0], None));
        readings.call(after(10), &[30, 0], false);
        let second = readings.call(after(14), &[32, 1], false);
        assert_eq!((second.since, second.since_s, second.more), ("last-call", 4.0, vec![2, 1]));
        // Somebody has reset them.
        assert_eq!(readings.call(after(15), &[5, 1], false).more, [5, 0]);
    }

    #[test]
    fn just_now_is_ten_seconds() {
        let start = Instant::now();
        let mut readings = Readings::new(start, 1);
        let mut taken = 0;
        for tenth in 0..400u64 {
            let now = start + Duration::from_millis(100 * tenth);
            // A hundred a second, and from 30 s on none.
            readings.tick(now, || {
                taken += 1;
                vec![tenth.min(300) * 10]
            });
        }
        assert_eq!(taken, 40, "once a second");
        let rates = readings.call(start + Duration::from_millis(39_900), &[3000], false);
        let over = rates.recent_s.expect("readings were kept");
        assert!((9.9..=11.0).contains(&over), "{over}");
        assert!(rates.recent_per_s[0] < 12.0, "{:?}", rates.recent_per_s);
        assert!((rates.per_s[0] - 75.2).abs() < 0.1, "{:?}", rates.per_s);
    }
}
